"""The 22 queries, written in pandas, give what they give on pandas, and nothing of them falls back."""

import pandas
import pytest

import distpool.dataframe as pd
from benchmarks.tpch import data, queries
from distpool.dataframe import coverage_counts


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    return data.generate(tmp_path_factory.mktemp("tpch"), 0.01)


@pytest.mark.parametrize("number", queries.QUERIES)
def test_query(number, tables):
    query = queries.QUERIES[number]
    expected = query(pandas, lambda name: pandas.read_parquet(tables / f"{name}.parquet"))
    coverage_counts.reset()
    with pd.route("polars"):
        found = query(pd, lambda name: pd.read_parquet(tables / f"{name}.parquet"))
        pandas.testing.assert_frame_equal(found, expected)
    counted = pd.coverage()
    assert counted[counted.outcome == "fall-back"].values.tolist() == []
    assert counted[counted.outcome == "native"].calls.sum() >= 5
