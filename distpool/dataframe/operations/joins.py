"""Merges. The labels, their order and the errors are pandas', from a merge of the empty frames."""

from __future__ import annotations

from typing import Any

import pandas

from distpool.dataframe import kinds
from distpool.dataframe.expressions import Column, Expr, Literal, call
from distpool.dataframe.header import Field, Header, NotNative, fresh_name, from_pandas
from distpool.dataframe.natives import native
from distpool.dataframe.operations import index_joins, operands, partners
from distpool.dataframe.plan import Filter, Join, Node, Project, RowNumber, Sort

_NOTHING = pandas.api.extensions.no_default


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
    from distpool.dataframe.dispatching import header_of

    other = header_of(right)
    if other.is_series:
        if other.proto.name is None:
            raise NotNative("a series without a name")
        other = other.with_(proto=other.proto.to_frame())
    if sort or validate is not None:
        raise NotNative("sorted, or validated")
    if (left_index or right_index) and indicator:
        raise NotNative("by the index, with an indicator")
    if left_index and right_index and on is None and left_on is None and right_on is None:
        return index_joins.by_indexes(header, other, how, suffixes)
    if right_index and not (left_index or on or right_on):
        return _by_index(header, other, left_on, how, suffixes)
    if left_index or right_index:
        raise NotNative("by the index of the left")
    if type(indicator) not in (bool, str):
        raise NotNative("an indicator that is no label")
    if how == "left_anti" and not indicator:
        return _without_partners(header, other, on, left_on, right_on, suffixes)
    if how == "cross" and on is None and left_on is None and right_on is None:
        return _crossed(header, other, suffixes)
    if how not in ("inner", "left", "right", "outer"):
        raise NotNative(f"how={how!r}")
    _check_keys(header, other, on, left_on, right_on)
    proto = partners.shown(
        header,
        other,
        lambda: header.proto.merge(
            other.proto,
            how=how,
            on=on,
            left_on=left_on,
            right_on=right_on,
            suffixes=suffixes,
            indicator=indicator,
        ),
    )
    left_names, right_names = _keys(header, other, on, left_on, right_on)
    if how == "outer":
        return _outer(header, other, left_names, right_names, proto, told=bool(indicator))
    if how == "right":
        made = _joined(other, header, right_names, left_names, "left", told=bool(indicator))
        mine, theirs = made[2], made[1]
    else:
        made = _joined(header, other, left_names, right_names, how, told=bool(indicator))
        mine, theirs = made[1], made[2]
    base = made[0]
    common = [one for one, two in zip(left_names, right_names, strict=True) if one == two]
    keys_from = theirs if how == "right" else mine
    keys_header = other if how == "right" else header
    fields = []
    for at, label in enumerate(header.proto.columns):
        fields.append(keys_from[keys_header.position(label)] if label in common else mine[at])
    fields += [theirs[at] for at, label in enumerate(other.proto.columns) if label not in common]
    if indicator:
        alone = _CODES["left_only" if how == "left" else "right_only"]
        both: Expr = Literal(_CODES["both"], "codes")
        found = both if how == "inner" else _code_where(call("is_null", Column(_MARK)), alone, both)
        fields.append(Field(found, "codes", missing=False))
    return partners.header(base, fields, proto)


# What `indicator` says of each row: codes of the categories that pandas makes.
_CODES = {"left_only": 0, "right_only": 1, "both": 2}
_MARK = "merge:partner"


def _code_where(condition: Expr, code: int, otherwise: Expr) -> Expr:
    return call("if_else", condition, Literal(code, "codes"), otherwise)


def _without_partners(
    header: Header, other: Header, on: Any, left_on: Any, right_on: Any, suffixes: Any
) -> Header:
    """The left rows whose key no right row has. The columns of the right are there, and missing."""
    _check_keys(header, other, on, left_on, right_on)
    proto = partners.shown(
        header,
        other,
        lambda: header.proto.merge(
            other.proto, how="left_anti", on=on, left_on=left_on, right_on=right_on, suffixes=suffixes
        ),
    )
    left_names, right_names = _keys(header, other, on, left_on, right_on)
    base, mine, theirs = _joined(header, other, left_names, right_names, "left", told=True)
    common = [one for one, two in zip(left_names, right_names, strict=True) if one == two]
    fields = [*mine, *(theirs[at] for at, label in enumerate(other.proto.columns) if label not in common)]
    made = partners.header(base, fields, proto).with_index()
    # Rows keep the numbers that they have among all rows of a left join.
    alone = Filter(made.base, call("is_null", Column(_MARK)))
    return made.with_(base=alone, proto=made.proto_with_index())


@native("DataFrame", "join", meets=True)
def join(
    header: Header,
    other: Any,
    on: Any = None,
    how: str = "left",
    *,
    sort: bool = False,
    validate: Any = None,
    suffixes: Any = ("", ""),
) -> Header:
    """`left.join(right, on="a")`: a column of the left with the index of the right."""
    if on is None and isinstance(other, list | tuple):
        if sort or validate is not None or tuple(suffixes) != ("", ""):
            raise NotNative("sorted, validated, or with suffixes")
        return index_joins.one_after_the_other(header, other, how)
    if on is None:
        return merge(
            header,
            other,
            how,
            left_index=True,
            right_index=True,
            sort=sort,
            suffixes=suffixes,
            validate=validate,
        )
    return merge(
        header, other, how, left_on=on, right_index=True, sort=sort, suffixes=suffixes, validate=validate
    )


def _by_index(header: Header, other: Header, left_on: Any, how: str, suffixes: Any) -> Header:
    """By a column of the left and the index of the right. Rows keep the labels that they have in the left."""
    names = operands.labels(left_on)
    if how not in ("left", "inner") or len(names) != 1:
        raise NotNative("an index joined otherwise, or by several columns")
    _check_keys(header, header, left_on)
    position = from_pandas(lambda: header.position(names[0]))
    if not other.proto.columns.is_unique or isinstance(other.proto.index, pandas.MultiIndex):
        raise NotNative("labels that several columns have, or an index of several levels")
    proto = partners.shown(
        header,
        other,
        lambda: header.proto.merge(
            other.proto, left_on=left_on, right_index=True, how=how, suffixes=suffixes
        ),
    )
    kind = header.fields[position].computed("join").kind
    mine, theirs = header.fewer_rows().with_index(), other.with_index()
    assert theirs.index is not None
    if (kind, header.dtypes[position]) != (theirs.index[0].kind, other.proto.index.dtype) or kind == "codes":
        raise NotNative("keys of different dtypes, or categories")
    if not operands.has_rows(header):
        raise NotNative("nothing on the left: its index becomes that of the right")
    mine = mine.flattened()
    theirs = partners.renamed_apart(mine, theirs.flattened())
    assert theirs.index is not None
    key = theirs.index[0].expr
    assert isinstance(key, Column)
    base = Join(mine.base, theirs.base, (partners.name(mine.fields[position]),), (key.name,), how)
    kept = list(theirs.fields)
    if how == "left":
        unmatched = all(map(partners.holds_missing, kept)) or partners.any_unmatched(base)
        kept = [partners.optional(field, unmatched) for field in kept]
    made = partners.header(base, [*mine.fields, *kept], proto)
    made.proto.index = header.index_proto()
    return made.with_(index=mine.index)


def _crossed(header: Header, other: Header, suffixes: Any) -> Header:
    """Every row of the left with every row of the right."""
    proto = partners.shown(
        header, other, lambda: header.proto.merge(other.proto, how="cross", suffixes=suffixes)
    )
    mine = header.with_(index=None).flattened()
    theirs = partners.renamed_apart(mine, other.with_(index=None).flattened())
    base = Join(mine.base, theirs.base, (), (), "cross")
    return partners.header(base, [*mine.fields, *theirs.fields], proto)


def _outer(
    header: Header, other: Header, left_on: list[Any], right_on: list[Any], proto: Any, *, told: bool
) -> Header:
    """Rows of both, by their keys in order; those of one key as the left rows lie, then as the right ones do."""
    if left_on != right_on:
        raise NotNative("an outer join by columns of different names")
    mine, theirs = _numbered(header, "left:"), _numbered(other, "right:")
    one = [partners.name(mine.fields[header.position(label)]) for label in left_on]
    two = [partners.name(theirs.fields[other.position(label)]) for label in right_on]
    if any(mine.fields[header.position(label)].kind == "codes" for label in left_on):
        raise NotNative("categories, whose order is their own")
    for field in (*(header.field(label) for label in left_on), *(other.field(label) for label in left_on)):
        if field.missing and kinds.is_nullable(field.kind):
            raise NotNative("keys that may be NA in an outer join")
        if field.missing and field.kind.startswith(("datetime", "duration")):
            raise NotNative("times that are missing come first in an outer join")
    joined = Join(mine.base, theirs.base, tuple(one), tuple(two), "full", ordered=False)
    here, there = Column(mine.base.columns[-1]), Column(theirs.base.columns[-1])
    left_lonely, right_lonely = _any_null(joined, there), _any_null(joined, here)
    keys = {
        label: call("if_else", call("is_null", here), Column(right), Column(left))
        for label, left, right in zip(left_on, one, two, strict=True)
    }
    base = Sort(joined, (*keys.values(), here, there), (False,) * (len(keys) + 2))
    fields = []
    for at, label in enumerate(header.proto.columns):
        field = mine.fields[at]
        if label in keys:
            missing = field.missing or theirs.fields[other.position(label)].missing
            fields.append(Field(keys[label], field.kind, missing))
        else:
            fields.append(partners.optional(field, right_lonely))
    fields += [
        partners.optional(theirs.fields[at], left_lonely)
        for at, label in enumerate(other.proto.columns)
        if label not in keys
    ]
    if told:
        there_only = _code_where(
            call("is_null", here), _CODES["right_only"], Literal(_CODES["both"], "codes")
        )
        fields.append(
            Field(
                _code_where(call("is_null", there), _CODES["left_only"], there_only), "codes", missing=False
            )
        )
    return partners.header(base, fields, proto)


def _numbered(header: Header, prefix: str) -> Header:
    """The header's columns by themselves, under names with this prefix, with the number of each row behind them."""
    flat = header.with_(index=None).flattened(prefix)
    number = fresh_name(f"{prefix}row", flat.base.columns)
    counted = RowNumber(flat.base, number)
    names = (*flat.base.columns, number)
    return flat.with_(base=Project(counted, tuple((one, Column(one)) for one in names)))


def _any_null(node: Node, column: Column) -> bool:
    """Look, now, whether some row has no partner on the side of this row number."""
    return operands.any_row(Filter(node, call("is_null", column)))


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
            not kinds.same_dtype(header.dtypes[mine], other.dtypes[theirs])
            or header.fields[mine].kind != other.fields[theirs].kind
        ):
            raise NotNative("keys of different dtypes")
        header.fields[mine].computed("merge")
    return left, right


def _joined(
    left: Header,
    right: Header,
    left_names: list[Any],
    right_names: list[Any],
    how: str,
    *,
    told: bool = False,
) -> tuple[Node, list[Field], list[Field]]:
    """Join, and give the columns of both. `told`: whether a row of the left has a partner is a column more."""
    mine = left.with_(index=None).flattened()
    theirs = right.with_(index=None).flattened()
    theirs = partners.renamed_apart(mine, theirs)
    if told and how == "left":
        marked = [(name, Column(name)) for name in theirs.base.columns]
        theirs = theirs.with_(base=Project(theirs.base, (*marked, (_MARK, Literal(True, "bool")))))
    left_on = [partners.name(mine.fields[left.position(label)]) for label in left_names]
    right_on = [partners.name(theirs.fields[right.position(label)]) for label in right_names]
    base = Join(mine.base, theirs.base, tuple(left_on), tuple(right_on), how)
    kept = list(theirs.fields)
    if how == "left":
        # A key of the same name is shown once, as the left has it.
        common = {one for one, two in zip(left_names, right_names, strict=True) if one == two}
        shown = [at for at, label in enumerate(right.proto.columns) if label not in common]
        # To look is a join more, and only for what is of another dtype where a row has no partner.
        unmatched = all(partners.holds_missing(kept[at]) for at in shown) or partners.any_unmatched(base)
        for at in shown:
            kept[at] = partners.optional(kept[at], unmatched)
    return base, list(mine.fields), kept
