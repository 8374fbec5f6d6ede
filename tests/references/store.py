"""A store that only counts: who holds which object, and what is on its way to whom, by whom.

What a process lets go of after its death counts no more: its holds went with it, as the node's agent sees to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from distpool.errors import StoreError

#: Who holds it, and by whom it was sent if it was not claimed yet (0: it was).
Hold = tuple[int, int]


class Ledger:
    """What all processes share."""

    def __init__(self) -> None:
        self.objects: dict[int, Counter[Hold]] = {}
        self.dead: set[int] = set()
        self._last = 0

    def make(self, hold: Hold) -> int:
        self._last += 1
        self.objects[self._last] = Counter({hold: 1})
        return self._last

    def add(self, numbers: Sequence[int], hold: Hold) -> None:
        """All of them or none."""
        for number in numbers:
            if number not in self.objects:
                raise StoreError(f"object {number} is gone")
        for number in numbers:
            self.objects[number][hold] += 1

    def drop(self, number: int, hold: Hold) -> bool:
        holds = self.objects.get(number)
        if holds is None or not holds[hold]:
            return False
        holds[hold] -= 1
        holds += Counter()  # what is zero is nothing
        if not holds:
            del self.objects[number]
        return True

    def forget(self, gone: Any) -> None:
        """Drop all holds for which ``gone`` is true."""
        for number, holds in list(self.objects.items()):
            for hold in [hold for hold in holds if gone(hold)]:
                del holds[hold]
            if not holds:
                del self.objects[number]

    def bury(self, process: int) -> None:
        """What the agent does."""
        self.dead.add(process)
        self.forget(lambda hold: hold[0] == process or (hold[1] == process and hold[0] in self.dead))


class Held:
    """Keeps objects for a process."""

    def __init__(self, ids: tuple[int, ...], ledger: Ledger, holder: int) -> None:
        self.ids = ids
        self._ledger = ledger
        self._holder = holder

    def __del__(self) -> None:
        if self._holder not in self._ledger.dead:
            for number in self.ids:
                self._ledger.drop(number, (self._holder, 0))


class Store:
    """One process's view of it: as much of ``stored.Store`` as references need."""

    def __init__(self, ledger: Ledger, process: int) -> None:
        self._ledger = ledger
        self.process = process

    def put(self, objects: Sequence[Sequence[Any]], *, holder: int = 0, label: str = "") -> Held:
        hold = (holder, self.process) if holder else (self.process, 0)
        ids = tuple(self._ledger.make(hold) for _ in objects)
        return Held(ids, self._ledger, self.process) if not holder else _Sent(ids)

    def hold(self, ids: Sequence[int]) -> Held:
        self._ledger.add(ids, (self.process, 0))
        return Held(tuple(ids), self._ledger, self.process)

    def hand(self, ids: Sequence[int], holder: int) -> None:
        self._ledger.add(ids, (holder, self.process))

    def take_back(self, ids: Sequence[int], holder: int) -> None:
        for number in ids:
            self._ledger.drop(number, (holder, self.process))

    def claim(self, ids: Sequence[int], via: int = 0) -> Held:
        held = self.hold(ids)
        for number in ids:
            if not self._ledger.drop(number, (self.process, via)):
                raise StoreError(f"object {number} is not in transit to {self.process} by {via}")
        return held

    def forget_transit(self, via: int) -> None:
        self._ledger.forget(lambda hold: hold == (self.process, via))

    def forget_handed(self, holder: int) -> None:
        self._ledger.forget(lambda hold: hold == (holder, self.process))


class _Sent(Held):
    """What was put for another process."""

    def __init__(self, ids: tuple[int, ...]) -> None:
        self.ids = ids

    def __del__(self) -> None:
        pass
