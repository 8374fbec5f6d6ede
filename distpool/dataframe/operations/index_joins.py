"""Joins of an index with an index: rows keep the labels by which they met.

pandas lays the rows of such a join by several ways, by whether an index is unique and in order. They agree for rows of
the one side with those of the other behind them, which is what is native: `how` is left, inner or right, the two
indexes are of one dtype and have the same names.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from distpool.dataframe import kinds
from distpool.dataframe.expressions import Column, Literal, call
from distpool.dataframe.header import Header, NotNative
from distpool.dataframe.operations import operands, partners
from distpool.dataframe.plan import Aggregate, Filter, Join, Node, Project, RowNumber, Sort, Window


def by_indexes(header: Header, other: Header, how: str, suffixes: Any = ("", "")) -> Header:
    """`a.join(b)`, `a.merge(b, left_index=True, right_index=True)`."""
    if how not in ("left", "inner", "right"):
        raise NotNative("indexes whose union is sorted, or not")
    proto = partners.shown(
        header,
        other,
        lambda: header.proto.merge(
            other.proto, left_index=True, right_index=True, how=how, suffixes=suffixes
        ),
    )
    kept, met = (other, header) if how == "right" else (header, other)
    _check_indexes(kept, met)
    if not operands.has_rows(header) or not operands.has_rows(other):
        raise NotNative("nothing on one side")
    whole = how != "inner" and kept.index is None and is_unique(met)
    mine = kept.with_index().flattened()
    theirs = partners.renamed_apart(mine, met.with_index().flattened())
    assert mine.index is not None and theirs.index is not None  # noqa: PT018
    left_on, right_on = ([partners.name(level) for level in side.index or ()] for side in (mine, theirs))
    base = Join(
        mine.base, theirs.base, tuple(left_on), tuple(right_on), "inner" if how == "inner" else "left"
    )
    others = list(theirs.fields)
    if how != "inner":
        unmatched = all(map(partners.holds_missing, others)) or partners.any_unmatched(base)
        others = [partners.optional(field, unmatched) for field in others]
    fields = [*others, *mine.fields] if how == "right" else [*mine.fields, *others]
    made = partners.header(base, fields, proto)
    if whole:
        # Each row of a default index once, in its order: that is the default index.
        return made
    made.proto.index = kept.index_proto()
    return made.with_(index=mine.index)


def one_after_the_other(header: Header, others: Sequence[Any], how: str) -> Header:
    """`a.join([b, c])`: pandas does it another way where an index repeats a label."""
    from distpool.dataframe.dispatching import header_of

    if how != "left" or not others:
        raise NotNative("several frames joined otherwise")
    if not all(map(partners.holds_missing, header.fields)):
        raise NotNative("whole numbers, of which pandas makes floats if a label is nowhere else")
    made, labels = header, list(header.proto.columns)
    for one in others:
        other = header_of(one)
        if other.is_series:
            other = other.with_(proto=other.proto.to_frame())
        labels += list(other.proto.columns)
        if len(set(labels)) < len(labels) or not is_unique(other):
            raise NotNative("labels that repeat")
        if not all(map(partners.holds_missing, other.fields)):
            raise NotNative("whole numbers, of which pandas makes floats if a label is nowhere else")
        made = by_indexes(made, other, how)
    if not is_unique(header):
        raise NotNative("labels that repeat")
    return made


def _check_indexes(kept: Header, met: Header) -> None:
    one, two = kept.index_proto(), met.index_proto()
    if one.nlevels != two.nlevels or list(one.names) != list(two.names):
        raise NotNative("indexes of different names")
    if kept.proto.columns.nlevels > 1 or met.proto.columns.nlevels > 1:
        raise NotNative("columns of several levels")
    if not kept.proto.columns.is_unique or not met.proto.columns.is_unique:
        raise NotNative("labels that several columns have")
    if one.nlevels > 1 and not (is_unique(kept) and is_unique(met)):
        raise NotNative("labels of several levels that repeat")
    for ours, theirs, dtype, other in zip(
        kept.with_index().index or (), met.with_index().index or (), _dtypes(one), _dtypes(two), strict=True
    ):
        if not kinds.same_dtype(dtype, other) or ours.kind != theirs.kind or ours.kind == "codes":
            raise NotNative("indexes of different dtypes, or of categories")
        ours.computed("join")
        if kinds.is_nullable(ours.kind):
            raise NotNative("an index with NA")
        if operands.really_missing(kept, ours) or operands.really_missing(met, theirs):
            raise NotNative("an index with missing labels")


def _dtypes(index: Any) -> list[Any]:
    return list(index.dtypes) if index.nlevels > 1 else [index.dtype]


def is_unique(header: Header) -> bool:
    """Say whether no label of the index is there twice: by how the rows are made, or by a look at the labels."""
    if header.index is None:
        return True
    levels = [level.expr for level in header.index]
    base: Node = header.base
    while isinstance(base, Filter | Sort | Window) or (
        isinstance(base, RowNumber) and Column(base.name) not in levels
    ):
        base = base.input
    if isinstance(base, RowNumber) and levels == [Column(base.name)]:
        return True
    if isinstance(base, Aggregate) and {Column(name) for name, _ in base.keys} == set(levels):
        return True
    keys = tuple((f"key{at}", expr) for at, expr in enumerate(levels))
    counted = Aggregate(
        header.base, keys, (("rows", "size", Literal(1), ()),), order="none", drop_nulls=False
    )
    again = Filter(counted, call("gt", Column("rows"), Literal(1, "int64")))
    return not operands.any_row(Project(again, (("rows", Column("rows")),)))
