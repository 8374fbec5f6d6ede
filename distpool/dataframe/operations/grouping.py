"""Group-by: what is grouped, the aggregates, and the lazy GroupBy objects of pandas' own classes."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from typing import Any

import pandas
from pandas.api.types import is_scalar

from distpool.dataframe import kinds
from distpool.dataframe.expressions import Column, Expr, Literal, call
from distpool.dataframe.header import Field, Header, NotNative, empty_index, fresh_name, from_pandas
from distpool.dataframe.natives import native
from distpool.dataframe.operations import operands
from distpool.dataframe.plan import Aggregate
from distpool.dataframe.subjects import NOTHING, Grouping


@native("DataFrame", "groupby", heavy=True)
@native("Series", "groupby", heavy=True)
def groupby(
    header: Header,
    by: Any = None,
    level: Any = None,
    *,
    as_index: bool = True,
    sort: bool = True,
    group_keys: bool = True,
    observed: bool = True,
    dropna: bool = True,
) -> Grouping:
    """By labels of columns, and by series of the same rows."""
    if level is not None or by is None:
        raise NotNative("by levels of the index")
    header = header.grounded()
    given = by if isinstance(by, list) else [by]
    if not given:
        raise NotNative("by nothing")
    keys, empty, names = [], [], []
    for one in given:
        if operands.is_series(one):
            header, beside = operands.beside(header, one)
            keys.append((beside.fields[0], beside.proto.dtype))
            own = _own_column(header, beside)
            empty.append(beside.proto if own is None else own)
            if own is not None:
                names.append(own)
        elif not header.is_series and isinstance(one, Hashable) and not callable(one):
            if one in header.proto.index.names:
                raise NotNative("by a level of the index")
            if isinstance(by, list) and one not in header.proto.columns:
                raise NotNative("by a list that may be of values")
            if not is_scalar(one) and not isinstance(one, tuple):
                raise NotNative(f"by a {type(one).__name__}")
            position = from_pandas(lambda one=one, header=header: header.position(one))  # type: ignore[misc]
            keys.append((header.fields[position], header.proto.dtypes.iloc[position]))
            empty.append(one)
            names.append(one)
        else:
            raise NotNative(f"by a {type(one).__name__}")
    for field, dtype in keys:
        field.computed("groupby")
        if isinstance(dtype, pandas.CategoricalDtype) and not observed:
            raise NotNative("groups of categories that do not occur")
    options = {
        "as_index": as_index,
        "sort": sort,
        "group_keys": group_keys,
        "observed": observed,
        "dropna": dropna,
    }
    if header.is_series and not as_index:
        raise NotNative("as_index=False of a series")
    asked = empty if isinstance(by, list) else empty[0]
    made = Grouping(
        header,
        tuple(field for field, _ in keys),
        tuple(names),
        tuple(dtype for _, dtype in keys),
        lambda frame: frame.groupby(asked, **options),
        options,
    )
    made.proto()
    return made


def with_own_labels(header: Header, by: Any) -> Any:
    """Give the keys with a label for each series that is a column of the frame itself.

    pandas knows such a one by the memory that it shares with the frame. One that a plan made shares none.
    """
    if isinstance(by, list):
        return [with_own_labels(header, one) for one in by]
    if not operands.is_series(by):
        return by
    try:
        own = _own_column(*operands.beside(header, by))
    except NotNative:
        return by
    return by if own is None else own


def _own_column(header: Header, key: Header) -> Any:
    """The label, if the key is a column of the frame itself: pandas leaves that out of what is aggregated."""
    label = key.proto.name
    if header.is_series or label is None or isinstance(header.proto.columns, pandas.MultiIndex):
        return None
    if label in header.proto.index.names or label not in header.proto.columns:
        return None
    return label if header.fields[header.position(label)] == key.fields[0] else None


@native("DataFrameGroupBy", "__getitem__")
def getitem(grouping: Grouping, key: Any) -> Grouping:
    """`g["a"]`, `g[["a", "b"]]`."""
    if grouping.selection is not NOTHING or isinstance(key, tuple):
        raise NotNative("selected already")
    made = replace(grouping, selection=key)
    made.proto()
    made.columns()
    return made


_SIMPLE = ("sum", "mean", "min", "max", "count", "nunique", "median", "first", "last", "std", "var")


def _register(name: str) -> None:
    @native("DataFrameGroupBy", name)
    @native("SeriesGroupBy", name)
    def aggregate(grouping: Grouping, *args: Any, **options: Any) -> Header:
        least = options.pop("min_count", 0) if name == "sum" else 0
        if args or options.keys() - {"numeric_only"} or type(least) is not int:
            raise NotNative("options")
        if options.get("numeric_only"):
            raise NotNative("numeric columns only")
        wanted: list[tuple[Field | None, str]] = [(field, name) for _, field in grouping.columns()]
        asked = {"min_count": least} if least > 0 else {}
        return _aggregated(grouping, wanted, getattr(grouping.proto(), name)(**asked), max(least, 0))


for _name in _SIMPLE:
    _register(_name)


@native("DataFrameGroupBy", "size")
@native("SeriesGroupBy", "size")
def size(grouping: Grouping) -> Header:
    """How many rows each group has."""
    return _aggregated(grouping, [(None, "size")], grouping.proto().size())


@native("DataFrameGroupBy", "agg", "aggregate")
@native("SeriesGroupBy", "agg", "aggregate")
def agg(grouping: Grouping, func: Any = None, *args: Any, engine: Any = None, **named: Any) -> Header:
    """`agg("sum")`, `agg(["sum", "mean"])`, `agg({"a": "sum"})`, `agg(total=("a", "sum"))`."""
    if args or engine is not None or "engine_kwargs" in named:
        raise NotNative("arguments for the function")
    proto = from_pandas(lambda: grouping.proto().agg(func, **named))
    columns = grouping.columns()
    by_label = dict(columns)
    wanted: list[tuple[Field | None, str]] = []
    if func is None:
        for column, how in (
            (None, spec) if grouping.one_column else spec
            for spec in (tuple(value) if isinstance(value, tuple) else value for value in named.values())
        ):
            field = columns[0][1] if column is None else grouping.header.field(column)
            wanted.append((field, _known(how)))
    elif isinstance(func, dict) and not grouping.one_column:
        for column, hows in func.items():
            many = hows if isinstance(hows, list) else [hows]
            wanted += [(from_pandas(lambda column=column: by_label[column]), _known(how)) for how in many]  # type: ignore[misc]
    else:
        hows = func if isinstance(func, list) else [func]
        wanted = [(field, _known(how)) for _, field in columns for how in hows]
    return _aggregated(grouping, wanted, proto)


def _known(how: Any) -> str:
    if isinstance(how, str) and (how in _SIMPLE or how == "size"):
        return how
    raise NotNative(f"aggregation by {how!r}" if isinstance(how, str) else "aggregation by a function")


def _aggregated(
    grouping: Grouping, wanted: list[tuple[Field | None, str]], proto: Any, least: int = 0
) -> Header:
    header, as_index = grouping.header, grouping.options["as_index"]
    taken: set[str] = set()

    def name(text: str) -> str:
        made = fresh_name(text, taken)
        taken.add(made)
        return made

    key_names = [name(_text(field.expr, at)) for at, field in enumerate(grouping.keys)]
    is_series = isinstance(proto, pandas.Series)
    dtypes = [proto.dtype] if is_series else list(proto.dtypes)
    labels = [proto.name] if is_series else list(proto.columns)
    leading = 0 if as_index else len(key_names)
    if leading and len(dtypes) != leading + len(wanted):
        raise NotNative("keys that are not columns")
    if len(dtypes) != leading + len(wanted):
        raise NotNative("columns that pandas leaves out")
    aggregates, fields = [], []
    for label, dtype, (field, how) in zip(labels[leading:], dtypes[leading:], wanted, strict=True):
        made = _aggregate(field, how, dtype)
        if least:
            made = _of_at_least(least, *made)
        column = name(str(label))
        aggregates.append((column, *made[:3]))
        fields.append(Field(Column(column), made[3], missing=made[4]))
    options = grouping.options
    base = Aggregate(
        header.base,
        tuple((key, field.expr) for key, field in zip(key_names, grouping.keys, strict=True)),
        tuple(aggregates),
        order="keys" if options["sort"] else "first",
        drop_nulls=options["dropna"],
    )
    keys = tuple(
        Field(Column(key), field.kind, field.missing and not options["dropna"])
        for key, field in zip(key_names, grouping.keys, strict=True)
    )
    if as_index:
        if len(key_names) > 1 and options["dropna"] and any(field.missing for field in grouping.keys):
            raise NotNative("a MultiIndex whose levels remember the keys of rows that were dropped")
        proto.index = empty_index(grouping.key_dtypes, proto.index.names)
        return Header(base, tuple(fields), keys, proto)
    return Header(base, keys + tuple(fields), None, proto)


def _of_at_least(
    least: int, kernel: str, value: Expr, options: tuple[object, ...], kind: str, missing: bool
) -> tuple[str, Expr, tuple[object, ...], str, bool]:
    """The sum of a group that has so many values; of others it is missing."""
    if kernel not in ("sum", "sum_float") or not kinds.can_miss(kind):
        raise NotNative("a least count of what cannot be missing")
    return f"{kernel}_of_at_least", value, (least,), kind, True


def _text(expr: Expr, at: int) -> str:
    return expr.name if isinstance(expr, Column) else f"key{at}"


def _aggregate(field: Field | None, how: str, dtype: Any) -> tuple[str, Expr, tuple[object, ...], str, bool]:
    """Give the kernel, its argument and options, and the kind of the result and whether it can miss."""
    kind = kinds.kind_of(dtype)
    if kind is None:
        raise NotNative(f"a result of {dtype}")
    if how == "size" or field is None:
        return "size", Literal(1), (), kind, False
    field.computed(how)
    if how in ("count", "nunique"):
        return how, field.expr, (), kind, False
    if field.kind == "codes" or (not kinds.is_plain(dtype) and how not in ("min", "max", "first", "last")):
        raise NotNative(f"{how} of {dtype}")
    if how in ("min", "max", "first", "last"):
        if kind != field.kind:
            raise NotNative(f"{how} of {field.kind} as {dtype}")
        return how, field.expr, (), kind, field.missing
    before, made = kinds.base(field.kind), kinds.base(kind)
    if before not in kinds.NUMBERS | {"bool"} or before == "float32":
        raise NotNative(f"{how} of {field.kind}")
    if kinds.is_nullable(field.kind):
        if not kinds.is_nullable(kind) or made not in ("int64", "uint64", "float64"):
            raise NotNative(f"{how} as {dtype}")
        if how == "sum" and before in ("int64", "uint64", "float64"):
            return ("sum_float" if made == "float64" else "sum"), operands.cast(field, made), (), kind, False
        if made != "float64" or how == "sum":
            raise NotNative(f"{how} of {field.kind} as {dtype}")
    if how == "sum":
        value = operands.cast(field, kind)
        if kind in kinds.INTEGERS - {"int64", "uint64"}:
            # Of the dtype of the values where all sums fit; a sum that does not fails the plan, and pandas widens it.
            return "sum_fitting", field.expr, (kind,), kind, False
        return ("sum_float" if kind == "float64" else "sum"), value, (), kind, False
    if made != "float64":
        raise NotNative(f"{how} as {dtype}")
    options: tuple[object, ...] = (1,) if how in ("std", "var") else ()
    return how, call("cast", field.expr, options=("float64",)), options, kind, True
