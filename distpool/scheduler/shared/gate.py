"""A gate: where processes wait, one behind the other, for a change that others make without asking anybody.

It is for state that its writers change by single writes, under no lock that the waiter holds::

    waiter                                                     who changes the state
    with gate.line:            one at a time; others wait here   the change
        gate.wait(ready)                                         gate.open()
            flag = 1                                                 flag?  no: nothing, and that is all it costs
            ready()?  no: sleep on the semaphore  ◄───post───        yes: flag = 0, post

The flag is raised before the last look, so one of the two sees the other. Sleep is in slices all the same: a wake-up
lost with its waker costs one. A waiter that dies in the line leaves it to the next, since the line is a ``Mutex``.
Nobody looks again and again before sleeping: on two busy cores that was slower, fivefold there and back.

A ``Monitor`` wakes whom it chooses, in order, under its mutex; here nobody is chosen, and who opens a gate that nobody
waits at has read one word.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from distpool.scheduler.shared import mutex, segment, semaphores

SLICE_S = 0.05
_POSTS_MAX = 1 << 30

#: The flag in a word of its own, the semaphore, and the line.
BYTES = 64 + mutex.BYTES
_SEMAPHORE = 32


def part(place: segment.Place, offset: int, size: int) -> segment.Place:
    """Some of a place as a place. Who uses it keeps the whole."""
    return segment.Place(place.segment, place.offset + offset, size, seen=True)


class Gate:
    """One process's handle on a gate in ``place``."""

    __slots__ = ("_semaphore", "_words", "line")

    def __init__(self, place: segment.Place) -> None:
        self._words = place.words
        self._semaphore: Any = semaphores.handle(place.address + _SEMAPHORE, semaphores.SEMAPHORE, _POSTS_MAX)
        #: To be held by who waits.
        self.line = mutex.Mutex(part(place, 64, mutex.BYTES), semaphores.SEMAPHORE)

    @staticmethod
    def make(place: segment.Place) -> None:
        """Make one of the zeros of ``place``."""
        semaphores.make(place.address + _SEMAPHORE, 0)
        mutex.Mutex.make(part(place, 64, mutex.BYTES))

    def open(self) -> None:
        """The state has changed."""
        if self._words[0]:
            self._words[0] = 0
            self._semaphore.release()

    def wait(self, ready: Callable[[], bool], until_s: float | None) -> bool:
        """Until ``ready()``, which is called at least once in a slice; False if that did not come in time.

        Args:
            ready: whether the wait is over.
            until_s: a time of ``time.monotonic``, None for ever.
        """
        words, slice_s = self._words, SLICE_S
        while True:
            words[0] = 1
            if ready():
                words[0] = 0
                return True
            if until_s is not None:
                slice_s = min(SLICE_S, until_s - time.monotonic())
                if slice_s <= 0:
                    words[0] = 0
                    return False
            self._semaphore.acquire(True, slice_s)
            if mutex.service.check is not None:
                mutex.service.check()
