"""What is measured, one file a group, every file with `TITLE` and `ROWS`. A new group is a new file."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass

from benchmarks.model import Row


@dataclass(frozen=True, slots=True)
class Group:
    """The rows of one file, under one heading of the results."""

    key: str
    title: str
    rows: tuple[Row, ...]


# Small tasks first, then data; groups that come later follow by name.
_ORDER = (
    "small_tasks",
    "start_and_memory",
    "million_tasks",
    "big_arrays",
    "one_array_many_tasks",
    "shared_memory_use",
    "sizes",
    "frames",
    "shared_things",
    "queues",
    "progress",
    "watched",
    "remote",
    "joblib_calls",
    "dask_graphs",
    "questions",
)


def groups() -> list[Group]:
    """Every group of rows, in the order of the results."""
    found: list[Group] = []
    for entry in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{entry.name}")
        found.append(Group(entry.name, module.TITLE, tuple(module.ROWS)))
    known = {key: place for place, key in enumerate(_ORDER)}
    return sorted(found, key=lambda group: (known.get(group.key, len(known)), group.key))


def discover() -> dict[str, Row]:
    """Every row by key."""
    return {row.key: row for group in groups() for row in group.rows}
