"""joblib and scikit-learn: a search of 100 short fits, one big array in many tasks, many tiny tasks.

Cold is the first call of a process: workers are started, and import what they need. Warm are the calls after it, with
what both backends keep between calls.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, cast

from benchmarks import bodies
from benchmarks.adapters import JoblibAdapter
from benchmarks.model import Metric, Row, Session, Target

TITLE = "joblib and scikit-learn"

_FOLDS = 5
_ARRAY_BYTES = 1_000_000_000
_WARM_CALLS = 3


def measure_search(session: Session) -> Mapping[str, float]:
    """`GridSearchCV` over so many fits of 20 ms, on a table of 500 rows."""
    import numpy
    from sklearn.model_selection import GridSearchCV

    from benchmarks.estimators import TwentyMilliseconds

    peer = cast(JoblibAdapter, session.open())
    table = numpy.random.default_rng(0).normal(size=(500, 20))
    target = (table[:, 0] > 0).astype(int)
    grid = {"alpha": [float(alpha) for alpha in range(max(1, session.count // _FOLDS))]}
    fits = len(grid["alpha"]) * _FOLDS

    def search() -> tuple[float, list[float]]:
        start = time.perf_counter()
        with peer.config():
            found = GridSearchCV(TwentyMilliseconds(), grid, cv=_FOLDS, refit=False).fit(table, target)
        return time.perf_counter() - start, list(found.cv_results_["mean_test_score"])

    cold_s, scores = search()
    warm = [search() for _ in range(_WARM_CALLS)]
    assert all(others == scores for _, others in warm), "other scores"
    ideal_s = fits * TwentyMilliseconds.FIT_S / session.workers
    return {"cold": fits / cold_s, "warm": 100 * ideal_s / min(seconds for seconds, _ in warm)}


def measure_array(session: Session) -> Mapping[str, float]:
    """One array of 1 GB is the argument of every task of a call; each reads the first word of every page."""
    peer = session.open()
    small = bodies.random_words(1_000_000, seed=1)
    peer.map(bodies.sum_first_words, [small] * 8, 1)  # the workers are there
    times = []
    for seed in range(2):
        array = bodies.random_words(_ARRAY_BYTES, seed=seed)
        expected = bodies.sum_first_words(array)
        start = time.perf_counter()
        results = peer.map(bodies.sum_first_words, [array] * session.count, 1)
        times.append(time.perf_counter() - start)
        assert results == [expected] * session.count, "wrong results"
        del array
    return {"first": times[0], "next": times[1]}


def measure_tiny(session: Session) -> Mapping[str, float]:
    """Empty tasks, in batches of the library's own choice."""
    peer = session.open()
    peer.map(bodies.null_task, range(2_000), None)
    start = time.perf_counter()
    results = peer.map(bodies.null_task, range(session.count), None)
    elapsed_s = time.perf_counter() - start
    assert results == list(range(session.count)), "wrong results"
    return {"rate": session.count / elapsed_s}


def _row(key: str, measure: Any, count: int, needs: tuple[str, ...], *metrics: Metric, **more: Any) -> Row:
    return Row(
        key=f"joblib-{key}",
        metrics=metrics,
        ours="distpool-joblib",
        peers=("loky-joblib",),
        count=count,
        measure=measure,
        needs=("joblib", *needs),
        **more,
    )


def _at_least(ratio: float) -> tuple[Target, ...]:
    return (Target(f"{ratio:g}x loky", ("loky-joblib",), at_least=ratio),)


ROWS = (
    _row(
        "search",
        measure_search,
        100,
        ("numpy", "scikit-learn"),
        Metric("cold", "GridSearchCV, 100 fits of 20 ms, first call", "fits/s", "higher", _at_least(1.0)),
        Metric(
            "warm", "GridSearchCV, 100 fits of 20 ms, later calls", "% of ideal", "higher", _at_least(1.0)
        ),
        quick_share=1.0,
    ),
    _row(
        "array",
        measure_array,
        20,
        ("numpy",),
        Metric("first", "one 1 GB array in 20 tasks, first call", "s", "lower"),
        Metric(
            "next", "one 1 GB array in 20 tasks, the next call with another", "s", "lower", _at_least(3.0)
        ),
        quick_share=1.0,
    ),
    _row(
        "tiny",
        measure_tiny,
        100_000,
        (),
        Metric("rate", "Parallel, 100,000 empty tasks", "tasks/s", "higher", _at_least(1.0)),
    ),
)
