"""Long and wide: melt, pivot tables; the index in order."""

from __future__ import annotations

from typing import Any

import pandas

from distpool.dataframe import coverage_counts, kinds
from distpool.dataframe.expressions import Column, Literal
from distpool.dataframe.header import Field, Header, NotNative, from_pandas
from distpool.dataframe.natives import native
from distpool.dataframe.operations import operands
from distpool.dataframe.plan import Concat, Project, Sort


@native("DataFrame", "melt")
def melt(
    header: Header,
    id_vars: Any = None,
    value_vars: Any = None,
    var_name: Any = None,
    value_name: Any = "value",
    col_level: Any = None,
    ignore_index: bool = True,
) -> Header:
    """`df.melt(id_vars=...)`: columns of one dtype below each other."""
    if col_level is not None or not ignore_index or isinstance(header.proto.columns, pandas.MultiIndex):
        raise NotNative("columns of several levels, or the index kept")
    proto = from_pandas(
        lambda: header.proto.melt(
            id_vars=id_vars, value_vars=value_vars, var_name=var_name, value_name=value_name
        )
    )
    keys = [] if id_vars is None else operands.labels(id_vars)
    values = (
        operands.labels(value_vars)
        if value_vars is not None
        else [label for label in header.proto.columns if label not in keys]
    )
    if not values or not all(type(label) is str for label in (*keys, *values)):
        raise NotNative("no values, or labels that are no texts")
    if len({*keys, *values}) < len(keys) + len(values):
        raise NotNative("a column that is a key and a value")
    flat = header.grounded().flattened()
    ids = [flat.field(label) for label in keys]
    melted = [flat.field(label) for label in values]
    dtypes = {str(header.dtypes[header.position(label)]) for label in values}
    if len(dtypes) > 1 or melted[0].kind == "codes":
        raise NotNative("values of different dtypes, or categories")
    names = [f"id{at}" for at in range(len(ids))]
    parts = tuple(
        Project(
            flat.base,
            (
                *((name, field.expr) for name, field in zip(names, ids, strict=True)),
                ("variable", Literal(label, "str")),
                ("value", field.expr),
            ),
        )
        for label, field in zip(values, melted, strict=True)
    )
    fields = [Field(Column(name), field.kind, field.missing) for name, field in zip(names, ids, strict=True)]
    fields.append(Field(Column("variable"), "str", missing=False))
    fields.append(Field(Column("value"), melted[0].kind, any(field.missing for field in melted)))
    made = [kinds.kind_of(dtype) for dtype in proto.dtypes]
    if made != [field.kind for field in fields]:
        raise NotNative("dtypes that hang on the rows")
    return Header(Concat(parts), tuple(fields), None, proto)


_AGGREGATES = ("mean", "sum", "count", "min", "max", "median", "size", "std", "nunique", "first", "last")


@native("DataFrame", "pivot_table", traced=True)
def pivot_table(
    header: Header, values: Any = None, index: Any = None, columns: Any = None, **options: Any
) -> Any:
    """The group-by is a plan; pandas makes the table of its few rows."""
    from distpool.dataframe.dispatching import wrap
    from distpool.dataframe.objects import DataFrame

    plain = {"aggfunc": "mean", "fill_value": None, **options}
    hows = plain["aggfunc"] if isinstance(plain["aggfunc"], list) else [plain["aggfunc"]]
    if options.keys() - {"aggfunc", "fill_value"} or not all(how in _AGGREGATES for how in hows):
        raise NotNative("margins, functions, or other options")
    if values is None or not all(type(one) is str for one in operands.labels(values)):
        raise NotNative("values that are not named")
    if not all(one is None or isinstance(one, str | list) for one in (index, columns)):
        raise NotNative("keys that are no labels")
    keys = [label for one in (index, columns) if one is not None for label in operands.labels(one)]
    if not all(type(key) is str for key in keys):
        raise NotNative("keys that are not named")
    for label in keys:
        if from_pandas(lambda label=label: header.key(label)).kind == "codes":  # type: ignore[misc]
            raise NotNative("categories")
    frame = wrap(header.with_(index=None, proto=header.proto.reset_index(drop=True)))
    with coverage_counts.told():
        return DataFrame(pandas.DataFrame.pivot_table(frame, values, index, columns, **options))


@native("DataFrame", "sort_index")
@native("Series", "sort_index")
def sort_index(
    header: Header,
    *,
    axis: Any = 0,
    level: Any = None,
    ascending: Any = True,
    inplace: bool = False,
    kind: Any = "quicksort",
    na_position: Any = "last",
    sort_remaining: bool = True,
    ignore_index: bool = False,
    key: Any = None,
) -> Header:
    """By the labels of rows: of an index that has no ties that an unstable sort would lay in its own way."""
    if (
        axis not in (0, "index")
        or level is not None
        or key is not None
        or ascending is not True
        or ignore_index
    ):
        raise NotNative("another order, or some levels")
    if header.index is None:
        return header
    if len(header.index) > 1 or na_position != "last" or header.index[0].kind == "codes":
        raise NotNative("several levels")
    field = header.index[0].computed("sort_index")
    return header.with_(base=Sort(header.base, (field.expr,), (False,), settled=False))
