"""Locks, semaphores, conditions, events and barriers of all processes, wherever they run.

::

    Lock, RLock                     a Mutex                               (locks, scheduler.shared.mutex)
    Semaphore, BoundedSemaphore     a Monitor, and units by process       (here, scheduler.shared.units)
    Condition                       a lock of these, and a Monitor for whoever waits         (conditions)
    Event                           a Monitor with one word                                  (conditions)
    Barrier                         a Monitor and the story of its rounds (here, scheduler.shared.rounds)

Each lies in shared memory of the node of the process that made it. There, an operation that need not wait is no system
call and no message. On another node the same class's operations are calls to the process that sent it. All may be
arguments of tasks, lie in containers and globals, and go through queues; the standard ones may only be inherited.

No death leaves them stuck: a lock is released when its holder dies (the next holder is warned, ``HolderDied``), units
taken by ``with`` or from a bounded semaphore come back, a dead waiter is passed over, and a barrier breaks.

Stands in for ``multiprocessing.synchronize``.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from types import TracebackType
from typing import Any

from distpool.conditions import Condition, Event
from distpool.locks import Lock, RLock, SemLock
from distpool.scheduler.shared import monitor, rounds, segment, units
from distpool.scheduler.shared.things import SharedThing
from distpool.standing_aside import standard_ones

__all__ = ["Barrier", "BoundedSemaphore", "Condition", "Event", "Lock", "RLock", "SemLock", "Semaphore"]

# By this module's name they are known, to users and in pickles, wherever their code is.
for _kind in (Condition, Event, Lock, RLock, SemLock):
    _kind.__module__ = __name__

#: The most that a semaphore can have (``multiprocessing.synchronize.SEM_VALUE_MAX``).
SEM_VALUE_MAX = 2**31 - 1


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
            wrong = f"a semaphore cannot start with {value} units: take 0 to {SEM_VALUE_MAX}"
            raise OSError(errno.EINVAL, wrong)  # as the standard one
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

    @property
    def _semlock(self) -> _Looked:
        """What the standard queues, and other libraries, look at."""
        return _Looked(self)

    def _client_gone(self, held: int, died: int) -> None:
        for _ in range(held):
            self._units.release(True)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}(value={self.get_value()})>"


class _Looked:
    """A semaphore, by the names of the standard library's own in C."""

    def __init__(self, semaphore: Semaphore) -> None:
        self._semaphore = semaphore
        self.acquire, self.release = semaphore.acquire, semaphore.release

    def _get_value(self) -> int:
        return self._semaphore.get_value()

    def _is_zero(self) -> bool:
        return self._semaphore.locked()


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


globals().update(standard_ones("multiprocessing.synchronize", __all__))
