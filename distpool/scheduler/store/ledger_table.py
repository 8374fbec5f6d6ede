"""The table that a ledger is: words in shared memory, how they are laid out, and how they are found and read.

::

    header │ entries: one object each, with its label │ holds │ entries in use │ holds in use │ blocks of each tier
           └── id, state, size, place, first hold ──────►└── next, who, counts, object         (a byte for each)

What it is not: the operations, and the rules of what is written when. Those are in ``ledger_holds.py``,
``ledger_places.py`` and ``ledger.py``, one class upon the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

from distpool.scheduler.store.blocks import Blocks

#: The process number of the driver whose embedded session this is; workers are 1, 2, ...
DRIVER = 1 << 31

MEMORY, DISK = 0, 1  # the tiers
#: Its bytes are in a device's memory, of the process that has exported it; here is a block of memory that says where.
DEVICE = 2
#: Which tier's blocks are taken for what lies in a tier.
BLOCKS_OF = (MEMORY, DISK, MEMORY)

MAGIC = 0x6469_7374_706F_6F6C
# An object's number: the number of its store in the cluster, a serial number in that, its entry's index.
INDEX_BITS = 20
INDEX = (1 << INDEX_BITS) - 1
SERIAL_BITS = 28
SERIALS = (1 << SERIAL_BITS) - 1
INDEX_OF_BLOCK = (1 << 56) - 1
LOW = (1 << 32) - 1

# Words of the header.
BUSY, SERIAL, USES, OBJECTS_END, HOLDS_END = 1, 2, 3, 4, 5
COUNTERS = (6, 8)  # of each tier's blocks, two words each
SIZES = (10, 12)  # of each tier: blocks, bytes of a block
OBJECTS_MAX, HOLDS_MAX = 14, 15
OBJECTS, PUTS, PUT_BYTES, SPILLS, CURSOR = range(16, 21)
HEADER_WORDS = 32

# Words of an object's entry; the label fills the rest.
ID, STATE, SIZE, PLACE, TARGET, HOLDS, USED = range(7)
#: What TARGET says of an object that is in DEVICE and is not moving: its bytes are needed here; somebody of this node
#: may not read the device; there was no room for it here.
WANTED, REFUSED, NO_ROOM = 1 << 60, 1 << 61, 1 << 62
ENTRY_WORDS = 16
LABEL = 7
LABEL_BYTES_MAX = 8 * (ENTRY_WORDS - LABEL)

# Words of a hold.
NEXT, WHO, COUNTS, OBJECT = range(4)
HOLD_WORDS = 4


class State(IntEnum):
    """What an object is in the middle of; see the drawing in ``ledger.py``."""

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
        words = HEADER_WORDS + self.objects_max * ENTRY_WORDS + self.holds_max * HOLD_WORDS
        return words * 8 + self.objects_max + self.holds_max + sum(self.blocks)


class Extent(NamedTuple):
    """Where an object lies: in the file of ``tier``, at ``offset``; ``bytes`` is its exact size.

    In DEVICE: the block that says where is at ``offset`` of the memory's file, and ``bytes`` is what the device has.
    """

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


def store_of(number: int) -> int:
    """The number of the store that an object is in; 0: one that has not been told its own."""
    return number >> (SERIAL_BITS + INDEX_BITS)


class ObjectGone(LookupError):
    """No such object (any more)."""


class LedgerFull(Exception):
    """No room for another object or hold in the ledger itself."""


class Table:
    """The words of one ledger, over a buffer that ``Ledger.create`` has once prepared."""

    def __init__(self, buffer: memoryview) -> None:
        words = buffer[: len(buffer) // 8 * 8].cast("Q")
        if words[0] != MAGIC:
            raise ValueError("not a ledger of this version")
        self.words = words
        objects_max, holds_max = words[OBJECTS_MAX], words[HOLDS_MAX]
        self._entries = HEADER_WORDS
        self._holds = self._entries + objects_max * ENTRY_WORDS
        start = (self._holds + holds_max * HOLD_WORDS) * 8
        self._bytes = buffer
        self._entry_map = buffer[start : start + objects_max]
        start += objects_max
        self._hold_map = buffer[start : start + holds_max]
        start += holds_max
        self.blocks: list[Blocks] = []
        self.block_bytes: list[int] = []
        for tier in (MEMORY, DISK):
            count = words[SIZES[tier]]
            counters = words[COUNTERS[tier] : COUNTERS[tier] + 2]
            self.blocks.append(Blocks(buffer[start : start + count], counters))
            self.block_bytes.append(words[SIZES[tier] + 1])
            start += count
        self.blocks.append(self.blocks[MEMORY])
        self.block_bytes.append(self.block_bytes[MEMORY])

    @property
    def store(self) -> int:
        """This store's number in its cluster; 0: it has not been told."""
        return self.words[SERIAL] >> SERIAL_BITS

    def locate(self, number: int) -> Extent:
        """Where it lies now. Raises ObjectGone."""
        return self._extent(self._find(number))

    def is_held_besides(self, number: int, process: int) -> bool:
        """Whether anybody but this process holds an object. Raises ObjectGone."""
        return any(self.words[hold + WHO] != process for hold in self._chain(self._find(number)))

    def exists(self, number: int) -> bool:
        """Whether there is such an object; without the lock true only of what one holds oneself."""
        return self.words[self._entries + (number & INDEX) * ENTRY_WORDS + ID] == number

    # ----------------------------------------------------------------------------------------- facts

    def facts(self) -> list[Facts]:
        """Everything, for people and for tests."""
        return [self._facts(at) for at in self._objects()]

    def _facts(self, at: int) -> Facts:
        words = self.words
        start = (at + LABEL) * 8
        label = bytes(self._bytes[start : start + LABEL_BYTES_MAX]).rstrip(b"\0").decode(errors="replace")
        holds = []
        for hold in self._chain(at):
            who, counts = words[hold + WHO], words[hold + COUNTS]
            holds.append(Hold(who & LOW, who >> 32, counts & LOW, counts >> 32))
        state = State(words[at + STATE] & 0xFF)
        return Facts(words[at + ID], state, self._extent(at), label, tuple(holds))

    @property
    def objects(self) -> int:
        """How many there are."""
        return self.words[OBJECTS]

    @property
    def puts(self) -> int:
        """How many there ever were."""
        return self.words[PUTS]

    @property
    def put_bytes(self) -> int:
        """What those weighed, in all."""
        return self.words[PUT_BYTES]

    @property
    def spills(self) -> int:
        """How many were moved to the disk."""
        return self.words[SPILLS]

    # --------------------------------------------------------------------------------------- details

    def _find(self, number: int) -> int:
        at = self._entries + (number & INDEX) * ENTRY_WORDS
        if number <= 0 or self.words[at + ID] != number:
            raise ObjectGone(f"object {number:#x} is gone")
        return at

    def _extent(self, at: int) -> Extent:
        place = self.words[at + PLACE]
        tier = place >> 56
        return Extent(tier, (place & INDEX_OF_BLOCK) * self.block_bytes[tier], self.words[at + SIZE])

    def _block_count(self, size: int, tier: int) -> int:
        return 1 if tier == DEVICE else -(-size // self.block_bytes[tier]) or 1

    def _tick(self) -> int:
        self.words[USES] += 1
        return self.words[USES]

    def _objects(self) -> Iterator[int]:
        """The places of all entries; what is removed meanwhile is passed over."""
        for index in range(self.words[OBJECTS_END]):
            at = self._entries + index * ENTRY_WORDS
            if self.words[at + ID]:
                yield at

    def _chain(self, at: int) -> Iterator[int]:
        """The places of an object's holds; the one that is looked at may be unlinked."""
        link = self.words[at + HOLDS]
        while link:
            hold = self._holds + (link - 1) * HOLD_WORDS
            link = self.words[hold + NEXT]
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
