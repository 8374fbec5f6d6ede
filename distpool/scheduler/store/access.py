"""What all parts of an ``ObjectStore`` stand on: a process's way to the ledger and the tiers, and its letting go.

::

    Held, mappings ··· gone ··► let_go ──► _dropped (a deque) ──► drain_locked: the ledger's drop and unpin
    forked children · ended ··► forks.look ──┘

Letting go happens in ``__del__`` and weakref callbacks, at any instant and on any thread. So these only append to the
deque; it is emptied at the next operation, and whoever owns this process's loop sees to that too (``on_dropped``).
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence

from distpool.errors import StoreError, StoreFull
from distpool.scheduler.store.files import StoreFiles
from distpool.scheduler.store.forks import Forks
from distpool.scheduler.store.ledger import DISK, MEMORY, Extent, Ledger, LedgerFull, ObjectGone
from distpool.scheduler.store.lock import LedgerLock, Undisturbed
from distpool.scheduler.store.mapping import map_file
from distpool.scheduler.store.tier import Tier

REFERENCE, PIN = 0, 1

#: One of those two, and the objects' numbers.
Dropped = tuple[int, tuple[int, ...]]


class Held:
    """Keeps objects in the store for as long as this Python object lives. ``ids`` are their numbers."""

    __slots__ = ("__weakref__", "_dropped", "_pinned", "ids")

    def __init__(
        self, ids: tuple[int, ...], dropped: Callable[[Dropped], None] | None, pinned: bool = False
    ) -> None:
        self.ids = ids
        self._dropped = dropped
        self._pinned = pinned

    def __del__(self) -> None:
        if self._dropped is not None:
            if self._pinned:
                self._dropped((PIN, self.ids))
            self._dropped((REFERENCE, self.ids))


class Access:
    """The store's files as process number ``process`` uses them."""

    def __init__(self, files: StoreFiles, process: int) -> None:
        self.files = files
        self.process = process
        self.on_dropped: Callable[[], None] | None = None  # called from finalizers: must be safe there
        size = os.fstat(files.ledger_fd).st_size
        self.ledger = Ledger(memoryview(map_file(files.ledger_fd, size, shared=True)))
        self.tiers: list[Tier] = []
        for tier, fd in ((MEMORY, files.memory_fd), (DISK, files.disk_fd)):
            length = self.ledger.blocks[tier].count * self.ledger.block_bytes[tier]
            self.tiers.append(Tier(fd, length, is_memory=tier == MEMORY))
        self.lock = LedgerLock(files.ledger_fd, self.ledger)
        self.undisturbed = Undisturbed()
        self.forks = Forks(files.memory_fd, process)
        self.closed = False
        self._dropped: deque[Dropped] = deque()

    @property
    def has_dropped(self) -> bool:
        """Whether there is something to tell the ledger, or may be."""
        return bool(self._dropped or self.forks)

    def let_go(self, what: Dropped) -> None:
        """Safe in finalizers."""
        self._dropped.append(what)
        if self.on_dropped is not None:
            self.on_dropped()

    def drain_locked(self) -> None:
        """Tell the ledger what is no longer needed; with the lock."""
        for pinned in self.forks.look():
            self._dropped.append((PIN, pinned))
        ledger, process = self.ledger, self.process
        while self._dropped:
            kind, ids = self._dropped.popleft()
            for number in ids:
                try:
                    if kind == PIN:
                        ledger.unpin(number, process)
                    else:
                        ledger.drop(number, process)
                except ObjectGone:
                    pass  # after the session's other processes were declared dead

    def read(self, extent: Extent, offset: int, size: int) -> bytes:
        """A copy of a part of what lies there, and stays there meanwhile."""
        return os.pread(
            self.tiers[extent.tier].fd, size, extent.offset + offset
        )  # no page table has to know it

    def forget_dropped(self) -> None:
        """In a forked child: nothing of this was its own."""
        self._dropped.clear()

    def discard(self, made: Sequence[int]) -> None:
        """Undo what was allocated here, and nobody was told of."""
        with self.undisturbed, self.lock:
            for number in made:
                if self.ledger.exists(number):
                    self.ledger.discard(number)

    def refuse_if_closed(self) -> None:
        """Raises StoreError."""
        if self.closed:
            raise StoreError(
                "the session that this store belonged to has ended, or it is the parent process's"
            )


def not_held(error: ObjectGone | LedgerFull) -> StoreError:
    """What the ledger says, for people."""
    if isinstance(error, LedgerFull):
        return StoreFull(
            "the object store has too many objects; put more into each, or drop what is not needed"
        )
    return StoreError(f"{error}: nobody has held it any more")
