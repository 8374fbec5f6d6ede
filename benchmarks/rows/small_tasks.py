"""Small tasks: what a call costs when the task costs nothing, and how well 1-ms tasks fill two cores."""

from __future__ import annotations

import time
from collections.abc import Mapping

from benchmarks import bodies
from benchmarks.model import Metric, Row, Session, Target

TITLE = "Small tasks"

_RAY = ("ray-tasks", "ray-pool")
_STDLIB_POOL = ("stdlib-pool-fork",)
_POOLS = ("stdlib-pool-fork", "stdlib-pool-forkserver", "mpire", "ray-pool")
# A map of 20 ms is too short to time once.
_SHORT_REPEATS = 5


def measure_submit_many(session: Session) -> Mapping[str, float]:
    """Hand in all, then collect all."""
    peer = session.open_warm()
    start = time.perf_counter()
    results = peer.collect([peer.submit(bodies.null_task, number) for number in range(session.count)])
    elapsed_s = time.perf_counter() - start
    assert results == list(range(session.count)), "wrong results"
    return {"rate": session.count / elapsed_s}


def measure_submit_many_pickled(session: Session) -> Mapping[str, float]:
    """The same with an argument and a result that only pickle can carry: a complex number."""
    peer = session.open_warm()
    start = time.perf_counter()
    results = peer.collect(
        [peer.submit(bodies.null_task, complex(number)) for number in range(session.count)]
    )
    elapsed_s = time.perf_counter() - start
    assert results == [complex(number) for number in range(session.count)], "wrong results"
    return {"rate": session.count / elapsed_s}


def measure_round_trips(session: Session) -> Mapping[str, float]:
    """Hand in one, wait for it, repeat."""
    peer = session.open_warm()
    start = time.perf_counter()
    for number in range(session.count):
        if peer.call(bodies.null_task, number) != number:
            raise AssertionError("wrong result")
    return {"rate": session.count / (time.perf_counter() - start)}


def measure_map_one_by_one(session: Session) -> Mapping[str, float]:
    """One `map`, every item a task of its own."""
    peer = session.open_warm()
    start = time.perf_counter()
    results = peer.map(bodies.null_task, range(session.count), 1)
    elapsed_s = time.perf_counter() - start
    assert results == list(range(session.count)), "wrong results"
    return {"rate": session.count / elapsed_s}


def measure_imap_unordered(session: Session) -> Mapping[str, float]:
    """One `imap_unordered`, every item a task of its own, results taken as they come."""
    peer = session.open_warm()
    start = time.perf_counter()
    results = list(peer.imap_unordered(bodies.null_task, range(session.count)))
    elapsed_s = time.perf_counter() - start
    assert sorted(results) == list(range(session.count)), "wrong results"
    return {"rate": session.count / elapsed_s}


def measure_map_default(session: Session) -> Mapping[str, float]:
    """One `map` with the library's own chunks; the best of a few, since one takes milliseconds."""
    peer = session.open_warm()
    items = list(range(session.count))
    best_s = float("inf")
    for _ in range(_SHORT_REPEATS):
        start = time.perf_counter()
        results = peer.map(bodies.null_task, items, None)
        best_s = min(best_s, time.perf_counter() - start)
        assert results == items, "wrong results"
    return {"rate": session.count / best_s}


def measure_one_millisecond(session: Session) -> Mapping[str, float]:
    """Tasks that keep a core busy for 1 ms, all handed in at once: the share of the ideal rate reached."""
    peer = session.open_warm()
    start = time.perf_counter()
    results = peer.collect(
        [peer.submit(bodies.spin_one_millisecond, number) for number in range(session.count)]
    )
    elapsed_s = time.perf_counter() - start
    assert results == list(range(session.count)), "wrong results"
    ideal_s = session.count * bodies.ONE_MILLISECOND_S / session.workers
    return {"ideal": 100.0 * ideal_s / elapsed_s}


def _rate(title: str, *targets: Target) -> tuple[Metric, ...]:
    return (Metric("rate", title, "tasks/s", "higher", targets),)


ROWS = (
    Row(
        key="apply-async",
        metrics=_rate(
            "apply_async + get, empty tasks",
            Target("1.8x stdlib Pool", _STDLIB_POOL, at_least=1.8),
            Target("40x Ray", _RAY, at_least=40.0),
        ),
        ours="distpool-pool",
        peers=(*_POOLS, "ray-tasks", "dask"),
        count=20_000,
        measure=measure_submit_many,
    ),
    Row(
        key="apply-async-pickled",
        metrics=_rate("apply_async + get, arguments that must be pickled"),
        ours="distpool-pool",
        peers=("stdlib-pool-fork", "stdlib-pool-forkserver"),
        count=20_000,
        measure=measure_submit_many_pickled,
    ),
    Row(
        key="apply",
        metrics=_rate(
            "apply round trip",
            Target("1.2x stdlib Pool", _STDLIB_POOL, at_least=1.2),
            Target("8x Ray", _RAY, at_least=8.0),
        ),
        ours="distpool-pool",
        peers=(*_POOLS, "ray-tasks", "dask"),
        count=5_000,
        measure=measure_round_trips,
    ),
    Row(
        key="map-one-by-one",
        metrics=_rate("map(chunksize=1)", Target("1.5x stdlib Pool", _STDLIB_POOL, at_least=1.5)),
        ours="distpool-pool",
        peers=(*_POOLS, "dask"),
        count=50_000,
        measure=measure_map_one_by_one,
    ),
    Row(
        key="imap-unordered",
        metrics=_rate("imap_unordered", Target("1.5x stdlib Pool", _STDLIB_POOL, at_least=1.5)),
        ours="distpool-pool",
        peers=_POOLS,
        count=50_000,
        measure=measure_imap_unordered,
    ),
    Row(
        key="map-default",
        metrics=_rate("map, default chunks, ints", Target("0.8x stdlib Pool", _STDLIB_POOL, at_least=0.8)),
        ours="distpool-pool",
        peers=_POOLS,
        count=200_000,
        measure=measure_map_default,
        quick_share=1.0,
    ),
    Row(
        key="submit-many",
        metrics=_rate(
            "executor.submit + result, empty, many",
            Target("5x ProcessPoolExecutor", ("stdlib-executor",), at_least=5.0),
        ),
        ours="distpool-executor",
        peers=("stdlib-executor", "loky"),
        count=20_000,
        measure=measure_submit_many,
    ),
    Row(
        key="submit-one",
        metrics=_rate(
            "executor.submit + result, empty, one at a time",
            Target("1.1x ProcessPoolExecutor", ("stdlib-executor",), at_least=1.1),
        ),
        ours="distpool-executor",
        peers=("stdlib-executor", "loky"),
        count=5_000,
        measure=measure_round_trips,
    ),
    Row(
        key="one-millisecond",
        metrics=(
            Metric(
                "ideal",
                "1,000 1-ms tasks on two workers",
                "% of ideal",
                "higher",
                (Target("≥ 95 % of ideal", at_least=95.0),),
            ),
        ),
        ours="distpool-pool",
        peers=(*_POOLS, "stdlib-executor", "loky", "ray-tasks", "dask"),
        count=1_000,
        measure=measure_one_millisecond,
        quick_share=1.0,
    ),
)
