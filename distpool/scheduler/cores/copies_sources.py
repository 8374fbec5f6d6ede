"""The nodes where other nodes' objects lie, as ``Copies`` knows them: which there are, and what they have yet to hear.

::

    store number  0 ──────────── newest ───────────────►
                    there, or gone   │   unheard: of a node that has joined, of which we have yet to hear

Stores are numbered as they join, so one above all that were heard of is waited for, for a while; then it is gone too.

What was put for this node is *taken* from its source once and for all: whoever has put it counts on that. So such a
word has a serial number and is kept until the source has acknowledged it; on each new link it is said again.
"""

from __future__ import annotations

from collections import deque

from distpool.scheduler.cores.copies_messages import Stores
from distpool.scheduler.messages import SourceTake
from distpool.scheduler.store.ledger_table import store_of

__all__ = ["Sources"]


class Sources:
    """A part of ``Copies``. Stores name the nodes."""

    def __init__(self) -> None:
        self.stores: frozenset[int] = frozenset()
        self.leaving: frozenset[int] = frozenset()
        self.newest = 0  # the highest number of a store that was heard of
        self._takes: dict[int, deque[SourceTake]] = {}  # store -> what it has yet to acknowledge
        self._serial = 0

    # ----------------------------------------------------------------------------- which there are

    def see(self, stores: Stores) -> None:
        """These are there."""
        self.stores, self.leaving = frozenset(stores.numbers), frozenset(stores.leaving)
        self.newest = max((self.newest, stores.own, *stores.numbers))
        for store in [store for store in self._takes if self.is_gone(store)]:
            del self._takes[store]

    def wait_no_more(self, store: int) -> None:
        """A store that was unheard of has been waited for long enough: it is gone, unless it is there by now."""
        self.newest = max(self.newest, store)

    def is_unheard(self, store: int) -> bool:
        """Whether it may be that of a node of which we have yet to hear."""
        return store > self.newest

    def is_gone(self, store: int) -> bool:
        """Whether the node with this store is gone, as far as we know."""
        return store not in self.stores and not self.is_unheard(store)

    # ------------------------------------------------------------------------- what they have yet to hear

    def take(self, number: int, via: int) -> SourceTake:
        """What is to be said to the source of an object that ``via`` has put for this node."""
        self._serial += 1
        take = SourceTake((number,), via, self._serial)
        self._takes.setdefault(store_of(number), deque()).append(take)
        return take

    def acknowledged(self, store: int, serial: int) -> None:
        """A source has heard what was said to it, up to this number."""
        takes = self._takes.get(store, deque())
        while takes and takes[0].serial <= serial:
            takes.popleft()

    def takes(self, store: int) -> list[SourceTake]:
        """What it has yet to acknowledge."""
        return list(self._takes.get(store, ()))
