"""What a Pool's methods give back: the results of one call, of a map, of an imap.

::

    AsyncResult            one call            get() waits for it
      MapResult            many, in a list     get() waits for all of them; the first error wins
    IMapIterator           many, one by one    next() waits for the next in order
      IMapUnorderedIterator                    ... for the next to arrive

Each is itself the promise that the engine fulfils, so that a call costs one object. A result holds its pool until it
is settled (a pool with work to do is not garbage), and nothing after that. The pool's ``join`` waits for results only
once they have been submitted: a signal handler that raises on the way there must leave nothing to wait for.

Stands in for ``multiprocessing.pool.ApplyResult, MapResult, IMapIterator, IMapUnorderedIterator``.
"""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing.pool import MaybeEncodingError, RemoteTraceback  # type: ignore[attr-defined]
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from distpool import worker_hooks
from distpool.call_options import PLAIN, CallOptions
from distpool.engines.protocol import Failure, Promise
from distpool.errors import PoolBroken, TaskCancelled, TimeoutError
from distpool.feeding import Tally
from distpool.progress import Metered
from distpool.streams import Stream, ends_all

if TYPE_CHECKING:
    from distpool.pool import Pool

T = TypeVar("T")

_jobs = itertools.count()


class MapChunk:
    """``function`` over a list of items, as one call."""

    __slots__ = ("__weakref__", "function")

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.function,)

    def __call__(self, items: Sequence[Any]) -> list[Any]:
        """One value for each item."""
        values = list(map(self.function, items))
        worker_hooks.more_items += len(values) - 1
        return values


class StarmapChunk(MapChunk):
    """``function(*item)`` over a list of items, as one call."""

    __slots__ = ()

    def __call__(self, items: Sequence[Any]) -> list[Any]:
        """One value for each item."""
        values = list(itertools.starmap(self.function, items))
        worker_hooks.more_items += len(values) - 1
        return values


def exception_of(failure: Failure, pool: Pool | None) -> BaseException:
    """What ``get`` raises for this failure."""
    if pool is not None and (broken := pool._broken) is not None:
        return broken_pool(broken)
    error: BaseException = failure.to_exception(RemoteTraceback)
    value = getattr(error, "unpicklable_result", None)
    if isinstance(value, str):  # the worker could not send the result, and says what it was
        return _cannot_send(error, value)
    return error


def broken_pool(failure: Failure) -> PoolBroken:
    """What every call of a pool gets whose workers cannot be set up."""
    cause = failure.to_exception(RemoteTraceback)
    error = PoolBroken(
        f"A child process terminated abruptly, the process pool is not usable anymore: {cause!r}"
    )
    error.__cause__ = cause
    return error


class _Shown:
    """Something far away, of which only the repr came."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def _cannot_send(error: BaseException, value: str) -> BaseException:
    made: BaseException = MaybeEncodingError(error, _Shown(value))
    for note in getattr(error, "__notes__", ()):
        made.add_note(note)  # where in the result the culprit is
    return made


def call_back(callback: Callable[[Any], Any], value: Any) -> None:
    """Call a user's callback; an exception is shown as one in a thread of the user's is, and stops nothing."""
    try:
        callback(value)
    except BaseException:
        args = threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread()))
        threading.excepthook(args)


class AsyncResult(Promise, Generic[T]):
    """The result of one call, now or later (``multiprocessing.pool.ApplyResult``)."""

    __slots__ = (
        "__weakref__",
        "_callback",
        "_error_callback",
        "_job",
        "_pool",
        "_success",
        "_value",
        "quick",
        "settled",
        "wakeups",
    )

    settled: bool
    quick: bool
    wakeups: list[Any] | None

    def __init__(
        self,
        pool: Pool,
        callback: Callable[[T], Any] | None = None,
        error_callback: Callable[[BaseException], Any] | None = None,
    ) -> None:
        self.settled = False
        self.wakeups = None
        self._callback = callback
        self._error_callback = error_callback
        self.quick = callback is None and error_callback is None
        self._pool: Pool | None = pool
        self._job = next(_jobs)

    def hold(self) -> None:
        """It has been submitted: ``join`` waits for it."""
        pool = self._pool
        if pool is not None:
            pool._cache[self._job] = self
            if self.settled:  # and its own look came before that
                pool._cache.pop(self._job, None)

    # ------------------------------------------------------------------------ what programs call

    def get(self, timeout: float | None = None) -> T:
        """The value, or the call's own exception.

        Args:
            timeout: seconds to wait for it; None: for ever.

        Raises:
            TimeoutError: (``multiprocessing.TimeoutError``) not there in time.
            WorkerDied: the worker died under the call, more often than it may be repeated.
        """
        if not self.settled:
            self.wait(timeout)
            if not self.settled:
                raise TimeoutError
        if self._success:
            return self._value  # type: ignore[no-any-return]
        raise self._value

    def wait(self, timeout: float | None = None) -> None:
        """Wait until the call has ended, or for ``timeout`` seconds."""
        pool = self._pool
        if pool is not None and not self.settled:
            pool._engine.wait(self, timeout if timeout is None or timeout > 0 else 0.0)

    def give_up(self) -> None:
        """Nobody can ask for it any more: submit no more of its calls."""

    def ready(self) -> bool:
        """Whether the call has ended."""
        return self.settled

    def successful(self) -> bool:
        """Whether the call returned. Raises ValueError while it has not ended."""
        if not self.settled:
            raise ValueError(f"{self!r} not ready")
        return self._success

    # ------------------------------------------------------------------------- what engines call

    def fulfil(self, key: int, value: Any) -> None:
        """The call returned."""
        pool = self._pool
        if pool is None:
            return  # it has ended already, by an exception on the way to the engine
        self._value = value
        self._success = True
        if self._callback is not None:
            call_back(self._callback, value)
        self.settled = True
        wakeups = self.wakeups
        if wakeups is not None:
            self.wakeups = None
            for lock in wakeups:
                lock.release()
        pool._cache.pop(self._job, None)
        self._pool = None

    def reject(self, key: int, failure: Failure) -> None:
        """The call failed."""
        self.fail(exception_of(failure, self._pool))

    def fail(self, error: BaseException) -> None:
        """The call ends with this exception."""
        if self._pool is None:
            return
        self._value = error
        self._success = False
        if self._error_callback is not None:
            call_back(self._error_callback, error)
        self.settle()

    def settle(self) -> None:
        """Let whoever waits go on, and the pool go."""
        pool = self._pool
        self.settled = True
        wakeups = self.wakeups
        if wakeups is not None:
            self.wakeups = None
            for lock in wakeups:
                lock.release()
        if pool is not None:
            pool._cache.pop(self._job, None)
            self._pool = None


ApplyResult = AsyncResult


class MapResult(AsyncResult[list[T]], Tally):
    """The results of one map, in a list (``multiprocessing.pool.MapResult``).

    ``chunksize`` items travel as one call; 0 for calls of single items. As in the standard library, all calls end
    before the first error is raised, unless ``options`` say that it is raised at once, or that errors are results.
    """

    options: CallOptions = PLAIN

    def __init__(
        self,
        pool: Pool,
        chunksize: int,
        length: int,
        callback: Callable[[list[T]], Any] | None,
        error_callback: Callable[[BaseException], Any] | None,
    ) -> None:
        Tally.__init__(self)
        AsyncResult.__init__(self, pool, callback, error_callback)
        self._values: list[Any] = [None] * length
        self._chunksize = chunksize
        self._error: BaseException | None = None

    def fulfil(self, key: int, value: Any) -> None:
        """A call returned: an item's value, or a chunk's list of values."""
        size = self._chunksize
        if self._pool is None:
            pass  # it has ended already
        elif size:
            self._values[key * size : (key + 1) * size] = value
        else:
            self._values[key] = value
        self.done = count = self._tick()
        if count >= self._mark:
            self._reached(count)

    def reject(self, key: int, failure: Failure) -> None:
        """A call failed."""
        error = exception_of(failure, self._pool)
        if self.options.returns_errors and not ends_all(failure, error):
            self._values[key] = error
        elif self._error is None:
            self._error = error
            if self.options.stops_at_first:
                self._stop(error)
        self.done = count = self._tick()
        if count >= self._mark:
            self._reached(count)

    def _stop(self, error: BaseException) -> None:
        """End with this at once; what has not started will not."""
        pool, feeder = self._pool, self.feeder
        if pool is not None:
            if feeder is not None:
                feeder.quit(TaskCancelled("another call of this map has failed"))
            pool._engine_pool.give_up(self, running=False)
            self.fail(error)

    def give_up(self) -> None:
        """Nobody can ask for it any more: submit no more of its calls."""
        if self.feeder is not None:
            self.feeder.stop()

    def end_with(self, error: BaseException, count: int) -> None:
        """The rest cannot be submitted."""
        if self._error is None:
            self._error = error
        self.end(count)

    def _complete(self) -> None:
        values, self._values = self._values, []
        if self._error is not None:
            self.fail(self._error)
        else:
            AsyncResult.fulfil(self, 0, values)


class IMapIterator(Stream, Iterator[T]):
    """The results of ``Pool.imap``, in order (``multiprocessing.pool.IMapIterator``)."""

    _in_order = True

    def __init__(self, pool: Pool) -> None:
        super().__init__(pool._engine, ordered=self._in_order)
        self._pool: Pool | None = pool
        self._job = next(_jobs)

    def hold(self) -> None:
        """It has been submitted: the pool is to know it."""
        pool = self._pool
        if pool is not None:
            pool._cache[self._job] = self
            if self._pool is None:
                pool._cache.pop(self._job, None)

    def __iter__(self) -> IMapIterator[T]:
        return self

    def next(self, timeout: float | None = None) -> T:
        """The next value, or its call's own exception.

        Args:
            timeout: seconds to wait for it; None: for ever.

        Raises:
            TimeoutError: (``multiprocessing.TimeoutError``) not there in time.
            StopIteration: there are no more.
        """
        return self.take(timeout)  # type: ignore[no-any-return]

    def __next__(self) -> T:
        return self.take()  # type: ignore[no-any-return]

    def _exception_of(self, failure: Failure) -> BaseException:
        return exception_of(failure, self._pool)

    def _complete(self) -> None:
        super()._complete()
        pool, self._pool = self._pool, None
        if pool is not None:
            pool._cache.pop(self._job, None)


class IMapUnorderedIterator(IMapIterator[T]):
    """The results of ``Pool.imap_unordered``, as they arrive (``multiprocessing.pool.IMapUnorderedIterator``)."""

    _in_order = False


class MeteredMapResult(Metered, MapResult[T]):
    """The results of a map whose progress is shown."""

    def get(self, timeout: float | None = None) -> list[T]:
        """As of any result; the last line of the progress comes first."""
        try:
            return super().get(timeout)
        finally:
            if self.settled:
                self.meter.close(
                    stopped=not self._completed
                )  # the first failure may have ended it, calls still run
                self.meter.wait_last_line()


class MeteredIMapIterator(Metered, IMapIterator[T]):
    """The results of an imap whose progress is shown."""

    def __next__(self) -> T:
        try:
            return self.take()  # type: ignore[no-any-return]
        except StopIteration:
            self.meter.wait_last_line()
            raise


class MeteredIMapUnorderedIterator(MeteredIMapIterator[T], IMapUnorderedIterator[T]):
    """The results of an imap_unordered whose progress is shown."""


def chunks(items: Iterable[Any], size: int) -> Iterator[tuple[list[Any]]]:
    """The arguments of one call for every ``size`` items."""
    iterator = iter(items)
    while chunk := list(itertools.islice(iterator, size)):
        yield (chunk,)
