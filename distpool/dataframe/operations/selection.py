"""Which columns: selecting, setting, renaming, dropping; and the index as a column."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas
from pandas.api.types import is_hashable, is_list_like, is_scalar

from distpool.dataframe import kinds, origins
from distpool.dataframe.expressions import call
from distpool.dataframe.header import Field, Header, NotNative, empty_index, from_pandas
from distpool.dataframe.natives import native
from distpool.dataframe.operations import operands
from distpool.dataframe.operations.rows import filtered, sliced


def positions(header: Header, select: Any) -> list[int]:
    """Find which columns a selection of pandas keeps, and in which order, by trying it on their numbers."""
    labels = header.proto.columns
    numbers = pandas.DataFrame([range(len(labels))], columns=labels)
    return [int(number) for number in from_pandas(lambda: select(numbers)).to_numpy()[0]]


def columns_kept(header: Header, select: Any) -> Header:
    """Apply a method of pandas that only selects or reorders columns."""
    kept = positions(header, select)
    if not kept:
        raise NotNative("no column is left")
    proto = from_pandas(lambda: select(header.proto))
    return header.with_(fields=tuple(header.fields[at] for at in kept), proto=proto)


@native("DataFrame", "__getitem__")
def getitem(header: Header, key: Any) -> Header:
    """`df["a"]`, `df[["a", "b"]]`, `df[mask]`, `df[:10]`."""
    if isinstance(key, slice):
        return sliced(header, key)
    if operands.is_series(key):
        return filtered(header, key)
    if callable(key) or isinstance(key, Iterator):
        raise NotNative("a key that pandas asks, which it may do only once")
    if is_hashable(key) and not is_list_like(key):  # which an index' `names` are as well, and a tuple
        return header.column(from_pandas(lambda: header.position(key)))
    if isinstance(key, list) and key and not isinstance(key[0], bool):
        return columns_kept(header, lambda frame: frame[key])
    raise NotNative(f"a key of {type(key).__name__}")


@native("DataFrame", "get")
def get(header: Header, key: Any, default: Any = None) -> Header:
    """`df.get("a")`, for a column that is there."""
    if not is_scalar(key) or key not in header.proto.columns:
        raise NotNative("no such column")
    return header.column(header.position(key))


@native("DataFrame", "__setitem__", mutates=True)
def setitem(header: Header, key: Any, value: Any) -> Header:
    """`df["a"] = series or scalar`."""
    if not is_hashable(key) or is_list_like(key) or isinstance(header.proto.columns, pandas.MultiIndex):
        raise NotNative(f"a key of {type(key).__name__}")
    if operands.is_series(value):
        header, beside = operands.beside(header, value)
        field, empty = beside.fields[0], beside.proto
    elif is_scalar(value):
        proto = header.proto.copy(deep=False)
        proto[key] = value
        empty = _as_if_filled(value)
        kind = kinds.kind_of(empty.dtype)
        if kind is None:
            raise NotNative(f"a {type(value).__name__}")
        field = Field(operands.scalar(value, kind, empty.dtype), kind, missing=False)
    else:
        raise NotNative(f"a {type(value).__name__}")
    proto = header.proto.copy(deep=False)
    proto[key] = empty.set_axis(proto.index)
    at = proto.columns.get_loc(key)
    if not isinstance(at, int):
        raise NotNative("a label that several columns have")
    fields = list(header.fields)
    fields[at : at + 1] = [field]
    return header.with_(fields=tuple(fields), proto=proto)


def _as_if_filled(value: Any) -> Any:
    """The empty series of the dtype that a column has when a scalar is put into it."""
    frame = pandas.DataFrame({"row": [0]})
    frame["value"] = value
    return frame["value"].iloc[:0]


@native("DataFrame", "assign", traced=True)
def assign(header: Header, **columns: Any) -> Header:
    """`df.assign(a=series, b=function)`."""
    from distpool.dataframe.dispatching import wrap

    for name, value in columns.items():
        if callable(value):
            value = value(wrap(header))
        made = setitem(header, name, value)
        # Each column by itself: what was a function is not called again.
        header = origins.with_origin(
            made, "DataFrame.assign", pandas.DataFrame.assign, (header,), {name: value}
        )
    return header


@native("DataFrame", "drop")
def drop(
    header: Header,
    labels: Any = None,
    *,
    axis: Any = 0,
    index: Any = None,
    columns: Any = None,
    level: Any = None,
    inplace: bool = False,
    errors: str = "raise",
) -> Header:
    """`df.drop(columns=...)`."""
    if labels is not None and axis in (1, "columns"):
        columns, labels = labels, None
    if labels is not None or index is not None or columns is None or level is not None:
        raise NotNative("rows by their labels")
    return columns_kept(header, lambda frame: frame.drop(columns=columns, errors=errors))


@native("DataFrame", "rename")
def rename(
    header: Header,
    mapper: Any = None,
    *,
    index: Any = None,
    columns: Any = None,
    axis: Any = None,
    copy: Any = None,
    inplace: bool = False,
    level: Any = None,
    errors: str = "ignore",
) -> Header:
    """`df.rename(columns=...)`."""
    if mapper is not None and axis in (1, "columns") and columns is None:
        columns, mapper, axis = mapper, None, None
    if mapper is not None or axis is not None or index is not None or level is not None or columns is None:
        raise NotNative("labels of rows")
    return header.with_(proto=from_pandas(lambda: header.proto.rename(columns=columns, errors=errors)))


@native("Series", "rename")
def rename_series(header: Header, index: Any = None, **options: Any) -> Header:
    """`s.rename("name")`."""
    if options or not (is_scalar(index) or index is None):
        raise NotNative("labels of rows")
    return header.with_(proto=header.proto.rename(index))


@native("DataFrame", "rename_axis")
@native("Series", "rename_axis")
def rename_axis(header: Header, mapper: Any = pandas.api.extensions.no_default, **options: Any) -> Header:
    """`df.rename_axis("name")`: names of the index and of the columns are no rows."""
    return header.with_(proto=header.proto.rename_axis(mapper, **options))


@native("DataFrame", "copy")
@native("Series", "copy")
def copy(header: Header, deep: bool = True) -> Header:
    """A copy needs no rows: what a header says never changes."""
    return header


@native("Series", "to_frame")
def to_frame(header: Header, name: Any = pandas.api.extensions.no_default) -> Header:
    """`s.to_frame("name")`."""
    return header.with_(proto=header.proto.to_frame(name))


@native("DataFrame", "filter")
def filter_columns(
    header: Header, items: Any = None, like: Any = None, regex: Any = None, axis: Any = None
) -> Header:
    """`df.filter(items=..., like=..., regex=...)` of columns."""
    if axis not in (None, 1, "columns"):
        raise NotNative("rows by their labels")
    return columns_kept(header, lambda frame: frame.filter(items=items, like=like, regex=regex))


@native("DataFrame", "select_dtypes")
def select_dtypes(header: Header, include: Any = None, exclude: Any = None) -> Header:
    """`df.select_dtypes(...)`."""
    proto = header.proto.copy(deep=False)
    proto.columns = range(len(header.fields))
    kept = list(proto.select_dtypes(include=include, exclude=exclude).columns)
    if not kept:
        raise NotNative("no column is left")
    return header.with_(fields=tuple(header.fields[at] for at in kept), proto=header.proto.iloc[:, kept])


@native("DataFrame", "reset_index")
def reset_index(
    header: Header,
    level: Any = None,
    *,
    drop: bool = False,
    inplace: bool = False,
    col_level: Any = 0,
    col_fill: Any = "",
    allow_duplicates: bool = False,
    names: Any = None,
) -> Header:
    """The index becomes columns, or goes; the default one takes its place and costs nothing."""
    if level is not None:
        raise NotNative("some levels only")
    if drop:
        return header.with_(index=None, proto=header.proto.reset_index(drop=True))
    if isinstance(header.proto.columns, pandas.MultiIndex):
        raise NotNative("columns of several levels")
    numbered = header.with_typed_index().with_index()
    proto = numbered.proto_with_index()
    made = proto.reset_index(names=names, allow_duplicates=allow_duplicates)
    assert numbered.index is not None
    return numbered.with_(fields=numbered.index + numbered.fields, index=None, proto=made)


@native("Series", "reset_index")
def reset_index_series(
    header: Header,
    level: Any = None,
    *,
    drop: bool = False,
    name: Any = pandas.api.extensions.no_default,
    inplace: bool = False,
    allow_duplicates: bool = False,
) -> Header:
    """The same for a Series, which becomes a frame."""
    if level is not None:
        raise NotNative("some levels only")
    if drop:
        return header.with_(index=None, proto=header.proto.reset_index(drop=True))
    numbered = header.with_typed_index().with_index()
    made = numbered.proto_with_index().reset_index(name=name, allow_duplicates=allow_duplicates)
    assert numbered.index is not None
    return numbered.with_(fields=numbered.index + numbered.fields, index=None, proto=made)


@native("DataFrame", "set_index")
def set_index(
    header: Header,
    keys: Any,
    *,
    drop: bool = True,
    append: bool = False,
    inplace: bool = False,
    verify_integrity: bool = False,
) -> Header:
    """Columns become the index."""
    names = operands.labels(keys)
    if not isinstance(keys, list | str | int) or not all(isinstance(name, str | int) for name in names):
        raise NotNative("by values, or by labels that may be some")
    if append or verify_integrity or not all(is_hashable(name) for name in names):
        raise NotNative("arrays, appending or verifying")
    at = [from_pandas(lambda name=name: header.position(name)) for name in names]  # type: ignore[misc]
    proto = from_pandas(lambda: header.proto.set_index(keys, drop=drop))
    if any(header.fields[where].kind in kinds.INTEGERS - {"int64"} for where in at):
        raise NotNative("whole numbers in even steps become a range, of int64")
    proto.index = empty_index([header.dtypes[where] for where in at], names)
    kept = [field for where, field in enumerate(header.fields) if not drop or where not in at]
    if not kept:
        raise NotNative("no column is left")
    return header.with_(fields=tuple(kept), index=tuple(header.fields[where] for where in at), proto=proto)


@native("DataFrame", "astype")
@native("Series", "astype")
def astype(header: Header, dtype: Any, copy: Any = None, errors: str = "raise") -> Header:
    """Between dtypes where no value can be lost or refused."""
    if errors != "raise":
        raise NotNative("errors are ignored")
    for one in dtype.values() if isinstance(dtype, dict) else [dtype]:
        of_numpy = isinstance(one, type) and issubclass(one, np.str_ | np.bytes_)
        if of_numpy or getattr(one, "kind", None) in ("U", "S"):
            raise NotNative("numpy's texts, which become objects")
    proto = from_pandas(lambda: header.proto.astype(dtype))
    before, after = header.dtypes, [proto.dtype] if header.is_series else list(proto.dtypes)
    fields = [
        field if one == two else _converted(header, field, one, two)
        for field, one, two in zip(header.fields, before, after, strict=True)
    ]
    return header.with_(fields=tuple(fields), proto=proto)


def _all_whole(header: Header, field: Field) -> bool:
    """Look whether each value has a whole number: pandas says at once which has none."""
    return not operands.any_true(header, call("not", call("is_true", call("fits_int64", field.expr))))


def _to_or_from_nullable(header: Header, field: Field, kind: str) -> Field:
    """Into an array with a mask or of Arrow's, out of one, or from one to another: the same value, or a wider one."""
    one, two = kinds.base(field.kind), kinds.base(kind)
    small = kinds.INTEGERS - {"uint64", "int64"}
    same = one == two and one in kinds.NUMBERS | {"bool", "str"}
    widens = (one in small and two == "int64") or (one in {*small, "int64"} and two == "float64")
    if not (same or widens) or (one == "int64" and two == "float64" and "pa:" in (field.kind[:3], kind[:3])):
        raise NotNative(f"from {field.kind} to {kind}")
    if field.missing and not kinds.can_miss(kind) and operands.really_missing(header, field):
        raise NotNative("missing values become what cannot miss")
    if field.missing and "pa:" in (field.kind[:3], kind[:3]) and field.kind[:3] != kind[:3]:
        # What Arrow's arrays make of it hangs on where they come from.
        raise NotNative("missing values from one kind of array to another")
    return dataclasses.replace(
        field, expr=operands.cast(field, two), kind=kind, missing=field.missing and kinds.can_miss(kind)
    )


def _converted(header: Header, field: Field, before: Any, after: Any) -> Field:
    kind = kinds.kind_of(after)
    if kind is None or not (kinds.is_plain(after) and kinds.is_plain(before)):
        raise NotNative(f"from {before} to {after}")
    if field.kind.startswith("arrow:decimal") and kind == "float64" and not field.missing:
        return Field(call("from_decimal", field.expr), kind, missing=False)
    field.computed("astype")
    if kinds.is_nullable(kind) or kinds.is_nullable(field.kind):
        return _to_or_from_nullable(header, field, kind)
    whole = kinds.INTEGERS | {"bool"}
    widens = (
        (field.kind in whole and kind in ("float64", "int64") and field.kind != "uint64")
        or (field.kind == "float32" and kind == "float64")
        or (field.kind in kinds.INTEGERS and kind == "str")
        # What does not fit fails the plan, and pandas does what it does with it.
        or (field.kind in kinds.INTEGERS and kind in kinds.INTEGERS)
        or (field.kind == "float64" and kind == "int64" and _all_whole(header, field))
    )
    if not widens:
        raise NotNative(f"from {before} to {after}")
    return dataclasses.replace(field, expr=operands.cast(field, kind), kind=kind)
