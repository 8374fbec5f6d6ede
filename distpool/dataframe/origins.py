"""The call of pandas that a header stands for, kept so that pandas can make it where the plan cannot be run.

    header ── origin ──► method, arguments; each lazy one of them by its header ── origin ──► ...

A plan fails on values (a sum that leaves its type, a text that cannot be cast) or on what lies outside (a file that
is gone). Then the last call is made by pandas, on rows that plans make, or, where these fail too, by pandas in turn.
So the user gets pandas' rows, or pandas' own error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas

from distpool.dataframe import coverage_counts, memory
from distpool.dataframe.header import Header, PlanFailed


@dataclass(frozen=True, eq=False)
class Origin:
    """One call. The arguments are as they were: what the user may change since is a copy or a snapshot."""

    label: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    mutates: bool = False

    def headers(self) -> Iterator[Header]:
        """Give the lazy arguments."""
        yield from _headers(self.args)
        yield from _headers(self.kwargs)

    def call(self, made: dict[int, Any]) -> Any:
        """Make the call on the rows of its lazy arguments."""
        args, kwargs = _thawed(self.args, made), _thawed(self.kwargs, made)
        if not self.mutates:
            return self.function(*args, **kwargs)
        changed = args[0].copy(deep=False)
        self.function(changed, *args[1:], **kwargs)
        return changed


def with_origin(
    result: Any, label: str, function: Callable[..., Any], args: Any, kwargs: Any, mutates: bool = False
) -> Any:
    """Give a header that knows the call that it came from; anything else as it is."""
    if not isinstance(result, Header):
        return result
    return result.with_(origin=Origin(label, function, frozen(args), frozen(kwargs), mutates))


def frozen(value: Any) -> Any:
    """Give an argument as it is now, whatever the user does to it later."""
    from distpool.dataframe.objects import is_lazy

    if is_lazy(value):
        return value._header_now()
    if isinstance(value, pandas.DataFrame | pandas.Series):
        # pandas' own method: ours would ask for the origin of the copy.
        plain = pandas.DataFrame if value.ndim == 2 else pandas.Series
        return plain.copy(value, deep=False)
    if isinstance(value, np.ndarray):
        return value.copy()
    kind = type(value)
    if kind is list or kind is tuple:
        return kind(frozen(item) for item in value)
    if kind is dict:
        return {key: frozen(item) for key, item in value.items()}
    return value.copy() if kind is set else value


def _headers(value: Any) -> Iterator[Header]:
    if isinstance(value, Header):
        yield value
    elif type(value) is list or type(value) is tuple:
        for item in value:
            yield from _headers(item)
    elif type(value) is dict:
        for item in value.values():
            yield from _headers(item)


def _thawed(value: Any, made: dict[int, Any]) -> Any:
    if isinstance(value, Header):
        return made[id(value)]
    kind = type(value)
    if kind is list or kind is tuple:
        return kind(_thawed(item, made) for item in value)
    if kind is dict:
        return {key: _thawed(item, made) for key, item in value.items()}
    return value


def collect(header: Header) -> Any:
    """Make the rows of a header: a plain pandas DataFrame or Series. Raises what pandas raises."""
    try:
        return memory.collect(header)
    except PlanFailed as error:
        return _by_pandas(header, error)


def _by_pandas(header: Header, error: PlanFailed) -> Any:
    """A stack, not a recursion: a program may have made thousands of calls on one frame."""
    made: dict[int, Any] = {}
    failed = {id(header): error}
    stack = [header]
    while stack:
        top = stack[-1]
        if id(top) not in failed and id(top) not in made:
            try:
                made[id(top)] = memory.collect(top)
            except PlanFailed as another:
                failed[id(top)] = another
        if id(top) in made:
            stack.pop()
            continue
        if top.origin is None:
            raise failed[id(top)].__cause__ or failed[id(top)]
        waiting = [below for below in top.origin.headers() if id(below) not in made]
        if waiting:
            stack += waiting
            continue
        coverage_counts.add("fall-back", top.origin.label, f"the plan failed: {failed[id(top)]}")
        made[id(top)] = _labelled(top.origin.call(made), top.proto)
        stack.pop()
    return made[id(header)]


def _labelled(rows: Any, proto: Any) -> Any:
    """A handle may have been given other labels since the call."""
    if isinstance(proto, pandas.Series):
        rows = rows.rename(proto.name)
    elif len(rows.columns) == len(proto.columns):
        rows = rows.set_axis(proto.columns, axis=1)
    rows.attrs = dict(proto.attrs)
    return rows
