"""A worker's side of the cluster that it runs in: what ``EmbeddedCluster`` is to a driver.

A worker that submits tasks itself is an owner like any other, on the agent that already serves it. It ends with that
agent (``control``), and says nothing more: to others its death is an owner's, not that of whatever it waited for.
"""

from __future__ import annotations

from distpool.scheduler.serialize import stored
from distpool.scheduler.shells.worker_start import WorkerStart
from distpool.scheduler.store.store import ObjectStore


class JoinedCluster:
    """The session that this worker belongs to."""

    agent_fd = -1  # nobody is to start another when it dies
    guest = False  # this worker is on its node
    title = "the cluster of this worker"  # to people
    prints = "auto"  # they go on to whom this worker serves
    keys: None = None  # it is reached by unix sockets

    def __init__(self, start: WorkerStart) -> None:
        self._start = start
        self.node = start.node

    def address(self, name: str) -> str:
        """The ZeroMQ address of a socket in the session directory."""
        return f"ipc://{self._start.directory}/{name}"

    @property
    def directory(self) -> str:
        """The session directory."""
        return self._start.directory

    @property
    def home_address(self) -> str:
        """Where the agent is dialled."""
        return self.address("agent")

    def open_store(self, owner: str) -> ObjectStore | None:
        """The store that this worker uses already."""
        store = stored.current()
        return store if isinstance(store, ObjectStore) else None

    def start(self) -> None:
        """It runs: it has started this worker."""

    def reap(self) -> None:
        """It is not ours to reap."""

    def wait_gone(self, timeout_s: float) -> None:
        """The agent outlives us."""
