"""Which rows, in which order: filters, slices, sorting, duplicates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas

from distpool.dataframe import kinds
from distpool.dataframe.expressions import Column
from distpool.dataframe.header import Header, NotNative, from_pandas
from distpool.dataframe.natives import native
from distpool.dataframe.operations import operands
from distpool.dataframe.plan import Distinct, Filter, Slice, Sort


def filtered(header: Header, mask: Any) -> Header:
    """Keep the rows where the mask is true, with their labels."""
    header, beside = operands.beside(header, mask)
    if kinds.base(beside.fields[0].kind) != "bool":
        raise NotNative("a mask that is not boolean")
    return kept(header, beside.fields[0].expr)


def kept(header: Header, predicate: Any) -> Header:
    """Keep the rows for which an expression is true, with their labels."""
    numbered = header.fewer_rows().with_index()
    return numbered.with_(base=Filter(numbered.base, predicate), proto=numbered.proto_with_index())


def sliced(header: Header, key: slice) -> Header:
    """`df[a:b]` by positions, for whole numbers."""
    start, stop, step = key.start, key.stop, key.step
    if step not in (None, 1) or not all(part is None or type(part) is int for part in (start, stop)):
        raise NotNative("a slice by labels or with a step")
    start = start or 0
    if start < 0 and stop is None:
        return last(header, -start)
    if start < 0 or (stop is not None and stop < 0):
        raise NotNative("a slice that counts from the end")
    if start == 0 and stop is not None:
        return head(header, stop)
    numbered = header.fewer_rows().with_index()
    length = None if stop is None else max(0, stop - start)
    return numbered.with_(base=Slice(numbered.base, start, length), proto=numbered.proto_with_index())


def last(header: Header, count: int) -> Header:
    """The last rows, with their labels."""
    numbered = header.fewer_rows().with_index()
    if count == 0:
        return numbered.with_(base=Slice(numbered.base, 0, 0), proto=numbered.proto_with_index())
    return numbered.with_(base=Slice(numbered.base, -count, count), proto=numbered.proto_with_index())


@native("Series", "__getitem__")
def getitem(header: Header, key: Any) -> Header:
    """`s[mask]`."""
    if operands.is_series(key):
        return filtered(header, key)
    raise NotNative(f"a key of {type(key).__name__}")


@native("DataFrame", "head")
@native("Series", "head")
def head(header: Header, n: int = 5) -> Header:
    """The first rows."""
    if type(n) is not int or n < 0:
        raise NotNative("a count from the end")
    return header.fewer_rows().with_(base=Slice(header.base, 0, n))


@native("DataFrame", "tail")
@native("Series", "tail")
def tail(header: Header, n: int = 5) -> Header:
    """The last rows."""
    if type(n) is not int or n < 0:
        raise NotNative("a count from the start")
    return last(header, n)


@native("DataFrame", "sort_values")
def sort_values(
    header: Header,
    by: Any,
    *,
    axis: Any = 0,
    ascending: Any = True,
    inplace: bool = False,
    kind: str = "quicksort",
    na_position: str = "last",
    ignore_index: bool = False,
    key: Any = None,
) -> Header:
    """By one column or several."""
    names, header = operands.labels(by), header.grounded()
    if axis not in (0, "index") or key is not None or not names:
        raise NotNative("another axis, or a key function")
    fields = [from_pandas(lambda name=name: header.key(name)) for name in names]  # type: ignore[misc]
    return _sort(header, fields, ascending, kind, na_position, ignore_index)


@native("Series", "sort_values")
def sort_series(
    header: Header,
    *,
    axis: Any = 0,
    ascending: Any = True,
    inplace: bool = False,
    kind: str = "quicksort",
    na_position: str = "last",
    ignore_index: bool = False,
    key: Any = None,
) -> Header:
    """By its values."""
    if axis not in (0, "index") or key is not None:
        raise NotNative("another axis, or a key function")
    header = header.grounded()
    field = header.fields[0].computed("sort_values")
    return _sort(header, [field], ascending, kind, na_position, ignore_index)


def _sort(
    header: Header, fields: list[Any], ascending: Any, kind: str, na_position: str, ignore_index: bool
) -> Header:
    if na_position not in ("first", "last"):
        raise NotNative("an unknown na_position")
    many = isinstance(ascending, list | tuple)
    directions = list(ascending) if many else [ascending] * len(fields)
    if len(directions) != len(fields) or not all(isinstance(up, bool | np.bool_) for up in directions):
        raise NotNative("directions that do not fit")
    # Arrow's sort is stable, whatever it is asked for.
    settled = len(fields) > 1 or kind in ("stable", "mergesort") or fields[0].kind.startswith("pa:")
    if not settled and fields[0].kind == "codes":
        raise NotNative("ties of categories by an unstable sort")
    if not settled and fields[0].kind == "na:str":
        raise NotNative("ties of texts in arrays of several kinds")
    numbered = header if ignore_index else header.with_index()
    base = Sort(
        numbered.base,
        tuple(field.expr for field in fields),
        tuple(not up for up in directions),
        nulls_last=na_position == "last",
        settled=settled,
    )
    if ignore_index:
        return header.with_(base=base, index=None, proto=header.proto.reset_index(drop=True))
    return numbered.with_(base=base, proto=numbered.proto_with_index())


@native("DataFrame", "drop_duplicates", heavy=True)
def drop_duplicates(
    header: Header,
    subset: Any = None,
    *,
    keep: Any = "first",
    inplace: bool = False,
    ignore_index: bool = False,
) -> Header:
    """One row for each value of the columns."""
    if keep not in ("first", "last"):
        raise NotNative("no row of several")
    if type(ignore_index) is not bool or isinstance(subset, tuple):
        raise NotNative("a tuple, which is a label or several")
    names = list(header.proto.columns) if subset is None else operands.labels(subset)
    operands.require_columns(header, names, pandas.Index)
    at = [from_pandas(lambda name=name: header.position(name)) for name in names]  # type: ignore[misc]
    return _distinct(header, at, keep, ignore_index)


@native("Series", "drop_duplicates", heavy=True)
def drop_duplicates_series(
    header: Header, *, keep: Any = "first", inplace: bool = False, ignore_index: bool = False
) -> Header:
    """One row for each value."""
    if keep not in ("first", "last"):
        raise NotNative("no row of several")
    return _distinct(header, [0], keep, ignore_index)


def _distinct(header: Header, at: list[int], keep: str, ignore_index: bool) -> Header:
    for where in at:
        header.fields[where].computed("drop_duplicates")
    if ignore_index and header.index is not None:
        raise NotNative("an empty frame would keep its index")
    flat = (header if ignore_index else header.fewer_rows().with_index()).flattened()
    subset = tuple(dict.fromkeys(_column_name(flat.fields[where].expr) for where in at))
    base = Distinct(flat.base, subset, keep)
    if ignore_index:
        return flat.with_(base=base, index=None, proto=header.proto.reset_index(drop=True))
    return flat.with_(base=base, proto=flat.proto_with_index())


def _column_name(expr: Any) -> str:
    assert isinstance(expr, Column)
    return expr.name
