"""In the test process: `import pandas` in pandas' test files gives distpool.dataframe; everybody else's stays pandas.

Submodules (`pandas._testing`, `pandas.core...`) are pandas' own, as they are to a program that distpool runs: the same
import statement is used (`distpool.run_pandas`). A line of JSON for each test goes into a file: how it ended, and how
many DataFrames and Series of the library under test it made.

What it is not: the judge (``agreement``).
"""

from __future__ import annotations

import builtins
import json
import os
import sys
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import pandas
import pytest
from pandas.core.generic import NDFrame

from distpool.run_pandas import PandasImport

#: "distpool", or "pandas" to measure what pandas itself passes.
UNDER_TEST = os.environ["DISTPOOL_COMPAT_PANDAS"]
RECORDS = os.environ["DISTPOOL_COMPAT_RECORDS"]

PANDAS = Path(pandas.__file__).parent
TESTS = PANDAS / "tests"

_made = 0


def _of_a_test(namespace: Mapping[str, Any] | None) -> bool:
    """Whether one of pandas' test files, or its fixtures, asks."""
    file = namespace.get("__file__") if namespace is not None else None
    return file is not None and (file.startswith(f"{TESTS}{os.sep}") or Path(file) == PANDAS / "conftest.py")


def _kinds() -> tuple[type, ...]:
    if UNDER_TEST == "pandas":
        return pandas.DataFrame, pandas.Series
    from distpool.dataframe.objects import DataFrame, Series

    return DataFrame, Series


if UNDER_TEST == "distpool":
    # Now, since pytest imports pandas' fixtures before it configures its plugins.
    builtins.__import__ = PandasImport(builtins.__import__, _of_a_test)


def pytest_configure(config: pytest.Config) -> None:
    kinds = _kinds()
    if UNDER_TEST == "distpool":
        _swap_in_helpers()
    original = NDFrame.__init__

    def counted(self: Any, *args: Any, **kwargs: Any) -> None:
        global _made
        # Not isinstance: the classes of distpool say that pandas' objects are theirs.
        if any(kind in type(self).__mro__ for kind in kinds):
            _made += 1
        original(self, *args, **kwargs)

    NDFrame.__init__ = counted


def _swap_in_helpers() -> None:
    """The tests' helpers, `pandas._testing`, are there before the swap; they ask `box is Series` of what tests give."""
    import distpool.dataframe as ours

    for module in [each for name, each in sys.modules.items() if f"{name}.".startswith("pandas._testing.")]:
        _swap(module, {id(pandas): ours, **_classes()})


def _classes() -> dict[int, Any]:
    import distpool.dataframe as ours

    return {id(pandas.DataFrame): ours.DataFrame, id(pandas.Series): ours.Series}


def _swap(module: Any, by: Mapping[int, Any]) -> None:
    for name, value in [*vars(module).items()]:
        if id(value) in by:
            setattr(module, name, by[id(value)])


def pytest_collection_finish(session: pytest.Session) -> None:
    """A file that has a class from where pandas has it (`pandas.core.frame`) is given ours, as `pd.DataFrame` is.

    The guard: one that holds pandas itself is not a test of distpool.
    """
    if UNDER_TEST == "pandas":
        return
    for module in [*sys.modules.values()]:
        if _of_a_test(getattr(module, "__dict__", None)):
            _swap(module, _classes())
            found = [name for name, value in vars(module).items() if value is pandas]
            if found:
                raise pytest.UsageError(f"{module.__name__} has pandas itself as {', '.join(found)}")


def pytest_runtest_logstart() -> None:
    global _made
    _made = 0


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if call.when == "call" or report.outcome == "failed" or (call.when == "setup" and report.skipped):
        outcome = f"x{report.outcome}" if hasattr(report, "wasxfail") else report.outcome
        record = {
            "test": f"{item.path.relative_to(TESTS).as_posix()}::{item.nodeid.partition('::')[2]}",
            "outcome": outcome,
            "made": _made,
            "detail": "" if outcome != "failed" else str(report.longrepr)[-500:],
        }
        with open(f"{RECORDS}/{os.getpid()}.jsonl", "a") as file:
            file.write(json.dumps(record) + "\n")
    return report
