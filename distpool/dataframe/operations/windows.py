"""What hangs on rows before and after: shifts, differences, sums so far, ranks, filling, moving windows.

Whole numbers become floats where pandas makes a hole. Of no rows pandas makes other dtypes, so it is looked whether
there is one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pandas

from distpool.dataframe import kinds
from distpool.dataframe.expressions import Expr, call
from distpool.dataframe.header import Field, Header, NotNative
from distpool.dataframe.natives import native
from distpool.dataframe.operations import operands
from distpool.dataframe.subjects import RollingSubject
from distpool.dataframe.windows import over_rows

_NOTHING = pandas.api.extensions.no_default
Keys = tuple[Expr, ...]


def each(header: Header, make: Callable[[Header, Field, Any], tuple[Header, Field, Any]]) -> Header:
    """Apply a window to each column: `make` gives the header over it, the new field and its dtype."""
    if not header.is_series and not header.proto.columns.is_unique:
        raise NotNative("labels that several columns have")
    fields, dtypes = [], []
    for field, dtype in zip(header.fields, header.dtypes, strict=True):
        header, made, kind = make(header, field.computed("a window"), dtype)
        fields.append(made)
        dtypes.append(kind)
    index = header.proto.index
    empty = [pandas.Series([], dtype=dtype, index=index) for dtype in dtypes]
    if header.is_series:
        proto = empty[0].rename(header.proto.name).__finalize__(header.proto)
    else:
        proto = pandas.DataFrame(dict(enumerate(empty)), index=index).__finalize__(header.proto)
        proto.columns = header.proto.columns
    return header.with_(fields=tuple(fields), proto=proto)


def floating(field: Field) -> tuple[Expr, str]:
    """The values as floats, as pandas makes them where there may be a hole."""
    if field.kind in ("float32", "float64"):
        return field.expr, field.kind
    if field.kind in kinds.INTEGERS:
        return operands.cast(field, "float64"), "float64"
    raise NotNative(f"holes in {field.kind}")


def _shiftable(field: Field) -> tuple[Expr, str]:
    return floating(field) if not kinds.can_miss(field.kind) else (field.expr, field.kind)


def shifted(header: Header, periods: Any, keys: Keys = ()) -> Header:
    """Each value some rows further down (or up)."""
    header = header.grounded()
    if type(periods) is not int or not operands.has_rows(header):
        raise NotNative("a list of periods, or no rows")
    if periods == 0:
        return header

    def make(header: Header, field: Field, dtype: Any) -> tuple[Header, Field, Any]:
        value, kind = _shiftable(field)
        over, made = over_rows(header, "shift", value, kind, options=(periods,), keys=keys)
        return over, made, dtype if kind == field.kind else kind

    return each(header, make)


def differences(header: Header, periods: Any, keys: Keys = ()) -> Header:
    """Each value less that of some rows before."""
    header = header.grounded()
    if type(periods) is not int or not operands.has_rows(header):
        raise NotNative("no rows, or periods that are no number")

    def make(header: Header, field: Field, dtype: Any) -> tuple[Header, Field, Any]:
        if field.kind in ("int8", "int16"):
            raise NotNative("differences of small integers are of float32")
        if field.kind.startswith("datetime") and kinds.is_plain(dtype):
            over, before = over_rows(header, "shift", field.expr, field.kind, options=(periods,), keys=keys)
            kind = f"duration{field.kind[8:]}"
            return over, Field(call("sub", field.expr, before.expr), kind, True), f"m8[{field.kind[9:-1]}]"
        if field.kind in kinds.INTEGERS:
            # Floats of the differences, not differences of floats: those are rounded.
            if field.kind != "int64":
                raise NotNative(f"differences of {field.kind}")
            over, before = over_rows(header, "shift", field.expr, "int64", options=(periods,), keys=keys)
            less = call("sub", field.expr, before.expr)
            return over, Field(call("cast", less, options=("float64",)), "float64", True), "float64"
        value, kind = floating(field)
        over, before = over_rows(header, "shift", value, kind, options=(periods,), keys=keys)
        return over, Field(call("sub_float", value, before.expr), kind, True), kind

    return each(header, make)


def changes(header: Header, periods: Any, keys: Keys = ()) -> Header:
    """Each value as a share of that of some rows before, less one."""
    header = header.grounded()
    if type(periods) is not int or not operands.has_rows(header):
        raise NotNative("no rows, or periods that are no number")

    def make(header: Header, field: Field, dtype: Any) -> tuple[Header, Field, Any]:
        value, kind = floating(field)
        if kind != "float64":
            raise NotNative("float32")
        over, before = over_rows(header, "shift", value, kind, options=(periods,), keys=keys)
        share = call("truediv", value, before.expr)
        return over, Field(call("sub", share, operands.scalar(1, kind, None)), kind, True), kind

    return each(header, make)


def so_far(header: Header, how: str, keys: Keys = ()) -> Header:
    """`cumsum`, `cummax`, `cummin`."""

    def make(header: Header, field: Field, dtype: Any) -> tuple[Header, Field, Any]:
        if field.kind not in ("int64", "float64", "na:int64", "na:float64") and not (
            how == "cumsum" and field.kind == "bool" and not keys
        ):
            raise NotNative(f"{how} of {field.kind}")
        kind = "int64" if field.kind == "bool" else field.kind
        kernel = how
        if how == "cumsum" and kinds.base(kind) == "float64":
            kernel = "cumsum_of_group" if keys else "cumsum_float"
        over, made = over_rows(
            header, kernel, operands.cast(field, kind), kind, keys=keys, missing=field.missing
        )
        return over, made, dtype if kinds.is_nullable(kind) else kind

    return each(header.grounded(), make)


_METHODS = {"average": "average", "min": "min", "max": "max", "dense": "dense", "first": "ordinal"}


def ranks(header: Header, method: Any, ascending: Any, keys: Keys = ()) -> Header:
    """The place of each value among all."""
    if method not in _METHODS or type(ascending) is not bool or (method == "first" and not ascending):
        raise NotNative("this way of ranking")

    def make(header: Header, field: Field, dtype: Any) -> tuple[Header, Field, Any]:
        if field.kind not in kinds.NUMBERS or (keys and field.missing):
            raise NotNative(f"ranks of {field.kind}")
        options = (_METHODS[method], not ascending)
        over, made = over_rows(header, "rank", field.expr, "float64", options=options, keys=keys)
        return over, replace(made, missing=field.missing), "float64"

    return each(header.grounded(), make)


@native("Series", "shift")
@native("DataFrame", "shift")
def shift(
    header: Header,
    periods: Any = 1,
    freq: Any = None,
    axis: Any = 0,
    fill_value: Any = _NOTHING,
    suffix: Any = None,
) -> Header:
    """`s.shift(1)`."""
    if freq is not None or axis not in (0, "index") or fill_value is not _NOTHING or suffix is not None:
        raise NotNative("a frequency, another axis, or a fill value")
    return shifted(header, periods)


@native("Series", "diff")
@native("DataFrame", "diff")
def diff(header: Header, periods: Any = 1, axis: Any = 0) -> Header:
    """`s.diff()`."""
    if axis not in (0, "index"):
        raise NotNative("another axis")
    return differences(header, periods)


@native("Series", "pct_change")
@native("DataFrame", "pct_change")
def pct_change(header: Header, periods: Any = 1, fill_method: Any = None, freq: Any = None) -> Header:
    """`s.pct_change()`."""
    if fill_method is not None or freq is not None:
        raise NotNative("filling, or a frequency")
    return changes(header, periods)


def _register_so_far(name: str) -> None:
    @native("Series", name)
    @native("DataFrame", name)
    def run(header: Header, axis: Any = 0, skipna: Any = True) -> Header:
        if axis not in (0, "index", None) or skipna is not True or (axis is None and not header.is_series):
            raise NotNative("another axis, or missing values that spread")
        return so_far(header, name)


for _name in ("cumsum", "cummax", "cummin"):
    _register_so_far(_name)


@native("Series", "rank")
@native("DataFrame", "rank")
def rank(
    header: Header,
    axis: Any = 0,
    method: Any = "average",
    numeric_only: Any = False,
    na_option: Any = "keep",
    ascending: Any = True,
    pct: Any = False,
) -> Header:
    """`s.rank()`."""
    if axis not in (0, "index") or numeric_only is not False or na_option != "keep" or pct:
        raise NotNative("another axis, shares, or places for missing values")
    return ranks(header, method, ascending)


def _register_filling(name: str, kernel: str) -> None:
    @native("Series", name)
    @native("DataFrame", name)
    def run(
        header: Header, *, axis: Any = None, inplace: Any = False, limit: Any = None, limit_area: Any = None
    ) -> Header:
        if (
            axis not in (None, 0, "index")
            or limit_area is not None
            or not (limit is None or type(limit) is int)
        ):
            raise NotNative("another axis, or an area")

        def make(header: Header, field: Field, dtype: Any) -> tuple[Header, Field, Any]:
            if not field.missing:
                return header, field, dtype
            over, made = over_rows(header, kernel, field.expr, field.kind, options=(limit,))
            return over, made, dtype

        return each(header.grounded(), make)


_register_filling("ffill", "forward")
_register_filling("bfill", "backward")


@native("Series", "rolling")
@native("DataFrame", "rolling")
def rolling(
    header: Header,
    window: Any,
    min_periods: Any = None,
    center: Any = False,
    win_type: Any = None,
    on: Any = None,
    closed: Any = None,
    step: Any = None,
    method: Any = "single",
) -> RollingSubject:
    """`s.rolling(7)`: of a number of rows."""
    if type(window) is not int or window < 1 or type(center) is not bool:
        raise NotNative("a window that is no number of rows")
    if win_type is not None or on is not None or closed is not None or step is not None or method != "single":
        raise NotNative("a weighted window, or one by time")
    if not (min_periods is None or (type(min_periods) is int and 1 <= min_periods <= window)):
        raise NotNative("an odd least number of values")
    return RollingSubject(header, window, window if min_periods is None else min_periods, center)


@native("Series", "expanding")
@native("DataFrame", "expanding")
def expanding(header: Header, min_periods: Any = 1, method: Any = "single") -> RollingSubject:
    """`s.expanding()`."""
    if type(min_periods) is not int or min_periods < 1 or method != "single":
        raise NotNative("an odd least number of values")
    return RollingSubject(header, None, min_periods, center=False)


def _register_rolling(name: str) -> None:
    @native("Rolling", name)
    @native("Expanding", name)
    def run(
        rolling: RollingSubject, numeric_only: Any = False, engine: Any = None, engine_kwargs: Any = None
    ) -> Header:
        if numeric_only is not False or engine is not None or engine_kwargs is not None:
            raise NotNative("an engine, or numeric columns only")
        if rolling.window is None and name not in ("sum", "mean"):
            raise NotNative(f"{name} of a window that grows")

        def make(header: Header, field: Field, dtype: Any) -> tuple[Header, Field, Any]:
            if field.kind not in ("int64", "int32", "float64"):
                raise NotNative(f"a window of {field.kind}")
            value = operands.cast(field, "float64")
            if rolling.window is None:
                over, made = over_rows(
                    header, f"expanding_{name}", value, "float64", options=(rolling.least,)
                )
            else:
                options = (rolling.window, rolling.least, rolling.center)
                over, made = over_rows(header, f"rolling_{name}", value, "float64", options=options)
            return over, made, "float64"

        return each(rolling.header.grounded(), make)


for _name in ("sum", "mean", "min", "max", "median"):
    _register_rolling(_name)
