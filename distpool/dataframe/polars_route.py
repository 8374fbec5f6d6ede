"""Runs a plan by Polars' lazy engine, in this process, on all cores.

Each node becomes a step of one lazy query, so that Polars may fuse what is left to fuse; a node that two others read
becomes one object, which Polars computes once. The exception is a sort whose ties pandas would lay in its own way
(`Sort.settled`): the rows below are made, sorted, and where there are ties pandas itself is asked for the order.
"""

from __future__ import annotations

from typing import Any

import pandas
import polars

from distpool.dataframe.expressions import Call, Column, Expr, substitute
from distpool.dataframe.kernels import polars_aggregate, polars_expr
from distpool.dataframe.optimizer import optimize
from distpool.dataframe.plan import (
    Aggregate,
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
    walk,
)
from distpool.dataframe.polars_columns import to_pandas_key

# Files of more bytes than this are run in batches: slower for small ones, and bounded in memory.
STREAMED_BYTES_MIN = 1 << 30


def run(root: Node) -> polars.DataFrame:
    """Optimize and run the plan."""
    plan = optimize(root)
    files = {node.paths: node.stamps for node in walk(plan) if isinstance(node, Scan)}
    size = sum(bytes_ for stamps in files.values() for bytes_, _ in stamps)
    return _collected(_lazy(plan, {}), streamed=size >= STREAMED_BYTES_MIN)


def _collected(query: polars.LazyFrame, *, streamed: bool = False) -> polars.DataFrame:
    return query.collect(engine="streaming" if streamed else "auto")


def _lazy(node: Node, made: dict[bytes, polars.LazyFrame]) -> polars.LazyFrame:
    known = made.get(node.content_name)
    if known is None:
        known = made[node.content_name] = _step(node, made)
    return known


def _step(node: Node, made: dict[bytes, polars.LazyFrame]) -> polars.LazyFrame:
    match node:
        case Memory(names=names, table=table):
            return polars.LazyFrame({name: table.series(name) for name in names})
        case Scan():
            return _scan(node)
        case Project(below, items):
            values = [polars_expr(expr).alias(name) for name, expr in items]
            if any(expr.columns for _, expr in items):
                return _lazy(below, made).select(*values)
            # Constants alone do not say how many rows there are.
            return _lazy(below, made).with_columns(*values).select(name for name, _ in items)
        case RowNumber(below, name):
            numbered = _lazy(below, made).with_row_index(name)
            return numbered.with_columns(polars.col(name).cast(polars.Int64))
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
        case Concat(parts):
            columns = list(parts[0].columns)
            return polars.concat([_lazy(part, made).select(columns) for part in parts], how="vertical")
        case _:
            raise TypeError(f"not a plan node: {node!r}")


def _scan(node: Scan) -> polars.LazyFrame:
    rows = polars.scan_parquet(list(node.paths), glob=False)
    casts = {name: _brought(name, kind) for name, kind in node.casts}
    if node.predicate is not None:
        rows = rows.filter(polars_expr(substitute(node.predicate, casts)))
    return rows.select(*(polars_expr(casts.get(name, Column(name))).alias(name) for name in node.names))


def _brought(name: str, kind: str) -> Expr:
    column = Column(name)
    return Call("nan_to_null", (column,)) if kind.startswith("float") else Call("cast", (column,), (kind,))


def _sorting(by: tuple[Expr, ...]) -> list[polars.Expr]:
    return [polars_expr(expr) for expr in by]


def _directions(descending: tuple[bool, ...], nulls_last: bool) -> dict[str, Any]:
    return {"descending": list(descending), "nulls_last": nulls_last, "maintain_order": True}


def _sorted_as_pandas(
    rows: polars.LazyFrame, by: Expr, descending: bool, nulls_last: bool
) -> polars.DataFrame:
    table = _collected(rows)
    key = table.select(polars_expr(by).alias("key"))["key"]
    ordered = key.sort(descending=descending, nulls_last=nulls_last)
    if not _has_ties(ordered):
        return table.sort(*_sorting((by,)), **_directions((descending,), nulls_last))
    labels = pandas.DataFrame({"key": to_pandas_key(key)}).sort_values(
        "key", ascending=not descending, na_position="last" if nulls_last else "first"
    )
    made: polars.DataFrame = table[labels.index.to_numpy()]
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
