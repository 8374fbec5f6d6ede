"""A ring of records in memory that several processes see: bytes in at the tail, bytes out at the head.

::

                head                      tail
    ┌────────────┬──────┬──────┬──────────┬──────────┐      record   header word: size << 8 | flags
    │   free     │record│record│  record  │   free   │               payload, up to a multiple of 8 bytes
    └────────────┴──────┴──────┴──────────┴──────────┘

    words   tail, high (at 0)     written by who writes records        positions count units of 8 bytes, modulo
            head       (at 8)     written by who reads them            2**24; in the same word: items so far << 24

One process at a time may write and one at a time may read, but both at once: each writes words that the other only
reads. **A record counts from the single write of ``tail`` on, and is gone from the single write of ``head`` on**, so
whoever dies anywhere leaves a ring that is right. An item is one record, or several parts (``MORE``, ``CONTINUES``);
only the last counts as an item, and a reader skips parts whose beginning it does not have.

An empty ring begins again at its start, so that a queue that is read as fast as it is written stays in the cache. What
lies beyond ``KEPT_UNITS`` is remembered in ``high``, for giving the pages back.

Not here: locks and waiting (``channel``), and what is in a record (``items``).
"""

from __future__ import annotations

from typing import Any

#: Words before the data.
STATE_WORDS = 16
_TAIL, _HIGH, _HEAD = 0, 1, 8

#: Flags of a record. Bits from 8 on are the user's, up to 128.
SKIP = 1  # nothing: the next record is at the start
CONTINUES = 2  # a part, not the first
MORE = 4  # a part, not the last
USER = 8
_ODD = SKIP | CONTINUES | MORE | USER

_POSITION = (1 << 24) - 1
_ITEM = 1 << 24
#: Of address space: two rings must fit into the range of positions, so that full and empty differ.
UNITS_MAX = 1 << 22

#: An empty ring is begun again from here on.
_NEAR_UNITS = (256 << 10) // 8
#: Memory beyond this is given back when the ring is empty.
KEPT_UNITS = (4 << 20) // 8


class Ring:
    """One process's handle on a ring in ``words``, which are zeros at first.

    Args:
        words: unsigned 64-bit numbers: ``STATE_WORDS`` and the data, a power of two of them, at most ``UNITS_MAX``.
        view: the same as bytes.
    """

    __slots__ = ("_mask", "_near", "_view", "_words", "units")

    def __init__(self, words: Any, view: Any) -> None:
        self.units = len(words) - STATE_WORDS
        if self.units & (self.units - 1) or not 0 < self.units <= UNITS_MAX:
            raise ValueError(f"a ring of {self.units} units: take a power of two, at most {UNITS_MAX}")
        self._words = words
        self._view = view
        self._mask = self.units - 1
        self._near = min(_NEAR_UNITS, self.units)

    @property
    def item_bytes_max(self) -> int:
        """The largest payload that has room in any empty ring."""
        return self.units // 2 * 8 - 8

    @property
    def part_bytes(self) -> int:
        """The payload of a part: several have room, so that one is read while the next is written."""
        return self.units // 8 * 8 - 8

    def is_empty(self) -> bool:
        """Whether there is no record. Anybody may ask."""
        words = self._words
        return bool(words[_HEAD] == words[_TAIL])

    def has_records(self) -> bool:
        """The opposite, for who waits."""
        words = self._words
        return bool(words[_HEAD] != words[_TAIL])

    def items(self) -> int:
        """How many items were written and not read. Anybody may ask."""
        words = self._words
        head = words[_HEAD]  # first: it never overtakes the tail
        return int((words[_TAIL] >> 24) - (head >> 24))

    def written(self) -> int:
        """How many items were ever written."""
        return int(self._words[_TAIL] >> 24)

    def high(self) -> int:
        """Where, in units from the beginning of the words, touched memory ends; 0 if it is not worth a thought."""
        return int(self._words[_HIGH])

    def forget_high(self) -> None:
        """The memory was given back. For who may write."""
        self._words[_HIGH] = 0

    # ------------------------------------------------------------------------------------------- writing

    def write(self, data: bytes) -> bool:
        """One item of one record without flags; False if there is no room now."""
        words = self._words
        tail = words[_TAIL]
        position = tail & _POSITION
        index = position & self._mask
        size = len(data)
        units = (size + 15) >> 3
        if index + units > self._near:
            at = self.reserve(size)
            if at < 0:
                return False
            self._view[at : at + size] = data
            self.commit(at, size, 0)
            return True
        if ((position - words[_HEAD]) & _POSITION) + units > self.units:
            return False
        at = (STATE_WORDS + 1 + index) << 3
        self._view[at : at + size] = data
        words[STATE_WORDS + index] = size << 8
        words[_TAIL] = tail - position + _ITEM | (position + units) & _POSITION
        return True

    def reserve(self, size: int) -> int:
        """Where the payload of the next record goes, in bytes of the view; -1 if there is no room now."""
        words = self._words
        position = words[_TAIL] & _POSITION
        used = (position - words[_HEAD]) & _POSITION
        index: int = position & self._mask
        units = (size + 15) >> 3
        if index + units > self.units or (not used and index > self._near // 2 and index >= units):
            skipped = self.units - index
            if used + skipped + units > self.units:
                return -1
            words[STATE_WORDS + index] = SKIP
            index = 0
        elif used + units > self.units:
            return -1
        end = index + units
        if end > KEPT_UNITS and end + STATE_WORDS > words[_HIGH]:
            words[_HIGH] = end + STATE_WORDS
        return (STATE_WORDS + 1 + index) << 3

    def commit(self, at: int, size: int, flags: int) -> None:
        """The payload at ``at``, from ``reserve``, is there: from now on it is a record."""
        words = self._words
        tail = words[_TAIL]
        position = tail & _POSITION
        index = (at >> 3) - STATE_WORDS - 1
        words[STATE_WORDS + index] = size << 8 | flags
        moved = ((index - position) & self._mask) + ((size + 15) >> 3)
        counted = 0 if flags & MORE else _ITEM
        words[_TAIL] = tail - position + counted | (position + moved) & _POSITION

    # ------------------------------------------------------------------------------------------- reading

    def read(self) -> bytes | None:
        """The next item, if it is one record without flags; None means to ``look``."""
        words = self._words
        head = words[_HEAD]
        if head == words[_TAIL]:
            return None
        position = head & _POSITION
        index = position & self._mask
        header = words[STATE_WORDS + index]
        if header & _ODD:
            return None
        size = header >> 8
        at = (STATE_WORDS + 1 + index) << 3
        data: bytes = self._view[at : at + size].tobytes()
        words[_HEAD] = head - position + _ITEM | (position + ((size + 15) >> 3)) & _POSITION
        return data

    def look(self) -> tuple[int, int, int] | None:
        """The next record: where its payload is, its size, its flags. It stays; None if there is none."""
        words = self._words
        head = words[_HEAD]
        if head == words[_TAIL]:
            return None
        index = head & self._mask
        header = words[STATE_WORDS + index]
        if header & SKIP:
            index = 0
            header = words[STATE_WORDS]
        return (STATE_WORDS + 1 + index) << 3, header >> 8, header & 0xFF

    def drop(self, at: int, size: int, flags: int) -> None:
        """The record that ``look`` gave is done with."""
        words = self._words
        head = words[_HEAD]
        position = head & _POSITION
        index = (at >> 3) - STATE_WORDS - 1
        moved = ((index - position) & self._mask) + ((size + 15) >> 3)
        counted = 0 if flags & MORE else _ITEM
        words[_HEAD] = head - position + counted | (position + moved) & _POSITION
