"""Nodes that are processes on the head's own machine: agents that join by its port, as those of other machines do.

::

    start ──► JoiningAgent ── a session directory with the file ``provided.json`` ──► joins as NAME
    nodes ◄── the living session directories that have one
    stop  ──► SIGTERM to its agent, and SIGKILL after a while

It is for trying out, for tests, and for a machine whose memory should be free while nothing is wanted. What there is
stands in the directories alone, which live as long as a process of the node: so any later provider finds it. The nodes
end with the cluster, as the head's agent tells them. Not here: when (``scheduler.cores.autoscaling``).
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from distpool.providers.protocol import ClusterAccess, NodeType, ProviderError
from distpool.scheduler.shells import processes, session_dir
from distpool.scheduler.shells.joining import JoiningAgent

MARK = "provided.json"
#: A node that has said goodbye ends its processes; then it is asked to (SIGTERM), and then killed.
LEAVE_S, TERM_S = 3.0, 5.0
_LOOK_S = 0.02


class LocalProvider:
    """See ``NodeProvider``. It takes no options."""

    def __init__(self, options: Mapping[str, Any], cluster: ClusterAccess) -> None:
        if options:
            raise ProviderError(f"the local provider takes no options: {', '.join(options)}")
        self._cluster = cluster
        self._started: dict[str, JoiningAgent] = {}  # our children, to be reaped
        self._waiter = threading.Event()  # never set: to sleep by

    def start(self, node_type: NodeType, name: str) -> None:
        """See ``NodeProvider``. It returns when the node has joined; one whose provider dies before that ends too."""
        if any(mark["name"] == name for _, mark in self._marks()):
            return
        host = self._cluster.address.rpartition(":")[0]
        mark = {"name": name, "type": node_type.name, "cluster": self._cluster.address}
        self._started[name] = JoiningAgent(
            f"tcp://{self._cluster.address}",
            name,
            node_type.resources,
            labels=node_type.labels,
            listen=f"{host}:0",
            secret=self._cluster.secret,
            logged=True,
            marks={MARK: json.dumps(mark)},
        )

    def stop(self, name: str) -> None:
        """See ``NodeProvider``."""
        if self._wait_gone(name, LEAVE_S):
            return
        for directory in self._of(name):
            for pid in _agents(directory):
                processes.terminate(pid)
        if self._wait_gone(name, TERM_S):
            return
        for directory in self._of(name):
            for pid in _agents(directory):
                processes.kill(pid)
                processes.end_session(directory, pid)
        if not self._wait_gone(name, TERM_S):
            raise ProviderError(f"node {name} does not end, though its processes were killed")

    def _wait_gone(self, name: str, within_s: float) -> bool:
        for _ in range(int(within_s / _LOOK_S)):
            agent = self._started.get(name)
            if agent is not None and agent.wait_gone(0.0):
                del self._started[name]
            if not self._of(name):
                return True
            self._waiter.wait(_LOOK_S)
        return False

    def nodes(self) -> Mapping[str, str]:
        """See ``NodeProvider``."""
        return {mark["name"]: mark["type"] for _, mark in self._marks()}

    def close(self) -> None:
        """See ``NodeProvider``."""

    def _of(self, name: str) -> list[str]:
        return [directory for directory, mark in self._marks() if mark["name"] == name]

    def _marks(self) -> Iterator[tuple[str, dict[str, str]]]:
        """The directories of this cluster's nodes that are alive, and what is written there."""
        for directory in session_dir.living():
            try:
                mark = json.loads(Path(directory, MARK).read_text())
            except (OSError, ValueError):
                continue  # somebody else's
            if mark["cluster"] == self._cluster.address:
                yield directory, mark


def _agents(directory: str) -> list[int]:
    """The agent with this session directory, which is the last word of its command line."""
    return [pid for pid, words in processes.command_lines() if words[-1:] == [directory]]
