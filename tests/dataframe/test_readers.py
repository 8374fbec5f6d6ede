"""Files of parquet read as pandas reads them, whatever lies in them."""

import datetime
import decimal
import gc
import weakref

import numpy
import pandas
import polars
import pyarrow
import pyarrow.parquet
import pytest

import distpool.dataframe as pd
from distpool.dataframe import coverage_counts, polars_route
from distpool.dataframe.fragments import choosing


def both(path, program, **options):
    """Run a program on a file with both, and compare."""
    coverage_counts.reset()
    expected = program(pandas.read_parquet(path, **options))
    with pd.route("polars"):
        found = program(pd.read_parquet(path, **options))
        pandas.testing.assert_frame_equal(found, expected)
    counted = pd.coverage()
    return counted[counted.method == "pandas.read_parquet"].outcome.item()


@pytest.fixture
def frame():
    return pandas.DataFrame(
        {
            "a": [3, 1, 2],
            "f": [1.5, numpy.nan, -numpy.inf],
            "s": ["x", None, "ü"],
            "t": pandas.to_datetime(["2020-01-01", None, "2021-05-05"]),
            "z": pandas.to_datetime(["2020-01-01", "2020-07-01", None]).tz_localize("Europe/Berlin"),
            "b": [True, False, True],
        }
    )


def test_a_file(frame, tmp_path):
    frame.to_parquet(tmp_path / "file")
    assert both(tmp_path / "file", lambda f: f) == "native"
    assert both(tmp_path / "file", lambda f: f[f.a > 1].sort_values("a")) == "native"
    assert both(tmp_path / "file", lambda f: f[f.f > 1][["s"]], columns=["f", "s"]) == "native"


def test_a_folder_is_read_in_the_order_of_its_names(frame, tmp_path):
    for name in ("b.parquet", "a.parquet", "sub/c.parquet"):
        (tmp_path / "folder" / name).parent.mkdir(exist_ok=True)
        frame.assign(name=name).to_parquet(tmp_path / "folder" / name)
    assert both(tmp_path / "folder", lambda f: f) == "native"


def test_an_index_in_the_file_is_pandas_to_read(frame, tmp_path):
    frame.set_index("a").to_parquet(tmp_path / "file")
    assert both(tmp_path / "file", lambda f: f) == "fall-back"


def test_dates_and_decimals_travel_and_become_what_is_asked(tmp_path):
    table = pyarrow.table(
        {
            "d": [datetime.date(2020, 1, 1), datetime.date(1969, 12, 31)],
            "p": [decimal.Decimal("1.10"), decimal.Decimal("2.25")],
            "k": [1, 2],
        }
    )
    pyarrow.parquet.write_table(table, tmp_path / "file")
    assert both(tmp_path / "file", lambda f: f) == "native"
    assert both(tmp_path / "file", lambda f: f[f.d >= datetime.date(2020, 1, 1)]) == "native"
    assert both(tmp_path / "file", lambda f: f.assign(p=f.p.astype("float64"))) == "native"
    with pd.route("polars"):
        lazy = pd.read_parquet(tmp_path / "file")
        pandas.testing.assert_series_equal(
            pd.to_datetime(lazy.d), pandas.to_datetime(pandas.read_parquet(tmp_path / "file").d)
        )


def test_a_file_that_is_written_anew_is_another_source(frame, tmp_path):
    frame.to_parquet(tmp_path / "file")
    with pd.route("polars"):
        before = pd.read_parquet(tmp_path / "file")
        frame.head(1).to_parquet(tmp_path / "file")
        after = pd.read_parquet(tmp_path / "file")
        assert before._header.base != after._header.base
        assert len(after) == 1


def test_a_broken_file_is_pandas_error(tmp_path):
    (tmp_path / "file").write_bytes(b"PAR1 half")
    for library in (pandas, pd):
        with pytest.raises(pyarrow.ArrowInvalid, match="Parquet"):
            library.read_parquet(tmp_path / "file")
        with pytest.raises(FileNotFoundError):
            library.read_parquet(tmp_path / "nowhere")


def test_whole_numbers_with_nulls_are_pandas_to_read(tmp_path):
    pyarrow.parquet.write_table(pyarrow.table({"a": [1, None]}), tmp_path / "file")
    assert both(tmp_path / "file", lambda f: f) == "fall-back"


def test_how_many_rows_there_are_is_known_without_making_them(frame, tmp_path):
    frame.to_parquet(tmp_path / "file")
    with pd.route("polars"):
        read = pd.read_parquet(tmp_path / "file")
        made = read.assign(g=read.a * 2).sort_values("a").reset_index()
        for found, shape in (
            (read, (3, 6)),
            (made, (3, 8)),
            (made.a, (3,)),
            (read.head(2), (2, 6)),
            (read.tail(2), (2, 6)),
            (read[1:], (2, 6)),
            (read[5:7], (0, 6)),
            (pd.concat([read, read.tail(9)], ignore_index=True), (6, 6)),
        ):
            assert (found.shape, len(found)) == (shape, shape[0])
            assert "_mgr" not in found.__dict__
        kept = read[read.a > 1]
        assert (kept.shape, len(kept)) == ((2, 6), 2)
        pandas.testing.assert_frame_equal(pandas.DataFrame(made[5:7]), pandas.DataFrame(made)[5:7])


@pytest.fixture
def scanned(monkeypatch):
    """The columns that are read of files, a list for each time."""
    found, scan = [], polars.scan_parquet

    def noting(*args, **options):
        rows = scan(*args, **options)
        found.append(rows)
        return rows

    monkeypatch.setattr(polars_route.polars, "scan_parquet", noting)
    return found


def asked(frame, at):
    made = frame[frame.f.isna() | (frame.a > at)].merge(frame[["a", "s"]], on="a", how="left")
    return made.groupby("a", sort=False)["s_y"].first().to_frame()


def test_columns_that_are_read_again_and_again_are_kept_with_the_frame(frame, tmp_path, scanned):
    expected = [asked(frame, at) for at in range(5)]
    frame.to_parquet(tmp_path / "file")
    with pd.route("polars"):
        read = pd.read_parquet(tmp_path / "file")
        for at in range(3):
            pandas.testing.assert_frame_equal(asked(read, at), expected[at])
        (tmp_path / "file").unlink()
        scanned.clear()
        for at in (3, 4):
            pandas.testing.assert_frame_equal(asked(read, at), expected[at])
        assert scanned == []
        kept = weakref.ref(read._header.base.kept)
        del read
        gc.collect()
        assert kept() is None


def test_no_column_is_kept_where_memory_is_short_or_where_few_rows_are_looked_at(
    frame, tmp_path, scanned, monkeypatch
):
    frame.to_parquet(tmp_path / "file")
    with pd.route("polars"):
        looked_at = pd.read_parquet(tmp_path / "file")
        for _ in range(5):
            pandas.testing.assert_frame_equal(looked_at.head(2), frame.head(2))
        read = pd.read_parquet(tmp_path / "file")
        monkeypatch.setattr(choosing, "free_bytes", lambda: 0)
        for _ in range(5):
            pandas.testing.assert_frame_equal(read[read.a > 1], frame[frame.a > 1])
    for one in (looked_at, read):
        scanned.clear()
        with pd.route("polars"):
            assert one.assign(n=one.a + 1).n.sum() == 9
        assert len(scanned) == 1


def test_a_level_of_the_index_with_the_name_of_a_column_is_ambiguous(frame):
    for library in (pandas, pd):
        with pd.route("polars"), pytest.raises(ValueError, match="ambiguous"):
            library.DataFrame(frame).set_index("a", drop=False).pivot_table(values="f", index="a")
