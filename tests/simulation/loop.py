"""The event heap and the simulated clock; ``Violation`` is what an oracle raises."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from typing import Any

Event = list[Any]  # [at_s, sequence number (0: it has run), action or None, arguments]


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
        self._heap: list[tuple[float, int, Event]] = []
        self._sequence = 0

    def after(self, delay_s: float, action: Callable[..., None], *arguments: Any) -> Event:
        return self.at(self.now + delay_s, action, *arguments)

    def at(self, at_s: float, action: Callable[..., None], *arguments: Any) -> Event:
        event: Event = [at_s, 0, action, arguments]
        self._push(event, at_s)
        return event

    def stretch(self, event: Event | None, factor: float) -> None:
        """What is left until an event that is still to come takes so many times as long."""
        if event is not None and event[1] and event[2] is not None:
            self._push(event, self.now + (event[0] - self.now) * factor)

    def _push(self, event: Event, at_s: float) -> None:
        """Whatever else the heap has of this event is void: it has another number."""
        self._sequence += 1
        event[0], event[1] = max(at_s, self.now), self._sequence
        heapq.heappush(self._heap, (event[0], event[1], event))

    @staticmethod
    def cancel(event: Event | None) -> None:
        if event is not None:
            event[2] = None

    def run_until(self, at_s: float, done: Callable[[], bool] | None = None) -> bool:
        """Run events up to ``at_s``; stop early, with True, as soon as ``done()`` holds."""
        heap = self._heap
        while heap and heap[0][0] <= at_s:
            when, number, event = heapq.heappop(heap)
            _, latest, action, arguments = event
            if action is None or number != latest:
                continue
            self.now, event[1] = when, 0
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
