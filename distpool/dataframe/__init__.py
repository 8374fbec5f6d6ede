"""`import distpool.dataframe as pd`: pandas, with plans for what pays for them.

Every public name of pandas is here. `DataFrame` and `Series` are subclasses of pandas' own whose rows may not have
been made yet; the functions are pandas' with results of these classes; everything else is pandas' own object.
Beside them there are `coverage()` (what ran natively, what fell back and why), `DataFrame.explain()`, `route()` and
`progress()`.

Importing this starts no process and does not import Polars.
"""

from __future__ import annotations

import types
from typing import Any

try:
    import pandas
except ImportError as error:
    raise ImportError("distpool.dataframe needs pandas 3: pip install 'distpool[dataframe]'") from error

if int(pandas.__version__.partition(".")[0]) < 3:
    raise ImportError(
        f"distpool.dataframe needs pandas 3, this is {pandas.__version__}: pip install 'distpool[dataframe]'"
    )

from distpool.dataframe import functions as _functions
from distpool.dataframe import objects as _objects
from distpool.dataframe.coverage_counts import coverage
from distpool.dataframe.functions import merge as merge
from distpool.dataframe.objects import DataFrame as DataFrame
from distpool.dataframe.objects import Series as Series
from distpool.dataframe.routes import route

_objects.equip()

__version__ = pandas.__version__
__all__ = [*pandas.__all__, "coverage", "progress", "route"]


def __getattr__(name: str) -> Any:
    if name == "progress":
        from distpool.dataframe.fragments.progress import progress

        return progress
    value = getattr(pandas, name)
    if isinstance(value, types.FunctionType) and not name.startswith("_"):
        value = _functions.function(name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(pandas)})
