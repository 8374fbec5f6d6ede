"""``Pool``: a pool of worker processes, as ``multiprocessing`` has it.

::

    Pool ──► Desk ──► EnginePool                      n dedicated workers, replaced when they die
      │        └────► Feeder, one for each running map or imap
      └─ apply, map, imap, ... ──► AsyncResult, MapResult, IMapIterator     (pool_results.py)

What it is not: the scheduler. It checks arguments, cuts iterables into calls and keeps the standard library's
manners. When a worker dies under a call, the engine runs that again (``retries``); other calls never notice.

Stands in for ``multiprocessing.pool``.
"""

from __future__ import annotations

import _thread
import multiprocessing
import os
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from multiprocessing.pool import (  # type: ignore[attr-defined]
    CLOSE,
    INIT,
    RUN,
    TERMINATE,
    ExceptionWithTraceback,
    MaybeEncodingError,
    RemoteTraceback,
    ThreadPool,
    mapstar,
    starmapstar,
    worker,
)
from types import TracebackType
from typing import Any, TypeVar

from distpool.call_options import PLAIN, CallOptions, Errors, call_options, memory_bytes, pool_size, seconds
from distpool.checkpoints import Checkpoint, Ordered, Plan, RecordedList, default_chunksize, keep, recorded
from distpool.engines import current
from distpool.engines.protocol import Failure, PoolSpec
from distpool.errors import TimeoutError
from distpool.feeding import Desk, Feeder, default_retries
from distpool.insight import Insight, insight_of
from distpool.pool_results import (
    ApplyResult,
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
from distpool.worker_states import started
from distpool.workers import Roster, WorkerProcess, weakly

__all__ = [
    "CLOSE",
    "INIT",
    "RUN",
    "TERMINATE",
    "ApplyResult",
    "AsyncResult",
    "ExceptionWithTraceback",
    "IMapIterator",
    "IMapUnorderedIterator",
    "MapResult",
    "MaybeEncodingError",
    "Pool",
    "RemoteTraceback",
    "ThreadPool",
    "TimeoutError",
    "mapstar",
    "starmapstar",
    "worker",
]

T = TypeVar("T")

_NAMES = {"fork": "ForkPoolWorker-%d", "spawn": "SpawnPoolWorker-%d", "forkserver": "ForkServerPoolWorker-%d"}

#: Iterating these runs no code of the user's.
PLAIN_SEQUENCES = frozenset((list, tuple, range, str, bytes))


class Pool:
    """A pool of worker processes (``multiprocessing.pool.Pool``).

    Args:
        processes: how many workers; None: as many as there are CPUs.
        initializer: called as ``initializer(*initargs)`` once in each worker before its first call.
        initargs: its arguments.
        maxtasksperchild: calls (or chunks of a map) after which a worker is replaced; None: never.
        context: a multiprocessing context; names the workers, and is otherwise of no consequence.
        retries: how often a call whose worker died is run again; None: ``DISTPOOL_RETRIES``, else 2. With 0 no call
            is ever started twice.
        resources: what each worker needs ({"GPU": 1}); None: nothing.
        task_timeout: seconds that each call, each single item of a map, may run unless it is told otherwise; None: as
            long as it takes. One that runs for longer raises TimeoutError and is ended.
        max_worker_memory: bytes, or a text such as "500MB" or "2G"; a worker that has more for itself when a call is
            done is replaced, as with ``maxtasksperchild``. None: no bound.
        progress: whether ``map`` and its kin show how far they are, unless a call says otherwise: True, a
            description, or a dict (description, total, unit, file).
        worker_state: called once in each worker, after the initializer; in a task ``distpool.worker_state()`` returns
            what it made. Its ``close()``, or its ``__exit__`` if it is a context manager, is called when the worker
            ends in good order. An exception breaks the pool, as one of the initializer's does.

    Raises:
        ValueError, TypeError: as the standard Pool does.
    """

    _state: str = INIT

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., Any] | None = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: int | None = None,
        context: Any = None,
        *,
        retries: int | None = None,
        resources: Mapping[str, float] | None = None,
        task_timeout: float | None = None,
        max_worker_memory: int | str | None = None,
        progress: Progress = None,
        worker_state: Callable[[], Any] | None = None,
    ) -> None:
        if processes is not None and processes < 1:
            raise ValueError("Number of processes must be at least 1")
        if maxtasksperchild is not None and (not isinstance(maxtasksperchild, int) or maxtasksperchild <= 0):
            raise ValueError("maxtasksperchild must be a positive int or None")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        self._task_timeout = seconds(task_timeout)
        self._plain = call_options(task_timeout, None, progress=progress)
        self._ctx = context or multiprocessing.get_context()
        self._maxtasksperchild = maxtasksperchild
        self._initializer = initializer
        self._initargs = tuple(initargs)
        self._pid = os.getpid()
        self._cache: dict[int, Any] = {}
        self._fate = _Fate()
        name = _NAMES.get(self._ctx.get_start_method(), "PoolWorker-%d")
        self._roster = Roster(name)
        self._engine = current()
        self._engine_pool = self._engine.open_pool(
            PoolSpec(
                size=processes,
                initializer=started(initializer, worker_state),
                initargs=self._initargs,
                max_tasks=maxtasksperchild,
                retries=default_retries(retries),
                resources=resources or {},
                memory_bytes_max=memory_bytes(max_worker_memory),
                name=name,
                closures=False,  # MaybeEncodingError instead, as in the standard library
                on_broken=self._fate.break_,
                on_workers=weakly(self._roster.changed),
            )
        )
        self._roster.attach(self._engine, self._engine_pool)
        self._desk = Desk(self._engine, self._engine_pool)
        self._processes = self._engine_pool.size
        self._state = RUN

    # --------------------------------------------------------------------------------- one call

    def apply(self, func: Callable[..., T], args: Iterable[Any] = (), kwds: Mapping[str, Any] = {}) -> T:
        """``func(*args, **kwds)`` in a worker; its value, or its exception."""
        self._check_running()
        result: AsyncResult[T] = AsyncResult(self)
        return self._get(result, lambda: self._submit(result, func, args, kwds, self._plain))

    def apply_async(
        self,
        func: Callable[..., T],
        args: Iterable[Any] = (),
        kwds: Mapping[str, Any] = {},
        callback: Callable[[T], Any] | None = None,
        error_callback: Callable[[BaseException], Any] | None = None,
        *,
        task_timeout: float | None = None,
        retries: int | None = None,
    ) -> AsyncResult[T]:
        """``func(*args, **kwds)`` in a worker, without waiting.

        The arguments are copied before this returns; if they cannot be, ``get`` raises why. Callbacks run in a
        thread of the engine, before ``get`` returns.

        Args:
            task_timeout: seconds that the call may run, in its worker (imports for it do not count). Then ``get``
                raises TimeoutError, and the call is ended: by KeyboardInterrupt, after a second with its worker. None:
                as the pool.
            retries: how often it is run again if its worker dies; None: as the pool.
        """
        self._check_running()
        options = self._options(task_timeout, retries)
        result: AsyncResult[T] = AsyncResult(self, callback, error_callback)
        self._submit(result, func, args, kwds, options)
        return result

    def _options(
        self,
        task_timeout: float | None,
        retries: int | None,
        errors: str = "raise",
        progress: Progress = None,
        checkpoint: Checkpoint = None,
    ) -> CallOptions:
        plain = task_timeout is None and retries is None and errors == "raise" and progress is None
        if plain and checkpoint is None:
            return self._plain
        return call_options(
            task_timeout,
            retries,
            errors,
            progress,
            checkpoint,
            default_s=self._task_timeout,
            default_progress=self._plain.progress,
        )

    def _submit(
        self,
        result: AsyncResult[Any],
        func: Callable[..., Any],
        args: Iterable[Any],
        kwds: Mapping[str, Any],
        options: CallOptions,
    ) -> None:
        try:
            if type(args) is not tuple:
                args = tuple(args)
            self._engine_pool.submit(result, 0, func, args, kwds, options.terms)
        except Exception as error:
            result.fail(error)
            if result._value is not error:
                raise  # by a signal handler, after the engine had taken the call and even ended it
        result.hold()

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
        result = kind(self, whole, length, callback, error_callback)
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
        if issubclass(kind, MeteredIMapIterator):
            result: IMapIterator[Any] = by_chunk(kind)(self) if chunksize > 1 else kind(self)
            function, source = _meter(result, call, length_of(iterable), chunksize, function, source)
        else:
            result = kind(self)
        result.options = call if call.returns_errors else PLAIN
        plain = type(iterable) in PLAIN_SEQUENCES and plan is None
        if plan is not None:
            keep(result, plan, chunked=chunksize > 1)
        Feeder(self._desk, result, function, source, plain=plain, terms=call.terms).start()
        result.hold()
        items = result if chunksize == 1 else (item for chunk in result for item in chunk)
        return items if plan is None else Ordered(plan, items, ordered=kind._in_order)

    # -------------------------------------------------------------------------------- its size

    def resize(self, processes: int) -> None:
        """Have so many workers from now on, also while calls run.

        New ones start in the background. Of too many the idle go at once, the others when what they run is done.

        Raises:
            ValueError, TypeError: not a number of at least 1; the pool is closed.
        """
        size = pool_size(processes)
        self._check_running()
        self._processes = size
        self._engine_pool.resize(size)

    def insight(self) -> Insight:
        """What the workers have done: times, tasks, data and memory of each and in all; also after ``close``.

        ``print`` it for a table.
        """
        return insight_of(self._engine_pool.accounts())

    # --------------------------------------------------------------------------------- the end

    def close(self) -> None:
        """No more calls; the workers end when all work is done."""
        if self._state == RUN:
            self._state = CLOSE
            self._desk.close()

    def terminate(self) -> None:
        """End the workers now; results that are not there yet raise TaskCancelled."""
        self._state = TERMINATE
        self._desk.terminate()

    def join(self) -> None:
        """Wait until all work is done and the workers have ended; after ``close`` or ``terminate``."""
        if self._state == RUN:
            raise ValueError("Pool is still running")
        if self._state not in (CLOSE, TERMINATE):
            raise ValueError("In unknown state")
        self._desk.lift()
        self._engine_pool.wait_gone()
        for result in list(self._cache.values()):
            if isinstance(result, AsyncResult):
                result.wait()  # the last callbacks may still run

    def __enter__(self) -> Pool:
        self._check_running()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.terminate()

    def __del__(
        self, _warn: Any = warnings.warn, _run: str = RUN, _start: Any = _thread.start_new_thread
    ) -> None:
        if self._state != _run or self._pid != os.getpid():
            return
        _warn(f"unclosed running multiprocessing pool {self!r}", ResourceWarning, source=self)
        # A finalizer runs at any point of any thread, so it takes no locks: a new thread does.
        try:
            _start(self._desk.terminate, ())
        except RuntimeError:
            pass  # the interpreter ends, and with it the engine

    # ------------------------------------------------------------------------------ what one sees

    @property
    def _pool(self) -> list[WorkerProcess]:
        """The workers, as process-like objects; waits until all of them are there."""
        if self._state == RUN:
            return self._roster.wait_size(self._processes)
        return self._roster.refresh()

    @property
    def _broken(self) -> Failure | None:
        return self._fate.failure

    def _repopulate_pool(self) -> None:
        """Wait until dead workers have been replaced (the engine does so by itself)."""
        self._roster.wait_size(self._processes)

    def _get(self, result: AsyncResult[T], start: Callable[[], None]) -> T:
        """Submit, and wait for a result that nobody else can ask for: if a signal handler ends that, its calls end too.

        For Ctrl-C: the terminal interrupts only the program itself, and without this the workers would stay busy.
        """
        try:
            start()
            return result.get()
        except BaseException as error:
            if error is not getattr(result, "_value", None):  # not the call's own
                result.give_up()
                self._engine_pool.give_up(result)
            raise

    def _check_running(self) -> None:
        if self._state != RUN:
            raise ValueError("Pool not running")

    def __reduce__(self) -> Any:
        raise NotImplementedError("pool objects cannot be passed between processes or pickled")

    def __repr__(self) -> str:
        kind = type(self)
        size = getattr(self, "_processes", 0)
        return f"<{kind.__module__}.{kind.__qualname__} state={self._state} pool_size={size}>"


class _Fate:
    """Why a pool is broken, if it is. Apart from the pool, which the engine must not keep alive."""

    def __init__(self) -> None:
        self.failure: Failure | None = None
        self._lock = threading.Lock()

    def break_(self, failure: Failure) -> None:
        """The engine says that it can get no workers."""
        with self._lock:
            if self.failure is None:
                self.failure = failure


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
