"""One value of a whole column: computed now, since a scalar is looked at."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas

from distpool.dataframe import kinds
from distpool.dataframe.expressions import call
from distpool.dataframe.header import Field, Header, NotNative
from distpool.dataframe.natives import native
from distpool.dataframe.plan import Aggregate


def _reduced(header: Header, name: str, expr: Any, options: tuple[object, ...] = ()) -> Any:
    from distpool.dataframe import polars_route

    if not expr.columns:
        raise NotNative("of a constant")

    return polars_route.run(
        Aggregate(header.base, (), (("value", name, expr, options),), order="none")
    ).item()


def _register(name: str) -> None:
    @native("Series", name)
    def reduce(
        header: Header, axis: Any = None, skipna: bool = True, numeric_only: bool = False, min_count: int = 0
    ) -> Any:
        if axis not in (None, 0, "index") or skipna is not True or numeric_only or min_count:
            raise NotNative("options")
        return _value(header, name)


for _name in ("sum", "min", "max", "mean", "median"):
    _register(_name)


def _value(header: Header, name: str) -> Any:
    field = header.fields[0].computed(name)
    dtype, expr = header.proto.dtype, field.expr
    if not kinds.is_plain(dtype):
        raise NotNative(f"of {dtype}")
    if field.kind == "float32":
        raise NotNative("float32 is added up in its own way")
    if field.kind not in kinds.NUMBERS | {"bool"}:
        if name not in ("min", "max"):
            raise NotNative(f"of {dtype}")
        value = _reduced(header, name, expr)
        if value is None:
            raise NotNative("nothing there")
        return value if field.kind == "str" else _time(header, name, field)
    if name in ("mean", "median") or field.kind == "float64":
        value = _reduced(header, _name_for(name), call("cast", expr, options=("float64",)))
        return np.float64(np.nan if value is None else value)
    if name == "sum":
        kind = "uint64" if field.kind.startswith("u") else "int64"
        return np.dtype(kind).type(_reduced(header, "sum", call("cast", expr, options=(kind,))))
    value = _reduced(header, name, expr)
    if value is None:
        raise NotNative("nothing there")
    return np.dtype(field.kind).type(value)


def _name_for(name: str) -> str:
    return "sum_float" if name == "sum" else name


def _time(header: Header, name: str, field: Field) -> Any:
    ticks = _reduced(header, name, call("ticks", field.expr, options=(field.kind,)))
    unit = field.kind.partition("[")[2][:-1]
    if field.kind.startswith("datetime"):
        return pandas.Timestamp(np.array(ticks).view(f"M8[{unit}]")[()])
    return pandas.Timedelta(np.array(ticks).view(f"m8[{unit}]")[()])


@native("Series", "count")
def count(header: Header) -> Any:
    """How many values are there."""
    return np.int64(_reduced(header, "count", header.fields[0].computed("count").expr))


@native("Series", "nunique")
def nunique(header: Header, dropna: bool = True) -> Any:
    """How many different values there are."""
    if dropna is not True:
        raise NotNative("missing values count")
    return int(_reduced(header, "nunique", header.fields[0].computed("nunique").expr))
