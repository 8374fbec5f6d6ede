"""What was put for another node, or handed to it, and will not be claimed any more; used by ``mover`` only.

::

    process of this node ── puts, or hands on ──► in transit to a node ── that says SourceTake ──► kept for the node
                                                         └── nobody is left who would say so ──► forgotten, here

Nobody tells when what is in transit to another node will never be taken. Where its sender or its receiver is dead, it
is waited for a while, as the words that take it may be on their way; then its hold in the ledger goes.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from contextlib import suppress

from distpool.scheduler.messages import NODES
from distpool.scheduler.store.ledger import ObjectGone
from distpool.scheduler.store.store import ObjectStore

__all__ = ["Unclaimed"]


class Unclaimed:
    """In one node's ``store``. ``wake_at`` has ``tick`` called at a time."""

    def __init__(self, store: ObjectStore, wake_at: Callable[[float], None]) -> None:
        self._store, self._wake_at = store, wake_at
        #: When what a dead worker of this node has put for the node with this store (0: for any) is forgotten.
        self.of_dead: list[tuple[float, int, int]] = []
        #: ... and what a living process has handed to somebody there who is gone.
        self.to_dead: list[tuple[float, int, int, tuple[int, ...]]] = []

    def sender_gone(self, worker: int, store: int, at_s: float) -> None:
        """This worker is dead: forget then what it had in transit to the node with this store (0: to any)."""
        heapq.heappush(self.of_dead, (at_s, store, worker))
        self._wake_at(at_s)

    def receiver_gone(self, process: int, store: int, at_s: float) -> None:
        """Somebody at that node is gone for whom ``process`` had put things: forget then what is in transit now."""
        with self._store.lock:
            numbers = self._store.ledger.in_transit(NODES | store, process)
        if numbers:
            heapq.heappush(self.to_dead, (at_s, store, process, tuple(numbers)))
            self._wake_at(at_s)

    def tick(self, now: float) -> None:
        """Forget what has been waited for long enough."""
        while self.of_dead and self.of_dead[0][0] <= now:
            _, store, worker = heapq.heappop(self.of_dead)
            with self._store.lock:
                if store:
                    self._store.ledger.forget_transit(NODES | store, worker)
                else:
                    self._store.ledger.forget_sent(worker, NODES)
        while self.to_dead and self.to_dead[0][0] <= now:
            _, store, process, numbers = heapq.heappop(self.to_dead)
            with self._store.lock:
                for number in numbers:
                    with suppress(ObjectGone):
                        self._store.ledger.take_back(number, process, NODES | store)

    @property
    def wake_s(self) -> float:
        """When there is something to do by the clock."""
        first = [*(at_s for at_s, *_ in self.of_dead[:1]), *(at_s for at_s, *_ in self.to_dead[:1])]
        return min(first, default=math.inf)
