"""The native operations, a file for each part of pandas. Importing this package registers them all."""

from distpool.dataframe.operations import (
    arithmetic,
    datetimes,
    grouping,
    joins,
    missing,
    reductions,
    rows,
    selection,
    strings,
)

__all__ = [
    "arithmetic",
    "datetimes",
    "grouping",
    "joins",
    "missing",
    "reductions",
    "rows",
    "selection",
    "strings",
]
