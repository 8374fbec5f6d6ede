"""Readers of files: parquet as a source of plans, everything else by pandas.

The schema is what pandas makes of the empty table of the file's Arrow schema, metadata included. A file of few
cells is read at once. What pandas would not read column by column (an index that is a range of its own, categories)
it reads itself.
"""

from __future__ import annotations

import os
from typing import Any

import pandas

from distpool.dataframe import kinds, routes
from distpool.dataframe.expressions import Column
from distpool.dataframe.header import Field, Header, NotNative, SchemaError
from distpool.dataframe.kept_columns import KeptColumns
from distpool.dataframe.natives import native
from distpool.dataframe.plan import Scan

_NOTHING = pandas.api.extensions.no_default
_ARROW_NAMES = {"str": ("string", "large_string")}


@native("pandas", "read_parquet")
def read_parquet(
    path: Any,
    engine: str = "auto",
    columns: Any = None,
    storage_options: Any = None,
    dtype_backend: Any = _NOTHING,
    filesystem: Any = None,
    filters: Any = None,
    to_pandas_kwargs: Any = None,
    **options: Any,
) -> Header:
    """`pd.read_parquet(path)` of a local file or folder."""
    if (
        engine not in ("auto", "pyarrow")
        or options
        or to_pandas_kwargs
        or storage_options
        or filesystem
        or filters
    ):
        raise NotNative("options of the reader")
    if dtype_backend not in (_NOTHING, "numpy_nullable", "pyarrow"):
        raise NotNative("an unknown dtype backend")
    path = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(path, str) or "://" in path:
        raise NotNative("not a local path")
    return _of_files(_files(path), columns, dtype_backend)


def _files(path: str) -> list[str]:
    """The files that pandas would read: one, or those of a folder in the order of their names."""
    path = os.path.abspath(path)
    if os.path.isfile(path):
        return [path]
    found = []
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "_")))
        found += [os.path.join(folder, name) for name in names if not name.startswith((".", "_"))]
    if not found or any("=" in os.path.relpath(name, path) for name in found):
        raise NotNative("nothing there, or partitions by name")
    return sorted(found)


def _of_files(paths: list[str], columns: Any, dtype_backend: Any) -> Header:
    from pandas.io._util import arrow_table_to_pandas

    rows, stamps, complete, schema = 0, [], None, None
    for path in paths:
        stat = os.stat(path)
        stamps.append((stat.st_size, stat.st_mtime_ns))
        with _opened(path) as file:
            if schema is not None and not file.schema_arrow.equals(schema):
                raise NotNative(_difference(paths[0], schema, path, file.schema_arrow))
            schema = file.schema_arrow
            rows += file.metadata.num_rows
            without = _columns_without_nulls(file.metadata)
            complete = without if complete is None else complete & without
    assert schema is not None
    assert complete is not None
    cells = rows * (len(schema) if columns is None else len(columns))
    if not routes.forced and cells < routes.LIFTED_CELLS_MIN:
        raise NotNative("a small file")
    if len(set(schema.names)) < len(schema):
        raise NotNative("columns of the same name")
    pandas_metadata = schema.pandas_metadata or {}
    if pandas_metadata.get("attributes"):
        raise NotNative("attributes of the frame")
    indexes = pandas_metadata.get("index_columns", [])
    names = list(schema.names)
    if any(isinstance(index, str) for index in indexes):
        raise NotNative("an index in the file")
    for index in indexes:
        if (index["kind"], index["start"], index["step"]) != ("range", 0, 1):
            raise NotNative("a range as the index that is not the default one")
    if columns is not None:
        if not all(type(name) is str and name in names for name in columns):
            raise NotNative("columns that the file does not have")
        names = list(dict.fromkeys(columns))
    part = _empty(schema, names)
    proto = arrow_table_to_pandas(part, dtype_backend=dtype_backend, to_pandas_kwargs={})
    if list(proto.columns) != names:
        raise NotNative("labels that the file's metadata changes")
    proto.index = pandas.RangeIndex(0, name=proto.index.name)
    fields, casts = [], []
    for name, dtype in zip(names, proto.dtypes, strict=True):
        field, cast = _field(schema.field(name), dtype, name in complete)
        fields.append(field)
        if cast:
            casts.append((name, cast))
    base = Scan(
        "parquet", tuple(paths), tuple(stamps), tuple(names), tuple(casts), rows=rows, kept=KeptColumns()
    )
    return Header(base, tuple(fields), None, proto)


def _opened(path: str) -> Any:
    """Open a file of parquet. What pandas raises of one that is none, or half of one, says here which it is."""
    import pyarrow.parquet

    try:
        return pyarrow.parquet.ParquetFile(path)
    except pyarrow.ArrowException as error:
        raise SchemaError from type(error)(f"{path}: {error}")


def _difference(one: str, first: Any, two: str, second: Any) -> str:
    """Say which column differs, and in which files. pandas reads such files if it can, and this is told if not."""
    for name in dict.fromkeys((*first.names, *second.names)):
        types = [
            str(schema.field(name).type) if name in schema.names else "not there"
            for schema in (first, second)
        ]
        if types[0] != types[1]:
            return f"column {name!r} differs between files: {types[0]} in {one}, {types[1]} in {two}"
    return f"files of different schemas: {one}, {two}"


def _empty(schema: Any, names: list[str]) -> Any:
    """The empty table of these columns, with what the file says about pandas."""
    import pyarrow

    chosen = pyarrow.schema([schema.field(name) for name in names])
    if schema.metadata and b"pandas" in schema.metadata:
        chosen = chosen.with_metadata({b"pandas": schema.metadata[b"pandas"]})
    return chosen.empty_table()


def _columns_without_nulls(metadata: Any) -> set[str]:
    """The columns of which the file itself says that they have no nulls."""
    nulls: dict[str, bool] = {}
    for group in range(metadata.num_row_groups):
        row_group = metadata.row_group(group)
        for at in range(row_group.num_columns):
            column = row_group.column(at)
            statistics = column.statistics
            none = statistics is not None and statistics.has_null_count and statistics.null_count == 0
            nulls[column.path_in_schema] = nulls.get(column.path_in_schema, False) or not none
    return {name for name, some in nulls.items() if not some}


def _field(arrow: Any, dtype: Any, complete: bool) -> tuple[Field, str | None]:
    """The field of a column of the file, and the kind that it must be brought to when read."""
    import pyarrow

    kind, made = kinds.kind_of(dtype), Column(arrow.name)
    whole = not kinds.can_miss(kind) if kind else False
    # Whole numbers with nulls are floats in pandas: the file must say that there are none.
    if kind == "codes" or (whole and not complete and arrow.nullable):
        raise NotNative(f"column {arrow.name!r}: {arrow.type}")
    if kind is None:
        name = "decimal" if pyarrow.types.is_decimal(arrow.type) else str(arrow.type)
        return Field(made, f"arrow:{'date32' if name == 'date32[day]' else name}", missing=not complete), None
    if kinds.is_nullable(kind):
        natural = str(arrow.type) in _ARROW_NAMES.get(kinds.base(kind), (kinds.base(kind),))
        floats = kinds.base(kind) in kinds.FLOATS
        return Field(made, kind, missing=not complete), kind if floats or not natural else None
    if kind.startswith("float"):
        return Field(made, kind, missing=True), kind
    stamp = str(arrow.type).replace("timestamp", "datetime")
    natural = kind in (str(arrow.type), stamp) or str(arrow.type) in ("string", "large_string")
    return Field(made, kind, missing=not complete), None if natural else kind
