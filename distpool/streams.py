"""Results of many calls, taken one by one: what ``imap`` and ``executor.map`` are made of.

::

    engine ── fulfil / reject ──► arrived (by key, or in a queue) ──► take() ──► program
    feeder ── end / end_with ───► length                                │
       ▲                                                                │
       └────────────────────────── wake, at a mark ◄────────────────────┘

A slow taker holds its feeder back, until somebody waits for the end of all work and ``lift`` is called.
"""

from __future__ import annotations

import time
from _thread import allocate_lock
from collections import deque
from multiprocessing.pool import RemoteTraceback  # type: ignore[attr-defined]
from typing import Any

from distpool.call_options import PLAIN, CallOptions
from distpool.engines.protocol import Call, Failure
from distpool.errors import PoolBroken, TimeoutError
from distpool.feeding import NEVER, Tally, weigh

_MISSING: Any = object()


class _Raised:
    """In the place of a value: the exception of its call."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error


def ends_all(failure: Failure, error: BaseException) -> bool:
    """Whether this concerns the whole map, and is no single call's result: the pool is broken, or was terminated."""
    return failure.cancelled or isinstance(error, PoolBroken)


class Stream(Tally):
    """Results of many calls, taken one by one; in order, or as they arrive (``ordered=False``).

    ``settled`` means here: look again, there may be one to take. The taker clears it before it looks a last time, and
    the giver sets it after it has put something down, so neither misses the other.

    ``options`` may say that errors are results, or that the first error is taken before what is still to come in order.
    """

    options: CallOptions = PLAIN

    def __init__(self, engine: Any, *, ordered: bool, bounded: bool = True) -> None:
        super().__init__()
        self.engine = engine
        self.length: int | None = None
        self.taken = 0
        self.weight = None if bounded else 0
        self._bounded = bounded
        self._taken_mark = NEVER
        self._turn = allocate_lock()
        self._ordered = ordered
        self._arrived: dict[int, Any] = {}
        self._queue: deque[Any] = deque()
        self._final: _Raised | None = None
        self._first: _Raised | None = None  # the error that comes before all that has not arrived

    def take(self, timeout_s: float | None = None) -> Any:
        """The next result.

        Raises:
            StopIteration: there are no more.
            TimeoutError: not there within ``timeout_s``.
            Whatever its call raised.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        if not self._turn.acquire(timeout=-1 if timeout_s is None else max(0.0, timeout_s)):
            raise TimeoutError
        try:
            while True:
                value = self._pop()
                if value is _MISSING:
                    self.settled = False
                    value = self._pop()
                if value is _MISSING and self._first is not None:
                    value = self._first
                if value is not _MISSING:
                    break
                if self.length == self.taken:
                    raise StopIteration
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                if not self.engine.wait(self, left):
                    raise TimeoutError
            self.taken = taken = self.taken + 1
            if taken >= self._taken_mark:
                self._taken_mark = NEVER
                self.weight = weigh(value)
                if self.feeder is not None:
                    self.feeder.wake()
        finally:
            self._turn.release()
        if type(value) is not _Raised:
            return value
        try:
            raise value.error
        finally:
            del value  # the traceback holds this frame

    def _pop(self) -> Any:
        if self._ordered:
            return self._arrived.pop(self.taken, _MISSING)
        return self._queue.popleft() if self._queue else _MISSING

    def has_next(self) -> bool:
        """Whether ``take`` would return at once."""
        there = self.taken in self._arrived or bool(self._queue) or self._first is not None
        return there or self.length == self.taken

    # ------------------------------------------------------------------------- what engines call

    def fulfil(self, key: int, value: Any) -> None:
        """A call returned."""
        if self._ordered:
            self._arrived[key] = value
            if key == self.taken and not self.settled:
                self.settle()
        else:
            self._queue.append(value)
            if not self.settled:
                self.settle()
        self.done = count = self._tick()
        if count >= self._mark:
            self._reached(count)

    def reject(self, key: int, failure: Failure) -> None:
        """A call failed."""
        error = self._exception_of(failure)
        if self.options.returns_errors and not ends_all(failure, error):
            self.fulfil(key, error)
            return
        raised = _Raised(error)
        self.fulfil(key, raised)
        if self.options.stops_at_first and self._first is None:
            self._first = raised
            self.settle()

    def settle(self) -> None:
        """Let the taker look. Two threads may deliver at once: a lock that the other one has released is no matter."""
        self.settled = True
        wakeups = self.wakeups
        if wakeups is not None:
            self.wakeups = None
            for lock in wakeups:
                try:
                    lock.release()
                except RuntimeError:
                    pass

    def _exception_of(self, failure: Failure) -> BaseException:
        return failure.to_exception(RemoteTraceback)

    # ------------------------------------------------------------------------- what feeders call

    def progress(self) -> int:
        """Calls whose results have been taken; once lifted, calls that have ended."""
        return self.taken if self._bounded else self.done

    def notify_at(self, progress: int) -> None:
        """Wake the feeder when so many calls are out of its way."""
        if self._bounded:
            self._taken_mark = progress
        else:
            super().notify_at(progress)

    def lift(self) -> None:
        """Do not wait for results to be taken."""
        self._bounded = False
        self._taken_mark = NEVER

    def sent(self, calls: list[Call]) -> None:
        """These have been submitted."""

    def end(self, count: int) -> None:
        """There are ``count`` results in all."""
        self.length = count
        if self.taken == count:
            self.settle()
        super().end(count)

    def end_with(self, error: BaseException, count: int) -> None:
        """In the place of a next result, and after all others, there is this exception."""
        if self._ordered:
            self.fulfil(count, _Raised(error))
            self.end(count + 1)
        else:
            self._final = _Raised(error)
            self.length = count + 1
            super().end(count)

    def _complete(self) -> None:
        """All calls have ended (their results may still wait to be taken)."""
        if self._final is not None:
            self._queue.append(self._final)
            self.settle()
