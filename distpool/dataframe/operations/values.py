"""Each value made from one value: clipped, cut into ranges, looked up, rounded."""

from __future__ import annotations

from typing import Any

import pandas

from distpool.dataframe import kinds
from distpool.dataframe.expressions import Call
from distpool.dataframe.header import Field, Header, NotNative
from distpool.dataframe.natives import native
from distpool.dataframe.operations import arithmetic, operands


def each_column(header: Header, run: Any) -> Header:
    """Apply an operation on series to each column; the dtypes stay."""
    if not header.proto.columns.is_unique:
        raise NotNative("labels that several columns have")
    parts = [run(header.column(at)) for at in range(len(header.fields))]
    return header.with_(fields=tuple(part.fields[0] for part in parts))


@native("Series", "clip")
def clip(
    header: Header, lower: Any = None, upper: Any = None, *, axis: Any = None, inplace: bool = False
) -> Header:
    """`s.clip(0, 10)` of numbers, by limits of their dtype."""
    field = header.fields[0].computed("clip")
    if axis is not None or field.kind not in kinds.NUMBERS:
        raise NotNative(f"an axis, or {field.kind}")
    limits = tuple(
        None if one is None else operands.scalar(one, field.kind, header.proto.dtype).value
        for one in (lower, upper)
    )
    if None not in limits and limits[0] > limits[1]:  # type: ignore[operator]
        raise NotNative("limits the wrong way round")
    return header.with_(fields=(Field(Call("clip", (field.expr,), limits), field.kind, field.missing),))


@native("DataFrame", "clip")
def clip_frame(
    header: Header, lower: Any = None, upper: Any = None, *, axis: Any = None, inplace: bool = False
) -> Header:
    """The same for each column."""
    return each_column(header, lambda column: clip(column, lower, upper, axis=axis))


@native("DataFrame", "round")
def round_frame(header: Header, decimals: Any = 0) -> Header:
    """`df.round(2)`: of floats; what is no float stays."""

    def one(column: Header) -> Header:
        kind = column.fields[0].computed("round").kind
        if kind == "float64":
            return arithmetic.round_series(column, decimals)
        if kind not in kinds.INTEGERS | {"str", "bool"} or type(decimals) is not int or decimals < 0:
            raise NotNative(f"round of {kind}")
        return column

    return each_column(header, one)


@native("DataFrame", "abs")
def absolute(header: Header) -> Header:
    """`df.abs()`."""
    return each_column(header, arithmetic.absolute)


@native("DataFrame", "isin")
def isin(header: Header, values: Any) -> Header:
    """`df.isin([1, 2])`."""
    if isinstance(values, dict | pandas.Series | pandas.DataFrame):
        raise NotNative("values by label")
    if any(kinds.is_nullable(field.kind) for field in header.fields):
        raise NotNative("nullable columns")
    made = each_column(header, lambda column: arithmetic.isin(column, values))
    return made.with_(proto=header.proto.isin([]).astype("bool"))


@native("Series", "map")
def mapped(
    header: Header, func: Any = None, na_action: Any = None, engine: Any = None, **options: Any
) -> Header:
    """`s.map({"a": 1})`: by a dict of texts or numbers."""
    field, dtype = header.fields[0].computed("map"), header.proto.dtype
    if type(func) is not dict or not func or na_action is not None or engine is not None or options:
        raise NotNative("by something else than a dict")
    if field.kind not in ("str", "int64", "bool") or field.kind == "codes":
        raise NotNative(f"of {dtype}")
    for key in func:
        operands.scalar(key, field.kind, dtype)
    found = {type(value) for value in func.values()}
    if found == {str}:
        kind = "str"
    elif found == {float}:
        kind = "float64"
    else:
        # Of whole numbers pandas makes floats if one is not found, and objects of what is mixed.
        raise NotNative("values that are neither all texts nor all floats")
    expr = Call("mapped", (field.expr,), (field.kind, tuple(func.items()), kind))
    if not operands.has_rows(header):
        raise NotNative("nothing there")
    return header.with_(
        fields=(Field(expr, kind, missing=True),), proto=header.proto.astype("object").astype(kind)
    )


@native("pandas", "cut")
def cut(
    header: Header,
    bins: Any,
    right: bool = True,
    labels: Any = None,
    retbins: bool = False,
    precision: int = 3,
    include_lowest: bool = False,
    duplicates: str = "raise",
    ordered: bool = True,
) -> Header:
    """`pd.cut(s, [0, 18, 65])`: by edges that are given."""
    field = header.fields[0].computed("cut")
    if not header.is_series or field.kind not in ("int64", "float64") or retbins:
        raise NotNative("of what is no series of numbers, or with the edges returned")
    if not isinstance(bins, list) or not all(type(edge) in (int, float) for edge in bins):
        raise NotNative("edges that are not given")
    if labels is not None and not (type(labels) is list and all(type(label) is str for label in labels)):
        raise NotNative("labels that are not texts")
    options = {
        "right": right,
        "labels": labels,
        "precision": precision,
        "include_lowest": include_lowest,
        "duplicates": duplicates,
        "ordered": ordered,
    }
    proto = pandas.cut(header.proto, bins, **options)
    frozen = tuple(
        sorted((name, list(value) if type(value) is list else value) for name, value in options.items())
    )
    expr = Call("cut", (field.expr,), (field.kind, tuple(bins), frozen))
    return header.with_(fields=(Field(expr, "codes", missing=True),), proto=proto)
