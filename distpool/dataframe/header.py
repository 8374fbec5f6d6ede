"""A header: what pandas shows of a plan without having its rows.

    base      the plan node that makes the rows: its identity is the identity of the *rows*
    fields    one for each visible column: an expression over the base
    index     one for each level of the index; None while it is the default RangeIndex
    proto     an empty pandas object with the labels, dtypes, names and attrs, made by pandas itself

A new column, a rename or a selection changes the header only; a filter, join, sort or group-by gives a new base. Two
headers with the same base (and index) have the same rows in the same order, so what pandas would align by index needs
no aligning. A header is immutable; the objects of the user (objects.py) are handles that point to one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import pandas
from pandas.api.types import is_list_like, is_object_dtype

from distpool.dataframe import kinds
from distpool.dataframe.expressions import Column, Expr
from distpool.dataframe.plan import Node, Project, RowNumber

T = TypeVar("T")

# An expression that would take more calls than this is made a column of its own.
_EXPRESSION_SIZE_MAX = 200


class NotNative(Exception):
    """What was asked has no native kernel that does exactly what pandas does: pandas does it. Says why."""


class PlanFailed(NotNative):
    """A plan could not be run, for a value in its rows or for a file. The cause says why; pandas does it."""


class SchemaError(Exception):
    """What pandas raised on the empty frame: the user's error. The cause is pandas' own exception."""


@dataclass(frozen=True)
class Field:
    """A visible column or a level of the index. `missing`: it may have missing values."""

    expr: Expr
    kind: str
    missing: bool

    def computed(self, why: str) -> Field:
        """Give itself, if it is of a kind that can be computed with."""
        if self.kind.startswith("arrow:"):
            raise NotNative(f"{why}: a column of Python objects ({self.kind[6:]})")
        return self


@dataclass(frozen=True)
class Header:
    """See the module."""

    base: Node
    fields: tuple[Field, ...]
    index: tuple[Field, ...] | None
    proto: Any
    # The call of pandas that it stands for (origins.py); None for a source.
    origin: Any = dataclasses.field(default=None, compare=False, repr=False)

    @property
    def is_series(self) -> bool:
        """Whether it stands for a Series."""
        return isinstance(self.proto, pandas.Series)

    @property
    def dtypes(self) -> list[Any]:
        """The dtype of each field."""
        return [self.proto.dtype] if self.is_series else list(self.proto.dtypes)

    def with_(self, **changes: Any) -> Header:
        """Give one that differs in these."""
        return dataclasses.replace(self, **changes)

    def position(self, label: Hashable) -> int:
        """Find the one column with this label."""
        columns = self.proto.columns
        if isinstance(columns, pandas.MultiIndex):
            raise NotNative("columns of several levels")
        where = columns.get_loc(label)  # KeyError: as pandas raises it
        if not isinstance(where, int):
            raise NotNative("a label that several columns have")
        return where

    def field(self, label: Hashable) -> Field:
        """Find the column with this label, to compute with."""
        position = self.position(label)
        return self.fields[position].computed(f"column {label!r}")

    def key(self, label: Hashable) -> Field:
        """Find the column with this label, for the methods that look among the levels of the index as well."""
        if label in self.proto.index.names:
            raise NotNative("a level of the index has this label")
        return self.field(label)

    def column(self, position: int) -> Header:
        """One column as a Series."""
        return self.with_(fields=(self.fields[position],), proto=self.proto.iloc[:, position])

    def with_index(self) -> Header:
        """Make the default index a column of the plan, so that rows can move and keep their labels."""
        if self.index is not None:
            return self
        name = fresh_name("index", self.base.columns)
        return self.with_(
            base=RowNumber(self.base, name), index=(Field(Column(name), "int64", missing=False),)
        )

    def fewer_rows(self) -> Header:
        """Itself, where rows may go: a MultiIndex keeps the values that no row has any more, seen by `unstack`."""
        if self.index is not None and len(self.index) > 1:
            raise NotNative("rows of a MultiIndex, whose levels remember the others")
        return self

    def with_typed_index(self) -> Header:
        """Itself, where no labels are Python objects: where pandas makes them anew it infers a dtype from them."""
        if self.index is not None and any(map(is_object_dtype, level_dtypes(self.proto.index))):
            raise NotNative("labels that are Python objects, whose dtype pandas infers")
        return self

    def index_proto(self) -> Any:
        """The empty index as it is when its rows have moved: integers instead of a range."""
        index = self.proto.index
        if isinstance(index, pandas.RangeIndex):
            return pandas.Index([], dtype="int64", name=index.name)
        return index

    def proto_with_index(self) -> Any:
        """The proto with that index."""
        proto = self.proto.copy(deep=False)
        proto.index = self.index_proto()
        return proto

    def flattened(self, prefix: str = "") -> Header:
        """Compute every field under a name of its own, so that its columns can meet another header's."""
        items: list[tuple[str, Expr]] = []
        taken: set[str] = set()
        labels = [self.proto.name] if self.is_series else list(self.proto.columns)
        fields: list[Field] = []
        for label, field in zip(labels, self.fields, strict=True):
            fields.append(_named(items, taken, prefix, str(label), field))
        index = None
        if self.index is not None:
            levels = self.proto.index.names
            index = tuple(
                _named(items, taken, prefix, f"index:{level}", field)
                for level, field in zip(levels, self.index, strict=True)
            )
        return self.with_(base=Project(self.base, tuple(items)), fields=tuple(fields), index=index)

    def grounded(self) -> Header:
        """Itself, or with its constants made columns: alone they do not say how many rows there are."""
        return self if all(field.expr.columns for field in self.fields) else self.flattened()

    def kept_small(self) -> Header:
        """Itself, or with its big expressions made columns."""
        if all(field.expr.size <= _EXPRESSION_SIZE_MAX for field in self.fields):
            return self
        return self.flattened()


def level_dtypes(index: Any) -> list[Any]:
    """Give the dtype of each level."""
    return list(index.dtypes) if isinstance(index, pandas.MultiIndex) else [index.dtype]


def _named(items: list[tuple[str, Expr]], taken: set[str], prefix: str, label: str, field: Field) -> Field:
    name = fresh_name(prefix + label, taken)
    taken.add(name)
    items.append((name, field.expr))
    return dataclasses.replace(field, expr=Column(name))


def fresh_name(wanted: str, taken: Sequence[str] | set[str]) -> str:
    """Give the name, or with a number behind it if it is taken."""
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{wanted}~{number}"
    return name


def labels(value: Any) -> list[Hashable]:
    """Make a list of one label or of many."""
    return list(value) if is_list_like(value) and not isinstance(value, tuple) else [value]


def empty_index(dtypes: Sequence[Any], names: Sequence[Hashable]) -> Any:
    """Make an empty index of these dtypes. pandas would make a range of an empty one of whole numbers."""
    levels = [pandas.Index([], dtype=dtype, name=name) for dtype, name in zip(dtypes, names, strict=True)]
    return levels[0] if len(levels) == 1 else pandas.MultiIndex.from_arrays(levels, names=list(names))


def from_pandas(make: Callable[[], T]) -> T:
    """Ask pandas, on empty objects. What it raises about the schema is the user's error, now as with pandas."""
    try:
        return make()
    except (KeyError, pandas.errors.MergeError) as error:
        raise SchemaError from error


def fields_of(proto: Any, exprs: Sequence[Expr], missing: Sequence[bool]) -> tuple[Field, ...]:
    """Put expressions and the dtypes of a proto together."""
    dtypes = [proto.dtype] if isinstance(proto, pandas.Series) else list(proto.dtypes)
    fields = []
    for dtype, expr, may_miss in zip(dtypes, exprs, missing, strict=True):
        kind = kinds.kind_of(dtype)
        if kind is None:
            raise NotNative(f"dtype {dtype}")
        fields.append(Field(expr, kind, may_miss and kinds.can_miss(kind)))
    return tuple(fields)
