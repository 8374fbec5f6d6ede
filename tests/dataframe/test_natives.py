"""Calls that must run as plans, one by one: what pandas gives, and no fall-back."""

import numpy
import pandas
import pytest

import distpool.dataframe as pd
from distpool.dataframe import coverage_counts

RAW = pandas.DataFrame(
    {
        "k": ["x", "y", "x", "x", "y", "z"],
        "n": [3, 1, 2, 5, 4, 4],
        "f": [1.5, numpy.nan, -2.25, numpy.inf, 0.0, 4.0],
        "s": ["Ab c", None, "", "b2", "ß", "zz"],
        "t": pandas.to_datetime(["2024-01-31", None, "2023-12-31", "2024-02-29", "2024-03-01", "2024-03-02"]),
        "b": [True, False, True, True, False, False],
    }
)
OTHER = pandas.DataFrame({"n": [9, 9, 9, 9], "k": ["w", "z", "x", "x"], "v": [1, 2, 4, 3]})

CALLS = {
    "shift": lambda pd, d: d.n.shift(2),
    "shift of a frame": lambda pd, d: d[["n", "s", "t"]].shift(-1),
    "diff": lambda pd, d: d.n.diff(),
    "diff of times": lambda pd, d: d.t.diff().dt.total_seconds(),
    "pct_change": lambda pd, d: d.n.pct_change(),
    "cumsum": lambda pd, d: d[["n", "f", "b"]].cumsum(),
    "cummax": lambda pd, d: d.f.cummax() + d.n.cummin(),
    "rank": lambda pd, d: d.n.rank(method="dense", ascending=False),
    "rolling": lambda pd, d: d.n.rolling(3, min_periods=1).mean(),
    "rolling of what is infinite": lambda pd, d: d.f.rolling(2).sum(),
    "expanding": lambda pd, d: d.f.expanding(2).mean(),
    "filled forward": lambda pd, d: d[["f", "s", "t"]].ffill().bfill(),
    "beside each other": lambda pd, d: d.assign(a=d.n.shift(1), z=d.n.cumsum() - d.n.shift(1))[
        d.n.diff() > 0
    ],
    "transform": lambda pd, d: d.n - d.groupby("k").n.transform("mean"),
    "transform of a frame": lambda pd, d: d.groupby("k")[["n", "f"]].transform("max"),
    "sizes": lambda pd, d: d.groupby("k").n.transform("size"),
    "shift in groups": lambda pd, d: d.groupby("k").s.shift(1),
    "diff in groups": lambda pd, d: d.groupby("k").t.diff(),
    "cumsum in groups": lambda pd, d: d.groupby("k").n.cumsum(),
    "cumcount": lambda pd, d: d.groupby("k").cumcount(),
    "head of groups": lambda pd, d: d.groupby("k").head(1),
    "tail of groups": lambda pd, d: d.groupby(["k", "b"])["n"].tail(-1),
    "cumcount from the last": lambda pd, d: d.groupby("k").cumcount(ascending=False),
    "rank in groups": lambda pd, d: d.groupby("k").n.rank(),
    "outer": lambda pd, d: d[["k", "n", "s"]].merge(pd.DataFrame(OTHER), on="k", how="outer"),
    "cross": lambda pd, d: d[["n"]].merge(pd.DataFrame(OTHER)[["v"]], how="cross"),
    "join on an index": lambda pd, d: d[["k", "n"]].join(d.groupby("k")[["f"]].max(), on="k"),
    "join on an index, with holes": lambda pd, d: d.merge(
        pd.DataFrame(OTHER).set_index("k"), left_on="k", right_index=True, how="left"
    ),
    "inner join on an index": lambda pd, d: d[d.n > 1].join(
        pd.DataFrame(OTHER).set_index("k")[["v"]], on="k", how="inner"
    ),
    "melt": lambda pd, d: d.melt(id_vars="k", value_vars=["n"]),
    "pivot_table": lambda pd, d: d.pivot_table(index="k", columns="b", values="n", aggfunc="sum"),
    "sort_index": lambda pd, d: (
        d.set_index("n").sort_values("k", kind="stable")[["k"]].reset_index().sort_index()
    ),
    "cut": lambda pd, d: pd.cut(d.f, [-3, 0, 2, 9], labels=["low", "middle", "high"]),
    "cut into ranges": lambda pd, d: pd.cut(d.n, [0, 2, 9]),
    "clip": lambda pd, d: d[["n", "f"]].clip(1, 4),
    "map": lambda pd, d: d.k.map({"x": "one", "y": "two"}),
    "put": lambda pd, d: put(d),
    "filled by label": lambda pd, d: d.fillna({"f": 0.0, "s": "?"}),
    "round": lambda pd, d: d[["n", "f"]].round(1),
    "isin": lambda pd, d: d[["n", "f"]].isin([4, 1]),
    "shares": lambda pd, d: d.k.value_counts(normalize=True),
    "astype": lambda pd, d: d.n.astype("int8"),
    "extract": lambda pd, d: d.s.str.extract(r"([a-z]\d)", expand=False),
    "contains": lambda pd, d: d.s.str.contains("AB|Z", case=False),
    "get": lambda pd, d: d.s.str.get(1),
    "isalpha": lambda pd, d: d.s.str.isalpha(),
    "match": lambda pd, d: d.s.str.match("[a-z]+$"),
    "day_name": lambda pd, d: d.t.dt.day_name(),
    "strftime": lambda pd, d: d.t.dt.strftime("%Y-%m"),
    "floor": lambda pd, d: d.t.dt.floor("D"),
    "is_month_end": lambda pd, d: d.t.dt.is_month_end,
    "quantile": lambda pd, d: pd.DataFrame({"q": [d.n.quantile(0.3), d.n.std(), d.n.var()]}),
    "unique": lambda pd, d: pd.DataFrame({"u": d.k.unique()}),
    "by a column itself": lambda pd, d: d[["k", "n"]].groupby(d.k).sum(),
}


def put(frame):
    frame.loc[frame.n > 3, "f"] = 7.0
    return frame


@pytest.mark.parametrize("name", CALLS)
def test_call(name):
    expected = pandas.DataFrame(CALLS[name](pandas, pandas.DataFrame(RAW)))
    coverage_counts.reset()
    with pd.route("polars"):
        found = pandas.DataFrame(CALLS[name](pd, pd.DataFrame(RAW)))
    counted = pd.coverage()
    pandas.testing.assert_frame_equal(found, expected)
    assert counted[counted.outcome == "fall-back"].values.tolist() == []
    assert counted[counted.outcome == "native"].calls.sum() >= 1


def test_what_pandas_says_of_a_join_that_cannot_be():
    for library in (pandas, pd):
        with pd.route("polars"):
            left, right = library.DataFrame(RAW), library.DataFrame(OTHER).set_index("k")
            with pytest.raises(ValueError, match="columns overlap but no suffix"):
                left.join(right, on="k")
            with pytest.raises(KeyError, match="nowhere"):
                left.join(right[["v"]], on="nowhere")
            with pytest.raises(ValueError, match="without a name"):
                left.merge(right["v"].rename(None), left_on="k", right_index=True)
            with pytest.warns(pandas.errors.Pandas4Warning, match="suffixes"):
                left.join(right, on="k", rsuffix="_r")


@pytest.mark.parametrize("how", ["inner", "left", "right"])
@pytest.mark.parametrize("keys", [100, 50_000, 400_000])
def test_the_rows_of_a_join_that_several_threads_do_are_in_order(how, keys):
    """Of a key there are many rows, some, or one on the right: numbers alone are joined, and ordered afterwards."""
    chance = numpy.random.default_rng(1)
    left = pandas.DataFrame({"key": chance.integers(0, keys, 200_000), "a": numpy.arange(200_000)})
    right = pandas.DataFrame(
        {"key": chance.permutation(keys)[:90_000], "b": numpy.arange(min(keys, 90_000)) / 2}
    )
    if keys == 50_000:
        right = pandas.concat([right, right.head(9).assign(b=-1.0)], ignore_index=True)
    with pd.route("polars"):
        found = pandas.DataFrame(pd.DataFrame(left).merge(pd.DataFrame(right), on="key", how=how))
    pandas.testing.assert_frame_equal(found, left.merge(right, on="key", how=how))


def test_a_row_whose_key_is_missing_has_no_group():
    def program(d):
        return d.groupby("s").n.transform("sum").to_frame()

    with pd.route("polars"):
        found = program(pd.DataFrame(RAW))
        pandas.testing.assert_frame_equal(found, program(pandas.DataFrame(RAW)))
