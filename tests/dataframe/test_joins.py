"""Joins of indexes, as-of joins and rows without a partner: as pandas, natively."""

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
LEFT = {
    "k": ["b", "a", "c", "b", "d"],
    "n": [3, 1, 2, 3, 9],
    "x": [0.5, 1.5, None, 2.5, 3.5],
    "f": [True] * 5,
}
RIGHT = {"k": ["a", "b", "b", "e"], "n": [1, 3, 3, 7], "y": [10, 20, 30, 40], "z": ["p", "q", None, "r"]}
TIMES = pandas.to_datetime(["2024-01-01 09:00", "2024-01-01 09:05", "2024-01-01 09:05", "2024-01-01 10:00"])


def left(library):
    return library.DataFrame(LEFT)


def right(library):
    return library.DataFrame(RIGHT)


def trades(library):
    return library.DataFrame({"t": TIMES, "who": ["a", "b", "a", "b"], "n": [1, 2, 3, 4]})


def quotes(library):
    at = pandas.to_datetime(["2024-01-01 08:59", "2024-01-01 09:05", "2024-01-01 09:59", "2024-01-01 10:01"])
    return library.DataFrame(
        {"t": at, "who": ["a", "a", "b", "b"], "bid": [10, 20, 30, 40], "text": list("wxyz")}
    )


JOINS = {
    **{
        f"join {how}": lambda pd, how=how: (
            left(pd)[["k", "n", "x"]].set_index("k").join(right(pd).set_index("k")[["y", "z"]], how=how)
        )
        for how in ("left", "inner", "right")
    },
    "merge of indexes": lambda pd: (
        left(pd)
        .set_index("n")
        .merge(right(pd).set_index("n"), left_index=True, right_index=True, suffixes=("_l", "_r"))
    ),
    "default indexes": lambda pd: left(pd).join(right(pd)[["y", "z"]]),
    "of groups": lambda pd: left(pd).groupby("k")[["x"]].sum().join(right(pd).groupby("k")[["y"]].sum()),
    "several levels": lambda pd: (
        left(pd)
        .groupby(["k", "n"])[["x"]]
        .sum()
        .join(right(pd).groupby(["k", "n"])[["z"]].first(), how="left")
    ),
    "several frames": lambda pd: (
        left(pd)
        .groupby("k")[["x"]]
        .mean()
        .join(
            [
                right(pd).groupby("k")[["z"]].first(),
                right(pd).groupby("k")[["z"]].last().rename(columns={"z": "w"}),
            ]
        )
    ),
    **{
        f"indicator {how}": lambda pd, how=how: (
            left(pd).drop(columns="f").merge(right(pd), on="k", how=how, indicator=True)
        )
        for how in ("left", "inner", "right", "outer")
    },
    "indicator and query": lambda pd: (
        left(pd)
        .merge(right(pd)[["k"]].drop_duplicates(), on="k", how="left", indicator="side")
        .query("side == 'left_only'")
        .drop(columns="side")
    ),
    "left_anti": lambda pd: left(pd).merge(right(pd), on="k", how="left_anti"),
    "not isin": lambda pd: (lambda f: f[~f.k.isin(right(pd).k)])(left(pd)),
    "backward": lambda pd: pd.merge_asof(trades(pd), quotes(pd), on="t"),
    "forward by": lambda pd: pd.merge_asof(trades(pd), quotes(pd), on="t", by="who", direction="forward"),
    "tolerance": lambda pd: pd.merge_asof(
        trades(pd),
        quotes(pd).rename(columns={"t": "s"}),
        left_on="t",
        right_on="s",
        tolerance=pandas.Timedelta("2min"),
    ),
    "not equal": lambda pd: pd.merge_asof(trades(pd), quotes(pd), on="t", allow_exact_matches=False),
}


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("name", JOINS)
def test_as_pandas(name, route):
    expected = JOINS[name](pandas)
    with ROUTES[route]():
        found = pandas.DataFrame(JOINS[name](pd))
    pandas.testing.assert_frame_equal(found, expected)


@pytest.mark.parametrize("name", JOINS)
def test_nothing_falls_back(name):
    coverage_counts.reset()
    with pd.route("polars"):
        len(JOINS[name](pd))
    table = pd.coverage()
    assert table[table.outcome == "fall-back"].empty, table


def test_keys_that_are_not_in_order_raise_what_pandas_raises():
    shuffled = trades(pandas).iloc[::-1].reset_index(drop=True)
    with pytest.raises(ValueError, match="sorted") as expected:
        pandas.merge_asof(shuffled, quotes(pandas), on="t")
    with pd.route("polars"), pytest.raises(ValueError, match="sorted") as found:
        print(pd.merge_asof(pd.DataFrame(shuffled), quotes(pd), on="t"))
    assert str(found.value) == str(expected.value)


def test_not_among_the_values_of_a_lazy_series(tmp_path):
    one, two = str(tmp_path / "one.parquet"), str(tmp_path / "two.parquet")
    pandas.DataFrame({"k": range(5000), "s": [f"s{n % 700}" for n in range(5000)]}).to_parquet(one)
    pandas.DataFrame({"k": range(0, 9000, 3), "s": [f"s{n}" for n in range(3000)]}).to_parquet(two)

    def program(library):
        a, b = library.read_parquet(one), library.read_parquet(two)
        return a[~a.k.isin(b.k)], a[~a.s.isin(b[b.k < 600].s)]

    coverage_counts.reset()
    with pd.route("polars"):
        for found, expected in zip(program(pd), program(pandas), strict=True):
            pandas.testing.assert_frame_equal(found, expected)
        table = pd.coverage()
    assert table[table.outcome == "fall-back"].empty, table


def test_labels_that_repeat_on_both_sides():
    one = pandas.DataFrame({"x": [1.0, 2.0, 3.0]}, index=["b", "a", "b"])
    two = pandas.DataFrame({"y": ["p", "q", "r"]}, index=["b", "b", "c"])
    for how in ("left", "inner", "right"):
        with pd.route("polars"):
            found = pd.DataFrame(one).join(pd.DataFrame(two), how=how)
            pandas.testing.assert_frame_equal(found, one.join(two, how=how))
