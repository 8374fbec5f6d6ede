"""Conditions and events of all processes: a Monitor each, in which those who wait stand in line.

::

    Condition.wait     enlist ─► release the lock ─► sleep ─► woken, or too late ─► acquire it as often as before
    Condition.notify   those who wait longest, without who died meanwhile
    Event              one word that is set or not, and how often it was: who waits goes on even if it is soon cleared

A part of ``synchronize``, which says what all of its things have in common.

Stands in for ``multiprocessing.synchronize.Condition, Event``.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from distpool.locks import MutexLock, RLock
from distpool.scheduler.shared import monitor, mutex, segment
from distpool.scheduler.shared.things import SharedThing

__all__ = ["Condition", "Event"]

#: How many can wait for one condition at a time.
_CONDITION_WAITERS = 1024
#: Words of an event: whether it is set, and how often it has been.
_FLAG, _TIMES = range(2)


class Condition(SharedThing):
    """Wait, with a lock given up meanwhile, until another notifies (``multiprocessing.synchronize.Condition``).

    Those who wait longest are notified first; who died meanwhile is passed over.

    Args:
        lock: a ``Lock`` or ``RLock`` of distpool; None for an ``RLock`` of its own.
        ctx: taken for the standard one's sake.

    Raises:
        TypeError: ``lock`` is another library's.
    """

    KIND = "Condition"
    OPERATIONS = frozenset({"wait", "notify", "notify_all", "_waiting"})

    def __init__(self, lock: Any = None, *, ctx: Any = None) -> None:
        if lock is not None and not isinstance(lock, MutexLock):
            kind = f"{type(lock).__module__}.{type(lock).__qualname__}"
            raise TypeError(f"a Condition is made over a Lock or RLock of distpool, not over a {kind}")
        if lock is not None and lock.is_remote:
            raise TypeError(
                "this lock is another node's: make the Condition on the node of its lock, and send it here"
            )
        place = segment.allocate(monitor.bytes_for(_CONDITION_WAITERS))
        monitor.Monitor.make(place)
        self._attach(place, RLock() if lock is None else lock)

    def _attach(self, place: segment.Place, lock: Any) -> None:
        self.place = place
        self._monitor = monitor.Monitor(place)
        self._attach_parts(lock)

    def _attach_parts(self, lock: Any) -> None:
        self._lock = lock
        self.acquire = lock.acquire
        self.release = lock.release

    def _parts(self) -> tuple[Any, ...]:
        return (self._lock,)

    def __enter__(self) -> bool:
        return bool(self._lock.__enter__())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.__exit__(kind, error, trace)

    def wait(self, timeout: float | None = None) -> bool:
        """Give the lock up, wait to be notified, and take it again; False if that did not come in ``timeout`` s.

        Raises:
            AssertionError: this thread does not hold the lock.
            OSError: too many wait already.
        """
        lock = self._lock
        if not lock._is_mine():
            raise AssertionError("must acquire() condition before using wait()")
        with self._monitor:
            at = self._monitor.enlist()
        if at is None:
            raise OSError(
                f"{_CONDITION_WAITERS} threads wait for this condition, and there is no room for more"
            )
        count = lock._count()
        for _ in range(count):
            lock.release()
        try:
            with self._monitor:
                return self._monitor.wait_for_wake(at, timeout)
        except mutex.ClientGone:
            count = 0  # nobody is there to hold it
            raise
        finally:
            for _ in range(count):
                lock.acquire()

    def wait_for(self, predicate: Callable[[], Any], timeout: float | None = None) -> Any:
        """Wait until ``predicate()`` is true, at most for ``timeout`` seconds; returns what it returned last."""
        until_s = None if timeout is None else time.monotonic() + timeout
        result = predicate()
        while not result:
            left_s = None if until_s is None else until_s - time.monotonic()
            if left_s is not None and left_s <= 0:
                break
            self.wait(left_s)
            result = predicate()
        return result

    def notify(self, n: int = 1) -> None:
        """Wake ``n`` who wait, or all if they are fewer.

        Raises:
            AssertionError: this thread does not hold the lock.
        """
        if not self._lock._is_mine():
            raise AssertionError("lock is not owned")
        with self._monitor:
            self._monitor.wake(n)

    def notify_all(self) -> None:
        """Wake all who wait."""
        self.notify(sys.maxsize)

    def _tell(self, died: int) -> None:
        self._lock._tell(died)

    def _waiting(self) -> int:
        with self._monitor:
            return self._monitor.waiting()

    @property
    def _sleeping_count(self) -> _Reading:
        return _Reading(self._waiting)

    @property
    def _woken_count(self) -> _Reading:
        return _Reading(int)

    _wait_semaphore = _woken_count

    def __repr__(self) -> str:
        return f"<{type(self).__name__}({self._lock}, {self._waiting()})>"


class _Reading:
    """Stands where the standard condition has semaphores, for those who look at their values."""

    def __init__(self, get_value: Callable[[], int]) -> None:
        self.get_value = get_value


class Event(SharedThing):
    """A flag that can be waited for (``multiprocessing.synchronize.Event``)."""

    KIND = "Event"
    OPERATIONS = frozenset({"is_set", "set", "clear", "wait"})

    def __init__(self, *, ctx: Any = None) -> None:
        place = segment.allocate(monitor.BYTES)
        monitor.Monitor.make(place)
        self._attach(place)

    def _attach(self, place: segment.Place) -> None:
        self.place = place
        self._monitor = monitor.Monitor(place)
        self._words = self._monitor.words

    def is_set(self) -> bool:
        """Whether it is set."""
        return bool(self._words[_FLAG])

    def set(self) -> None:
        """Set it, and wake all who wait."""
        with self._monitor:
            self._words[_FLAG] = 1
            self._words[_TIMES] += 1
            self._monitor.wake_all()

    def clear(self) -> None:
        """Take it back."""
        with self._monitor:
            self._words[_FLAG] = 0

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set; False if that was not so within ``timeout`` seconds."""
        words = self._words
        if words[_FLAG]:
            return True
        with self._monitor:
            times = words[_TIMES]  # who waits goes on even if it is cleared at once
            over = self._monitor.wait_until(lambda: words[_FLAG] or words[_TIMES] != times, True, timeout)
            return bool(over)

    def __repr__(self) -> str:
        return f"<{type(self).__qualname__} at {id(self):#x} {'set' if self.is_set() else 'unset'}>"
