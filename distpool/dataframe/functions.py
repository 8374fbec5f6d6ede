"""pandas' module-level functions: those with a native kernel, and all others, whose results become ours."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from typing import Any

import pandas

from distpool.dataframe import coverage_counts, routes
from distpool.dataframe.natives import TABLE, Native
from distpool.dataframe.objects import adopt, is_lazy, is_ours

# Functions whose first argument is a path, and those that take what they are given, not a header.
_READERS = frozenset(("read_parquet",))
_TAKES_OBJECTS = _READERS | {"concat"}


def function(name: str) -> Callable[..., Any]:
    """Give pandas' function of this name, as ours."""
    original = getattr(pandas, name)
    native = TABLE["pandas"].get(name)
    if name == "eval":
        return _eval

    @functools.wraps(original)
    def run(*args: Any, **kwargs: Any) -> Any:
        current = getattr(pandas, name)
        if current is not original:
            # Somebody has put another in its place, as a test does by `mock.patch("pandas.read_csv")`.
            return adopt(current(*args, **kwargs))
        if native is None or routes.forced == "pandas" or not (name in _READERS or _concerns(args)):
            return adopt(original(*args, **kwargs))
        return _native(name, native, original, args, kwargs)

    return _at_home(run, name)


def _at_home(run: Callable[..., Any], name: str = "") -> Callable[..., Any]:
    """Say of a function where it is: `functools.wraps` gave it pandas' address, where pickle finds pandas' own."""
    # `isnull` is an alias in pandas, and here a function of its own.
    run.__module__, run.__qualname__ = "distpool.dataframe", name or run.__qualname__
    return run


def _native(name: str, native: Native, original: Any, args: Any, kwargs: Any) -> Any:
    from distpool.dataframe import origins
    from distpool.dataframe.dispatching import header_of, wrap
    from distpool.dataframe.header import NotNative, SchemaError

    label = f"pandas.{name}"
    try:
        first = args[0] if name in _TAKES_OBJECTS or not args else header_of(args[0])
        result = native.run(first, *args[1:], **kwargs)
    except SchemaError as error:
        raise error.__cause__ from None  # type: ignore[misc]
    except (NotNative, TypeError, ValueError, AttributeError, OSError, IndexError) as reason:
        coverage_counts.count("fall-back", label, str(reason))
        with coverage_counts.told():
            return adopt(_explained(original, args, kwargs, reason))
    coverage_counts.count("native", label)
    return wrap(origins.with_origin(result, label, original, args, kwargs))


def _explained(original: Any, args: Any, kwargs: Any, reason: Exception) -> Any:
    """What pandas raises of files that differ does not say which: the plan's reason does."""
    try:
        return original(*args, **kwargs)
    except Exception as error:
        if original is pandas.read_parquet and type(reason).__name__ == "NotNative":
            error.add_note(str(reason))
        raise


@_at_home
@functools.wraps(pandas.eval)
def _eval(*args: Any, **kwargs: Any) -> Any:
    """pandas looks for variables in its caller, which is one frame above this one."""
    try:
        given = inspect.signature(pandas.eval).bind(*args, **kwargs).arguments
    except TypeError:
        return pandas.eval(*args, **kwargs)  # which says so in its own words
    if given.get("level", 0):
        given["level"] += 1
    else:
        # Not a level either: pandas refuses `@x` where it is called by the user itself, and tells that by the level.
        caller = sys._getframe(1)
        for name, variables in (("local_dict", caller.f_locals), ("global_dict", caller.f_globals)):
            if given.get(name) is None:
                given[name] = variables
    return adopt(pandas.eval(**given))


def _concerns(args: Any) -> bool:
    """Whether the arguments have to do with a plan."""
    if not args:
        return False
    objects = args[0] if isinstance(args[0], list | tuple) else args[:1]
    return any(is_lazy(one) or (routes.forced and is_ours(one)) for one in objects)


@_at_home
@functools.wraps(pandas.merge)
def merge(left: Any, right: Any, *args: Any, **kwargs: Any) -> Any:
    """Merge as the method does, for frames of ours."""
    if type(left) is not pandas.DataFrame and isinstance(left, pandas.DataFrame):
        return left.merge(right, *args, **kwargs)
    return adopt(pandas.merge(left, right, *args, **kwargs))
