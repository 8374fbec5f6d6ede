"""What it costs in memory when eight workers read one array of 1 GiB at the same time.

Extra is everything above what driver, source array and the same work with next to no data take: private
memory by PSS, shared memory whether mapped or not (`memory_watch.py`). dask is left out: its workers would
hold eight copies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from benchmarks import bodies, captured, memory_watch
from benchmarks.model import Metric, Row, Session, Target

TITLE = "Memory of eight readers"

_ARRAY_BYTES = 1 << 30
_WORKERS = 8


def measure_put(session: Session) -> Mapping[str, float]:
    """Put once; every worker gets it and holds it."""
    peer = session.open_warm()

    def run(array: Any) -> list[Any]:
        reference = peer.put(array)
        return peer.collect(
            [peer.submit_put(bodies.read_and_hold, reference) for _ in range(session.workers)]
        )

    return _measure(run, session.workers)


def measure_captured(session: Session) -> Mapping[str, float]:
    """A function of the main program reads a global."""

    def run(array: Any) -> list[Any]:
        function = captured.task_that_captures(bodies.read_and_hold, array)
        with session.another() as pool:
            return pool.collect([pool.submit(function, number) for number in range(session.workers)])

    return _measure(run, session.workers)


def _measure(run: Callable[[Any], list[Any]], workers: int) -> Mapping[str, float]:
    array = bodies.random_words(_ARRAY_BYTES, seed=1)
    expected = bodies.sum_first_words(array)
    small = array[: bodies.PAGE_WORDS].copy()
    run(small)  # what workers import, they import now
    beside_bytes = memory_watch.extra_bytes(lambda: run(small))
    results: list[tuple[int, int]] = []
    extra_bytes = memory_watch.extra_bytes(lambda: results.extend(run(array)))
    assert [total for _, total in results] == [expected] * workers, "wrong results"
    assert len({pid for pid, _ in results}) == workers, "not every worker had the array"
    return {"extra": (extra_bytes - beside_bytes) / 2**30}


def _row(key: str, title: str, measure: Callable[[Session], Mapping[str, float]], *peers: str) -> Row:
    return Row(
        key=f"eight-readers-{key}",
        metrics=(
            Metric(
                "extra",
                f"extra memory while 8 workers read one 1 GiB array, {title}",
                "GiB",
                "lower",
                (Target("≤ 1.2 GiB", at_most=1.2),),
            ),
        ),
        ours="distpool-pool",
        peers=peers,
        count=1,
        measure=measure,
        workers=_WORKERS,
        rounds_max=1,
        quick_share=1.0,
        needs=("numpy",),
    )


ROWS = (
    _row("put", "put", measure_put, "ray-tasks"),
    _row("captured", "captured global", measure_captured, "stdlib-pool-fork"),
)
