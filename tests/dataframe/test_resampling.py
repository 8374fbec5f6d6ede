"""`resample`: the bins are pandas' own, and what is in them is computed by the plan."""

import numpy
import pandas
import pytest

import distpool.dataframe as pd
from distpool.dataframe import coverage_counts
from tests.dataframe.in_process import TINY, fragments

ROUTES = {
    "pandas": lambda: pd.route("pandas"),
    "polars": lambda: pd.route("polars"),
    "cluster": lambda: fragments(TINY),
}
HOWS = ["sum", "mean", "min", "max", "count", "first", "last", "std", "median", "size"]


def table(library, span_s, unit="us", zone=None):
    chance = numpy.random.default_rng(8)
    times = pandas.to_datetime(1_709_000_000 + chance.integers(0, span_s, 40), unit="s").as_unit(unit)
    if zone is not None:
        times = times.tz_localize("UTC").tz_convert(zone)
    values = numpy.where(chance.random(40) < 0.2, numpy.nan, chance.integers(-9, 9, 40) / 2)
    return library.DataFrame({"t": times, "n": chance.integers(0, 9, 40), "x": values})


def compare(program, route):
    expected = program(pandas)
    with ROUTES[route]():
        found = program(pd)
    if expected.ndim == 1:
        pandas.testing.assert_series_equal(pandas.Series(found), expected)
    else:
        pandas.testing.assert_frame_equal(pandas.DataFrame(found), expected)
    assert found.index.freq == expected.index.freq


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize(
    ("rule", "span_s"),
    [
        ("s", 300),
        ("7min", 9_000),
        ("h", 90_000),
        ("D", 900_000),
        ("W", 9_000_000),
        ("ME", 9_000_000),
        ("MS", 9_000_000),
    ],
)
def test_as_pandas(rule, span_s, how, route):
    compare(lambda pd: getattr(table(pd, span_s).set_index("t").resample(rule), how)(), route)


@pytest.mark.parametrize("route", ["polars", "cluster"])
@pytest.mark.parametrize("closed", [None, "left", "right"])
@pytest.mark.parametrize("label", [None, "left", "right"])
@pytest.mark.parametrize("rule", ["5h", "D", "W-WED", "ME", "QS"])
def test_sides(rule, label, closed, route):
    compare(
        lambda pd: table(pd, 3_000_000, "s").resample(rule, on="t", closed=closed, label=label)["x"].mean(),
        route,
    )


@pytest.mark.parametrize("rule", ["3h", "D", "W"])
def test_in_a_zone_whose_clock_changes(rule):
    compare(
        lambda pd: table(pd, 6_000_000, zone="Europe/Berlin").set_index("t").resample(rule).sum(), "polars"
    )


PROGRAMS = {
    "ohlc": lambda pd: table(pd, 90_000).set_index("t")["x"].resample("h").ohlc(),
    "of a column": lambda pd: table(pd, 90_000).resample("h", on="t")["n"].max(),
    "by name": lambda pd: table(pd, 90_000).resample("h", on="t").x.first(),
    "of some": lambda pd: table(pd, 90_000).set_index("t").resample("2h", origin="epoch")[["x", "n"]].last(),
    "agg of each": lambda pd: table(pd, 90_000).resample("h", on="t").agg({"x": "mean", "n": "sum"}),
    "several of one": lambda pd: (
        table(pd, 90_000).set_index("t")["n"].resample("h").agg(["min", "max", "count"])
    ),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs(name):
    coverage_counts.reset()
    compare(PROGRAMS[name], "polars")
    counts = pd.coverage()
    assert counts[counts.outcome == "fall-back"].empty, counts


@pytest.mark.parametrize(
    "program",
    [
        lambda pd: table(pd, 90_000).set_index("t").resample("h").ffill(),
        lambda pd: table(pd, 90_000).set_index("t").resample("h").ohlc(),
        lambda pd: table(pd, 90_000).set_index("t")["x"].resample("h").agg(lambda rows: rows.sum()),
        lambda pd: table(pd, 90_000).assign(t=lambda f: f.t.where(f.n > 2)).resample("h", on="t").sum(),
        lambda pd: table(pd, 90_000).iloc[:0].set_index("t").resample("h").sum(),
        lambda pd: table(pd, 90_000).resample("h", on="t").interpolate(),
        lambda pd: table(pd, 90_000).set_index("t").resample("h")["n"].nunique(),
        lambda pd: table(pd, 90_000).set_index("t").resample("h")[["n", "x"]].quantile(0.25),
    ],
)
def test_what_pandas_does(program):
    try:
        expected = program(pandas)
    except Exception as error:
        with pd.route("polars"), pytest.raises(type(error)):
            program(pd)
        return
    with pd.route("polars"):
        found = pandas.DataFrame(program(pd))
    pandas.testing.assert_frame_equal(found, pandas.DataFrame(expected))


def test_of_a_file(tmp_path):
    path = str(tmp_path / "a.parquet")
    table(pandas, 900_000).to_parquet(path)
    compare(
        lambda pd: (lambda f: f[f.n > 1].resample("D", on="t")[["x"]].sum())(pd.read_parquet(path)), "polars"
    )
