"""Byte strings of 1 KB to 1 MB as arguments: no size may fall between what is sent and what is stored."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator, Mapping

from benchmarks import bodies
from benchmarks.model import Adapter, Metric, Row, Session, Target

TITLE = "Arguments by size"

_SIZES_BYTES = {"1 KB": 1_000, "10 KB": 10_000, "100 KB": 100_000, "1 MB": 1_000_000}
# Of each size some different strings, taken in turn.
_STRINGS = 8
_WARM_CALLS = 20
# Calls of a big size are fewer, for the time they take and the memory of those in flight.
_TOTAL_BYTES_MAX = 200_000_000


def measure_one(session: Session) -> Mapping[str, float]:
    """Hand in one, wait for it, repeat."""
    return _each_size(session, _one_at_a_time)


def measure_many(session: Session) -> Mapping[str, float]:
    """Hand in all, then collect all."""
    return _each_size(session, _many_in_flight)


def _each_size(session: Session, run: Callable[[Adapter, Iterator[bytes], int], int]) -> Mapping[str, float]:
    peer = session.open_warm()
    rates: dict[str, float] = {}
    for key, size_bytes in _SIZES_BYTES.items():
        count = min(session.count, _TOTAL_BYTES_MAX // size_bytes)
        strings = itertools.cycle([os.urandom(size_bytes) for _ in range(_STRINGS)])
        run(peer, strings, _WARM_CALLS)
        start = time.perf_counter()
        total_bytes = run(peer, strings, count)
        rates[key] = count / (time.perf_counter() - start)
        assert total_bytes == count * size_bytes, "wrong results"
    return rates


def _one_at_a_time(peer: Adapter, strings: Iterator[bytes], count: int) -> int:
    return sum(peer.call(bodies.length, next(strings)) for _ in range(count))


def _many_in_flight(peer: Adapter, strings: Iterator[bytes], count: int) -> int:
    return sum(peer.collect([peer.submit(bodies.length, next(strings)) for _ in range(count)]))


def _row(key: str, title: str, count: int, measure: Callable[[Session], Mapping[str, float]]) -> Row:
    target = Target("1x stdlib Pool", ("stdlib-pool-fork",), at_least=1.0)
    return Row(
        key=key,
        metrics=tuple(
            Metric(size, f"{size} of bytes as argument, {title}", "calls/s", "higher", (target,))
            for size in _SIZES_BYTES
        ),
        ours="distpool-pool",
        peers=("distpool-executor", "stdlib-pool-fork", "stdlib-executor", "loky", "ray-tasks"),
        count=count,
        measure=measure,
        shares={"ray-tasks": 0.1, "loky": 0.5},
    )


ROWS = (
    _row("sizes-one", "one at a time", 2_000, measure_one),
    _row("sizes-many", "many in flight", 10_000, measure_many),
)
