"""`pd.merge_asof`: each row with the last (or next) one of another frame. Labels and errors are pandas' own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas

from distpool.dataframe import kinds
from distpool.dataframe.expressions import Column, call
from distpool.dataframe.header import Field, Header, NotNative
from distpool.dataframe.natives import native
from distpool.dataframe.operations import operands, partners
from distpool.dataframe.plan import AsofJoin, Filter


@native("pandas", "merge_asof")
def merge_asof(
    header: Header,
    right: Any,
    on: Any = None,
    left_on: Any = None,
    right_on: Any = None,
    left_index: bool = False,
    right_index: bool = False,
    by: Any = None,
    left_by: Any = None,
    right_by: Any = None,
    suffixes: Any = ("_x", "_y"),
    tolerance: Any = None,
    allow_exact_matches: bool = True,
    direction: str = "backward",
) -> Header:
    """By columns that are in order, backward or forward."""
    from distpool.dataframe.dispatching import header_of

    other = header_of(right)
    if header.is_series or other.is_series or left_index or right_index:
        raise NotNative("by the index, or of a series")
    if direction not in ("backward", "forward") or type(allow_exact_matches) is not bool:
        raise NotNative("the nearest: of two as near pandas takes the one before")
    # Before pandas is asked: an array instead of a label does not fit the empty frames.
    one, two = _labels(on, left_on), _labels(on, right_on)
    ours, theirs = _labels(by, left_by), _labels(by, right_by)
    proto = partners.shown(
        header,
        other,
        lambda: pandas.merge_asof(
            header.proto,
            other.proto,
            on=on,
            left_on=left_on,
            right_on=right_on,
            by=by,
            left_by=left_by,
            right_by=right_by,
            suffixes=suffixes,
            tolerance=tolerance,
            allow_exact_matches=allow_exact_matches,
            direction=direction,
        ),
    )
    if len(one) != 1 or len(two) != 1 or len(ours) != len(theirs):
        raise NotNative("keys that are not one column")
    key = _checked(header, other, one[0], two[0])
    if not (key.kind in kinds.NUMBERS or key.kind.startswith(("datetime", "duration"))):
        raise NotNative(f"as of {key.kind}")
    for left, beside in zip(ours, theirs, strict=True):
        _checked(header, other, left, beside)
        if any(
            operands.really_missing(side, side.field(at)) for side, at in ((header, left), (other, beside))
        ):
            raise NotNative("missing values to match by")
    mine = header.with_(index=None).flattened()
    beside_ = partners.renamed_apart(mine, other.with_(index=None).flattened())
    base = AsofJoin(
        mine.base,
        beside_.base,
        partners.name(mine.fields[header.position(one[0])]),
        partners.name(beside_.fields[other.position(two[0])]),
        tuple(partners.name(mine.fields[header.position(label)]) for label in ours),
        tuple(partners.name(beside_.fields[other.position(label)]) for label in theirs),
        direction,
        _ticks(tolerance, header.dtypes[header.position(one[0])], key.kind),
        allow_exact_matches,
    )
    common = {left for left, also in zip([*one, *ours], [*two, *theirs], strict=True) if left == also}
    kept = [(at, beside_.fields[at]) for at, label in enumerate(other.proto.columns) if label not in common]
    # Whole numbers become floats if a row has no partner, which only the join tells: then it is made to look.
    lonely = all(partners.holds_missing(field) for _, field in kept) or _any_without(base)
    made = [partners.optional(field, lonely) for _, field in kept]
    return partners.header(base, [*mine.fields, *made], proto)


def _any_without(base: AsofJoin) -> bool:
    """Look, now, whether a row has no partner: those have the column by which they are compared."""
    found = call("is_null", Column(base.right_on))
    return operands.any_row(Filter(base, found))


def _labels(both: Any, own: Any) -> list[Any]:
    chosen = own if both is None else both
    labels = [] if chosen is None else operands.labels(chosen)
    if not all(isinstance(label, str | int) for label in labels):
        raise NotNative("keys that are no labels")
    return labels


def _checked(header: Header, other: Header, left: Any, right: Any) -> Field:
    for side, label in ((header, left), (other, right)):
        if label in side.proto.index.names:
            raise NotNative("by a level of the index")
        if not side.proto.columns.is_unique:
            raise NotNative("labels that several columns have")
    mine, theirs = header.field(left), other.field(right)
    if mine.kind != theirs.kind or mine.kind == "codes" or kinds.is_nullable(mine.kind):
        raise NotNative("keys of different dtypes, categories, or with NA")
    if not kinds.same_dtype(header.dtypes[header.position(left)], other.dtypes[other.position(right)]):
        raise NotNative("keys of different dtypes")
    return mine


def _ticks(tolerance: Any, dtype: Any, kind: str) -> int | None:
    """How far a partner may be, in ticks of Polars."""
    if tolerance is None:
        return None
    if kind in kinds.INTEGERS and type(tolerance) is int:
        return tolerance
    if not kind.startswith(("datetime", "duration")):
        raise NotNative("a tolerance among floats")
    unit = dtype.unit if isinstance(dtype, pandas.DatetimeTZDtype) else np.datetime_data(dtype)[0]
    span = pandas.Timedelta(tolerance)
    ticks = span.as_unit(unit)
    if ticks != span:
        raise NotNative("a tolerance between two ticks")
    return int(ticks._value) * (1000 if unit == "s" else 1)
