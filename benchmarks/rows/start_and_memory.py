"""Starting, and doing nothing: the first result from cold, and the memory of an idle pool."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

from benchmarks import bodies, proc
from benchmarks.model import Metric, Row, Session, Target

TITLE = "Start and idle memory"

_EVERYBODY = (
    "stdlib-pool-fork",
    "stdlib-pool-forkserver",
    "stdlib-executor",
    "loky",
    "mpire",
    "ray-tasks",
    "dask",
)


def measure_first_result(session: Session) -> Mapping[str, float]:
    """From the constructor in a fresh interpreter to the first result.

    The import of the library itself is not counted; what it imports lazily in the constructor is.
    """
    start = time.perf_counter()
    peer = session.open()
    assert peer.call(bodies.null_task, 1) == 1, "wrong result"
    return {"first_result": time.perf_counter() - start}


def measure_idle_memory(session: Session) -> Mapping[str, float]:
    """PSS of all that was started, the driver left out, when each worker has run something and is idle."""
    peer = session.open_warm()
    peer.collect([peer.submit(bodies.process_id, None) for _ in range(20 * session.workers)])
    return {"idle": sum(proc.pss_bytes(pid) for pid in proc.descendants(os.getpid())) / 1e6}


ROWS = (
    Row(
        key="first-result",
        metrics=(
            Metric(
                "first_result",
                "first result from cold Pool(2)",
                "s",
                "lower",
                (
                    Target("≤ 0.25 s", at_most=0.25),
                    Target("≤ 1/10 of ray.init", ("ray-tasks",), at_least=10.0),
                ),
            ),
        ),
        ours="distpool-pool",
        peers=_EVERYBODY,
        count=1,
        measure=measure_first_result,
        quick_share=1.0,
    ),
    Row(
        key="idle-memory",
        metrics=(
            Metric(
                "idle",
                "idle, 2 workers, all processes but the driver",
                "MB (PSS)",
                "lower",
                (Target("≤ 100 MB", at_most=100.0),),
            ),
        ),
        ours="distpool-pool",
        peers=_EVERYBODY,
        count=1,
        measure=measure_idle_memory,
        rounds_max=1,
        quick_share=1.0,
    ),
)
