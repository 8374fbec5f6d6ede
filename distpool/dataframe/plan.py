"""Plan nodes: how rows are made. Immutable, named by content, without any pandas in them.

A node has columns, each with a name that is unique in it. Nothing here knows of an index: pandas' index is a column
like others, or no column at all while it is the default one, and `RowNumber` makes it when somebody needs it. The
order of rows is part of what a node means; where the optimizer has found that nobody sees it, it sets
`ordered=False`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

from distpool.dataframe.content import Content
from distpool.dataframe.expressions import Expr
from distpool.dataframe.kept_columns import KeptColumns

Named = tuple[str, Expr]
WindowItem = tuple[str, str, Expr, tuple[object, ...], tuple[Expr, ...]]


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
        for part in fields(self):  # type: ignore[arg-type]
            value = getattr(self, part.name)
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
        for part in fields(self):  # type: ignore[arg-type]
            value = getattr(self, part.name)
            if isinstance(value, Node):
                changes[part.name] = next(left)
            elif isinstance(value, tuple) and value and isinstance(value[0], Node):
                changes[part.name] = tuple(next(left) for _ in value)
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

    `casts` names the kind of each column that must be brought to it when read; `predicate` is on these columns. `rows`
    is how many there are in the files, before the predicate. `kept` has columns that were read before: no content.
    """

    format: str
    paths: tuple[str, ...]
    stamps: tuple[tuple[int, int], ...]
    names: tuple[str, ...]
    casts: tuple[tuple[str, str], ...]
    predicate: Expr | None = None
    rows: int | None = None
    kept: KeptColumns | None = field(default=None, compare=False, repr=False)

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


@dataclass(frozen=True, eq=False)
class Window(Node):
    """The input with columns behind its own whose values hang on other rows too: before, around, or of one's group.

    Each has a name that is made of its content (`windows.py`), a kernel, its argument and options, and the columns
    whose equal values make a group; without any all rows are one. The rows and their order are the input's.
    """

    input: Node
    items: tuple[WindowItem, ...]

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The input's, then the new ones."""
        return self.input.columns + tuple(item[0] for item in self.items)


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

    `how`: inner, left, full, cross, semi, anti. A full join has no order. Ordered, the pairs of the others lie as the
    left rows do, and for one left row as the right ones do.
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
        return self.left.columns + (() if self.how in ("semi", "anti") else self.right.columns)


@dataclass(frozen=True, eq=False)
class AsofJoin(Node):
    """Each left row with the nearest right row of equal `by` columns: before it, or after it (`direction`).

    The columns that are compared must be in order and without missing values, else the plan fails. `tolerance` is how
    far a partner may be, in ticks of the column or its numbers; `exact` whether it may be equal. The rows and the order
    are the left's; the columns those of both.
    """

    left: Node
    right: Node
    left_on: str
    right_on: str
    left_by: tuple[str, ...]
    right_by: tuple[str, ...]
    direction: str
    tolerance: int | None
    exact: bool

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The left ones, then the right ones."""
        return self.left.columns + self.right.columns


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


def height(node: Node) -> int | None:
    """Say how many rows there are, if that is known without making them."""
    match node:
        case Scan(predicate=None, rows=rows):
            return rows
        case Project(below) | RowNumber(below) | Window(below) | Sort(below):
            return height(below)
        case Slice(below, offset, length):
            rows = height(below)
            if rows is None:
                return None
            rest = min(-offset, rows) if offset < 0 else max(rows - offset, 0)
            return rest if length is None else min(rest, length)
        case Concat(parts):
            heights = [height(part) for part in parts]
            return None if None in heights else sum(known for known in heights if known is not None)
        case _:
            return None
