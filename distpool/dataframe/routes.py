"""Which way a call runs. The user does not choose; `DISTPOOL_DF_ROUTE` does, for tests and for those who want to
know.

    pandas    everything in this process by pandas; readers too
    polars    everything that has a native kernel, however small
    cluster   Python functions of rows and groups on the engine, however quick; the rest as with polars
    (unset)   what is lazy stays so; a frame in memory of many cells starts a plan at a group-by, where there are cores

Small frames must not be slower than pandas', so the look at the size is a few attribute reads.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator
from typing import Any

from distpool.cpus import cpu_count

# A file of fewer cells is read by pandas at once, and a group-by of fewer takes pandas milliseconds.
LIFTED_CELLS_MIN = 1_000_000

# A frame in memory goes to Polars and back by one core, so what it saves there must come from others. Measured with
# pandas 3.1: a group-by of two million rows takes both libraries about the same CPU time.
LIFTING_CPUS_MIN = 4

_ROUTES = ("", "pandas", "polars", "cluster")


def _checked(route: str) -> str:
    if route not in _ROUTES:
        raise ValueError(f"DISTPOOL_DF_ROUTE={route!r}: it is one of pandas, polars, cluster, or not set")
    return route


forced: str = _checked(os.environ.get("DISTPOOL_DF_ROUTE", ""))


@contextlib.contextmanager
def route(name: str) -> Iterator[None]:
    """Force a route for a while; an empty name gives the choice back."""
    global forced
    before, forced = forced, _checked(name)
    try:
        yield
    finally:
        forced = before


@functools.cache
def has_cores() -> bool:
    """Say whether there are so many that what Polars does with all of them is quicker than pandas with one."""
    return cpu_count() >= LIFTING_CPUS_MIN


def pays(manager: Any) -> bool:
    """Say whether a frame in memory is big enough that a plan pays for a group-by."""
    axes = manager.axes
    cells = len(axes[-1]) * (len(axes[0]) if len(axes) == 2 else 1)
    return cells >= LIFTED_CELLS_MIN and has_cores()
