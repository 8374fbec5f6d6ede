"""Each step that moves rows between fragments, on a frame of many fragments, gives what it gives on pandas."""

from __future__ import annotations

import numpy
import pandas
import pytest

import distpool.dataframe as pd
from distpool.dataframe.fragments.limits import Limits
from tests.dataframe.in_process import CLOSE, TINY, fragments

ROWS = 60
LIMITS = {
    "shuffled": TINY,
    "gathered": CLOSE,
    # Some of both: a join is shuffled, and its groups are few.
    "mixed": Limits(fragment_bytes=200, broadcast_bytes=3500, gather_bytes=500, pieces_max=7, samples=9),
}


def frame():
    draw = numpy.random.default_rng(0)
    # Halves: their sums are exact in any order, so that a filter of sums is about the same rows.
    values = draw.integers(-9, 9, ROWS) / 2
    values[::11] = numpy.nan
    return pandas.DataFrame(
        {
            "k": draw.integers(0, 12, ROWS),
            "v": values,
            "s": pandas.Series(draw.choice(["a", "b", "c", None], ROWS), dtype="str"),
        }
    )


def _twice(pd, f):
    groups = f.groupby("k", as_index=False)["v"].sum()
    return groups.merge(groups[groups.v > 0], on="k")


PROGRAMS = {
    "sort with ties": lambda pd, f: f.sort_values("k"),
    "sort with ties and holes": lambda pd, f: f.sort_values("v", ascending=False, na_position="first"),
    "sort by two": lambda pd, f: f.sort_values(["s", "k"], ascending=[False, True]),
    "numbered after a filter": lambda pd, f: f[f.v > 0].reset_index(drop=True),
    "parts": lambda pd, f: f.groupby(["k", "s"])["v"].agg(["sum", "mean", "count", "min", "max"]),
    "parts with holes": lambda pd, f: f.groupby("s", dropna=False)["v"].agg(["sum", "count"]),
    "parts in order": lambda pd, f: f.groupby(["k", "s"], sort=False)["v"].agg(["sum", "first", "last"]),
    "wholes": lambda pd, f: f.groupby(["k", "s"])["v"].agg(["median", "nunique", "std"]),
    "wholes in order": lambda pd, f: f.groupby(["k", "s"], sort=False)["v"].agg(["median", "nunique"]),
    "sizes": lambda pd, f: f.groupby("k").size().to_frame("n"),
    "of all": lambda pd, f: f[["k", "v"]].agg("sum").to_frame(),
    "mean of all": lambda pd, f: f.assign(z=f.v.mean(), n=f.v.count()),
    "join": lambda pd, f: f.merge(f[f.v > 0], on="k"),
    "join by two with holes": lambda pd, f: f.merge(f[f.v > 0.5], on=["k", "s"]),
    "left join": lambda pd, f: f.merge(f[f.v > 1], on=["k", "s"], how="left"),
    "right join": lambda pd, f: f[f.v > 1].merge(f, on=["k", "s"], how="right"),
    "left join of a few": lambda pd, f: f.head(9).merge(f, on="k", how="left"),
    "rows without a partner": lambda pd, f: f[~f.k.isin(f[f.v > 4].k)],
    "full join": lambda pd, f: f[f.v > 0].merge(f[f.v < 1], on=["k", "s"], how="outer"),
    "cross join": lambda pd, f: f[f.v > 3].merge(f[f.v < -2][["k"]], how="cross"),
    "rows before": lambda pd, f: f.assign(z=f.v.shift(2), c=f.v.cumsum()),
    "of the group": lambda pd, f: f.assign(z=f.groupby("k")["v"].transform("sum")),
    "groups of a join": lambda pd, f: f.merge(f[f.v > 0], on="k").groupby("k")[["v_x"]].sum(),
    "first of equals": lambda pd, f: f.drop_duplicates(["k", "s"]),
    "last of equals": lambda pd, f: f.drop_duplicates(["k", "s"], keep="last"),
    "head": lambda pd, f: f[f.v > 0].head(7),
    "middle": lambda pd, f: f[f.v > 0][5:31],
    "tail": lambda pd, f: f[f.v > 0].tail(7),
    "below each other": lambda pd, f: pd.concat([f, f[f.v > 0]]).sort_values(["v", "k"]),
    "what two read": _twice,
    "top": lambda pd, f: f.sort_values(["v", "k", "s"]).head(3),
    "largest": lambda pd, f: f.nlargest(9, "v"),
    "counts": lambda pd, f: f["k"].value_counts().reset_index(),
}


@pytest.mark.parametrize("limits", LIMITS)
@pytest.mark.parametrize("name", PROGRAMS)
def test_program(name, limits):
    program, rows = PROGRAMS[name], frame()
    expected = program(pandas, rows)
    with fragments(LIMITS[limits]):
        found = program(pd, pd.DataFrame(rows))
        pandas.testing.assert_frame_equal(found, expected)
