"""The clients of a manager's server: which processes call, by which connections, and the instant at which one dies.

::

    client process ══ a connection for each of its threads ══► Line ─┐
                    ══ ...                                 ══► Line ─┴─► Client: what it holds, where it waits
    its pidfd becomes readable ──► Watcher ──► Client.died: what it held is released, barriers where it waits break,
                                               its connections are shut, so their threads end

Through TCP processes cannot be watched; there a connection's end counts as its client's.

What it is not: what can be held, which is ``manager_holds``; nor the serving, which is ``manager_server``.
"""

from __future__ import annotations

import os
import select
import socket
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distpool.manager_holds import Held, ManagedQueue, ManagedRLock

#: Guards who holds what, here and in ``manager_holds``. (A forked process has another one: ask for it by the module.)
ledger = threading.Lock()
#: ``line``: the connection whose request this thread serves, and ``conn``, the end of it that is read.
serving = threading.local()


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
        with ledger:
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
            watcher.add(self.client)

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


class Watcher:
    """One thread that waits for the deaths of clients."""

    def __init__(self) -> None:
        self._poll: select.epoll | None = None
        self._clients: dict[int, Client] = {}

    def add(self, client: Client) -> None:
        """Have this one's death seen to."""
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


watcher = Watcher()


def current_line() -> Line | None:
    """The connection that is being served, whose client is watched from now on; None on the server's own account."""
    line: Line | None = getattr(serving, "line", None)
    if line is not None:
        line.watch(serving.conn)
    return line


def _after_fork() -> None:
    global ledger, watcher
    ledger, watcher = threading.Lock(), Watcher()


os.register_at_fork(after_in_child=_after_fork)
