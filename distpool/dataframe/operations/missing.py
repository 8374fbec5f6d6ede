"""Missing values, and values by condition."""

from __future__ import annotations

from typing import Any

import pandas
from pandas.api.types import is_scalar

from distpool.dataframe import kinds
from distpool.dataframe.expressions import Expr, Literal, call, conjunction
from distpool.dataframe.header import Field, Header, NotNative, from_pandas
from distpool.dataframe.natives import native
from distpool.dataframe.operations import operands
from distpool.dataframe.operations.rows import kept

_NOTHING = pandas.api.extensions.no_default


@native("Series", "isna", "isnull")
@native("DataFrame", "isna", "isnull")
def isna(header: Header) -> Header:
    """Where values are missing."""
    return _tested(header, "is_null", header.proto.isna())


@native("Series", "notna", "notnull")
@native("DataFrame", "notna", "notnull")
def notna(header: Header) -> Header:
    """Where values are there."""
    return _tested(header, "is_not_null", header.proto.notna())


def _tested(header: Header, kernel: str, proto: Any) -> Header:
    fields = []
    for field in header.fields:
        field.computed("isna")
        expr: Expr = call(kernel, field.expr) if field.missing else Literal(kernel == "is_not_null", "bool")
        fields.append(Field(expr, "bool", missing=False))
    return header.with_(fields=tuple(fields), proto=proto)


@native("Series", "fillna")
@native("DataFrame", "fillna")
def fillna(
    header: Header, value: Any, *, axis: Any = None, inplace: bool = False, limit: Any = None
) -> Header:
    """By one scalar that the dtype can hold."""
    if type(value) is dict and not header.is_series and axis is None and limit is None:
        return _filled_by_label(header, value)
    if axis is not None or limit is not None or not is_scalar(value):
        raise NotNative("an axis, a limit, or values by label")
    fields = []
    for field, dtype in zip(header.fields, header.dtypes, strict=True):
        if field.missing:
            field.computed("fillna")
            if not kinds.is_plain(dtype):
                raise NotNative(f"of {dtype}")
            filled = call("fill_null", field.expr, operands.put(value, field.kind, dtype))
            field = Field(filled, field.kind, missing=False)
        elif field.kind.startswith("arrow:"):
            raise NotNative("columns of Python objects")
        fields.append(field)
    return header.with_(fields=tuple(fields))


def _filled_by_label(header: Header, values: dict[Any, Any]) -> Header:
    fields = list(header.fields)
    for label, value in values.items():
        if label in header.proto.columns:
            at = header.position(label)
            fields[at] = fillna(header.column(at), value).fields[0]
    return header.with_(fields=tuple(fields))


@native("DataFrame", "dropna")
def dropna(
    header: Header,
    *,
    axis: Any = 0,
    how: Any = _NOTHING,
    thresh: Any = _NOTHING,
    subset: Any = None,
    inplace: bool = False,
    ignore_index: bool = False,
) -> Header:
    """Rows without missing values."""
    if axis not in (0, "index") or thresh is not _NOTHING or how not in (_NOTHING, "any"):
        raise NotNative("columns, a threshold, or how='all'")
    names = list(header.proto.columns) if subset is None else operands.labels(subset)
    operands.require_columns(header, names, list)
    fields = [from_pandas(lambda name=name: header.field(name)) for name in names]  # type: ignore[misc]
    return _dropped(header, fields, ignore_index)


@native("Series", "dropna")
def dropna_series(
    header: Header, *, axis: Any = 0, inplace: bool = False, how: Any = None, ignore_index: bool = False
) -> Header:
    """Values that are there."""
    return _dropped(header, [header.fields[0].computed("dropna")], ignore_index)


def _dropped(header: Header, fields: list[Field], ignore_index: bool) -> Header:
    conditions: list[Expr] = [call("is_not_null", field.expr) for field in fields if field.missing]
    made = kept(header, conjunction(conditions)) if conditions else header
    if ignore_index:
        return made.with_(index=None, proto=made.proto.reset_index(drop=True))
    return made


@native("Series", "where")
def where(
    header: Header,
    cond: Any,
    other: Any = _NOTHING,
    *,
    inplace: bool = False,
    axis: Any = None,
    level: Any = None,
) -> Header:
    """`s.where(condition, other)`: other where the condition is false."""
    return _chosen(header, cond, other, keep=True)


@native("Series", "mask")
def mask(
    header: Header,
    cond: Any,
    other: Any = _NOTHING,
    *,
    inplace: bool = False,
    axis: Any = None,
    level: Any = None,
) -> Header:
    """`s.mask(condition, other)`: other where the condition is true."""
    return _chosen(header, cond, other, keep=False)


def _chosen(header: Header, cond: Any, other: Any, *, keep: bool) -> Header:
    field, dtype = header.fields[0].computed("where"), header.proto.dtype
    if not operands.is_series(cond):
        raise NotNative(f"a condition of {type(cond).__name__}")
    header, tested = operands.beside(header, cond)
    condition = tested.fields[0]
    if condition.kind != "bool" or not kinds.is_plain(dtype):
        raise NotNative("a condition that is not boolean, or categories")
    if operands.is_series(other):
        header, beside = operands.beside(header, other)
        instead = beside.fields[0]
        if instead.kind != field.kind:
            raise NotNative("values of another dtype")
        value, missing = instead.expr, instead.missing
    elif other is _NOTHING or (is_scalar(other) and pandas.isna(other)):
        if not kinds.can_miss(field.kind):
            raise NotNative("whole numbers become floats if one is replaced")
        value, missing = call("null_like", field.expr), True
    else:
        value, missing = operands.put(other, field.kind, dtype), False
    both = (field.expr, value) if keep else (value, field.expr)
    made = Field(call("if_else", condition.expr, *both), field.kind, field.missing or missing)
    return header.with_(fields=(made,))
