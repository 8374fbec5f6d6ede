"""A program's side of a cluster that others have started: what ``EmbeddedCluster`` is to a program of its own.

The program is a guest: it dials one node's port, its *home*, and says and hears everything by that link (``gateway``).
It has no store, but a part in its home's (``guest_store``).
"""

from __future__ import annotations

import os

import zmq

from distpool.scheduler.shells import curve, knocking, session_dir
from distpool.scheduler.shells.guest_store import GuestStore
from distpool.scheduler.shells.show import prints_wanted


class AttachedCluster:
    """The cluster that has a port at ``address`` ("HOST:PORT"). ``prints``: see ``show``.

    Raises:
        ValueError: that is no address, or no secret; or DISTPOOL_PRINTS is nothing that there is.
        ClusterError: nobody answers there, or it will not have us, and why.
    """

    guest = True  # the program is on none of its nodes
    title = "the cluster"  # to people

    def __init__(self, address: str, secret: str, prints: str = "") -> None:
        self.prints = prints or prints_wanted()
        self.home_address = knocking.tcp_address(address)
        self.keys = curve.derive(secret)
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(io_threads=1)
        try:
            admission = knocking.knock(context, self.home_address, self.keys)
        finally:
            context.destroy(linger=0)
        self.node, self._store = admission.node, admission.store
        self.agent_fd = -1
        session_dir.sweep()
        self._directory, self._lock_fd = session_dir.create()

    @property
    def directory(self) -> str:
        """A directory of this program's own."""
        return self._directory

    def address(self, name: str) -> str:
        """The ZeroMQ address of a socket in that directory."""
        return f"ipc://{self._directory}/{name}"

    def open_store(self, owner: str) -> GuestStore | None:
        """The home's, as this program uses it; None: it has none, and all travels in messages."""
        return GuestStore(self.home_address, owner, self.keys, self._store) if self._store else None

    def start(self) -> None:
        """It has been started."""

    def reap(self) -> None:
        """It is not ours to end."""

    def wait_gone(self, timeout_s: float) -> None:
        """The cluster goes on; what is ours goes."""
        if self._lock_fd >= 0:
            session_dir.remove(self._directory)
            os.close(self._lock_fd)
            self._lock_fd = -1
