"""What an operation is given beside its header: other series, scalars, labels.

Checked here, once for all operations.
"""

from __future__ import annotations

import datetime
from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas
from pandas.api.types import is_list_like, is_scalar

from distpool.dataframe import kinds
from distpool.dataframe.expressions import Expr, Literal, call
from distpool.dataframe.header import Field, Header, NotNative
from distpool.dataframe.plan import Aggregate


def header_beside(value: Any, header: Header) -> Header:
    """Give the header of a Series whose rows are those of `header`: no labels to align."""
    from distpool.dataframe.objects import header_of

    beside = header_of(value)
    if not beside.is_series:
        raise NotNative("a frame where a series is expected")
    require_same_rows(header, beside)
    return beside


def require_same_rows(one: Header, two: Header) -> None:
    """Let through only what pandas would not have to align."""
    if one.base != two.base or one.index != two.index:
        raise NotNative("series of different rows: pandas aligns them by their labels")


def is_series(value: Any) -> bool:
    """Say whether it is a Series, ours or pandas'."""
    return isinstance(value, pandas.Series)


def scalar(value: Any, kind: str, dtype: Any) -> Literal:
    """Make a literal that a column of this kind can be computed with. Refuses what would change its value."""
    if isinstance(value, np.generic) and not isinstance(value, np.datetime64 | np.timedelta64):
        if value.dtype.name not in ("int64", "float64", "bool"):
            raise NotNative(f"a scalar of {value.dtype}")
        if kind == "float32":
            raise NotNative("a numpy scalar beside float32")
        value = value.item()
    if not is_scalar(value) or pandas.isna(value):
        raise NotNative("a missing value" if is_scalar(value) else f"a {type(value).__name__}")
    if kind.startswith("datetime"):
        return Literal(_ticks(value, dtype), kind)
    if kind.startswith("duration"):
        return Literal(_duration_ticks(value, dtype), kind)
    if kind == "str" and type(value) is str:
        return Literal(value, kind)
    if kind == "bool" and type(value) is bool:
        return Literal(value, kind)
    if kind in kinds.INTEGERS and type(value) in (int, bool):
        info = np.iinfo(kind)
        if info.min <= value <= info.max:
            return Literal(int(value), kind)
    if kind in kinds.FLOATS and type(value) in (int, float, bool):
        converted = float(np.dtype(kind).type(value))
        if not np.isfinite(converted) or (type(value) is int and int(converted) != value):
            raise NotNative("a number that has no such float")
        return Literal(converted, kind)
    raise NotNative(f"a {type(value).__name__} beside {kind}")


def _ticks(value: Any, dtype: Any) -> int:
    if not isinstance(value, str | datetime.datetime | np.datetime64):
        raise NotNative(f"a {type(value).__name__} beside times")
    stamp = pandas.Timestamp(value)
    if (stamp.tz is None) != (not isinstance(dtype, pandas.DatetimeTZDtype)):
        if not isinstance(value, str):
            raise NotNative("times with and without a zone")
        stamp = stamp.tz_localize(dtype.tz)
    unit = dtype.unit if isinstance(dtype, pandas.DatetimeTZDtype) else np.datetime_data(dtype)[0]
    ticks = stamp.as_unit(unit)
    if ticks != stamp:
        raise NotNative("a time between two ticks")
    return int(ticks._value)


def _duration_ticks(value: Any, dtype: Any) -> int:
    if not isinstance(value, datetime.timedelta | np.timedelta64):
        raise NotNative(f"a {type(value).__name__} beside durations")
    span = pandas.Timedelta(value)
    ticks = span.as_unit(np.datetime_data(dtype)[0])
    if ticks != span:
        raise NotNative("a duration between two ticks")
    return int(ticks._value)


def cast(field: Field, kind: str) -> Expr:
    """Give the field's values as this kind."""
    return field.expr if field.kind == kind else call("cast", field.expr, options=(kind,))


def labels(value: Any) -> list[Hashable]:
    """Make a list of one label or of many."""
    return list(value) if is_list_like(value) and not isinstance(value, tuple) else [value]


def really_missing(header: Header, field: Field) -> bool:
    """Look whether a column has missing values, where the schema alone does not tell.

    pandas gives some results another dtype then (`dt.year` of a NaT makes floats of them all), so it must be known
    now.
    """
    if not field.missing:
        return False
    from distpool.dataframe import polars_route

    counted = Aggregate(header.base, (), (("any", "any", call("is_null", field.expr), ()),), order="none")
    return bool(polars_route.run(counted).item())
