"""Shared workers that have nothing to do, and how long they are kept for what may come next; whose turn is over.

::

    has nothing to do, nothing pending ── rest ──► idle since ── due, linger_s later ──► retired by the owner
                                                      └── got work meanwhile: rests anew when that is done

A worker that was given back has to be forked again for the next task, which costs a hundred times what a task costs;
one that is kept holds resources that others may wait for. So one is kept for a while, and for a short while only
where its agent has said that somebody waits. What one agent says is of its node only: others may be calm.
"""

from __future__ import annotations

from distpool.scheduler.cores.deadlines import Alarm
from distpool.scheduler.cores.tasks import Lease, LeaseState
from distpool.scheduler.limits import Limits
from distpool.scheduler.messages import Pressed


class Idling:
    """A part of ``OwnerCore``: it shares the core's alarm."""

    def __init__(self, limits: Limits, alarm: Alarm) -> None:
        self.pressed: dict[str, Pressed] = {}  # nodes where others wait for what our leases hold
        self._limits = limits
        self._alarm = alarm
        self._since_s: dict[Lease, float] = {}
        self._leaving = False

    def rest(self, lease: Lease, now: float) -> None:
        """A worker has nothing to do from now on."""
        self._since_s[lease] = now
        self._alarm.ask(now + self._linger_s(lease))

    def rests(self, lease: Lease) -> bool:
        """Whether it will be given back in time, unless it gets work."""
        return lease in self._since_s and self._alarm.at_s > 0.0

    def resting(self) -> list[Lease]:
        """Workers that have nothing to do. May be asked from outside of a step."""
        return list(self._since_s)

    def _linger_s(self, lease: Lease) -> float:
        if self._leaving:
            return 0.0
        if self._is_pressed(lease):
            return self._limits.linger_pressed_s
        return lease.pool.linger_s or self._limits.linger_s

    def _is_pressed(self, lease: Lease) -> bool:
        pressed = self.pressed.get(lease.node)
        return pressed is not None and lease.pool.pool != pressed.but

    def turn_is_over(self, lease: Lease, now: float) -> bool:
        """Whether others wait for this lease, and it has been ours for long enough: it gets nothing more to do."""
        return (
            not lease.pool.dedicated
            and self._is_pressed(lease)
            and now >= lease.since_s + self._limits.turn_s
        )

    def press(self, node: str, pressed: Pressed, now: float) -> None:
        """Others wait for what our leases hold there, or do so no more."""
        if not pressed.pressed:
            self.forget(node)
            return
        self.pressed[node] = pressed
        if self._since_s:
            self._alarm.ask(now + self._limits.linger_pressed_s)

    def leave(self, now: float) -> None:
        """Nothing more will come: what rests is kept for nobody."""
        self._leaving = True
        if self._since_s:
            self._alarm.ask(now)

    def forget(self, node: str) -> None:
        """It is not known any more whether others wait there: its agent says so if they do."""
        self.pressed.pop(node, None)

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
