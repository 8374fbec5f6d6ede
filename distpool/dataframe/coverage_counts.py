"""Counts which calls ran natively, which fell back to pandas, and why. Costs nothing where no plan is involved."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas

_counts: Counter[tuple[str, str, str]] = Counter()
_lock = threading.Lock()
_PANDAS = str(Path(pandas.__file__).parent)
# Decorators and dispatchers: the function that they call is the one that was meant.
_WRAPPERS = frozenset(("wrapper", "new_method", "inner"))
OURS = str(Path(__file__).parent)

# Somebody looks: the rows are wanted, and this is no fall-back.
LOOKS = frozenset(
    (
        "__array__",
        "__arrow_array__",
        "__arrow_c_stream__",
        "__bool__",
        "__dataframe__",
        "__getstate__",
        "__init__",
        "__iter__",
        "__len__",
        "__reduce__",
        "__repr__",
        "__str__",
        "_repr_html_",
        "array",
        "assert_frame_equal",
        "assert_series_equal",
        "bool",
        "boxplot",
        "describe",
        "empty",
        "equals",
        "hist",
        "index",
        "info",
        "item",
        "items",
        "iterrows",
        "itertuples",
        "memory_usage",
        "plot",
        "print",
        "shape",
        "size",
        "style",
        "tolist",
        "values",
    )
)


# No function of pandas lies between: ours, as of `len`, asks for the rows.
_DIRECTLY = "look"


class _Told(threading.local):
    depth = 0


_told = _Told()


def count(outcome: str, method: str, reason: str = "") -> None:
    """Count a call of the user's (native, look, fall-back). What pandas' own code calls is part of another."""
    if _told.depth:
        return
    frame: Any = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(OURS):
        frame = frame.f_back
    if frame is not None and frame.f_code.co_filename.startswith(_PANDAS):
        return
    add(outcome, method, reason)


def add(outcome: str, method: str, reason: str = "") -> None:
    """Count a call, whoever asks."""
    with _lock:
        _counts[outcome, method, reason] += 1


@contextlib.contextmanager
def told() -> Iterator[None]:
    """While pandas does what was counted as a fall-back, the rows that it asks for are part of that call."""
    _told.depth += 1
    try:
        yield
    finally:
        _told.depth -= 1


def count_filling(kind: str) -> None:
    """Count the filling of a lazy object by pandas' code: find out which call of the user's it serves."""
    if _told.depth:
        return
    method = _method_called()
    name = method if "." in method else f"{kind}.{method}"
    if method == _DIRECTLY or method in LOOKS or method.startswith("to_"):
        add("look", name)
    else:
        add("fall-back", name, "no native kernel")


def _method_called() -> str:
    """Find the outermost function of pandas (or ours) that leads here."""
    frame: Any = sys._getframe(1)
    found = _DIRECTLY
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(OURS):
            pass
        elif file.startswith(_PANDAS):
            if frame.f_code.co_name not in _WRAPPERS:
                found = frame.f_code.co_name
        else:
            break
        frame = frame.f_back
    return found


def coverage() -> pandas.DataFrame:
    """Tell what ran how since the start (or `reset`): a frame of `method`, `outcome`, `reason`, `calls`."""
    with _lock:
        rows = [(method, outcome, reason, calls) for (outcome, method, reason), calls in _counts.items()]
    table = pandas.DataFrame(rows, columns=["method", "outcome", "reason", "calls"])
    return table.sort_values(["calls", "method"], ascending=[False, True], ignore_index=True)


def reset() -> None:
    """Count from zero."""
    with _lock:
        _counts.clear()
