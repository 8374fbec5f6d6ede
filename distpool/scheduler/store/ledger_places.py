"""Places: where objects come to lie, are sealed or given up, and how they move to another tier.

What is spilled moves from memory to the disk; what lies on a device, to memory (``ledger_devices.py``).
"""

from __future__ import annotations

from distpool.scheduler.store.ledger_holds import Holds
from distpool.scheduler.store.ledger_table import (
    COUNTS,
    CURSOR,
    DEVICE,
    DISK,
    ENTRY_WORDS,
    HOLDS,
    ID,
    INDEX,
    INDEX_BITS,
    INDEX_OF_BLOCK,
    LABEL,
    LABEL_BYTES_MAX,
    MEMORY,
    OBJECTS,
    OBJECTS_END,
    PLACE,
    PUT_BYTES,
    PUTS,
    SERIAL,
    SERIALS,
    SIZE,
    SPILLS,
    STATE,
    TARGET,
    USED,
    WANTED,
    WHO,
    Allocated,
    Extent,
    LedgerFull,
    State,
)

#: So many objects are compared when one has to go to the disk.
COLDEST_OF = 1024


class Places(Holds):
    """Makes objects, and moves them."""

    def allocate(
        self, process: int, size: int, tier: int, *, holder: int = 0, label: bytes = b""
    ) -> Allocated | None:
        """Make an object that ``process`` is going to write, and a hold on it.

        Args:
            process: who writes it.
            size: in bytes.
            tier: MEMORY, DISK, or DEVICE: then there is one block, to be sealed with ``seal_on_device``.
            holder: whose hold it is, if not the writer's own: then it is in transit via the writer.
            label: who made it, for people.

        Returns:
            None if the tier has not so many blocks in a row.

        Raises:
            LedgerFull: too many objects or holds.
        """
        words = self.words
        index = self._free_place(self._entry_map, OBJECTS_END)
        taken = self.blocks[tier].take(self._block_count(size, tier))
        if taken is None:
            self._entry_map[index] = 0
            return None
        first, has_holes = taken
        at = self._entries + index * ENTRY_WORDS
        serial = words[SERIAL]
        words[SERIAL] = serial & ~SERIALS | (serial + 1) & SERIALS
        number = words[SERIAL] << INDEX_BITS | index
        words[at + STATE] = State.WRITING | process << 8
        words[at + SIZE] = size
        words[at + PLACE] = tier << 56 | first
        words[at + HOLDS] = 0
        words[at + USED] = self._tick()
        start = (at + LABEL) * 8
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
        words[at + ID] = number  # from here on it exists
        words[OBJECTS] += 1
        words[PUTS] += 1
        words[PUT_BYTES] += size
        return Allocated(number, Extent(tier, first * self.block_bytes[tier], size), has_holes)

    def seal(self, number: int) -> None:
        """Its content is complete. If the hold is its writer's own this is one write, and needs no lock."""
        at = self._find(number)
        self.words[at + STATE] = State.SEALED
        self._remove_if_free(at)  # the one it was for is dead by now

    def discard(self, number: int) -> None:
        """Its writer gives up, and nobody else knows of it yet: it goes with all holds.

        If somebody is moving it at this moment, it stays for as long as that takes.
        """
        at = self._find(number)
        words = self.words
        if words[at + STATE] & 0xFF != State.SPILLING:
            self._remove(at)
            return
        for hold in self._chain(at):
            if words[hold + WHO] == words[at + STATE] >> 8:
                words[hold + COUNTS] = 1  # the mover's, which ends with the move
            else:
                self._unlink(at, hold)

    # -------------------------------------------------------------------------------------- spilling

    def coldest(self) -> int:
        """The object in memory that was not used for longest and that nobody has mapped; 0 if none.

        Of many objects only the next ``COLDEST_OF`` are compared, and those after them the next time.
        """
        words = self.words
        end = words[OBJECTS_END]
        best, best_used, seen = 0, 0, 0
        start = words[CURSOR]
        for step in range(end):
            index = (start + step) % end
            at = self._entries + index * ENTRY_WORDS
            if not words[at + ID] or words[at + STATE] != State.SEALED or words[at + PLACE] >> 56 != MEMORY:
                continue
            if self._pins(at):
                continue
            if not best or words[at + USED] < best_used:
                best, best_used = words[at + ID], words[at + USED]
            seen += 1
            if seen == COLDEST_OF:
                words[CURSOR] = index + 1
                break
        return best

    def start_spilling(self, number: int, process: int, tier: int = DISK) -> Allocated | None:
        """Take room for it in ``tier``; ``process`` copies it there, and holds it so long. None: that tier is full.

        Raises LedgerFull, and ObjectGone.
        """
        at = self._find(number)
        size = self.words[at + SIZE]
        blocks = self._block_count(size, tier)
        taken = self.blocks[tier].take(blocks)
        if taken is None:
            return None
        try:
            self._count(at, number & INDEX, process, 1)
        except LedgerFull:
            self.blocks[tier].leave(taken[0], blocks)
            raise
        self.words[at + TARGET] = tier << 56 | taken[0]
        self.words[at + STATE] = State.SPILLING | process << 8
        return Allocated(number, Extent(tier, taken[0] * self.block_bytes[tier], size), taken[1])

    def finish_spilling(self, number: int, process: int) -> bool:
        """The copy is complete. It counts unless somebody has mapped the object meanwhile."""
        at = self._find(number)
        words = self.words
        moved = words[at + STATE] == State.SPILLING | process << 8 and not self._pins(at)
        if moved:
            place = words[at + PLACE]
            words[at + PLACE] = words[at + TARGET]  # from here on it lies there
            words[at + STATE] = State.SEALED
            words[SPILLS] += 1
            tier = place >> 56
            self.blocks[tier].free(place & INDEX_OF_BLOCK, self._block_count(words[at + SIZE], tier))
        else:
            self._end_spilling(at, is_reserved=True)
        self._count(at, number & INDEX, process, -1)
        return moved

    def abandon_spilling(self, number: int, process: int) -> None:
        """The copy could not be made."""
        at = self._find(number)
        self._end_spilling(at, is_reserved=False)
        self._count(at, number & INDEX, process, -1)

    def _end_spilling(self, at: int, *, is_reserved: bool) -> None:
        words = self.words
        if words[at + STATE] & 0xFF == State.SPILLING:
            target = words[at + TARGET]
            if words[at + PLACE] >> 56 == DEVICE:
                words[at + STATE] = State.SEALED | words[at + STATE] >> 8 << 8
                words[at + TARGET] = WANTED  # it is still to be brought here
            else:
                words[at + STATE] = State.SEALED
            tier = target >> 56
            let_go = self.blocks[tier].free if is_reserved else self.blocks[tier].leave
            let_go(target & INDEX_OF_BLOCK, self._block_count(words[at + SIZE], tier))
