"""`resample`: rows put into bins of time. Where bins begin, and what they are called, pandas says itself.

    the first and the last time ──► pandas' grouper ──► edges, labels
    each row's bin, among the edges ──► one aggregation ──► the bins that have rows, put among those that have none

The result has a row for each bin, so it is made at once. What makes rows (`ffill`, `asfreq`) is left to pandas.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas

from distpool.dataframe import kinds
from distpool.dataframe.expressions import Call, Expr, Literal, call
from distpool.dataframe.header import Field, Header, NotNative, from_pandas
from distpool.dataframe.natives import native
from distpool.dataframe.operations import operands
from distpool.dataframe.plan import Aggregate, Node, Sort
from distpool.dataframe.subjects import NOTHING, ResampleSubject


@native("DataFrame", "resample")
@native("Series", "resample")
def resample(
    header: Header,
    rule: Any,
    closed: Any = None,
    label: Any = None,
    convention: Any = "start",
    on: Any = None,
    level: Any = None,
    origin: Any = "start_day",
    offset: Any = None,
    group_keys: bool = False,
) -> ResampleSubject:
    """`df.resample("D")` of a frame whose index, or whose column `on`, is of times."""
    if (
        level is not None
        or convention != "start"
        or not isinstance(rule, str | pandas.Timedelta | pandas.DateOffset)
    ):
        raise NotNative("a level, a convention, or a rule of another kind")
    header = header.grounded()
    if on is not None:
        if header.is_series or not isinstance(on, str | int) or on in header.proto.index.names:
            raise NotNative("a key that is no column")
        position = from_pandas(lambda: header.position(on))
        time, dtype = header.fields[position], header.dtypes[position]
    else:
        if header.index is None or len(header.index) != 1:
            raise NotNative("an index that is no time")
        time, dtype = header.index[0], header.proto.index.dtype
    if not time.kind.startswith("datetime") or operands.really_missing(header, time):
        raise NotNative("times that are missing, or are none")
    if not kinds.is_plain(dtype) and not isinstance(origin, str):
        raise NotNative("an origin among times of a zone, of which pandas warns")
    if not header.is_series and not header.proto.columns.is_unique:
        raise NotNative("labels that several columns have")
    options = {"closed": closed, "label": label, "origin": origin, "offset": offset}
    name = on if on is not None else header.proto.index.name
    made = ResampleSubject(header, time, dtype, name, lambda: pandas.Grouper(freq=rule, **options), on)
    made.grouper()
    return made


@native("Resampler", "__getitem__")
def getitem(subject: ResampleSubject, key: Any) -> ResampleSubject:
    """`r["a"]`, `r[["a", "b"]]`."""
    if subject.header.is_series or subject.selection is not NOTHING or isinstance(key, tuple):
        raise NotNative("selected already")
    made = replace(subject, selection=key)
    from_pandas(made.columns)
    return made


# A label, a column (none for the number of rows), and what is wanted of it.
Wanted = tuple[Hashable, Field | None, str]

_SIMPLE = ("sum", "mean", "min", "max", "count", "first", "last", "std", "var", "median")


def _register(name: str) -> None:
    @native("Resampler", name)
    def run(subject: ResampleSubject, *args: Any, **options: Any) -> Any:
        if args or options:
            raise NotNative("options")
        return _made(subject, [(label, field, name) for label, field in subject.columns()])


for _name in _SIMPLE:
    _register(_name)


@native("Resampler", "size")
def size(subject: ResampleSubject) -> Any:
    """How many rows each bin has."""
    name = subject.columns()[0][0] if subject.one_column else None
    return _made(subject, [(name, None, "size")], series=True)


@native("Resampler", "ohlc")
def ohlc(subject: ResampleSubject) -> Any:
    """The first, largest, smallest and last value of each bin."""
    if not subject.one_column:
        raise NotNative("columns of several levels")
    field = subject.columns()[0][1]
    if field.kind != "float64":
        raise NotNative(f"ohlc of {field.kind}")
    hows = {"open": "first", "high": "max", "low": "min", "close": "last"}
    return _made(subject, [(label, field, how) for label, how in hows.items()], frame=True)


@native("Resampler", "agg", "aggregate")
def agg(subject: ResampleSubject, func: Any = None, *args: Any, **options: Any) -> Any:
    """`agg("sum")`, `agg({"a": "sum"})`, and of one column `agg(["min", "max"])`."""
    if args or options:
        raise NotNative("arguments for the function")
    columns = subject.columns()
    if isinstance(func, str):
        return _made(subject, [(label, field, _known(func)) for label, field in columns])
    if isinstance(func, list) and subject.one_column and len(set(func)) == len(func):
        return _made(subject, [(how, columns[0][1], _known(how)) for how in func], frame=True)
    if isinstance(func, dict) and not subject.one_column:
        by_label = dict(columns)
        if not all(label in by_label for label in func):
            raise NotNative("columns that are not there, or are no labels: pandas says which")
        wanted = [(label, by_label[label], _known(how)) for label, how in func.items()]
        return _made(subject, wanted, frame=True)
    raise NotNative("aggregation by a function, or by several")


def _known(how: Any) -> str:
    if not isinstance(how, str) or how not in _SIMPLE:
        raise NotNative(f"aggregation by {how!r}" if isinstance(how, str) else "aggregation by a function")
    return how


def _made(
    subject: ResampleSubject, wanted: Sequence[Wanted], *, frame: bool = False, series: bool = False
) -> Any:
    """Aggregate, and put each bin's values where its label is."""
    from distpool.dataframe import objects, running

    aggregates = []
    for at, (_, field, how) in enumerate(wanted):
        kernel, value, options = _aggregate(field, how)
        aggregates.append((f"{at}", kernel, value, options))
    ticks = call("ticks", subject.time.expr, options=(subject.time.kind,))
    edges, labels, closed = _bins(subject, ticks)
    number = Call("bin", (ticks,), (edges.tobytes(), "left" if closed == "right" else "right"))
    base: Node = subject.header.base
    if any(how in ("first", "last") for *_, how in wanted):
        base = Sort(base, (subject.time.expr,), (False,))
    rows = running.run(Aggregate(base, (("bin", number),), tuple(aggregates), order="none"))
    where = rows["bin"].to_numpy()
    arrays = [
        _placed(rows[f"{at}"], where, len(labels), field, how) for at, (_, field, how) in enumerate(wanted)
    ]
    if series or (subject.one_column and not frame):
        return objects.Series(arrays[0], index=labels, name=wanted[0][0], copy=False)
    made = objects.DataFrame(dict(enumerate(arrays)), index=labels, copy=False)
    if frame:
        made.columns = pandas.Index([label for label, *_ in wanted])
    else:
        made.columns = _labels(subject)
    return made


def _labels(subject: ResampleSubject) -> Any:
    proto = subject.header.proto
    if subject.selection is not NOTHING:
        return proto[subject.selection].columns
    return proto.drop(columns=subject.on).columns if subject.on is not None else proto.columns


def _bins(subject: ResampleSubject, ticks: Expr) -> tuple[Any, Any, str]:
    """Ask pandas, with the first time and the last, for the edges of bins in ticks, their labels, the closed side."""
    from distpool.dataframe import running

    ends = (("first", "min", ticks, ()), ("last", "max", ticks, ()))
    first, last = running.run(Aggregate(subject.header.base, (), ends, order="none")).row(0)
    if first is None:
        raise NotNative("nothing there")
    unit = subject.time.kind.partition("[")[2][:-1]
    stamps = np.array([first, last], dtype="int64").view(f"M8[{unit}]")
    times = pandas.DatetimeIndex(
        pandas.arrays.DatetimeArray._simple_new(stamps, dtype=subject.time_dtype), name=subject.time_name
    )
    grouper, found = subject.grouper(), {}
    adjust = grouper._adjust_bin_edges

    def told(binner: Any, values: Any) -> Any:
        adjusted, found["edges"] = adjust(binner, values)
        return adjusted, found["edges"]

    grouper._adjust_bin_edges = told
    _, bins, labels = grouper._get_time_bins(times)
    edges = np.asarray(found["edges"], dtype="int64")
    if not len(bins) == len(labels) == len(edges) - 1:
        raise NotNative("bins that are not those of their labels")
    return edges, labels, grouper.closed


def _aggregate(field: Field | None, how: str) -> tuple[str, Expr, tuple[object, ...]]:
    if field is None:
        return "size", Literal(1), ()
    field.computed(how)
    if how == "count":
        return how, field.expr, ()
    if field.kind not in ("int64", "float64"):
        raise NotNative(f"{how} of {field.kind}")
    if how in ("mean", "std", "var", "median"):
        value = operands.cast(field, "float64")
        return how, value, (1,) if how in ("std", "var") else ()
    return ("sum_float" if how == "sum" and field.kind == "float64" else how), field.expr, ()


def _placed(values: Any, where: Any, count: int, field: Field | None, how: str) -> Any:
    """A value for each bin: of those without rows nothing, which of whole numbers makes floats."""
    whole = how in ("count", "size") or (field is not None and field.kind in kinds.INTEGERS and how == "sum")
    if whole:
        made = np.zeros(count, dtype="int64")
    elif how == "sum":
        made = np.zeros(count)
    elif field is not None and field.kind in kinds.INTEGERS and how in ("min", "max", "first", "last"):
        made = np.zeros(count, dtype="int64") if len(where) == count else np.full(count, np.nan)
    else:
        made = np.full(count, np.nan)
    made[where] = values.fill_null(np.nan).to_numpy() if values.dtype.is_float() else values.to_numpy()
    return made
