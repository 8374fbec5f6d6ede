"""Rows into pieces, and pieces as bytes. The same on every machine: one version of Polars gives one hash."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import polars
import pyarrow

from distpool.dataframe.fragments.pieces import ByHash, ByRange, Split
from distpool.dataframe.kernels import polars_expr

_SEED = 20
_MARK = "~mark"


def split(
    rows: polars.DataFrame, how: Split, bounds: polars.DataFrame | None = None
) -> list[polars.DataFrame]:
    """Give the pieces, empty ones too."""
    match how:
        case None:
            return [rows]
        case ByHash(keys, count):
            return _by_hash(rows, keys, count)
        case ByRange():
            assert bounds is not None
            return _by_range(rows, how, bounds)


def _by_hash(rows: polars.DataFrame, keys: tuple[str, ...], count: int) -> list[polars.DataFrame]:
    if count == 1:
        return [rows]
    bucket = (rows.select(keys).hash_rows(_SEED) % count).cast(polars.UInt32).alias(_MARK)
    parts = rows.with_columns(bucket).partition_by(
        _MARK, maintain_order=True, include_key=False, as_dict=True
    )
    nothing = rows.clear()
    return [parts.get((at,), nothing) for at in range(count)]


def _by_range(rows: polars.DataFrame, how: ByRange, bounds: polars.DataFrame) -> list[polars.DataFrame]:
    """Rows that are sorted are cut at the bounds: a sort of both says where, in the order that it is about."""
    keys = [polars_expr(expr).alias(name) for name, expr in zip(bounds.columns, how.by, strict=True)]
    mine = rows.lazy().select(*keys, polars.lit(False).alias(_MARK)).collect()
    # A bound lies behind the rows that are equal to it, so these are in one piece wherever they come from.
    both = polars.concat([mine, bounds.with_columns(polars.lit(True).alias(_MARK))], how="vertical")
    marks = both.sort(
        bounds.columns, descending=list(how.descending), nulls_last=how.nulls_last, maintain_order=True
    )[_MARK]
    at = marks.arg_true().to_list()
    edges = [0, *(where - before for before, where in enumerate(at)), rows.height]
    return [rows.slice(start, end - start) for start, end in itertools.pairwise(edges)]


def pack(rows: polars.DataFrame) -> Any:
    """Write rows as one Arrow buffer, which lies in a store as it is and is read there."""
    table = rows.to_arrow(compat_level=polars.CompatLevel.oldest())
    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def unpack(buffers: Sequence[Any]) -> polars.DataFrame:
    """Read the rows of buffers, one after the other, without copying their values."""
    frames: list[polars.DataFrame] = [
        polars.DataFrame(pyarrow.ipc.open_stream(buffer).read_all()) for buffer in buffers
    ]
    return frames[0] if len(frames) == 1 else polars.concat(frames, how="vertical", rechunk=False)
