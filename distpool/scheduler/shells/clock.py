"""What a loop does by the clock: until when it may sleep, and what is due when it wakes.

::

    Alarm    at a time that somebody sets                 a core's WakeAt
    Every    again and again, while there is a reason     beats, logs, memory
    others   whatever has ``wake_s`` and ``tick``         the head, jobs

All are asked at each turn of the loop, and look for themselves whether it is time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Protocol


class Timed(Protocol):
    """Something with a clock."""

    @property
    def wake_s(self) -> float:
        """When ``tick`` is to be called, by the monotonic clock; infinity: not until something else happens."""

    def tick(self, now: float, /) -> object:
        """Look at the clock."""


class Alarm:
    """Rings once at the time it is set to."""

    def __init__(self, ring: Callable[[float], object]) -> None:
        self.wake_s = math.inf
        self._ring = ring

    def at(self, at_s: float) -> None:
        """Ring then, whatever it was set to."""
        self.wake_s = at_s

    def by(self, at_s: float) -> None:
        """Ring then, or before if it was set so."""
        self.wake_s = min(self.wake_s, at_s)

    def tick(self, now: float) -> None:
        """See ``Timed``."""
        if self.wake_s <= now:
            self.wake_s = math.inf
            self._ring(now)


class Every:
    """Rings each ``period_s`` while there is a reason to; at once when there is one after a long while."""

    def __init__(self, period_s: float, reason: Callable[[], object], ring: Callable[[], object]) -> None:
        self._period_s, self._reason, self._ring = period_s, reason, ring
        self._next_s = 0.0

    @property
    def wake_s(self) -> float:
        """See ``Timed``."""
        return self._next_s if self._reason() else math.inf

    def tick(self, now: float) -> None:
        """See ``Timed``."""
        if self.wake_s <= now:
            self._next_s = now + self._period_s
            self._ring()


class Clock:
    """All that one loop does by the clock, in the order in which it was added."""

    def __init__(self) -> None:
        self._timed: list[Timed] = []

    def add(self, timed: Timed) -> None:
        """From now on it is looked at."""
        self._timed.append(timed)

    def tick(self) -> None:
        """What is due is done."""
        now = time.monotonic()
        for timed in self._timed:
            timed.tick(now)

    def sleep_s(self) -> float:
        """How long nothing will be due; not below zero."""
        return max(0.0, min((timed.wake_s for timed in self._timed), default=math.inf) - time.monotonic())
