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
import pyarrow
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
        case "Float64" | "double[pyarrow]":
            halves = [None if hole else value / 2 for value, hole in zip(values, holes, strict=True)]
            return pandas.Series(halves, dtype=kind)
        case "UInt8" | "int64[pyarrow]" | "int8[pyarrow]":
            whole = [None if hole else abs(value) for value, hole in zip(values, holes, strict=True)]
            return pandas.Series(whole, dtype=kind)
        case "boolean" | "bool[pyarrow]":
            flags = [None if hole else value % 2 == 1 for value, hole in zip(values, holes, strict=True)]
            return pandas.Series(flags, dtype=kind)
        case "string" | "string[python]":
            return pandas.Series(text, dtype=kind)
        case "arrow text":
            return pandas.Series(text, dtype=pandas.ArrowDtype(pyarrow.string()))
        case "arrow time":
            return pandas.Series(times, dtype=pandas.ArrowDtype(pyarrow.timestamp("us")))
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
    "UInt8",
    "Float64",
    "boolean",
    "string",
    "string[python]",
    "int64[pyarrow]",
    "int8[pyarrow]",
    "double[pyarrow]",
    "bool[pyarrow]",
    "arrow text",
    "arrow time",
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
    if str(series.dtype) in ("str", "string"):
        options = [
            lambda: series == TEXTS[value % len(TEXTS)],
            lambda: series.str.startswith("a"),
            lambda: series.str.contains("z"),
            lambda: series.isin(["a", "ß→"]),
            lambda: series > "a",
        ]
    elif str(series.dtype) == "string[pyarrow]":
        options = [lambda: series == "a", lambda: series.str.contains("z"), lambda: series.str.len() > 1]
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
    chosen = f.groupby(keys, sort=m % 3 != 0, dropna=m % 4 != 0, as_index=n % 2 == 0)[_pick(f, m)]
    return chosen.sum(min_count=k) if how == "last" and n > 4 else chosen.agg(how)


def _aggregate_named(pd: Any, f: Any, n: int, m: int, k: int) -> Any:
    grouped = f.groupby(_pick(f, n), as_index=k % 2 == 0)
    return grouped.agg(x=(_pick(f, m), "min"), y=(_pick(f, k), "count"), w=(_pick(f, m), "size"))


def _scalar(pd: Any, f: Any, n: int, m: int, k: int) -> Any:
    how = ["sum", "min", "max", "mean", "count", "nunique", "median", "any", "all", "std"][k]
    options = (
        {"min_count": m} if how == "sum" and m > 4 else {"skipna": False} if how in ("sum", "max") else {}
    )
    made = getattr(f[_pick(f, n)], how)(**options)
    return f.assign(z=made, w=str(type(made)))


# A merge of equal keys squares the number of rows: a few of them after each other would fill the memory.
MERGED_ROWS_MAX = 12


def _merge(pd: Any, f: Any, n: int, m: int, k: int) -> Any:
    f = f.head(MERGED_ROWS_MAX)
    how = ["inner", "left", "right", "inner", "outer"][k % 5]
    key = _pick(f, n)
    other = f[list({key: 0, _pick(f, m): 0})]
    if k > 5:
        other = other[_mask(other, 0, m, k - 5)]
    return f.merge(other, on=key, how=how)


def _joined(pd: Any, f: Any, n: int, m: int, k: int) -> Any:
    f = f.head(MERGED_ROWS_MAX)
    key = _pick(f, n)
    other = f[list({key: 0, _pick(f, m): 0})].rename(columns=lambda label: f"{label}'").set_index(f"{key}'")
    if k % 3:
        other = other.head(k)
    if m % 3 == 0:
        other = f.groupby(_pick(f, k), dropna=n % 2 == 0)[_pick(f, m)].count().rename("groups").to_frame()
    how = ["left", "inner", "left", "outer"][k % 4]
    return f.join(other, on=key, how=how) if m % 2 else f.merge(other, left_on=key, right_index=True, how=how)


def _indexes_joined(pd: Any, f: Any, n: int, m: int, k: int) -> Any:
    f = f.head(MERGED_ROWS_MAX)
    one, two = _pick(f, n), _pick(f, m)
    if k == 0:
        return f[~f[one].isin(f[two][_mask(f, n, m, k)])]
    if k < 4:
        how = ["left", "outer", "right", "inner", "left_anti"][m % 5]
        other = f[list({one: 0, two: 0})][_mask(f, n, m, k)]
        return f.merge(other, on=one, how=how, indicator=how != "left_anti")
    other = f[list({one: 0, two: 0})].rename(columns=lambda label: f"{label}'")
    if k % 2:
        f, other = f.set_index(one), other.set_index(f"{one}'").rename_axis(one)
    if n % 3:
        other = other.head(m)
    return f.join(other, how=["left", "inner", "right"][m % 3])


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
    if str(series.dtype) in ("str", "string"):
        f["z"] = [series.str.len, series.str.upper, lambda: series.str.slice(0, k), lambda: series.str[:1]][
            m % 4
        ]()
    else:
        f["z"] = getattr(
            series.dt, ["year", "month", "day", "hour", "day_of_week", "day_of_year", "quarter"][k % 7]
        )
    return f


def _window(pd: Any, f: Any, n: int, m: int, k: int) -> Any:
    series = f[_pick(f, n)]
    f["z"] = [
        lambda: series.shift(m - 4),
        lambda: series.diff(m % 3 - 1),
        lambda: series.cumsum(),
        lambda: series.cummax() if m % 2 else series.cummin(),
        lambda: series.rank(method=["average", "min", "max", "dense", "first"][m % 5], ascending=n % 3 != 0),
        lambda: series.pct_change(),
        lambda: getattr(
            series.rolling(m % 3 + 1, min_periods=1, center=n % 3 == 0), ["sum", "mean", "max"][m % 3]
        )(),
        lambda: getattr(series.rolling(m % 3 + 1), ["min", "mean", "median"][m % 3])(),
        lambda: series.expanding(m % 3 + 1).mean() if m % 2 else series.expanding().sum(),
        lambda: series.ffill() if m % 2 else series.bfill(),
    ][k]()
    return f[f.z.notna()] if n % 4 == 0 else f


def _transformed(pd: Any, f: Any, n: int, m: int, k: int) -> Any:
    grouped = f.groupby(_pick(f, n))[_pick(f, m)]
    f["z"] = [
        lambda: grouped.transform(["sum", "mean", "max", "count", "std", "nunique", "first", "size"][m % 8]),
        lambda: grouped.shift(m % 3),
        lambda: grouped.cumsum(),
        lambda: grouped.cumcount(ascending=m % 2 == 0),
        lambda: grouped.rank(),
        lambda: grouped.diff(),
    ][k % 6]()
    return f


def _of_groups(pd: Any, f: Any, n: int, m: int, k: int) -> Any:
    grouped = f.groupby([_pick(f, n), _pick(f, k)][: 1 + n % 2], dropna=m % 3 != 0, sort=k % 2 == 0)
    if m % 4 == 0:
        return getattr(grouped[_pick(f, m)], ["head", "tail"][k % 2])(n - 3).to_frame()
    if m % 4 == 1:
        grouped = grouped[list({_pick(f, m): 0, _pick(f, k): 0})]
    return getattr(grouped, ["head", "tail"][k % 2])(n - 3)


def _framed(pd: Any, f: Any, n: int, m: int, k: int) -> Any:
    part = f[list({_pick(f, n): 0, _pick(f, m): 0})]
    return [
        lambda: part.shift(k),
        lambda: part.cumsum(),
        lambda: part.rolling(2).mean(),
        lambda: f.groupby(_pick(f, k))[[_pick(f, n)]].transform("max"),
    ][k % 4]()


def _valued(pd: Any, f: Any, n: int, m: int, k: int) -> Any:
    series = f[_pick(f, n)]
    f["z"] = [
        lambda: series.clip(m - 4, 5),
        lambda: pd.cut(series, [-4, 0, 2, 6], labels=[None, ["a", "b", "c"]][m % 2], right=n % 2 == 0),
        lambda: series.map({"a": "x", "aa": "y"}) if m % 2 else series.map({"a": 1.5, "": 2.0}),
        lambda: series.std() if m % 2 else series.var(),
        lambda: series.quantile(m / 9),
        lambda: series.isna().any(),
        lambda: series.value_counts(normalize=True).iloc[0],
        lambda: len(series.unique()),
        lambda: series.fillna({}) if m % 2 else series.astype("int64"),
        lambda: series.astype(["int32", "int8", "float64"][m % 3]),
    ][k]()
    return f


def _worded(pd: Any, f: Any, n: int, m: int, k: int) -> Any:
    series = f[_pick(f, n)]
    if str(series.dtype) == "str":
        f["z"] = [
            lambda: series.str.extract("([a-z])", expand=False),
            lambda: series.str.get(m % 3),
            lambda: series.str.isalpha(),
            lambda: series.str.count("a"),
            lambda: series.str.match("a+$"),
            lambda: series.str.contains("A|z", case=m % 2 == 0),
        ][k % 6]()
    elif str(series.dtype).startswith("timedelta"):
        f["z"] = series.dt.total_seconds() if k % 2 else series.dt.days
    else:
        f["z"] = [
            lambda: series.dt.day_name(),
            lambda: series.dt.strftime("%Y-%m"),
            lambda: series.dt.floor("h"),
            lambda: series.dt.normalize(),
            lambda: series.dt.is_month_end,
        ][k % 5]()
    return f


def _shaped(pd: Any, f: Any, n: int, m: int, k: int) -> Any:
    one, two = _pick(f, n), _pick(f, m)
    f = f.head(MERGED_ROWS_MAX)
    return [
        lambda: f.melt(id_vars=[one], value_vars=list({two: 0, _pick(f, k): 0})),
        lambda: f.pivot_table(index=one, values=two, aggfunc=["sum", "mean", "count"][k % 3]),
        lambda: f.sort_index(),
        lambda: f.merge(f[[one]].drop_duplicates(), how="cross"),
        lambda: f.merge(f[list({one: 0, two: 0})][_mask(f, n, m, k)], on=one, how="outer"),
        lambda: f.fillna({one: 0, two: "?"}),
        lambda: f.round(k % 3),
        lambda: f[[one]].isin([0, 1, m]),
        lambda: f[[one]].clip(0, m),
        lambda: f.merge(f[[two]], left_on=one, right_on=two, how="outer"),
    ][k]()


def _put(pd: Any, f: Any, n: int, m: int, k: int) -> Any:
    f.loc[_mask(f, n, m, k), _pick(f, m)] = [0, 1.5, "q"][k % 3]
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
    "joined": _joined,
    "indexes joined": _indexes_joined,
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
    "window": _window,
    "transformed": _transformed,
    "of groups": _of_groups,
    "framed": _framed,
    "valued": _valued,
    "worded": _worded,
    "shaped": _shaped,
    "put": _put,
    "dropna": lambda pd, f, n, m, k: f.dropna(subset=[_pick(f, n)]) if k % 2 else f.dropna(),
    "isna": lambda pd, f, n, m, k: f.isna(),
    "astype": lambda pd, f, n, m, k: f.assign(z=f[_pick(f, n)].astype(["float64", "str", "int64"][k % 3])),
    "nullable": lambda pd, f, n, m, k: f.assign(
        z=f[_pick(f, n)].astype(
            ["Int64", "Float64", "boolean", "string", "int64[pyarrow]", "double[pyarrow]", "bool[pyarrow]"][
                k % 7
            ]
        )
    ),
    "logic": lambda pd, f, n, m, k: f.assign(
        z=[lambda a, b: a & b, lambda a, b: a | b, lambda a, b: a ^ b, lambda a, b: ~a][k % 4](
            _mask(f, n, m, k), _mask(f, m, k, n)
        )
    ),
}
