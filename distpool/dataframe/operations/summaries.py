"""Counts of values, the largest and smallest, and one value for each column of a frame."""

from __future__ import annotations

from typing import Any

import numpy as np

from distpool.dataframe import kinds
from distpool.dataframe.expressions import Column, Expr, Literal, call
from distpool.dataframe.header import Field, Header, NotNative, empty_index
from distpool.dataframe.natives import native
from distpool.dataframe.operations import operands
from distpool.dataframe.plan import Aggregate, Slice, Sort
from distpool.dataframe.windows import over_rows

_WHOLE = frozenset(("int64", "float64", "bool"))


@native("Series", "value_counts")
def value_counts(
    header: Header,
    normalize: bool = False,
    sort: bool = True,
    ascending: bool = False,
    bins: Any = None,
    dropna: bool = True,
) -> Header:
    """How often each value occurs: the most frequent first, ties as they appear."""
    header = header.grounded()
    field = header.fields[0].computed("value_counts")
    if bins is not None or field.kind == "codes" or not kinds.is_plain(header.proto.dtype):
        raise NotNative("shares, bins or categories")
    if kinds.is_nullable(field.kind) and field.missing and not dropna:
        raise NotNative("the place of NA among what occurs as often")
    proto = header.proto.value_counts(dropna=dropna)
    proto.index = empty_index([header.proto.dtype], [header.proto.name])
    if normalize:
        if kinds.is_nullable(field.kind):
            raise NotNative("shares of nullable values")
        proto = proto.rename("proportion").astype("float64")
    counts = kinds.kind_of(proto.dtype)
    if counts is None or (not normalize and kinds.base(counts) != "int64"):
        raise NotNative(f"counts of {proto.dtype}")
    counted = Aggregate(
        header.base,
        (("value", field.expr),),
        (("count", "size", Literal(1), ()),),
        order="first",
        drop_nulls=dropna,
    )
    base = Sort(counted, (Column("count"),), (not ascending,)) if sort else counted
    index = Field(Column("value"), field.kind, field.missing and not dropna)
    if normalize:
        over = Header(base, (), (index,), proto)
        count = call("cast", Column("count"), options=("float64",))
        over, total = over_rows(over, "sum", count, "float64", missing=False)
        share = Field(call("truediv", count, total.expr), "float64", missing=False)
        return over.with_(fields=(share,))
    return Header(base, (Field(Column("count"), counts, missing=False),), (index,), proto)


def _extreme(header: Header, field: Field, count: Any, keep: Any, *, largest: bool) -> Header:
    if type(count) is not int or count < 0 or keep != "first" or field.kind not in kinds.NUMBERS:
        raise NotNative("ties that are kept, or what is not a number")
    numbered = header.fewer_rows().with_index()
    ordered = Sort(numbered.base, (field.expr,), (largest,))
    return numbered.with_(base=Slice(ordered, 0, count), proto=numbered.proto_with_index())


def _register_extreme(name: str, *, largest: bool) -> None:
    @native("DataFrame", name)
    def of_frame(header: Header, n: int, columns: Any, keep: str = "first") -> Header:
        names, header = operands.labels(columns), header.grounded()
        if len(names) != 1:
            raise NotNative("several columns")
        return _extreme(header, header.field(names[0]), n, keep, largest=largest)

    @native("Series", name)
    def of_series(header: Header, n: int = 5, keep: str = "first") -> Header:
        header = header.grounded()
        return _extreme(header, header.fields[0].computed(name), n, keep, largest=largest)


_register_extreme("nlargest", largest=True)
_register_extreme("nsmallest", largest=False)


def _register_reduction(name: str) -> None:
    @native("DataFrame", name)
    def reduce(
        header: Header, axis: Any = 0, skipna: bool = True, numeric_only: bool = False, min_count: int = 0
    ) -> Any:
        if axis not in (0, "index") or skipna is not True or numeric_only is not False or min_count:
            raise NotNative("another axis, or options")
        return _reduced(header, name)


for _name in ("sum", "mean", "min", "max"):
    _register_reduction(_name)


@native("DataFrame", "count")
def count(header: Header, axis: Any = 0, numeric_only: bool = False) -> Any:
    """How many values of each column are there."""
    if axis not in (0, "index") or numeric_only is not False:
        raise NotNative("another axis, or numeric columns only")
    return _reduced(header, "count")


def _reduced(header: Header, name: str) -> Any:
    """One value for each column, now: a Series of as many rows as there are columns is looked at."""
    from distpool.dataframe import objects, running

    header = header.grounded()
    asked: list[tuple[str, str, Expr, tuple[object, ...]]] = []
    found = set()
    for at, field in enumerate(header.fields):
        field.computed(name)
        if name != "count" and field.kind not in ("int64", "float64"):
            if field.kind != "bool" or name not in ("sum", "mean"):
                raise NotNative(f"{name} of {field.kind}")
            field = Field(call("cast", field.expr, options=("int64",)), "int64", missing=False)
        found.add(field.kind)
        floats = name == "mean" or field.kind == "float64"
        kernel = "sum_float" if name == "sum" and floats else name
        value = call("cast", field.expr, options=("float64",)) if floats and name != "count" else field.expr
        asked.append((f"{at}", kernel, value, ()))
    row = running.run(Aggregate(header.base, (), tuple(asked), order="none")).row(0)
    if name in ("min", "max") and any(value is None for value in row):
        raise NotNative("nothing there")
    dtype = "int64" if name == "count" or (found == {"int64"} and name != "mean") else "float64"
    values = [np.nan if value is None else value for value in row]
    made = objects.Series(np.array(values, dtype=dtype), index=header.proto.columns)
    return made.__finalize__(header.proto)
