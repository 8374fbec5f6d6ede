"""The questions as programs: one for pandas and whatever has its names, one for Polars.

A program reads its tables anew and gives a frame. `checked` makes of a frame what must be equal whoever made it: the
number of rows, and the sum of each column of numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

#: Gives a table by its name.
Read = Callable[[str], Any]


def _regression(pd: Any, read: Read) -> Any:
    """The squared correlation of v1 and v2 in each group, from sums: a Python function for each would be measured."""
    table = read("grouped")[["id2", "id4", "v1", "v2"]]
    table = table.assign(
        xx=table["v1"] * table["v1"], yy=table["v2"] * table["v2"], xy=table["v1"] * table["v2"]
    )
    sums = table.groupby(["id2", "id4"]).agg(
        n=("v1", "count"),
        x=("v1", "sum"),
        y=("v2", "sum"),
        xx=("xx", "sum"),
        yy=("yy", "sum"),
        xy=("xy", "sum"),
    )
    along = sums["n"] * sums["xy"] - sums["x"] * sums["y"]
    spread = (sums["n"] * sums["xx"] - sums["x"] * sums["x"]) * (
        sums["n"] * sums["yy"] - sums["y"] * sums["y"]
    )
    return sums.assign(r2=along * along / spread)[["r2"]]


GROUPED: dict[str, Callable[[Any, Read], Any]] = {
    "sum v1 by id1": lambda pd, read: read("grouped").groupby("id1").agg({"v1": "sum"}),
    "sum v1 by id1, id2": lambda pd, read: read("grouped").groupby(["id1", "id2"]).agg({"v1": "sum"}),
    "sum v1, mean v3 by id3": lambda pd, read: (
        read("grouped").groupby("id3").agg({"v1": "sum", "v3": "mean"})
    ),
    "means by id4": lambda pd, read: (
        read("grouped").groupby("id4").agg({"v1": "mean", "v2": "mean", "v3": "mean"})
    ),
    "sums by id6": lambda pd, read: (
        read("grouped").groupby("id6").agg({"v1": "sum", "v2": "sum", "v3": "sum"})
    ),
    "median and std v3 by id4, id5": lambda pd, read: (
        read("grouped").groupby(["id4", "id5"]).agg(median=("v3", "median"), std=("v3", "std"))
    ),
    "range by id3": lambda pd, read: (
        read("grouped")
        .groupby("id3")
        .agg({"v1": "max", "v2": "min"})
        .assign(range=lambda f: f["v1"] - f["v2"])[["range"]]
    ),
    "largest two v3 by id6": lambda pd, read: (
        read("grouped")[["id6", "v3"]].sort_values("v3", ascending=False).groupby("id6").head(2)
    ),
    "regression by id2, id4": _regression,
    "sum v3, count by id1 to id6": lambda pd, read: (
        read("grouped")
        .groupby(["id1", "id2", "id3", "id4", "id5", "id6"])
        .agg(v3=("v3", "sum"), count=("v1", "size"))
    ),
}

JOINED: dict[str, Callable[[Any, Read], Any]] = {
    "small inner on id1": lambda pd, read: read("left").merge(read("small"), on="id1", suffixes=("", "_r")),
    "medium inner on id2": lambda pd, read: read("left").merge(read("medium"), on="id2", suffixes=("", "_r")),
    "medium left on id2": lambda pd, read: read("left").merge(
        read("medium"), on="id2", how="left", suffixes=("", "_r")
    ),
    "medium inner on id5": lambda pd, read: read("left").merge(read("medium"), on="id5", suffixes=("", "_r")),
    "big inner on id3": lambda pd, read: read("left").merge(read("big"), on="id3", suffixes=("", "_r")),
}

#: The same for Polars' lazy engine, question by question.
GROUPED_IN_POLARS: dict[str, Callable[[Any, Read], Any]] = {
    "sum v1 by id1": lambda pl, read: read("grouped").group_by("id1").agg(pl.col("v1").sum()),
    "sum v1 by id1, id2": lambda pl, read: read("grouped").group_by("id1", "id2").agg(pl.col("v1").sum()),
    "sum v1, mean v3 by id3": lambda pl, read: (
        read("grouped").group_by("id3").agg(pl.col("v1").sum(), pl.col("v3").mean())
    ),
    "means by id4": lambda pl, read: read("grouped").group_by("id4").agg(pl.col("v1", "v2", "v3").mean()),
    "sums by id6": lambda pl, read: read("grouped").group_by("id6").agg(pl.col("v1", "v2", "v3").sum()),
    "median and std v3 by id4, id5": lambda pl, read: (
        read("grouped").group_by("id4", "id5").agg(median=pl.col("v3").median(), std=pl.col("v3").std())
    ),
    "range by id3": lambda pl, read: (
        read("grouped").group_by("id3").agg(range=pl.col("v1").max() - pl.col("v2").min())
    ),
    "largest two v3 by id6": lambda pl, read: (
        read("grouped").group_by("id6").agg(pl.col("v3").top_k(2)).explode("v3")
    ),
    "regression by id2, id4": lambda pl, read: (
        read("grouped").group_by("id2", "id4").agg(r2=pl.corr("v1", "v2") ** 2)
    ),
    "sum v3, count by id1 to id6": lambda pl, read: (
        read("grouped")
        .group_by("id1", "id2", "id3", "id4", "id5", "id6")
        .agg(pl.col("v3").sum(), count=pl.len())
    ),
}

JOINED_IN_POLARS: dict[str, Callable[[Any, Read], Any]] = {
    "small inner on id1": lambda pl, read: read("left").join(read("small"), on="id1", suffix="_r"),
    "medium inner on id2": lambda pl, read: read("left").join(read("medium"), on="id2", suffix="_r"),
    "medium left on id2": lambda pl, read: read("left").join(
        read("medium"), on="id2", how="left", suffix="_r"
    ),
    "medium inner on id5": lambda pl, read: read("left").join(read("medium"), on="id5", suffix="_r"),
    "big inner on id3": lambda pl, read: read("left").join(read("big"), on="id3", suffix="_r"),
}

#: What is a value, whichever way the keys of the result are held.
_VALUES = ("v1", "v2", "v3", "median", "std", "range", "r2", "count")


def checked(made: Any) -> tuple[int, dict[str, float]]:
    """The number of rows, and the sum of each column of values."""
    return len(made), {name: round(float(made[name].sum()), 3) for name in _VALUES if name in made.columns}
