"""The questions that are measured have the same answers whoever is asked, and no call of theirs falls back."""

import pandas
import polars
import pytest

import distpool.dataframe as pd
from benchmarks.questions import programs
from benchmarks.questions.data import generate
from distpool.dataframe import coverage_counts

IN_PANDAS = {**programs.GROUPED, **programs.JOINED}
IN_POLARS = {**programs.GROUPED_IN_POLARS, **programs.JOINED_IN_POLARS}


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    return generate(tmp_path_factory.mktemp("questions"), 20_000)


@pytest.mark.parametrize("name", IN_PANDAS)
def test_the_same_answer(tables, name):
    expected = IN_PANDAS[name](pandas, lambda table: pandas.read_parquet(tables / f"{table}.parquet"))
    coverage_counts.reset()
    with pd.route("polars"):
        found = IN_PANDAS[name](pd, lambda table: pd.read_parquet(tables / f"{table}.parquet"))
        pandas.testing.assert_frame_equal(pandas.DataFrame(found), expected)
    counts = pd.coverage()
    assert counts[counts.outcome == "fall-back"].empty, counts
    asked = IN_POLARS[name](polars, lambda table: polars.scan_parquet(tables / f"{table}.parquet")).collect()
    if "r2" in asked.columns:
        asked = asked.with_columns(polars.col("r2").fill_nan(None))
    (rows, sums), (expected_rows, expected_sums) = programs.checked(asked), programs.checked(expected)
    assert rows == expected_rows
    assert sums == pytest.approx(expected_sums)
