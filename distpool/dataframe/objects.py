"""DataFrame and Series: pandas' own classes, whose rows may not be there yet.

A lazy object has a `_header` and no `_mgr`. Whatever of pandas needs the rows asks for `_mgr`; `__getattr__` then
runs the plan and puts it there, and from then on the object is an ordinary pandas object at no cost:

    method with a native kernel ──► header ──► new header ──► lazy object
                │ NotNative, or pandas' own code
                ▼
    self._mgr ──► __getattr__ ──► memory.collect(header) ──► rows; the header is forgotten

So every name of pandas is here, with pandas' signature and behaviour, and what has no kernel falls back by itself.
Objects are handles: a mutation gives the handle another header, never changes one.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
import threading
import warnings
from typing import Any, ClassVar

import pandas
from pandas.api.extensions import no_default
from pandas.core.flags import Flags
from pandas.util import _exceptions

from distpool.dataframe import coverage_counts, memory, routes
from distpool.dataframe.header import Header, NotNative, SchemaError
from distpool.dataframe.natives import TABLE, Native

_filling = threading.RLock()


class _StandsFor(type):
    """The type of a class that stands for one of pandas: it says that it is that class.

    pandas' own objects are instances (some come from deep inside of pandas, as from `Index.to_frame`), and pandas'
    tests of equality, which compare types by `==`, find no difference.
    """

    def __instancecheck__(cls, instance: object) -> bool:
        return type.__instancecheck__(cls, instance) or (
            cls.__dict__.get("_stands_for") is not None and isinstance(instance, cls.__dict__["_stands_for"])
        )

    def __eq__(cls, other: object) -> bool:
        return cls is other or (other is not None and cls.__dict__.get("_stands_for") is other)

    def __hash__(cls) -> int:
        return hash(cls.__dict__.get("_stands_for")) if "_stands_for" in cls.__dict__ else type.__hash__(cls)


class _Handle:
    """What DataFrame and Series have in common."""

    def _header_now(self) -> Header:
        """The header, with the name and attrs that the user has set since."""
        values = self.__dict__
        header: Header = values["_header"]
        proto = header.proto
        if header.is_series and values["_name"] is not proto.name:
            proto = proto.rename(values["_name"])
        if values["_attrs"] != proto.attrs:
            proto = proto.copy(deep=False)
            proto.attrs = values["_attrs"]
        return header if proto is header.proto else header.with_(proto=proto)

    def _fill(self) -> Any:
        """Make the rows, once."""
        values = self.__dict__
        with _filling:
            if "_mgr" not in values:
                if "_header" not in values:
                    raise AttributeError("_mgr")
                coverage_counts.count_filling(type(self).__name__)
                made = memory.collect(self._header_now())
                object.__setattr__(self, "_mgr", made._mgr)
                del values["_header"]
        return values["_mgr"]

    def _become(self, header: Header) -> None:
        """Point to another header."""
        values = self.__dict__
        values["_header"] = header
        values.pop("_mgr", None)
        values.pop("_lifted", None)

    def _check_inplace_deprecation(self, inplace: Any, method: str) -> Any:
        """pandas counts the frames up to its caller, and ours lie between: what it says is said at the user's line."""
        check = super()._check_inplace_deprecation  # type: ignore[misc]
        if inplace is no_default:
            return check(inplace, method)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            given = check(inplace, method)
        for each in caught:
            warnings.warn(each.message, stacklevel=_exceptions.find_stack_level())
        return given

    def explain(self) -> str:
        """Tell how this object comes about: the plan as written, and after the optimizer.

        Returns a text. An object whose rows are there has no plan, and says so. Not a name of pandas.
        """
        from distpool.dataframe.explain import explained

        return explained(self)


_OWN = ("_header", "_lifted")


class DataFrame(_Handle, pandas.DataFrame, metaclass=_StandsFor):
    """pandas' DataFrame, lazy where that pays."""

    __module__ = "distpool.dataframe"
    _stands_for = pandas.DataFrame
    ndim = 2
    _internal_names: ClassVar = [*pandas.DataFrame._internal_names, *_OWN]
    _internal_names_set: ClassVar = pandas.DataFrame._internal_names_set | set(_OWN)

    @property
    def _constructor(self) -> type[DataFrame]:
        return DataFrame

    def _constructor_from_mgr(self, mgr: Any, axes: Any) -> Any:
        if type(self) is DataFrame:
            return DataFrame._from_mgr(mgr, axes)
        return super()._constructor_from_mgr(mgr, axes)

    def _constructor_sliced_from_mgr(self, mgr: Any, axes: Any) -> Any:
        if type(self) is DataFrame:
            made = Series._from_mgr(mgr, axes)
            object.__setattr__(made, "_name", None)
            return made
        return super()._constructor_sliced_from_mgr(mgr, axes)

    def __getattr__(self, name: str) -> Any:
        if name == "_mgr":
            return self._fill()
        header = self.__dict__.get("_header")
        if header is not None and "_mgr" not in self.__dict__ and isinstance(name, str):
            columns = header.proto.columns
            if name not in self._internal_names_set and name not in self._metadata and name in columns:
                return self[name]
            return object.__getattribute__(self, name)
        return pandas.DataFrame.__getattr__(self, name)


class Series(_Handle, pandas.Series, metaclass=_StandsFor):
    """pandas' Series, lazy where that pays."""

    __module__ = "distpool.dataframe"
    _stands_for = pandas.Series
    ndim = 1
    _internal_names: ClassVar = [*pandas.Series._internal_names, *_OWN]
    _internal_names_set: ClassVar = pandas.Series._internal_names_set | set(_OWN)

    @property
    def _constructor(self) -> type[Series]:
        return Series

    def _constructor_from_mgr(self, mgr: Any, axes: Any) -> Any:
        if type(self) is Series:
            made = Series._from_mgr(mgr, axes)
            object.__setattr__(made, "_name", None)
            return made
        return super()._constructor_from_mgr(mgr, axes)

    @property
    def _constructor_expanddim(self) -> type[DataFrame]:
        return DataFrame

    def _constructor_expanddim_from_mgr(self, mgr: Any, axes: Any) -> Any:
        if type(self) is Series:
            return DataFrame._from_mgr(mgr, axes)
        return super()._constructor_expanddim_from_mgr(mgr, axes)

    def __getattr__(self, name: str) -> Any:
        if name == "_mgr":
            return self._fill()
        return pandas.Series.__getattr__(self, name)


def is_ours(value: object) -> bool:
    """Say whether this is one of our objects, not of a class that the user derived."""
    kind = type(value)
    return kind is DataFrame or kind is Series


def is_lazy(value: object) -> bool:
    """Say whether this is one of our objects whose rows are not there."""
    return is_ours(value) and "_mgr" not in value.__dict__ and "_header" in value.__dict__


def wrap(result: Any) -> Any:
    """Make a handle of a header; give anything else as it is."""
    if not isinstance(result, Header):
        return result
    kind = Series if result.is_series else DataFrame
    made = kind.__new__(kind)
    values = made.__dict__
    values["_attrs"] = dict(result.proto.attrs)
    values["_flags"] = Flags(made, allows_duplicate_labels=True)
    values["_header"] = result.kept_small()
    if result.is_series:
        values["_name"] = result.proto.name
    return made


def adopt(result: Any) -> Any:
    """Make objects that pandas' functions gave ours, in place; look into tuples, lists and dicts."""
    kind = type(result)
    if kind is pandas.DataFrame:
        result.__class__ = DataFrame
    elif kind is pandas.Series:
        result.__class__ = Series
    elif kind is tuple or kind is list:
        return kind(adopt(item) for item in result)
    elif kind is dict:
        return {key: adopt(item) for key, item in result.items()}
    return result


def header_of(value: Any) -> Header:
    """Give the header of one of our objects: its own, or that of its snapshot as a source."""
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
        result = native.run(header_of(self), *args, **kwargs)
    except NotNative as reason:
        coverage_counts.count("fall-back", label, str(reason))
        return original(self, *args, **kwargs)
    except SchemaError as error:
        coverage_counts.count("native", label)
        raise error.__cause__ from None  # type: ignore[misc]
    except (TypeError, ValueError, AttributeError, NotImplementedError, IndexError) as error:
        # Arguments that the operation does not know, or that pandas refuses: pandas says which.
        coverage_counts.count("fall-back", label, f"{type(error).__name__}: {error}")
        return original(self, *args, **kwargs)
    coverage_counts.count("native", label)
    if native.mutates:
        self._become(result)
        return None
    return wrap(result)


def _method(owner: str, name: str, original: Any, native: Native) -> Any:
    label = f"{owner}.{name}"
    heavy, meets, exact = native.heavy, native.meets, {"DataFrame": DataFrame, "Series": Series}[owner]

    @functools.wraps(original)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        manager = self.__dict__.get("_mgr")
        if manager is not None and not (
            routes.forced or (heavy and routes.pays(manager)) or (meets and args and is_lazy(args[0]))
        ):
            return original(self, *args, **kwargs)
        if type(self) is not exact:
            return original(self, *args, **kwargs)
        return dispatch(self, label, native, original, args, kwargs)

    return method


def _query(self: Any, expr: Any, **options: Any) -> Any:
    """pandas looks for `@x` among the variables of its caller, which is as many frames above as there are of ours."""
    ours, frame = 0, sys._getframe(0)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(coverage_counts.OURS):
        ours, frame = ours + 1, frame.f_back
    return pandas.DataFrame.query(self, expr, level=options.pop("level", 0) + ours, **options)


def _answer(kind: type, name: str) -> Any:
    """A property that the empty frame can answer."""
    original = getattr(kind, name)

    def get(self: Any) -> Any:
        values = self.__dict__
        if "_mgr" not in values and "_header" in values:
            return getattr(values["_header"].proto, name)
        return original.__get__(self) if hasattr(original, "__get__") else getattr(kind, name)

    return property(get, doc=getattr(original, "__doc__", None))


def _answering_method(kind: type, name: str) -> Any:
    original = getattr(kind, name)

    @functools.wraps(original)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        values = self.__dict__
        if "_mgr" not in values and "_header" in values:
            return getattr(values["_header"].proto, name)(*args, **kwargs)
        return original(self, *args, **kwargs)

    return method


def _columns() -> property:
    original = pandas.DataFrame.__dict__["columns"]

    def get(self: Any) -> Any:
        values = self.__dict__
        if "_mgr" not in values and "_header" in values:
            return values["_header"].proto.columns
        return original.__get__(self, type(self))

    def put(self: Any, labels: Any) -> None:
        values = self.__dict__
        if "_mgr" not in values and "_header" in values:
            header = self._header_now()
            proto = header.proto.copy(deep=False)
            proto.columns = labels
            self._become(header.with_(proto=proto))
        else:
            original.__set__(self, labels)

    return property(get, put, doc=original.__doc__)


def _warn_callers() -> None:
    """Let pandas' warnings name the line that called: what lies between it and pandas, ours too, is not meant."""
    pandas_folder = os.path.dirname(pandas.__file__) + os.sep
    _exceptions._pkg_dir = (pandas_folder, coverage_counts.OURS + os.sep)
    _exceptions._test_dir = os.path.join(pandas_folder, "tests") + os.sep


def equip() -> None:
    """Put the native operations on the classes. Called once, when the package is imported."""
    for kind in (DataFrame, Series):
        parent = kind._stands_for
        kind.__doc__ = parent.__doc__
        for name, native in TABLE.get(kind.__name__, {}).items():
            setattr(kind, name, _method(kind.__name__, name, getattr(parent, name), native))
    DataFrame._constructor_sliced = Series
    original = functools.wraps(pandas.DataFrame.query)(_query)
    DataFrame.query = _method("DataFrame", "query", original, TABLE["DataFrame"]["query"])
    DataFrame.columns = _columns()
    DataFrame.dtypes = _answer(pandas.DataFrame, "dtypes")
    for name in ("keys", "__iter__", "__contains__"):
        setattr(DataFrame, name, _answering_method(pandas.DataFrame, name))
    for name in ("dtype", "dtypes"):
        setattr(Series, name, _answer(pandas.Series, name))
    _warn_callers()
