"""The rounds of a barrier: in each a number of threads meet, and then all go on, or all are told that it broke.

::

    number n, nobody there
       │ arrive: present + 1, wait until ``number`` is not n any more
       ▼
    the last one arrives ── has an action ──► actor = me; the others wait, whatever their time-outs say
       │                                        │ finish              │ fail, or the actor dies
       ▼                                        ▼                     ▼
    outcome[n] = PASSED, number n + 1         the same          outcome[n] = BROKEN, number n + 1, broken
       ▲
       └─ a time-out, an abort, a death of one who waits: as on the right;   a reset: so too, but not broken then

Outcomes are kept for the last rounds, for whoever is slow to wake.
"""

from __future__ import annotations

import time
from threading import BrokenBarrierError

from distpool.scheduler.shared import identity, monitor, segment

_NUMBER, _PRESENT, _ACTOR, _BROKEN, _CULPRIT = range(5)
_OUTCOMES = 8  # where they begin, and how many are kept
_PASSED, _FAILED = 1, 2
_COMING, _WAITING = 0, 1  # what is waited for: to be let in, or out
_NOT_BROKEN, _IS_BROKEN = 0, 1

BYTES = monitor.bytes_for(512)


class Rounds:
    """One process's handle on the rounds in ``place``, each of ``parties`` threads."""

    def __init__(self, place: segment.Place, parties: int) -> None:
        self._parties = parties
        self._monitor = monitor.Monitor(place)
        self._monitor.on_death = self._died
        self._monitor.on_gone = self._gone
        self._words = self._monitor.words
        self._acting: int | None = None

    def arrive(self, timeout: float | None, acts: bool) -> tuple[int, int]:
        """Wait for the others; which one we were, and the round that we are to ``finish``, or -1.

        Args:
            timeout: in seconds; None for ever.
            acts: whether the last one does something before the others go on.

        Raises:
            BrokenBarrierError: it is broken, or broke, or was reset.
        """
        until_s = None if timeout is None else time.monotonic() + timeout
        words = self._words
        with self._monitor:
            self._wait_for_room(until_s)
            number, index = words[_NUMBER], words[_PRESENT]
            words[_PRESENT] = index + 1
            if index + 1 < self._parties:
                try:
                    self._wait_for_the_others(number, until_s)
                except BrokenBarrierError:
                    raise
                except BaseException:  # an interrupt: we are not there any more
                    if words[_NUMBER] == number:
                        words[_PRESENT] -= 1
                    raise
            elif acts:
                words[_ACTOR] = identity.me
                self._acting = number
                return index, number
            else:
                self._end(_PASSED)
            return index, -1

    def finish(self, number: int) -> None:
        """The action is done: all go on. Raises BrokenBarrierError if the barrier broke meanwhile."""
        self._acting = None
        with self._monitor:
            if self._words[_NUMBER] == number:
                self._end(_PASSED)
            else:
                self._raise_if_failed(number)

    def fail(self, number: int) -> None:
        """The action has failed."""
        self._acting = None
        with self._monitor:
            if self._words[_NUMBER] == number:
                self._end(_FAILED, broken=_IS_BROKEN)

    def reset(self) -> None:
        """Begin anew; whoever waits is told so by a BrokenBarrierError."""
        with self._monitor:
            if self._words[_PRESENT]:
                self._end(_FAILED)
            self._words[_CULPRIT] = identity.NOBODY
            self._words[_BROKEN] = _NOT_BROKEN
            self._monitor.wake_all(_COMING)

    def abort(self) -> None:
        """Break it until it is reset."""
        with self._monitor:
            self._end(_FAILED, broken=_IS_BROKEN)

    def look(self) -> tuple[int, bool]:
        """How many wait, and whether it is broken."""
        return self._words[_PRESENT], self._words[_BROKEN] != _NOT_BROKEN

    def client_gone(self, died: int) -> None:
        """The process that we acted for is dead."""
        if self._acting is not None:
            with self._monitor:
                if self._words[_NUMBER] == self._acting:
                    self._died(died)

    # ---------------------------------------------------------------------- all of this is called inside

    def _wait_for_room(self, until_s: float | None) -> None:
        words = self._words

        def is_open() -> bool:
            self._look_after_actor()
            return words[_BROKEN] != _NOT_BROKEN or words[_PRESENT] < self._parties

        left_s = None if until_s is None else until_s - time.monotonic()
        in_time = self._monitor.wait_until(is_open, True, left_s, _COMING)
        if words[_BROKEN]:
            self._raise_broken()
        if not in_time:
            self._end(_FAILED, broken=_IS_BROKEN)
            self._raise_broken()

    def _wait_for_the_others(self, number: int, until_s: float | None) -> None:
        words = self._words

        def is_over() -> bool:
            self._look_after_actor()
            return words[_NUMBER] != number

        left_s = None if until_s is None else until_s - time.monotonic()
        over = self._monitor.wait_until(is_over, True, left_s, _WAITING)
        if not over and words[_ACTOR]:  # all were there in time
            over = self._monitor.wait_until(is_over, True, None, _WAITING)
        if not over:
            self._end(_FAILED, broken=_IS_BROKEN)
        self._raise_if_failed(number)

    def _look_after_actor(self) -> None:
        actor = self._words[_ACTOR]
        if actor and actor != identity.me and identity.is_dead(actor):
            self._died(actor)

    def _gone(self, process: int, reason: int) -> None:
        if reason == _WAITING:
            self._died(process)

    def _died(self, process: int) -> None:
        """A party is dead; or one died in here, and may have been one."""
        if self._words[_PRESENT]:
            self._words[_CULPRIT] = process
            self._end(_FAILED, broken=_IS_BROKEN)

    def _end(self, outcome: int, broken: int = _NOT_BROKEN) -> None:
        """This round is over. A death half-way leaves somebody present, so that the next who enters breaks it."""
        words = self._words
        number = words[_NUMBER]
        words[_OUTCOMES + number % _OUTCOMES] = outcome
        if broken:
            words[_BROKEN] = broken
        words[_NUMBER] = number + 1
        words[_ACTOR] = identity.NOBODY
        words[_PRESENT] = 0
        self._monitor.wake_all(_WAITING)
        self._monitor.wake_all(_COMING)

    def _raise_if_failed(self, number: int) -> None:
        if self._words[_OUTCOMES + number % _OUTCOMES] == _FAILED:
            self._raise_broken()

    def _raise_broken(self) -> None:
        pid = identity.pid_of(self._words[_CULPRIT])
        if pid:
            raise BrokenBarrierError(f"process {pid} died while the others waited for it at this barrier")
        raise BrokenBarrierError
