"""How long this thread waits at most for data of other nodes, where its caller has said so (``get(timeout=...)``).

What waits lies deep below who knows the time: a pickle is loaded, which maps an object, of which a copy is fetched. So
the time belongs to the thread. A fetch that is given up goes on at the agent, and the next one finds what has come.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

#: What has come already is had within this, however little time there is: the agent has to be asked for it.
LEAST_S = 0.1


class FetchLate(TimeoutError):
    """Data of another node has not come in time."""


class _Mine(threading.local):
    until_s: float | None = None


_mine = _Mine()


@contextmanager
def until(at_s: float | None) -> Iterator[None]:
    """Wait until then, by the monotonic clock; None: for as long as it takes."""
    before, _mine.until_s = _mine.until_s, at_s
    try:
        yield
    finally:
        _mine.until_s = before


def left_ms(since_s: float) -> int | None:
    """For a poll: how long a wait that began then may still last; None: without end."""
    if _mine.until_s is None:
        return None
    return max(0, round(1000 * (max(_mine.until_s, since_s + LEAST_S) - time.monotonic())))
