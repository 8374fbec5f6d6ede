"""`Series.str`: the accessor, and what of it is native."""

from __future__ import annotations

from typing import Any

import pandas

from distpool.dataframe import kinds
from distpool.dataframe.expressions import Call, Expr, call
from distpool.dataframe.header import Field, Header, NotNative
from distpool.dataframe.kernels_facts import is_plain_pattern
from distpool.dataframe.natives import native
from distpool.dataframe.operations.operands import really_missing

_NOTHING = pandas.api.extensions.no_default


def _text(header: Header) -> Field:
    if kinds.base(header.fields[0].kind) != "str":
        raise NotNative(f"of {header.proto.dtype}")
    return header.fields[0]


def _answered(header: Header, expr: Expr, proto: Any, wanted: str) -> Header:
    """A result whose dtype the schema tells: where NA is what is missing, it is missing in the result."""
    kind = kinds.kind_of(proto.dtype)
    if kind is None or not kinds.is_nullable(kind):
        raise NotNative(f"a result of {proto.dtype}")
    if kinds.base(kind) != wanted:
        expr = call("cast", expr, options=(kinds.base(kind),))
    return header.with_(fields=(Field(expr, kind, header.fields[0].missing),), proto=proto)


def _test(header: Header, kernel: str, text: Any, na: Any) -> Header:
    field = _text(header)
    if na is not _NOTHING and field.missing:
        raise NotNative("a value for missing ones")
    if not isinstance(text, str):
        raise NotNative("several patterns")
    expr: Expr = Call(kernel, (field.expr,), (text,))
    if kinds.is_nullable(field.kind):
        return _answered(header, expr, header.proto.str.startswith("x"), "bool")
    if field.missing:
        expr = call("is_true", expr)
    return header.with_(fields=(Field(expr, "bool", missing=False),), proto=header.proto.str.startswith("x"))


@native("StringMethods", "startswith")
def startswith(header: Header, pat: Any, na: Any = _NOTHING) -> Header:
    """`s.str.startswith(text)`."""
    return _test(header, "str.startswith", pat, na)


@native("StringMethods", "endswith")
def endswith(header: Header, pat: Any, na: Any = _NOTHING) -> Header:
    """`s.str.endswith(text)`."""
    return _test(header, "str.endswith", pat, na)


@native("StringMethods", "contains")
def contains(
    header: Header, pat: Any, case: bool = True, flags: int = 0, na: Any = _NOTHING, regex: bool = True
) -> Header:
    """`s.str.contains(pattern)`, for patterns that mean the same everywhere."""
    if not isinstance(pat, str) or na is not _NOTHING:
        raise NotNative("a compiled pattern, or a value for missing ones")
    if case and not flags and not regex:
        return _test(header, "str.contains_literal", pat, na)
    if not case or flags or not is_plain_pattern(pat):
        # Engines may read it differently: pandas' own does it.
        options = {"case": case, "flags": int(flags), "regex": regex}
        return _each_by_pandas(header, "contains", (pat,), options, "bool")
    return _test(header, "str.contains", pat, na)


@native("StringMethods", "slice")
def slice_text(header: Header, start: Any = None, stop: Any = None, step: Any = None) -> Header:
    """`s.str.slice(a, b)`, counted from the start."""
    field = _text(header)
    start = start or 0
    if step not in (None, 1) or type(start) is not int or start < 0:
        raise NotNative("a step, or a count from the end")
    if stop is not None and (type(stop) is not int or stop < 0):
        raise NotNative("a count from the end")
    length = None if stop is None else max(0, stop - start)
    expr = Call("str.slice", (field.expr,), (start, length))
    return header.with_(fields=(Field(expr, field.kind, field.missing),))


@native("StringMethods", "__getitem__")
def getitem(header: Header, key: Any) -> Header:
    """`s.str[a:b]`."""
    if not isinstance(key, slice):
        raise NotNative("a single character may not be there")
    return slice_text(header, key.start, key.stop, key.step)


@native("StringMethods", "len")
def length(header: Header) -> Header:
    """`s.str.len()`."""
    field = _text(header)
    if kinds.is_nullable(field.kind):
        return _answered(header, call("str.len", field.expr), header.proto.str.len(), "int64")
    if really_missing(header, field):
        raise NotNative("lengths of missing values are floats")
    return header.with_(
        fields=(Field(call("str.len", field.expr), "int64", missing=False),),
        proto=header.proto.str.len().astype("int64"),
    )


# Each value by itself, with the dtype of the result told by the schema: pandas' own kernel is a step of the plan.
_BY_PANDAS = (
    "capitalize",
    "casefold",
    "center",
    "lower",
    "lstrip",
    "pad",
    "removeprefix",
    "removesuffix",
    "repeat",
    "replace",
    "rstrip",
    "slice_replace",
    "strip",
    "swapcase",
    "title",
    "translate",
    "upper",
    "zfill",
)


_TESTS = (
    *(
        "fullmatch",
        "isalnum",
        "isalpha",
        "isdecimal",
        "isdigit",
        "islower",
        "isnumeric",
        "isspace",
        "istitle",
    ),
    *("isupper", "match"),
)
_MAY_FIND_NOTHING = ("extract", "get")


def _each_by_pandas(header: Header, name: str, args: Any, options: dict[str, Any], kind: str) -> Header:
    field = _text(header)
    if field.kind != "str":
        raise NotNative(f"of {header.proto.dtype}, whose methods have an engine of their own")
    if not all(value is None or type(value) in (str, int, bool) for value in (*args, *options.values())):
        raise NotNative("arguments that are not plain")
    proto = getattr(header.proto.str, name)(*args, **options)
    if kind == "int64" and really_missing(header, field):
        raise NotNative("whole numbers for missing values are floats")
    if not isinstance(proto, pandas.Series) or (kind == "str" and proto.dtype != header.proto.dtype):
        raise NotNative("a result of another dtype")
    expr = Call("str.by_pandas", (field.expr,), (name, args, tuple(sorted(options.items())), kind))
    missing = kind == "str" and (field.missing or name in _MAY_FIND_NOTHING)
    return header.with_(
        fields=(Field(expr, kind, missing),), proto=proto if kind == "str" else proto.astype(kind)
    )


def _register_by_pandas(name: str, kind: str) -> None:
    @native("StringMethods", name)
    def run(header: Header, *args: Any, **options: Any) -> Header:
        if "na" in options or (name in ("match", "fullmatch") and len(args) > 1):
            raise NotNative("a value for missing ones")
        if name == "replace" and any(
            isinstance(one, str) and "\\" in one for one in (*args, *options.values())
        ):
            raise NotNative("references to groups, which may be none: pandas says so at once")
        return _each_by_pandas(header, name, args, options, kind)


for _name in _BY_PANDAS:
    _register_by_pandas(_name, "str")
for _name in ("extract", "get"):
    _register_by_pandas(_name, "str")
for _name in _TESTS:
    _register_by_pandas(_name, "bool")
for _name in ("count", "find", "rfind"):
    _register_by_pandas(_name, "int64")
