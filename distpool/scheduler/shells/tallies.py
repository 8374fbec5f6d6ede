"""What a worker has run, added up by name, and drawn as bars: made of its trace when somebody asks, and not before.

::

    ring of marks (``traces``) ── the newer part ──► Ledger.fold ──► by name: count, failed, seconds, lengths
                                └─ since this asker's last look ──► bars: long calls, and stretches of short ones

Adding up costs a microsecond for a call that is looked at, so no more than ``FOLD_MAX`` are. Of more that have ended
since the last time, the latest stand for all: their counts are scaled to the number that the worker has counted.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

from distpool.scheduler.messages.activity import Bar, Tally
from distpool.scheduler.shells.traces import Event, Mark, events_of

__all__ = ["Ledger", "bars_of", "bucket_of", "newest"]

#: Calls that are looked at for one answer, the latest.
FOLD_MAX = 2_000
#: Names that are told apart; those that come later are put together as ``OTHERS``.
NAMES_MAX = 500
OTHERS = "(other functions)"
#: Bars of the time before an asker's first question go back so far.
HISTORY_S = 120.0
#: Of so many askers it is known when they looked last.
ASKERS_MAX = 8


def bucket_of(seconds: float) -> int:
    """The power of two microseconds that is above this length; 0 for less than one."""
    return max(0, math.frexp(seconds * 1e6)[1])


def newest(ring: deque[Mark], after_s: float, most: int) -> tuple[list[Event], bool]:
    """The latest calls that ended after this, in the order of their ends; and whether some before them did, too."""
    marks = list(itertools.islice(reversed(ring), 3 * most))[::-1]
    events = [event for event in events_of(marks) if event[2] > after_s]
    whole = len(marks) == len(ring) and len(ring) < (ring.maxlen or math.inf)
    reached = bool(marks) and _end_of(marks) <= after_s
    return events[-most:], not (whole or reached) or len(events) > most


def _end_of(marks: list[Mark]) -> float:
    """When the oldest of these calls ended, or began: no later than that."""
    for mark in marks:
        if isinstance(mark, tuple):
            return mark[2]
        if isinstance(mark, float):
            return abs(mark)
    return math.inf


class Ledger:
    """One worker's. ``ring`` is its trace's; all times are of its clock. Not for several threads at once."""

    def __init__(self) -> None:
        self._rows: dict[str, list[Any]] = {}  # done, failed, seconds, buckets
        self._folded_s = 0.0  # what has ended by then is in it
        self._counted = 0
        self._looks: dict[str, float] = {}
        self.sampled = False

    def fold(self, ring: deque[Mark], completed: int | None) -> None:
        """Take in what has ended since. ``completed``: how many calls have, if that is counted."""
        events, more = newest(ring, self._folded_s, FOLD_MAX)
        if not events:
            return
        weight = 1.0
        if more:
            self.sampled = True
            if completed is not None:
                weight = max(1.0, (completed - self._counted) / len(events))
        self._counted = completed if completed is not None else self._counted + len(events)
        self._folded_s = max(event[2] for event in events)
        self.add(events, weight)

    def add(self, events: Iterable[Event], weight: float = 1.0) -> None:
        """Add these up; each stands for ``weight`` calls."""
        rows = self._rows
        for name, start_s, end_s, failed in events:
            row = rows.get(name)
            if row is None:
                if len(rows) >= NAMES_MAX:
                    name = OTHERS
                row = rows.setdefault(name, [0.0, 0.0, 0.0, {}])
            took_s = end_s - start_s
            row[failed] += weight
            row[2] += took_s * weight
            place = bucket_of(took_s)
            buckets = row[3]
            buckets[place] = buckets.get(place, 0.0) + weight

    def tallies(self) -> tuple[Tally, ...]:
        """All of it."""
        return tuple(
            Tally(name, done, failed, total_s, dict(buckets))
            for name, (done, failed, total_s, buckets) in self._rows.items()
        )

    def since(self, ring: deque[Mark], asker: str, now_s: float) -> tuple[list[Event], float]:
        """What has ended since this asker's last look, the latest of it; and when that was."""
        looked_s = self._looks.pop(asker, 0.0)
        self._looks[asker] = now_s
        while len(self._looks) > ASKERS_MAX:
            del self._looks[next(iter(self._looks))]
        looked_s = max(looked_s, now_s - HISTORY_S)
        return newest(ring, looked_s, FOLD_MAX)[0], looked_s


def bars_of(
    events: Sequence[Event], since_s: float, until_s: float, most: int, zero_s: float = 0.0
) -> tuple[list[str], list[Bar]]:
    """Names, and no more than ``most`` bars: each call that is longer than a bar's share of the time, else stretches.

    A stretch has the calls that end in one share of the time: from the start of the first to the end of the last.
    ``zero_s`` is added to all times.
    """
    if most < 1 or not events:
        return [], []
    share_s = max(1e-9, (until_s - since_s) / max(1, most // 2))
    names: dict[str, int] = {}
    bars: list[Bar] = []
    for slice_, group in itertools.groupby(events, key=lambda event: int((event[2] - since_s) / share_s)):
        short: list[Event] = []
        for event in group:
            if event[2] - event[1] < share_s:
                short.append(event)
            else:
                bars.append(_bar(names, [event], event[1], zero_s))
        if short:
            # What began in a share before this one is not drawn over what is there.
            floor_s = since_s + slice_ * share_s - share_s
            bars.append(_bar(names, short, max(floor_s, min(event[1] for event in short)), zero_s))
    bars.sort(key=lambda bar: bar.end_s)
    return list(names), bars[-most:]


def _bar(names: dict[str, int], events: Iterable[Event], start_s: float, zero_s: float) -> Bar:
    spent: dict[str, float] = {}
    calls = failures = 0
    end_s = start_s
    for name, began_s, ended_s, failed in events:
        spent[name] = spent.get(name, 0.0) + ended_s - began_s
        calls += 1
        failures += failed
        end_s = max(end_s, ended_s)
    name = max(spent, key=spent.__getitem__)
    place = names.setdefault(name, len(names))
    return Bar(place, start_s + zero_s, end_s + zero_s, sum(spent.values()), calls, failures)
