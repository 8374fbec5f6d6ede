"""Frames in memory as the source of a plan, and the way back: a header's rows as a pandas object.

`lift` takes a snapshot of a frame by copy-on-write: it shares the data until either side changes it, as pandas 3
does it between frames. The snapshot is kept with the frame, so that what is taken from one frame twice has one
identity, and is checked before each use: a frame that has been changed since is another source.
"""

from __future__ import annotations

import itertools
import weakref
from typing import Any

import numpy as np
import pandas
from pandas.core.internals.construction import arrays_to_mgr

from distpool.dataframe import kinds
from distpool.dataframe.expressions import Column
from distpool.dataframe.header import Field, Header, NotNative, fresh_name, level_dtypes
from distpool.dataframe.objects import same_attrs
from distpool.dataframe.plan import Aggregate, Memory, Project, Table

_tokens = itertools.count(1)

# Tables whose columns travel as row numbers, to be taken at the end; a plan that may need one holds it.
_tables: weakref.WeakValueDictionary[int, PandasTable] = weakref.WeakValueDictionary()


class PandasTable(Table):
    """Columns of a pandas object, each turned into one of Polars when first read."""

    def __init__(self, arrays: dict[str, Any]) -> None:
        self.token = next(_tokens)
        self.names = tuple(arrays)
        self._arrays = arrays
        self._series: dict[str, Any] = {}
        self._kinds: dict[str, str | None] = {name: kinds.kind_of(arrays[name].dtype) for name in arrays}
        _tables[self.token] = self

    def series(self, name: str) -> Any:
        """Give a column for Polars: the values, or for a dtype that has no kind the numbers of the rows."""
        from distpool.dataframe import polars_columns

        known = self._series.get(name)
        if known is None:
            array, kind = self._arrays[name], self._kinds[name]
            if kind is not None:
                known = polars_columns.to_polars(array, kind)
                if kinds.is_nullable(kind) and polars_columns.has_nan(known):
                    known, self._kinds[name] = None, None
            if known is None:
                known = polars_columns.row_numbers(len(array))
            self._series[name] = known
        return known

    def kind(self, name: str) -> str | None:
        """Give the kind of the column; of nullable floats their values tell whether they have one."""
        if kinds.base(self._kinds[name] or "") in kinds.FLOATS and kinds.is_nullable(self._kinds[name] or ""):
            self.series(name)
        return self._kinds[name]

    def missing(self, name: str) -> bool:
        """Say whether the column has missing values."""
        return self.series(name).null_count() > 0  # type: ignore[no-any-return]

    def array(self, name: str) -> Any:
        """The pandas array."""
        return self._arrays[name]


def lift(frame: Any) -> Header:
    """Give the header of a frame or series in memory."""
    manager = frame._mgr
    known = frame.__dict__.get("_lifted")
    if known is not None and is_still(known[0], manager) and _names(frame) == _names(known[1].proto):
        header: Header = known[1]
        if header.is_series:
            return header.with_(proto=_proto(frame))
        if same_attrs(header.proto.attrs, frame.attrs):
            return header
        proto = header.proto.copy(deep=False)
        proto.attrs = frame.attrs
        return header.with_(proto=proto)
    if not len(manager.axes[-1]):
        # Of nothing pandas often makes other dtypes than of something.
        raise NotNative("an empty frame")
    if isinstance(manager.axes[-1], pandas.MultiIndex):
        raise NotNative("a MultiIndex in memory, whose levels may remember values that no row has")
    if getattr(manager.axes[-1], "freq", None) is not None and not isinstance(
        manager.axes[-1], pandas.PeriodIndex
    ):
        raise NotNative("an index with a frequency, which depends on the rows that are left")
    if not frame.flags.allows_duplicate_labels:
        raise NotNative("labels that may not repeat")
    snapshot = manager.copy(deep=False)
    plain = pandas.DataFrame if manager.ndim == 2 else pandas.Series
    header = _header(plain._from_mgr(snapshot, snapshot.axes), _proto(frame))
    object.__setattr__(frame, "_lifted", (parts(manager), header))
    return header


def _names(frame: Any) -> list[Any]:
    """Names of levels, which change in place: `df.columns.name = "x"`."""
    return [list(axis.names) for axis in frame.axes]


def parts(manager: Any) -> tuple[list[Any], list[Any]]:
    """Give what changes identity when a frame changes, as long as a snapshot shares its data."""
    return list(manager.axes), [block.values for block in manager.blocks]


def is_still(known: tuple[list[Any], list[Any]], manager: Any) -> bool:
    """Say whether a frame has these parts."""
    axes, values = known
    return all(one.is_(two) for one, two in zip(axes, manager.axes, strict=True)) and (
        len(values) == len(manager.blocks)
        and all(one is two.values for one, two in zip(values, manager.blocks, strict=True))
    )


def _proto(frame: Any) -> Any:
    plain = pandas.DataFrame if frame.ndim == 2 else pandas.Series
    empty = frame._mgr.get_slice(slice(0, 0), axis=frame._mgr.ndim - 1)
    proto = plain._from_mgr(empty, empty.axes)
    if frame.ndim == 1:
        object.__setattr__(proto, "_name", frame.name)
    return proto.__finalize__(frame)


def _header(frame: Any, proto: Any) -> Header:
    arrays: dict[str, Any] = {}
    if frame.ndim == 1:
        columns = [_add(arrays, str(proto.name), frame._values)]
    else:
        columns = [
            _add(arrays, str(label), frame._get_column_array(at)) for at, label in enumerate(frame.columns)
        ]
    if not columns:
        raise NotNative("a frame without columns")
    index = frame.index
    levels: list[str] | None = None
    if isinstance(index, pandas.RangeIndex) and index.start == 0 and index.step == 1:
        proto.index = pandas.RangeIndex(0, name=index.name)
    else:
        if isinstance(index, pandas.RangeIndex):
            proto.index = pandas.Index([], dtype="int64", name=index.name)
        levels = [
            _add(arrays, f"index:{name}", index._get_level_values(at)._values)
            for at, name in enumerate(index.names)
        ]
    table = PandasTable(arrays)
    base = Memory(table.token, table.names, table)
    fields = tuple(_field(table, name) for name in columns)
    return Header(base, fields, (levels and tuple(_field(table, name) for name in levels)) or None, proto)


def _add(arrays: dict[str, Any], wanted: str, array: Any) -> str:
    name = fresh_name(wanted, arrays.keys())  # type: ignore[arg-type]
    arrays[name] = array
    return name


def _field(table: PandasTable, name: str) -> Field:
    kind = table.kind(name)
    if kind is None:
        return Field(Column(name), f"arrow:rows:{table.token}:{name}", missing=False)
    return Field(Column(name), kind, missing=kinds.can_miss(kind) and table.missing(name))


def collect(header: Header) -> Any:
    """Make the rows: a plain pandas DataFrame or Series."""
    from distpool.dataframe import running

    fields = [*header.fields, *(header.index or ())]
    root = Project(header.base, tuple((f"{at}", field.expr) for at, field in enumerate(fields)))
    table = running.run(root)
    dtypes = header.dtypes
    arrays = [
        _array(table[f"{at}"], dtype, field.kind)
        for at, (dtype, field) in enumerate(zip(dtypes, header.fields, strict=True))
    ]
    proto = header.proto
    if header.index is None:
        index: Any = pandas.RangeIndex(table.height, name=proto.index.name)
    else:
        offset = len(arrays)
        levels = [
            _array(table[f"{offset + at}"], dtype, field.kind)
            for at, (dtype, field) in enumerate(zip(level_dtypes(proto.index), header.index, strict=True))
        ]
        index = _index(levels, proto.index, _groups_of(header))
    if header.is_series:
        made = pandas.Series(arrays[0], index=index, name=proto.name, copy=False, dtype=dtypes[0])
    else:
        # The constructor would look into object columns and find text.
        manager = arrays_to_mgr(arrays, proto.columns, index, verify_integrity=False, consolidate=False)
        made = pandas.DataFrame._from_mgr(manager, manager.axes)
    return made.__finalize__(proto)


def _groups_of(header: Header) -> Aggregate | None:
    """The group-by whose keys are the index."""
    base = header.base
    if isinstance(base, Aggregate) and [level.expr for level in header.index or ()] == [
        Column(name) for name, _ in base.keys
    ]:
        return base
    return None


def _index(levels: list[Any], proto: Any, groups: Aggregate | None) -> Any:
    if isinstance(proto, pandas.MultiIndex):
        typed = [pandas.Index(level, dtype=dtype) for level, dtype in zip(levels, proto.dtypes, strict=True)]
        if groups is not None:
            # The levels of a group-by are in its order, with the missing key among them: `unstack` shows it.
            parts = [
                pandas.factorize(level, sort=groups.order == "keys", use_na_sentinel=False) for level in typed
            ]
            codes, values = [part[0] for part in parts], [part[1] for part in parts]
            return pandas.MultiIndex(values, codes, names=proto.names, verify_integrity=False)
        return pandas.MultiIndex.from_arrays(typed, names=proto.names)
    return pandas.Index(levels[0], dtype=proto.dtype, name=proto.name, copy=False)


def _array(series: Any, dtype: Any, kind: str) -> Any:
    from distpool.dataframe import polars_columns

    if not kind.startswith("arrow:rows:"):
        return polars_columns.to_pandas(series, dtype, kind)
    _, _, token, name = kind.split(":", 3)
    source = _tables[int(token)].array(name)
    return source.take(np.asarray(series.to_numpy(), dtype="intp"))
