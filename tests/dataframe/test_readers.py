"""Files of parquet read as pandas reads them, whatever lies in them."""

import datetime
import decimal

import numpy
import pandas
import pyarrow
import pyarrow.parquet
import pytest

import distpool.dataframe as pd
from distpool.dataframe import coverage_counts


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
