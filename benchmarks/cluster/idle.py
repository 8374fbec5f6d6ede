"""What agents and a head take of a processor when nothing is asked of them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping

from benchmarks import bodies, proc
from benchmarks.cluster import scene
from benchmarks.model import Session

SECONDS = 20.0
#: Until what was done last is over: pages are given back, copies go.
REST_S = 5.0


def measure(_session: Session) -> Mapping[str, float]:
    """A program's own session, whose pool has worked; then three nodes of a cluster."""
    import distpool

    with distpool.Pool(2) as pool:
        pool.map(bodies.null_task, range(100), 1)
        agents = [pid for pid in proc.descendants(os.getpid()) if "shells.agent" in proc.command_line(pid)]
        (embedded,) = _percent(agents[:1])
    with scene.cluster("a", "b", "c") as hosts:
        head, *nodes = _percent(*[host.pids() for host in hosts])
    return {"embedded": embedded, "head": head, "node": max(nodes)}


def _percent(*groups: Iterable[int]) -> list[float]:
    """Of one core, by group of processes."""
    time.sleep(REST_S)
    before = [_processor_s(group) for group in groups]
    time.sleep(SECONDS)
    after = [_processor_s(group) for group in groups]
    return [100.0 * (late - early) / SECONDS for early, late in zip(before, after, strict=True)]


def _processor_s(pids: Iterable[int]) -> float:
    return sum(usage.cpu_s for pid in pids for usage in proc.thread_usage(pid).values())
