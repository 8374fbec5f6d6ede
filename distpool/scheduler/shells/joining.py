"""A further node for a running session: an agent process that joins the session's head.

::

    JoiningAgent ── exec ──► agent ── DEALER n:NODE ── NodeHello ──► agent that holds the head
                              │  ▲                     NodeWelcome ◄──┘
                              ▼  └── its end, when the head's end is seen, the head will not have it, or on stop()
                            nursery ──► workers, a store and a session directory of its own

The node outlives who started it, and ends with the session. So far both are reached by unix sockets. Not here: what the
agent does (``agent``), and who places work there (``cores``).
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from distpool.scheduler.limits import DEFAULTS, Limits
from distpool.scheduler.messages import ScalingSettings
from distpool.scheduler.node_identity import refuse_bad_name
from distpool.scheduler.shells import processes, session_dir
from distpool.scheduler.shells.launching import AgentProcess


class JoiningAgent:
    """Start a node named ``node`` and have it join the session whose head's agent is at ``head``.

    ``resources``: what it has ({"CPU": 4.0}) in place of what is found; see ``node_resources``. "node:NAME" comes by
    itself. ``labels``: what tasks may choose it by. Where the head is reached by TCP, ``listen`` ("HOST:PORT") is where
    this node is, and ``secret`` the cluster's. ``logged``: what is printed goes to files in its directory. Without a
    ``head`` the node has one itself, and is the first of a cluster: with a ``journal`` (a file) that head may die, and
    with ``scaling`` it starts and stops nodes by demand. ``marks``: files in its directory, by name, that are there
    before the agent is: by them others know what it is.

    Raises:
        ValueError: that is no name for a node.
        ClusterError: it could not join, and why: nobody answers there, a node of that name is there already, ...
        OSError: no process, or no directory, can be made.
    """

    def __init__(
        self,
        head: str,
        node: str,
        resources: Mapping[str, float] | None = None,
        limits: Limits = DEFAULTS,
        labels: Mapping[str, str] = {},
        listen: str = "",
        secret: str = "",
        logged: bool = False,
        journal: str = "",
        scaling: ScalingSettings | None = None,
        marks: Mapping[str, str] = {},
    ) -> None:
        refuse_bad_name(node)
        self.node = node
        session_dir.sweep()
        self.directory, lock_fd = session_dir.create()
        request = {
            "lock_fd": lock_fd,
            "driver_pid": 0,
            "node": node,
            "incarnation": time.time_ns(),
            "head": head,
            "resources": None if resources is None else dict(resources),
            "limits": msgspec.to_builtins(limits),
            "labels": dict(labels),
            "listen": listen,
            "secret": secret,
            "alone": not head,
            "logged": logged,
            "journal": journal,
            "scaling": None if scaling is None else msgspec.to_builtins(scaling),
        }
        for name, text in marks.items():
            part = Path(self.directory, f"{name}.part")
            part.write_text(text)
            part.replace(Path(self.directory, name))  # whoever looks reads all of it, or nothing
        output = self._open_log() if logged else None
        try:
            agent = AgentProcess(self.directory, request, (lock_fd,), os.environ, limits.start_s, output)
        finally:
            os.close(lock_fd)
            if output is not None:
                os.close(output)
        self._process = agent.process
        self.pid = agent.process.pid
        try:
            self.port_address: str = agent.first_word()["address"]
        except BaseException:
            self.stop(0.0)
            raise

    def _open_log(self) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        return os.open(f"{self.directory}/log", flags, 0o600)

    @property
    def address(self) -> str:
        """Where its agent can be dialled."""
        return f"ipc://{self.directory}/agent"

    def stop(self, within_s: float = 5.0) -> None:
        """End the node and its workers, and reap its agent: asked to (SIGTERM), and after ``within_s`` killed."""
        if within_s > 0.0:
            self._process.terminate()
        if not self.wait_gone(within_s):
            processes.kill(self.pid)
            self._process.wait()
            processes.end_session(self.directory, self.pid)

    def wait_gone(self, within_s: float) -> bool:
        """Wait for its agent's end, and reap it; False if it is still there after ``within_s``."""
        try:
            self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            return False
        return True
