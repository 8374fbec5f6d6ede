"""Columns that hang on other rows: how an operation makes one, and how headers with and without them stay together.

A `Window` node has the rows of its input, in its order. So what is over the input is over the window as well, and two
windows over one input can be put on top of each other: `together` does it, wherever pandas would have nothing to
align. The name of such a column is its content, so it is the same column wherever it is asked for.
"""

from __future__ import annotations

from dataclasses import replace

from distpool.dataframe.expressions import Column, Expr
from distpool.dataframe.header import Field, Header
from distpool.dataframe.plan import Node, Window, WindowItem


def over_rows(
    header: Header,
    how: str,
    value: Expr,
    kind: str,
    *,
    options: tuple[object, ...] = (),
    keys: tuple[Expr, ...] = (),
    missing: bool = True,
) -> tuple[Header, Field]:
    """Give the header over one window more, and the new column."""
    name = "window:" + Window(header.base, (("", how, value, options, keys),)).content_name.hex()
    base = header.base
    if name not in base.columns:
        base = Window(base, ((name, how, value, options, keys),))
    return header.with_(base=base), Field(Column(name), kind, missing)


def together(one: Header, two: Header) -> tuple[Header, Header] | None:
    """Give both over one base, if they have the same rows in the same order."""
    if one.index != two.index:
        return None
    if one.base == two.base:
        return one, two
    root, items = _unwound(one.base)
    other_root, other_items = _unwound(two.base)
    if root != other_root:
        return None
    base = root
    for level in (*items, *other_items):
        new = tuple(item for item in level if item[0] not in base.columns)
        base = Window(base, new) if new else base
    return replace(one, base=base), replace(two, base=base)


def _unwound(base: Node) -> tuple[Node, list[tuple[WindowItem, ...]]]:
    """Take the windows off, the lowest first."""
    items: list[tuple[WindowItem, ...]] = []
    while isinstance(base, Window):
        items.insert(0, base.items)
        base = base.input
    return base, items
