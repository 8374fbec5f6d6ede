"""What all joins share: the columns of two sides next to each other, and what becomes of those without a partner."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pandas

from distpool.dataframe import kinds
from distpool.dataframe.expressions import Column, call
from distpool.dataframe.header import Field, Header, NotNative, from_pandas
from distpool.dataframe.operations import operands
from distpool.dataframe.plan import Join, Node


def shown(one: Header, two: Header, make: Callable[[], Any]) -> Any:
    """Ask pandas for the join of the empty frames, of which it keeps `attrs` that it drops where there are rows."""
    proto = from_pandas(make)
    proto.attrs = copy.deepcopy(one.proto.attrs) if one.proto.attrs == two.proto.attrs else {}
    return proto


def header(base: Node, fields: list[Field], proto: Any) -> Header:
    """Put the columns of a join and what pandas shows of it together: whole numbers may have become floats."""
    if len(fields) != proto.shape[1]:
        raise NotNative("columns that pandas lays out differently")
    dtypes, changed = dict(enumerate(proto.dtypes)), False
    for at, field in enumerate(fields):
        if not field.kind.startswith("arrow:") and kinds.kind_of(dtypes[at]) != field.kind:
            if field.kind != "float64":
                raise NotNative("keys whose dtype changes")
            dtypes[at], changed = "float64", True
    proto.index = pandas.RangeIndex(0)
    if changed:
        labels, proto.columns = proto.columns, range(len(fields))
        proto = proto.astype(dtypes)
        proto.columns = labels
    return Header(base, tuple(fields), None, proto)


def holds_missing(field: Field) -> bool:
    """Say whether missing values change nothing about its dtype."""
    return kinds.can_miss(field.kind) and not field.kind.startswith("arrow:")


def optional(field: Field, unmatched: bool) -> Field:
    """A column of the side that may have no partner: whole numbers become floats if there is a row without."""
    if not unmatched:
        return field
    if field.kind in kinds.INTEGERS:
        return Field(call("cast", field.expr, options=("float64",)), "float64", missing=True)
    if field.kind == "bool" or field.kind.startswith("arrow:"):
        raise NotNative("booleans or objects with missing values")
    return Field(field.expr, field.kind, missing=True)


def any_unmatched(join: Join) -> bool:
    """Look, now, whether a row of the left has no partner: the dtypes of the result hang on it."""
    return operands.any_row(Join(join.left, join.right, join.left_on, join.right_on, "anti", ordered=False))


def renamed_apart(mine: Header, theirs: Header) -> Header:
    """Give the other side under names that this one has not."""
    if set(mine.base.columns).isdisjoint(theirs.base.columns):
        return theirs
    return theirs.flattened("right:")


def name(field: Field) -> str:
    """The plan's name of a column that is one."""
    assert isinstance(field.expr, Column)
    return field.expr.name
