"""The optimizer: small rules, each from a plan to a plan that gives the same and costs less.

    plan ──► relax_order ──► prune_columns ──► push_predicates ──► prune_columns ──► plan

The rules see the whole plan, in which a node that two others read is one node; they keep it one, so that it is
computed once. What the root's columns and order are is what somebody looks at; everything else may go.

Absent on purpose: costs, statistics, the order of joins. The program says in which order it joins.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace

from distpool.dataframe.expressions import Call, Column, Expr, conjunction, conjuncts, substitute
from distpool.dataframe.kernels_facts import ORDERED_AGGREGATES
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
    walk,
)

Rule = Callable[[Node], Node]


def optimize(root: Node) -> Node:
    """Apply all rules."""
    for rule in RULES:
        root = rule(root)
    return root


# --- order: who sees it? -------------------------------------------------------------------------------------------


def relax_order(root: Node) -> Node:
    """Keep the order of rows only where somebody sees it. The root's is seen."""
    seen: dict[bytes, bool] = defaultdict(bool)
    seen[root.content_name] = True
    order = list(walk(root))
    for node in reversed(order):
        for below, shows in zip(node.inputs, _order_seen_below(node, seen[node.content_name]), strict=True):
            seen[below.content_name] |= shows

    def relaxed(node: Node, inputs: tuple[Node, ...]) -> Node:
        new = node.with_inputs(inputs)
        if seen[node.content_name]:
            return new
        match new:
            case Sort():
                return new.input
            case Join(ordered=True) | Distinct(ordered=True):
                return replace(new, ordered=False)
            case Aggregate(order="keys" | "first"):
                return replace(new, order="none")
            case _:
                return new

    return _rebuilt(order, relaxed)


def _order_seen_below(node: Node, seen: bool) -> list[bool]:
    match node:
        case Aggregate(aggregates=aggregates, order=order):
            return [
                (seen and order == "first") or any(name in ORDERED_AGGREGATES for _, name, *_ in aggregates)
            ]
        case Join(how="semi" | "anti"):
            return [seen, False]
        case RowNumber() | Slice() | Distinct() | Sort() | Window():
            return [True]
        case AsofJoin():
            return [True, True]
        case _:
            return [seen] * len(node.inputs)


# --- columns: who reads them? --------------------------------------------------------------------------------------


def prune_columns(root: Node) -> Node:
    """Make only the columns that somebody reads. This is where an index that nobody looks at goes."""
    needed: dict[bytes, set[str]] = defaultdict(set)
    needed[root.content_name] = set(root.columns)
    order = list(walk(root))
    for node in reversed(order):
        for below, columns in zip(node.inputs, _columns_read(node, needed[node.content_name]), strict=True):
            # Rows must be countable even when no column is read.
            needed[below.content_name] |= columns or set(below.columns[:1])

    def pruned(node: Node, inputs: tuple[Node, ...]) -> Node:
        wanted = needed[node.content_name]
        match node.with_inputs(inputs):
            case Project(below, items):
                kept = tuple(item for item in items if item[0] in wanted)
                return Project(below, kept)
            case RowNumber(below, name):
                return node.with_inputs(inputs) if name in wanted else below
            case Window(below, items) as new:
                left = tuple(item for item in items if item[0] in wanted)
                return replace(new, items=left) if left else below
            case Aggregate() as new:
                return replace(new, aggregates=tuple(item for item in new.aggregates if item[0] in wanted))
            case Memory(names=names) | Scan(names=names) as new:
                return replace(new, names=tuple(name for name in names if name in wanted))
            case Concat(parts):
                names = tuple(name for name in node.columns if name in wanted)
                return Concat(tuple(_selected(part, names) for part in parts))
            case new:
                return new

    return _rebuilt(order, pruned)


def _selected(node: Node, names: tuple[str, ...]) -> Node:
    return node if node.columns == names else Project(node, tuple((name, Column(name)) for name in names))


def _columns_read(node: Node, wanted: set[str]) -> list[set[str]]:
    match node:
        case Project(items=items):
            return [set().union(*(expr.columns for name, expr in items if name in wanted))]
        case RowNumber(name=name):
            return [wanted - {name}]
        case Window(items=items):
            below = wanted.difference(item[0] for item in items)
            for name, _, expr, _, keys in items:
                if name in wanted:
                    below = below.union(expr.columns, *(key.columns for key in keys))
            return [below]
        case Filter(predicate=predicate):
            return [wanted | predicate.columns]
        case Sort(by=by):
            return [wanted.union(*(expr.columns for expr in by))]
        case Distinct(subset=subset):
            return [wanted | set(subset)]
        case Aggregate(keys=keys, aggregates=aggregates):
            read = [expr.columns for _, expr in keys]
            read += [expr.columns for name, _, expr, _ in aggregates if name in wanted]
            return [set().union(*read)]
        case Join(left, right, left_on, right_on):
            return [
                wanted & set(left.columns) | set(left_on),
                wanted & set(right.columns) | set(right_on),
            ]
        case AsofJoin(left, right):
            return [
                wanted & set(left.columns) | {node.left_on, *node.left_by},
                wanted & set(right.columns) | {node.right_on, *node.right_by},
            ]
        case _:
            return [set(wanted) for _ in node.inputs]


# --- predicates: as far down as they can ---------------------------------------------------------------------------


def push_predicates(root: Node) -> Node:
    """Filter before the work, and in the file where there is one."""
    readers: dict[bytes, int] = defaultdict(int)
    order = list(walk(root))
    for node in order:
        for below in node.inputs:
            readers[below.content_name] += 1
    shared = {name for name, count in readers.items() if count > 1}

    def pushed(node: Node, inputs: tuple[Node, ...]) -> Node:
        new = node.with_inputs(inputs)
        if not isinstance(new, Filter):
            return new
        parts = conjuncts(_as_condition(new.predicate))
        # What two nodes read stays one node, unless it is a file: reading less of it twice is cheaper.
        if isinstance(node, Filter) and node.input.content_name in shared and not isinstance(new.input, Scan):
            return Filter(new.input, conjunction(parts))
        return _sink(new.input, parts)

    return _rebuilt(order, pushed)


def _sink(node: Node, parts: list[Expr]) -> Node:
    """Put the conditions above this node, or below it where that is the same."""
    if not parts:
        return node
    match node:
        case Filter(below, predicate):
            return _sink(below, [*conjuncts(predicate), *parts])
        case Scan(predicate=predicate):
            return replace(
                node, predicate=conjunction([*(conjuncts(predicate) if predicate else []), *parts])
            )
        case Project(below, items):
            by = dict(items)
            return Project(_sink(below, [_as_condition(substitute(part, by)) for part in parts]), items)
        case Sort(below):
            return replace(node, input=_sink(below, parts))
        case Concat(inputs):
            return Concat(tuple(_sink(below, parts) for below in inputs))
        case Join(how="full"):
            # A row that the condition keeps may come from the other side alone.
            return _above(node, parts)
        case Join(left, right):
            to_left, rest = _split(parts, left)
            to_right: list[Expr] = []
            if node.how in ("inner", "cross"):
                to_right, rest = _split(rest, right)
            return _above(replace(node, left=_sink(left, to_left), right=_sink(right, to_right)), rest)
        case Aggregate(below, keys):
            by = dict(keys)
            ours = [part for part in parts if part.columns and part.columns <= by.keys()]
            rest = [part for part in parts if part not in ours]
            return _above(replace(node, input=_sink(below, [substitute(part, by) for part in ours])), rest)
        case Distinct(below, subset):
            ours = [part for part in parts if part.columns <= set(subset)]
            rest = [part for part in parts if part not in ours]
            return _above(replace(node, input=_sink(below, ours)), rest)
        case _:
            return _above(node, parts)


def _above(node: Node, parts: list[Expr]) -> Node:
    return Filter(node, conjunction(parts)) if parts else node


def _split(parts: list[Expr], side: Node) -> tuple[list[Expr], list[Expr]]:
    columns = set(side.columns)
    ours = [part for part in parts if part.columns <= columns]
    return ours, [part for part in parts if not part.columns <= columns]


def _as_condition(expr: Expr) -> Expr:
    """In a filter null is as good as false: the calls that make it False go, down to where that would change it."""
    match expr:
        case Call("is_true", (inner,)):
            return _as_condition(inner)
        case Call("and" | "or" as kernel, (left, right)):
            return Call(kernel, (_as_condition(left), _as_condition(right)))
        case _:
            return expr


# --- the rebuilding that all rules share ---------------------------------------------------------------------------


def _rebuilt(order: list[Node], rule: Callable[[Node, tuple[Node, ...]], Node]) -> Node:
    """Rebuild the plan from the inputs up; each different node once."""
    made: dict[bytes, Node] = {}
    for node in order:
        made[node.content_name] = rule(node, tuple(made[below.content_name] for below in node.inputs))
    return made[order[-1].content_name]


def merge_projects(root: Node) -> Node:
    """Make one step of two that only compute columns, unless something would be computed twice."""
    order = list(walk(root))

    def merged(node: Node, inputs: tuple[Node, ...]) -> Node:
        new = node.with_inputs(inputs)
        if not (isinstance(new, Project) and isinstance(new.input, Project)):
            return new
        by = dict(new.input.items)
        uses: dict[str, int] = defaultdict(int)
        for _, expr in new.items:
            for name in expr.columns:
                uses[name] += 1
        if any(uses[name] > 1 and isinstance(expr, Call) for name, expr in by.items()):
            return new
        return Project(new.input.input, tuple((name, substitute(expr, by)) for name, expr in new.items))

    return _rebuilt(order, merged)


RULES: list[Rule] = [relax_order, prune_columns, push_predicates, prune_columns, merge_projects]
