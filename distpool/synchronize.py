"""Locks, semaphores, conditions, events and barriers of all processes, wherever they run.

::

    Lock, RLock                     a Mutex                               (scheduler.shared.mutex)
    Semaphore, BoundedSemaphore     a Monitor, and units by process       (scheduler.shared.units)
    Condition                       a lock of these, and a Monitor for whoever waits
    Event                           a Monitor with one word
    Barrier                         a Monitor and the story of its rounds (scheduler.shared.rounds)

Each lies in shared memory of the node of the process that made it. There, an operation that need not wait is no system
call and no message. On another node the same class's operations are calls to the process that sent it. All may be
arguments of tasks, lie in containers and globals, and go through queues; the standard ones may only be inherited.

No death leaves them stuck: a lock is released when its holder dies (the next holder is warned, ``HolderDied``), units
taken by ``with`` or from a bounded semaphore come back, a dead waiter is passed over, and a barrier breaks.

Stands in for ``multiprocessing.synchronize``.
"""

from __future__ import annotations

import multiprocessing
import sys
import threading
import time
import warnings
from collections.abc import Callable
from types import TracebackType
from typing import Any, ClassVar

from distpool.errors import HolderDied
from distpool.scheduler.shared import identity, monitor, mutex, rounds, segment, semaphores, units
from distpool.scheduler.shared.things import SharedThing

__all__ = ["Barrier", "BoundedSemaphore", "Condition", "Event", "Lock", "RLock", "Semaphore"]

#: The most that a semaphore can have (``multiprocessing.synchronize.SEM_VALUE_MAX``).
SEM_VALUE_MAX = 2**31 - 1
#: How many can wait for one condition at a time.
_CONDITION_WAITERS = 1024


#: Words of an event: whether it is set, and how often it has been.
_FLAG, _TIMES = range(2)


class SemLock(SharedThing):
    """Base of all that can be acquired and released (``multiprocessing.synchronize.SemLock``)."""

    TAKING = frozenset({"acquire", "__enter__"})
    GIVING = frozenset({"release", "__exit__"})


# ----------------------------------------------------------------------------------------------------- locks


class _MutexLock(mutex.Mutex, SemLock):
    """What the two locks have in common."""

    OPERATIONS = frozenset(
        {"acquire", "release", "__enter__", "__exit__", "__repr__", "locked", "_is_mine", "_count"}
    )
    _kind: ClassVar[int]

    def __init__(self, *, ctx: Any = None) -> None:
        place = segment.allocate(mutex.BYTES)
        self.make(place)
        self._attach(place)

    def _attach(self, place: segment.Place) -> None:
        mutex.Mutex.__init__(self, place, self._kind)

    def locked(self) -> bool:
        """Whether somebody holds it at this moment."""
        return bool(self.semaphore._is_zero())

    @property
    def _semlock(self) -> Any:
        """What other libraries look at."""
        return self.semaphore

    def _is_mine(self) -> bool:
        return bool(self.semaphore._is_mine())

    def _count(self) -> int:
        return int(self.semaphore._count())

    def _tell(self, died: int) -> None:
        if mutex.service.told is not None:
            mutex.service.told.append(died)
            return
        pid = identity.pid_of(died)
        who = f"process {pid}" if pid else "a process"
        try:
            warnings.warn(
                f"{who} died while it held this {type(self).__name__}, which is now held by this one: "
                "what it guards may be half-changed, so look at it, or make it anew",
                HolderDied,
                stacklevel=4,
            )
        except BaseException:
            self.release()
            raise

    def _client_gone(self, held: int, died: int) -> None:
        # It may have been released by somebody else since, and taken by a third.
        if held and self._is_mine() and self._words[self._follow().slot] == identity.me:
            self.abandon(died)

    def _owner(self) -> tuple[str, Any]:
        """Who has it, and how often, in words."""
        semaphore = self.semaphore
        if semaphore._is_mine():
            name = multiprocessing.current_process().name
            thread = threading.current_thread()
            if thread is not threading.main_thread():
                name += f"|{thread.name}"
            return name, semaphore._count()
        if not semaphore._is_zero():
            return "None", 0
        return ("SomeOtherThread" if semaphore._count() > 0 else "SomeOtherProcess"), "nonzero"


class Lock(_MutexLock):
    """A lock that any thread of any process may release (``multiprocessing.synchronize.Lock``).

    ``release`` raises ValueError if it is not locked. ``ctx`` is taken for the standard one's sake.
    """

    KIND = "Lock"
    _kind = semaphores.SEMAPHORE

    def __repr__(self) -> str:
        return f"<{type(self).__name__}(owner={self._owner()[0]})>"


class RLock(_MutexLock):
    """A lock that the thread which holds it may acquire again (``multiprocessing.synchronize.RLock``).

    ``release`` raises AssertionError in any other thread.
    """

    KIND = "RLock"
    _kind = semaphores.RECURSIVE

    def __repr__(self) -> str:
        owner, count = self._owner()
        return f"<{type(self).__name__}({owner}, {count})>"


# ------------------------------------------------------------------------------------------------ semaphores


class Semaphore(SemLock):
    """Units that are taken and given back (``multiprocessing.synchronize.Semaphore``).

    Units taken by ``with`` come back if their process dies. Those taken by ``acquire`` do not: another process may be
    meant to ``release``.
    """

    KIND = "Semaphore"
    OPERATIONS = frozenset({"acquire", "release", "__enter__", "__exit__", "__repr__", "get_value", "locked"})
    TAKING = frozenset({"__enter__"})
    GIVING = frozenset({"__exit__"})
    _acquire_ties = False

    def __init__(self, value: int = 1, *, ctx: Any = None) -> None:
        self._start(value, SEM_VALUE_MAX)

    def _start(self, value: int, value_max: int) -> None:
        if not 0 <= value <= SEM_VALUE_MAX:
            raise ValueError(f"a semaphore cannot start with {value} units: take 0 to {SEM_VALUE_MAX}")
        place = segment.allocate(units.BYTES)
        units.Units.make_with(place, value)
        self._attach(place, value_max)

    def _attach(self, place: segment.Place, value_max: int) -> None:
        self.place = place
        self._units = units.Units(place, value_max)
        self._attach_parts(value_max)

    def _attach_parts(self, value_max: int) -> None:
        self._value_max = value_max

    def _parts(self) -> tuple[Any, ...]:
        return (self._value_max,)

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        """Take a unit; False if there was none at once (``block=False``) or within ``timeout`` seconds."""
        return self._units.acquire(self._acquire_ties, block, timeout)

    def release(self) -> None:
        """Give a unit back, or add one.

        Raises:
            ValueError: there would be more than there can be.
        """
        self._units.release(self._acquire_ties)

    def __enter__(self) -> bool:
        return self._units.acquire(True, True, None)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._units.release(True)

    def get_value(self) -> int:
        """How many units there are at this moment."""
        return self._units.value()

    def locked(self) -> bool:
        """Whether there is no unit at this moment."""
        return self._units.value() == 0

    def _client_gone(self, held: int, died: int) -> None:
        for _ in range(held):
            self._units.release(True)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}(value={self.get_value()})>"


class BoundedSemaphore(Semaphore):
    """Units of which there are never more than at first (``multiprocessing.synchronize.BoundedSemaphore``).

    Those of a process that dies come back, however it took them.
    """

    KIND = "BoundedSemaphore"
    TAKING = SemLock.TAKING
    GIVING = SemLock.GIVING
    _acquire_ties = True

    def __init__(self, value: int = 1, *, ctx: Any = None) -> None:
        self._start(value, value)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}(value={self.get_value()}, maxvalue={self._value_max})>"


# ----------------------------------------------------------------------------------------- condition, event


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
        if lock is not None and not isinstance(lock, _MutexLock):
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


# -------------------------------------------------------------------------------------------------- barrier


class Barrier(SharedThing):
    """A meeting of a number of threads, in any processes (``multiprocessing.synchronize.Barrier``).

    If one dies while it waits, or acts for all, the barrier breaks, and the others are told which process it was.

    Args:
        parties: how many meet.
        action: what one of them calls when all are there, before they go on.
        timeout: for ``wait``, where that names none; in seconds.
        ctx: taken for the standard one's sake.
    """

    KIND = "Barrier"
    OPERATIONS = frozenset({"_arrive", "_pass", "_fail", "_look", "reset", "abort"})

    def __init__(
        self,
        parties: int,
        action: Callable[[], object] | None = None,
        timeout: float | None = None,
        *,
        ctx: Any = None,
    ) -> None:
        if parties < 1:
            raise ValueError(f"a barrier of {parties} parties cannot be: take 1 or more")
        place = segment.allocate(rounds.BYTES)
        monitor.Monitor.make(place)
        self._attach(place, parties, action, timeout)

    def _attach(self, place: segment.Place, parties: int, action: Any, timeout: float | None) -> None:
        self.place = place
        self._rounds = rounds.Rounds(place, parties)
        self._attach_parts(parties, action, timeout)

    def _attach_parts(self, parties: int, action: Any, timeout: float | None) -> None:
        self._parties = parties
        self._action = action
        self._timeout = timeout

    def _parts(self) -> tuple[Any, ...]:
        return self._parties, self._action, self._timeout

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the others, at most ``timeout`` seconds; returns a number from 0 to ``parties`` - 1, each once.

        Raises:
            threading.BrokenBarrierError: it is broken, breaks meanwhile, or is reset; a time-out breaks it.
        """
        acts = self._action is not None
        index, round_to_act = self._arrive(self._timeout if timeout is None else timeout, acts)
        if round_to_act >= 0:
            try:
                self._action()
            except BaseException:
                self._fail(round_to_act)
                raise
            self._pass(round_to_act)
        return index

    def _arrive(self, timeout: float | None, acts: bool) -> tuple[int, int]:
        return self._rounds.arrive(timeout, acts)

    def _pass(self, number: int) -> None:
        self._rounds.finish(number)

    def _fail(self, number: int) -> None:
        self._rounds.fail(number)

    def _look(self) -> tuple[int, bool]:
        return self._rounds.look()

    def reset(self) -> None:
        """Begin anew; whoever waits gets a BrokenBarrierError."""
        self._rounds.reset()

    def abort(self) -> None:
        """Break it, for whoever waits and whoever comes, until it is reset."""
        self._rounds.abort()

    @property
    def parties(self) -> int:
        """How many meet."""
        return self._parties

    @property
    def n_waiting(self) -> int:
        """How many wait at this moment."""
        return self._look()[0]

    @property
    def broken(self) -> bool:
        """Whether it is broken."""
        return self._look()[1]

    def _client_gone(self, held: int, died: int) -> None:
        self._rounds.client_gone(died)

    def __repr__(self) -> str:
        waiting, broken = self._look()
        state = "broken" if broken else f"waiters={waiting}/{self._parties}"
        return f"<{type(self).__module__}.{type(self).__qualname__} at {id(self):#x}: {state}>"
