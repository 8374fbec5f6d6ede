"""Which worker gets how many of a pool's pending tasks, and what is taken back from it.

::

    pool.queue ── take_in, spread ──► those with least first, up to their share ──┐
         ▲                                                                        ├──► Execute
         │        top_up ───────────► the one that has done enough of its own ────┘
         └── Recalled ◄── Recall ◄── steal (another is idle), recall_from_silent (it runs something long)

How much lies ahead on a worker is policy, in ``ahead``. How a task ends, and how one comes back into the queue, is in
``owner_outcomes``. ``_offer`` is half of the hot path: its loop touches nothing that it need not.
"""

from __future__ import annotations

import math
from typing import Any

from distpool.scheduler.cores.ahead import fair_level, silence_s, tasks_ahead
from distpool.scheduler.cores.deadlines import Alarm
from distpool.scheduler.cores.tasks import HEAVY_BYTES, Lease, LeaseState, Output, Pool, Task
from distpool.scheduler.limits import Limits
from distpool.scheduler.messages import Execute, Recall

#: Answers that may lie in a worker's mailbox before it must run dry and empty it.
CAREFUL_ANSWERS_MAX = 256
#: Functions that a worker keeps at hand for one owner, at most.
FUNCTIONS_KEPT = 512


class Offers:
    """A part of ``OwnerCore``: it shares what the core says (``out``) and its alarm."""

    def __init__(self, limits: Limits, out: Output, alarm: Alarm, timed: dict[str, Lease]) -> None:
        self.next_attempt = 1
        self._timed = timed
        self._limits = limits
        self._out = out
        self._alarm = alarm

    def take_in(self, pool: Pool, tasks: list[Task]) -> bool:
        """New tasks. Returns whether somebody may take them: not if others wait already, and no share has grown."""
        nobody_waits = len(pool.queue) == pool.stale
        pool.queue.extend(tasks)
        return nobody_waits or _share(pool) > pool.share_tried

    def spread(self, pool: Pool, now: float) -> None:
        """Offer what is pending to the workers that have least, so that n tasks meet on n idle workers."""
        queue = pool.queue
        if not queue:
            return
        share = pool.share_tried = _share(pool)
        first = self.next_attempt
        idle = pool.ranks.idle
        while idle:
            lease = next(reversed(idle))  # the one that was at work last: it may not sleep yet
            self._fill(lease, share, now)
            if not queue:
                return
            if not lease.offered:
                break
        full = (pool.ahead or tasks_ahead(pool.mean_s, self._limits)) // 2
        least = 1
        for leases in pool.ranks.by_rank[1:]:
            if least > full or least >= share:
                return
            least *= 2
            for lease in list(leases):
                if next(reversed(lease.offered)) < first:  # it has got nothing just now
                    self._fill(lease, share, now)
                    if not queue:
                        return

    def top_up(self, lease: Lease, now: float) -> None:
        """Give a worker that has room again its share of the pending tasks."""
        pool = lease.pool
        share = _share(pool)
        if share < pool.share_tried:
            pool.share_tried = share
        self._fill(lease, share, now)

    def _fill(self, lease: Lease, share: int, now: float) -> None:
        """Top a worker up to its share of the pending work, if enough of what it had is done."""
        held = len(lease.offered)
        if held and (lease.stalled or lease.doomed in lease.offered or self._must_settle(lease)):
            return
        pool = lease.pool
        level = pool.ahead or tasks_ahead(pool.mean_s, self._limits)
        if held > level // 2:
            return  # batches, not a trickle
        level = min(level, share)
        if lease.tasks_left >= 0:
            level = min(level, held + lease.tasks_left)
        if level > held:
            self._offer(lease, level - held, now)
            if pool.ahead:  # a batch is of one kind; what comes after it may have to run beside it
                while pool.pending and held < len(lease.offered) < level:
                    held = len(lease.offered)
                    self._offer(lease, level - held, now)

    def _must_settle(self, lease: Lease) -> bool:
        """Whether a worker must run dry, so that it can empty its mailbox of answers that we have by now."""
        answers = lease.received - lease.settled
        return lease.careful and (
            answers >= CAREFUL_ANSWERS_MAX or lease.unsettled_bytes > self._limits.ahead_bytes_max
        )

    def _offer(self, lease: Lease, room: int, now: float) -> None:
        """Send up to ``room`` pending tasks to this worker, as one batch of consecutive attempts."""
        pool = lease.pool
        queue, offered, known = pool.queue, lease.offered, lease.functions
        functions: list[int] = []
        payloads: list[Any] = []
        blobs: dict[int, bytes] = {}
        was_idle = not offered
        first = attempt = self.next_attempt
        careful: bool | None = None
        limit_s = math.inf
        bytes_left = self._limits.ahead_bytes_max - lease.heavy_bytes
        while room and queue:
            task = queue[0]
            if task.cancel:
                queue.popleft()
                pool.stale -= 1
                continue
            if task.careful is not careful:
                if functions:
                    break
                careful = task.careful
            if task.size > HEAVY_BYTES:
                if task.size > bytes_left and offered:
                    break
                bytes_left -= task.size
                lease.heavy_bytes += task.size
            queue.popleft()
            room -= 1
            function = task.function
            if function not in known:
                blobs[function] = task.blob
                if function > 0:
                    known[function] = None
            if task.limit is not None and task.limit.limit_s < limit_s:
                limit_s = task.limit.limit_s
            functions.append(function)
            payloads.append(task.payload)
            task.attempt = attempt
            task.lease = lease
            offered[attempt] = task
            attempt += 1
        if not functions:
            return
        self.next_attempt = attempt
        pool.offered += len(functions)
        pool.ranks.update(lease)
        lease.careful = bool(careful) and pool.actor is None  # an actor's answers wait in no mailbox
        if was_idle:
            lease.heard_s = now  # its silence counts from here
            lease.settled, lease.unsettled_bytes = lease.received, 0
        if lease.tasks_left > 0:
            lease.tasks_left -= len(functions)
        forget = _forgotten(lease, functions) if len(known) > FUNCTIONS_KEPT else ()
        execute = Execute(first, functions, payloads, blobs, forget, lease.careful, lease.received)
        self._out.append((lease.data, execute))
        if len(offered) > 1:
            self._alarm.ask(now + self._limits.silent_s)
        if limit_s < math.inf:
            self._watch(lease, now + limit_s)

    def _watch(self, lease: Lease, at_s: float) -> None:
        """Nothing there can be overdue before this."""
        if not lease.look_s or at_s < lease.look_s:
            lease.look_s = at_s
            self._timed[lease.lease] = lease
            self._alarm.ask(at_s)

    # ------------------------------------------------------------------------------ taking back

    def steal(self, pool: Pool) -> bool:
        """A worker is idle: recall half of what one of the fullest has not started. Returns whether some may come."""
        if pool.recalling >= max(1, len(pool.ranks.idle)):
            return True  # it is on its way
        if pool.offered > len(pool.ranks.single):  # somebody may have more than the one task that runs
            for lease in pool.ranks.fullest():
                if not lease.recalling:
                    self.recall(lease, len(lease.offered) // 2)
                    break
        return pool.recalling > 0

    def recall_from_silent(self, pool: Pool, now: float) -> None:
        """What lies behind a task that runs for long comes back, and may run elsewhere."""
        if pool.offered == len(pool.ranks.single):
            return
        if pool.actor is not None:
            self._ask_for_answers(pool, now)
            return
        silence = silence_s(pool.mean_s, self._limits)
        heard_s = math.inf
        for lease in pool.leases.values():
            if len(lease.offered) > 1 and not lease.recalling and lease.state is not LeaseState.LOST:
                if now >= lease.heard_s + silence:
                    self.recall(lease, len(lease.offered))
                elif lease.heard_s < heard_s:
                    heard_s = lease.heard_s
        if heard_s < math.inf:
            self._alarm.ask(max(heard_s + silence, now + self._limits.silent_s))

    def _ask_for_answers(self, pool: Pool, now: float) -> None:
        """Nobody else can run an actor's calls; but answers may be held back behind one that runs for long.

        Where each has a thread of its own there are none, and one that was asked has none until it is heard of again.
        """
        if pool.actor is None or not (pool.actor.terms.one_by_one or pool.actor.terms.loop):
            return
        for lease in pool.leases.values():
            if len(lease.offered) < 2 or lease.asked_s == lease.heard_s or lease.state is LeaseState.LOST:
                continue
            at_s = lease.heard_s + silence_s(pool.mean_s, self._limits)
            if now >= at_s:
                lease.asked_s = lease.heard_s
                self._out.append((lease.control, Recall(0)))
            else:
                self._alarm.ask(max(at_s, now + self._limits.silent_s))

    def recall(self, lease: Lease, count: int) -> None:
        """Ask a worker for up to so many that it has not started."""
        lease.recalling = True
        lease.pool.recalling += 1
        self._out.append((lease.control, Recall(count)))

    def recalled(self, lease: Lease, count: int, now: float) -> None:
        """A Recall is answered, and ``count`` tasks are in the queue again.

        A worker that gave nothing back is offered no more, and not asked by the idle, until it has answered a task.
        """
        if lease.recalling:
            lease.recalling = False
            lease.pool.recalling -= 1
        if lease.tasks_left >= 0:
            lease.tasks_left += count
        lease.stalled = bool(lease.offered) and lease.pool.actor is None
        if lease.state is LeaseState.READY:
            lease.pool.ranks.rank(lease, hidden=lease.stalled and not count)
        if len(lease.offered) > 1 and lease.pool.actor is None:
            self._alarm.ask(now + self._limits.silent_s)  # it may have overtaken what it was meant for


def _share(pool: Pool) -> int:
    """What each worker would hold if all of the pool's work were spread evenly."""
    return fair_level(pool.pending, pool.offered, max(1, pool.staying))


def _forgotten(lease: Lease, needed: list[int]) -> tuple[int, ...]:
    """Half of the functions that the worker keeps, the oldest, but none that is about to run."""
    keep = set(needed)
    oldest = list(lease.functions)[: FUNCTIONS_KEPT // 2]
    forget = tuple([function for function in oldest if function not in keep])
    for function in forget:
        del lease.functions[function]
    return forget
