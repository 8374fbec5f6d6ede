"""Positions of rows, and rows by position: what the order of rows needs where rows lie in many fragments.

The order of a spread is that of its fragments and, in each, that of its rows. A shuffle keeps the order within a
piece and loses it between them; where somebody sees it, rows take their position along as a hidden column.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from distpool.dataframe.expressions import Column, Literal, call
from distpool.dataframe.fragments.pieces import Fragment, Spread
from distpool.dataframe.plan import Filter, Join, Node, Project, RowNumber, Slice, Sort

# Rows of one fragment that a position can tell apart.
_FRAGMENT_BITS = 40


def fresh(wanted: str, columns: Sequence[str]) -> str:
    """Give a name that no column has."""
    while wanted in columns:
        wanted += "~"
    return wanted


def kept(node: Node, names: Sequence[str]) -> Project:
    """Only these columns."""
    return Project(node, tuple((name, Column(name)) for name in names))


def numbered(fragment: Fragment, name: str, offset: int) -> Fragment:
    """Count a fragment's rows from a number on, in a first column."""

    def step(body: Node) -> Node:
        count = RowNumber(body, name)
        if offset == 0:
            return count
        moved = call("add", Column(name), Literal(offset, "int64"))
        return Project(count, ((name, moved), *((column, Column(column)) for column in body.columns)))

    return fragment.then(step, rows=fragment.rows)


def placed(spread: Spread, name: str) -> Spread:
    """Give each row a number that says where it lies; no counting is needed, so the numbers have gaps."""
    return [numbered(one, name, at << _FRAGMENT_BITS) for at, one in enumerate(spread)]


def counted(spread: Spread, name: str) -> Spread:
    """Count the rows of all; how many each fragment has is known of all but the last."""
    made, offset = [], 0
    for one in spread:
        made.append(numbered(one, name, offset))
        offset += one.rows or 0
    return made


def cut(spread: Spread, offset: int, length: int | None) -> Spread:
    """Take rows from `offset` on, of fragments of which it is known how many rows each has. At least one stays."""
    total = sum(one.rows or 0 for one in spread)
    start = max(0, total + offset) if offset < 0 else min(offset, total)
    if offset < 0 and length is not None:
        # The rows before the first are part of what is asked, as with Polars.
        length = max(0, length - max(0, -(total + offset)))
    end = total if length is None else min(total, start + length)
    made: Spread = []
    at = 0
    for one in spread:
        rows = one.rows or 0
        low, high = max(start, at) - at, min(end, at + rows) - at
        if low < high:
            made.append(
                one if (low, high) == (0, rows) else one.then(_slice(low, high - low), rows=high - low)
            )
        at += rows
    return made or [spread[0].then(_slice(0, 0), rows=0)]


def _slice(offset: int, length: int) -> Callable[[Node], Node]:
    return lambda body: Slice(body, offset, length)


def evenly(body: Node, count: int, rows: int) -> Node:
    """About so many of the rows, evenly spread, from the middle of each stretch."""
    step = max(1, rows // count)
    name = fresh("~n", body.columns)
    which = call("mod", Column(name), Literal(step, "int64"))
    middle = call("eq", which, Literal(step // 2, "int64"))
    return kept(Filter(RowNumber(body, name), middle), body.columns)


def key_columns(sort: Sort, body: Node) -> Project:
    """Only what a sort looks at, under names of their own."""
    return Project(body, tuple((f"key{at}", expr) for at, expr in enumerate(sort.by)))


def by_key_columns(sort: Sort, body: Node) -> Sort:
    """Sort those in the same way."""
    by = tuple(Column(f"key{at}") for at in range(len(sort.by)))
    return Sort(body, by, sort.descending, sort.nulls_last)


def ranks(sort: Sort, keys: Node, name: str) -> Node:
    """Give each row of a key column its place in the order that pandas would give them, ties too."""
    row = "~row"
    ordered = Sort(
        RowNumber(keys, row), (Column("key0"),), sort.descending, sort.nulls_last, settled=sort.settled
    )
    ranked = kept(RowNumber(kept(ordered, (row,)), name), (name, row))
    return kept(Sort(ranked, (Column(row),), (False,)), (name,))


def with_ranks(fragment: Fragment, ranks: Fragment, row: str, rank: str, offset: int) -> Fragment:
    """Give the rows of a fragment their ranks, which lie in the same order, theirs from an offset on."""
    columns, rows = fragment.body.columns, fragment.rows
    whole, source = numbered(fragment, row, 0).beside((rank,), ranks.inputs[0])
    other = fresh("~other", (*columns, row))
    theirs = RowNumber(Slice(source, offset, rows), other)

    def step(body: Node) -> Node:
        return kept(Join(body, theirs, (row,), (other,), "inner", ordered=False), (*columns, rank))

    return whole.then(step, rows=rows)
