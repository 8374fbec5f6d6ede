"""The driver's side of an embedded cluster: start the agent as a child process, find it, see it die, reap it."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping

import msgspec

from distpool.errors import ClusterError
from distpool.scheduler.cores.head import HOME_STORE
from distpool.scheduler.limits import DEFAULTS, Limits
from distpool.scheduler.messages import DRIVER
from distpool.scheduler.node_identity import current_node
from distpool.scheduler.shells import processes, session_dir
from distpool.scheduler.shells.launching import AgentProcess
from distpool.scheduler.shells.node_memory import NodeMemory
from distpool.scheduler.shells.show import prints_wanted
from distpool.scheduler.store import files
from distpool.scheduler.store.store import ObjectStore

#: How long nursery and workers may take to end by themselves when their agent is dead.
REMAINS_S = 1.0


class EmbeddedCluster:
    """One background process: head and agent, in a session directory of its own.

    ``node``: its name; this machine's own by default.
    ``resources`` and ``labels``: what its node has in place of what is found, and is known by; see ``node_resources``.
    ``environment``: what the store's size is read from; see ``store.files.create``. ``listen`` ("HOST:PORT"), with the
    ``secret`` of those who may come: where other nodes can join; else nothing listens beyond the session directory.
    ``prints``: see ``show``. ``logged``: what its workers print goes to logs, for owners elsewhere to be sent it.
    """

    guest = False  # the program is on its node
    title = "the embedded cluster"  # to people
    keys: None = None  # a program's own cluster is reached by unix sockets

    def __init__(
        self,
        limits: Limits = DEFAULTS,
        resources: Mapping[str, float] = {},
        labels: Mapping[str, str] = {},
        environment: Mapping[str, str] = os.environ,
        listen: str = "",
        secret: str = "",
        node: str = "",
        prints: str = "",
        logged: bool = False,
    ) -> None:
        self._limits = limits
        self._resources, self._labels = dict(resources), dict(labels)
        self._listen, self._secret = listen, secret
        self.port_address = ""  # where nodes can join, once it has started
        self._process: subprocess.Popen[bytes] | None = None
        self._directory = ""
        self.agent_fd = -1  # readable when the agent is dead
        self.node = node or current_node()
        self.prints = prints or prints_wanted(environment)
        self._logged = logged
        self._starts = 0
        NodeMemory(limits, environment)  # a setting that cannot be is told here, and not by the agent
        self._files = files.create(environment, store=HOME_STORE)  # they outlive an agent

    def address(self, name: str) -> str:
        """The ZeroMQ address of a socket in the session directory."""
        return f"ipc://{self._directory}/{name}"

    @property
    def directory(self) -> str:
        """The session directory; "" until the cluster has started."""
        return self._directory

    @property
    def home_address(self) -> str:
        """Where the agent is dialled."""
        return self.address("agent")

    def open_store(self, owner: str) -> ObjectStore | None:
        """This node's object store, as the driver uses it; None where there is no room for one."""
        return None if self._files is None else ObjectStore(self._files, DRIVER)

    def start(self) -> None:
        """Exec the agent and wait for its first word. Raises ClusterError with what it said, OSError."""
        session_dir.sweep()
        self._directory, lock_fd = session_dir.create()
        self._starts += 1
        request = {
            "lock_fd": lock_fd,
            "driver_pid": os.getpid(),
            "node": self.node,
            "incarnation": self._starts,
            "store": msgspec.to_builtins(self._files),
            "resources": self._resources,
            "labels": self._labels,
            "listen": self._listen,
            "secret": self._secret,
            "logged": self._logged or self.prints in ("prefix", "off"),  # else workers print where we do
        }
        fds = (lock_fd, *(self._files.fds if self._files else ()))
        try:
            agent = AgentProcess(self._directory, request, fds, os.environ, self._limits.start_s)
        finally:
            os.close(lock_fd)
        self._process = agent.process
        try:
            self.port_address = agent.first_word()["address"]
        except ClusterError:
            self.reap()
            raise
        self.agent_fd = os.pidfd_open(self._process.pid)

    def reap(self) -> None:
        """Collect the dead agent, killing it if it is not quite dead, and see that nothing of its session is left."""
        process, self._process = self._process, None
        if process is not None:
            if process.returncode is None:
                processes.kill(process.pid)
                self._end_remains(process.pid)
            process.wait()
        if self.agent_fd >= 0:
            os.close(self.agent_fd)
            self.agent_fd = -1

    def _end_remains(self, agent_pid: int) -> None:
        """Whoever outlives an agent ends its session; what no survivor was there to end, we do.

        The agent is not reaped yet, so its pid, which is also the kernel's name of its session, is nobody else's.
        """
        until = time.monotonic() + REMAINS_S
        while not session_dir.sweep_one(self._directory) and os.path.exists(self._directory):
            if time.monotonic() > until:
                break
            time.sleep(0.002)
        processes.end_session(self._directory, agent_pid)

    def wait_gone(self, timeout_s: float) -> None:
        """Wait for an agent that was told goodbye; then make sure."""
        if self._process is not None:
            try:
                self._process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                pass
            self.reap()
