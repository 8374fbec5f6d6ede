"""The 22 queries, written in pandas, give what they give on pandas, and nothing of them falls back."""

import unittest.mock

import pandas
import pyarrow.parquet
import pytest

import distpool
import distpool.dataframe as pd
from benchmarks.tpch import data, queries
from distpool.dataframe import coverage_counts, running
from distpool.dataframe.fragments import executor
from distpool.dataframe.fragments.limits import Limits


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


@pytest.fixture(scope="module")
def cut_tables(tables):
    """The same in row groups of which a query reads up to nine of a table; and a session to read them by."""
    folder = tables.parent / "cut"
    folder.mkdir()
    for path in tables.iterdir():
        pyarrow.parquet.write_table(pyarrow.parquet.read_table(path), folder / path.name, row_group_size=7000)
    yield folder
    distpool.shutdown()


SMALL = Limits(fragment_bytes=100_000, broadcast_bytes=20_000, gather_bytes=20_000, pieces_max=3)


@pytest.mark.parametrize("number", queries.QUERIES)
def test_query_in_fragments(number, cut_tables):
    """The same on the engine: rows are shuffled between workers, through the object store."""
    query = queries.QUERIES[number]
    expected = query(pandas, lambda name: pandas.read_parquet(cut_tables / f"{name}.parquet"))
    with (
        pd.route("cluster"),
        unittest.mock.patch.object(running, "limits", SMALL),
        unittest.mock.patch.object(
            executor.OnEngine, "_send", autospec=True, side_effect=executor.OnEngine._send
        ) as sent,
    ):
        found = query(pd, lambda name: pd.read_parquet(cut_tables / f"{name}.parquet"))
        pandas.testing.assert_frame_equal(found, expected)
    assert sent.call_count >= 3
