"""The task stream: who ran what and when, of the last minutes; and of that what a browser has not been told yet.

::

    Bar, Bar, ...  of each worker ──► only what ended after what we have of it ──► by look, numbered, bounded
                                                          news(after look 41) ──► the rows that are new

Pure. Workers have merged what is short (``tallies.bars_of``); here it is only kept, and shared by all who look.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from distpool.commands.dashboard.functions import SILENT_S, called
from distpool.scheduler.messages.activity import WorkerActivity

__all__ = ["Stream"]

#: Looks, and bars, that are kept.
LOOKS_MAX = 600
BARS_MAX = 30_000

#: Worker ("node/number"), function, start, end, seconds of work, calls, of them failed.
Row = tuple[str, str, float, float, float, int, int]


class Stream:
    """See the module."""

    def __init__(self) -> None:
        self._looks: deque[tuple[int, list[Row]]] = deque()
        self._count = 0
        self._seen: dict[tuple[str, int, int], float] = {}  # until when we have its bars, ...
        self._heard_s: dict[tuple[str, int, int], float] = {}  # ... and when they came

    def add(self, look: int, activities: list[WorkerActivity], at_s: float) -> None:
        """What this look has brought."""
        rows: list[Row] = []
        for activity in activities:
            key = activity.node, activity.worker, activity.pid
            worker = f"{activity.node}/{activity.worker}"
            seen_s = self._seen.get(key, 0.0)
            for bar in activity.bars:
                if bar.end_s <= seen_s + 1e-6:
                    continue
                name = called(activity.names[bar.name])
                start_s = bar.start_s if bar.calls == 1 else max(bar.start_s, seen_s)
                rows.append((worker, name, start_s, bar.end_s, bar.busy_s, bar.calls, bar.failed))
                self._seen[key] = max(self._seen.get(key, 0.0), bar.end_s)
                self._heard_s[key] = at_s
        for key in [key for key, heard_s in self._heard_s.items() if heard_s < at_s - SILENT_S]:
            del self._seen[key], self._heard_s[key]
        if rows:
            self._looks.append((look, rows))
            self._count += len(rows)
        while self._looks and (self._count > BARS_MAX or len(self._looks) > LOOKS_MAX):
            self._count -= len(self._looks.popleft()[1])

    def news(self, after: int, since_s: float = 0.0, workers: frozenset[str] | None = None) -> list[Any]:
        """What ended after this time, of looks after this one, of these workers, oldest look first; for JSON."""
        return [
            (worker, name, round(start_s, 4), round(end_s, 4), round(busy_s, 4), calls, failed)
            for look, rows in self._looks
            if look > after
            for worker, name, start_s, end_s, busy_s, calls, failed in rows
            if end_s > since_s and (workers is None or worker in workers)
        ]
