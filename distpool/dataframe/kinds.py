"""The kinds of plan columns, and which pandas dtypes they stand for.

A kind is a short text: how a column lies in a plan. A pandas dtype that has a kind can be computed with natively; one
that has none stays with pandas. Several dtypes may share a kind (a category travels as its codes, a time zone is
remembered by the header only): the dtype that comes out is always the header's, which pandas itself gave.

    int64 ...  float64 ...  bool  str  datetime[ns]  duration[ns]  codes
    na:int64 ...  na:bool  na:str   the same values in an array with a mask (Int64, boolean, string): missing is NA
    pa:int64 ...  pa:str  ...       the same values in an array of Arrow's (`ArrowDtype`): missing is NA too
    arrow:...  something that can be carried and shown, not computed with (dates and decimals of files, say)
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas

INTEGERS = frozenset(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))
FLOATS = frozenset(("float32", "float64"))
_UNITS = ("s", "ms", "us", "ns")
NUMBERS = INTEGERS | FLOATS
_NULLABLE = ("na:", "pa:")


def kind_of(dtype: Any) -> str | None:
    """Say how a column of this dtype lies in a plan; None if it cannot."""
    if isinstance(dtype, np.dtype):
        if not dtype.isnative:
            return None
        if dtype.name in NUMBERS or dtype.name == "bool":
            return str(dtype.name)
        if dtype.kind in "mM":
            unit = np.datetime_data(dtype)[0]
            if unit in _UNITS:
                return f"{'datetime' if dtype.kind == 'M' else 'duration'}[{unit}]"
        return None
    if isinstance(dtype, pandas.DatetimeTZDtype):
        return f"datetime[{dtype.unit}]" if dtype.unit in _UNITS else None
    if isinstance(dtype, pandas.StringDtype):
        if dtype.na_value is pandas.NA:
            return "na:str"
        return "str" if dtype.storage == "pyarrow" else None
    if isinstance(dtype, pandas.CategoricalDtype):
        return "codes"
    if isinstance(dtype, pandas.ArrowDtype):
        return _kind_of_arrow(dtype.pyarrow_dtype)
    # Those with a mask: Int8 ... UInt64, Float32, Float64, boolean.
    numpy_dtype = getattr(dtype, "numpy_dtype", None)
    if isinstance(numpy_dtype, np.dtype) and (numpy_dtype.name in NUMBERS or numpy_dtype.name == "bool"):
        return f"na:{numpy_dtype.name}"
    return None


def _kind_of_arrow(type_: Any) -> str | None:
    name = str(type_)
    named = {"float": "float32", "double": "float64", "string": "str", "large_string": "str"}.get(name, name)
    if named in NUMBERS or named in ("bool", "str"):
        return f"pa:{named}"
    for letter, here in (("timestamp", "datetime"), ("duration", "duration")):
        if any(name == f"{letter}[{unit}]" for unit in _UNITS):
            return f"pa:{here}[{type_.unit}]"
    return None


def same_dtype(one: Any, two: Any) -> bool:
    """Say whether columns of these lie in a plan alike: categories in another order are equal, and have other codes."""
    if isinstance(one, pandas.CategoricalDtype) and isinstance(two, pandas.CategoricalDtype):
        return bool(one == two and one.categories.equals(two.categories))
    return bool(one == two)


def is_nullable(kind: str) -> bool:
    """Say whether what is missing is NA: comparisons and logic with it are missing too."""
    return kind.startswith(_NULLABLE)


def base(kind: str) -> str:
    """The kind of the values, whatever array they lie in."""
    return kind[3:] if kind.startswith(_NULLABLE) else kind


def plain_dtype(kind: str) -> Any:
    """The dtype of a kind that has no category and no time zone."""
    if kind == "str":
        return pandas.StringDtype("pyarrow", na_value=np.nan)
    if kind == "na:str":
        return pandas.StringDtype("pyarrow", na_value=pandas.NA)
    if kind.startswith(("datetime", "duration")):
        letter = "M" if kind.startswith("datetime") else "m"
        return np.dtype(f"{letter}8{kind[8:]}")
    return np.dtype(kind)


def is_plain(dtype: Any) -> bool:
    """Say whether a kind means the same as its dtype: no category, no time zone."""
    return not isinstance(dtype, pandas.CategoricalDtype | pandas.DatetimeTZDtype)


def can_miss(kind: str) -> bool:
    """Say whether a column of this kind can have missing values in pandas."""
    return kind not in INTEGERS and kind != "bool"
