"""GroupBy objects, `.str`, `.dt` and `.loc` of lazy frames: pandas' own classes, not begun yet.

Such an object knows its subject (a header or a grouping) and how pandas would make the real one. Methods with a
native kernel use the subject. Anything else begins: pandas' object is made of the filled frame, and its contents
become this one's.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pandas
from pandas.api import typing as pandas_types
from pandas.core.indexes.accessors import DatetimeProperties as PandasDatetimes
from pandas.core.indexing import _iLocIndexer, _LocIndexer
from pandas.core.strings.accessor import StringMethods as PandasStrings

from distpool.dataframe import coverage_counts, routes
from distpool.dataframe.header import Header, NotNative, SchemaError
from distpool.dataframe.natives import TABLE, Native
from distpool.dataframe.objects import DataFrame, Series, header_of, is_lazy, is_ours, wrap
from distpool.dataframe.operations.grouping import Grouping, groupby
from distpool.dataframe.operations.selection import getitem


class _NotBegun:
    """The trick, for each of the classes below."""

    def _begin(self) -> None:
        values = self.__dict__
        make = values.pop("_make")
        values.pop("_subject")
        values.update(make().__dict__)

    def __getattr__(self, name: str) -> Any:
        values = self.__dict__
        if "_make" not in values:
            return super().__getattr__(name)  # type: ignore[misc]
        subject = values["_subject"]
        if (
            isinstance(subject, Grouping)
            and not subject.header.is_series
            and name in subject.header.proto.columns
        ):
            return self[name]  # type: ignore[index]
        self._begin()
        return getattr(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        # pandas' methods set `as_index` for a while: what its subject was asked for is no longer what is meant.
        if "_make" in self.__dict__:
            self._begin()
        super().__setattr__(name, value)


class _Begins:
    """An attribute that pandas' class has a default of, which would hide that the object has not begun."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is None or "_make" not in instance.__dict__:
            return None
        instance._begin()
        return instance.__dict__[self.name]


class DataFrameGroupBy(_NotBegun, pandas_types.DataFrameGroupBy):
    """pandas' own, not begun yet."""

    keys, level = _Begins(), _Begins()


class SeriesGroupBy(_NotBegun, pandas_types.SeriesGroupBy):
    """pandas' own, not begun yet."""

    keys, level = _Begins(), _Begins()


class StringMethods(_NotBegun, PandasStrings):
    """pandas' own, not begun yet."""


class DatetimeProperties(_NotBegun, PandasDatetimes):
    """pandas' own, not begun yet."""


def not_begun(kind: Any, subject: Any, make: Callable[[], Any]) -> Any:
    """Make one that has not begun."""
    made = object.__new__(kind)
    made.__dict__.update(_subject=subject, _make=make)
    return made


def wrap_grouping(grouping: Grouping, make: Callable[[], Any]) -> Any:
    """Make the lazy GroupBy object of a grouping."""
    kind = SeriesGroupBy if grouping.one_column else DataFrameGroupBy
    made = not_begun(kind, grouping, make)
    made.__dict__.update(grouping.options)
    return made


def begun(made: Any) -> Any:
    """Make pandas' own GroupBy object one of these classes, so that their methods are there."""
    if type(made) is pandas_types.DataFrameGroupBy:
        made.__class__ = DataFrameGroupBy
    elif type(made) is pandas_types.SeriesGroupBy:
        made.__class__ = SeriesGroupBy
    return made


def _helper_method(owner: str, name: str, original: Any, native: Native) -> Any:
    label = f"{owner}.{name}"

    @functools.wraps(original)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        subject = self.__dict__.get("_subject")
        if subject is None:
            return begun(original(self, *args, **kwargs))
        try:
            result = native.run(subject, *args, **kwargs)
        except SchemaError as error:
            raise error.__cause__ from None  # type: ignore[misc]
        except (NotNative, TypeError, ValueError, AttributeError, NotImplementedError) as reason:
            coverage_counts.count("fall-back", label, str(reason))
            self._begin()
            return begun(original(self, *args, **kwargs))
        coverage_counts.count("native", label)
        if isinstance(result, Grouping):
            make = self.__dict__["_make"]
            return wrap_grouping(result, lambda: make()[args[0]])
        return wrap(result)

    return method


def _helper_property(owner: str, name: str, original: Any, native: Native) -> property:
    compute = _helper_method(owner, name, original.fget, native)
    return property(compute, doc=original.__doc__)


def _accessor(kind: Any, name: str, parent: Any) -> property:
    """`.str` and `.dt`: pandas' own checks are made on the empty series, so a wrong dtype is an error at once."""
    original = parent.__dict__[name]

    def get(self: Any) -> Any:
        manager = self.__dict__.get("_mgr")
        if (manager is not None and not routes.forced) or type(self) is not Series:
            return original.__get__(self, type(self))
        try:
            header = header_of(self)
        except NotNative:
            return original.__get__(self, type(self))
        if isinstance(header.proto.dtype, pandas.CategoricalDtype) or header.proto.dtype == object:
            return original.__get__(self, type(self))
        getattr(header.proto, name)
        return not_begun(kind, header, lambda: original.__get__(self, type(self)))

    made = _AccessorProperty(get, doc=parent.__doc__)
    made.on_class = getattr(parent, name)
    return made


class _AccessorProperty(property):
    """One that on the class is the accessor's class, as `pandas.Series.str` is."""

    on_class: Any = None

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return super().__get__(instance, owner) if instance is not None else self.on_class


class _LazyLoc(_LocIndexer):
    """`df.loc[mask]`, `df.loc[mask, columns]`, `df.loc[:, columns]` of lazy frames."""

    def __getitem__(self, key: Any) -> Any:
        return _indexed(self, key, _by_labels, super().__getitem__, "loc")


class _LazyILoc(_iLocIndexer):
    """`df.iloc[a:b]` of lazy frames."""

    def __getitem__(self, key: Any) -> Any:
        return _indexed(self, key, _by_positions, super().__getitem__, "iloc")


def _indexed(self: Any, key: Any, run: Any, original: Any, name: str) -> Any:
    label = f"{type(self.obj).__name__}.{name}"
    if routes.forced == "pandas":
        return original(key)
    try:
        if _is_view(key) and not is_lazy(self.obj):
            raise NotNative("a slice of rows in memory is a view, and costs nothing")
        result = run(header_of(self.obj), key)
    except SchemaError as error:
        raise error.__cause__ from None  # type: ignore[misc]
    except (NotNative, TypeError, ValueError, AttributeError) as reason:
        coverage_counts.count("fall-back", label, str(reason))
        return original(key)
    coverage_counts.count("native", label)
    return wrap(result)


def _is_view(key: Any) -> bool:
    return isinstance(key[0] if isinstance(key, tuple) and key else key, slice)


def _by_labels(header: Header, key: Any) -> Any:
    rows, columns = key if isinstance(key, tuple) and not header.is_series else (key, slice(None))
    if isinstance(key, tuple) and len(key) != 2:
        raise NotNative("a key of several levels")
    if isinstance(rows, pandas.Series):
        from distpool.dataframe.operations.rows import filtered

        header = filtered(header, rows)
    elif not (isinstance(rows, slice) and rows == slice(None)):
        raise NotNative("rows by their labels")
    if isinstance(columns, slice) and columns == slice(None):
        return header
    if header.is_series or isinstance(columns, slice | pandas.Series):
        raise NotNative("a slice of columns")
    return getitem(header, columns)


def _by_positions(header: Header, key: Any) -> Any:
    if not isinstance(key, slice):
        raise NotNative("rows by their numbers")
    from distpool.dataframe.operations.rows import sliced

    return sliced(header, key)


def _indexer(kind: Any, name: str, parent: Any) -> property:
    original = getattr(parent, name)

    def get(self: Any) -> Any:
        if is_lazy(self) or (routes.forced and is_ours(self)):
            return kind(name, self)
        return original.__get__(self)

    return property(get, doc=original.__doc__)


def _grouping_method(owner: str, original: Any) -> Any:
    label = f"{owner}.groupby"

    @functools.wraps(original)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        manager = self.__dict__.get("_mgr")
        if (manager is not None and not routes.forced and not routes.pays(manager)) or not is_ours(self):
            return begun(original(self, *args, **kwargs))
        try:
            if routes.forced == "pandas":
                raise NotNative("the route is pandas")
            grouping = groupby(header_of(self), *args, **kwargs)
        except SchemaError as error:
            raise error.__cause__ from None  # type: ignore[misc]
        except (NotNative, TypeError, ValueError, AttributeError) as reason:
            coverage_counts.count("fall-back", label, str(reason))
            return begun(original(self, *args, **kwargs))
        coverage_counts.count("native", label)
        # The handle may be changed by the user before pandas is asked: the group-by is of what it was.
        frozen = wrap(grouping.header) if is_lazy(self) else self.copy(deep=False)
        return wrap_grouping(grouping, lambda: original(frozen, *args, **kwargs))

    return method


def equip() -> None:
    """Put the native operations on the helpers, and the helpers on the frames."""
    for kind in (DataFrameGroupBy, SeriesGroupBy, StringMethods, DatetimeProperties):
        parent = kind.__mro__[2]
        for name, native in TABLE.get(kind.__name__, {}).items():
            original = getattr(parent, name)
            if isinstance(original, property) and ".. deprecated::" in (original.__doc__ or ""):
                continue  # it warns, and the warning names the line that asked: pandas' to do
            make = _helper_property if isinstance(original, property) else _helper_method
            setattr(kind, name, make(kind.__name__, name, original, native))
        kind.__doc__ = parent.__doc__
    for kind, parent in ((DataFrame, pandas.DataFrame), (Series, pandas.Series)):
        kind.groupby = _grouping_method(kind.__name__, parent.groupby)
        kind.loc = _indexer(_LazyLoc, "loc", parent)
        kind.iloc = _indexer(_LazyILoc, "iloc", parent)
    Series.str = _accessor(StringMethods, "str", pandas.Series)
    Series.dt = _accessor(DatetimeProperties, "dt", pandas.Series)
