"""The kinds of plan columns, and which pandas dtypes they stand for.

A kind is a short text: how a column lies in a plan. A pandas dtype that has a kind can be computed with natively; one
that has none stays with pandas. Several dtypes may share a kind (a category travels as its codes, a time zone is
remembered by the header only): the dtype that comes out is always the header's, which pandas itself gave.

    int64 ...  float64 ...  bool  str  datetime[ns]  duration[ns]  codes
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
        # The other string dtypes have pandas.NA, which compares differently.
        return "str" if dtype.na_value is np.nan and dtype.storage == "pyarrow" else None
    if isinstance(dtype, pandas.CategoricalDtype):
        return "codes"
    return None


def is_plain(dtype: Any) -> bool:
    """Say whether a kind means the same as its dtype: no category, no time zone."""
    return not isinstance(dtype, pandas.CategoricalDtype | pandas.DatetimeTZDtype)


def can_miss(kind: str) -> bool:
    """Say whether a column of this kind can have missing values in pandas."""
    return kind not in INTEGERS and kind != "bool"
