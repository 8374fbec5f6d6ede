"""Leaves of a plan as fragments: row groups of files, rows of frames in memory, in stretches of about one size.

The only part of planning that looks: at the footers of files, and at the size of what is in memory.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from distpool.dataframe.expressions import Column
from distpool.dataframe.fragments.limits import Limits
from distpool.dataframe.fragments.pieces import Fragment
from distpool.dataframe.plan import Filter, Memory, Node, Project, Scan, Slice, walk


@dataclass(frozen=True)
class RowGroup:
    """Rows of a file that are read together: so many from `start` on; `bytes_` of the columns that are asked for."""

    file: int
    start: int
    rows: int
    bytes_: int


def sources_of(plan: Node, limits: Limits) -> dict[bytes, list[Fragment]]:
    """Cut every leaf of a plan. Raises OSError for a file that is not there."""
    made: dict[bytes, list[Fragment]] = {}
    for node in walk(plan):
        if isinstance(node, Memory):
            made[node.content_name] = rows_of_memory(node, limits)
        elif isinstance(node, Scan) and node.format == "parquet":
            made[node.content_name] = groups_of_files(node, row_groups(node), limits)
        elif isinstance(node, Scan):
            made[node.content_name] = [
                Fragment(replace(node, paths=(path,), stamps=(stamp,)), bytes_=stamp[0])
                for path, stamp in zip(node.paths, node.stamps, strict=True)
            ]
        elif not node.inputs:
            made[node.content_name] = [Fragment(node)]
    return made


def rows_of_memory(node: Memory, limits: Limits) -> list[Fragment]:
    """Stretches of a frame in memory."""
    columns = [node.table.series(name) for name in node.names]
    rows, size = len(columns[0]), sum(column.estimated_size() for column in columns)
    count = max(1, min(rows, -(-size // limits.bytes_of_each(size))))
    if count == 1:
        return [Fragment(node, rows=rows, bytes_=size)]
    edges = [rows * at // count for at in range(count + 1)]
    return [
        Fragment(Slice(node, start, end - start), rows=end - start, bytes_=size // count)
        for start, end in itertools.pairwise(edges)
    ]


def row_groups(node: Scan) -> list[RowGroup]:
    """What the footers say of the columns that are read."""
    import pyarrow.parquet

    read = {*node.names, *(node.predicate.columns if node.predicate is not None else ())}
    return [
        group
        for number, path in enumerate(node.paths)
        for group in _groups_of_file(pyarrow.parquet, number, path, read)
    ]


def _groups_of_file(parquet: Any, number: int, path: str, read: set[str]) -> list[RowGroup]:
    found, start = [], 0
    try:
        with parquet.ParquetFile(path) as file:
            for at in range(file.metadata.num_row_groups):
                group = file.metadata.row_group(at)
                columns = (group.column(column) for column in range(group.num_columns))
                size = sum(
                    column.total_uncompressed_size
                    for column in columns
                    if column.path_in_schema.partition(".")[0] in read
                )
                found.append(RowGroup(number, start, group.num_rows, size))
                start += group.num_rows
    except Exception as error:
        error.add_note(f"the file is {path}")
        raise
    return found or [RowGroup(number, 0, 0, 0)]


def groups_of_files(node: Scan, groups: Sequence[RowGroup], limits: Limits) -> list[Fragment]:
    """Neighbouring row groups of about one fragment's size together; never of two files and a part of one."""
    ends: dict[int, int] = {}
    for group in groups:
        ends[group.file] = group.start + group.rows
    size = limits.bytes_of_each(sum(group.bytes_ for group in groups))
    return [_read(node, run, ends) for run in _runs(groups, size)]


def _runs(groups: Sequence[RowGroup], size: int) -> Iterator[list[RowGroup]]:
    run: list[RowGroup] = []
    for group in groups:
        # A file that is begun in the middle, or left in the middle, is a fragment's only one.
        apart = bool(run) and group.file != run[-1].file and run[0].start > 0
        if run and (apart or sum(one.bytes_ for one in run) + group.bytes_ > size):
            many = [one for one in run if one.file != run[-1].file]
            if many and group.file == run[-1].file:
                yield many
                run = run[len(many) :]
                if sum(one.bytes_ for one in run) + group.bytes_ > size:
                    yield run
                    run = []
            else:
                yield run
                run = []
        run.append(group)
    if run:
        yield run


def _read(node: Scan, run: Sequence[RowGroup], ends: dict[int, int]) -> Fragment:
    files = list(dict.fromkeys(group.file for group in run))
    rows, size = sum(group.rows for group in run), sum(group.bytes_ for group in run)
    scan = replace(
        node,
        paths=tuple(node.paths[file] for file in files),
        stamps=tuple(node.stamps[file] for file in files),
    )
    if run[0].start == 0 and run[-1].start + run[-1].rows == ends[files[-1]]:
        return Fragment(scan, rows=rows if node.predicate is None else None, bytes_=size)
    if node.predicate is None:
        return Fragment(Slice(scan, run[0].start, rows), rows=rows, bytes_=size)
    # Rows are counted before the predicate takes some away.
    names = tuple(dict.fromkeys((*node.names, *sorted(node.predicate.columns))))
    part = Slice(replace(scan, names=names, predicate=None), run[0].start, rows)
    chosen = Project(Filter(part, node.predicate), tuple((name, Column(name)) for name in node.names))
    return Fragment(chosen, bytes_=size)
