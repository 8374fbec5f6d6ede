"""How soon a driver hears, by the error of its task, that a worker, an agent or a whole node is lost; the slowest."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks import proc
from benchmarks.cluster import scene
from benchmarks.model import Session
from tests.cluster.hosts import Host

WORKERS = 10


def measure(_session: Session) -> Mapping[str, float]:
    """Ten workers here, ten there, then the agents of three nodes and all that runs on three more."""
    killed, stopped = "bcd", "efg"
    found: dict[str, list[float]] = {"agent": [], "silent": []}
    with scene.cluster("a", *killed, *stopped) as hosts:
        a, by_name = hosts[0], {host.name: host for host in hosts}

        def noticed(node: str, signal_name: str, times: int, *pids: int) -> list[float]:
            words = ("noticed", str(a.folder), node, signal_name, str(times), *map(str, pids))
            seconds: list[float] = scene.run(a, a, *words)["seconds"]
            assert len(seconds) == times
            return seconds

        here, there = noticed("a", "SIGKILL", WORKERS), noticed("b", "SIGKILL", WORKERS)
        for name in killed:
            found["agent"] += noticed(name, "SIGKILL", 1, _agent(by_name[name]))
        for name in stopped:
            found["silent"] += noticed(name, "SIGSTOP", 1, *by_name[name].pids())
    return {
        "worker_here": max(here),
        "worker_there": max(there),
        "agent": max(found["agent"]),
        "silent": max(found["silent"]),
    }


def _agent(host: Host) -> int:
    """The agent's pid; the nursery, its fork, has a later one."""
    return min(pid for pid in host.pids() if "shells.agent" in proc.command_line(pid))
