"""The ledger: which objects a node's store has, where they lie, and which processes hold them.

It is a table in memory that all processes of the node share, and the operations on it. It is pure: it knows no
file, lock, process or clock. Whoever calls it has the lock (``lock.py``); no message is needed to put, share or free.

::

                 allocate              seal                      the last hold is dropped
      (nothing) ──────────► WRITING ──────────► SEALED ─────────────────────────────────► (nothing)
                               │                 │  ▲
                               │ its writer      │  │ moved to the disk, or given up: a reader came, the mover died
                               │ died            ▼  │
                               └──► (nothing)   SPILLING

A **hold** says that a process needs an object: it has references to it, or pins (views of it are mapped), or both. The
object goes with its last hold, whoever drops it. A hold may be **in transit**: a worker put a result for the owner of
its task, which has not taken it yet (``claim``). It is then the owner's hold ``via`` the worker, and goes with either:
the owner's death ends it (``mend``), or, once the owner has read all that the worker ever sent, ``forget_transit``.

**Invariant**: the objects' entries and their chains of holds are right after each single write, in whatever instant a
process is killed. Everything else (the maps of blocks, of entries and of holds in use, the counters) follows from them,
and is made anew by ``repair`` when somebody died between ``begin`` and ``end``.

::

    ledger_table.py ◄── ledger_holds.py ◄── ledger_places.py ◄── ledger_devices.py ◄── ledger.py
    words and types     who needs what      where it lies        on a device            deaths
"""

from __future__ import annotations

from collections.abc import Container, Sequence

from distpool.scheduler.store.ledger_devices import Devices
from distpool.scheduler.store.ledger_table import (
    BLOCKS_OF,
    BUSY,
    DEVICE,
    DISK,
    DRIVER,
    ENTRY_WORDS,
    HOLD_WORDS,
    HOLDS_END,
    HOLDS_MAX,
    ID,
    INDEX,
    INDEX_OF_BLOCK,
    LABEL_BYTES_MAX,
    LOW,
    MAGIC,
    MEMORY,
    OBJECTS,
    OBJECTS_END,
    OBJECTS_MAX,
    PLACE,
    SERIAL,
    SERIAL_BITS,
    SERIALS,
    SIZE,
    SIZES,
    STATE,
    TARGET,
    WHO,
    Allocated,
    Extent,
    Facts,
    Hold,
    LedgerFull,
    ObjectGone,
    Shape,
    State,
)

__all__ = [
    "DEVICE",
    "DISK",
    "DRIVER",
    "LABEL_BYTES_MAX",
    "MEMORY",
    "Allocated",
    "Extent",
    "Facts",
    "Hold",
    "Ledger",
    "LedgerFull",
    "ObjectGone",
    "Shape",
    "State",
]


class Ledger(Devices):
    """All operations, over a buffer that ``Ledger.create`` has once prepared."""

    @classmethod
    def create(cls, buffer: memoryview, shape: Shape, serial: int = 0) -> Ledger:
        """Prepare a buffer of zeros. ``serial``: where object numbers begin (its upper bits: the store's number)."""
        if shape.objects_max > INDEX:
            raise ValueError(f"at most {INDEX} objects")
        words = buffer[: len(buffer) // 8 * 8].cast("Q")
        words[OBJECTS_MAX], words[HOLDS_MAX] = shape.objects_max, shape.holds_max
        for tier in (MEMORY, DISK):
            words[SIZES[tier]], words[SIZES[tier] + 1] = shape.blocks[tier], shape.block_bytes[tier]
        words[SERIAL] = serial
        words[0] = MAGIC
        return cls(buffer)

    def become(self, store: int) -> None:
        """Have this number in the cluster; before there is any object."""
        self.words[SERIAL] = store << SERIAL_BITS | self.words[SERIAL] & SERIALS

    def begin(self) -> bool:
        """To be called with the lock, before anything else. False: somebody died here, and it was repaired."""
        clean = not self.words[BUSY]
        self.words[BUSY] = 1
        if not clean:
            self.repair()
        return clean

    def end(self) -> None:
        """To be called last, with the lock. If it is not, the next ``begin`` repairs."""
        self.words[BUSY] = 0

    # ---------------------------------------------------------------------------------------- deaths

    def mend(self, process: int, living: Container[int] | None = None) -> None:
        """``process`` is dead: its holds go, what it was writing and what it had on a device too.

        What it was moving stays where it was.

        Args:
            process: who died.
            living: the workers that have not. What is in transit via ``process`` to one that died before
                will never be claimed, nor forgotten by that owner, so it goes here. None: there is no such thing.
        """
        words = self.words
        for at in self._objects():
            state, actor = words[at + STATE] & 0xFF, words[at + STATE] >> 8
            if actor == process and state == State.WRITING:
                self._remove(at)
                continue
            if actor == process:
                self._end_spilling(at, is_reserved=False)
                if words[at + PLACE] >> 56 == DEVICE:
                    self._remove(at)  # the device's memory went with it, whoever needs it
                    continue
            for hold in self._chain(at):
                holder, via = words[hold + WHO] & LOW, words[hold + WHO] >> 32
                orphaned = via == process and living is not None and holder < DRIVER and holder not in living
                if holder == process or orphaned:
                    self._unlink(at, hold)
            self._remove_if_free(at)

    def mend_all_but(self, process: int) -> None:
        """Every process but this one is dead."""
        holders = {hold.holder for facts in self.facts() for hold in facts.holds}
        actors = {self.words[at + STATE] >> 8 for at in self._objects()}
        for other in (holders | actors) - {0, process}:
            self.mend(other)
        for at in self._objects():
            for hold in self._chain(at):
                if self.words[hold + WHO] >> 32:
                    self._unlink(at, hold)
            self._remove_if_free(at)
        for blocks in self.blocks:
            blocks.forget_giving()

    def repair(self) -> None:
        """Somebody died in the middle of a change: make anew what follows from entries and chains."""
        words = self.words
        entries, holds = bytearray(len(self._entry_map)), bytearray(len(self._hold_map))
        extents: tuple[list[tuple[int, int]], list[tuple[int, int]]] = ([], [])
        objects = entries_end = holds_end = 0
        for index in range(words[OBJECTS_END]):
            at = self._entries + index * ENTRY_WORDS
            if not words[at + ID]:
                continue
            entries[index] = 1
            objects, entries_end = objects + 1, index + 1
            for hold in self._chain(at):
                place = (hold - self._holds) // HOLD_WORDS
                holds[place] = 1
                holds_end = max(holds_end, place + 1)
            size, place = words[at + SIZE], words[at + PLACE]
            self._note_extent(extents, place, size)
            if words[at + STATE] & 0xFF == State.SPILLING:
                if place == words[at + TARGET]:
                    words[at + STATE] = State.SEALED  # it died between the two words of ``finish_spilling``
                else:
                    self._note_extent(extents, words[at + TARGET], size)
        self._entry_map[:] = entries
        self._hold_map[:] = holds
        words[OBJECTS], words[OBJECTS_END], words[HOLDS_END] = objects, entries_end, holds_end
        for tier in (MEMORY, DISK):
            self.blocks[tier].rebuild(extents[tier])
        for at in self._objects():
            self._remove_if_free(at)  # it died between its last hold's end and its own

    def _note_extent(self, extents: Sequence[list[tuple[int, int]]], place: int, size: int) -> None:
        tier = place >> 56
        extents[BLOCKS_OF[tier]].append((place & INDEX_OF_BLOCK, self._block_count(size, tier)))
