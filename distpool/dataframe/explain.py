"""Plans as texts."""

from __future__ import annotations

from typing import Any

from distpool.dataframe import running
from distpool.dataframe.fragments import explained as fragments
from distpool.dataframe.fragments.pieces import Fed
from distpool.dataframe.optimizer import optimize
from distpool.dataframe.plan import (
    Aggregate,
    AsofJoin,
    Concat,
    Distinct,
    Filter,
    Join,
    Memory,
    Node,
    Project,
    RowNumber,
    Scan,
    Slice,
    Sort,
    Window,
)


def explained(handle: Any) -> str:
    """Tell the plan of a lazy object, as written and as it would run."""
    from distpool.dataframe.objects import is_lazy

    if not is_lazy(handle):
        return "no plan: the rows are in memory, and pandas works on them"
    header = handle._header_now()
    fields = [*header.fields, *(header.index or ())]
    labels = [str(header.proto.name)] if header.is_series else [str(label) for label in header.proto.columns]
    labels += [f"index:{name}" for name in header.proto.index.names] if header.index else []
    root = Project(header.base, tuple(zip(labels, (field.expr for field in fields), strict=True)))
    plan = optimize(root)
    made = f"as written\n{text(root, 1)}\nas it runs\n{text(plan, 1)}"
    why = running.why_in_fragments(root)
    if why:
        made += f"\nin fragments, these at most: {why}\n{fragments.explained(plan, running.limits, text)}"
    return made


def text(node: Node, depth: int = 0) -> str:
    """Write a plan, a line a node, inputs below and indented. A node that was written already is only named."""
    lines: list[str] = []
    _write(node, depth, lines, {})
    return "\n".join(lines)


def _write(node: Node, depth: int, lines: list[str], seen: dict[bytes, int]) -> None:
    number = seen.get(node.content_name)
    if number is not None and node.inputs:
        lines.append(f"{'  ' * depth}the same as #{number}")
        return
    seen[node.content_name] = len(seen) + 1
    lines.append(f"{'  ' * depth}#{len(seen)} {_line(node)}")
    for below in node.inputs:
        _write(below, depth + 1, lines, seen)


def _line(node: Node) -> str:
    match node:
        case Memory(names=names):
            return f"memory {', '.join(names)}"
        case Scan(paths=paths, names=names, predicate=predicate):
            kept = f" where {predicate}" if predicate is not None else ""
            return f"{node.format} {paths[0].rpartition('/')[2]}: {', '.join(names)}{kept}"
        case Fed(number=number, names=names):
            return f"input {number}: {', '.join(names)}"
        case Project(items=items):
            shown = (name if name == str(expr) else f"{name} = {expr}" for name, expr in items)
            return f"project {', '.join(shown)}"
        case RowNumber(name=name):
            return f"number the rows as {name}"
        case Window(items=items):
            made = ", ".join(
                f"{how}({expr})" + (f" by {', '.join(map(str, keys))}" if keys else "")
                for _, how, expr, _, keys in items
            )
            return f"over the rows: {made}"
        case Filter(predicate=predicate):
            return f"filter {predicate}"
        case Sort(by=by, descending=descending, settled=settled):
            keys = (
                f"{expr}{' descending' if down else ''}" for expr, down in zip(by, descending, strict=True)
            )
            return f"sort by {', '.join(keys)}{'' if settled else ' (ties as pandas lays them)'}"
        case Slice(offset=offset, length=length):
            return f"slice from {offset}, {'all' if length is None else length} rows"
        case Distinct(subset=subset, keep=keep, ordered=ordered):
            return f"distinct {', '.join(subset)}, the {keep}{'' if ordered else ', in any order'}"
        case Aggregate(keys=keys, aggregates=aggregates, order=order):
            grouped = ", ".join(str(expr) for _, expr in keys)
            made = ", ".join(f"{name} = {how}({expr})" for name, how, expr, _ in aggregates)
            return f"aggregate by {grouped} (order: {order}): {made}"
        case Join(left_on=left_on, right_on=right_on, how=how, ordered=ordered):
            keys = (f"{one} = {two}" for one, two in zip(left_on, right_on, strict=True))
            return f"{how} join on {', '.join(keys)}{'' if ordered else ', in any order'}"
        case AsofJoin(left_on=left_on, right_on=right_on, left_by=by, direction=direction):
            within = f" for each {', '.join(by)}" if by else ""
            return f"{direction} as-of join on {left_on} = {right_on}{within}"
        case Concat():
            return "concatenate"
        case _:
            raise TypeError(f"not a plan node: {node!r}")
