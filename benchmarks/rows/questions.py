"""The well-known database-like benchmark's questions, from parquet files to the rows of the answer.

Each question reads its tables anew, as a program does that is run once; pandas and distpool run the same program. The
seconds of all questions are added up. That all give the same answers is a test (`tests/dataframe/test_questions.py`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.model import Metric, Row, Session, Target
from benchmarks.questions import programs
from benchmarks.questions.data import generate

TITLE = "Group-bys and joins of data frames"

FOLDER = Path(__file__).resolve().parents[2] / ".cache" / "questions"
Questions = Mapping[str, Callable[[Any, programs.Read], Any]]


def _added_up(
    tables: Path, read: Callable[[str], Any], ask: Callable[[str, programs.Read], Any], names: Any
) -> float:
    def table(name: str) -> Any:
        return read(f"{tables / name}.parquet")

    seconds = 0.0
    for name in names:
        start = time.perf_counter()
        made = ask(name, table)
        len(made)
        seconds += time.perf_counter() - start
        del made
    return seconds


def measure_in_pandas(questions: Questions, session: Session) -> Mapping[str, float]:
    """Whatever has pandas' names."""
    tables = generate(FOLDER, session.count)
    library: Any = session.open()
    pd = library.names
    return {
        "seconds": _added_up(tables, pd.read_parquet, lambda name, read: questions[name](pd, read), questions)
    }


def measure_in_polars(questions: Questions, session: Session) -> Mapping[str, float]:
    """Polars' lazy engine, with the questions in its own words."""
    tables = generate(FOLDER, session.count)
    library: Any = session.open()
    pl = library.names
    return {
        "seconds": _added_up(
            tables, pl.scan_parquet, lambda name, read: questions[name](pl, read).collect(), questions
        )
    }


def _row(key: str, title: str, questions: Questions, in_polars: Questions) -> Row:
    return Row(
        key=key,
        metrics=(
            Metric(
                key="seconds",
                title=title,
                unit="s",
                better="lower",
                targets=(
                    Target("5x pandas", ("pandas",), at_least=5),
                    Target("0.5x Polars", ("polars",), at_least=0.5),
                ),
            ),
        ),
        ours="distpool-dataframe",
        peers=("pandas", "polars"),
        count=10_000_000,
        measure=partial(measure_in_pandas, questions),
        instead={"polars": partial(measure_in_polars, in_polars)},
        timeout_s=1200.0,
        rounds_max=2,
        quick_share=0.01,
        needs=("pandas", "pyarrow", "polars", "numpy"),
    )


ROWS = (
    _row("question-groupby", "ten group-bys of 1e7 rows", programs.GROUPED, programs.GROUPED_IN_POLARS),
    _row("question-join", "five joins of 1e7 rows", programs.JOINED, programs.JOINED_IN_POLARS),
)
