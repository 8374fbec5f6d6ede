"""Aggregates of parts: what is made before rows travel, and how the whole is made of it.

An aggregate that is not here (a median, a standard deviation, a count of different values) needs all rows of a group
in one place. First and last hang on the order of the parts, which is that of the rows.
"""

from __future__ import annotations

from dataclasses import dataclass

from distpool.dataframe.expressions import Column, Expr, call
from distpool.dataframe.plan import Aggregate, Named, Node, Project

# How the parts are made, and how one is made of them. A NaN of a part must not be taken for a missing value: only the
# last step makes null of it, so the parts of "sum_float" are plain sums.
_PARTS = {
    "sum": ("sum", "sum"),
    "sum_float": ("sum", "sum_float"),
    "min": ("min", "min"),
    "max": ("max", "max"),
    "count": ("count", "sum"),
    "size": ("size", "sum"),
    "first": ("first", "first"),
    "last": ("last", "last"),
    "any": ("any", "any"),
    "all": ("all", "all"),
}

Asked = tuple[str, str, Expr, tuple[object, ...]]


@dataclass(frozen=True)
class Parts:
    """An aggregation in two steps, and what is computed of the second one's columns."""

    partial: tuple[Asked, ...]
    final: tuple[Asked, ...]
    made: tuple[Named, ...]
    keys: tuple[str, ...]


def in_parts(node: Aggregate) -> Parts | None:
    """Give the two steps of an aggregation; None if one of its aggregates cannot be made of parts."""
    partial: list[Asked] = []
    final: list[Asked] = []
    made: list[Named] = [(name, Column(name)) for name, _ in node.keys]
    for at, (name, how, expr, options) in enumerate(node.aggregates):
        one, two = f"~{at}", f"~{at}n"
        if how == "mean":
            partial += [(one, "sum", expr, ()), (two, "count", expr, ())]
            final += [(one, "sum", Column(one), ()), (two, "sum", Column(two), ())]
            made.append((name, call("truediv", Column(one), Column(two))))
        elif how in _PARTS and not options:
            before, after = _PARTS[how]
            partial.append((one, before, expr, ()))
            final.append((one, after, Column(one), ()))
            made.append((name, Column(one)))
        else:
            return None
    return Parts(tuple(partial), tuple(final), tuple(made), tuple(name for name, _ in node.keys))


def partial_step(node: Aggregate, parts: Parts, below: Node, position: str | None) -> Aggregate:
    """Give the first step on some of the rows; with the position of each group's first row, if that has a name."""
    asked = parts.partial if position is None else (*parts.partial, (position, "min", Column(position), ()))
    return Aggregate(below, node.keys, asked, "first" if node.order == "first" else "none", node.drop_nulls)


def final_step(node: Aggregate, parts: Parts, below: Node, order: str, position: str | None = None) -> Node:
    """Give the second step on all parts of its groups; the position stays, if it has a name."""
    keys = tuple((name, Column(name)) for name in parts.keys)
    asked, made = parts.final, parts.made
    if position is not None:
        asked = (*asked, (position, "min", Column(position), ()))
        made = (*made, (position, Column(position)))
    return Project(Aggregate(below, keys, asked, order, node.drop_nulls), made)


def whole_step(node: Aggregate, below: Node, order: str, position: str | None = None) -> Aggregate:
    """Give the aggregation of rows that `columns_of` has made, in one step."""
    keys = tuple((name, Column(name)) for name, _ in node.keys)
    asked = tuple((name, how, Column(name), options) for name, how, _, options in node.aggregates)
    if position is not None:
        asked = (*asked, (position, "min", Column(position), ()))
    return Aggregate(below, keys, asked, order, node.drop_nulls)


def columns_of(node: Aggregate, below: Node, position: str | None = None) -> Project:
    """Compute the keys and arguments of an aggregation under their names: all of the rows that it looks at."""
    items = (*node.keys, *((name, expr) for name, _, expr, _ in node.aggregates))
    return Project(below, items if position is None else (*items, (position, Column(position))))
