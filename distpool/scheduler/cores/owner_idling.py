"""Shared workers that have nothing to do, and how long they are kept for what may come next; whose turn is over.

::

    has nothing to do, nothing pending ── rest ──► idle since ── due, linger_s later ──► retired by the owner
                                                      └── got work meanwhile: rests anew when that is done

A worker that was given back has to be forked again for the next task, which costs a hundred times what a task costs;
one that is kept holds resources that others may wait for. So one is kept for a while, and for a short while only
where the agent has said that somebody waits.
"""

from __future__ import annotations

from distpool.scheduler.cores.deadlines import Alarm
from distpool.scheduler.cores.tasks import Lease, LeaseState
from distpool.scheduler.limits import Limits
from distpool.scheduler.messages import Pressed


class Idling:
    """A part of ``OwnerCore``: it shares the core's alarm."""

    def __init__(self, limits: Limits, alarm: Alarm) -> None:
        self.pressed = Pressed(False)  # whether others wait for what our leases hold
        self._limits = limits
        self._alarm = alarm
        self._since_s: dict[Lease, float] = {}

    def rest(self, lease: Lease, now: float) -> None:
        """A worker has nothing to do from now on."""
        self._since_s[lease] = now
        self._alarm.ask(now + self._linger_s(lease))

    def rests(self, lease: Lease) -> bool:
        """Whether it will be given back in time, unless it gets work."""
        return lease in self._since_s and self._alarm.at_s > 0.0

    def _linger_s(self, lease: Lease) -> float:
        if self._is_pressed(lease):
            return self._limits.linger_pressed_s
        return lease.pool.linger_s or self._limits.linger_s

    def _is_pressed(self, lease: Lease) -> bool:
        return self.pressed.pressed and lease.pool.pool != self.pressed.but

    def turn_is_over(self, lease: Lease, now: float) -> bool:
        """Whether others wait for this lease, and it has been ours for long enough: it gets nothing more to do."""
        return (
            self.pressed.pressed
            and not lease.pool.dedicated
            and self._is_pressed(lease)
            and now >= lease.since_s + self._limits.turn_s
        )

    def press(self, pressed: Pressed, now: float) -> None:
        """Others wait for what our leases hold, or do so no more."""
        self.pressed = pressed
        if pressed.pressed and self._since_s:
            self._alarm.ask(now + self._limits.linger_pressed_s)

    def due(self, now: float) -> list[Lease]:
        """Workers that have rested for long enough, and are forgotten here."""
        due = []
        for lease, since_s in list(self._since_s.items()):
            if lease.offered or lease.state is not LeaseState.READY:
                del self._since_s[lease]
            elif since_s + self._linger_s(lease) <= now:
                del self._since_s[lease]
                due.append(lease)
            else:
                self._alarm.ask(since_s + self._linger_s(lease))
        return due
