"""``distpool run --summary``: at a program's end, what of it was parallel, where, and how long.

::

    distpool: 3 pools in 12.4 s
    what                 opened at       workers  nodes  tasks   items    work   set-up  waiting  at once  peak memory
    Pool                 train.py:12           2      1    100   1,000  18.2 s   0.61 s   1.02 s     1.8x     80.1 MiB
    joblib               train.py:40           2      1     53     120   3.1 s    ...

``at once``: how many workers worked at one time, on average: work / what the longest one lived. Of workers, everything
else is counted by ``accounts`` in any case; here is noted which pools there were, and whose line opened them.

What it is not: what one pool's workers did, one by one (``Pool.insight()``), or a trace (``distpool.timeline``).
"""

from __future__ import annotations

import atexit
import os
import sys
import time
from types import FrameType
from typing import Any

from distpool import worker_hooks
from distpool.program_code import is_of_a_library
from distpool.scheduler.shells.accounts import sum_of
from distpool.scheduler.store.files import show_size
from distpool.scheduler.text_tables import in_columns

__all__ = ["Summary", "at_exit"]

#: The module that a program's own line has called, and what it is to the program.
_DOORS = {
    "distpool.pool": "Pool",
    "distpool.context_makers": "Pool",
    "distpool.run": "Pool",  # which those are called by
    "distpool.futures": "ProcessPoolExecutor",
    "distpool.joblib": "joblib",
    "distpool.dask": "Dask",
    "distpool.dataframe": "DataFrame",
    "distpool.tasks": "remote functions",
    "distpool.actors": "actors",
}
_HEADINGS = (
    "what", "opened at", "workers", "nodes", "tasks", "items", "work", "set-up", "waiting", "at once", "peak memory",
)  # fmt: skip
#: More pools than this are counted, but not listed: a program may open one for each of a million calls.
ROWS_MAX = 50


class Summary:
    """Notes each pool that this process opens, from now on."""

    def __init__(self) -> None:
        self._began_s = time.monotonic()
        self._pid = os.getpid()
        self._opened: list[tuple[str, str, Any]] = []
        self._count = 0

    def note(self, pool: Any) -> None:
        """A pool was opened."""
        if os.getpid() == self._pid:
            self._count += 1
            if len(self._opened) < ROWS_MAX:
                self._opened.append((*_who_asks(), pool))

    def __str__(self) -> str:
        total_s = time.monotonic() - self._began_s
        pools = "1 pool" if self._count == 1 else f"{self._count:,} pools"
        title = f"distpool: {pools if self._count else 'nothing was parallel'} in {total_s:.1f} s"
        rows = [_row(what, where, pool) for what, where, pool in self._opened]
        lines = [title, *in_columns([_HEADINGS, *rows])] if rows else [title]
        if self._count > len(rows):
            lines.append(f"... and {self._count - len(rows):,} more pools")
        return "\n".join(lines)


def at_exit() -> None:
    """Write the summary of this process to standard error when it ends."""
    summary = Summary()
    worker_hooks.POOL_HOOKS.append(summary.note)
    # Handlers run in reverse order: this one after the session has ended, and all has been counted.
    atexit.register(_write, summary)


def _write(summary: Summary) -> None:
    if os.getpid() == summary._pid and sys.stderr is not None:
        try:
            print(summary, file=sys.stderr, flush=True)
        except (OSError, ValueError):
            pass  # nobody reads it


def _who_asks() -> tuple[str, str]:
    """Which front door a pool is opened by, and the program's own line that led there."""
    door = ""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        file = frame.f_code.co_filename
        if module.startswith("distpool."):
            door = ".".join(module.split(".")[:2])
        elif not is_of_a_library(file):
            return _DOORS.get(door, door), f"{os.path.basename(file)}:{frame.f_lineno}"
        frame = frame.f_back
    return _DOORS.get(door, door), "a library"


def _row(what: str, where: str, pool: Any) -> tuple[str, ...]:
    workers = pool.accounts()
    total = sum_of(workers)
    longest_s = max((w.start_s + w.setup_s + w.wait_s + w.work_s for w in workers), default=0.0)
    return (
        what,
        where,
        f"{len(workers):,}",
        f"{len({worker.node for worker in workers}):,}",
        f"{total.tasks:,}",
        f"{total.items:,}",
        f"{total.work_s:.2f} s",
        f"{total.start_s + total.setup_s:.2f} s",
        f"{total.wait_s:.2f} s",
        f"{total.work_s / longest_s:.1f}x" if longest_s > 0 else "",
        show_size(total.peak_bytes),
    )
