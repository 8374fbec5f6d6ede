"""The event heap and the simulated clock; ``Violation`` is what an oracle raises."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from typing import Any

Event = list[Any]  # [at_s, sequence number, action or None, arguments]


class Violation(AssertionError):
    """An oracle has found the engine wrong; ``oracle`` is its name."""

    def __init__(self, oracle: str, text: str) -> None:
        super().__init__(f"{oracle}: {text}")
        self.oracle = oracle


class Loop:
    """Runs events in the order of simulated time, ties in the order of scheduling. All chance is ``rng``."""

    def __init__(self, seed: int, events_max: int = 4_000_000) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.now = 0.0
        self.events_max = events_max
        self.events_run = 0
        self._heap: list[Event] = []
        self._sequence = 0

    def after(self, delay_s: float, action: Callable[..., None], *arguments: Any) -> Event:
        return self.at(self.now + delay_s, action, *arguments)

    def at(self, at_s: float, action: Callable[..., None], *arguments: Any) -> Event:
        self._sequence += 1
        event: Event = [max(at_s, self.now), self._sequence, action, arguments]
        heapq.heappush(self._heap, event)
        return event

    @staticmethod
    def cancel(event: Event | None) -> None:
        if event is not None:
            event[2] = None

    def run_until(self, at_s: float, done: Callable[[], bool] | None = None) -> bool:
        """Run events up to ``at_s``; stop early, with True, as soon as ``done()`` holds."""
        heap = self._heap
        while heap and heap[0][0] <= at_s:
            when, _, action, arguments = heapq.heappop(heap)
            if action is None:
                continue
            self.now = when
            action(*arguments)
            self.events_run += 1
            if self.events_run > self.events_max:
                raise Violation(
                    "bounded_events",
                    f"{self.events_max} events at {self.now:.3f} s: messages go round and round",
                )
            if done is not None and done():
                return True
        self.now = max(self.now, at_s)
        return done is not None and done()
