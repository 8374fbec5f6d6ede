"""The native operations, a file for each part of pandas. Importing this package registers them all."""

from distpool.dataframe.operations import (
    arithmetic,
    combining,
    datetimes,
    grouping,
    joins,
    missing,
    querying,
    reductions,
    rows,
    selection,
    strings,
    summaries,
)

__all__ = [
    "arithmetic",
    "combining",
    "datetimes",
    "grouping",
    "joins",
    "missing",
    "querying",
    "reductions",
    "rows",
    "selection",
    "strings",
    "summaries",
]
