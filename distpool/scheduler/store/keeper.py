"""What the agent does for its node's store: mend it after a death, give back what nobody uses, report.

None of it is on a task's path. ``tick`` is called every half second or so; free blocks whose pages were there at one
tick, and still are at the next, lose them. But for a few, as long as something comes and goes: an object that is copied
to where pages are takes half the time.
"""

from __future__ import annotations

from collections.abc import Container

from distpool.scheduler.messages import StoredObject, StoreReport
from distpool.scheduler.store import forks
from distpool.scheduler.store.ledger import DEVICE, DISK, MEMORY, Facts
from distpool.scheduler.store.store import ObjectStore

TICK_S = 0.5
#: ... and so often while nothing lies in the store.
IDLE_TICK_S = 1.0
#: The lock is not held while pages are removed, and so many bytes at most are kept from others meanwhile.
GIVE_BYTES_MAX = 256 << 20
#: So many free bytes keep their pages, as long as the free blocks are others at each tick.
WARM_BYTES_MAX = 256 << 20


class Keeper:
    """Looks after one store, which it uses under a process number of its own (0: it holds nothing)."""

    def __init__(self, store: ObjectStore, warm_bytes_max: int = WARM_BYTES_MAX) -> None:
        self.store = store
        self._warm_bytes_max = warm_bytes_max
        self._unmended: list[int] = []  # dead processes whose forked children still see what they held
        self._warm: tuple[set[tuple[int, int]], set[tuple[int, int]]] = (set(), set())

    def mend(self, process: int, living: Container[int]) -> None:
        """A process of the node is dead: what it held and was doing ends. ``living``: the workers that are not dead.

        Where a child that it has forked sees what it held, that ends with the child.
        """
        if forks.is_marked(self.store.files.memory_fd, process):
            self._unmended.append(process)
            return
        with self.store.lock:
            self.store.ledger.mend(process, living)

    def tick(self, living: Container[int]) -> float:
        """Give back what has not been used since the last time. Returns for how long it need not be called again."""
        unmended, self._unmended = self._unmended, []
        for process in unmended:
            self.mend(process, living)
        if not any(blocks.used for blocks in self.store.ledger.blocks):
            return IDLE_TICK_S
        for tier in (MEMORY, DISK):
            blocks = self.store.ledger.blocks[tier]
            runs = set(blocks.warm_runs())
            spare = self._spare_blocks(runs) if tier == MEMORY else 0
            for first, count in sorted(runs & self._warm[tier]):
                kept = min(count, spare)
                spare -= kept
                if kept < count:
                    self._give_back(tier, first + kept, count - kept)
            self._warm[tier].clear()
            self._warm[tier].update(runs)
        return TICK_S

    def _spare_blocks(self, runs: set[tuple[int, int]]) -> int:
        """How many free blocks of the memory keep their pages for now."""
        if runs == self._warm[MEMORY]:
            return 0
        return self._warm_bytes_max // self.store.ledger.block_bytes[MEMORY]

    def _give_back(self, tier: int, first: int, count: int) -> None:
        store = self.store
        blocks, block_bytes = store.ledger.blocks[tier], store.ledger.block_bytes[tier]
        step = max(1, GIVE_BYTES_MAX // block_bytes)
        for start in range(first, first + count, step):
            length = min(step, first + count - start)
            with store.lock:
                if not blocks.start_giving(start, length):
                    return  # somebody has just taken some of it
            try:
                store.tiers[tier].give_back(start * block_bytes, length * block_bytes)
            finally:
                with store.lock:
                    blocks.end_giving(start, length)

    def use(self) -> tuple[int, int]:
        """How many bytes of memory are used, of how many."""
        ledger = self.store.ledger
        return ledger.blocks[MEMORY].taken * ledger.block_bytes[MEMORY], self.store.tiers[MEMORY].size

    def report(self, node: str, pids: dict[int, int]) -> StoreReport:
        """Everything that lies here, for people."""
        ledger = self.store.ledger
        with self.store.lock:
            facts = ledger.facts()
            used = [ledger.blocks[tier].taken * ledger.block_bytes[tier] for tier in (MEMORY, DISK)]
        size = [self.store.tiers[tier].size for tier in (MEMORY, DISK)]
        return StoreReport(
            node,
            pids,
            (used[MEMORY], used[DISK]),
            (size[MEMORY], size[DISK]),
            self.store.files.spill_directory,
            tuple([_stored(object_) for object_ in facts]),
        )


def _stored(facts: Facts) -> StoredObject:
    return StoredObject(
        facts.extent.bytes,
        facts.extent.tier == DISK,
        "on a GPU" if facts.extent.tier == DEVICE else facts.state.name.lower(),
        facts.label,
        tuple([(hold.holder, hold.via, hold.references, hold.pins) for hold in facts.holds]),
    )
