"""The page that says what is native and what falls back is made here, from what the programs really did.

`DISTPOOL_WRITE_DOCS=1 pytest tests/dataframe/test_coverage.py` writes it anew.
"""

import inspect
import os
from pathlib import Path

import pandas
import pytest

import distpool.dataframe as pd
from benchmarks.tpch import data, queries
from distpool.dataframe import applying, coverage_counts
from distpool.dataframe.natives import TABLE
from tests.dataframe import programs

PAGE = Path(__file__).parents[2] / "docs" / "dataframe.md"
CLASSES = {
    "DataFrame": pandas.DataFrame,
    "Series": pandas.Series,
    "DataFrameGroupBy": pandas.api.typing.DataFrameGroupBy,
    "SeriesGroupBy": pandas.api.typing.SeriesGroupBy,
    "StringMethods": type(pandas.Series(["a"]).str),
    "DatetimeProperties": type(pandas.Series(pandas.to_datetime(["2020-01-01"])).dt),
}
INTRODUCTION = """# What of pandas is native

`import distpool.dataframe as pd` has all of pandas. What is named here runs as a plan; everything else is run by
pandas, on the rows that the plan makes, with the same result. A native method may fall back too, where its arguments
ask for something that it does not do exactly as pandas: `pd.coverage()` says so, with the reason. A test writes this.

Python functions given to `DataFrame.apply(axis=1)`, to `apply` and `map` of a Series, to `groupby.apply`, and to
`transform` and `agg` of a group-by's column, are timed on the first rows; where the rest would take more than a second
or two, worker processes do it. Nothing is called twice. What a function changes stays in the worker: one that is seen
to change what it refers to, or to draw random numbers, is left to pandas. `DISTPOOL_DF_ROUTE=pandas` switches it off.

"""


def public(kind):
    return [name for name in dir(kind) if not name.startswith("_") and callable(getattr(kind, name, None))]


def native_names(owner):
    names = set(TABLE.get(owner, {})) | (
        {"groupby", "loc", "iloc"} if owner in ("DataFrame", "Series") else set()
    )
    functions = {kind.__name__: methods for kind, methods in applying.METHODS.items()}
    return sorted(names | set(functions.get(owner, ())))


def native_table():
    lines = ["| class | native | of its methods |", "|---|---|---|"]
    for owner, kind in CLASSES.items():
        names = native_names(owner)
        plain = [name for name in names if not name.startswith("__")]
        operators = len(names) - len(plain)
        shown = ", ".join(f"`{name}`" for name in plain) + (f", {operators} operators" if operators else "")
        lines.append(f"| {owner} | {shown} | {len(plain)} of {len(public(kind))} |")
    functions = sorted(TABLE["pandas"]) + ["merge"]
    everything = [name for name in pandas.__all__ if inspect.isfunction(getattr(pandas, name))]
    shown = ", ".join(f"`{name}`" for name in functions)
    lines.append(f"| functions | {shown} | {len(functions)} of {len(everything)} |")
    return lines


def counted(run):
    """Run a program with everything through Polars; count its calls."""
    coverage_counts.reset()
    with pd.route("polars"):
        made = pandas.DataFrame(run())
    table = pd.coverage()
    calls = table.groupby("outcome")["calls"].sum()
    fallen = sorted(set(table[table.outcome == "fall-back"].method))
    return made, int(calls.get("native", 0)), int(calls.get("fall-back", 0)), fallen


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("programs")
    programs.write_tables(folder)
    lines = ["| program | native calls | fall-backs | which |", "|---|---|---|---|"]
    sums = [0, 0]
    for program in programs.PROGRAMS:
        made, native, fallen, which = counted(lambda program=program: program(pd, folder))
        pandas.testing.assert_frame_equal(made, program(pandas, folder))
        sums = [sums[0] + native, sums[1] + fallen]
        lines.append(
            f"| {program.__name__} | {native} | {fallen} | {', '.join(f'`{name}`' for name in which)} |"
        )
    tables = data.generate(folder, 0.01)
    tpch = [0, 0]
    for query in queries.QUERIES.values():
        _, native, fallen, _ = counted(
            lambda query=query: query(pd, lambda name: pd.read_parquet(tables / f"{name}.parquet"))
        )
        tpch = [tpch[0] + native, tpch[1] + fallen]
    lines.append(f"| the 22 queries of TPC-H | {tpch[0]} | {tpch[1]} | |")
    text = (
        INTRODUCTION
        + "\n".join(native_table())
        + "\n\n"
        + "By call, with every plan forced through Polars:\n\n"
    )
    return text + "\n".join(lines) + "\n", sums, tpch


def test_the_page_says_what_is(page):
    if os.environ.get("DISTPOOL_WRITE_DOCS"):
        PAGE.write_text(page[0])
    assert PAGE.read_text() == page[0], "DISTPOOL_WRITE_DOCS=1 writes it anew"


def test_most_calls_of_typical_programs_are_native(page):
    native, fallen = page[1]
    assert native / (native + fallen) >= 0.85


def test_no_call_of_the_queries_falls_back(page):
    assert page[2][0] > 300
    assert page[2][1] == 0
