"""Which of the copies that are wanted are pulled now: a part of ``Copies``.

::

    wanted ──► queue ── fewer than ``most`` are coming, and its node is one that we have heard of ──► start ──► coming

In turns, but for what lies at a node of which we have yet to hear: that keeps its place, and others go first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from distpool.scheduler.store.ledger_table import store_of

__all__ = ["Pulls"]


class Pulls:
    """``most`` at a time."""

    def __init__(self, most: int) -> None:
        self.coming = 0  # how many the shell is pulling
        self.queue: deque[int] = deque()
        self._most = most

    def start(self, is_unheard: Callable[[int], bool]) -> list[int]:
        """Take out what is to be pulled from now on."""
        started: list[int] = []
        unheard: list[int] = []
        while self.queue and self.coming < self._most:
            number = self.queue.popleft()
            if is_unheard(store_of(number)):
                unheard.append(number)
            else:
                self.coming += 1
                started.append(number)
        self.queue.extendleft(reversed(unheard))
        return started
