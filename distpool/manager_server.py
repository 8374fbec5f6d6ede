"""The server of a manager: ends with its maker, and takes back what a dead client held.

::

    client process ── a connection for each of its threads ──► serve_client: one thread here for each connection
                                                                  │ _serving.line: whose call this thread runs
    acquire() ──► ManagedLock, ManagedSemaphore, ... note the line's client as holder
    the client's pidfd becomes readable ──► what it held is released, barriers where it waits break,
                                            its connections are shut, so their threads end

A holder is a *process*: a thread that ends, or a connection that is closed because it is not needed, gives nothing
back. Nor does a process that says ``leave``, as every regular exit of one that has acquired does: it has left the
release to somebody else. Through TCP processes cannot be watched; there a connection's end counts as its client's.
An RLock belongs to one thread of the server, hence to one connection, and is released when that ends, since nobody
else could do it.

A bare ``Semaphore.acquire()`` is tied to nobody (another process may release it, as a signal); one that is held by
``with``, and a BoundedSemaphore, are.

Stands in for ``multiprocessing.managers.Server``, from which it inherits the protocol.
"""

from __future__ import annotations

import os
import queue
import select
import socket
import threading
import weakref
from collections import Counter
from multiprocessing import connection, managers, parent_process, process
from typing import Any

from distpool.manager_links import Alternating, peer_pid

# What the end of a server whose maker is gone may take before it is cut short.
_LAST_WORDS_S = 5.0

#: Guards who holds what, in all that follows.
_ledger = threading.Lock()
#: ``line``: the connection whose request this thread serves.
_serving = threading.local()


# --- clients -----------------------------------------------------------------------------------------------


class Client:
    """A process that uses this server, or one connection from elsewhere (pid 0)."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.dead = False
        self.watched = False
        self.lines: set[Line] = set()
        self.holds: set[Held] = set()
        self.meetings: set[threading.Barrier] = set()

    def died(self) -> None:
        """Give back all that it held, and end its connections."""
        with _ledger:
            self.dead = True
            for held in list(self.holds):
                held.give_back(self)
            meetings = list(self.meetings)
            for line in self.lines:
                line.shut()
        for barrier in meetings:
            barrier.abort()


class Line:
    """One connection of a client, and what is bound to the thread that serves it."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.rlocks: Counter[ManagedRLock] = Counter()
        #: What was taken from a queue by the request being served.
        self.taken: tuple[ManagedQueue, Any] | None = None
        self._end: socket.socket | None = None

    def watch(self, conn: Any) -> None:
        """Have the client's death seen to; called by the thread that serves it, when it first holds something."""
        if self._end is None:
            self._end = socket.socket(fileno=os.dup(conn.fileno()))
        if self.client.pid and not self.client.watched:
            self.client.watched = True
            _watcher.add(self.client)

    def shut(self) -> None:
        """Let the thread that serves it read an end of file, though another process may have it open, too."""
        if self._end is not None:
            try:
                self._end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self) -> None:
        """Forget the connection."""
        if self._end is not None:
            self._end.close()


class _Watcher:
    """One thread that waits for the deaths of clients."""

    def __init__(self) -> None:
        self._poll: select.epoll | None = None
        self._clients: dict[int, Client] = {}

    def add(self, client: Client) -> None:
        try:
            pidfd = os.pidfd_open(client.pid)
        except OSError:  # dead already
            threading.Thread(target=client.died, daemon=True).start()
            return
        self._clients[pidfd] = client
        if self._poll is None:
            self._poll = select.epoll()
            threading.Thread(target=self._run, args=(self._poll,), daemon=True, name="client-deaths").start()
        self._poll.register(pidfd, select.EPOLLIN)

    def _run(self, poll: select.epoll) -> None:
        while True:
            for pidfd, _ in poll.poll():
                poll.unregister(pidfd)
                client = self._clients.pop(pidfd)
                os.close(pidfd)
                client.died()


_watcher = _Watcher()


def _current_line() -> Line | None:
    line: Line | None = getattr(_serving, "line", None)
    if line is not None:
        line.watch(_serving.conn)
    return line


# --- what can be held --------------------------------------------------------------------------------------


class Held:
    """Units of something, and which clients hold them. A client's set of holds is kept in step."""

    def __init__(self) -> None:
        self._holders: Counter[Client] = Counter()

    def note_taken(self) -> None:
        """The client that is being served has got a unit."""
        line = _current_line()
        if line is None:
            return
        with _ledger:
            self._holders[line.client] += 1
            line.client.holds.add(self)
            if line.client.dead:
                self.give_back(line.client)

    def note_given(self, units: int = 1) -> None:
        """Units are released, by the client that is being served or on behalf of another. Under the ledger."""
        line = getattr(_serving, "line", None)
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
        with _ledger:
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
        with _ledger:
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
        with _ledger:
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
        if got and (line := _current_line()) is not None:
            line.rlocks[self] += 1
        return got

    def release(self) -> None:
        """As ``threading.RLock.release``."""
        self._lock.release()
        line = getattr(_serving, "line", None)
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
        line = _current_line()
        if line is None:
            return super().wait(timeout)
        with _ledger:
            line.client.meetings.add(self)
        try:
            return super().wait(timeout)
        finally:
            with _ledger:
                line.client.meetings.discard(self)


class ManagedQueue(queue.Queue[Any]):
    """``queue.Queue`` that gets back what was taken for a client that did not live to receive it."""

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """As ``queue.Queue.get``; seconds."""
        item = super().get(block, timeout)
        line = getattr(_serving, "line", None)
        if line is not None:
            line.taken = (self, item)
        return item

    def put_back(self, item: Any) -> None:
        """Make ``item`` the next one again."""
        with self.mutex:
            self.queue.appendleft(item)
            self.not_empty.notify()


class _Served(Alternating):
    """The server's end of a connection."""

    def send(self, obj: Any) -> None:
        line: Line = _serving.line
        try:
            super().send(obj)
        except OSError:
            if line.taken is not None:
                held, item = line.taken
                held.put_back(item)
            raise
        finally:
            line.taken = None


# --- the server --------------------------------------------------------------------------------------------


class Server(managers.Server):
    """Serves a manager's objects (``multiprocessing.managers.Server``)."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.prepare()

    def prepare(self) -> None:
        """Make what the standard server lacks; called for each, however it was made."""
        self._clients: dict[int, Client] = {}
        self._connections: weakref.WeakSet[Any] = weakref.WeakSet()
        self.public = [*self.public, "leave"]

    def serve_forever(self) -> None:
        """Serve until a client says ``shutdown``, or the maker is gone."""
        _servers.add(self)
        if _maker_pid:
            _watch_maker()
        super().serve_forever()

    def leave(self, c: Any) -> None:
        """A client ends as it should: what it holds is tied to it no longer."""
        with _ledger:
            client = self._clients.get(_pid_of(c))
            if client is not None:
                for held in list(client.holds):
                    held.untie(client)

    def handle_request(self, conn: Any) -> None:
        """Serve one connection, to its end."""
        self._connections.add(conn)
        super().handle_request(conn)

    def serve_client(self, conn: Any) -> None:
        """Answer the calls of one thread of a client."""
        if type(conn) is connection.Connection:
            conn.__class__ = _Served
        line = self._open_line(_pid_of(conn))
        _serving.line, _serving.conn = line, conn
        try:
            super().serve_client(conn)
        finally:
            _serving.line = _serving.conn = None
            self._close_line(line)

    def _open_line(self, pid: int) -> Line:
        with _ledger:
            client = (self._clients.setdefault(pid, Client(pid)) if pid else None) or Client(0)
            if client.dead:  # and another process has its number now
                client = self._clients[pid] = Client(pid)
            line = Line(client)
            client.lines.add(line)
        return line

    def _close_line(self, line: Line) -> None:
        for rlock, times in line.rlocks.items():
            for _ in range(times):
                rlock._lock.release()
        client = line.client
        with _ledger:
            client.lines.discard(line)
            line.close()
            last = not client.lines
            if last and not client.watched and self._clients.get(client.pid) is client:
                del self._clients[client.pid]
        if last and (client.dead or not client.pid):
            client.died()

    def close_in_child(self) -> None:
        """In a process forked from this one: a dead server must not look alive for its child's sake."""
        for conn in list(self._connections):
            if not conn.closed:
                conn.close()
        listener: Any = vars(self)["listener"]
        listener.close()


def _pid_of(conn: Any) -> int:
    """The process that calls by ``conn``; 0 if it cannot be told."""
    return peer_pid(conn) if isinstance(conn, connection.Connection) and not conn.closed else 0


class SharedMemoryServer(Server, managers.SharedMemoryServer):
    """The same for segments of shared memory (``multiprocessing.managers.SharedMemoryServer``)."""


_servers: weakref.WeakSet[Server] = weakref.WeakSet()


def _after_fork() -> None:
    global _ledger, _watcher
    for server in list(_servers):
        server.close_in_child()
    _servers.clear()
    _ledger, _watcher = threading.Lock(), _Watcher()


os.register_at_fork(after_in_child=_after_fork)


# --- the maker ---------------------------------------------------------------------------------------------


_maker_pid = 0


def end_with_maker() -> None:
    """Called in a new server process: the end of the process that made it shall be its own."""
    global _maker_pid
    _maker_pid = getattr(parent_process(), "pid", 0)


def _watch_maker() -> None:
    """Begin to wait for the maker's end, by its pid: a fork server may be the system's parent of this process."""
    maker: Any = parent_process()
    try:
        pidfd = os.pidfd_open(_maker_pid)
    except OSError:
        os._exit(1)
    if os.getppid() != _maker_pid and connection.wait([maker.sentinel], 0):
        os._exit(1)
    threading.Thread(target=_wait_for_end, args=(pidfd,), daemon=True, name="maker-death").start()


def _wait_for_end(pidfd: int) -> None:
    connection.wait([pidfd])
    server: Any = getattr(process.current_process(), "_manager_server", None)
    if server is None:
        os._exit(1)
    segments = getattr(server, "shared_memory_context", None)
    if segments is not None:
        segments.unlink()
    server.stop_event.set()
    threading.main_thread().join(_LAST_WORDS_S)  # it ends the process
    os._exit(1)
