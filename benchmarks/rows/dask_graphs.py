"""Dask's graphs: what a task costs that costs nothing, arrays whose chunks go through the store, and a shuffle."""

from __future__ import annotations

import operator
import time
from collections.abc import Mapping
from typing import Any

from benchmarks.model import Metric, Row, Session, Target

TITLE = "Dask graphs"

_PEERS = ("dask-threads", "dask")
_DISTRIBUTED = ("dask",)
#: Chunks of an array have so many floats each way: 4 MB.
_CHUNK = 724


def measure_trivial(session: Session) -> Mapping[str, float]:
    """So many additions, and one sum of them all; a tenth of them first, to warm up."""
    peer: Any = session.open()
    peer.graph(*_additions("warm", session.count // 10 or 1))
    graph, key = _additions("timed", session.count)
    start = time.perf_counter()
    value = peer.graph(graph, key)
    elapsed_s = time.perf_counter() - start
    assert value == sum(range(session.count)) + session.count, "wrong result"
    return {"rate": session.count / elapsed_s}


def _additions(name: str, count: int) -> tuple[dict[Any, Any], str]:
    graph: dict[Any, Any] = {(name, i): (operator.add, i, 1) for i in range(count)}
    graph[f"{name}-sum"] = (sum, list(graph))
    return graph, f"{name}-sum"


def measure_transposed(session: Session) -> Mapping[str, float]:
    """The sum of `x + x.T` for so many megabytes of random numbers in chunks of 4 MB."""
    import dask.array

    peer: Any = session.open()
    side = max(2, round((session.count * 1e6 / 8) ** 0.5 / _CHUNK)) * _CHUNK
    random = dask.array.random.default_rng(1)
    peer.compute(dask.array.ones((2 * _CHUNK, 2 * _CHUNK), chunks=_CHUNK).sum())
    x = random.random((side, side), chunks=_CHUNK)
    total = (x + x.T).sum()
    start = time.perf_counter()
    value = peer.compute(total)
    elapsed_s = time.perf_counter() - start
    assert abs(value / side**2 - 1) < 0.01, "wrong result"
    return {"seconds": elapsed_s}


def measure_shuffle(session: Session) -> Mapping[str, float]:
    """Group and merge so many megabytes of rows, in parts of 10 MB: the merge moves every row."""
    import dask
    import dask.dataframe
    import numpy
    import pandas

    peer: Any = session.open()
    parts = max(4, session.count // 10)
    rows = parts * 10_000_000 // 24
    random = numpy.random.default_rng(1)

    def frame(count: int) -> Any:
        keys = random.integers(0, max(1, rows // 20), count)
        values = random.random((2, count))
        return pandas.DataFrame({"key": keys, "a": values[0], "b": values[1]})

    left = dask.dataframe.from_pandas(frame(rows), npartitions=parts, sort=False)
    right = dask.dataframe.from_pandas(frame(rows // 20), npartitions=max(2, parts // 4), sort=False)
    with dask.config.set({"dataframe.shuffle.method": "tasks"}):
        merged = left.merge(right, on="key", suffixes=("", "_right"))
        work = merged.groupby("key").agg({"a": "mean", "b_right": "sum"}).a.count()
        peer.compute(left.a.sum())
        start = time.perf_counter()
        value = peer.compute(work)
    elapsed_s = time.perf_counter() - start
    assert 0 < value <= rows // 20, "wrong result"
    return {"seconds": elapsed_s}


ROWS = (
    Row(
        key="dask-trivial",
        metrics=(
            Metric(
                key="rate",
                title="trivial tasks of one graph",
                unit="tasks/s",
                better="higher",
                targets=(
                    Target("10x dask.distributed", _DISTRIBUTED, at_least=10),
                    Target("1x Dask's threads", ("dask-threads",), at_least=1),
                ),
            ),
        ),
        ours="distpool-dask",
        peers=_PEERS,
        count=10_000,
        measure=measure_trivial,
        needs=("dask",),
        shares={"dask": 0.2},
    ),
    Row(
        key="dask-transposed",
        metrics=(
            Metric(
                key="seconds",
                title="sum of (x + x.T), 400 MB in chunks of 4 MB",
                unit="s",
                better="lower",
                targets=(Target("0.8 times the time of dask.distributed", _DISTRIBUTED, at_least=1.25),),
            ),
        ),
        ours="distpool-dask",
        peers=_PEERS,
        count=400,
        measure=measure_transposed,
        needs=("dask", "numpy"),
        shares={"dask": 1.0},
    ),
    Row(
        key="dask-shuffle",
        metrics=(
            Metric(
                key="seconds",
                title="dataframe of 100 MB: merge by a shuffle, then groupby",
                unit="s",
                better="lower",
                targets=(Target("2x dask.distributed", _DISTRIBUTED, at_least=2),),
            ),
        ),
        ours="distpool-dask",
        peers=_PEERS,
        count=100,
        measure=measure_shuffle,
        needs=("dask", "numpy", "pandas", "pyarrow"),
        shares={"dask": 1.0},
    ),
)
