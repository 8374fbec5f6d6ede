"""What a manager's server has for its clients to hold: locks and their kin that a dead client gives back.

::

    acquire() ──► Held.note_taken: the client that is being served has a unit more
    release() ──► Held.note_given: it, or whoever has one, has a unit less
    Client.died ──► give_back: what it still has is released; a barrier is broken; an item goes back into its queue

A holder is a *process*: a thread that ends, or a connection that is closed because it is not needed, gives nothing
back. An RLock belongs to one thread of the server, hence to one connection, and is released when that ends, since
nobody else could do it. A bare ``Semaphore.acquire()`` is tied to nobody (another process may release it, as a signal);
one that is held by ``with``, and a BoundedSemaphore, are.

Stands in for the classes of ``threading`` and ``queue`` that ``multiprocessing.managers.SyncManager`` serves.
"""

from __future__ import annotations

import queue
import threading
from collections import Counter
from multiprocessing import managers, process
from typing import Any

from distpool import manager_clients as clients
from distpool.manager_clients import Client


class Held:
    """Units of something, and which clients hold them. A client's set of holds is kept in step."""

    def __init__(self) -> None:
        self._holders: Counter[Client] = Counter()

    def note_taken(self) -> None:
        """The client that is being served has got a unit."""
        line = clients.current_line()
        if line is None:
            return
        with clients.ledger:
            self._holders[line.client] += 1
            line.client.holds.add(self)
            if line.client.dead:
                self.give_back(line.client)

    def note_given(self, units: int = 1) -> None:
        """Units are released, by the client that is being served or on behalf of another. Under the ledger."""
        line = getattr(clients.serving, "line", None)
        for _ in range(units):
            holder = line.client if line is not None and line.client in self._holders else None
            holder = holder or next(iter(self._holders), None)
            if holder is None:
                return
            self._holders[holder] -= 1
            if self._holders[holder] <= 0:
                self._forget(holder)

    def give_back(self, client: Client) -> None:
        """Release what a dead client holds. Under the ledger."""
        units = self._holders[client]
        self._forget(client)
        if units > 0:
            self.release_units(units)

    def release_units(self, units: int) -> None:
        """Make so many units free."""
        raise NotImplementedError

    def untie(self, client: Client) -> None:
        """Leave what ``client`` holds to whoever releases it. Under the ledger."""
        if client in self._holders:
            self._forget(client)

    def _forget(self, client: Client) -> None:
        del self._holders[client]
        client.holds.discard(self)


class ManagedLock(Held):
    """``threading.Lock`` that a dead client gives back."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """As ``threading.Lock.acquire``; seconds."""
        got = self._lock.acquire(blocking, timeout)
        if got:
            self.note_taken()
        return got

    def release(self) -> None:
        """As ``threading.Lock.release``."""
        with clients.ledger:
            self._lock.release()
            self.note_given()

    def locked(self) -> bool:
        """As ``threading.Lock.locked``."""
        return self._lock.locked()

    def release_units(self, units: int) -> None:
        """It has one."""
        self._lock.release()

    def __repr__(self) -> str:
        return repr(self._lock)


class ManagedSemaphore(Held, threading.Semaphore):
    """``threading.Semaphore`` of which a dead client gives back what it held by ``with``."""

    def __init__(self, value: int = 1) -> None:
        Held.__init__(self)
        threading.Semaphore.__init__(self, value)

    def __enter__(self, blocking: bool = True, timeout: float | None = None) -> bool:
        got = threading.Semaphore.acquire(self, blocking, timeout)
        self.note_taken()
        return got

    def __exit__(self, *exc_info: object) -> None:
        with clients.ledger:
            threading.Semaphore.release(self)
            self.note_given()

    def release_units(self, units: int) -> None:
        """Make so many units free."""
        threading.Semaphore.release(self, units)


class ManagedBoundedSemaphore(Held, threading.BoundedSemaphore):
    """``threading.BoundedSemaphore`` of which a dead client gives back what it held."""

    def __init__(self, value: int = 1) -> None:
        Held.__init__(self)
        threading.BoundedSemaphore.__init__(self, value)

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        """As ``threading.BoundedSemaphore.acquire``; seconds."""
        got = threading.BoundedSemaphore.acquire(self, blocking, timeout)
        if got:
            self.note_taken()
        return got

    def __enter__(self, blocking: bool = True, timeout: float | None = None) -> bool:
        return self.acquire(blocking, timeout)

    def __exit__(self, *exc_info: object) -> None:
        self.release()

    def release(self, n: int = 1) -> None:
        """As ``threading.BoundedSemaphore.release``."""
        with clients.ledger:
            threading.BoundedSemaphore.release(self, n)
            self.note_given(n)

    def release_units(self, units: int) -> None:
        """Make so many units free."""
        threading.BoundedSemaphore.release(self, units)


class ManagedRLock:
    """``threading.RLock`` whose holder is a connection; the end of that releases it."""

    def __init__(self) -> None:
        lock: Any = threading.RLock()
        self._lock = lock
        # What a condition asks of its lock.
        self._release_save = self._lock._release_save
        self._acquire_restore = self._lock._acquire_restore
        self._is_owned = self._lock._is_owned

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """As ``threading.RLock.acquire``; seconds."""
        got: bool = self._lock.acquire(blocking, timeout)
        if got and (line := clients.current_line()) is not None:
            line.rlocks[self] += 1
        return got

    def release(self) -> None:
        """As ``threading.RLock.release``."""
        self._lock.release()
        line = getattr(clients.serving, "line", None)
        if line is not None and line.rlocks[self] > 0:
            line.rlocks[self] -= 1

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *exc_info: object) -> None:
        self.release()

    def __repr__(self) -> str:
        return repr(self._lock)


def managed_condition(lock: Any = None) -> threading.Condition:
    """``threading.Condition`` over a lock of this server; ``lock`` may be the proxy of one."""
    if isinstance(lock, managers.BaseProxy):
        proxy: Any = lock
        server: Any = getattr(process.current_process(), "_manager_server", None)
        lock = server.id_to_obj[proxy._id][0] if server is not None else lock
    guard: Any = ManagedRLock() if lock is None else lock
    return threading.Condition(guard)


class ManagedBarrier(threading.Barrier):
    """``threading.Barrier`` that breaks when a client dies waiting in it."""

    def wait(self, timeout: float | None = None) -> int:
        """As ``threading.Barrier.wait``; seconds."""
        line = clients.current_line()
        if line is None:
            return super().wait(timeout)
        with clients.ledger:
            line.client.meetings.add(self)
        try:
            return super().wait(timeout)
        finally:
            with clients.ledger:
                line.client.meetings.discard(self)


class ManagedQueue(queue.Queue[Any]):
    """``queue.Queue`` that gets back what was taken for a client that did not live to receive it."""

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """As ``queue.Queue.get``; seconds."""
        item = super().get(block, timeout)
        line = getattr(clients.serving, "line", None)
        if line is not None:
            line.taken = (self, item)
        return item

    def put_back(self, item: Any) -> None:
        """Make ``item`` the next one again."""
        with self.mutex:
            self.queue.appendleft(item)
            self.not_empty.notify()
