"""Dask's ``SerializableLock`` in a task: one lock for all workers.

::

    da.store(x, target)  ─►  SerializableLock, since Dask knows no better of a scheduler that it does not know
                                  │ pickled for a worker: its token, and a lock of all processes
                                  ▼
                             SerializableLock with the same token, which that lock is inside

Dask's own is one for all threads of a process, which is enough for threads: of what two tasks in two processes write to
one file, some would be lost. Here a program that ran on threads keeps out of its own way as it did.

What it is not: a lock between the tasks and this process, where Dask's own stays inside.
"""

from __future__ import annotations

import weakref
from threading import Lock as ThreadLock
from typing import Any

from dask.utils import SerializableLock

from distpool.locks import Lock
from distpool.scheduler.serialize.pickler import TaskPickler, register

__all__ = ["OfAllWorkers", "share_locks"]

#: For a lock of this process, the one that stands for it in the workers.
_shared: weakref.WeakKeyDictionary[ThreadLock, Lock] = weakref.WeakKeyDictionary()


class OfAllWorkers:
    """A lock of all processes with the manners of ``threading.Lock``, which is what is expected inside of Dask's."""

    def __init__(self, lock: Lock) -> None:
        self.shared = lock

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take it; False if that was not possible at once, or within ``timeout`` seconds (-1: without end)."""
        if not blocking and timeout != -1:
            raise ValueError("can't specify a timeout for a non-blocking call")
        return self.shared.acquire(blocking, None if timeout == -1 else timeout)

    def release(self) -> None:
        """Give it back. Raises RuntimeError if nobody has it."""
        try:
            self.shared.release()
        except ValueError:
            raise RuntimeError("release unlocked lock") from None

    def locked(self) -> bool:
        """Whether somebody has it."""
        return self.shared.locked()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_exception: object) -> None:
        self.release()


def share_locks() -> None:
    """From now on, a SerializableLock that goes to a worker is the same lock in all of them."""
    register(SerializableLock, _reduce)


def _reduce(_pickler: TaskPickler, lock: SerializableLock) -> tuple[Any, ...]:
    inside = lock.lock
    if isinstance(inside, OfAllWorkers):
        return _arrived, (lock.token, inside.shared)
    if inside not in _shared:
        _shared.setdefault(inside, Lock())
    return _arrived, (lock.token, _shared[inside])


def _arrived(token: Any, shared: Lock) -> SerializableLock:
    inside = SerializableLock._locks.get(token)
    if inside not in _shared:  # it has not come home
        inside = SerializableLock._locks[token] = OfAllWorkers(shared)
    lock = SerializableLock.__new__(SerializableLock)
    lock.token, lock.lock = token, inside
    return lock
