"""The kernels by name, as Polars expressions. What each does with a missing value is said by how it is written here.

A column that is missing is null. pandas' comparisons give False (`!=`: True) for a missing value of its own dtypes;
the operations ask for that by `is_true` and `is_not_false`, which the optimizer takes out where a filter follows.
What could make a NaN makes a null of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas
import polars

from distpool.dataframe.expressions import Call, Column, Expr, Literal
from distpool.dataframe.polars_columns import polars_type, ticks_per_unit, to_pandas_key, to_polars

P = polars.Expr


def _is_in(value: P, kind: str, *values: Any) -> P:
    type_ = polars_type(kind)
    if type_.is_temporal():
        ticks = polars.Series([one * ticks_per_unit(kind) for one in values], dtype=polars.Int64)
        return value.is_in(ticks.cast(type_).implode())
    return value.is_in(polars.Series(values, dtype=type_).implode())


def _floor_modulo(left: P, right: P) -> P:
    return left - left.floordiv(right) * right


def _round(value: P, decimals: int) -> P:
    """Multiply, round half to even, divide: numpy's way, bit for bit."""
    factor = 10.0**decimals
    return ((value * factor).round(0, mode="half_to_even") / factor).fill_nan(None)


def _slice(value: P, start: int, length: int | None) -> P:
    return value.str.slice(start, length)


def _by_pandas(value: P, method: str, args: tuple[Any, ...], options: tuple[tuple[str, Any], ...]) -> P:
    """Ask pandas for each batch: libraries differ in what the capital of a letter is."""

    def run(batch: polars.Series) -> polars.Series:
        text = pandas.Series(to_pandas_key(batch))
        return to_polars(getattr(text.str, method)(*args, **dict(options)).array, "str")

    return value.map_batches(run, return_dtype=polars.String, is_elementwise=True)


_KERNELS: dict[str, Callable[..., P]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "truediv": lambda a, b: (a / b).fill_nan(None),
    "floordiv": lambda a, b: a.floordiv(b),
    "mod": _floor_modulo,
    # inf - inf and 0 * inf are missing in pandas too, once they are there.
    "add_float": lambda a, b: (a + b).fill_nan(None),
    "sub_float": lambda a, b: (a - b).fill_nan(None),
    "mul_float": lambda a, b: (a * b).fill_nan(None),
    "round": _round,
    "null_like": lambda a: polars.when(False).then(a),
    "ticks": lambda a, kind: a.to_physical() // ticks_per_unit(kind),
    "nan_to_null": lambda a: a.fill_nan(None),
    "neg": lambda a: -a,
    "abs": lambda a: a.abs(),
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "xor": lambda a, b: a ^ b,
    "not": lambda a: ~a,
    "is_true": lambda a: a.fill_null(False),
    "is_not_false": lambda a: a.fill_null(True),
    "is_null": lambda a: a.is_null(),
    "is_not_null": lambda a: a.is_not_null(),
    "fill_null": lambda a, b: a.fill_null(b),
    "if_else": lambda condition, a, b: polars.when(condition).then(a).otherwise(b),
    "cast": lambda a, kind: a.cast(polars_type(kind)),
    "from_decimal": lambda a: a.cast(polars.Float64),
    "date_to": lambda a, kind: a.cast(polars_type(kind)),
    "is_in": _is_in,
    "str.startswith": lambda a, text: a.str.starts_with(text),
    "str.endswith": lambda a, text: a.str.ends_with(text),
    "str.contains_literal": lambda a, text: a.str.contains(text, literal=True),
    "str.contains": lambda a, pattern: a.str.contains(pattern),
    "str.slice": _slice,
    "str.len": lambda a: a.str.len_chars().cast(polars.Int64),
    "str.by_pandas": _by_pandas,
    "concat_str": lambda a, b: a + b,
    "dt.year": lambda a: a.dt.year(),
    "dt.month": lambda a: a.dt.month().cast(polars.Int32),
    "dt.day": lambda a: a.dt.day().cast(polars.Int32),
    "dt.quarter": lambda a: a.dt.quarter().cast(polars.Int32),
    "dt.hour": lambda a: a.dt.hour().cast(polars.Int32),
    "dt.minute": lambda a: a.dt.minute().cast(polars.Int32),
    "dt.second": lambda a: a.dt.second().cast(polars.Int32),
    "dt.dayofweek": lambda a: (a.dt.weekday() - 1).cast(polars.Int32),
    "dt.dayofyear": lambda a: a.dt.ordinal_day().cast(polars.Int32),
    "dt.normalize": lambda a: a.dt.truncate("1d"),
}

_AGGREGATES: dict[str, Callable[..., P]] = {
    "sum": lambda a: a.sum(),
    "sum_float": lambda a: a.sum().fill_nan(None),
    "mean": lambda a: a.mean().fill_nan(None),
    "min": lambda a: a.min(),
    "max": lambda a: a.max(),
    "median": lambda a: a.median(),
    "std": lambda a, ddof: a.std(ddof),
    "var": lambda a, ddof: a.var(ddof),
    "count": lambda a: a.count().cast(polars.Int64),
    "size": lambda a: polars.len().cast(polars.Int64),
    "nunique": lambda a: a.drop_nulls().n_unique().cast(polars.Int64),
    "first": lambda a: a.drop_nulls().first(),
    "last": lambda a: a.drop_nulls().last(),
    "any": lambda a: a.any(),
    "all": lambda a: a.all(),
}


def polars_expr(expr: Expr) -> P:
    """Write an expression for Polars."""
    match expr:
        case Column(name):
            return polars.col(name)
        case Literal(value, None):
            return polars.lit(value)
        case Literal(value, str() as kind):
            type_ = polars_type(kind)
            if type_.is_temporal():
                return polars.lit(value * ticks_per_unit(kind)).cast(type_)  # type: ignore[operator]
            return polars.lit(value, dtype=type_)
        case Call(kernel, arguments, options):
            return _KERNELS[kernel](*(polars_expr(argument) for argument in arguments), *options)
        case _:
            raise TypeError(f"not an expression: {expr!r}")


def polars_aggregate(name: str, value: Expr, options: tuple[object, ...]) -> P:
    """Write an aggregate for Polars."""
    return _AGGREGATES[name](polars_expr(value), *options)
