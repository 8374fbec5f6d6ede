"""Big arrays: 100 MB of random words as argument, as result, and put and got back, against one memcpy.

As argument, the task reads the first word of every page. As result, the task copies into an array that it
already has and returns it; how long that copy takes the task tells itself, so that the passing on alone can be
compared with a memcpy too. Everything is run for a while before the clock starts, Ray's store filled once.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks import bodies, memcpy
from benchmarks.model import Adapter, Metric, Row, Session, Target

TITLE = "Big arrays"

ARRAY_BYTES = 100_000_000
_WARM_CALLS_EACH = 3
# Then so many calls as are measured, but of slow libraries only what fits into that time.
_WARM_CALLS = 20
_WARM_CALLS_MIN = 3
_WARM_S = 2.0
_IN_FLIGHT = 4


def measure_argument_one(session: Session) -> Mapping[str, float]:
    """Hand in one array, wait, repeat; the array is changed in between, so nobody can keep the last one."""
    peer = session.open_warm()
    array = bodies.random_words(ARRAY_BYTES, seed=1)
    expected = bodies.sum_first_words(array) - int(array[0])
    _warm_argument(peer, array, session.workers)
    start = time.perf_counter()
    for number in range(session.count):
        array[0] = number
        if peer.call(bodies.sum_first_words, array) != (expected + number) % 2**64:
            raise AssertionError("wrong result")
    return {"rate": session.count / (time.perf_counter() - start)}


def measure_argument_many(session: Session) -> Mapping[str, float]:
    """Two arrays in turn, a few calls in flight."""
    peer = session.open_warm()
    arrays = [bodies.random_words(ARRAY_BYTES, seed) for seed in (1, 2)]
    sums = [bodies.sum_first_words(array) for array in arrays]
    _warm_argument(peer, arrays[0], session.workers)

    def submit(number: int) -> Any:
        return peer.submit(bodies.sum_first_words, arrays[number % 2])

    def check(number: int, result: Any) -> None:
        assert result == sums[number % 2], "wrong result"

    return {"rate": _rate_in_flight(peer, session.count, submit, check)}


def measure_result_one(session: Session) -> Mapping[str, float]:
    """Ask for one array, wait, repeat. `net` leaves out the time that the task itself took for its copy."""
    peer = session.open_warm()
    _warm_result(peer, session.workers)
    copying_ns = 0
    start = time.perf_counter()
    for number in range(session.count):
        result = peer.call(bodies.copy_and_return, (ARRAY_BYTES, number))
        copying_ns += int(result[0])
        assert result[1] == number, "wrong result"
        del result
    elapsed_s = time.perf_counter() - start
    return {"rate": session.count / elapsed_s, "net": session.count / (elapsed_s - copying_ns / 1e9)}


def measure_result_many(session: Session) -> Mapping[str, float]:
    """A few calls in flight."""
    peer = session.open_warm()
    _warm_result(peer, session.workers)

    def submit(number: int) -> Any:
        return peer.submit(bodies.copy_and_return, (ARRAY_BYTES, number))

    def check(number: int, result: Any) -> None:
        assert result[1] == number, "wrong result"

    return {"rate": _rate_in_flight(peer, session.count, submit, check)}


def measure_put_get(session: Session) -> Mapping[str, float]:
    """Put an array, get it back in the same process, read each page; the array is changed in between."""
    peer = session.open_warm()
    array = bodies.random_words(ARRAY_BYTES, seed=1)
    expected = bodies.sum_first_words(array) - int(array[0])

    def put_and_get(number: int) -> None:
        array[0] = number
        reference = peer.put(array)
        if bodies.sum_first_words(peer.get(reference)) != (expected + number) % 2**64:
            raise AssertionError("wrong result")

    peer.warm_store()
    _warm_up(lambda: put_and_get(0))
    start = time.perf_counter()
    for number in range(session.count):
        put_and_get(number)
    return {"rate": session.count / (time.perf_counter() - start)}


def measure_memcpy(session: Session) -> Mapping[str, float]:
    """The reference for every metric of every row: one memcpy of as much."""
    arrays = [bodies.random_words(ARRAY_BYTES, seed) for seed in (1, 2)]
    rate = memcpy.best_copies_per_s(arrays, session.count)
    return {"rate": rate, "net": rate}


def _warm_argument(peer: Adapter, array: Any, workers: int) -> None:
    peer.warm_store()
    for _ in range(_WARM_CALLS_EACH):
        peer.collect([peer.submit(bodies.sum_first_words, array) for _ in range(workers)])
    _warm_up(lambda: peer.call(bodies.sum_first_words, array))


def _warm_result(peer: Adapter, workers: int) -> None:
    """Let every worker make its array, and look at a whole result."""
    expected = bodies.random_words(ARRAY_BYTES, seed=0)
    peer.warm_store()
    for _ in range(_WARM_CALLS_EACH):
        peer.collect([peer.submit(bodies.copy_and_return, (ARRAY_BYTES, 0)) for _ in range(workers)])
    result = peer.call(bodies.copy_and_return, (ARRAY_BYTES, 0))
    assert (result[2:] == expected[2:]).all(), "wrong result"
    del result
    _warm_up(lambda: peer.call(bodies.copy_and_return, (ARRAY_BYTES, 0)))


def _warm_up(call: Callable[[], object]) -> None:
    start = time.perf_counter()
    for number in range(_WARM_CALLS):
        if number >= _WARM_CALLS_MIN and time.perf_counter() - start > _WARM_S:
            return
        call()


def _rate_in_flight(
    peer: Adapter, count: int, submit: Callable[[int], Any], check: Callable[[int, Any], None]
) -> float:
    """Calls a second with `_IN_FLIGHT` of them handed in and not yet collected, the oldest collected first."""
    handles: deque[Any] = deque()
    start = time.perf_counter()
    for number in range(count + _IN_FLIGHT):
        if number >= _IN_FLIGHT:
            check(number - _IN_FLIGHT, peer.collect([handles.popleft()])[0])
        if number < count:
            handles.append(submit(number))
    return count / (time.perf_counter() - start)


_LIBRARIES = ("distpool-executor", "stdlib-pool-fork", "stdlib-executor", "loky", "ray-tasks")
# As many calls as make a second or more of each.
_SHARES = {
    "stdlib-pool-fork": 0.2,
    "stdlib-executor": 0.2,
    "loky": 0.2,
    "ray-tasks": 0.5,
    "dask": 0.2,
}
_TARGETS = (
    Target("10x stdlib Pool", ("stdlib-pool-fork",), at_least=10.0),
    Target("2.5x Ray", ("ray-tasks",), at_least=2.5),
    Target("≥ 75 % of memcpy", ("memcpy",), at_least=0.75, percent=True),
)


def _row(
    key: str,
    title: str,
    measure: Callable[[Session], Mapping[str, float]],
    *,
    more_metrics: tuple[Metric, ...] = (),
    more_peers: tuple[str, ...] = ("dask",),
) -> Row:
    return Row(
        key=key,
        metrics=(Metric("rate", title, "calls/s", "higher", _TARGETS), *more_metrics),
        ours="distpool-pool",
        peers=(*_LIBRARIES, *more_peers, "memcpy"),
        count=40,
        measure=measure,
        quick_share=0.25,
        needs=("numpy",),
        shares=_SHARES,
        instead={"memcpy": measure_memcpy},
    )


ROWS = (
    _row("array-argument-one", "100 MB array as argument, one at a time", measure_argument_one),
    _row("array-argument-many", "100 MB array as argument, 4 in flight", measure_argument_many),
    _row(
        "array-result-one",
        "100 MB array as result, one at a time, the task's own copy included",
        measure_result_one,
        more_metrics=(
            Metric(
                "net",
                "100 MB array as result, one at a time, the task's own copy subtracted",
                "calls/s",
                "higher",
                _TARGETS,
            ),
        ),
    ),
    # Not dask: its workers keep results as they are, and this task returns the same array every time.
    _row(
        "array-result-many",
        "100 MB array as result, 4 in flight, the task's own copy included",
        measure_result_many,
        more_peers=(),
    ),
    Row(
        key="put-get",
        metrics=(
            Metric(
                "rate",
                "put + get of a 100 MB array, every page read",
                "times/s",
                "higher",
                (
                    Target("1x Ray", ("ray-tasks",), at_least=1.0),
                    Target("≥ 80 % of memcpy", ("memcpy",), at_least=0.8, percent=True),
                ),
            ),
        ),
        ours="distpool-pool",
        peers=("ray-tasks", "dask", "memcpy"),
        count=40,
        measure=measure_put_get,
        quick_share=0.25,
        needs=("numpy",),
        shares={"ray-tasks": 1.0, "dask": 0.2},
        instead={"memcpy": measure_memcpy},
    ),
)
