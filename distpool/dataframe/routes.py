"""Which way a call runs. The user does not choose; `DISTPOOL_DF_ROUTE` does, for tests and for those who want to
know.

    pandas    everything in this process by pandas; readers too
    polars    everything that has a native kernel, however small
    (unset)   what is lazy stays so; a frame in memory of many cells starts a plan at the calls that pay for it

Small frames must not be slower than pandas', so the look at the size is a few attribute reads.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

# A group-by or join of fewer cells takes pandas milliseconds, which the way to Polars and back costs as well.
LIFTED_CELLS_MIN = 1_000_000

_ROUTES = ("", "pandas", "polars")


def _checked(route: str) -> str:
    if route not in _ROUTES:
        raise ValueError(f"DISTPOOL_DF_ROUTE={route!r}: it is one of pandas, polars, or not set")
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


def pays(manager: Any) -> bool:
    """Say whether a frame in memory is big enough that a plan pays for a group-by, join or sort."""
    axes = manager.axes
    cells = len(axes[-1]) * (len(axes[0]) if len(axes) == 2 else 1)
    return cells >= LIFTED_CELLS_MIN
