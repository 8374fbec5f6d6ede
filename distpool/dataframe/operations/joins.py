"""Merges. The labels, their order and the errors are pandas', from a merge of the empty frames."""

from __future__ import annotations

from typing import Any

import pandas

from distpool.dataframe import kinds
from distpool.dataframe.expressions import Column, call
from distpool.dataframe.header import Field, Header, NotNative, from_pandas
from distpool.dataframe.natives import native
from distpool.dataframe.operations import operands
from distpool.dataframe.plan import Join, Node, Slice


@native("DataFrame", "merge", meets=True)
def merge(
    header: Header,
    right: Any,
    how: str = "inner",
    on: Any = None,
    left_on: Any = None,
    right_on: Any = None,
    left_index: bool = False,
    right_index: bool = False,
    sort: bool = False,
    suffixes: Any = ("_x", "_y"),
    copy: Any = None,
    indicator: Any = False,
    validate: Any = None,
) -> Header:
    """`left.merge(right, on=..., how="inner" | "left" | "right")` by columns."""
    from distpool.dataframe.objects import header_of

    other = header_of(right)
    if other.is_series:
        other = other.with_(proto=other.proto.to_frame())
    if left_index or right_index or sort or indicator or validate is not None:
        raise NotNative("by the index, sorted, or with an indicator")
    if how not in ("inner", "left", "right"):
        raise NotNative(f"how={how!r}")
    _check_keys(header, other, on, left_on, right_on)
    proto = from_pandas(
        lambda: header.proto.merge(
            other.proto,
            how=how,
            on=on,
            left_on=left_on,
            right_on=right_on,
            suffixes=suffixes,
        )
    )
    left_names, right_names = _keys(header, other, on, left_on, right_on)
    if how == "right":
        made = _joined(other, header, right_names, left_names, "left")
        mine, theirs = made[2], made[1]
    else:
        made = _joined(header, other, left_names, right_names, how)
        mine, theirs = made[1], made[2]
    base = made[0]
    common = [one for one, two in zip(left_names, right_names, strict=True) if one == two]
    keys_from = theirs if how == "right" else mine
    keys_header = other if how == "right" else header
    fields = []
    for at, label in enumerate(header.proto.columns):
        fields.append(keys_from[keys_header.position(label)] if label in common else mine[at])
    fields += [theirs[at] for at, label in enumerate(other.proto.columns) if label not in common]
    return _header(base, fields, proto)


def _header(base: Node, fields: list[Field], proto: Any) -> Header:
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


def _check_keys(header: Header, other: Header, *keys: Any) -> None:
    """What the empty frames cannot tell from labels is pandas' to join by."""
    levels = {*header.proto.index.names, *other.proto.index.names}
    for label in (label for key in keys if key is not None for label in operands.labels(key)):
        if not isinstance(label, str | int):
            raise NotNative("keys that are no labels")
        if label in levels:
            raise NotNative("by a level of the index")


def _keys(header: Header, other: Header, on: Any, left_on: Any, right_on: Any) -> tuple[list[Any], list[Any]]:
    if on is not None:
        left = right = operands.labels(on)
    elif left_on is not None and right_on is not None:
        left, right = operands.labels(left_on), operands.labels(right_on)
    else:
        left = right = [label for label in header.proto.columns if label in other.proto.columns]
    if not header.proto.columns.is_unique or not other.proto.columns.is_unique:
        raise NotNative("labels that several columns have")
    for one, two in zip(left, right, strict=True):
        mine, theirs = header.position(one), other.position(two)
        if (
            header.dtypes[mine] != other.dtypes[theirs]
            or header.fields[mine].kind != other.fields[theirs].kind
        ):
            raise NotNative("keys of different dtypes")
        header.fields[mine].computed("merge")
    return left, right


def _joined(
    left: Header, right: Header, left_names: list[Any], right_names: list[Any], how: str
) -> tuple[Node, list[Field], list[Field]]:
    mine = left.with_(index=None).flattened()
    theirs = right.with_(index=None).flattened()
    theirs = _renamed_apart(mine, theirs)
    left_on = [_name(mine.fields[left.position(label)]) for label in left_names]
    right_on = [_name(theirs.fields[right.position(label)]) for label in right_names]
    base = Join(mine.base, theirs.base, tuple(left_on), tuple(right_on), how)
    kept = list(theirs.fields)
    if how == "left":
        unmatched = _any_unmatched(base)
        kept = [_optional(field, unmatched) for field in kept]
    return base, list(mine.fields), kept


def _optional(field: Field, unmatched: bool) -> Field:
    """A column of the side that may have no partner: whole numbers become floats if there is a row without."""
    if not unmatched:
        return field
    if field.kind in kinds.INTEGERS:
        return Field(call("cast", field.expr, options=("float64",)), "float64", missing=True)
    if field.kind == "bool" or field.kind.startswith("arrow:"):
        raise NotNative("booleans or objects with missing values")
    return Field(field.expr, field.kind, missing=True)


def _any_unmatched(join: Join) -> bool:
    """Look, now, whether a row of the left has no partner: the dtypes of the result hang on it."""
    from distpool.dataframe import polars_route

    lonely = Join(join.left, join.right, join.left_on, join.right_on, "anti", ordered=False)
    return polars_route.run(Slice(lonely, 0, 1)).height > 0


def _renamed_apart(mine: Header, theirs: Header) -> Header:
    if set(mine.base.columns).isdisjoint(theirs.base.columns):
        return theirs
    return theirs.flattened("right:")


def _name(field: Field) -> str:
    assert isinstance(field.expr, Column)
    return field.expr.name
