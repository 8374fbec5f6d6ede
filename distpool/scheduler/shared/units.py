"""Units of a semaphore, and which process has how many of them: what a process had comes back when it dies.

::

    words   balance     units that are there, if all that are tied had come back
            value       units that are there: balance - all that are tied (a sum, kept so that nobody has to add up)
            high        rows that were in use once
            returned    units of dead processes that came back; their release, if it comes after all, is none
    row[..] process, units that are tied to it

Each operation changes one word that counts, a row or the balance, and then ``value``. So a death between two writes
neither loses nor doubles a unit: whoever enters the monitor next adds up again.
"""

from __future__ import annotations

import time

from distpool.scheduler.shared import identity, monitor, segment

#: Processes that can have tied units at a time.
ROWS_MAX = 1024
_WAITERS = 256
_BALANCE, _VALUE, _HIGH, _RETURNED = range(4)
_ROWS = monitor.bytes_for(_WAITERS) // 8
BYTES = _ROWS * 8 + ROWS_MAX * 16


class Units:
    """One process's handle on the units in ``place``, of which there are never more than ``value_max``."""

    def __init__(self, place: segment.Place, value_max: int) -> None:
        self._value_max = value_max
        self._monitor = monitor.Monitor(place, _WAITERS)
        self._monitor.on_death = self._add_up
        self._monitor.on_look = self._reclaim
        self._words = self._monitor.words
        self._rows = place.words[_ROWS:]
        self._mine = 0
        self._looked_s = 0.0

    @staticmethod
    def make_with(place: segment.Place, value: int) -> None:
        """Make a new place ready, with so many units."""
        monitor.Monitor.make(place)
        words = monitor.Monitor(place, _WAITERS).words
        words[_BALANCE] = words[_VALUE] = value

    def value(self) -> int:
        """How many there are at this moment."""
        return self._words[_VALUE]

    def acquire(self, ties: bool, block: bool = True, timeout: float | None = None) -> bool:
        """Take one, and tie it to this process if ``ties``; False if there was none in time."""
        with self._monitor:
            words = self._words
            row = self._own_row() + 1 if ties else 0  # it may find units that come back
            value = words[_VALUE]
            if value:
                if ties:
                    self._rows[row] += 1
                else:
                    words[_BALANCE] -= 1
                words[_VALUE] = value - 1
                return True
            take = self._take_tied if ties else self._take
            self._reclaim_now_and_then()
            return bool(self._monitor.wait_until(take, block, timeout))

    def release(self, ties: bool) -> None:
        """Give one back: one that is tied to this process, if ``ties``, or else to another; or else add one.

        Raises:
            ValueError: there would be more than ``value_max``.
        """
        with self._monitor:
            words = self._words
            value = words[_VALUE]
            if value >= self._value_max:
                if words[_RETURNED]:
                    words[_RETURNED] -= 1
                    return
                raise ValueError("semaphore or lock released too many times")
            at = self._tied_row() if ties else None
            if at is None:
                words[_BALANCE] += 1
            else:
                self._rows[at + 1] -= 1
            words[_VALUE] = value + 1
            self._monitor.wake(1)

    # ---------------------------------------------------------------------- all of this is called inside

    def _take(self) -> bool:
        words = self._words
        if not words[_VALUE]:
            return False
        words[_BALANCE] -= 1
        words[_VALUE] -= 1
        return True

    def _take_tied(self) -> bool:
        words = self._words
        if not words[_VALUE]:
            return False
        self._rows[self._own_row() + 1] += 1
        words[_VALUE] -= 1
        return True

    def _own_row(self) -> int:
        """Where this process's row is: the process; its units are the next word."""
        rows, at = self._rows, self._mine
        if rows[at] == identity.me:
            return at
        self._reclaim()
        free = -1
        for at in self._all_rows():
            if rows[at] == identity.me:
                self._mine = at
                return at
            if free < 0 and not rows[at + 1]:
                free = at
        if free < 0:
            high = self._words[_HIGH]
            if high == ROWS_MAX:
                raise OSError(
                    f"{ROWS_MAX} processes have units of this semaphore, and there is no room for more"
                )
            self._words[_HIGH] = high + 1
            free = high * 2
        rows[free] = identity.me
        self._mine = free
        return free

    def _tied_row(self) -> int | None:
        """The row that a unit given back is taken from: ours, or else that of whoever has most."""
        rows = self._rows
        if rows[self._mine] == identity.me and rows[self._mine + 1]:
            return self._mine
        tied = [at for at in self._all_rows() if rows[at + 1]]
        ours = [at for at in tied if rows[at] == identity.me]
        return ours[0] if ours else max(tied, key=lambda at: rows[at + 1], default=None)

    def _all_rows(self) -> range:
        return range(0, self._words[_HIGH] * 2, 2)

    def _reclaim_now_and_then(self) -> None:
        """For those who ask again and again without waiting."""
        now_s = time.monotonic()
        if now_s - self._looked_s >= monitor.SLICE_S:
            self._looked_s = now_s
            self._reclaim()

    def _reclaim(self) -> None:
        """What dead processes had comes back."""
        rows = self._rows
        returned = 0
        for at in self._all_rows():
            tied = rows[at + 1]
            if tied and rows[at] != identity.me and identity.is_dead(rows[at]):
                rows[at + 1] = 0
                returned += tied
        if returned:
            self._words[_RETURNED] += returned
            self._add_up()

    def _add_up(self, _: int = 0) -> None:
        rows, words = self._rows, self._words
        value = words[_BALANCE] - sum(rows[at + 1] for at in self._all_rows())
        words[_VALUE] = value
        if value:
            self._monitor.wake(value)
