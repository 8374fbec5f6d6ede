"""``distpool run --pandas``: ``import pandas`` in the program's own modules gives ``distpool.dataframe``.

::

    script.py:           import pandas as pd     ──► distpool.dataframe
    sklearn, distpool:   import pandas as pd     ──► pandas: they are built on it

Which of the two it is depends on who asks, and only the function behind the statement is told that. So this one stands
in its place.
"""

from __future__ import annotations

import builtins
import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from distpool.program_code import is_of_a_library
from distpool.worker_hooks import HOOKS

__all__ = ["PandasImport", "complaint", "stand_for_pandas"]


def complaint() -> str:
    """Why ``distpool.dataframe`` cannot stand for pandas here, and what to do; empty if it can."""
    try:
        if hasattr(importlib.import_module("distpool.dataframe"), "DataFrame"):
            return ""
    except ImportError as error:
        return f"--pandas needs distpool.dataframe, which cannot be imported: {error}; install what it needs"
    return "--pandas needs distpool.dataframe, and this distpool has none: leave --pandas away"


def stand_for_pandas() -> None:
    """From now on ``import pandas`` in the program's own modules gives ``distpool.dataframe``; in its workers too."""
    if not isinstance(builtins.__import__, PandasImport):
        builtins.__import__ = PandasImport(builtins.__import__, _is_programs_own)
        HOOKS.append(stand_for_pandas)


class PandasImport:
    """Stands in for ``__import__``, which is told who asks: libraries, ours too, are built on pandas itself.

    ``is_meant`` says of the namespace of the module that asks whether it gets ours.
    """

    def __init__(
        self, original: Callable[..., Any], is_meant: Callable[[Mapping[str, Any] | None], bool]
    ) -> None:
        self.original = original
        self.is_meant = is_meant

    def __call__(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> Any:
        """Import, as the statement does."""
        module = self.original(name, globals, locals, fromlist, level)
        if level or name.partition(".")[0] != "pandas" or not self.is_meant(globals):
            return module
        ours = importlib.import_module("distpool.dataframe")
        if "." not in name:
            return ours
        # `import pandas.api.types` binds `pandas`, `from pandas.api import types` the submodule, which is pandas' own.
        return module if fromlist or not hasattr(ours, name.split(".")[1]) else ours


def _is_programs_own(namespace: Mapping[str, Any] | None) -> bool:
    if namespace is None:
        return False
    file = namespace.get("__file__")
    return file is None or not is_of_a_library(file)
