"""Which way a plan runs, what is seen of it on the engine, and what is left when it is over."""

from __future__ import annotations

import gc
import os
import re
import signal
import unittest.mock
import weakref

import pandas
import pyarrow.parquet
import pytest

import distpool
import distpool.dataframe as pd
from distpool.dataframe import coverage_counts, running
from distpool.dataframe.fragments import choosing, executor, worker
from distpool.dataframe.fragments.limits import Limits
from distpool.dataframe.fragments.pieces import Fragment
from distpool.dataframe.plan import Memory
from tests.dataframe.in_process import TINY, InProcess, fragments

GIB = 1 << 30


@pytest.fixture
def table(tmp_path):
    """A file of ten row groups, and its rows."""
    rows = pandas.DataFrame({"k": [at % 7 for at in range(1000)], "v": range(1000)})
    path = tmp_path / "rows.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pandas(rows), path, row_group_size=100)
    return path, rows


@pytest.fixture
def on_engine(monkeypatch):
    """Everything in small fragments, on workers of this machine."""
    monkeypatch.setattr(running, "limits", Limits(fragment_bytes=500, broadcast_bytes=0, gather_bytes=0))
    with pd.route("cluster"):
        yield
    distpool.shutdown()


def summed(path):
    return pd.read_parquet(path).groupby("k")["v"].sum()


@pytest.mark.parametrize(
    ("size", "free", "machines", "expected"),
    [
        (100 << 20, 0, 9, ""),
        (GIB // 2, GIB // 2, 9, "takes about 1024 MiB of memory, and 512 MiB are free"),
        (GIB // 2, 2 * GIB, 9, ""),
        (2 * GIB, 9 * GIB, 1, ""),
        (2 * GIB, 9 * GIB, 3, "3 machines, and 2048 MiB"),
    ],
)
def test_what_is_big_runs_in_fragments(table, monkeypatch, size, free, machines, expected):
    path, _ = table
    monkeypatch.setattr(choosing, "free_bytes", lambda: free)
    monkeypatch.setattr(choosing, "_machines", lambda: machines)
    monkeypatch.setattr(choosing, "may_be_big", lambda root: size >= choosing.LOOKED_AT_BYTES_MIN)
    cut = {b"": [Fragment(Memory(0, (), None), bytes_=size // 2)] * 2}
    monkeypatch.setattr(choosing, "sources_of", lambda plan, limits: cut)
    with pd.route("polars"):
        lazy = pd.read_parquet(path)
    found = running.why_in_fragments(lazy._header.base)
    assert expected in found
    assert bool(found) == bool(expected)


def test_small_files_are_not_looked_at(table, monkeypatch):
    monkeypatch.setattr(choosing, "sources_of", None)
    path, rows = table
    with pd.route("polars"):
        lazy = pd.read_parquet(path)
    assert running.why_in_fragments(lazy._header.base) == ""
    assert len(lazy) == len(rows)


def test_files_that_other_machines_do_not_have_are_read_here(table, monkeypatch):
    def missing(body):
        raise FileNotFoundError("rows.parquet is not there on another machine")

    path, rows = table
    monkeypatch.setattr(worker, "_check_files", missing)
    coverage_counts.reset()
    with fragments(TINY):
        pandas.testing.assert_series_equal(summed(path), rows.groupby("k")["v"].sum())
    table = pd.coverage()
    assert table[table.outcome == "fall-back"].reason.tolist() == [
        "rows.parquet is not there on another machine"
    ]


def test_a_file_that_changes_under_a_plan_fails_it_and_pandas_reads_what_is_there(table, on_engine):
    path, rows = table
    coverage_counts.reset()
    lazy = summed(path)
    pyarrow.parquet.write_table(pyarrow.Table.from_pandas(rows.head(500)), path, row_group_size=100)
    pandas.testing.assert_series_equal(lazy, rows.head(500).groupby("k")["v"].sum())
    assert pd.coverage().reason.str.contains(re.escape(f"{path} has changed")).any()


def test_a_file_that_cannot_be_read_is_pandas_error(table, on_engine):
    path, _ = table
    lazy = summed(path)
    os.truncate(path, 100)
    with pytest.raises(Exception, match="Parquet magic bytes"):
        len(lazy)


def test_explain_tells_the_stages(table):
    path, _ = table
    with fragments(Limits(fragment_bytes=900, gather_bytes=0)):
        text = summed(path).explain()
    assert "in fragments, these at most: the route is cluster\n  stage 1: 10 fragments\n" in text
    assert "of each by the hash of k" in text
    with pd.route("polars"):
        assert "fragments" not in summed(path).explain()


def test_progress_is_shown(table, on_engine, tmp_path):
    path, rows = table
    with open(tmp_path / "shown", "w+") as file:
        with pd.progress({"description": "sums", "file": file}):
            assert summed(path).sum() == rows.v.sum()
        text = (tmp_path / "shown").read_text()
    done = re.findall(r"sums: 100% (\d+)/(\d+) fragments", text)[-1]
    assert done[0] == done[1]
    assert int(done[0]) > 10
    with pytest.raises(TypeError, match="progress must be"), pd.progress(3):
        pass


def test_pieces_go_when_they_have_been_read(table):
    """When a stage is run, of the pieces that were made before only those are there that it, or a later one, reads."""
    made, alive = [], []

    class Watching(InProcess):
        def run(self, stage):
            fed = {id(piece) for one in stage.fragments for pieces in one.inputs for piece in pieces}
            gc.collect()
            there = [piece for piece in (ref() for ref in made) if piece is not None]
            alive.append(sum(id(piece) not in fed for piece in there))
            del there
            result = super().run(stage)
            made.extend(weakref.ref(piece) for pieces in result for piece in pieces)
            return result

    path, rows = table
    with fragments(TINY), unittest.mock.patch.object(executor, "OnEngine", Watching):
        found = summed(path)
        pandas.testing.assert_series_equal(found, rows.groupby("k")["v"].sum())
    assert len(alive) >= 5
    # The bounds of a sort lie beside its runs; nothing else is kept.
    assert max(alive) <= max(len(made) // 4, 3), alive
    gc.collect()
    assert [ref() for ref in made if ref() is not None] == []


def test_a_worker_that_dies_costs_time_only(table, on_engine, tmp_path, monkeypatch):
    path, rows = table
    once = tmp_path / "once"
    plain = executor.run_fragment

    def dying(order, *buffers):
        try:
            os.close(os.open(once, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return plain(order, *buffers)
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(executor, "run_fragment", dying)
    pandas.testing.assert_series_equal(summed(path), rows.groupby("k")["v"].sum())
    assert once.exists()
