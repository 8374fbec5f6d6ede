"""A million tasks: memory that a long input and a million held futures cost, and whether it comes back."""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any

from benchmarks import bodies, proc
from benchmarks.model import Adapter, Metric, Row, Session, Target

TITLE = "A million tasks"

_ALIGNMENT_BYTES = 16  # of Python's own allocator
_SETTLE_S = 10.0
_SETTLE_POLL_S = 0.1
_NEAR = 1.1


def measure_map_memory(session: Session) -> Mapping[str, float]:
    """One `map` over a generator; the list of results and the results in it are subtracted."""
    peer = session.open_warm()
    base_bytes = _start_peak()
    results = peer.map(bodies.null_task, bodies.numbers(session.count), None)
    growth_bytes = proc.rss_peak_bytes(os.getpid()) - base_bytes
    assert results == list(range(session.count)), "wrong results"
    return {"growth": (growth_bytes - _size_bytes(results)) / 1e6}


def measure_imap_memory(session: Session) -> Mapping[str, float]:
    """One `imap` over a generator; each result is dropped once looked at, so nothing is subtracted."""
    peer = session.open_warm()
    base_bytes = _start_peak()
    start = time.perf_counter()
    for expected, result in enumerate(peer.imap(bodies.null_task, bodies.numbers(session.count))):
        if result != expected:
            raise AssertionError(f"wrong result: {result} in place of {expected}")
    elapsed_s = time.perf_counter() - start
    growth_bytes = proc.rss_peak_bytes(os.getpid()) - base_bytes
    return {"growth": growth_bytes / 1e6, "rate": session.count / elapsed_s}


def measure_futures_held(session: Session) -> Mapping[str, float]:
    """Hold every future of a long run of tasks, all done; then let go of them."""
    peer = session.open_warm()
    workers = _worker_ids(peer, session.workers)
    gc.collect()
    base_bytes = _total_bytes()
    others = [pid for pid in proc.descendants(os.getpid()) if pid not in workers]
    others_base = {pid: (proc.pss_bytes(pid), proc.rss_peak_bytes(pid)) for pid in others}
    handles = [peer.submit(bodies.null_task, number) for number in range(session.count)]
    results = peer.collect(handles)
    assert results == list(range(session.count)), "wrong results"
    del results
    gc.collect()
    held_bytes = _total_bytes() - base_bytes
    # Whichever grew more, what is there now or the peak on the way: a queue that filled and emptied counts.
    others_growth = sum(
        max(proc.pss_bytes(pid) - pss, proc.rss_peak_bytes(pid) - peak, 0)
        for pid, (pss, peak) in others_base.items()
    )
    del handles
    return {
        "each": held_bytes / session.count,
        "others": others_growth / 1e6,
        "after": 100.0 * (_wait_settled_bytes(base_bytes) / base_bytes - 1.0),
    }


def _start_peak() -> int:
    """Collect garbage and start the peak anew; return what is resident now, in bytes."""
    gc.collect()
    proc.reset_own_rss_peak()
    return proc.rss_bytes(os.getpid())


def _size_bytes(results: list[Any]) -> int:
    """What a list of results takes, each result rounded up as the allocator does."""
    items: Iterable[int] = (sys.getsizeof(item) for item in results)
    return sys.getsizeof(results) + sum(-(-size // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES for size in items)


def _worker_ids(peer: Adapter, workers: int) -> set[int]:
    """The workers' process ids, as their tasks tell them."""
    return set(peer.collect([peer.submit(bodies.process_id, None) for _ in range(20 * workers)]))


def _total_bytes() -> int:
    """PSS of this process and everything beneath it."""
    return sum(proc.pss_bytes(pid) for pid in (os.getpid(), *proc.descendants(os.getpid())))


def _wait_settled_bytes(base_bytes: int) -> int:
    """Wait until memory is near where it was, within a bound; return what it is then."""
    deadline = time.monotonic() + _SETTLE_S
    while True:
        gc.collect()
        total_bytes = _total_bytes()
        if total_bytes <= base_bytes * _NEAR or time.monotonic() > deadline:
            return total_bytes
        time.sleep(_SETTLE_POLL_S)


_GROWTH = Target("growth ≤ 50 MB besides the results", at_most=50.0)

ROWS = (
    Row(
        key="map-memory",
        metrics=(
            Metric("growth", "map of 1,000,000 from a generator: driver's peak", "MB", "lower", (_GROWTH,)),
        ),
        ours="distpool-pool",
        peers=("stdlib-pool-fork",),
        count=1_000_000,
        measure=measure_map_memory,
        timeout_s=300.0,
        rounds_max=1,
    ),
    Row(
        key="imap-memory",
        metrics=(
            Metric("growth", "imap of 1,000,000 from a generator: driver's peak", "MB", "lower", (_GROWTH,)),
            Metric("rate", "imap of 1,000,000 from a generator: rate", "tasks/s", "higher"),
        ),
        ours="distpool-pool",
        peers=("distpool-executor", "stdlib-pool-fork"),
        count=1_000_000,
        measure=measure_imap_memory,
        timeout_s=300.0,
        rounds_max=1,
    ),
    Row(
        key="futures-held",
        metrics=(
            Metric(
                "each",
                "1,000,000 futures held: each, in all processes",
                "bytes",
                "lower",
                (Target("≤ 2.2 KB each", at_most=2200.0),),
            ),
            Metric(
                "others",
                "1,000,000 futures held: growth of all but driver and workers (agent + head)",
                "MB",
                "lower",
                (Target("≤ 50 MB", at_most=50.0),),
            ),
            Metric(
                "after",
                "1,000,000 futures let go: memory above before",
                "%",
                "lower",
                (Target("back within 10 %", at_most=10.0),),
            ),
        ),
        ours="distpool-executor",
        peers=("distpool-pool", "stdlib-executor", "stdlib-pool-fork", "ray-tasks", "dask"),
        count=1_000_000,
        measure=measure_futures_held,
        timeout_s=400.0,
        rounds_max=1,
    ),
)
