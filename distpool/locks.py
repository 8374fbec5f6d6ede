"""The two locks of all processes: a Mutex each, with the standard library's manners.

::

    Lock    any thread of any process may release it     ─┬─► _MutexLock ─► Mutex (scheduler.shared.mutex)
    RLock   its holder may acquire it again              ─┘        │
                                        its holder died: the next one is warned (HolderDied), here or on another node

A part of ``synchronize``, which says what all of its things have in common.

Stands in for ``multiprocessing.synchronize.SemLock, Lock, RLock``.
"""

from __future__ import annotations

import multiprocessing
import threading
import warnings
from typing import Any, ClassVar

from distpool.errors import HolderDied
from distpool.scheduler.shared import identity, mutex, segment, semaphores
from distpool.scheduler.shared.things import SharedThing

__all__ = ["Lock", "RLock", "SemLock"]


class SemLock(SharedThing):
    """Base of all that can be acquired and released (``multiprocessing.synchronize.SemLock``)."""

    TAKING = frozenset({"acquire", "__enter__"})
    GIVING = frozenset({"release", "__exit__"})


class MutexLock(mutex.Mutex, SemLock):
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


class Lock(MutexLock):
    """A lock that any thread of any process may release (``multiprocessing.synchronize.Lock``).

    ``release`` raises ValueError if it is not locked. ``ctx`` is taken for the standard one's sake.
    """

    KIND = "Lock"
    _kind = semaphores.SEMAPHORE

    def __repr__(self) -> str:
        return f"<{type(self).__name__}(owner={self._owner()[0]})>"


class RLock(MutexLock):
    """A lock that the thread which holds it may acquire again (``multiprocessing.synchronize.RLock``).

    ``release`` raises AssertionError in any other thread.
    """

    KIND = "RLock"
    _kind = semaphores.RECURSIVE

    def __repr__(self) -> str:
        owner, count = self._owner()
        return f"<{type(self).__name__}({owner}, {count})>"
