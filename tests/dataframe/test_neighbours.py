"""Frames whose rows are not made yet, given to other libraries and to writers, and got back from them."""

import re
import sqlite3
from pathlib import Path

import numpy
import pandas
import polars
import pyarrow
import pytest

import distpool.dataframe as pd
from distpool.dataframe.objects import is_lazy

README = Path(__file__).parents[2] / "README.md"
RAW = pandas.DataFrame(
    {"a": [3, 1, 2, 5], "b": [1.5, numpy.nan, 2.5, 4.0], "s": ["x", None, "y", "z"], "k": [0, 1, 0, 1]}
)
WANTED = RAW[RAW.a > 1].reset_index(drop=True)


@pytest.fixture
def lazy():
    with pd.route("polars"):
        frame = pd.DataFrame(RAW)
        made = frame[frame.a > 1].reset_index(drop=True)
    assert is_lazy(made)
    return made


def test_arrow_and_polars_take_them_without_a_copy_of_ours(lazy):
    assert pyarrow.table(lazy).to_pydict()["a"] == [3, 2, 5]
    assert pyarrow.RecordBatchReader.from_stream(lazy).read_all().num_rows == 3
    assert polars.DataFrame(lazy)["a"].to_list() == [3, 2, 5]
    assert polars.from_pandas(lazy).height == 3


def test_arrow_polars_and_dask_give_them():
    import dask.dataframe

    for given in (
        pyarrow.table({"a": [1]}).to_pandas(),
        polars.DataFrame({"a": [1]}).to_pandas(),
        dask.dataframe.from_pandas(pd.DataFrame({"a": [1]}), npartitions=1).compute(),
        pandas.DataFrame.from_arrow(pyarrow.table({"a": [1]})),
    ):
        frame = pd.DataFrame(given)
        assert type(frame) is pd.DataFrame
        assert frame.a.tolist() == [1]


@pytest.mark.parametrize("kind", ["parquet", "feather", "csv", "json", "pickle", "excel"])
def test_what_is_written_is_read(lazy, kind, tmp_path):
    if kind == "excel":
        pytest.importorskip("openpyxl")
    path = tmp_path / f"file.{'xlsx' if kind == 'excel' else kind}"
    options = {"index": False} if kind in ("csv", "excel") else {}
    getattr(lazy, f"to_{kind}")(path, **options)
    found = getattr(pd, f"read_{kind}")(path)
    assert type(found) is pd.DataFrame
    pandas.testing.assert_frame_equal(found, WANTED, check_dtype=kind not in ("excel", "csv", "json"))


def test_a_database(lazy):
    with sqlite3.connect(":memory:") as connection:
        lazy.to_sql("rows", connection, index=False)
        pandas.testing.assert_frame_equal(pd.read_sql("select * from rows", connection), WANTED)
    connection.close()


def test_scikit_learn_fits_and_keeps_the_names(lazy):
    linear_model = pytest.importorskip("sklearn.linear_model")
    model = linear_model.LinearRegression().fit(lazy[["b", "k"]], lazy["a"])
    assert model.feature_names_in_.tolist() == ["b", "k"]
    assert model.predict(lazy[["b", "k"]]).shape == (3,)


def test_matplotlib_and_pandas_plot(lazy):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    from matplotlib import pyplot

    try:
        axes = lazy.plot(x="a", y="b")
        assert axes.lines[0].get_xdata().tolist() == [3, 2, 5]
        assert pyplot.scatter("a", "b", data=lazy).get_offsets().shape == (3, 2)
        assert len(lazy["a"].plot.hist().patches) >= 10
    finally:
        pyplot.close("all")


def test_seaborn(lazy):
    seaborn = pytest.importorskip("seaborn")
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    try:
        assert seaborn.barplot(lazy, x="s", y="a", errorbar=None).patches[0].get_height() == 3
    finally:
        pyplot.close("all")


def test_plotly(lazy):
    express = pytest.importorskip("plotly.express")
    assert list(express.scatter(lazy, x="a", y="b").data[0].x) == [3, 2, 5]


def test_the_example_of_the_readme(tmp_path, monkeypatch):
    """As it stands there, and with pandas in its place."""
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    from matplotlib import pyplot

    (program,) = re.findall(
        r"```python\n(import distpool\.dataframe as pd.*?)```", README.read_text(), re.DOTALL
    )
    monkeypatch.chdir(tmp_path)
    Path("trips").mkdir()
    days = pandas.date_range("2024-01-01", periods=200, freq="D")
    trips = pandas.DataFrame({"pickup": days, "zone": numpy.arange(200) % 5, "fare": numpy.arange(200) - 9.5})
    trips[:100].to_parquet("trips/1.parquet")
    trips[100:].reset_index(drop=True).to_parquet("trips/2.parquet")
    pandas.DataFrame({"zone": range(5), "borough": list("QBMSQ")}).to_parquet("zones.parquet")
    drawn = []
    for text, route in (
        (program, "polars"),
        (program, ""),
        (program.replace("distpool.dataframe", "pandas"), ""),
    ):
        with pd.route(route):
            names: dict[str, object] = {}
            exec(text, names)
        drawn.append([line.get_ydata().tolist() for line in pyplot.gca().lines])
        pyplot.close("all")
        pandas.testing.assert_series_equal(pandas.Series(names["fares"]), names["fares"])
    assert len(drawn[0]) == 4
    assert drawn[0] == drawn[1] == drawn[2]


def test_an_object_store(tmp_path):
    """Files of a server that speaks S3, on loopback."""
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server").ThreadedMotoServer("127.0.0.1", 0)
    import boto3

    server.start()
    try:
        address = "http://{}:{}".format(*server.get_host_and_port())
        secret = {"key": "test", "secret": "test", "client_kwargs": {"endpoint_url": address}}
        boto3.client(
            "s3",
            endpoint_url=address,
            aws_access_key_id="test",
            aws_secret_access_key="test",
            region_name="us-east-1",
        ).create_bucket(Bucket="bucket")
        with pd.route("polars"):
            frame = pd.DataFrame(RAW)
            frame[frame.a > 1].reset_index(drop=True).to_parquet("s3://bucket/file", storage_options=secret)
            found = pd.read_parquet("s3://bucket/file", storage_options=secret)
            pandas.testing.assert_frame_equal(found, WANTED)
            with pytest.raises(FileNotFoundError):
                pd.read_parquet("s3://bucket/nowhere", storage_options=secret)
    finally:
        server.stop()
