"""Random frames and random programs of pandas, for the differential tests.

A program is a list of steps with their arguments, drawn without looking at a frame; a step chooses columns by
number and kind. It is run on pandas and on distpool, and must give equal results, or errors of one type.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import numpy
import pandas
from hypothesis import strategies as st

TEXTS = ["a", "b", "aa", "Ä", "ß→", "", "zz top"]
TIMES = [
    datetime.datetime(2020, 1, 31),
    datetime.datetime(1969, 12, 31, 23, 59),
    datetime.datetime(2024, 2, 29, 12),
]


def column(kind: str, values: list[int], holes: list[bool]) -> Any:
    """Make a column of a kind from small numbers; holes become missing values where the kind has them."""
    numbers = numpy.array(values, dtype="int64")
    text = [None if hole else TEXTS[value % len(TEXTS)] for value, hole in zip(values, holes, strict=True)]
    times = [None if hole else TIMES[value % len(TIMES)] for value, hole in zip(values, holes, strict=True)]
    match kind:
        case "int64" | "int8" | "int32":
            return pandas.Series(numbers, dtype=kind)
        case "uint16":
            return pandas.Series(abs(numbers), dtype=kind)
        case "float64" | "float32":
            floats = [numpy.nan if hole else value / 2 for value, hole in zip(values, holes, strict=True)]
            return pandas.Series(floats, dtype=kind)
        case "inf":
            return pandas.Series(
                [numpy.inf if hole else float(value) for value, hole in zip(values, holes, strict=True)]
            )
        case "bool":
            return pandas.Series(numbers % 2 == 1, dtype="bool")
        case "str":
            return pandas.Series(text, dtype="str")
        case "datetime":
            return pandas.Series(times, dtype="datetime64[us]")
        case "seconds":
            return pandas.Series(times, dtype="datetime64[s]")
        case "zoned":
            return pandas.Series(times, dtype="datetime64[ns, Europe/Berlin]")
        case "timedelta":
            spans = [None if hole else value for value, hole in zip(values, holes, strict=True)]
            return pandas.Series(pandas.to_timedelta(spans, unit="h")).astype("timedelta64[ns]")
        case "category":
            return pandas.Series(
                text, dtype=pandas.CategoricalDtype(["zz top", "b", "a", "aa", "", "Ä", "ß→"])
            )
        case "Int64":
            return pandas.Series(
                [None if hole else value for value, hole in zip(values, holes, strict=True)], dtype="Int64"
            )
        case "object":
            return pandas.Series(
                [None if hole else (value, "x") for value, hole in zip(values, holes, strict=True)],
                dtype=object,
            )
        case _:
            raise ValueError(kind)


KINDS = [
    "int64",
    "int8",
    "int32",
    "uint16",
    "float64",
    "float32",
    "inf",
    "bool",
    "str",
    "datetime",
    "seconds",
    "zoned",
    "timedelta",
    "category",
    "Int64",
    "object",
]


@st.composite
def frames(draw: Any) -> pandas.DataFrame:
    """A frame of up to eight rows and five columns, named a, b, ..., with one of several kinds of index."""
    length = draw(st.sampled_from([0, 1, 2, 3, 5, 8]))
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=5))

    def one(kind: str) -> Any:
        values = draw(st.lists(st.integers(-3, 6), min_size=length, max_size=length))
        holes = draw(
            st.lists(
                st.booleans() if draw(st.booleans()) else st.just(False), min_size=length, max_size=length
            )
        )
        return column(kind, values, holes)

    frame = pandas.DataFrame({name: one(kind) for name, kind in zip("abcde", kinds, strict=False)})
    match draw(st.sampled_from(["default", "default", "labels", "repeated", "levels", "from 5"])):
        case "labels":
            frame.index = pandas.Index([f"r{at}" for at in range(length)], name="label")
        case "repeated":
            frame.index = pandas.Index([at // 2 for at in range(length)])
        case "levels":
            frame.index = pandas.MultiIndex.from_arrays([one("int64"), one("str")], names=["n", None])
        case "from 5":
            frame.index = pandas.RangeIndex(5, 5 + length)
    return frame


Step = Callable[[Any, Any], Any]


def _pick(frame: Any, number: int) -> Any:
    columns = list(frame.columns)
    return columns[number % len(columns)]


def _mask(frame: Any, number: int, how: int, value: int) -> Any:
    series = frame[_pick(frame, number)]
    kind = series.dtype.kind if hasattr(series.dtype, "kind") else "O"
    if str(series.dtype) == "str":
        options = [
            lambda: series == TEXTS[value % len(TEXTS)],
            lambda: series.str.startswith("a"),
            lambda: series.str.contains("z"),
            lambda: series.isin(["a", "ß→"]),
            lambda: series > "a",
        ]
    elif str(series.dtype) == "category":
        options = [lambda: series == "a", lambda: series != "b", lambda: series == "nowhere"]
    elif kind in "iuf":
        options = [
            lambda: series > value,
            lambda: series <= value + 0.5,
            lambda: series == value,
            lambda: series != value,
            lambda: series.isin([0, value]),
            lambda: series.between(0, value),
        ]
    elif kind == "M":
        options = [lambda: series > "2000-01-01", lambda: series == "2020-01-31", lambda: series.isna()]
    elif kind == "b":
        options = [lambda: series, lambda: ~series]
    else:
        options = [lambda: series.notna(), lambda: series.isna()]
    return options[how % len(options)]()


small = st.integers(0, 9)


@st.composite
def steps(draw: Any) -> tuple[str, Step]:
    """A step: its text, and what it does to a frame."""
    name = draw(st.sampled_from(sorted(STEPS)))
    numbers = draw(st.tuples(small, small, small))
    return f"{name}{numbers}", lambda pd, frame: STEPS[name](pd, frame, *numbers)


def _arithmetic(pd: Any, f: Any, n: int, m: int, k: int) -> Any:
    one, two = f[_pick(f, n)], f[_pick(f, m)]
    how = k % 10
    if how == 0:
        f["z"] = one + two
    elif how == 1:
        f["z"] = one * 2.5
    elif how == 2:
        f["z"] = one - two
    elif how == 3:
        f["z"] = one / two
    elif how == 4:
        f["z"] = 3 - one
    elif how == 5:
        f["z"] = one // 2
    elif how == 6:
        f["z"] = one % 3
    elif how == 7:
        f["z"] = one < two
    elif how == 8:
        f["z"] = -one
    else:
        f["z"] = one.abs()
    return f


def _aggregate(pd: Any, f: Any, n: int, m: int, k: int) -> Any:
    how = ["sum", "mean", "min", "max", "count", "nunique", "median", "first", "last", "std"][k]
    keys = [_pick(f, n)] if m % 2 else list({_pick(f, n): 0, _pick(f, n + 1): 0})
    return f.groupby(keys, sort=m % 3 != 0, dropna=m % 4 != 0, as_index=n % 2 == 0)[_pick(f, m)].agg(how)


def _aggregate_named(pd: Any, f: Any, n: int, m: int, k: int) -> Any:
    grouped = f.groupby(_pick(f, n), as_index=k % 2 == 0)
    return grouped.agg(x=(_pick(f, m), "min"), y=(_pick(f, k), "count"), w=(_pick(f, m), "size"))


def _scalar(pd: Any, f: Any, n: int, m: int, k: int) -> Any:
    how = ["sum", "min", "max", "mean", "count", "nunique", "median"][k % 7]
    return f.assign(z=getattr(f[_pick(f, n)], how)())


def _merge(pd: Any, f: Any, n: int, m: int, k: int) -> Any:
    how = ["inner", "left", "right", "inner", "outer"][k % 5]
    key = _pick(f, n)
    other = f[list({key: 0, _pick(f, m): 0})]
    if k > 5:
        other = other[_mask(other, 0, m, k - 5)]
    return f.merge(other, on=key, how=how)


def _filled(pd: Any, f: Any, n: int, m: int, k: int) -> Any:
    name = _pick(f, n)
    f[name] = f[name].fillna("?" if str(f[name].dtype) == "str" else 0)
    return f


def _chosen(pd: Any, f: Any, n: int, m: int, k: int) -> Any:
    name = _pick(f, n)
    other = [0, 1.5, "q"][k % 3]
    f["z"] = f[name].where(_mask(f, m, k, n), other) if m % 2 else f[name].mask(_mask(f, m, k, n), other)
    return f


def _parts(pd: Any, f: Any, n: int, m: int, k: int) -> Any:
    series = f[_pick(f, n)]
    if str(series.dtype) == "str":
        f["z"] = [series.str.len, series.str.upper, lambda: series.str.slice(0, k), lambda: series.str[:1]][
            m % 4
        ]()
    else:
        f["z"] = getattr(
            series.dt, ["year", "month", "day", "hour", "day_of_week", "day_of_year", "quarter"][k % 7]
        )
    return f


STEPS: dict[str, Callable[[Any, Any, int, int, int], Any]] = {
    "filter": lambda pd, f, n, m, k: f[_mask(f, n, m, k)],
    "filter two": lambda pd, f, n, m, k: f[_mask(f, n, m, k) & ~_mask(f, m, n, k) | _mask(f, k, n, m)],
    "loc": lambda pd, f, n, m, k: f.loc[_mask(f, n, m, k), [_pick(f, k)]],
    "select": lambda pd, f, n, m, k: f[list({_pick(f, n): 0, _pick(f, m): 0})],
    "series": lambda pd, f, n, m, k: f[_pick(f, n)][_mask(f, m, k, n)].to_frame(),
    "arithmetic": _arithmetic,
    "groupby": lambda pd, f, n, m, k: pd.DataFrame(_aggregate(pd, f, n, m, k)),
    "groupby named": _aggregate_named,
    "size": lambda pd, f, n, m, k: f.groupby(_pick(f, n)).size().reset_index(name="n"),
    "scalar": _scalar,
    "merge": _merge,
    "sort one": lambda pd, f, n, m, k: f.sort_values(
        _pick(f, n), ascending=m % 2 == 0, na_position=["first", "last"][k % 2]
    ),
    "sort two": lambda pd, f, n, m, k: f.sort_values(
        list({_pick(f, n): 0, _pick(f, m): 0}), ascending=k % 2 == 0, ignore_index=k % 3 == 0
    ),
    "distinct": lambda pd, f, n, m, k: f.drop_duplicates([_pick(f, n)], keep=["first", "last"][k % 2]),
    "distinct all": lambda pd, f, n, m, k: f.drop_duplicates(ignore_index=k % 2 == 0),
    "head": lambda pd, f, n, m, k: f.head(n),
    "tail": lambda pd, f, n, m, k: f.tail(n),
    "slice": lambda pd, f, n, m, k: f[n:m],
    "counts": lambda pd, f, n, m, k: (
        f[_pick(f, n)].value_counts(ascending=m % 2 == 0, dropna=k % 2 == 0).reset_index()
    ),
    "largest": lambda pd, f, n, m, k: f.nlargest(m, _pick(f, n)) if k % 2 else f.nsmallest(m, _pick(f, n)),
    "concat": lambda pd, f, n, m, k: pd.concat([f, f[_mask(f, n, m, k)]], ignore_index=m % 2 == 0),
    "query": lambda pd, f, n, m, k: f.query(
        [f"a > {m}", "a == 'a' or a < 'b'", f"0 < a <= {m} and a != 2", "a in [1, 2]"][k % 4]
    ),
    "reduced": lambda pd, f, n, m, k: getattr(
        f[list({_pick(f, n): 0, _pick(f, m): 0})], ["sum", "mean", "min", "max", "count"][k % 5]
    )().to_frame(),
    "reset": lambda pd, f, n, m, k: f.reset_index(drop=n % 2 == 0),
    "set index": lambda pd, f, n, m, k: f.set_index(_pick(f, n)),
    "rename": lambda pd, f, n, m, k: f.rename(columns={_pick(f, n): f"q{k}"}),
    "drop": lambda pd, f, n, m, k: f.drop(columns=[_pick(f, n)]) if f.shape[1] > 1 else f,
    "filled": _filled,
    "chosen": _chosen,
    "parts": _parts,
    "dropna": lambda pd, f, n, m, k: f.dropna(subset=[_pick(f, n)]) if k % 2 else f.dropna(),
    "isna": lambda pd, f, n, m, k: f.isna(),
    "astype": lambda pd, f, n, m, k: f.assign(z=f[_pick(f, n)].astype(["float64", "str", "int64"][k % 3])),
}
