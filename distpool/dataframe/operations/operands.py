"""What an operation is given beside its header: other series, scalars, labels.

Checked here, once for all operations.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
import pandas
from pandas.api.types import is_scalar

from distpool.dataframe import kinds
from distpool.dataframe.expressions import Column, Expr, Literal, call
from distpool.dataframe.header import Field, Header, NotNative, SchemaError
from distpool.dataframe.header import labels as labels
from distpool.dataframe.plan import Aggregate, Memory, Node, Project, RowNumber, Slice, Sort, Window
from distpool.dataframe.windows import together


def beside(header: Header, value: Any) -> tuple[Header, Header]:
    """Give the header and that of a Series whose rows are its: over one base, with no labels to align."""
    from distpool.dataframe.dispatching import header_of

    other = header_of(value)
    if not other.is_series:
        raise NotNative("a frame where a series is expected")
    both = together(header, other)
    if both is None:
        raise NotNative("series of different rows: pandas aligns them by their labels")
    return both


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
    kind = kinds.base(kind)
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


def put(value: Any, kind: str, dtype: Any) -> Literal:
    """Make a literal that takes the place of a value: what can be computed with need not be one."""
    if isinstance(value, bool | np.bool_) and kinds.base(kind) != "bool":
        raise NotNative("a truth among numbers")
    return scalar(value, kind, dtype)


def _ticks(value: Any, dtype: Any) -> int:
    if not isinstance(value, str | datetime.datetime | np.datetime64):
        raise NotNative(f"a {type(value).__name__} beside times")
    if isinstance(dtype, pandas.ArrowDtype) and isinstance(value, str):
        raise NotNative("a text beside times of Arrow's: it is no time there")
    stamp = pandas.Timestamp(value)
    if (stamp.tz is None) != (not isinstance(dtype, pandas.DatetimeTZDtype)):
        if not isinstance(value, str):
            raise NotNative("times with and without a zone")
        stamp = stamp.tz_localize(dtype.tz)
    ticks = stamp.as_unit(_unit(dtype))
    if ticks != stamp:
        raise NotNative("a time between two ticks")
    return int(ticks._value)


def _unit(dtype: Any) -> str:
    if isinstance(dtype, pandas.ArrowDtype):
        return str(dtype.pyarrow_dtype.unit)
    return dtype.unit if isinstance(dtype, pandas.DatetimeTZDtype) else str(np.datetime_data(dtype)[0])


def _duration_ticks(value: Any, dtype: Any) -> int:
    if not isinstance(value, datetime.timedelta | np.timedelta64):
        raise NotNative(f"a {type(value).__name__} beside durations")
    span = pandas.Timedelta(value)
    ticks = span.as_unit(_unit(dtype))
    if ticks != span:
        raise NotNative("a duration between two ticks")
    return int(ticks._value)


def cast(field: Field, kind: str) -> Expr:
    """Give the field's values as this kind."""
    kind = kinds.base(kind)
    return field.expr if kinds.base(field.kind) == kind else call("cast", field.expr, options=(kind,))


def require_columns(header: Header, names: list[Hashable], said: Callable[[list[Any]], Any]) -> None:
    """Raise the KeyError that pandas raises of those that are not there; `said` makes of them what it says."""
    lost = [name for name in names if name not in header.proto.columns]
    if lost:
        raise SchemaError from KeyError(said(lost))


def really_missing(header: Header, field: Field) -> bool:
    """Look whether a column has missing values, where the schema alone does not tell.

    pandas gives some results another dtype then (`dt.year` of a NaT makes floats of them all), so it must be known
    now.
    """
    return field.missing and any_true(header, call("is_null", field.expr))


def any_true(header: Header, condition: Expr) -> bool:
    """Look, now, whether there is a row for which it is true."""
    from distpool.dataframe import running

    if not condition.columns:
        raise NotNative("of a constant")
    counted = Aggregate(header.base, (), (("any", "any", condition, ()),), order="none")
    return bool(running.run(counted).item())


def any_row(node: Node) -> bool:
    """Look, now, whether a node has a row. Only the first of its columns is made."""
    from distpool.dataframe import running

    name = node.columns[0]
    return bool(running.run(Slice(Project(node, ((name, Column(name)),)), 0, 1)).height)


def has_rows(header: Header) -> bool:
    """Look whether there is a row: of nothing pandas makes other dtypes of some results than of something."""
    base: Node = header.base
    while isinstance(base, Project | RowNumber | Sort | Window):
        base = base.input
    # A frame in memory that is empty is never the source of a plan.
    return isinstance(base, Memory) or any_row(base)
