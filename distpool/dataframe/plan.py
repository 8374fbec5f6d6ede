"""Plan nodes: how rows are made. Immutable, named by content, without any pandas in them.

A node has columns, each with a name that is unique in it. Nothing here knows of an index: pandas' index is a column
like others, or no column at all while it is the default one, and `RowNumber` makes it when somebody needs it. The
order of rows is part of what a node means; where the optimizer has found that nobody sees it, it sets
`ordered=False`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

from distpool.dataframe.content import Content
from distpool.dataframe.expressions import Expr

Named = tuple[str, Expr]


class Node(Content):
    """A table that can be made. Subclasses say which columns it has."""

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The names of its columns, in order."""
        raise NotImplementedError

    @cached_property
    def inputs(self) -> tuple[Node, ...]:
        """The nodes that it reads."""
        found: list[Node] = []
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if isinstance(value, Node):
                found.append(value)
            elif isinstance(value, tuple):
                found += [item for item in value if isinstance(item, Node)]
        return tuple(found)

    def with_inputs(self, inputs: tuple[Node, ...]) -> Node:
        """Give the same step on other inputs."""
        if all(new is old for new, old in zip(inputs, self.inputs, strict=True)):
            return self
        left = iter(inputs)
        changes: dict[str, Any] = {}
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if isinstance(value, Node):
                changes[field.name] = next(left)
            elif isinstance(value, tuple) and value and isinstance(value[0], Node):
                changes[field.name] = tuple(next(left) for _ in value)
        return replace(self, **changes)  # type: ignore[type-var]


class Table:
    """Rows that are there already, and who they are: what a `Memory` node holds. Subclasses know how to read them."""

    token: int
    names: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Memory(Node):
    """Rows of this process's memory. Two tables are never the same, so the token is the content."""

    token: int
    names: tuple[str, ...]
    table: Any

    @cached_property
    def content_name(self) -> bytes:
        """Of the token and the names; the rows are not looked at."""
        return b"%d:" % self.token + "\0".join(self.names).encode()

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Those that were kept of the table's."""
        return self.names


@dataclass(frozen=True, eq=False)
class Scan(Node):
    """Columns of files. `stamps` (size and time of change of each file) make a file that was written anew another
    content.

    `casts` names the kind of each column that must be brought to it when read; `predicate` is on these columns.
    """

    format: str
    paths: tuple[str, ...]
    stamps: tuple[tuple[int, int], ...]
    names: tuple[str, ...]
    casts: tuple[tuple[str, str], ...]
    predicate: Expr | None = None

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Those that are read."""
        return self.names


@dataclass(frozen=True, eq=False)
class Project(Node):
    """Other columns of the same rows: each an expression over the input, under a name."""

    input: Node
    items: tuple[Named, ...]

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The names that were given."""
        return tuple(name for name, _ in self.items)


@dataclass(frozen=True, eq=False)
class RowNumber(Node):
    """The input with a first column that counts its rows from 0: the default index, made visible."""

    input: Node
    name: str

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The counter, then the input's."""
        return (self.name, *self.input.columns)


class SameColumns(Node):
    """A node that has its input's columns, and other rows or another order."""

    input: Node

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The input's."""
        return self.input.columns


@dataclass(frozen=True, eq=False)
class Filter(SameColumns):
    """The rows for which the predicate is true (not false, not null), in their order."""

    input: Node
    predicate: Expr


@dataclass(frozen=True, eq=False)
class Sort(SameColumns):
    """Ordered by expressions. `settled`: ties may lie as they come from a stable sort.

    pandas sorts by one key with an unstable algorithm, and what it makes of ties is seen in the result: then
    `settled` is False, and a route that finds ties asks pandas itself for the order.
    """

    input: Node
    by: tuple[Expr, ...]
    descending: tuple[bool, ...]
    nulls_last: bool = True
    settled: bool = True


@dataclass(frozen=True, eq=False)
class Slice(SameColumns):
    """Rows from `offset` on, at most `length`; a negative offset counts from the end."""

    input: Node
    offset: int
    length: int | None


@dataclass(frozen=True, eq=False)
class Distinct(SameColumns):
    """One row for each different value of the subset: the `first` or the `last`, in the order of the input."""

    input: Node
    subset: tuple[str, ...]
    keep: str
    ordered: bool = True


@dataclass(frozen=True, eq=False)
class Aggregate(Node):
    """One row for each different value of the keys, without those that have a null if `drop_nulls`.

    `order` is "keys" (sorted by them), "first" (as they appear) or "none".
    """

    input: Node
    keys: tuple[Named, ...]
    aggregates: tuple[tuple[str, str, Expr, tuple[object, ...]], ...]
    order: str
    drop_nulls: bool = True

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The keys, then the aggregates."""
        return tuple(name for name, _ in self.keys) + tuple(name for name, *_ in self.aggregates)


@dataclass(frozen=True, eq=False)
class Join(Node):
    """Pairs of rows with equal keys; null equals null, as in pandas. The columns of both, whose names differ.

    `how`: inner, left, semi, anti. Ordered, the pairs lie as the left rows do, and for one left row as the right
    ones do.
    """

    left: Node
    right: Node
    left_on: tuple[str, ...]
    right_on: tuple[str, ...]
    how: str
    ordered: bool = True

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The left ones, and the right ones if these rows are there."""
        return self.left.columns + (self.right.columns if self.how in ("inner", "left") else ())


@dataclass(frozen=True, eq=False)
class Concat(Node):
    """The rows of all, one after the other. All have the same columns."""

    parts: tuple[Node, ...]

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Those of each."""
        return self.parts[0].columns


def walk(node: Node) -> Iterator[Node]:
    """Give each different node once, inputs before those who read them."""
    seen: set[bytes] = set()

    def visit(at: Node) -> Iterator[Node]:
        if at.content_name not in seen:
            seen.add(at.content_name)
            for below in at.inputs:
                yield from visit(below)
            yield at

    return visit(node)
