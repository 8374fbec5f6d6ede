"""Calls by function: how many wait, run, are done, have failed; how many a second; how long they take.

::

    WorkerActivity.tallies ── what is more than at the look before ──► sums of the cluster, past the workers' ends
    OwnerActivity.calls, slots ────────────────────────────────────► what has not ended, as it is now

Pure. Rates are of the last ``RATE_S`` seconds. Lengths come in powers of two (``tallies.bucket_of``); a quantile is
read between two of them, so it may be off by a fifth or so; the mean is exact.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from distpool.scheduler.messages.activity import Tally, WorkerActivity

__all__ = ["Function", "Functions", "called", "quantile"]

RATE_S = 10.0
#: A worker of which nothing was heard for so long is forgotten.
SILENT_S = 120.0
#: Functions that are told apart, as workers do it.
FUNCTIONS_MAX = 1_000
OTHERS = "(other functions)"


def called(name: str) -> str:
    """What a function is called here: without what it is defined in, as workers have it."""
    return name.rpartition("<locals>.")[2] or "(unnamed)"


@dataclass
class Function:
    """Of the whole cluster. ``guessed``: of what waits not everything was looked at."""

    name: str
    waiting: int = 0
    queued: int = 0
    offered: int = 0
    running: int = 0
    guessed: bool = False
    done: float = 0.0
    failed: float = 0.0
    total_s: float = 0.0
    buckets: dict[int, float] = field(default_factory=dict)
    recent: deque[tuple[float, float, float]] = field(
        default_factory=deque
    )  # when; how many till then, of them failed

    @property
    def ended(self) -> float:
        """Well, or not."""
        return self.done + self.failed

    @property
    def mean_s(self) -> float:
        """How long a call takes."""
        return self.total_s / self.ended if self.ended else 0.0

    def rates(self, now_s: float) -> tuple[float, float]:
        """Ended and failed a second, of late."""
        if not self.recent:
            return 0.0, 0.0
        at_s, ended, failed = self.recent[0]
        passed_s = now_s - at_s
        if passed_s <= 0:
            return 0.0, 0.0
        return (self.ended - ended) / passed_s, (self.failed - failed) / passed_s


class Functions:
    """All of them. ``sampled``: some counts are estimates, as workers ended more calls than they remember."""

    def __init__(self) -> None:
        self.by_name: dict[str, Function] = {}
        self.sampled = False
        self._before: dict[tuple[str, int, int], dict[str, Tally]] = {}
        self._heard_s: dict[tuple[str, int, int], float] = {}
        self._begun = False

    def named(self, name: str) -> Function:
        """That function."""
        name = called(name)
        known = self.by_name.get(name)
        if known is None:
            if len(self.by_name) >= FUNCTIONS_MAX:
                name = OTHERS
            known = self.by_name.setdefault(name, Function(name))
        return known

    def begin_look(self) -> None:
        """What has not ended is told anew."""
        for function in self.by_name.values():
            function.waiting = function.queued = function.offered = function.running = 0
            function.guessed = False

    def add(self, activity: WorkerActivity, at_s: float) -> None:
        """What a worker says that it has run; the last word of one that has ended, too."""
        key = activity.node, activity.worker, activity.pid
        before = self._before.get(key, {})
        self.sampled |= activity.sampled
        for tally in activity.tallies:
            had = before.get(tally.name)
            function = self.named(tally.name)
            function.done += max(0.0, tally.done - (had.done if had else 0.0))
            function.failed += max(0.0, tally.failed - (had.failed if had else 0.0))
            function.total_s += max(0.0, tally.total_s - (had.total_s if had else 0.0))
            for place, count in tally.buckets.items():
                more = count - (had.buckets.get(place, 0.0) if had else 0.0)
                if more > 0:
                    function.buckets[place] = function.buckets.get(place, 0.0) + more
        self._before[key] = {tally.name: tally for tally in activity.tallies}
        self._heard_s[key] = at_s

    def end_look(self, at_s: float) -> None:
        """All have been heard. Who is silent may be stopped, or about to leave its last word: so it is remembered."""
        for key in [key for key, heard_s in self._heard_s.items() if heard_s < at_s - SILENT_S]:
            del self._before[key], self._heard_s[key]
        for function in self.by_name.values():
            recent = function.recent
            if not self._begun or recent:
                recent.append((at_s, function.ended, function.failed))
            else:
                recent.append((self._last_s, 0.0, 0.0))  # it was first called since the look before
                recent.append((at_s, function.ended, function.failed))
            while len(recent) > 2 and recent[1][0] <= at_s - RATE_S:
                recent.popleft()
        self._begun, self._last_s = True, at_s

    _last_s = 0.0


def quantile(buckets: Mapping[int, float], share: float) -> float:
    """The length, in seconds, that this share of the calls does not exceed; between powers of two by proportion."""
    wanted = share * sum(buckets.values())
    if wanted <= 0:
        return 0.0
    below = 0.0
    for place in sorted(buckets):
        count = buckets[place]
        if below + count >= wanted:
            low = 2.0 ** (place - 1) if place else 0.0
            return (low + (2.0**place - low) * (wanted - below) / count) / 1e6
        below += count
    return 2.0 ** max(buckets) / 1e6
