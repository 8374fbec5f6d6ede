"""`Series.dt`: the accessor, and what of it is native; `to_datetime` of what is a date already."""

from __future__ import annotations

from typing import Any

import pandas

from distpool.dataframe.expressions import Call, call
from distpool.dataframe.header import Field, Header, NotNative
from distpool.dataframe.kinds import is_plain
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
