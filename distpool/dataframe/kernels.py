"""The kernels by name, as Polars expressions. What each does with a missing value is said by how it is written here.

A column that is missing is null. pandas' comparisons give False (`!=`: True) for a missing value of its own dtypes;
the operations ask for that by `is_true` and `is_not_false`, which the optimizer takes out where a filter follows.
What could make a NaN makes a null of it.
"""

from __future__ import annotations

import io
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas
import polars

from distpool.dataframe import kinds
from distpool.dataframe.expressions import Call, Column, Expr, Literal
from distpool.dataframe.polars_columns import polars_type, ticks_per_unit, to_pandas, to_polars

P = polars.Expr


def _is_in(value: P, kind: str, *values: Any) -> P:
    type_ = polars_type(kind)
    if type_.is_temporal():
        ticks = polars.Series([one * ticks_per_unit(kind) for one in values], dtype=polars.Int64)
        return value.is_in(ticks.cast(type_).implode())
    return value.is_in(polars.Series(values, dtype=type_).implode())


def _is_in_column(value: P, column: bytes) -> P:
    """Of many values, which are a column of Arrow's."""
    return value.is_in(polars.read_ipc(io.BytesIO(column)).to_series().implode())


def _bin(ticks: P, edges: bytes, side: Any) -> P:
    """The number of the bin between whose edges a whole number lies; `side` is that of equal edges."""
    between = np.frombuffer(edges, dtype="int64")

    def batch(given: polars.Series) -> polars.Series:
        return polars.Series(np.searchsorted(between, given.to_numpy(), side=side) - 1, dtype=polars.Int64)

    return ticks.map_batches(batch, return_dtype=polars.Int64, is_elementwise=True)


def _floor_modulo(left: P, right: P) -> P:
    return left - left.floordiv(right) * right


def _round(value: P, decimals: int) -> P:
    """Multiply, round half to even, divide: numpy's way, bit for bit."""
    factor = 10.0**decimals
    return ((value * factor).round(0, mode="half_to_even") / factor).fill_nan(None)


def _checked(left: P, right: P, kind: str, how: Callable[[P, P], P]) -> P:
    """In twice as many bits; what does not fit afterwards fails the plan."""
    wide: P = how(left.cast(polars.Int128), right.cast(polars.Int128))
    return wide.cast(polars_type(kind))


def _without_nan(value: P) -> P:
    """Fail the plan where there is a NaN: among nullable floats of a file it is no missing value."""

    def batch(given: polars.Series) -> polars.Series:
        if given.is_nan().any():
            raise ValueError("a NaN among nullable floats")
        return given

    return value.map_batches(batch, is_elementwise=True)


def _slice(value: P, start: int, length: int | None) -> P:
    return value.str.slice(start, length)


def _text_by_pandas(
    value: P, method: str, args: tuple[Any, ...], options: tuple[tuple[str, Any], ...], kind: str
) -> P:
    """Ask pandas for each batch: libraries differ in what the capital of a letter is."""

    def run(text: pandas.Series) -> Any:
        return getattr(text.str, method)(*args, **dict(options))

    return _by_pandas(value, "str", run, kind)


def _times_by_pandas(value: P, kind: str, method: str, args: tuple[Any, ...], made: str) -> P:
    def run(times: pandas.Series) -> Any:
        found = getattr(times.dt, method)
        return found(*args) if callable(found) else found

    return _by_pandas(value, kind, run, made)


def _cut(value: P, kind: str, bins: tuple[Any, ...], options: tuple[tuple[str, Any], ...]) -> P:
    return _by_pandas(value, kind, lambda batch: pandas.cut(batch, list(bins), **dict(options)), "codes")


def _mapped(value: P, kind: str, items: tuple[tuple[Any, Any], ...], made: str) -> P:
    return _by_pandas(value, kind, lambda batch: batch.map(dict(items)), made)


def _by_pandas(value: P, kind: str, run: Callable[[pandas.Series], Any], made: str) -> P:
    """A method of pandas that makes each value from one value, for each batch."""

    def batch(given: polars.Series) -> polars.Series:
        result = run(pandas.Series(to_pandas(given, kinds.plain_dtype(kind), kind)))
        # Of a batch that is missing altogether pandas may make another dtype.
        return to_polars(
            result.astype(kinds.plain_dtype(made)).array if made != "codes" else result.array, made
        )

    return value.map_batches(batch, return_dtype=polars_type(made), is_elementwise=True)


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
    "add_checked": lambda a, b, kind: _checked(a, b, kind, operator.add),
    "sub_checked": lambda a, b, kind: _checked(a, b, kind, operator.sub),
    "mul_checked": lambda a, b, kind: _checked(a, b, kind, operator.mul),
    "without_nan": _without_nan,
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
    "is_in_column": _is_in_column,
    "bin": _bin,
    "str.startswith": lambda a, text: a.str.starts_with(text),
    "str.endswith": lambda a, text: a.str.ends_with(text),
    "str.contains_literal": lambda a, text: a.str.contains(text, literal=True),
    "str.contains": lambda a, pattern: a.str.contains(pattern),
    "str.slice": _slice,
    "str.len": lambda a: a.str.len_chars().cast(polars.Int64),
    "str.by_pandas": _text_by_pandas,
    "dt.by_pandas": _times_by_pandas,
    "cut": _cut,
    "mapped": _mapped,
    "fits_int64": lambda a: a.is_finite() & (a.abs() < 2.0**63),
    "clip": lambda a, low, high: a.clip(low, high),
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


def _var_of_all(a: P, ddof: int) -> P:
    """In two passes, as pandas makes it of a whole column: in one, what is far from zero loses half of its digits."""
    return polars.when(a.count() > ddof).then(((a - a.mean()) ** 2).sum() / (a.count() - ddof))


_AGGREGATES: dict[str, Callable[..., P]] = {
    "sum": lambda a: a.sum(),
    "sum_fitting": lambda a, kind: a.cast(polars.Int64).sum().cast(polars_type(kind)),
    "sum_float": lambda a: a.sum().fill_nan(None),
    "sum_of_at_least": lambda a, least: polars.when(a.count() >= least).then(a.sum()),
    "sum_float_of_at_least": lambda a, least: polars.when(a.count() >= least).then(a.sum().fill_nan(None)),
    "mean": lambda a: a.mean().fill_nan(None),
    "min": lambda a: a.min(),
    "max": lambda a: a.max(),
    "median": lambda a: a.median(),
    "std": lambda a, ddof: a.std(ddof),
    "var": lambda a, ddof: a.var(ddof),
    "std_of_all": lambda a, ddof: _var_of_all(a, ddof).sqrt(),
    "var_of_all": _var_of_all,
    "count": lambda a: a.count().cast(polars.Int64),
    "size": lambda a: polars.len().cast(polars.Int64),
    "nunique": lambda a: a.drop_nulls().n_unique().cast(polars.Int64),
    "first": lambda a: a.drop_nulls().first(),
    "last": lambda a: a.drop_nulls().last(),
    "quantile": lambda a, share, near: a.quantile(share, interpolation=near),
    "any": lambda a: a.any(),
    "all": lambda a: a.all(),
}


def _finite(value: P) -> P:
    """pandas' windows take what is infinite for missing."""
    return polars.when(value.is_finite()).then(value)


def _rolling(name: str) -> Callable[..., P]:
    def run(value: P, window: int, least: int, center: bool) -> P:
        made: P = getattr(_finite(value), name)(window, min_samples=least, center=center)
        return made.fill_nan(None)

    return run


def _expanding_sum(value: P, least: int) -> P:
    value = _finite(value)
    return polars.when(value.cum_count() >= least).then(value.fill_null(0).cum_sum())


def _expanding_mean(value: P, least: int) -> P:
    value = _finite(value)
    count = value.cum_count()
    return polars.when((count >= least) & (count > 0)).then(value.fill_null(0).cum_sum() / count)


def _cumsum_of_group(value: P) -> P:
    """pandas' sums of groups carry what was rounded away, and of what is infinite that makes a NaN of all behind it."""
    before = value.is_infinite().fill_null(False).cum_sum().shift(1, fill_value=0)
    return polars.when(before == 0).then(value.cum_sum()).fill_nan(None)


_WINDOWS: dict[str, Callable[..., P]] = {
    "shift": lambda a, periods: a.shift(periods),
    "cumsum": lambda a: a.cum_sum(),
    "cumsum_float": lambda a: a.cum_sum().fill_nan(None),
    "cumsum_of_group": _cumsum_of_group,
    "cummax": lambda a: a.cum_max(),
    "cummin": lambda a: a.cum_min(),
    "cumcount": lambda a: polars.int_range(polars.len(), dtype=polars.Int64),
    "cumcount_back": lambda a: polars.int_range(polars.len() - 1, -1, -1, dtype=polars.Int64),
    "rank": lambda a, method, descending: a.rank(method, descending=descending).cast(polars.Float64),
    "forward": lambda a, limit: a.forward_fill(limit),
    "backward": lambda a, limit: a.backward_fill(limit),
    **{f"rolling_{name}": _rolling(f"rolling_{name}") for name in ("sum", "mean", "min", "max", "median")},
    "expanding_sum": _expanding_sum,
    "expanding_mean": _expanding_mean,
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


def polars_window(name: str, value: Expr, options: tuple[object, ...], keys: tuple[Expr, ...]) -> P:
    """Write a value that hangs on other rows for Polars: an aggregate is the same for all rows of its group."""
    made = (_WINDOWS.get(name) or _AGGREGATES[name])(polars_expr(value), *options)
    return made.over(*(polars_expr(key) for key in keys)) if keys else made


def polars_aggregate(name: str, value: Expr, options: tuple[object, ...]) -> P:
    """Write an aggregate for Polars."""
    return _AGGREGATES[name](polars_expr(value), *options)
