"""What it costs to be shown how far a map is: a million empty tasks with ``progress=`` and without, by turns.

The bar is drawn to a terminal of the row's own, which somebody reads: drawing costs most there. Both ways run in the
same pool, in pairs whose order turns; what counts is the median of their ratios. (Rounds would keep the lowest, which
of a difference is no figure; so there is one.)
"""

from __future__ import annotations

import contextlib
import os
import pty
import statistics
import subprocess
import time
from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks import bodies
from benchmarks.model import Metric, NotOffered, Row, Session, Target

TITLE = "Progress"

# One map by the library's own chunks takes a fifth of a second, one of single calls several seconds.
_PAIRS_DEFAULT = 60
_PAIRS_ONE_BY_ONE = 9


def measure_default_chunks(session: Session) -> Mapping[str, float]:
    """Chunks of the library's own choice: a hundred thousand items travel as one call."""
    return {"cost": _cost_percent(session, None, _PAIRS_DEFAULT)}


def measure_one_by_one(session: Session) -> Mapping[str, float]:
    """Every item a call of its own."""
    return {"cost": _cost_percent(session, 1, _PAIRS_ONE_BY_ONE)}


def _cost_percent(session: Session, chunksize: int | None, pairs: int) -> float:
    """How much longer a map with progress takes than one without, in percent: the median of pairs."""
    pool = getattr(session.open_warm(), "_pool", None)
    if not hasattr(pool, "insight"):
        raise NotOffered("its maps show no progress")
    ratios = []
    with _terminal() as stream:
        for pair in range(pairs + 1):  # the first is to warm up: what draws is imported then
            elapsed_s = {}
            for shown in (pair % 2 == 0, pair % 2 == 1):
                elapsed_s[shown] = _map_s(
                    pool, session.count, chunksize, {"file": stream} if shown else False
                )
            if pair:
                ratios.append(elapsed_s[True] / elapsed_s[False])
    return 100.0 * (statistics.median(ratios) - 1.0)


def _map_s(pool: Any, count: int, chunksize: int | None, progress: Any) -> float:
    items = range(count)
    start = time.perf_counter()
    results = pool.map(bodies.null_task, items, chunksize, progress=progress)
    elapsed_s = time.perf_counter() - start
    assert results == list(items), "wrong results"
    return elapsed_s


@contextlib.contextmanager
def _terminal() -> Iterator[Any]:
    """The inner end of a terminal, whose outer end a process of its own reads."""
    outer, inner = pty.openpty()
    reader = subprocess.Popen(["cat"], stdin=outer, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(outer)
    try:
        with open(inner, "w") as stream:
            yield stream
    finally:
        reader.kill()
        reader.wait()


_ONE_PERCENT = (Target("≤ 1 %", at_most=1.0),)

ROWS = (
    Row(
        key="progress-default",
        metrics=(
            Metric(
                "cost", "progress on, map of 1,000,000, default chunks", "% longer", "lower", _ONE_PERCENT
            ),
        ),
        ours="distpool-pool",
        peers=(),
        count=1_000_000,
        measure=measure_default_chunks,
        timeout_s=300.0,
        rounds_max=1,
        quick_share=1.0,
    ),
    Row(
        key="progress-one-by-one",
        metrics=(
            Metric("cost", "progress on, map of 1,000,000, chunksize=1", "% longer", "lower", _ONE_PERCENT),
        ),
        ours="distpool-pool",
        peers=(),
        count=1_000_000,
        measure=measure_one_by_one,
        timeout_s=600.0,
        rounds_max=1,
    ),
)
