"""One value of a whole column: computed now, since a scalar is looked at."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas

from distpool.dataframe import kinds
from distpool.dataframe.expressions import call
from distpool.dataframe.header import Field, Header, NotNative
from distpool.dataframe.natives import native
from distpool.dataframe.operations import operands
from distpool.dataframe.plan import Aggregate


def _reduced(header: Header, name: str, expr: Any, options: tuple[object, ...] = ()) -> Any:
    from distpool.dataframe import running

    if not expr.columns:
        raise NotNative("of a constant")

    return running.run(Aggregate(header.base, (), (("value", name, expr, options),), order="none")).item()


def _register(name: str) -> None:
    @native("Series", name)
    def reduce(
        header: Header, axis: Any = None, skipna: bool = True, numeric_only: bool = False, min_count: int = 0
    ) -> Any:
        if axis not in (None, 0, "index") or type(skipna) is not bool or numeric_only is not False:
            raise NotNative("options")
        if type(min_count) is not int or (min_count and name != "sum"):
            raise NotNative("a count that is no number")
        nothing = _missing_for(header, skipna, min_count)
        return _value(header, name) if nothing is None else nothing


for _name in ("sum", "min", "max", "mean", "median"):
    _register(_name)


def _missing_for(header: Header, skipna: bool, min_count: int) -> Any:
    """What pandas says where there are too few values, or one that may not be passed over; None if there are not."""
    field = header.fields[0].computed("a reduction")
    nullable = kinds.is_nullable(field.kind)
    if (skipna or not field.missing) and min_count <= 0:
        return None
    if field.kind != "float64" and not (nullable and kinds.base(field.kind) in kinds.NUMBERS):
        raise NotNative("options")
    if not skipna and field.missing and not min_count:
        some = operands.really_missing(header, field)
    elif skipna:
        some = _reduced(header, "count", field.expr) < min_count
    else:
        raise NotNative("two options")
    return (pandas.NA if nullable else np.float64(np.nan)) if some else None


def _nullable_value(header: Header, name: str, options: tuple[object, ...] = ()) -> Any:
    """The value in the type that pandas gives it: pandas is asked for that of one value alone."""
    field, dtype = header.fields[0].computed(name), header.proto.dtype
    kind = kinds.base(field.kind)
    numeric = kind in ("int64", "int32", "uint8", "float64")
    if not (numeric or (kind == "bool" and name in ("any", "all"))):
        raise NotNative(f"{name} of {dtype}")
    floats = kind == "float64" or name in ("mean", "median", "std", "var")
    expr = operands.cast(field, "float64") if floats else field.expr
    if name == "sum" and not floats:
        kind = "uint64" if kind.startswith("u") else "int64"
        expr = operands.cast(field, kind)
    value = _reduced(header, _name_for(name) if floats else name, expr, options)
    if value is None:
        if floats and name != "median" and field.kind.startswith("pa:"):
            raise NotNative("nothing there, or what is no number")
        return pandas.NA
    if name in ("min", "max"):
        return getattr(pandas.Series([value], dtype=dtype), name)()
    if kind == "bool":
        return np.bool_(value) if field.kind.startswith("na:") else bool(value)
    made = np.float64(value) if floats else np.dtype(kind).type(value)
    return made if field.kind.startswith("na:") else made.item()


def _value(header: Header, name: str) -> Any:
    field = header.fields[0].computed(name)
    dtype, expr = header.proto.dtype, field.expr
    if kinds.is_nullable(field.kind):
        return _nullable_value(header, name)
    if not kinds.is_plain(dtype):
        raise NotNative(f"of {dtype}")
    if field.kind == "float32":
        raise NotNative("float32 is added up in its own way")
    if field.kind not in kinds.NUMBERS | {"bool"}:
        if name not in ("min", "max"):
            raise NotNative(f"of {dtype}")
        value = _reduced(header, name, expr)
        if value is None:
            raise NotNative("nothing there")
        return value if field.kind == "str" else _time(header, name, field)
    if name in ("mean", "median") or field.kind == "float64":
        value = _reduced(header, _name_for(name), call("cast", expr, options=("float64",)))
        return np.float64(np.nan if value is None else value)
    if name == "sum":
        kind = "uint64" if field.kind.startswith("u") else "int64"
        return np.dtype(kind).type(_reduced(header, "sum", call("cast", expr, options=(kind,))))
    value = _reduced(header, name, expr)
    if value is None:
        raise NotNative("nothing there")
    return np.dtype(field.kind).type(value)


def _name_for(name: str) -> str:
    """The kernel for floats."""
    return {"sum": "sum_float", "std": "std_of_all", "var": "var_of_all"}.get(name, name)


def _time(header: Header, name: str, field: Field) -> Any:
    ticks = _reduced(header, name, call("ticks", field.expr, options=(field.kind,)))
    unit = field.kind.partition("[")[2][:-1]
    if field.kind.startswith("datetime"):
        return pandas.Timestamp(np.array(ticks).view(f"M8[{unit}]")[()])
    return pandas.Timedelta(np.array(ticks).view(f"m8[{unit}]")[()])


def _register_spread(name: str) -> None:
    @native("Series", name)
    def reduce(
        header: Header, *, axis: Any = None, skipna: Any = True, ddof: Any = 1, numeric_only: Any = False
    ) -> Any:
        field = header.fields[0].computed(name)
        if (
            axis not in (None, 0, "index")
            or skipna is not True
            or numeric_only is not False
            or ddof not in (0, 1)
        ):
            raise NotNative("options")
        if kinds.is_nullable(field.kind):
            return _nullable_value(header, name, (int(ddof),))
        if field.kind not in ("int64", "int32", "float64"):
            raise NotNative(f"of {header.proto.dtype}")
        value = _reduced(
            header, _name_for(name), call("cast", field.expr, options=("float64",)), (int(ddof),)
        )
        return np.float64(np.nan if value is None else value)


_register_spread("std")
_register_spread("var")


def _register_truth(name: str) -> None:
    @native("Series", name)
    def reduce(header: Header, *, axis: Any = 0, bool_only: Any = False, skipna: Any = True) -> Any:
        field = header.fields[0]
        if axis not in (0, "index") or bool_only or skipna is not True or kinds.base(field.kind) != "bool":
            raise NotNative("options, or what is not boolean")
        if kinds.is_nullable(field.kind):
            return _nullable_value(header, name)
        return np.bool_(_reduced(header, name, field.expr))


_register_truth("any")
_register_truth("all")


@native("Series", "quantile")
def quantile(header: Header, q: Any = 0.5, interpolation: Any = "linear") -> Any:
    """One quantile, or several."""
    from distpool.dataframe import objects

    field = header.fields[0].computed("quantile")
    many = list(q) if isinstance(q, list | tuple) else [q]
    if interpolation != "linear" or field.kind not in ("int64", "float64"):
        raise NotNative(f"another interpolation, or of {header.proto.dtype}")
    if not all(type(one) in (float, int) and 0 <= one <= 1 for one in many):
        raise NotNative("shares that are none")
    value = call("cast", field.expr, options=("float64",))
    floats = [_quantile(header, value, one) for one in many]
    if many is not q and not isinstance(q, list | tuple):
        return floats[0]
    return objects.Series(floats, index=pandas.Index(many, dtype="float64"), name=header.proto.name)


def _quantile(header: Header, value: Any, share: float) -> np.float64:
    """Between the two nearest values, bit for bit as numpy's percentile."""
    share = float(np.true_divide(share * 100, 100))
    if not all(np.isfinite(_reduced(header, name, value) or 0.0) for name in ("min", "max")):
        raise NotNative("where something is infinite")
    low, high = (_reduced(header, "quantile", value, (share, near)) for near in ("lower", "higher"))
    if low is None:
        return np.float64(np.nan)
    place = share * (_reduced(header, "count", value) - 1)
    part = place - np.floor(place)
    between = (high - low) * part
    return np.float64(low + between if part < 0.5 else high - (high - low) * (1 - part))


@native("Series", "unique")
def unique(header: Header) -> Any:
    """The different values, as they appear."""
    from distpool.dataframe import memory
    from distpool.dataframe.operations import rows

    made = rows.drop_duplicates_series(header.with_(index=None, proto=header.proto.reset_index(drop=True)))
    return memory.collect(made).unique()


@native("Series", "count")
def count(header: Header) -> Any:
    """How many values are there."""
    return np.int64(_reduced(header, "count", header.fields[0].computed("count").expr))


@native("Series", "nunique")
def nunique(header: Header, dropna: bool = True) -> Any:
    """How many different values there are."""
    if dropna is not True:
        raise NotNative("missing values count")
    return int(_reduced(header, "nunique", header.fields[0].computed("nunique").expr))
