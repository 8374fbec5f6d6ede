"""Which running tasks have had their time (``Task.limit``), and how an owner comes to know.

A worker says nothing when it starts a task; its slot in shared memory does. So the owner counts from the earliest
instant at which something there may be overdue, and asks the agent what the slot shows, which works while the task
holds the GIL, ignores signals, or sits in C code::

    Execute ──► look_s ── Tick ──► LookAt ──► agent, slot ──► Seen(attempt, for_s)
                  ▲                                             │ in time: when may the next be late?
                  └─────────────────────────────────────────────┤
                                                                └─ overdue ──► Failed (told at once), Interrupt,
                                                                               and after the grace a kill

Only the attempt that the slot shows can be overdue, by the clock of its own node. What lies behind it is taken back and
nothing new is sent there, so that the kill, if it comes to that, meets nobody else.

Not here: the grace and the kill themselves, which are those of a cancelled task (``owner_outcomes``).
"""

from __future__ import annotations

import math

from distpool.scheduler.cores.deadlines import Alarm
from distpool.scheduler.cores.owner_offers import Offers
from distpool.scheduler.cores.owner_outcomes import Outcomes
from distpool.scheduler.cores.tasks import Cancel, Lease, LeaseState, Output, Task
from distpool.scheduler.messages import LookAt, Seen

#: A worker is looked at no more often than this.
LOOK_S_MIN = 0.005
#: A look that is not answered is repeated after so long: a link was down.
LOOK_AGAIN_S = 0.5


class TimeLimits:
    """A part of ``OwnerCore``: it shares what the core says (``out``) and its alarm."""

    def __init__(
        self, out: Output, alarm: Alarm, offers: Offers, outcomes: Outcomes, timed: dict[str, Lease]
    ) -> None:
        self._out = out
        self._alarm = alarm
        self._offers = offers
        self._outcomes = outcomes
        self._timed = timed

    def look(self, now: float) -> None:
        """Ask about the workers that may run something overdue by now."""
        for lease in list(self._timed.values()):
            if now < lease.look_s:
                self._alarm.ask(lease.look_s)
            elif lease.state is LeaseState.LOST or not any(map(_is_limited, lease.offered.values())):
                self.forget(lease)
            else:
                self._out.append((f"agent:{lease.node}", LookAt(lease.lease)))
                self._next(lease, now + LOOK_AGAIN_S)

    def forget(self, lease: Lease) -> None:
        """Nothing there is limited, or it is gone."""
        lease.look_s = 0.0
        self._timed.pop(lease.lease, None)

    def seen(self, lease: Lease, message: Seen, now: float) -> None:
        """What a slot shows: end what is overdue, and think of the next."""
        task = lease.offered.get(message.running)
        rest_s = math.inf
        if task is not None and task.limit is not None and task.cancel < Cancel.RUNNING:
            rest_s = task.limit.limit_s - message.for_s
            if rest_s <= 0.0:
                self._end(lease, task, now)
        # What starts from now on has all of its time.
        limits = [task.limit.limit_s for task in lease.offered.values() if task.limit and _is_limited(task)]
        if limits:
            left_s = min(*limits, rest_s) if rest_s > 0.0 else min(limits)
            self._next(lease, now + max(left_s, LOOK_S_MIN))
        else:
            self.forget(lease)

    def _next(self, lease: Lease, at_s: float) -> None:
        lease.look_s = at_s
        self._alarm.ask(at_s)

    def _end(self, lease: Lease, task: Task, now: float) -> None:
        lease.doomed = task.attempt
        if len(lease.offered) > 1 and not lease.recalling:
            self._offers.recall(lease, len(lease.offered))
        self._outcomes.overdue(lease, task, now)


def _is_limited(task: Task) -> bool:
    """Whether it may still turn out to be overdue."""
    return task.limit is not None and task.cancel < Cancel.RUNNING
