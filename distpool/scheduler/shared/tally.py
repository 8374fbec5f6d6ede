"""How many items of a channel are done with, and waiting until all are.

::

    done      items that were reported          unfinished = channel.accepted() - done
    zeros     how often that came to nothing

``zeros`` lets go whoever waited at that moment, even if more has been accepted before they looked.
"""

from __future__ import annotations

from typing import Any

from distpool.scheduler.shared import gate, mutex, segment, semaphores
from distpool.scheduler.shared.channel import Channel
from distpool.scheduler.shared.things import SharedThing

_DONE, _ZEROS = 0, 1
_MUTEX = 64
_GATE = _MUTEX + mutex.BYTES
BYTES = _GATE + gate.BYTES


class Tally(SharedThing):
    """One process's handle on a tally, made by ``create`` or unpickled."""

    KIND = "tally of a queue"
    OPERATIONS = frozenset({"report", "wait"})

    channel: Channel

    def _attach(self, place: segment.Place, channel: Channel) -> None:
        self.place = place
        self._attach_parts(channel)
        self._words = place.words
        self._mutex = mutex.Mutex(gate.part(place, _MUTEX, mutex.BYTES), semaphores.SEMAPHORE)
        self._gate = gate.Gate(gate.part(place, _GATE, gate.BYTES))

    @classmethod
    def create(cls, channel: Channel) -> Tally:
        """A new one, of ``channel``."""
        place = segment.allocate(BYTES)
        mutex.Mutex.make(gate.part(place, _MUTEX, mutex.BYTES))
        gate.Gate.make(gate.part(place, _GATE, gate.BYTES))
        made = cls()
        made._attach(place, channel)
        return made

    def _attach_parts(self, channel: Channel) -> None:
        self.channel = channel

    def _parts(self) -> tuple[Any, ...]:
        return (self.channel,)

    def report(self) -> bool:
        """One more is done; False if that would be more than there were."""
        words = self._words
        with self._mutex:
            accepted = self.channel.accepted()
            if words[_DONE] >= accepted:
                return False
            words[_DONE] += 1
            if words[_DONE] == accepted:
                words[_ZEROS] += 1
                self._gate.open()
        return True

    def wait(self) -> None:
        """Until all that was accepted is done."""
        words, zeros = self._words, self._words[_ZEROS]

        def is_done() -> bool:
            return words[_ZEROS] != zeros or words[_DONE] >= self.channel.accepted()

        if not is_done():
            with self._gate.line:
                self._gate.wait(is_done, None)
