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
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from enum import IntEnum
from typing import NamedTuple

from distpool.scheduler.store.blocks import Blocks

#: The process number of the driver whose embedded session this is; workers are 1, 2, ...
DRIVER = 1 << 31

MEMORY, DISK = 0, 1  # the tiers

#: So many objects are compared when one has to go to the disk.
COLDEST_OF = 1024

_MAGIC = 0x6469_7374_706F_6F6C
_INDEX_BITS = 20
_INDEX = (1 << _INDEX_BITS) - 1
_LOW = (1 << 32) - 1

# Words of the header.
_BUSY, _SERIAL, _USES, _OBJECTS_END, _HOLDS_END = 1, 2, 3, 4, 5
_COUNTERS = (6, 8)  # of each tier's blocks, two words each
_SIZES = (10, 12)  # of each tier: blocks, bytes of a block
_OBJECTS_MAX, _HOLDS_MAX = 14, 15
_OBJECTS, _PUTS, _PUT_BYTES, _SPILLS, _CURSOR = range(16, 21)
_HEADER_WORDS = 32

# Words of an object's entry; the label fills the rest.
_ID, _STATE, _SIZE, _PLACE, _TARGET, _HOLDS, _USED = range(7)
_ENTRY_WORDS = 16
_LABEL = 7
LABEL_BYTES_MAX = 8 * (_ENTRY_WORDS - _LABEL)

# Words of a hold.
_NEXT, _WHO, _COUNTS, _OBJECT = range(4)
_HOLD_WORDS = 4


class State(IntEnum):
    """What an object is in the middle of; see the drawing above."""

    WRITING = 1
    SEALED = 2
    SPILLING = 3


class Shape(NamedTuple):
    """How large the parts of a ledger are. ``blocks`` and ``block_bytes``: one for each tier."""

    blocks: tuple[int, int]
    block_bytes: tuple[int, int]
    objects_max: int = 1 << 17
    holds_max: int = 1 << 18

    @property
    def bytes(self) -> int:
        """The size of the ledger."""
        words = _HEADER_WORDS + self.objects_max * _ENTRY_WORDS + self.holds_max * _HOLD_WORDS
        return words * 8 + self.objects_max + self.holds_max + sum(self.blocks)


class Extent(NamedTuple):
    """Where an object lies: in the file of ``tier``, at ``offset``; ``bytes`` is its exact size."""

    tier: int
    offset: int
    bytes: int


class Allocated(NamedTuple):
    """A new object, to be written and then sealed. ``has_holes``: its space must be reserved first."""

    id: int
    extent: Extent
    has_holes: bool


class Hold(NamedTuple):
    """One process's need of one object."""

    holder: int
    via: int
    references: int
    pins: int


class Facts(NamedTuple):
    """All that the ledger knows of an object."""

    id: int
    state: State
    extent: Extent
    label: str
    holds: tuple[Hold, ...]


class ObjectGone(LookupError):
    """No such object (any more)."""


class LedgerFull(Exception):
    """No room for another object or hold in the ledger itself."""


class Ledger:
    """The operations, over a buffer that ``Ledger.create`` has once prepared."""

    def __init__(self, buffer: memoryview) -> None:
        words = buffer[: len(buffer) // 8 * 8].cast("Q")
        if words[0] != _MAGIC:
            raise ValueError("not a ledger of this version")
        self.words = words
        objects_max, holds_max = words[_OBJECTS_MAX], words[_HOLDS_MAX]
        self._entries = _HEADER_WORDS
        self._holds = self._entries + objects_max * _ENTRY_WORDS
        start = (self._holds + holds_max * _HOLD_WORDS) * 8
        self._bytes = buffer
        self._entry_map = buffer[start : start + objects_max]
        start += objects_max
        self._hold_map = buffer[start : start + holds_max]
        start += holds_max
        self.blocks: list[Blocks] = []
        self.block_bytes: list[int] = []
        for tier in (MEMORY, DISK):
            count = words[_SIZES[tier]]
            counters = words[_COUNTERS[tier] : _COUNTERS[tier] + 2]
            self.blocks.append(Blocks(buffer[start : start + count], counters))
            self.block_bytes.append(words[_SIZES[tier] + 1])
            start += count

    @classmethod
    def create(cls, buffer: memoryview, shape: Shape, serial: int = 0) -> Ledger:
        """Prepare a buffer of zeros. ``serial``: where object numbers begin, different in each store (up to 2**40)."""
        if shape.objects_max > _INDEX:
            raise ValueError(f"at most {_INDEX} objects")
        words = buffer[: len(buffer) // 8 * 8].cast("Q")
        words[_OBJECTS_MAX], words[_HOLDS_MAX] = shape.objects_max, shape.holds_max
        for tier in (MEMORY, DISK):
            words[_SIZES[tier]], words[_SIZES[tier] + 1] = shape.blocks[tier], shape.block_bytes[tier]
        words[_SERIAL] = serial
        words[0] = _MAGIC
        return cls(buffer)

    # --------------------------------------------------------------------------- around a change

    def begin(self) -> bool:
        """To be called with the lock, before anything else. False: somebody died here, and it was repaired."""
        clean = not self.words[_BUSY]
        self.words[_BUSY] = 1
        if not clean:
            self.repair()
        return clean

    def end(self) -> None:
        """To be called last, with the lock. If it is not, the next ``begin`` repairs."""
        self.words[_BUSY] = 0

    # ----------------------------------------------------------------------------------- objects

    def allocate(
        self, process: int, size: int, tier: int, *, holder: int = 0, label: bytes = b""
    ) -> Allocated | None:
        """Make an object that ``process`` is going to write, and a hold on it.

        Args:
            process: who writes it.
            size: in bytes.
            tier: MEMORY or DISK.
            holder: whose hold it is, if not the writer's own: then it is in transit via the writer.
            label: who made it, for people.

        Returns:
            None if the tier has not so many blocks in a row.

        Raises:
            LedgerFull: too many objects or holds.
        """
        words = self.words
        index = self._free_place(self._entry_map, _OBJECTS_END)
        taken = self.blocks[tier].take(self._block_count(size, tier))
        if taken is None:
            self._entry_map[index] = 0
            return None
        first, has_holes = taken
        at = self._entries + index * _ENTRY_WORDS
        words[_SERIAL] += 1
        number = words[_SERIAL] << _INDEX_BITS | index
        words[at + _STATE] = State.WRITING | process << 8
        words[at + _SIZE] = size
        words[at + _PLACE] = tier << 56 | first
        words[at + _HOLDS] = 0
        words[at + _USED] = self._tick()
        start = (at + _LABEL) * 8
        self._bytes[start : start + LABEL_BYTES_MAX] = label[:LABEL_BYTES_MAX].ljust(LABEL_BYTES_MAX, b"\0")
        try:
            if holder and holder != process:
                self._add_hold(at, index, holder, process, 1)
            else:
                self._add_hold(at, index, process, 0, 1)
        except LedgerFull:
            self._entry_map[index] = 0
            self.blocks[tier].leave(first, self._block_count(size, tier))
            raise
        words[at + _ID] = number  # from here on it exists
        words[_OBJECTS] += 1
        words[_PUTS] += 1
        words[_PUT_BYTES] += size
        return Allocated(number, Extent(tier, first * self.block_bytes[tier], size), has_holes)

    def seal(self, number: int) -> None:
        """Its content is complete. If the hold is its writer's own this is one write, and needs no lock."""
        at = self._find(number)
        self.words[at + _STATE] = State.SEALED
        self._remove_if_free(at)  # the one it was for is dead by now

    def discard(self, number: int) -> None:
        """Its writer gives up, and nobody else knows of it yet: it goes with all holds.

        If somebody is moving it at this moment, it stays for as long as that takes.
        """
        at = self._find(number)
        words = self.words
        if words[at + _STATE] & 0xFF != State.SPILLING:
            self._remove(at)
            return
        for hold in self._chain(at):
            if words[hold + _WHO] == words[at + _STATE] >> 8:
                words[hold + _COUNTS] = 1  # the mover's, which ends with the move
            else:
                self._unlink(at, hold)

    def locate(self, number: int) -> Extent:
        """Where it lies now. Raises ObjectGone."""
        return self._extent(self._find(number))

    def exists(self, number: int) -> bool:
        """Whether there is such an object; without the lock true only of what one holds oneself."""
        return self.words[self._entries + (number & _INDEX) * _ENTRY_WORDS + _ID] == number

    # ------------------------------------------------------------------------------------- holds

    def pin(self, number: int, process: int) -> Extent:
        """``process`` is going to map it: it stays, and stays where it is. Raises ObjectGone."""
        at = self._find(number)
        self._count(at, number & _INDEX, process, 1 << 32)
        self.words[at + _USED] = self._tick()
        return self._extent(at)

    def unpin(self, number: int, process: int) -> None:
        """One view of it less."""
        self._count(self._find(number), number & _INDEX, process, -(1 << 32))

    def hold(self, number: int, process: int) -> None:
        """One reference of ``process`` more. Raises ObjectGone."""
        self._count(self._find(number), number & _INDEX, process, 1)

    def drop(self, number: int, process: int) -> None:
        """One reference of ``process`` less; the last one takes the object along."""
        self._count(self._find(number), number & _INDEX, process, -1)

    def claim(self, number: int, process: int, via: int = 0) -> None:
        """What was in transit to ``process`` has come: an ordinary reference from now on. Raises ObjectGone.

        ``via``: who sent it. Several may have sent the same object; what another sent goes when that one dies.
        """
        at = self._find(number)
        words = self.words
        is_new = all(words[hold + _WHO] != process for hold in self._chain(at))
        for hold in self._chain(at):
            who = words[hold + _WHO]
            if who & _LOW == process and who >> 32 and via in (0, who >> 32):
                if is_new and words[hold + _COUNTS] == 1:
                    words[hold + _WHO] = process  # works in a full ledger, too
                    return
                self._count(at, number & _INDEX, process, 1)
                self._lessen(at, hold, 1)
                return
        raise ObjectGone(f"object {number:#x} is not in transit to process {process}")

    def hand(self, number: int, process: int, holder: int) -> None:
        """``process`` passes on what it holds itself: a reference in transit to ``holder``. Raises ObjectGone."""
        at = self._find(number)
        who = holder | process << 32
        for hold in self._chain(at):
            if self.words[hold + _WHO] == who:
                self.words[hold + _COUNTS] += 1
                return
        self._add_hold(at, number & _INDEX, holder, process, 1)

    def is_referred_to(self, number: int) -> bool:
        """Whether any process has a reference to it, and not only views.

        Views do not count: they may themselves only be kept at hand, each because of the other.
        """
        at = self._find(number)
        return any(self.words[hold + _COUNTS] & _LOW for hold in self._chain(at))

    def forget_transit(self, process: int, via: int) -> None:
        """``via`` is dead, and all that it has sent to ``process`` was read: what is not claimed never will be."""
        who = process | via << 32
        for at in self._objects():
            for hold in self._chain(at):
                if self.words[hold + _WHO] == who:
                    self._unlink(at, hold)
            self._remove_if_free(at)

    def mend(self, process: int, living: Container[int] | None = None) -> None:
        """``process`` is dead: its holds go, what it was writing too, and what it was moving stays where it was.

        Args:
            process: who died.
            living: the workers that have not. What is in transit via ``process`` to one that died before
                will never be claimed, nor forgotten by that owner, so it goes here. None: there is no such thing.
        """
        words = self.words
        for at in self._objects():
            state, actor = words[at + _STATE] & 0xFF, words[at + _STATE] >> 8
            if actor == process and state == State.WRITING:
                self._remove(at)
                continue
            if actor == process:
                self._end_spilling(at, is_reserved=False)
            for hold in self._chain(at):
                holder, via = words[hold + _WHO] & _LOW, words[hold + _WHO] >> 32
                orphaned = via == process and living is not None and holder != DRIVER and holder not in living
                if holder == process or orphaned:
                    self._unlink(at, hold)
            self._remove_if_free(at)

    def mend_all_but(self, process: int) -> None:
        """Every process but this one is dead."""
        holders = {hold.holder for facts in self.facts() for hold in facts.holds}
        actors = {self.words[at + _STATE] >> 8 for at in self._objects()}
        for other in (holders | actors) - {0, process}:
            self.mend(other)
        for at in self._objects():
            for hold in self._chain(at):
                if self.words[hold + _WHO] >> 32:
                    self._unlink(at, hold)
            self._remove_if_free(at)
        for blocks in self.blocks:
            blocks.forget_giving()

    # ---------------------------------------------------------------------------------- spilling

    def coldest(self) -> int:
        """The object in memory that was not used for longest and that nobody has mapped; 0 if none.

        Of many objects only the next ``COLDEST_OF`` are compared, and those after them the next time.
        """
        words = self.words
        end = words[_OBJECTS_END]
        best, best_used, seen = 0, 0, 0
        start = words[_CURSOR]
        for step in range(end):
            index = (start + step) % end
            at = self._entries + index * _ENTRY_WORDS
            if (
                not words[at + _ID]
                or words[at + _STATE] != State.SEALED
                or words[at + _PLACE] >> 56 != MEMORY
            ):
                continue
            if self._pins(at):
                continue
            if not best or words[at + _USED] < best_used:
                best, best_used = words[at + _ID], words[at + _USED]
            seen += 1
            if seen == COLDEST_OF:
                words[_CURSOR] = index + 1
                break
        return best

    def start_spilling(self, number: int, process: int) -> Allocated | None:
        """Take room for it on the disk; ``process`` copies it there, and holds it so long. None: that tier is full.

        Raises LedgerFull, and ObjectGone.
        """
        at = self._find(number)
        size = self.words[at + _SIZE]
        blocks = self._block_count(size, DISK)
        taken = self.blocks[DISK].take(blocks)
        if taken is None:
            return None
        try:
            self._count(at, number & _INDEX, process, 1)
        except LedgerFull:
            self.blocks[DISK].leave(taken[0], blocks)
            raise
        self.words[at + _TARGET] = taken[0]
        self.words[at + _STATE] = State.SPILLING | process << 8
        return Allocated(number, Extent(DISK, taken[0] * self.block_bytes[DISK], size), taken[1])

    def finish_spilling(self, number: int, process: int) -> bool:
        """The copy is complete. It counts unless somebody has mapped the object meanwhile."""
        at = self._find(number)
        words = self.words
        moved = words[at + _STATE] == State.SPILLING | process << 8 and not self._pins(at)
        if moved:
            first = words[at + _PLACE] & _INDEX_OF_BLOCK
            words[at + _PLACE] = DISK << 56 | words[at + _TARGET]  # from here on it lies there
            words[at + _STATE] = State.SEALED
            words[_SPILLS] += 1
            self.blocks[MEMORY].free(first, self._block_count(words[at + _SIZE], MEMORY))
        else:
            self._end_spilling(at, is_reserved=True)
        self._count(at, number & _INDEX, process, -1)
        return moved

    def abandon_spilling(self, number: int, process: int) -> None:
        """The copy could not be made."""
        at = self._find(number)
        self._end_spilling(at, is_reserved=False)
        self._count(at, number & _INDEX, process, -1)

    def _end_spilling(self, at: int, *, is_reserved: bool) -> None:
        words = self.words
        if words[at + _STATE] & 0xFF == State.SPILLING:
            words[at + _STATE] = State.SEALED
            blocks = self.blocks[DISK]
            let_go = blocks.free if is_reserved else blocks.leave
            let_go(words[at + _TARGET], self._block_count(words[at + _SIZE], DISK))

    # ------------------------------------------------------------------------------------- facts

    def facts(self) -> list[Facts]:
        """Everything, for people and for tests."""
        return [self._facts(at) for at in self._objects()]

    def _facts(self, at: int) -> Facts:
        words = self.words
        start = (at + _LABEL) * 8
        label = bytes(self._bytes[start : start + LABEL_BYTES_MAX]).rstrip(b"\0").decode(errors="replace")
        holds = []
        for hold in self._chain(at):
            who, counts = words[hold + _WHO], words[hold + _COUNTS]
            holds.append(Hold(who & _LOW, who >> 32, counts & _LOW, counts >> 32))
        state = State(words[at + _STATE] & 0xFF)
        return Facts(words[at + _ID], state, self._extent(at), label, tuple(holds))

    @property
    def objects(self) -> int:
        """How many there are."""
        return self.words[_OBJECTS]

    @property
    def puts(self) -> int:
        """How many there ever were."""
        return self.words[_PUTS]

    @property
    def put_bytes(self) -> int:
        """What those weighed, in all."""
        return self.words[_PUT_BYTES]

    @property
    def spills(self) -> int:
        """How many were moved to the disk."""
        return self.words[_SPILLS]

    # ------------------------------------------------------------------------------------ repair

    def repair(self) -> None:
        """Somebody died in the middle of a change: make anew what follows from entries and chains."""
        words = self.words
        entries, holds = bytearray(len(self._entry_map)), bytearray(len(self._hold_map))
        extents: tuple[list[tuple[int, int]], list[tuple[int, int]]] = ([], [])
        objects = entries_end = holds_end = 0
        for index in range(words[_OBJECTS_END]):
            at = self._entries + index * _ENTRY_WORDS
            if not words[at + _ID]:
                continue
            entries[index] = 1
            objects, entries_end = objects + 1, index + 1
            for hold in self._chain(at):
                place = (hold - self._holds) // _HOLD_WORDS
                holds[place] = 1
                holds_end = max(holds_end, place + 1)
            size, place = words[at + _SIZE], words[at + _PLACE]
            extents[place >> 56].append((place & _INDEX_OF_BLOCK, self._block_count(size, place >> 56)))
            if words[at + _STATE] & 0xFF == State.SPILLING:
                if place >> 56 == DISK:
                    words[at + _STATE] = State.SEALED  # it died between the two words of ``finish_spilling``
                else:
                    extents[DISK].append((words[at + _TARGET], self._block_count(size, DISK)))
        self._entry_map[:] = entries
        self._hold_map[:] = holds
        words[_OBJECTS], words[_OBJECTS_END], words[_HOLDS_END] = objects, entries_end, holds_end
        for tier in (MEMORY, DISK):
            self.blocks[tier].rebuild(extents[tier])
        for at in self._objects():
            self._remove_if_free(at)  # it died between its last hold's end and its own

    # ----------------------------------------------------------------------------------- details

    def _find(self, number: int) -> int:
        at = self._entries + (number & _INDEX) * _ENTRY_WORDS
        if number <= 0 or self.words[at + _ID] != number:
            raise ObjectGone(f"object {number:#x} is gone")
        return at

    def _extent(self, at: int) -> Extent:
        place = self.words[at + _PLACE]
        tier = place >> 56
        return Extent(tier, (place & _INDEX_OF_BLOCK) * self.block_bytes[tier], self.words[at + _SIZE])

    def _block_count(self, size: int, tier: int) -> int:
        return -(-size // self.block_bytes[tier]) or 1

    def _tick(self) -> int:
        self.words[_USES] += 1
        return self.words[_USES]

    def _objects(self) -> Iterator[int]:
        """The places of all entries; what is removed meanwhile is passed over."""
        for index in range(self.words[_OBJECTS_END]):
            at = self._entries + index * _ENTRY_WORDS
            if self.words[at + _ID]:
                yield at

    def _chain(self, at: int) -> Iterator[int]:
        """The places of an object's holds; the one that is looked at may be unlinked."""
        link = self.words[at + _HOLDS]
        while link:
            hold = self._holds + (link - 1) * _HOLD_WORDS
            link = self.words[hold + _NEXT]
            yield hold

    def _free_place(self, used: memoryview, end: int) -> int:
        """Find and mark a free place; ``end`` is the header's word for how far the map was ever used."""
        known = self.words[end]
        index = bytes(used[:known]).find(0)
        if index < 0:
            index = known
            if index >= len(used):
                raise LedgerFull
            self.words[end] = index + 1
        used[index] = 1
        return index

    def _add_hold(self, at: int, index: int, holder: int, via: int, counts: int) -> None:
        place = self._free_place(self._hold_map, _HOLDS_END)
        hold = self._holds + place * _HOLD_WORDS
        words = self.words
        words[hold + _NEXT] = words[at + _HOLDS]
        words[hold + _WHO] = holder | via << 32
        words[hold + _COUNTS] = counts
        words[hold + _OBJECT] = index
        words[at + _HOLDS] = place + 1

    def _count(self, at: int, index: int, process: int, delta: int) -> None:
        words = self.words
        for hold in self._chain(at):
            if words[hold + _WHO] == process:
                counts = words[hold + _COUNTS]
                if delta < 0 and not (counts & _LOW if delta == -1 else counts >> 32):
                    break  # it has it mapped, and no reference to it; or the other way round
                counts += delta
                if not counts:
                    self._unlink(at, hold)
                    self._remove_if_free(at)
                else:
                    words[hold + _COUNTS] = counts
                return
        if delta < 0:
            raise ObjectGone(f"process {process} does not hold object {words[at + _ID]:#x}")
        self._add_hold(at, index, process, 0, delta)

    def _lessen(self, at: int, hold: int, by: int) -> None:
        if self.words[hold + _COUNTS] <= by:
            self._unlink(at, hold)
        else:
            self.words[hold + _COUNTS] -= by

    def _unlink(self, at: int, hold: int) -> None:
        words = self.words
        place = (hold - self._holds) // _HOLD_WORDS
        if words[at + _HOLDS] == place + 1:
            words[at + _HOLDS] = words[hold + _NEXT]
        else:
            before = next(other for other in self._chain(at) if words[other + _NEXT] == place + 1)
            words[before + _NEXT] = words[hold + _NEXT]
        self._hold_map[place] = 0

    def _pins(self, at: int) -> int:
        return sum([self.words[hold + _COUNTS] >> 32 for hold in self._chain(at)])

    def _remove_if_free(self, at: int) -> None:
        words = self.words
        if words[at + _ID] and not words[at + _HOLDS] and words[at + _STATE] & 0xFF != State.WRITING:
            self._remove(at)  # never under its writer

    def _remove(self, at: int) -> None:
        words = self.words
        place, size, state = words[at + _PLACE], words[at + _SIZE], words[at + _STATE] & 0xFF
        words[at + _ID] = 0  # from here on it is gone
        for hold in list(self._chain(at)):
            self._hold_map[(hold - self._holds) // _HOLD_WORDS] = 0
        words[at + _HOLDS] = 0
        blocks = self.blocks[place >> 56]
        let_go = blocks.leave if state == State.WRITING else blocks.free
        let_go(place & _INDEX_OF_BLOCK, self._block_count(size, place >> 56))
        self._entry_map[(at - self._entries) // _ENTRY_WORDS] = 0
        words[_OBJECTS] -= 1


_INDEX_OF_BLOCK = (1 << 56) - 1
