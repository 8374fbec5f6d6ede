"""GroupBy objects, `.str`, `.dt` and `.loc` of lazy frames: pandas' own classes, not begun yet.

Such an object knows its subject (a header or a grouping) and how pandas would make the real one. Methods with a
native kernel use the subject. Anything else begins: pandas' object is made of the filled frame, and its contents
become this one's.
"""

from __future__ import annotations

import functools
import sys
import warnings
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas
from pandas.api import typing as pandas_types
from pandas.compat._constants import REF_COUNT_IDX
from pandas.core.indexes.accessors import DatetimeProperties as PandasDatetimes
from pandas.core.indexes.accessors import TimedeltaProperties as PandasTimedeltas
from pandas.core.indexing import _iLocIndexer, _LocIndexer
from pandas.core.resample import DatetimeIndexResampler
from pandas.core.strings.accessor import StringMethods as PandasStrings
from pandas.errors import cow

from distpool.dataframe import coverage_counts, kinds, memory, origins, routes
from distpool.dataframe.dispatching import header_of, wrap
from distpool.dataframe.expressions import call
from distpool.dataframe.header import Field, Header, NotNative, SchemaError
from distpool.dataframe.natives import TABLE, Native
from distpool.dataframe.objects import WITH_FUNCTION, Watch, is_lazy, is_ours, with_function
from distpool.dataframe.subjects import Grouping, ResampleSubject, RollingSubject


class _NotBegun:
    """The trick, for each of the classes below."""

    def _begin(self) -> None:
        values = self.__dict__
        make = values.pop("_make")
        values.pop("_subject")
        values.pop("_is_current", None)
        values.update(make().__dict__)

    def _subject_now(self) -> Any:
        """What it is about; None if it has begun, as it must where the user has changed the frame since."""
        values = self.__dict__
        if "_is_current" in values and not values["_is_current"]():
            coverage_counts.count("fall-back", type(self).__name__, "its frame was changed, or filled, since")
            self._begin()
        return values.get("_subject")

    def __reduce_ex__(self, protocol: Any) -> Any:
        """For pickle and copy: what has begun is pandas' own."""
        if "_make" in self.__dict__:
            self._begin()
        return super().__reduce_ex__(protocol)

    def __getattr__(self, name: str) -> Any:
        values = self.__dict__
        if "_make" not in values:
            return super().__getattr__(name)  # type: ignore[misc]
        subject = self._subject_now()
        if subject is None:
            return getattr(self, name)
        if (
            isinstance(subject, Grouping | ResampleSubject)
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

    keys, level, _selection = _Begins(), _Begins(), _Begins()


class SeriesGroupBy(_NotBegun, pandas_types.SeriesGroupBy):
    """pandas' own, not begun yet."""

    keys, level, _selection = _Begins(), _Begins(), _Begins()


class Rolling(_NotBegun, pandas_types.Rolling):
    """pandas' own, not begun yet."""

    _selection = _Begins()


class Expanding(_NotBegun, pandas_types.Expanding):
    """pandas' own, not begun yet."""

    _selection = _Begins()


class Resampler(_NotBegun, DatetimeIndexResampler):
    """pandas' own, not begun yet."""

    _selection, exclusions = _Begins(), _Begins()


class ResampledSeries(_NotBegun, pandas_types.SeriesGroupBy):
    """A column of a resampler, which in pandas is a GroupBy."""

    keys, level, _selection = _Begins(), _Begins(), _Begins()


class ResampledFrame(_NotBegun, pandas_types.DataFrameGroupBy):
    """Columns of a resampler, likewise."""

    keys, level, _selection = _Begins(), _Begins(), _Begins()


class StringMethods(_NotBegun, PandasStrings):
    """pandas' own, not begun yet."""


class DatetimeProperties(_NotBegun, PandasDatetimes):
    """pandas' own, not begun yet."""


class TimedeltaProperties(_NotBegun, PandasTimedeltas):
    """pandas' own, not begun yet."""


def not_begun(
    kind: Any, subject: Any, make: Callable[[], Any], is_current: Callable[[], bool] | None = None
) -> Any:
    """Make one that has not begun. `is_current`: whether the subject is still what the user's frame is."""
    made = object.__new__(kind)
    made.__dict__.update(_subject=subject, _make=make)
    if is_current is not None:
        made.__dict__["_is_current"] = is_current
    return made


def wrap_grouping(
    grouping: Grouping, make: Callable[[], Any], is_current: Callable[[], bool] | None = None
) -> Any:
    """Make the lazy GroupBy object of a grouping."""
    kind = SeriesGroupBy if grouping.one_column else DataFrameGroupBy
    made = not_begun(kind, grouping, make, is_current)
    made.__dict__.update(grouping.options)
    return made


def watched(frame: Any) -> Callable[[], bool]:
    """Give a function that says whether the frame is still what it is now, as far as that can be seen.

    pandas' GroupBy and Rolling look at the user's frame itself, and see what is changed in it after they were made.
    """
    values = frame.__dict__
    if not is_lazy(frame):
        parts = memory.parts(frame._mgr)
        return lambda: "_mgr" in values and memory.is_still(parts, values["_mgr"])
    known = values["_watch"]() if "_watch" in values else None
    watch = Watch() if known is None else known
    values["_watch"] = weakref.ref(watch)

    def is_current() -> bool:
        if "_watch" not in values or values["_watch"]() is not watch:
            return False
        return "_header" in values or memory.is_still(watch.parts, values["_mgr"])

    return is_current


def about_rows(
    handle: Any, original: Any, result: RollingSubject | ResampleSubject, args: Any, kwargs: Any
) -> Any:
    """The lazy Rolling, Expanding or Resampler object."""
    if isinstance(result, ResampleSubject):
        kind: Any = Resampler
    else:
        kind = Rolling if result.window is not None else Expanding
    if isinstance(result, ResampleSubject):
        rows = wrap(result.header) if is_lazy(handle) else handle.copy(deep=False)
        return not_begun(kind, result, lambda: original(rows, *args, **kwargs))
    # Of the frame itself: pandas sees what is changed in it later, and asks of another frame whether it is this one.
    return not_begun(kind, result, lambda: original(handle, *args, **kwargs), watched(handle))


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
        subject = self._subject_now() if "_subject" in self.__dict__ else None
        if subject is None:
            return begun(original(self, *args, **kwargs))
        make = self.__dict__["_make"]
        try:
            result = native.run(subject, *args, **kwargs)
        except SchemaError as error:
            raise error.__cause__ from None  # type: ignore[misc]
        except (NotNative, TypeError, ValueError, AttributeError, NotImplementedError, IndexError) as reason:
            coverage_counts.count("fall-back", label, str(reason))
            with coverage_counts.told():
                self._begin()
                return begun(original(self, *args, **kwargs))
        coverage_counts.count("native", label)
        if isinstance(result, Grouping):
            if result.one_column and isinstance(make, _Making):
                # pandas takes it from the frame now; for several columns it asks the frame later.
                return wrap_grouping(result, lambda: make.column(args[0]))
            return wrap_grouping(result, lambda: make()[args[0]], self.__dict__.get("_is_current"))
        if isinstance(result, ResampleSubject):
            chosen: Any = ResampledSeries if result.one_column else ResampledFrame
            return not_begun(chosen, result, lambda: make()[args[0]])
        if isinstance(subject, Header):
            again, args = _on_accessor(_ACCESSORS[owner], name), (subject, *args)
        else:

            def again(*args: Any, **kwargs: Any) -> Any:
                return original(make(), *args, **kwargs)

        return wrap(origins.with_origin(result, label, again, args, kwargs))

    return method


_ACCESSORS = {"StringMethods": "str", "DatetimeProperties": "dt", "TimedeltaProperties": "dt"}


def _on_accessor(accessor: str, name: str) -> Callable[..., Any]:
    """The call as pandas makes it, on rows."""

    def call(series: Any, *args: Any, **kwargs: Any) -> Any:
        found = getattr(getattr(series, accessor), name)
        return found(*args, **kwargs) if callable(found) else found

    return call


def _helper_property(owner: str, name: str, original: Any, native: Native) -> property:
    compute = _helper_method(owner, name, original.fget, native)
    # It cannot be set, and pandas says why.
    return property(compute, original.fset, doc=original.__doc__)


def accessor(series: Any, name: str, original: Any) -> Any:
    """`.str` or `.dt`: pandas' own checks are made on the empty series, so a wrong dtype is an error at once."""
    try:
        header = header_of(series)
    except NotNative:
        return original.__get__(series, type(series))
    dtype = header.proto.dtype
    if isinstance(dtype, pandas.CategoricalDtype) or header.fields[0].kind.startswith("arrow:"):
        return original.__get__(series, type(series))
    if name == "dt" and isinstance(dtype, pandas.ArrowDtype | pandas.PeriodDtype):
        return original.__get__(series, type(series))
    getattr(header.proto, name)
    kind: Any = StringMethods if name == "str" else DatetimeProperties
    if header.fields[0].kind.startswith("duration"):
        kind = TimedeltaProperties
    return not_begun(kind, header, lambda: original.__get__(series, type(series)))


class _LazyLoc(_LocIndexer):
    """`df.loc[mask]`, `df.loc[mask, columns]`, `df.loc[:, columns]` of lazy frames."""

    def __getitem__(self, key: Any) -> Any:
        return _indexed(self, key, _by_labels, super().__getitem__, "loc")

    def __setitem__(self, key: Any, value: Any) -> None:
        """`df.loc[mask, "column"] = scalar` changes the plan; anything else the rows."""
        if sys.getrefcount(self.obj) <= REF_COUNT_IDX:
            # pandas counts the references itself, and would find ours.
            warnings.warn(cow._chained_assignment_msg, pandas.errors.ChainedAssignmentError, stacklevel=2)
        frame = self.obj
        try:
            if routes.forced == "pandas" or not is_ours(frame):
                raise NotNative("the route is pandas")
            _check_is_by_mask(frame, key)
            made = _set_where(header_of(frame), key, value)
        except (NotNative, TypeError, ValueError, AttributeError) as reason:
            coverage_counts.count("fall-back", f"{type(frame).__name__}.loc", str(reason))
            with coverage_counts.told():
                super().__setitem__(key, value)
            return
        coverage_counts.count("native", f"{type(frame).__name__}.loc")
        frame._become(origins.with_origin(made, "DataFrame.loc", _put, (frame, key, value), {}, mutates=True))


def _check_is_by_mask(frame: Any, key: Any) -> None:
    """Before anything else: a look at a frame in memory as a plan is a reference to its rows, which are copied then."""
    if frame.ndim == 1 or not (
        isinstance(key, tuple) and len(key) == 2 and isinstance(key[0], pandas.Series)
    ):
        raise NotNative("rows by their labels")


def _set_where(header: Header, key: Any, value: Any) -> Header:
    mask, label = key
    if not isinstance(label, str) or label not in header.proto.columns:
        raise NotNative("a column that is not there, or several")
    from distpool.dataframe.operations import operands

    at = header.position(label)
    header, tested = operands.beside(header, mask)
    if kinds.base(tested.fields[0].kind) != "bool":
        raise NotNative("a mask that is not boolean")
    field, dtype = header.fields[at].computed("loc"), header.dtypes[at]
    if not kinds.is_plain(dtype):
        raise NotNative(f"of {dtype}")
    literal = operands.put(value, field.kind, dtype)
    made = call("if_else", tested.fields[0].expr, literal, field.expr)
    fields = list(header.fields)
    fields[at] = Field(made, field.kind, field.missing)
    return header.with_(fields=tuple(fields))


def _put(frame: Any, key: Any, value: Any) -> None:
    frame.loc[key] = value


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
        with coverage_counts.told():
            return original(key)
    coverage_counts.count("native", label)
    return wrap(origins.with_origin(result, label, _at, (self.obj, name, key), {}))


def _at(rows: Any, name: str, key: Any) -> Any:
    return getattr(rows, name)[key]


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
    from distpool.dataframe.operations.selection import getitem

    return getitem(header, columns)


def _by_positions(header: Header, key: Any) -> Any:
    if not isinstance(key, slice):
        raise NotNative("rows by their numbers")
    from distpool.dataframe.operations.rows import sliced

    return sliced(header, key)


def indexer(frame: Any, name: str) -> Any:
    """`.loc` or `.iloc` of a lazy frame."""
    return (_LazyLoc if name == "loc" else _LazyILoc)(name, frame)


def grouped(self: Any, original: Any, args: Any, kwargs: Any) -> Any:
    """`groupby` of a frame or series of ours."""
    manager = self.__dict__.get("_mgr")
    if (manager is not None and not routes.forced and not routes.pays(manager)) or not is_ours(self):
        return begun(original(self, *args, **kwargs))
    owner = type(self).__name__
    label = f"{owner}.groupby"
    try:
        if routes.forced == "pandas":
            raise NotNative("the route is pandas")
        grouping = TABLE[owner]["groupby"].run(header_of(self), *args, **kwargs)
    except SchemaError as error:
        raise error.__cause__ from None  # type: ignore[misc]
    except (NotNative, TypeError, ValueError, AttributeError) as reason:
        coverage_counts.count("fall-back", label, str(reason))
        with coverage_counts.told():
            return begun(original(self, *_with_own_labels(self, args), **kwargs))
    coverage_counts.count("native", label)
    args = _with_own_labels(self, args)
    # The handle may be changed by the user before pandas is asked: the groups are of what it was.
    frozen = wrap(grouping.header) if is_lazy(self) else self.copy(deep=False)
    making = _Making(self, frozen, watched(self), lambda frame: original(frame, *args, **kwargs))
    return wrap_grouping(grouping, making, making.is_current)


@dataclass
class _Making:
    """pandas' GroupBy of the user's frame, made once: groups of what the frame was, values of what it is."""

    frame: Any
    frozen: Any
    is_current: Callable[[], bool]
    group: Callable[[Any], Any]
    made: Any = None

    def __call__(self) -> Any:
        if self.made is None and self.is_current():
            self.made = self.group(self.frame)
        elif self.made is None:
            self.made = self.group(self.frozen)
            self.made.obj = self.frame
        return self.made

    def column(self, name: Any) -> Any:
        """One column of it, which is what it was."""
        return (self() if self.is_current() else self.group(self.frozen))[name]


def _with_own_labels(frame: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
    if not args or routes.forced == "pandas":
        return args
    from distpool.dataframe.operations.grouping import with_own_labels

    try:
        return (with_own_labels(header_of(frame), args[0]), *args[1:])
    except NotNative:
        return args


def _equip() -> None:
    """Put the native operations on the helpers."""
    for kind in (
        DataFrameGroupBy,
        SeriesGroupBy,
        StringMethods,
        DatetimeProperties,
        TimedeltaProperties,
        Rolling,
        Expanding,
        Resampler,
        ResampledSeries,
        ResampledFrame,
    ):
        parent = kind.__mro__[2]
        owner = "Resampler" if kind in (ResampledSeries, ResampledFrame) else kind.__name__
        for name, native in TABLE.get(owner, {}).items():
            original = getattr(parent, name)
            if isinstance(original, property) and ".. deprecated::" in (original.__doc__ or ""):
                continue  # it warns, and the warning names the line that asked: pandas' to do
            make = _helper_property if isinstance(original, property) else _helper_method
            setattr(kind, name, make(owner, name, original, native))
        kind.__doc__ = parent.__doc__
    for kind in (DataFrameGroupBy, SeriesGroupBy):
        for name in WITH_FUNCTION[kind.__name__]:
            setattr(kind, name, with_function(kind.__name__, name, getattr(kind, name)))


_equip()
