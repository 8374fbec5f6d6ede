"""One object to eight nodes, by links that are alike, and so slow that nobody's processor is what it waits for."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.cluster import scene
from benchmarks.model import Session

#: What goes out of a host in a second. Eight copies of 1 GiB cost some 30 s of two cores: a copy must take longer.
RATE_MIB_S = 50
NODES = "bcdefghi"


def measure(session: Session) -> Mapping[str, float]:
    """``count`` MiB, first to one of them, then to all."""
    with scene.cluster("a", *NODES, cpus=1) as hosts:
        for host in hosts:
            host.limit(RATE_MIB_S)
        times = scene.run(hosts[0], hosts[0], "broadcast", str(session.count << 20), *NODES, within_s=380.0)
    return {**times, "ratio": times["all"] / times["one"]}
