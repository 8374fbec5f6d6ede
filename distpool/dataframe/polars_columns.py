"""Columns of pandas as columns of Polars and back. The one place that knows both memories.

To Polars: numbers without copying, NaN and NaT become null, a category becomes its codes. Back: by the dtype that the
header says, writable as pandas' own are. A column that has missing values where its dtype cannot is an error of ours,
and is said, not papered over.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas
import polars
import pyarrow

from distpool.dataframe import kinds
from distpool.dataframe.header import PlanFailed

_PLAIN = {
    "bool": polars.Boolean,
    "str": polars.String,
    "codes": polars.Int32,
    **{f"int{bits}": getattr(polars, f"Int{bits}") for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": getattr(polars, f"UInt{bits}") for bits in (8, 16, 32, 64)},
    **{f"float{bits}": getattr(polars, f"Float{bits}") for bits in (32, 64)},
}


def polars_type(kind: str) -> Any:
    """The Polars type of a kind."""
    kind = kinds.base(kind)
    plain = _PLAIN.get(kind)
    if plain is not None:
        return plain
    timed = re.fullmatch(r"(datetime|duration)\[(s|ms|us|ns)\]", kind)
    if timed is None:
        raise ValueError(f"no Polars type for the kind {kind!r}")
    unit = "ms" if timed[2] == "s" else timed[2]
    return polars.Datetime(unit) if timed[1] == "datetime" else polars.Duration(unit)  # type: ignore[arg-type]


def ticks_per_unit(kind: str) -> int:
    """How many ticks of Polars a tick of pandas is: Polars has no seconds."""
    return 1000 if kind.endswith("[s]") else 1


def to_polars(array: Any, kind: str) -> polars.Series:
    """Take an array of pandas (numpy's or an extension's) of a dtype of this kind."""
    if kind == "str":
        text = array.__arrow_array__()
        # Of no chunks Arrow must be told the type.
        chunks = text if isinstance(text, pyarrow.ChunkedArray) else pyarrow.chunked_array([text], text.type)
        return polars.Series(polars.from_arrow(chunks)).cast(polars.String)
    if kind == "codes":
        codes = polars.Series(polars.from_arrow(pyarrow.array(np.asarray(array.codes, dtype="int32"))))
        return codes.set(codes < 0, None) if (codes < 0).any() else codes
    if kinds.is_nullable(kind):
        return _nullable_to_polars(array, kind)
    values = np.asarray(array._ndarray) if hasattr(array, "_ndarray") else np.asarray(array)
    if kind.startswith(("datetime", "duration")):
        whole = polars.Series(polars.from_arrow(pyarrow.array(values.view("int64"))))
        nothing = whole == np.iinfo("int64").min
        if nothing.any():
            whole = whole.set(nothing, None)
        scale = ticks_per_unit(kind)
        return (whole * scale if scale > 1 else whole).cast(polars_type(kind))
    series = polars.Series(polars.from_arrow(pyarrow.array(np.ascontiguousarray(values))))
    if kind.startswith("float"):
        series = series.fill_nan(None) if series.is_nan().any() else series
    return series


def _nullable_to_polars(array: Any, kind: str) -> polars.Series:
    """An array with a mask, or of Arrow's: Arrow has missing values as Polars has them."""
    if hasattr(array, "_mask"):
        arrow = pyarrow.array(array._data, mask=array._mask)
    else:
        arrow = array.__arrow_array__()
    chunks = arrow if isinstance(arrow, pyarrow.ChunkedArray) else pyarrow.chunked_array([arrow], arrow.type)
    return polars.Series(polars.from_arrow(chunks)).cast(polars_type(kind))


def has_nan(series: polars.Series) -> bool:
    """Say whether there is a NaN among nullable floats: it is no missing value there, and Polars' rules differ."""
    return series.dtype.is_float() and bool(series.is_nan().any())


def to_pandas(series: polars.Series, dtype: Any, kind: str) -> Any:
    """Give a new array of this dtype. Raises PlanFailed if the values are not of it."""
    try:
        return _to_pandas(series, dtype, kind)
    except polars.exceptions.PolarsError as error:
        raise PlanFailed(f"{type(error).__name__}: {error}") from error


def _to_pandas(series: polars.Series, dtype: Any, kind: str) -> Any:
    if kind.startswith("arrow:"):
        return series.to_arrow(compat_level=polars.CompatLevel.oldest()).to_pandas()._values
    if kind == "str":
        return dtype.__from_arrow__(series.to_arrow(compat_level=polars.CompatLevel.oldest()))
    if kind == "codes":
        codes = series.fill_null(-1).to_numpy(writable=True)
        return pandas.Categorical.from_codes(codes, dtype=dtype, validate=False)
    if kinds.is_nullable(kind):
        return _nullable_to_pandas(series.cast(polars_type(kind)), dtype)
    if kind.startswith(("datetime", "duration")):
        whole, scale = series.to_physical(), ticks_per_unit(kind)
        whole = whole // scale if scale > 1 else whole
        stamps = whole.fill_null(np.iinfo("int64").min).to_numpy(writable=True)
        if kind.startswith("duration"):
            return pandas.arrays.TimedeltaArray._simple_new(stamps.view(dtype), dtype=dtype)
        unit = dtype.unit if isinstance(dtype, pandas.DatetimeTZDtype) else np.datetime_data(dtype)[0]
        return pandas.arrays.DatetimeArray._simple_new(stamps.view(f"M8[{unit}]"), dtype=dtype)
    if kind.startswith("float"):
        return series.cast(polars_type(kind)).fill_null(np.nan).to_numpy(writable=True)
    if series.null_count():
        raise PlanFailed(f"a column of {dtype} has missing values")
    return series.cast(polars_type(kind)).to_numpy(writable=True)


def _nullable_to_pandas(series: polars.Series, dtype: Any) -> Any:
    if isinstance(dtype, pandas.ArrowDtype | pandas.StringDtype):
        arrow = series.to_arrow(compat_level=polars.CompatLevel.oldest())
        if isinstance(dtype, pandas.ArrowDtype):
            arrow = arrow.cast(dtype.pyarrow_dtype)
        return dtype.__from_arrow__(arrow)
    values = series.fill_null(False if series.dtype == polars.Boolean else 0).to_numpy(writable=True)
    return dtype.construct_array_type()(values, series.is_null().to_numpy(writable=True))


def to_pandas_key(series: polars.Series) -> Any:
    """Give an array that pandas sorts as it would the column that this came from."""
    if series.dtype == polars.String:
        return to_pandas(series, pandas.StringDtype("pyarrow", na_value=np.nan), "str")
    if series.dtype.is_temporal():
        unit = series.dtype.time_unit  # type: ignore[attr-defined]
        letter = "M" if isinstance(series.dtype, polars.Datetime) else "m"
        return to_pandas(
            series, np.dtype(f"{letter}8[{unit}]"), f"{'datetime' if letter == 'M' else 'duration'}[{unit}]"
        )
    if series.dtype.is_float():
        return series.fill_null(np.nan).to_numpy(writable=True)
    if series.null_count():
        made = pandas.BooleanDtype() if series.dtype == polars.Boolean else pandas.Int64Dtype()
        return _nullable_to_pandas(series, made)
    return series.to_numpy(writable=True)


def row_numbers(length: int) -> polars.Series:
    """Count the rows: what stands for a column that Polars cannot hold."""
    return polars.int_range(length, dtype=polars.UInt32 if length < 2**32 else polars.UInt64, eager=True)
