"""Runs a plan by Polars' lazy engine, in this process, on all cores.

Each node becomes a step of one lazy query, so that Polars may fuse what is left to fuse; a node that two others read
becomes one object, which Polars computes once. The exception is a sort whose ties pandas would lay in its own way
(`Sort.settled`): the rows below are made, sorted, and where there are ties pandas itself is asked for the order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas
import polars

from distpool.dataframe import kinds, routes
from distpool.dataframe.expressions import Call, Column, Expr, substitute
from distpool.dataframe.fragments import choosing
from distpool.dataframe.header import PlanFailed
from distpool.dataframe.kept_columns import KeptColumns
from distpool.dataframe.kernels import polars_aggregate, polars_expr, polars_window
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
    walk,
)
from distpool.dataframe.polars_columns import to_pandas_key

# Files of more bytes than this are run in batches: slower for small ones, and bounded in memory.
STREAMED_BYTES_MIN = 1 << 30


def run(root: Node) -> polars.DataFrame:
    """Optimize and run the plan. Raises PlanFailed, whatever Polars' reason is."""
    try:
        return _run(root)
    except MemoryError:
        raise
    except (Exception, polars.exceptions.PanicException) as error:
        raise PlanFailed(f"{type(error).__name__}: {error}") from error


def _run(root: Node) -> polars.DataFrame:
    plan = optimize(root)
    files = {node.paths: node.stamps for node in walk(plan) if isinstance(node, Scan)}
    size = sum(bytes_ for stamps in files.values() for bytes_, _ in stamps)
    streamed = size >= STREAMED_BYTES_MIN
    made = _Made(streamed=streamed)
    if not streamed:
        made.kept_for = _count_run(plan)
    return _collected(_lazy(plan, made), streamed=streamed)


def rows_of(plan: Node, made: Mapping[bytes, polars.LazyFrame]) -> polars.DataFrame:
    """Run a plan as it is, in which nodes that are `made` already, by their names, are read."""
    return _collected(_lazy(plan, _Made(made)))


class _Made(dict[bytes, polars.LazyFrame]):
    """The steps that there are already, by the names of their nodes.

    `streamed` if rows are not all to be held; `kept_for` names the scans whose columns may be kept.
    """

    def __init__(
        self, made: Mapping[bytes, polars.LazyFrame] = MappingProxyType({}), *, streamed: bool = False
    ):
        super().__init__(made)
        self.streamed = streamed
        self.kept_for: frozenset[bytes] = frozenset()


def _collected(query: polars.LazyFrame, *, streamed: bool = False) -> polars.DataFrame:
    return query.collect(engine="streaming" if streamed else "auto")


def _lazy(node: Node, made: _Made) -> polars.LazyFrame:
    known = made.get(node.content_name)
    if known is None:
        known = made[node.content_name] = _step(node, made)
    return known


def _step(node: Node, made: _Made) -> polars.LazyFrame:
    match node:
        case Memory(names=names, table=table):
            return polars.LazyFrame({name: table.series(name) for name in names})
        case Scan():
            return _scan(node, made)
        case Project(below, items):
            values = [polars_expr(expr).alias(name) for name, expr in items]
            if any(expr.columns for _, expr in items):
                return _lazy(below, made).select(*values)
            # Constants alone do not say how many rows there are.
            return _lazy(below, made).with_columns(*values).select(name for name, _ in items)
        case RowNumber(below, name):
            numbered = _lazy(below, made).with_row_index(name)
            return numbered.with_columns(polars.col(name).cast(polars.Int64))
        case Window(below, items):
            made_of_rows = [
                polars_window(how, expr, options, keys).alias(name)
                for name, how, expr, options, keys in items
            ]
            return _lazy(below, made).with_columns(*made_of_rows)
        case Filter(below, predicate):
            return _lazy(below, made).filter(polars_expr(predicate))
        case Slice(below, offset, length):
            return _lazy(below, made).slice(offset, length)
        case Distinct(below, subset, keep, ordered):
            return _lazy(below, made).unique(list(subset), keep=keep, maintain_order=ordered)  # type: ignore[arg-type]
        case Sort(below, by, descending, nulls_last, settled):
            rows = _lazy(below, made)
            if not settled:
                return _sorted_as_pandas(rows, by[0], descending[0], nulls_last).lazy()
            return rows.sort(*_sorting(by), **_directions(descending, nulls_last))
        case Aggregate():
            return _aggregated(node, _lazy(node.input, made))
        case Join(left, right, left_on, right_on, how, ordered):
            if how == "cross":
                return _lazy(left, made).join(_lazy(right, made), how="cross", maintain_order="left_right")
            if ordered and how in ("inner", "left") and not made.streamed:
                return _joined_in_order(node, _lazy(left, made), _lazy(right, made)).lazy()
            kept = "left_right" if how in ("inner", "left") else "left"
            return _lazy(left, made).join(
                _lazy(right, made),
                left_on=list(left_on),
                right_on=list(right_on),
                how=how,  # type: ignore[arg-type]
                nulls_equal=True,
                coalesce=False,
                maintain_order=kept if ordered else "none",  # type: ignore[arg-type]
            )
        case AsofJoin(left, right):
            return _joined_asof(node, _lazy(left, made), _lazy(right, made)).lazy()
        case Concat(parts):
            columns = list(parts[0].columns)
            return polars.concat([_lazy(part, made).select(columns) for part in parts], how="vertical")
        case _:
            raise TypeError(f"not a plan node: {node!r}")


def _scan(node: Scan, made: _Made) -> polars.LazyFrame:
    casts = {name: _brought(name, kind) for name, kind in node.casts}

    def read(names: Iterable[str], predicate: Expr | None = None) -> polars.LazyFrame:
        rows = polars.scan_parquet(list(node.paths), glob=False)
        if predicate is not None:
            rows = rows.filter(polars_expr(substitute(predicate, casts)))
        return rows.select(*(polars_expr(casts.get(name, Column(name))).alias(name) for name in names))

    bytes_ = choosing.BYTES_IN_MEMORY * sum(size for size, _ in node.stamps)
    names = _names_read(node)
    if (
        node.kept is None
        or node.content_name not in made.kept_for
        or not node.kept.pay(names, bytes_, choosing.free_bytes)
    ):
        return read(node.names, node.predicate)
    columns = node.kept.columns(names, lambda new: _collected(read(new)).rechunk())
    rows = polars.LazyFrame(columns)
    if node.predicate is not None:
        rows = rows.filter(polars_expr(node.predicate))
    return rows.select(node.names)


def _names_read(node: Scan) -> list[str]:
    return list(dict.fromkeys((*node.names, *(node.predicate.columns if node.predicate is not None else ()))))


def _count_run(plan: Node) -> frozenset[bytes]:
    """Note which columns of files are read, and give the scans that read more than a few rows at an end.

    A column that a plan reads at two places is read once.
    """
    nodes = list(walk(plan))
    peeked = {_below(node).content_name for node in nodes if isinstance(node, Slice)}
    scans = [node for node in nodes if isinstance(node, Scan) and node.content_name not in peeked]
    read: dict[int, tuple[KeptColumns, set[str]]] = {}
    for node in scans:
        if node.kept is not None:
            read.setdefault(id(node.kept), (node.kept, set()))[1].update(_names_read(node))
    for kept, names in read.values():
        kept.count_run(names)
    return frozenset(node.content_name for node in scans)


def _below(node: Node) -> Node:
    while isinstance(node, Slice | Project | RowNumber):
        node = node.input
    return node


def _brought(name: str, kind: str) -> Expr:
    column = Column(name)
    if kinds.is_nullable(kind):
        cast = Call("cast", (column,), (kinds.base(kind),))
        return Call("without_nan", (cast,)) if kinds.base(kind) in kinds.FLOATS else cast
    return Call("nan_to_null", (column,)) if kind.startswith("float") else Call("cast", (column,), (kind,))


def _joined_asof(node: AsofJoin, left: polars.LazyFrame, right: polars.LazyFrame) -> polars.DataFrame:
    ours, theirs = (side.rechunk() for side in polars.collect_all([left, right]))
    for side, on in ((ours, node.left_on), (theirs, node.right_on)):
        if side[on].null_count() or not side[on].is_sorted():
            raise ValueError("keys of an as-of join that are not in order, or missing")
    # Polars leaves out the columns of the right by which it has matched.
    matched = {name: f"as of, by:{name}" for name in node.right_by}
    theirs = theirs.with_columns(polars.col(name).alias(copy) for name, copy in matched.items())
    tolerance: Any = node.tolerance
    if tolerance is not None and ours[node.left_on].dtype.is_temporal():
        unit = ours[node.left_on].dtype.time_unit  # type: ignore[attr-defined]
        tolerance = f"{tolerance}{unit}"
    return ours.join_asof(
        theirs,
        left_on=node.left_on,
        right_on=node.right_on,
        by_left=list(node.left_by) or None,
        by_right=list(matched.values()) or None,
        strategy=node.direction,  # type: ignore[arg-type]
        tolerance=tolerance,
        allow_exact_matches=node.exact,
        coalesce=False,
        check_sortedness=False,
    ).select(node.columns)


def _joined_in_order(node: Join, left: polars.LazyFrame, right: polars.LazyFrame) -> polars.DataFrame:
    """Join numbers of rows, put these in order, and take the rows.

    Polars' own joins that keep the order of both sides take up to four times as long as those that do not.
    """
    ours, theirs = (side.rechunk() for side in polars.collect_all([left, right]))
    keys = [f"key{at}" for at in range(len(node.left_on))]
    pairs = (
        ours.lazy()
        .select(polars.col(name).alias(key) for name, key in zip(node.left_on, keys, strict=True))
        .with_row_index("left")
        .join(
            theirs.lazy()
            .select(polars.col(name).alias(key) for name, key in zip(node.right_on, keys, strict=True))
            .with_row_index("right"),
            on=keys,
            how=node.how,  # type: ignore[arg-type]
            nulls_equal=True,
            maintain_order="none",
        )
        .select("left", "right")
        .collect()
    )
    # So many pairs of a left join: each row of the left is there once.
    whole = node.how == "left" and pairs.height == ours.height
    at_left, at_right = _in_order(pairs, ours.height, whole=whole)
    if not whole:
        ours = ours.select(polars.all().gather(at_left))
    return ours.hstack(theirs.select(polars.all().gather(at_right)))


def _in_order(pairs: polars.DataFrame, height: int, *, whole: bool) -> tuple[polars.Series, polars.Series]:
    """Order pairs by the left row, of which there are `height`, then by the right one.

    `whole`: each left row is in one pair, and only its partner is wanted. A right row that is null is no partner.
    """
    left, right = pairs["left"], pairs["right"]
    # No row has this number: it is one more than Polars can count.
    nobody = np.iinfo("uint32").max
    partner = np.full(height, nobody, dtype="uint32")
    partner[left.to_numpy()] = right.fill_null(nobody).to_numpy()
    if whole:
        found = polars.Series(partner)
        return left, found.set(found == nobody, None) if right.null_count() else found
    met = np.flatnonzero(partner != nobody)
    if len(met) == pairs.height:
        # Nobody has two partners, and everybody one: there is nothing to sort.
        return polars.Series(met, dtype=left.dtype), polars.Series(partner[met])
    # One number for both, as there are fewer than 2**32 rows: sorting by one column is much quicker than by two.
    place = left.cast(polars.UInt64) * 2**32 + right.fill_null(0).cast(polars.UInt64)
    order = place.arg_sort()
    return left[order], right[order]


def _sorting(by: tuple[Expr, ...]) -> list[polars.Expr]:
    return [polars_expr(expr) for expr in by]


def _directions(descending: tuple[bool, ...], nulls_last: bool) -> dict[str, Any]:
    return {"descending": list(descending), "nulls_last": nulls_last, "maintain_order": True}


def _sorted_as_pandas(
    rows: polars.LazyFrame, by: Expr, descending: bool, nulls_last: bool
) -> polars.DataFrame:
    # One chunk: rows of a table in many are taken five times as slowly.
    table = _collected(rows).rechunk()
    key = table.select(polars_expr(by).alias("key"))["key"]
    # pandas' order of numbers costs one core what Polars' sort does, that of text less. With cores to spare it is worth
    # a tenth of a sort to see that there are no ties.
    if (
        routes.has_cores()
        and key.dtype != polars.String
        and not _has_ties(key.sort(descending=descending, nulls_last=nulls_last))
    ):
        return table.sort(*_sorting((by,)), **_directions((descending,), nulls_last))
    labels = pandas.DataFrame({"key": to_pandas_key(key)}).sort_values(
        "key", ascending=not descending, na_position="last" if nulls_last else "first"
    )
    made: polars.DataFrame = table[polars.Series(labels.index.to_numpy(), dtype=polars.get_index_type())]
    return made


def _has_ties(ordered: polars.Series) -> bool:
    return bool(ordered.eq_missing(ordered.shift(1)).slice(1).any())


def _aggregated(node: Aggregate, rows: polars.LazyFrame) -> polars.LazyFrame:
    aggregates = [
        polars_aggregate(how, expr, options).alias(name) for name, how, expr, options in node.aggregates
    ]
    if not node.keys:
        return rows.select(*aggregates)
    keys = [polars_expr(expr).alias(name) for name, expr in node.keys]
    if node.drop_nulls:
        rows = rows.filter(polars.all_horizontal(*(polars_expr(expr).is_not_null() for _, expr in node.keys)))
    groups = rows.group_by(*keys, maintain_order=node.order == "first").agg(*aggregates)
    return groups.sort([name for name, _ in node.keys], nulls_last=True) if node.order == "keys" else groups
