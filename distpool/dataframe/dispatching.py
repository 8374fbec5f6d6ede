"""A method with a native operation on one of our objects: its header, the operation, the object of the result.

    handle ── header_of ──► header ── operation ──► header ── wrap ──► lazy handle
                                         │ NotNative, or arguments that pandas refuses
                                         ▼
                                      pandas' own method

Apart from objects.py, so that who never makes a plan never imports what plans are made of.
"""

from __future__ import annotations

import copy
import inspect
from typing import Any

import pandas
from pandas.core.flags import Flags

from distpool.dataframe import coverage_counts, memory, origins, routes
from distpool.dataframe.header import Header, NotNative, SchemaError
from distpool.dataframe.natives import Native
from distpool.dataframe.objects import DataFrame, Series, is_lazy, is_ours
from distpool.dataframe.subjects import ResampleSubject, RollingSubject


def wrap(result: Any) -> Any:
    """Make a handle of a header; give anything else as it is."""
    if not isinstance(result, Header):
        return result
    kind = Series if result.is_series else DataFrame
    made = kind.__new__(kind)
    values = made.__dict__
    # A copy of its own, as with pandas.
    values["_attrs"] = copy.deepcopy(result.proto.attrs) if result.proto.attrs else {}
    values["_flags"] = Flags(made, allows_duplicate_labels=True)
    values["_header"] = result.kept_small()
    if result.is_series:
        values["_name"] = result.proto.name
    return made


#: Options that change what pandas gives: NaN and NA apart, Python's numbers instead of numpy's.
_FUTURE = ("future.distinguish_nan_and_na", "future.python_scalars")


def _future_is_on() -> bool:
    try:
        return any(map(pandas.get_option, _FUTURE))
    except pandas.errors.OptionError:  # this pandas has none of them
        return False


def header_of(value: Any) -> Header:
    """Give the header of one of our objects: its own, or that of its snapshot as a source."""
    if _future_is_on():
        raise NotNative("an option of pandas that changes results")
    if is_lazy(value):
        return value._header_now()  # type: ignore[no-any-return]
    if is_ours(value):
        return memory.lift(value)
    raise NotNative(f"a {type(value).__name__}")


def _check_inplace(original: Any, inplace: Any) -> None:
    if inplace:
        raise NotNative("in place")
    if inspect.signature(original).parameters["inplace"].default is not False:
        raise NotNative("a keyword that pandas warns of")


def dispatch(self: Any, label: str, native: Native, original: Any, args: Any, kwargs: Any) -> Any:
    """Run the native operation on a handle; where there is none that is exact, pandas' method."""
    try:
        if routes.forced == "pandas":
            raise NotNative("the route is pandas")
        if "inplace" in kwargs:
            _check_inplace(original, kwargs["inplace"])
        if "copy" in kwargs and inspect.signature(original).parameters["copy"].default is not True:
            raise NotNative("a keyword that pandas warns of")
        result = native.run(header_of(self), *args, **kwargs)
    except NotNative as reason:
        coverage_counts.count("fall-back", label, str(reason))
        with coverage_counts.told():
            return original(self, *args, **kwargs)
    except SchemaError as error:
        coverage_counts.count("native", label)
        raise error.__cause__ from None  # type: ignore[misc]
    except (TypeError, ValueError, AttributeError, NotImplementedError, IndexError) as error:
        # Arguments that the operation does not know, or that pandas refuses: pandas says which.
        coverage_counts.count("fall-back", label, f"{type(error).__name__}: {error}")
        with coverage_counts.told():
            return original(self, *args, **kwargs)
    coverage_counts.count("native", label)
    if isinstance(result, RollingSubject | ResampleSubject):
        from distpool.dataframe import helpers

        return helpers.about_rows(self, original, result, args, kwargs)
    if not native.traced:
        result = origins.with_origin(result, label, original, (self, *args), kwargs, native.mutates)
    if native.mutates:
        self._become(result)
        return None
    return wrap(result)
