"""`Series.dt`: the accessor, and what of it is native; `to_datetime` of what is a date already."""

from __future__ import annotations

from typing import Any

import pandas

from distpool.dataframe.expressions import Call, call
from distpool.dataframe.header import Field, Header, NotNative
from distpool.dataframe.kinds import can_miss, is_plain, kind_of
from distpool.dataframe.natives import native
from distpool.dataframe.operations.operands import really_missing

PARTS = ("year", "month", "day", "quarter", "hour", "minute", "second", "dayofweek", "dayofyear")
_SAME_AS = {"weekday": "dayofweek", "day_of_week": "dayofweek", "day_of_year": "dayofyear"}


def _register(name: str, kernel: str) -> None:
    @native("DatetimeProperties", name)
    def part(header: Header) -> Header:
        field = header.fields[0]
        if not field.kind.startswith("datetime") or not is_plain(header.proto.dtype):
            raise NotNative(f"of {header.proto.dtype}")
        made = Field(call(f"dt.{kernel}", field.expr), "int32", missing=False)
        if really_missing(header, field):
            made = Field(Call("cast", (made.expr,), ("float64",)), "float64", missing=True)
        return header.with_(fields=(made,), proto=header.proto.astype("int64").astype(made.kind))


for _name in PARTS:
    _register(_name, _name)
for _name, _kernel in _SAME_AS.items():
    _register(_name, _kernel)


def _register_by_pandas(name: str, of: str, kind: str, *, flag: bool = False) -> None:
    @native("DatetimeProperties", name)
    def part(header: Header, *args: Any) -> Header:
        field = header.fields[0]
        if not field.kind.startswith(of) or not is_plain(header.proto.dtype):
            raise NotNative(f"of {header.proto.dtype}")
        if not all(type(value) is str for value in args):
            raise NotNative("arguments that are not plain")
        made = kind or field.kind
        if made == "int64" and really_missing(header, field):
            raise NotNative("whole numbers for missing values are floats")
        found = getattr(header.proto.dt, name)
        proto = found(*args) if callable(found) else found
        if kind_of(proto.dtype) != made:
            raise NotNative(f"a result of {proto.dtype}")
        expr = Call("dt.by_pandas", (field.expr,), (field.kind, name, args, made))
        return header.with_(
            fields=(Field(expr, made, missing=can_miss(made) and field.missing),), proto=proto
        )


for _name in ("day_name", "month_name", "strftime"):
    _register_by_pandas(_name, "datetime", "str")
for _name in ("normalize", "floor", "ceil", "round"):
    _register_by_pandas(_name, "datetime", "")
for _name in ("month_start", "month_end", "quarter_start", "quarter_end", "year_start", "year_end"):
    _register_by_pandas(f"is_{_name}", "datetime", "bool")
_register_by_pandas("is_leap_year", "datetime", "bool")


@native("TimedeltaProperties", "total_seconds")
def total_seconds(header: Header) -> Header:
    """Durations as seconds."""
    return _of_duration(header, "total_seconds", "float64")


@native("TimedeltaProperties", "days")
def days(header: Header) -> Header:
    """Whole days of durations."""
    return _of_duration(header, "days", "int64")


def _of_duration(header: Header, name: str, kind: str) -> Header:
    field = header.fields[0]
    if kind == "int64" and really_missing(header, field):
        raise NotNative("whole numbers for missing values are floats")
    expr = Call("dt.by_pandas", (field.expr,), (field.kind, name, (), kind))
    return header.with_(
        fields=(Field(expr, kind, missing=kind == "float64"),),
        proto=header.proto.astype("int64").astype(kind),
    )


@native("pandas", "to_datetime")
def to_datetime(header: Header, **options: Any) -> Header:
    """`pd.to_datetime(s)` of datetimes, or of the dates of a file."""
    field = header.fields[0]
    if options or not header.is_series:
        raise NotNative("options")
    if field.kind.startswith("datetime"):
        return header
    if field.kind != "arrow:date32" or field.missing:
        raise NotNative(f"parsing of {header.proto.dtype}")
    sample = pandas.to_datetime(pandas.Series([pandas.Timestamp(2000, 1, 1).date()], dtype=object))
    kind = f"datetime[{sample.dt.unit}]"
    return header.with_(
        fields=(Field(Call("cast", (field.expr,), (kind,)), kind, missing=False),),
        proto=header.proto.astype(sample.dtype),
    )
