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
from tests.dataframe import notebooks, programs

PAGE = Path(__file__).parents[2] / "docs" / "dataframe.md"
CLASSES = {
    "DataFrame": pandas.DataFrame,
    "Series": pandas.Series,
    "DataFrameGroupBy": pandas.api.typing.DataFrameGroupBy,
    "SeriesGroupBy": pandas.api.typing.SeriesGroupBy,
    "StringMethods": type(pandas.Series(["a"]).str),
    "Resampler": type(pandas.Series([1], index=pandas.to_datetime(["2020-01-01"])).resample("D")),
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

A plan runs in this process, by Polars, unless it reads parquet files of at least 256 MiB and
- there are several machines (`DISTPOOL_ADDRESS`, or `distpool.init(address=...)`) and at least 1 GiB of columns, or
- twice the size of the columns, as the files tell it, is more than the memory that is free.

Then it runs in fragments on the workers, and `df.explain()` says why and how: row groups are read where they are
needed, joins and group-bys exchange rows as Arrow through the object stores, which spill to the disk when they are
full. `DISTPOOL_DF_ROUTE=cluster` forces it. `with pd.progress():` shows how far it is. A worker or a machine that dies
costs time. All machines must reach the files by one path; where one does not, the plan runs here, and `pd.coverage()`
says so. A step that is not known in parts runs in one fragment, which needs memory for all of its rows. So do the keys
of a sort by one column, whose ties are laid as pandas lays them, and the result itself, in this process.

Each plan reads the columns that it needs. Those that one `read_parquet` is asked for a third time are kept while a
frame of it is there, if the files are of less than 1 GiB and a quarter of the memory that is free is enough.

A plan that fails on its rows or files is pandas' to do, call by call. CSV is read by pandas: the dtype of a column
hangs on all of its rows, so nothing is known before a pass over the file, and pandas 3.1 parses on one core about as
quickly as Polars (50 MB, nine columns: 0.22 s of CPU time, and 0.16). Frames in memory are pandas' own where there are
fewer than four cores: at the group-bys and joins of the well-known database-like benchmark, with two million rows,
pandas 3.1 takes as much CPU time as Polars, so cores are what there is to win.

The ten notebooks below are programs of ours, over made data (`tests/dataframe/notebooks.py`); a call counts once, and
what only looks (`print`, plots, `len`) does not.

"""


def public(kind):
    return [name for name in dir(kind) if not name.startswith("_") and callable(getattr(kind, name, None))]


def native_names(owner):
    names = set(TABLE.get(owner, {})) | (
        {"groupby", "loc", "iloc"} if owner in ("DataFrame", "Series") else set()
    )
    functions = applying.METHODS
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
    notebooks.write_tables(folder)
    typical = [0, 0]
    for program in notebooks.NOTEBOOKS:
        made, native, fallen, which = counted(lambda program=program: program(pd, folder))
        pandas.testing.assert_frame_equal(made, program(pandas, folder))
        typical = [typical[0] + native, typical[1] + fallen]
        lines.append(
            f"| notebook: {program.__name__} | {native} | {fallen} | {', '.join(f'`{name}`' for name in which)} |"
        )
    share = typical[0] / sum(typical)
    lines.append(f"| the ten notebooks | {typical[0]} | {typical[1]} | {share:.0%} are native |")
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
    return text + "\n".join(lines) + "\n", sums, tpch, typical


def test_the_page_says_what_is(page):
    if os.environ.get("DISTPOOL_WRITE_DOCS"):
        PAGE.write_text(page[0])
    assert PAGE.read_text() == page[0], "DISTPOOL_WRITE_DOCS=1 writes it anew"


def test_most_calls_of_typical_programs_are_native(page):
    native, fallen = page[1]
    assert native / (native + fallen) >= 0.85


def test_most_calls_of_ten_notebooks_are_native(page):
    native, fallen = page[3]
    assert native / (native + fallen) >= 0.75


def test_no_call_of_the_queries_falls_back(page):
    assert page[2][0] > 300
    assert page[2][1] == 0
