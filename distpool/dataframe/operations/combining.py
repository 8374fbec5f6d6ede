"""Frames below each other."""

from __future__ import annotations

from typing import Any

import pandas

from distpool.dataframe import kinds
from distpool.dataframe.header import Header, NotNative
from distpool.dataframe.natives import native
from distpool.dataframe.plan import Concat, Project


@native("pandas", "concat")
def concat(objs: Any, *, axis: Any = 0, ignore_index: bool = False, **options: Any) -> Header:
    """`pd.concat([a, b])` of frames with the same columns and dtypes."""
    from distpool.dataframe.dispatching import header_of

    if axis not in (0, "index") or options or not isinstance(objs, list | tuple) or not objs:
        raise NotNative("columns beside each other, keys, or other options")
    headers = [header_of(one) for one in objs]
    first = headers[0]
    for header in headers:
        same = header.is_series == first.is_series and len(header.dtypes) == len(first.dtypes)
        same = same and all(map(kinds.same_dtype, header.dtypes, first.dtypes))
        if not same or [field.kind for field in header.fields] != [field.kind for field in first.fields]:
            raise NotNative("columns of different dtypes")
        if not header.is_series and not header.proto.columns.equals(first.proto.columns):
            raise NotNative("different columns")
        if any(field.kind.startswith("arrow:rows") for field in header.fields):
            raise NotNative("columns of Python objects")
    if not ignore_index:
        headers = [header.with_typed_index().with_index() for header in headers]
        levels = [_levels(header) for header in headers]
        if not all(_same_levels(level, levels[0]) for level in levels):
            raise NotNative("indexes of different dtypes or names")
    else:
        headers = [header.with_(index=None) for header in headers]
    protos = [header.proto if ignore_index else header.proto_with_index() for header in headers]
    proto = pandas.concat(protos, ignore_index=ignore_index)
    flat = [header.flattened() for header in headers]
    names = flat[0].base.columns
    parts = []
    for one in flat:
        assert isinstance(one.base, Project)
        items = zip(names, (expr for _, expr in one.base.items), strict=True)
        parts.append(Project(one.base.input, tuple(items)))
    return flat[0].with_(base=Concat(tuple(parts)), fields=_missing(flat), proto=proto)


def _levels(header: Header) -> list[tuple[Any, Any]]:
    index = header.index_proto()
    dtypes = list(index.dtypes) if isinstance(index, pandas.MultiIndex) else [index.dtype]
    return list(zip(index.names, dtypes, strict=True))


def _same_levels(one: list[tuple[Any, Any]], two: list[tuple[Any, Any]]) -> bool:
    return len(one) == len(two) and all(
        name == other and kinds.same_dtype(dtype, another)
        for (name, dtype), (other, another) in zip(one, two, strict=True)
    )


def _missing(headers: list[Header]) -> Any:
    from dataclasses import replace

    columns = zip(*(header.fields for header in headers), strict=True)
    return tuple(replace(fields[0], missing=any(field.missing for field in fields)) for fields in columns)
