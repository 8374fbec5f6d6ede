"""Holds: which process needs which object, and that an object goes with its last hold.

A hold is one process's references and pins to one object, a link in the object's chain. In transit it is the holder's
*via* another process, which has sent it (``hand``, or ``allocate`` for a holder) and not yet heard of its ``claim``.
"""

from __future__ import annotations

from distpool.scheduler.store.ledger_table import (
    COUNTS,
    ENTRY_WORDS,
    HOLD_WORDS,
    HOLDS,
    HOLDS_END,
    ID,
    INDEX,
    INDEX_OF_BLOCK,
    LOW,
    NEXT,
    OBJECT,
    OBJECTS,
    PLACE,
    SIZE,
    STATE,
    USED,
    WHO,
    Extent,
    ObjectGone,
    State,
    Table,
)


class Holds(Table):
    """Takes and drops holds; each change is one write to an entry or a chain, or follows from one."""

    def pin(self, number: int, process: int) -> Extent:
        """``process`` is going to map it: it stays, and stays where it is. Raises ObjectGone."""
        at = self._find(number)
        self._count(at, number & INDEX, process, 1 << 32)
        self.words[at + USED] = self._tick()
        return self._extent(at)

    def unpin(self, number: int, process: int) -> None:
        """One view of it less."""
        self._count(self._find(number), number & INDEX, process, -(1 << 32))

    def hold(self, number: int, process: int) -> None:
        """One reference of ``process`` more. Raises ObjectGone."""
        self._count(self._find(number), number & INDEX, process, 1)

    def drop(self, number: int, process: int) -> None:
        """One reference of ``process`` less; the last one takes the object along."""
        self._count(self._find(number), number & INDEX, process, -1)

    def claim(self, number: int, process: int, via: int = 0) -> None:
        """What was in transit to ``process`` has come: an ordinary reference from now on. Raises ObjectGone.

        ``via``: who sent it. Several may have sent the same object; what another sent goes when that one dies.
        """
        at = self._find(number)
        words = self.words
        is_new = all(words[hold + WHO] != process for hold in self._chain(at))
        for hold in self._chain(at):
            who = words[hold + WHO]
            if who & LOW == process and who >> 32 and via in (0, who >> 32):
                if is_new and words[hold + COUNTS] == 1:
                    words[hold + WHO] = process  # works in a full ledger, too
                    return
                self._count(at, number & INDEX, process, 1)
                self._lessen(at, hold, 1)
                return
        raise ObjectGone(f"object {number:#x} is not in transit to process {process}")

    def hand(self, number: int, process: int, holder: int) -> None:
        """``process`` passes on what it holds itself: a reference in transit to ``holder``. Raises ObjectGone."""
        at = self._find(number)
        who = holder | process << 32
        for hold in self._chain(at):
            if self.words[hold + WHO] == who:
                self.words[hold + COUNTS] += 1
                return
        self._add_hold(at, number & INDEX, holder, process, 1)

    def take_back(self, number: int, process: int, holder: int) -> None:
        """``holder`` was never told of what ``process`` put for it, or handed to it. Raises ObjectGone."""
        at = self._find(number)
        who = holder | process << 32
        for hold in self._chain(at):
            if self.words[hold + WHO] == who:
                self._lessen(at, hold, 1)
                self._remove_if_free(at)
                return
        raise ObjectGone(f"object {number:#x} is not in transit to process {holder}")

    def in_transit(self, process: int, via: int) -> list[int]:
        """What ``via`` has put for ``process``, or handed to it, and is not claimed; each as often as that."""
        who, words = process | via << 32, self.words
        return [
            words[at + ID]
            for at in self._objects()
            for hold in self._chain(at)
            if words[hold + WHO] == who
            for _ in range(words[hold + COUNTS])
        ]

    def forget_transit(self, process: int, via: int) -> None:
        """``via`` is dead, and all that it has sent to ``process`` was read: what is not claimed never will be."""
        who = process | via << 32
        for at in self._objects():
            for hold in self._chain(at):
                if self.words[hold + WHO] == who:
                    self._unlink(at, hold)
            self._remove_if_free(at)

    def forget_sent(self, via: int, first: int) -> None:
        """``via`` has been dead for long: what it has sent to holders from number ``first`` on will not be claimed."""
        for at in self._objects():
            for hold in self._chain(at):
                who = self.words[hold + WHO]
                if who >> 32 == via and who & LOW >= first:
                    self._unlink(at, hold)
            self._remove_if_free(at)

    # --------------------------------------------------------------------------------------- details

    def _add_hold(self, at: int, index: int, holder: int, via: int, counts: int) -> None:
        place = self._free_place(self._hold_map, HOLDS_END)
        hold = self._holds + place * HOLD_WORDS
        words = self.words
        words[hold + NEXT] = words[at + HOLDS]
        words[hold + WHO] = holder | via << 32
        words[hold + COUNTS] = counts
        words[hold + OBJECT] = index
        words[at + HOLDS] = place + 1

    def _count(self, at: int, index: int, process: int, delta: int) -> None:
        words = self.words
        for hold in self._chain(at):
            if words[hold + WHO] == process:
                counts = words[hold + COUNTS]
                if delta < 0 and not (counts & LOW if delta == -1 else counts >> 32):
                    break  # it has it mapped, and no reference to it; or the other way round
                counts += delta
                if not counts:
                    self._unlink(at, hold)
                    self._remove_if_free(at)
                else:
                    words[hold + COUNTS] = counts
                return
        if delta < 0:
            raise ObjectGone(f"process {process} does not hold object {words[at + ID]:#x}")
        self._add_hold(at, index, process, 0, delta)

    def _lessen(self, at: int, hold: int, by: int) -> None:
        if self.words[hold + COUNTS] <= by:
            self._unlink(at, hold)
        else:
            self.words[hold + COUNTS] -= by

    def _unlink(self, at: int, hold: int) -> None:
        words = self.words
        place = (hold - self._holds) // HOLD_WORDS
        if words[at + HOLDS] == place + 1:
            words[at + HOLDS] = words[hold + NEXT]
        else:
            before = next(other for other in self._chain(at) if words[other + NEXT] == place + 1)
            words[before + NEXT] = words[hold + NEXT]
        self._hold_map[place] = 0

    def _pins(self, at: int) -> int:
        return sum([self.words[hold + COUNTS] >> 32 for hold in self._chain(at)])

    def _remove_if_free(self, at: int) -> None:
        words = self.words
        if words[at + ID] and not words[at + HOLDS] and words[at + STATE] & 0xFF != State.WRITING:
            self._remove(at)  # never under its writer

    def _remove(self, at: int) -> None:
        words = self.words
        place, size, state = words[at + PLACE], words[at + SIZE], words[at + STATE] & 0xFF
        words[at + ID] = 0  # from here on it is gone
        for hold in list(self._chain(at)):
            self._hold_map[(hold - self._holds) // HOLD_WORDS] = 0
        words[at + HOLDS] = 0
        blocks = self.blocks[place >> 56]
        let_go = blocks.leave if state == State.WRITING else blocks.free
        let_go(place & INDEX_OF_BLOCK, self._block_count(size, place >> 56))
        self._entry_map[(at - self._entries) // ENTRY_WORDS] = 0
        words[OBJECTS] -= 1
