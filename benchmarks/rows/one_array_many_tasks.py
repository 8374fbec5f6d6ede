"""One 100 MB array in 1,000 tasks: as a captured global, by `initargs`, as every item of one map, by `put`.

Each task reads the first word of every page. The library is at work before the clock starts, but a pool that
captures or initializes is made on the clock, since that is when the array moves; `put` is on the clock too.
Ray and dask, which have only `put` (dask: `scatter`), are measured with that in every row.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any

from benchmarks import bodies, captured, memory_watch
from benchmarks.model import Adapter, Metric, Row, Session, Target

TITLE = "One array in a thousand tasks"

_ARRAY_BYTES = 100_000_000
# For counting the copies, which lie there after the first few tasks.
_COUNTED_TASKS = 100

# A way of getting an array into so many tasks, which returns their results; the pools that it opens stay open.
_Way = Callable[[Session, ExitStack, Any, int], list[Any]]


def by_capture(session: Session, pools: ExitStack, array: Any, count: int) -> list[Any]:
    """A function of the main program reads a global."""
    function = captured.task_that_captures(bodies.sum_first_words, array)
    pool = pools.enter_context(session.another())
    return pool.collect([pool.submit(function, number) for number in range(count)])


def by_initargs(session: Session, pools: ExitStack, array: Any, count: int) -> list[Any]:
    """The initializer of each worker gets it and keeps it."""
    pool = pools.enter_context(session.another(bodies.keep_array, (array,)))
    return pool.collect([pool.submit(bodies.sum_kept_array, number) for number in range(count)])


def by_map(session: Session, pools: ExitStack, array: Any, count: int) -> list[Any]:
    """One `map`, in the library's own chunks, whose items are all the same array."""
    pool = pools.enter_context(session.another())
    return pool.map(bodies.sum_first_words, [array] * count, None)


def measure_by(way: _Way, session: Session) -> Mapping[str, float]:
    """Tasks a second, and how many copies of the array were in memory at the peak."""
    peer = session.open_warm()
    return _measure(peer, partial(way, session), session.count)


def measure_by_put(session: Session) -> Mapping[str, float]:
    """Put once, then give the reference to every task."""
    peer = session.open_warm()

    def run(_pools: ExitStack, array: Any, count: int) -> list[Any]:
        reference = peer.put(array)
        return peer.collect([peer.submit_put(bodies.sum_first_words, reference) for _ in range(count)])

    return _measure(peer, run, session.count)


def _measure(
    peer: Adapter, run: Callable[[ExitStack, Any, int], list[Any]], count: int
) -> Mapping[str, float]:
    array = bodies.random_words(_ARRAY_BYTES, seed=1)
    expected = bodies.sum_first_words(array)
    # What the same work takes with next to no data (new workers, say) is no copy of the array.
    small = array[: bodies.PAGE_WORDS].copy()
    with ExitStack() as pools:
        beside_bytes = memory_watch.extra_bytes(lambda: run(pools, small, _COUNTED_TASKS))
    with ExitStack() as pools:
        extra_bytes = memory_watch.extra_bytes(lambda: run(pools, array, _COUNTED_TASKS))
    peer.warm_store()
    with ExitStack() as pools:
        start = time.perf_counter()
        results = run(pools, array, count)
        elapsed_s = time.perf_counter() - start  # closing the pool is not counted
    assert results == [expected] * count, "wrong results"
    return {"rate": count / elapsed_s, "copies": (extra_bytes - beside_bytes) / _ARRAY_BYTES}


def _row(key: str, title: str, measure: Callable[[Session], Mapping[str, float]], *pools: str) -> Row:
    return Row(
        key=f"one-array-{key}",
        metrics=(
            Metric(
                "rate",
                f"one 100 MB array in 1,000 tasks, {title} (Ray: put)",
                "tasks/s",
                "higher",
                (Target("1x Ray with put", ("ray-tasks",), at_least=1.0),),
            ),
            Metric(
                "copies",
                f"one 100 MB array in many tasks, {title}: copies in memory at the peak",
                "copies",
                "lower",
                (Target("moved once (below 1.5)", at_most=1.5),),
            ),
        ),
        ours="distpool-pool",
        peers=(*pools, "ray-tasks", "dask"),
        count=1_000,
        measure=measure,
        quick_share=1.0,
        needs=("numpy",),
        shares={"ray-tasks": 1.0, "dask": 0.2},
        instead={"ray-tasks": measure_by_put, "dask": measure_by_put},
    )


_FORKED = ("distpool-executor", "stdlib-pool-fork")

ROWS = (
    _row("captured", "captured global", partial(measure_by, by_capture), *_FORKED),
    _row("initargs", "initargs", partial(measure_by, by_initargs), *_FORKED),
    _row("map", "every item of one map", partial(measure_by, by_map), "stdlib-pool-fork"),
    _row("put", "put", measure_by_put),
)
