"""`apply`, `map`, `groupby.apply` and their kin with a Python function: pandas' own methods, given an `Evaluation`.

Here is which calls can be shared out, and how their rows are cut into parts. A part calls the same method of pandas on
its rows (or slices its groups as pandas does), so the function sees what it would have seen. Where pandas calls the
function otherwise than once for each row, in order, it is pandas' alone, and the reason is counted.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy
import pandas
from pandas.core.common import get_cython_func
from pandas.core.groupby.ops import BaseGrouper

from distpool.dataframe import coverage_counts, routes
from distpool.dataframe.header import NotNative
from distpool.dataframe.python_functions import Evaluation, inside_worker


@dataclass
class RowsPart:
    """Rows of a frame, or values of a series, for `apply` or `map`."""

    rows: Any
    method: str
    options: dict[str, Any]

    def call(self, function: Callable[..., Any], args: Any, kwargs: Any) -> None:
        """Have pandas call the function for each row."""
        if self.method == "apply":
            self.rows.apply(function, args=args, **self.options, **kwargs)
        else:
            self.rows.map(function, **kwargs)


@dataclass
class Rows:
    """The rows of a frame or a series."""

    object: Any
    method: str
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Give the number of calls."""
        return len(self.object)

    def name(self, number: int) -> Any:
        """Give a row's label."""
        return self.object.index[number]

    def cut(self, start: int, end: int) -> RowsPart:
        """Take rows."""
        return RowsPart(self.object.iloc[start:end], self.method, self.options)


@dataclass
class GroupsPart:
    """Consecutive groups: their rows one after the other, and where each one begins and ends."""

    rows: Any
    edges: list[tuple[int, int]]
    names: list[Any] | None

    def call(self, function: Callable[..., Any], args: Any, kwargs: Any) -> None:
        """Call the function for each group."""
        for number, (start, end) in enumerate(self.edges):
            group = self.rows.iloc[start:end]
            if self.names is not None:
                object.__setattr__(group, "name", self.names[number])
            function(group, *args, **kwargs)


class Groups:
    """The groups of a GroupBy object."""

    def __init__(self, grouped: Any, named: bool) -> None:
        self._grouped = grouped
        self._named = named
        self.size = grouped._grouper.ngroups

    def name(self, number: int) -> Any:
        """Give a group's key."""
        return self._grouped._grouper.result_index[number]

    @functools.cached_property
    def _sorted(self) -> tuple[Any, Any, Any]:
        """Give the rows in the order of their groups, and the edges of each: as pandas' splitter has them."""
        splitter = self._grouped._grouper._get_splitter(self._grouped._obj_with_exclusions)
        numbers = numpy.arange(self.size)
        starts = numpy.searchsorted(splitter._slabels, numbers, side="left")
        ends = numpy.searchsorted(splitter._slabels, numbers, side="right")
        return splitter._sorted_data, starts, ends

    def cut(self, start: int, end: int) -> GroupsPart:
        """Take groups."""
        rows, starts, ends = self._sorted
        first = int(starts[start])
        edges = list(
            zip((starts[start:end] - first).tolist(), (ends[start:end] - first).tolist(), strict=True)
        )
        names = list(self._grouped._grouper.result_index[start:end]) if self._named else None
        return GroupsPart(rows.iloc[first : int(ends[end - 1])], edges, names)


def _is_python(function: Any) -> bool:
    """Say whether pandas would call this, and it is Python: what has a name in pandas is quick there."""
    while isinstance(function, functools.partial):
        function = function.func
    return isinstance(function, types.FunctionType | types.MethodType) and get_cython_func(function) is None


def _rows_of_frame(
    frame: Any,
    axis: Any = 0,
    raw: bool = False,
    result_type: Any = None,
    args: Any = (),
    by_row: Any = "compat",
    engine: Any = None,
    engine_kwargs: Any = None,
    **_: Any,
) -> Rows:
    if axis not in (1, "columns"):
        raise NotNative("a function of columns")
    if raw or engine or engine_kwargs or result_type == "broadcast":
        raise NotNative("raw, engine or broadcast")
    if not all(frame.shape):
        raise NotNative("nothing to call it for")
    if any(isinstance(dtype, pandas.SparseDtype) for dtype in frame.dtypes):
        raise NotNative("sparse columns")
    return Rows(frame, "apply", {"axis": 1, "by_row": by_row})


def _check_values(series: Any) -> None:
    # Others are turned into values in a way that hangs on what else is there (missing ones, categories).
    dtype = series.dtype
    if not isinstance(dtype, numpy.dtype | pandas.DatetimeTZDtype | pandas.StringDtype):
        raise NotNative(f"values of dtype {dtype}")


def _values_of_apply(series: Any, args: Any = (), *, by_row: Any = "compat", **_: Any) -> Rows:
    if by_row != "compat":
        raise NotNative("a function of the series")
    _check_values(series)
    return Rows(series, "apply")


def _values_of_map(series: Any, na_action: Any = None, engine: Any = None, **_: Any) -> Rows:
    if na_action is not None or engine is not None:
        raise NotNative("na_action or engine")
    _check_values(series)
    return Rows(series, "map")


def _groups(named: bool) -> Callable[..., Groups]:
    def groups(grouped: Any, *_: Any, engine: Any = None, engine_kwargs: Any = None, **__: Any) -> Groups:
        if engine or engine_kwargs:
            raise NotNative("engine")
        if type(grouped._grouper) is not BaseGrouper:
            raise NotNative("groups by bins")
        return Groups(grouped, named)

    return groups


METHODS: dict[str, dict[str, Callable[..., Any]]] = {
    "DataFrame": {"apply": _rows_of_frame},
    "Series": {"apply": _values_of_apply, "map": _values_of_map},
    "DataFrameGroupBy": {"apply": _groups(True)},
    "SeriesGroupBy": {
        "apply": _groups(True),
        "transform": _groups(True),
        "agg": _groups(False),
        "aggregate": _groups(False),
    },
}


def evaluated(self: Any, owner: str, name: str, original: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """Call the method of pandas with a function that workers may evaluate."""
    if not _is_python(func) or routes.forced == "pandas" or inside_worker():
        return original(self, func, *args, **kwargs)
    label = f"{owner}.{name}"
    if "_make" in self.__dict__:
        self._begin()
    try:
        subject = METHODS[owner][name](self, *args, **kwargs)
    except (NotNative, TypeError) as reason:
        coverage_counts.count("fall-back", label, str(reason))
        return original(self, func, *args, **kwargs)
    evaluation = Evaluation(label, func, subject)
    try:
        stand_in: Any = evaluation
        if isinstance(subject, Rows) and subject.object.ndim == 1 and not args and not kwargs:
            stand_in = evaluation.for_values(subject.object.astype(object).to_numpy())
        return original(self, stand_in, *args, **kwargs)
    finally:
        evaluation.close()
