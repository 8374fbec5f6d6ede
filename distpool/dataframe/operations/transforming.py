"""What a group-by says of each row: a value (`.transform("mean")`, `.cumsum()`), or whether it stays (`.head(n)`)."""

from __future__ import annotations

from typing import Any

import pandas

from distpool.dataframe import kinds
from distpool.dataframe.expressions import Expr, Literal, call, conjunction
from distpool.dataframe.header import Field, Header, NotNative
from distpool.dataframe.natives import native
from distpool.dataframe.operations import operands, windows
from distpool.dataframe.operations.rows import kept
from distpool.dataframe.subjects import Grouping
from distpool.dataframe.windows import over_rows


def _subject(grouping: Grouping) -> tuple[Header, tuple[Expr, ...]]:
    """The columns that are transformed, as a header, and the keys."""
    header = grouping.header
    for key in grouping.keys:
        # A row without a key belongs to no group, and its value is missing.
        if operands.really_missing(header, key):
            raise NotNative("keys that are missing")
    if not header.is_series:
        labels = [label for label, _ in grouping.columns()]
        fields = tuple(field for _, field in grouping.columns())
        if grouping.one_column:
            header = header.with_(fields=fields, proto=header.proto[labels[0]])
        else:
            header = header.with_(fields=fields, proto=header.proto[labels])
    return header, tuple(key.expr for key in grouping.keys)


_KERNELS = ("sum", "mean", "min", "max", "count", "std", "var", "median", "nunique", "first", "last", "size")


@native("DataFrameGroupBy", "transform")
@native("SeriesGroupBy", "transform")
def transform(grouping: Grouping, func: Any, *args: Any, engine: Any = None, **options: Any) -> Header:
    """`transform("mean")`: the aggregate of its group for each row."""
    if args or options or engine is not None or func not in _KERNELS:
        raise NotNative("a function, or arguments for it")
    header, keys = _subject(grouping)
    if func == "size":
        if not header.is_series or kinds.is_nullable(header.fields[0].kind):
            raise NotNative("sizes of a frame, or in an array with NA")
        over, made = over_rows(header, "size", Literal(1), "int64", keys=keys, missing=False)
        return over.with_(fields=(made,), proto=header.proto.astype("object").astype("int64"))

    def make(header: Header, field: Field, dtype: Any) -> tuple[Header, Field, Any]:
        counted = func in ("count", "nunique") and field.kind != "codes" and not kinds.is_nullable(field.kind)
        if field.kind not in ("int64", "float64") and not counted:
            raise NotNative(f"{func} of {field.kind}")
        if func in ("count", "nunique"):
            over, made = over_rows(header, func, field.expr, "int64", keys=keys, missing=False)
            return over, made, "int64"
        kind = "float64" if func in ("mean", "std", "var", "median") else field.kind
        kernel = "sum_float" if func == "sum" and kind == "float64" else func
        options = (1,) if func in ("std", "var") else ()
        over, made = over_rows(
            header,
            kernel,
            operands.cast(field, kind),
            kind,
            options=options,
            keys=keys,
            missing=kinds.can_miss(kind) and func != "sum",
        )
        return over, made, kind

    return windows.each(header, make)


def _register(name: str, run: Any) -> None:
    @native("DataFrameGroupBy", name)
    @native("SeriesGroupBy", name)
    def method(grouping: Grouping, *args: Any, **options: Any) -> Header:
        header, keys = _subject(grouping)
        return run(header, keys, *args, **options)  # type: ignore[no-any-return]


_register("shift", lambda header, keys, periods=1: windows.shifted(header, periods, keys))
_register("diff", lambda header, keys, periods=1: windows.differences(header, periods, keys))
_register("cumsum", lambda header, keys: windows.so_far(header, "cumsum", keys))
_register("cummax", lambda header, keys: windows.so_far(header, "cummax", keys))
_register("cummin", lambda header, keys: windows.so_far(header, "cummin", keys))
_register(
    "rank",
    lambda header, keys, method="average", ascending=True: windows.ranks(header, method, ascending, keys),
)


@native("DataFrameGroupBy", "cumcount")
@native("SeriesGroupBy", "cumcount")
def cumcount(grouping: Grouping, ascending: Any = True) -> Header:
    """The number of each row within its group, from 0, counted from the first or from the last."""
    header, keys = _subject(grouping)
    how = "cumcount" if ascending else "cumcount_back"
    over, made = over_rows(header, how, Literal(1), "int64", keys=keys, missing=False)
    proto = pandas.Series([], dtype="int64", index=header.proto.index)
    return over.with_(fields=(made,), proto=proto)


def _rows_at(grouping: Grouping, n: Any, near: str, far: str) -> Header:
    """Keep rows by their number in their group: fewer than `n` from the near end, or all but `-n` at the far one."""
    if type(n) is not int:
        raise NotNative("a count that is no int")
    header = grouping.header
    if grouping.selects:
        labels = [label for label, _ in grouping.columns()]
        fields = tuple(field for _, field in grouping.columns())
        header = header.with_(fields=fields, proto=header.proto[labels[0] if grouping.one_column else labels])
    keys = tuple(key.expr for key in grouping.keys)
    how = near if n >= 0 else far
    over, number = over_rows(header, how, Literal(1), "int64", keys=keys, missing=False)
    stays: list[Expr] = [call("lt" if n >= 0 else "ge", number.expr, Literal(abs(n), "int64"))]
    if grouping.options["dropna"]:
        # A row without a key belongs to no group.
        stays += [call("is_not_null", key.expr) for key in grouping.keys if key.missing]
    return kept(over, conjunction(stays))


@native("DataFrameGroupBy", "head")
@native("SeriesGroupBy", "head")
def head(grouping: Grouping, n: Any = 5) -> Header:
    """The first rows of each group, or all but the last ones, as they lie in the frame."""
    return _rows_at(grouping, n, near="cumcount", far="cumcount_back")


@native("DataFrameGroupBy", "tail")
@native("SeriesGroupBy", "tail")
def tail(grouping: Grouping, n: Any = 5) -> Header:
    """The last rows of each group, or all but the first ones, as they lie in the frame."""
    return _rows_at(grouping, n, near="cumcount_back", far="cumcount")
