"""The server of a manager: ends with its maker, and takes back what a dead client held.

::

    client process ── a connection for each of its threads ──► serve_client: one thread here for each connection
                                                                  │ serving.line: whose call this thread runs
    acquire() ──► ManagedLock, ManagedSemaphore, ... (manager_holds) note the line's client as holder
    the client dies ──► what it held is released     (manager_clients)

A process that says ``leave``, as every regular exit of one that has acquired does, gives nothing back: it has left the
release to somebody else.

Stands in for ``multiprocessing.managers.Server``, from which it inherits the protocol.
"""

from __future__ import annotations

import os
import threading
import weakref
from multiprocessing import connection, managers, parent_process, process
from typing import Any

from distpool import manager_clients as clients
from distpool.manager_clients import Client, Line
from distpool.manager_links import Alternating, peer_pid

# What the end of a server whose maker is gone may take before it is cut short.
_LAST_WORDS_S = 5.0


class _Served(Alternating):
    """The server's end of a connection."""

    def send(self, obj: Any) -> None:
        line: Line = clients.serving.line
        try:
            super().send(obj)
        except OSError:
            if line.taken is not None:
                held, item = line.taken
                held.put_back(item)
            raise
        finally:
            line.taken = None


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
        with clients.ledger:
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
        clients.serving.line, clients.serving.conn = line, conn
        try:
            super().serve_client(conn)
        finally:
            clients.serving.line = clients.serving.conn = None
            self._close_line(line)

    def _open_line(self, pid: int) -> Line:
        with clients.ledger:
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
        with clients.ledger:
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
    for server in list(_servers):
        server.close_in_child()
    _servers.clear()


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
