"""``map``, ``imap`` and their kin: an iterable is cut into calls, and a result is made that puts theirs together.

::

    map, starmap          all items are known      ► how many, how long a chunk ► MapResult      ─┐
    imap, imap_unordered  read as results are taken                             ► IMapIterator    ├─► Feeder ─► engine
         with progress=   the result is a metered one, its calls count what they have done       │
         with checkpoint= only what is missing there is called                                   ─┘

A part of ``Pool``, which has what is asked for here: its workers, its options and its end. What it is not: the feeding
(``feeding``), and what becomes of the results (``pool_results``).

Stands in for the methods of ``multiprocessing.pool.Pool`` that bear these names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

from distpool.call_options import PLAIN, CallOptions, Errors
from distpool.checkpoints import Checkpoint, Ordered, Plan, RecordedList, default_chunksize, keep, recorded
from distpool.feeding import Desk, Feeder
from distpool.pool_results import (
    AsyncResult,
    IMapIterator,
    IMapUnorderedIterator,
    MapChunk,
    MapResult,
    MeteredIMapIterator,
    MeteredIMapUnorderedIterator,
    MeteredMapResult,
    StarmapChunk,
    chunks,
)
from distpool.progress import Meter, Progress, by_chunk, length_of

if TYPE_CHECKING:
    from distpool.pool import Pool

__all__ = ["Maps"]

T = TypeVar("T")

#: Iterating these runs no code of the user's.
PLAIN_SEQUENCES = frozenset((list, tuple, range, str, bytes))


class Maps:
    """Mixed into ``Pool``: all that makes many calls of one."""

    _processes: int
    _desk: Desk

    def _check_running(self) -> None:
        """Raises ValueError if the pool takes no calls."""
        raise NotImplementedError("mix this class into a pool")

    def _options(
        self,
        task_timeout: float | None,
        retries: int | None,
        errors: str = "raise",
        progress: Progress = None,
        checkpoint: Checkpoint = None,
    ) -> CallOptions:
        """What these calls ask for, and else the pool."""
        raise NotImplementedError("mix this class into a pool")

    def _get(self, result: AsyncResult[T], start: Callable[[], None]) -> T:
        """Submit, and wait for a result that nobody else can ask for."""
        raise NotImplementedError("mix this class into a pool")

    # --------------------------------------------------------------------------- many, in a list

    def map(
        self,
        func: Callable[[Any], T],
        iterable: Iterable[Any],
        chunksize: int | None = None,
        *,
        task_timeout: float | None = None,
        retries: int | None = None,
        errors: Errors = "raise",
        progress: Progress = None,
        checkpoint: Checkpoint = None,
    ) -> list[T]:
        """``[func(item) for item in iterable]``, in the workers.

        Args:
            func: takes one item.
            iterable: is read to its end first.
            chunksize: items that travel as one call; None: so that each worker gets about four calls.
            task_timeout: seconds that each item may run, in its worker (imports for it do not count). One that runs for
                longer fails with TimeoutError and is ended: by KeyboardInterrupt, after a second by the end of its
                worker; no other item is touched. Without ``errors="return"`` that ends the map, as does any other
                failure then: it is raised at once, and what has not started does not. None: as the pool.
            retries: how often an item is run again whose worker died; None: as the pool.
            errors: "raise" the first failure, or "return" exceptions in the places of results.
            progress: show how far it is, item by item: True, a description, or a dict (description, total, unit,
                file); None: as the pool was told.
            checkpoint: a folder that results are kept in as they arrive. The next call with the same function and
                items does only what is missing there; chunks are then a hundredth of the items at most, unless
                ``chunksize`` says otherwise. None: nothing is kept.

        With a ``task_timeout`` or ``errors="return"`` items are calls of their own, whatever the chunksize.
        """
        options = self._options(task_timeout, retries, errors, progress, checkpoint)
        return self._get(*self._prepare_map(func, iterable, MapChunk, chunksize, options))

    def map_async(
        self,
        func: Callable[[Any], T],
        iterable: Iterable[Any],
        chunksize: int | None = None,
        callback: Callable[[list[T]], Any] | None = None,
        error_callback: Callable[[BaseException], Any] | None = None,
        *,
        task_timeout: float | None = None,
        retries: int | None = None,
        errors: Errors = "raise",
        progress: Progress = None,
        checkpoint: Checkpoint = None,
    ) -> MapResult[T]:
        """``map`` without waiting."""
        options = self._options(task_timeout, retries, errors, progress, checkpoint)
        result, start = self._prepare_map(
            func, iterable, MapChunk, chunksize, options, callback, error_callback
        )
        start()
        return result

    def starmap(
        self,
        func: Callable[..., T],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
        *,
        task_timeout: float | None = None,
        retries: int | None = None,
        errors: Errors = "raise",
        progress: Progress = None,
        checkpoint: Checkpoint = None,
    ) -> list[T]:
        """``[func(*item) for item in iterable]``, in the workers; the rest as in ``map``."""
        options = self._options(task_timeout, retries, errors, progress, checkpoint)
        return self._get(*self._prepare_map(func, iterable, StarmapChunk, chunksize, options))

    def starmap_async(
        self,
        func: Callable[..., T],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
        callback: Callable[[list[T]], Any] | None = None,
        error_callback: Callable[[BaseException], Any] | None = None,
        *,
        task_timeout: float | None = None,
        retries: int | None = None,
        errors: Errors = "raise",
        progress: Progress = None,
        checkpoint: Checkpoint = None,
    ) -> MapResult[T]:
        """``starmap`` without waiting."""
        options = self._options(task_timeout, retries, errors, progress, checkpoint)
        result, start = self._prepare_map(
            func, iterable, StarmapChunk, chunksize, options, callback, error_callback
        )
        start()
        return result

    def _prepare_map(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Any],
        chunk: type[MapChunk],
        chunksize: int | None,
        call: CallOptions,
        callback: Callable[[list[Any]], Any] | None = None,
        error_callback: Callable[[BaseException], Any] | None = None,
    ) -> tuple[MapResult[Any], Callable[[], None]]:
        """The result of a map, and what submits its calls."""
        self._check_running()
        if not hasattr(iterable, "__len__"):
            iterable = list(iterable)
        length: int = len(iterable)  # type: ignore[arg-type]
        if chunksize is None:
            chunksize = -(-length // (self._processes * 4))
            if call.checkpoint is not None:
                chunksize = default_chunksize(length, chunksize)
        if call.one_by_one:
            chunksize = min(chunksize, 1)
        plan = None
        missing: list[Sequence[Any]] = []
        if call.checkpoint is not None and length and chunksize > 0:
            plan = Plan(call.checkpoint, func)
            missing = list(plan.source(iterable, chunksize, star=chunk is StarmapChunk))
            length = plan.missing
        whole = 0 if chunksize == 1 else chunksize
        kind = _kind_of_map(call, length, chunksize)
        if plan is not None:
            kind = recorded(kind, RecordedList)
        result = kind(cast("Pool", self), whole, length, callback, error_callback)
        result.options = call
        if plan is not None:
            keep(result, plan, chunked=whole > 0)
        elif length == 0 or chunksize <= 0:
            # As the standard library: nothing runs, nobody is called back.
            result._success = True
            result._value = [None] * length
            result.settle()
            return result, _nothing
        try:
            if plan is not None:
                function, source = _function_of_map(func, chunk, chunksize), iter(missing)
            else:
                items: Any = iterable if type(iterable) in (tuple, range) else list(iterable)
                function, source = _calls_of_map(func, items, chunk, chunksize)
        except Exception as error:  # a sized iterable that fails on the way
            result.fail(error)
            return result, _nothing
        if isinstance(result, MeteredMapResult):
            function, source = _meter(result, call, length, chunksize, function, source)
        feeder = Feeder(self._desk, result, function, source, plain=True, shares=True, terms=call.terms)

        def start() -> None:
            feeder.start()
            result.hold()

        return result, start

    # -------------------------------------------------------------------------- many, one by one

    def imap(
        self,
        func: Callable[[Any], T],
        iterable: Iterable[Any],
        chunksize: int = 1,
        *,
        task_timeout: float | None = None,
        retries: int | None = None,
        errors: Errors = "raise",
        progress: Progress = None,
        checkpoint: Checkpoint = None,
    ) -> Iterator[T]:
        """Like ``map``, but lazy: results come one by one, in order, and ``iterable`` is read on the way.

        It is read no further than a window ahead of the results that were taken, so it may be endless. The options are
        those of ``map``; but a failure is raised where its result would have come, and the others go on.

        Returns:
            An IMapIterator, whose ``next`` takes a time-out in seconds; for ``chunksize > 1`` a plain generator.
        """
        call = self._options(task_timeout, retries, errors, progress, checkpoint)
        kind = IMapIterator if call.progress is None else MeteredIMapIterator
        return self._imap(kind, func, iterable, chunksize, call)

    def imap_unordered(
        self,
        func: Callable[[Any], T],
        iterable: Iterable[Any],
        chunksize: int = 1,
        *,
        task_timeout: float | None = None,
        retries: int | None = None,
        errors: Errors = "raise",
        progress: Progress = None,
        checkpoint: Checkpoint = None,
    ) -> Iterator[T]:
        """Like ``imap``, but results come as they arrive."""
        call = self._options(task_timeout, retries, errors, progress, checkpoint)
        kind = IMapUnorderedIterator if call.progress is None else MeteredIMapUnorderedIterator
        return self._imap(kind, func, iterable, chunksize, call)

    def _imap(
        self,
        kind: type[IMapIterator[Any]],
        func: Callable[..., Any],
        iterable: Iterable[Any],
        chunksize: int,
        call: CallOptions,
    ) -> Iterator[Any]:
        self._check_running()
        if chunksize < 1:
            raise ValueError(f"Chunksize must be 1+, not {chunksize:n}")
        if call.one_by_one:
            chunksize = 1
        function: Callable[..., Any] = func if chunksize == 1 else MapChunk(func)
        source: Iterator[Sequence[Any]]
        plan = None
        if call.checkpoint is not None:
            plan = Plan(call.checkpoint, func)
            source = plan.source(iterable, chunksize, star=False)
            kind = recorded(kind)
        else:
            source = _singles(iterable) if chunksize == 1 else chunks(iterable, chunksize)
        pool = cast("Pool", self)
        if issubclass(kind, MeteredIMapIterator):
            result: IMapIterator[Any] = by_chunk(kind)(pool) if chunksize > 1 else kind(pool)
            function, source = _meter(result, call, length_of(iterable), chunksize, function, source)
        else:
            result = kind(pool)
        result.options = call if call.returns_errors else PLAIN
        plain = type(iterable) in PLAIN_SEQUENCES and plan is None
        if plan is not None:
            keep(result, plan, chunked=chunksize > 1)
        Feeder(self._desk, result, function, source, plain=plain, terms=call.terms).start()
        result.hold()
        items = result if chunksize == 1 else (item for chunk in result for item in chunk)
        return items if plan is None else Ordered(plan, items, ordered=kind._in_order)


def _calls_of_map(
    func: Callable[..., Any], items: Sequence[Any], chunk: type[MapChunk], chunksize: int
) -> tuple[Callable[..., Any], Iterator[Sequence[Any]]]:
    """What to call, and with which arguments; nothing of it runs user code any more."""
    if chunksize > 1:
        return chunk(func), chunks(items, chunksize)
    if chunk is MapChunk:
        return func, zip(items)
    try:
        return func, iter([tuple(item) for item in items])
    except TypeError:  # one that cannot be unpacked: its call fails, in the worker
        return _StarCall(func), zip(items)


def _function_of_map(func: Callable[..., Any], chunk: type[MapChunk], chunksize: int) -> Callable[..., Any]:
    """What to call with an item, or a list of items."""
    if chunksize > 1:
        return chunk(func)
    return func if chunk is MapChunk else _StarCall(func)


def _kind_of_map(call: CallOptions, length: int, chunksize: int) -> type[MapResult[Any]]:
    if call.progress is None or length == 0 or chunksize <= 0:
        return MapResult
    return MeteredMapResult if chunksize == 1 else by_chunk(MeteredMapResult)


def _meter(
    result: Any,
    call: CallOptions,
    length: int | None,
    chunksize: int,
    function: Callable[..., Any],
    source: Iterator[Sequence[Any]],
) -> tuple[Callable[..., Any], Iterator[Sequence[Any]]]:
    """Show the progress of this result from now on; returns what to call, and with which arguments."""
    assert call.progress is not None
    meter = result.meter = Meter(result, call.progress, length, chunksize)
    if chunksize > 1:
        function, source = meter.counted(function, source)
    meter.show()
    return function, source


class _StarCall(StarmapChunk):
    """``function(*item)``, as one call."""

    __slots__ = ()

    def __call__(self, item: Any) -> Any:
        return self.function(*item)


def _singles(iterable: Iterable[Any]) -> Iterator[tuple[Any]]:
    return zip(iterable) if type(iterable) in PLAIN_SEQUENCES else _singles_of_other(iterable)


def _singles_of_other(iterable: Iterable[Any]) -> Iterator[tuple[Any]]:
    """As a generator: what is no iterable at all is found out where the first result is asked for."""
    for item in iterable:
        yield (item,)


def _nothing() -> None:
    """The result is there already."""
