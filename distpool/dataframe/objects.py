"""DataFrame and Series: pandas' own classes, whose rows may not be there yet.

A lazy object has a `_header` and no `_mgr`. Whatever of pandas needs the rows asks for `_mgr`; `__getattr__` then
runs the plan and puts it there, and from then on the object is an ordinary pandas object at no cost:

    method with a native kernel ──► header ──► new header ──► lazy object
                │ NotNative, or pandas' own code
                ▼
    self._mgr ──► __getattr__ ──► origins.collect(header) ──► rows; the header is forgotten

So every name of pandas is here, with pandas' signature and behaviour, and what has no kernel falls back by itself.
Objects are handles: a mutation gives the handle another header, never changes one.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
import types
import warnings
from abc import ABCMeta
from typing import TYPE_CHECKING, Any, ClassVar

import pandas
from pandas.api.extensions import no_default
from pandas.compat._constants import REF_COUNT, REF_COUNT_METHOD
from pandas.core import common
from pandas.errors import cow
from pandas.util import _exceptions

from distpool.dataframe import coverage_counts, routes
from distpool.dataframe.natives import TABLE, Native

if TYPE_CHECKING:
    from distpool.dataframe.header import Header

_filling = threading.RLock()


class _StandsFor(ABCMeta):
    """The type of a class that stands for one of pandas: it says that it is that class.

    pandas' own objects are instances (some come from deep inside of pandas, as from `Index.to_frame`), and pandas'
    tests of equality, which compare types by `==`, find no difference. What the user sets on the class is set on
    pandas', so that those objects have it as well, and what is registered on pandas' (an accessor) is not hidden.

    An ABCMeta, for the user's `class Table(pd.DataFrame, ABC)`: two types of classes that know nothing of each other
    cannot be joined, and pandas' own has none.
    """

    equipped: ClassVar = False

    def __instancecheck__(cls, instance: object) -> bool:
        if "_stands_for" not in cls.__dict__:
            return super().__instancecheck__(instance)
        return type.__instancecheck__(cls, instance) or isinstance(instance, cls.__dict__["_stands_for"])

    def __subclasscheck__(cls, subclass: type) -> bool:
        if "_stands_for" not in cls.__dict__:
            return super().__subclasscheck__(subclass)
        return type.__subclasscheck__(cls, subclass) or issubclass(subclass, cls.__dict__["_stands_for"])

    def __setattr__(cls, name: str, value: Any) -> None:
        if not _StandsFor.equipped or "_stands_for" not in cls.__dict__:
            type.__setattr__(cls, name, value)
            return
        theirs = cls.__dict__["_stands_for"]
        now = cls.__dict__.get(name, _ABSENT), theirs.__dict__.get(name, _ABSENT)
        ours_before, _ = _replaced.setdefault((theirs, name), now)
        if value is ours_before:
            _put_back(cls, theirs, name)
            return
        if ours_before is not _ABSENT:
            type.__setattr__(cls, name, value)
        setattr(theirs, name, value)

    def __delattr__(cls, name: str) -> None:
        if not _StandsFor.equipped or "_stands_for" not in cls.__dict__:
            type.__delattr__(cls, name)
            return
        theirs = cls.__dict__["_stands_for"]
        if (theirs, name) in _replaced:
            # pytest's monkeypatch and mock set it and saw no such name in `vars` of the class: they delete to undo.
            _put_back(cls, theirs, name)
            return
        if name in cls.__dict__:
            type.__delattr__(cls, name)
        delattr(theirs, name)

    def __eq__(cls, other: object) -> bool:
        return cls is other or (other is not None and cls.__dict__.get("_stands_for") is other)

    def __repr__(cls) -> str:
        # `info` and the texts of errors show it, and are pandas' own.
        return repr(cls.__dict__["_stands_for"]) if "_stands_for" in cls.__dict__ else type.__repr__(cls)

    def __hash__(cls) -> int:
        return hash(cls.__dict__.get("_stands_for")) if "_stands_for" in cls.__dict__ else type.__hash__(cls)


_ABSENT: Any = object()

#: By pandas' class and name: what the user has put something in the place of, on our class and on pandas'.
_replaced: dict[tuple[type, str], tuple[Any, Any]] = {}


def _put_back(ours: type, theirs: type, name: str) -> None:
    for kind, before in zip((ours, theirs), _replaced.pop((theirs, name)), strict=True):
        if before is not _ABSENT:
            type.__setattr__(kind, name, before)
        elif name in kind.__dict__:
            type.__delattr__(kind, name)


def same_attrs(one: Any, two: Any) -> bool:
    """Say whether these are seen to be the same: a frame among them has no one truth."""
    try:
        return bool(one == two)
    except (TypeError, ValueError):
        return False


class Watch:
    """What a GroupBy or a window holds of its lazy frame, which refers to it until it is changed (helpers.py)."""

    def filled(self, manager: Any) -> None:
        """Remember the rows, and a snapshot of them, so that what is changed in them is changed in a copy."""
        from distpool.dataframe import memory

        self.parts, self.snapshot = memory.parts(manager), manager.copy(deep=False)


class _Handle:
    """What DataFrame and Series have in common."""

    def _header_now(self) -> Header:
        """The header, with the name and attrs that the user has set since."""
        values = self.__dict__
        header: Header = values["_header"]
        proto = header.proto
        if header.is_series and values["_name"] is not proto.name:
            proto = proto.rename(values["_name"])
        if not same_attrs(values["_attrs"], proto.attrs):
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
                from distpool.dataframe import origins

                made = origins.collect(self._header_now())
                object.__setattr__(self, "_mgr", made._mgr)
                del values["_header"]
                if "_watch" in values and (watch := values["_watch"]()) is not None:
                    watch.filled(made._mgr)
        return values["_mgr"]

    def _become(self, header: Header) -> None:
        """Point to another header."""
        values = self.__dict__
        values["_header"] = header
        values.pop("_mgr", None)
        values.pop("_lifted", None)
        values.pop("_watch", None)

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

    def __len__(self) -> int:
        """The number of rows: of a file as it says itself, of others when they are made."""
        values = self.__dict__
        if "_mgr" not in values and "_header" in values:
            from distpool.dataframe.plan import height

            known = height(values["_header"].base)
            if known is not None:
                return known
        return len(self._mgr.axes[-1])  # type: ignore[attr-defined]

    def explain(self) -> str:
        """Tell how this object comes about: the plan as written, and after the optimizer.

        Returns a text. An object whose rows are there has no plan, and says so. Not a name of pandas.
        """
        from distpool.dataframe.explain import explained

        return explained(self)


_OWN = ("_header", "_lifted", "_watch")


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


#: Methods of which pandas warns when they change in place what nobody has a name for.
_CHAINED = frozenset(("bfill", "clip", "ffill", "fillna", "mask", "where"))


def _setitem(method: Any) -> Any:
    """`df[...] = value`, with pandas' warning where nobody has a name for the frame."""

    @functools.wraps(method)
    def __setitem__(self: Any, key: Any, value: Any) -> None:
        if (
            sys.getrefcount(self) <= REF_COUNT
            and not common.is_local_in_caller_frame(self)
            and common.is_setitem_syntax_in_caller_frame()
        ):
            warnings.warn(cow._chained_assignment_msg, pandas.errors.ChainedAssignmentError, stacklevel=2)
        method(self, key, value)

    return __setitem__


def _method(owner: str, name: str, original: Any, native: Native) -> Any:
    label = f"{owner}.{name}"
    warns = name in _CHAINED
    heavy, meets, exact = native.heavy, native.meets, {"DataFrame": DataFrame, "Series": Series}[owner]

    @functools.wraps(original)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        if (
            warns
            and kwargs.get("inplace") is True
            and sys.getrefcount(self) <= REF_COUNT_METHOD
            and not common.is_local_in_caller_frame(self)
        ):
            # pandas counts the references itself, and would find ours.
            warnings.warn(
                cow._chained_assignment_method_msg, pandas.errors.ChainedAssignmentError, stacklevel=2
            )
        manager = self.__dict__.get("_mgr")
        if manager is not None and not (
            routes.forced or (heavy and routes.pays(manager)) or (meets and args and is_lazy(args[0]))
        ):
            return original(self, *args, **kwargs)
        if type(self) is not exact:
            return original(self, *args, **kwargs)
        from distpool.dataframe.dispatching import dispatch

        return dispatch(self, label, native, original, args, kwargs)

    return method


#: What applying.py knows how to share out.
WITH_FUNCTION = {
    "DataFrame": ("apply",),
    "Series": ("apply", "map"),
    "DataFrameGroupBy": ("apply",),
    "SeriesGroupBy": ("apply", "transform", "agg", "aggregate"),
}


def with_function(owner: str, name: str, original: Any) -> Any:
    """Make the method that may be given a Python function, which workers may call (applying.py)."""

    @functools.wraps(original)
    def method(self: Any, func: Any = None, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(func, types.FunctionType | types.MethodType | functools.partial):
            return original(self, *(() if func is None else (func,)), *args, **kwargs)
        from distpool.dataframe import applying

        return applying.evaluated(self, owner, name, original, func, args, kwargs)

    return method


def _grouping_method(original: Any) -> Any:
    """The result has classes of ours, whatever way it comes."""

    @functools.wraps(original)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        from distpool.dataframe import helpers

        return helpers.grouped(self, original, args, kwargs)

    return method


def _accessor(name: str, parent: Any) -> property:
    """`.str` and `.dt`."""
    original = parent.__dict__[name]

    def get(self: Any) -> Any:
        manager = self.__dict__.get("_mgr")
        if (manager is not None and not routes.forced) or type(self) is not Series:
            return original.__get__(self, type(self))
        from distpool.dataframe import helpers

        return helpers.accessor(self, name, original)

    made = _AccessorProperty(get, doc=parent.__doc__)
    made.on_class = getattr(parent, name)
    return made


class _AccessorProperty(property):
    """One that on the class is the accessor's class, as `pandas.Series.str` is."""

    on_class: Any = None

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return super().__get__(instance, owner) if instance is not None else self.on_class


def _indexer(name: str, parent: Any) -> property:
    """`.loc` and `.iloc`."""
    original = getattr(parent, name)

    def get(self: Any) -> Any:
        if is_lazy(self) or (routes.forced and is_ours(self)):
            from distpool.dataframe import helpers

            return helpers.indexer(self, name)
        return original.__get__(self)

    return property(get, doc=original.__doc__)


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


def _shape(kind: type) -> property:
    original: Any = getattr(kind, "shape")  # noqa: B009

    def get(self: Any) -> Any:
        values = self.__dict__
        if "_mgr" not in values and "_header" in values:
            from distpool.dataframe.plan import height

            known = height(values["_header"].base)
            if known is not None:
                return (known, *values["_header"].proto.shape[1:])
        return original.__get__(self)

    return property(get, doc=original.__doc__)


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
        # The most asked of all: what pandas' own descriptor does, in one look at the dict.
        try:
            return self.__dict__["_mgr"].axes[0]
        except KeyError:
            header = self.__dict__.get("_header")
            if header is None:
                return original.__get__(self, type(self))
            # `df.columns.name = "x"` changes the labels in place: they must be of this frame alone.
            proto = header.proto.copy(deep=False)
            proto.columns = labels = header.proto.columns.view()
            self.__dict__["_header"] = header.with_(proto=proto)
            return labels

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
        kind.shape = _shape(parent)
        for name, native in TABLE.get(kind.__name__, {}).items():
            original = getattr(parent, name)
            if name == "query":
                original = functools.wraps(original)(_query)
            made = _method(kind.__name__, name, original, native)
            setattr(kind, name, _setitem(made) if name == "__setitem__" else made)
        kind.groupby = _grouping_method(parent.groupby)
        kind.loc = _indexer("loc", parent)
        kind.iloc = _indexer("iloc", parent)
        for name in WITH_FUNCTION[kind.__name__]:
            setattr(kind, name, with_function(kind.__name__, name, getattr(kind, name)))
    Series.str = _accessor("str", pandas.Series)
    Series.dt = _accessor("dt", pandas.Series)
    DataFrame._constructor_sliced = Series
    DataFrame.columns = _columns()
    DataFrame.dtypes = _answer(pandas.DataFrame, "dtypes")
    for name in ("keys", "__iter__", "__contains__"):
        setattr(DataFrame, name, _answering_method(pandas.DataFrame, name))
    for name in ("dtype", "dtypes"):
        setattr(Series, name, _answer(pandas.Series, name))
    for kind in (DataFrame, Series):
        for name, value in vars(kind).items():
            if isinstance(value, types.FunctionType) and value.__module__ != __name__:
                # `functools.wraps` gave it pandas' address, and there pickle finds pandas' own.
                value.__module__, value.__qualname__ = kind.__module__, f"{kind.__name__}.{name}"
    _StandsFor.equipped = True
    _warn_callers()
