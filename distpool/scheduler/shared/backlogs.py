"""What processes hold back for a queue that has no room: how many items each of them has accepted.

A bounded queue counts them, and forgets those of a process that died. Written under one mutex (a queue's writers'), and
right after each single write.

::

    words   high          entries ever used; 0 again when none is
            entry[..]     process, items
"""

from __future__ import annotations

from typing import Any

from distpool.scheduler.shared import identity

ENTRIES = 64
WORDS = 2 + 2 * ENTRIES


class Backlogs:
    """One process's handle on the table in ``words``."""

    __slots__ = ("_words",)

    def __init__(self, words: Any) -> None:
        self._words = words

    def total(self) -> int:
        """All items that are held back. Anybody may ask."""
        words = self._words
        high = words[0]
        return sum(words[3 : 3 + 2 * high : 2]) if high else 0

    def of_the_living(self) -> int:
        """The same without those of the dead, who are buried later. Anybody may ask."""
        words = self._words
        return sum(
            words[3 + 2 * entry]
            for entry in range(words[0])
            if words[3 + 2 * entry] and not identity.is_dead(words[2 + 2 * entry])
        )

    def add(self, entry: int) -> int:
        """One more for this process, whose entry it is (-1: it has none yet); the entry, -1 if all are in use."""
        words = self._words
        if entry < 0:
            entry = self._unused()
            if entry < 0:
                return entry
            words[3 + 2 * entry] = 0
            words[2 + 2 * entry] = identity.me
            if words[0] <= entry:
                words[0] = entry + 1
        words[3 + 2 * entry] += 1
        return entry

    def take(self, entry: int) -> bool:
        """One less; True if that was its last, and the entry is free."""
        words = self._words
        words[3 + 2 * entry] -= 1
        if words[3 + 2 * entry]:
            return False
        words[2 + 2 * entry] = identity.NOBODY
        self._lower()
        return True

    def bury(self) -> None:
        """Forget what dead processes held back."""
        words = self._words
        for entry in range(words[0]):
            process = words[2 + 2 * entry]
            if process != identity.NOBODY and identity.is_dead(process):
                words[3 + 2 * entry] = 0
                words[2 + 2 * entry] = identity.NOBODY
        self._lower()

    def _unused(self) -> int:
        for _ in range(2):
            for entry in range(ENTRIES):
                if self._words[2 + 2 * entry] == identity.NOBODY:
                    return entry
            self.bury()
        return -1

    def _lower(self) -> None:
        words = self._words
        high = words[0]
        while high and words[2 * high] == identity.NOBODY:
            high -= 1
        words[0] = high
