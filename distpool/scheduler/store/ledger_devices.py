"""Objects whose bytes are in a device's memory (a GPU's): exported by one process, found by others through one block.

::

                 allocate                 seal_on_device            its exporter: start_spilling, finish_spilling
      (nothing) ──────────► WRITING ────────────────────► SEALED ◄──────────► SPILLING ──────────► memory, or disk
                                          in DEVICE ────► ▲    │ want, no_room                     (as any other)
                                                          └────┘

Such an object has holds, transit and pins as any other has, and goes with the last of them. So who exports need not be
told who imports, nor of deaths: it looks whether the object is there still, and keeps the device's memory so long
(``tickets.py``). A pin is an importer that reads the device at this moment: under a pin it is not moved.

**Invariant**: it does not outlive its exporter, with which the device's memory goes (``Ledger.mend``). Its STATE names
the exporter for as long as it is in DEVICE.
"""

from __future__ import annotations

from distpool.scheduler.store.ledger_places import Places
from distpool.scheduler.store.ledger_table import (
    DEVICE,
    NO_ROOM,
    PLACE,
    REFUSED,
    STATE,
    TARGET,
    WANTED,
    State,
)


class Devices(Places):
    """Seals what was exported, and has it brought here. Without the lock ``is_on_device`` and ``wish`` are a look."""

    def seal_on_device(self, number: int) -> None:
        """Its block says where it is; ``process``, which has allocated it, is its exporter. Raises ObjectGone."""
        at = self._find(number)
        words = self.words
        words[at + TARGET] = 0
        words[at + STATE] = State.SEALED | words[at + STATE] >> 8 << 8
        self._remove_if_free(at)

    def is_on_device(self, number: int) -> bool:
        """Whether its bytes are in a device's memory, and nowhere else. Raises ObjectGone."""
        return self.words[self._find(number) + PLACE] >> 56 == DEVICE

    def exporter(self, number: int) -> int:
        """Which process keeps it there; 0: it is not on a device. Raises ObjectGone."""
        at = self._find(number)
        return self.words[at + STATE] >> 8 if self.words[at + PLACE] >> 56 == DEVICE else 0

    def want(self, number: int, *, refused: bool = False) -> bool:
        """Have its bytes brought here by its exporter. Returns whether they are. Raises ObjectGone.

        ``refused``: the device could have been read from here, but that is not permitted.
        """
        at = self._find(number)
        words = self.words
        if words[at + PLACE] >> 56 != DEVICE:
            return True
        if words[at + STATE] & 0xFF == State.SEALED:
            words[at + TARGET] = WANTED | (REFUSED if refused else words[at + TARGET] & REFUSED)
        return False

    def wish(self, number: int) -> int:
        """WANTED, with REFUSED; NO_ROOM; or 0. Raises ObjectGone."""
        at = self._find(number)
        if self.words[at + PLACE] >> 56 != DEVICE or self.words[at + STATE] & 0xFF != State.SEALED:
            return 0
        return self.words[at + TARGET] & (WANTED | REFUSED | NO_ROOM)

    def give_up(self, number: int) -> bool:
        """Its exporter ends, and it could not be brought here: it goes, unless somebody reads the device just now.

        Returns whether it has gone. Raises ObjectGone.
        """
        at = self._find(number)
        if self._pins(at):
            return False
        self._remove(at)
        return True

    def no_room(self, number: int) -> None:
        """It could not be brought here; who waits for it is told so. Raises ObjectGone."""
        at = self._find(number)
        if self.words[at + PLACE] >> 56 == DEVICE and self.words[at + STATE] & 0xFF == State.SEALED:
            self.words[at + TARGET] = NO_ROOM
