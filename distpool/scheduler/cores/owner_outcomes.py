"""How a task that was offered comes back: done, failed, cancelled, or into the queue to be offered again.

::

    Results ─────────────────────► take ──────► Done, Failed
    Recalled, a death, a loss ───► requeue ───► head of the queue, uncharged
    a death while it ran ────────► charge ────► the queue while it has retries: its head, then its end; or Failed
    ... for want of memory ──────► charge ────► rests for a moment first, longer each time
    CancelTasks ─────────────────► cancel ────► Failed at once (pending); Recall, Interrupt, a kill (offered)
    its time is up ──────────────► overdue ───► Failed at once; Interrupt, a kill                (``owner_limits``)

An answer names its attempt, and counts only if the lease that it came from still has that attempt. Whatever ends a task
lets go of its arguments. Not here: which worker gets a task (``owner_offers``), and what a death means for the pool
(``owner_pools``). ``take`` is half of the hot path: its loop touches nothing that it need not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from distpool.scheduler.cores.ahead import updated_mean_s
from distpool.scheduler.cores.deadlines import Alarm
from distpool.scheduler.cores.tasks import HEAVY_BYTES, Cancel, Lease, LeaseState, Output, Pool, Task
from distpool.scheduler.limits import Limits
from distpool.scheduler.messages import (
    OUT_OF_MEMORY,
    ActorDown,
    CancelTasks,
    Death,
    Done,
    Failed,
    Interrupt,
    PoolBroken,
    Recall,
    Results,
)

#: A task that has died for want of memory rests twice as long each time, up to so often.
RESTS_DOUBLED_MAX = 6


class Outcomes:
    """A part of ``OwnerCore``: it shares what the core says (``out``) and its alarm."""

    def __init__(self, limits: Limits, out: Output, alarm: Alarm) -> None:
        #: attempt -> when the worker of this lease is killed, if the attempt is still with it
        self.kill_at: dict[int, tuple[float, str]] = {}
        #: tasks that are to be in their pool's queue again, and when
        self.resting: dict[Task, float] = {}
        self._limits = limits
        self._out = out
        self._alarm = alarm

    # ------------------------------------------------------------------------------ answers come

    def take(self, lease: Lease, message: Results, now: float) -> None:
        """Pass on what counts. What answers refer to was claimed when they were decoded, so the others just go."""
        pool, offered = lease.pool, lease.offered
        had = len(offered)
        tasks: list[Task] = []
        values: list[Any] = []
        may_be_lost = message.stored and pool.self_contained
        for attempt, value in zip(message.attempts, message.values, strict=True):
            task = offered.pop(attempt, None)
            if task is None:
                continue  # a late answer names an attempt that this worker no longer has
            if task.size > HEAVY_BYTES:
                lease.heavy_bytes -= task.size
            if may_be_lost and task.retries and task.origin is None:
                task.origin = task.payload, task.keep
            task.lease = task.payload = task.keep = None
            if task.cancel >= Cancel.RUNNING:
                self._cancelled(task)
                continue
            tasks.append(task)
            values.append(value)
        pool.offered -= had - len(offered)
        if tasks:
            self._out.append(("app", Done(tasks, values)))
        if message.failed:
            self._take_errors(lease, message.failed)
        if lease.stalled and lease.state is LeaseState.READY:
            pool.ranks.rank(lease)
        else:
            pool.ranks.update(lease)
        count = len(message.attempts) + len(message.failed)
        lease.received += count
        if lease.careful:
            lease.unsettled_bytes += sum([len(v) for v in message.values if type(v) is bytes])
        if message.busy_s > 0.0:
            pool.mean_s = updated_mean_s(pool.mean_s, message.busy_s, count)
        lease.heard_s = now
        lease.stalled = False

    def _take_errors(self, lease: Lease, failed: list[tuple[int, bytes]]) -> None:
        for attempt, error in failed:
            task = lease.offered.pop(attempt, None)
            if task is None:
                continue
            self._unoffer(lease, task)
            if task.cancel >= Cancel.RUNNING:
                self._cancelled(task)
            else:
                self._fail(task, error=error)

    # --------------------------------------------------------------------------- tasks come back

    def requeue(self, lease: Lease, attempts: Iterable[int]) -> int:
        """Attempts that did not start go back to the head of the queue, in the order in which they came.

        Returns how many of them this worker still had.
        """
        offered = lease.offered
        back = [task for attempt in sorted(attempts) if (task := offered.pop(attempt, None))]
        keep = []
        for task in back:
            self._unoffer(lease, task)
            if task.cancel:
                self._cancelled(task)
            else:
                keep.append(task)
        lease.pool.queue.extendleft(reversed(keep))
        lease.pool.ranks.update(lease)
        return len(back)

    def spare(self, lease: Lease, running: int) -> None:
        """A worker was killed for another attempt than the one that ran when it died: that one pays nothing."""
        task = lease.offered.get(running)
        if task is not None and running != lease.doomed and not task.careful:
            self.requeue(lease, (running,))

    def charge(self, lease: Lease, attempt: int, death: Death, now: float) -> None:
        """Only the running task pays for its worker's death; one that ended the process itself fails at once."""
        task = lease.offered.pop(attempt, None)
        if task is None:
            return
        self._unoffer(lease, task)
        if task.cancel:
            self._cancelled(task)
        elif task.retries > 0 and death.signal:
            task.retries -= 1
            task.deaths += 1
            if death.kind == OUT_OF_MEMORY:
                self._rest(lease.pool, task, now)
            else:
                _line_up_again(lease.pool, task)
        else:
            self._fail(task, death=death, kind=death.kind)

    def _rest(self, pool: Pool, task: Task, now: float) -> None:
        """Its worker had taken too much memory: others get some time to give theirs back."""
        rest_s = self._limits.memory_rest_s * 2 ** min(task.deaths - 1, RESTS_DOUBLED_MAX)
        self.resting[task] = now + rest_s
        pool.resting += 1
        self._alarm.ask(now + rest_s)

    def rested(self, now: float, pools: Mapping[int, Pool]) -> list[Pool]:
        """Tasks that have rested long enough are pending again. Returns their pools."""
        woken: dict[int, Pool] = {}
        for task, at_s in list(self.resting.items()):
            if at_s > now:
                self._alarm.ask(at_s)
                continue
            del self.resting[task]
            pool = woken[task.pool] = pools[task.pool]
            pool.resting -= 1
            _line_up_again(pool, task)
        return list(woken.values())

    def lose(self, lease: Lease, reason: str) -> None:
        """Nobody can tell what ran: repeat what may be repeated, charge nothing."""
        unsafe = [task for task in lease.offered.values() if task.careful and not task.cancel]
        for task in unsafe:
            del lease.offered[task.attempt]
            self._unoffer(lease, task)
            self._fail(task, reason=f"{reason}, and it may have run (retries=0)")
        self.requeue(lease, lease.offered)

    def _unoffer(self, lease: Lease, task: Task) -> None:
        if task.size > HEAVY_BYTES:
            lease.heavy_bytes -= task.size
        self.kill_at.pop(task.attempt, None)
        task.lease = None
        lease.pool.offered -= 1

    # -------------------------------------------------------------------------------- tasks fail

    def _fail(
        self,
        task: Task,
        *,
        error: bytes | None = None,
        death: Death | None = None,
        reason: str = "",
        kind: str = "",
    ) -> None:
        was_its_death = death is not None and not reason
        arguments = task.payload if was_its_death and type(task.payload) is list else None
        task.payload = task.keep = None
        self._out.append(("app", Failed(task, error, death, reason, kind=kind, arguments=arguments)))

    def _cancelled(self, task: Task) -> None:
        self.kill_at.pop(task.attempt, None)
        if task.cancel is Cancel.OVERDUE:
            task.payload = task.keep = None  # and it has been told
        else:
            self._fail(task, reason="cancelled")

    def refuse(self, pool: Pool | None, tasks: Iterable[Task]) -> None:
        """Tasks for a pool that takes none: they crossed its end on their way here."""
        broken = pool.failure if pool is not None else None
        for task in tasks:
            if broken is not None:
                self._fail_alike(task, broken)
            else:
                self._fail(task, reason="the pool is closed")

    def fail_with_actor(self, lease: Lease, attempts: Iterable[int], down: ActorDown) -> None:
        """These calls had begun when the actor's worker died, and are not to be repeated: see ``owner_actors``."""
        for attempt in attempts:
            task = lease.offered.pop(attempt)
            self._unoffer(lease, task)
            if task.cancel:
                self._cancelled(task)
            else:
                self._fail(task, error=down.error, death=down.death, reason=down.reason, kind=down.kind)

    def _fail_alike(self, task: Task, broken: PoolBroken) -> None:
        self._fail(task, error=broken.error, death=broken.death, reason=broken.reason, kind=broken.kind)

    def fail_all(self, pool: Pool, broken: PoolBroken) -> None:
        """Every task of the pool that has no outcome yet gets this one."""
        for lease in pool.leases.values():
            for task in lease.offered.values():
                lease.keep.append(task.keep)  # its worker may be reading it until it is dead
                self._unoffer(lease, task)
                if task.cancel is not Cancel.OVERDUE:
                    self._fail_alike(task, broken)
            lease.offered.clear()
            pool.ranks.update(lease)
        for task in [task for task in self.resting if task.pool == pool.pool] if pool.resting else ():
            del self.resting[task]
            self._fail_alike(task, broken)
        pool.resting = 0
        for task in pool.queue:
            if not task.cancel:
                self._fail_alike(task, broken)
        pool.queue.clear()
        pool.stale = 0

    # -------------------------------------------------------------------------------- cancelling

    def cancel(self, message: CancelTasks, pools: Mapping[int, Pool], now: float) -> list[Pool]:
        """End what is pending at once, and ask workers for the rest. Returns the pools whose tasks these are."""
        wanted = Cancel.RUNNING if message.running else Cancel.UNSTARTED
        recalls: dict[str, list[int]] = {}
        for task in message.tasks:
            pool = pools.get(task.pool)
            if task.payload is None or task.cancel >= wanted or pool is None:
                continue  # done, or on its way out already
            was, task.cancel = task.cancel, wanted
            if self.resting.pop(task, None) is not None:
                pool.resting -= 1
                self._fail(task, reason="cancelled")
            elif task.lease is None and not was:
                pool.stale += 1
                self._fail(task, reason="cancelled")
            elif task.lease is not None:
                recalls.setdefault(task.lease.control, []).append(task.attempt)
                if message.running and (pool.actor is None or message.force):
                    self._kill_later(task.lease, task.attempt, now, 0.0 if message.force else None)
        for control, attempts in recalls.items():
            self._out.append((control, Recall(0, tuple(attempts))))
            if message.running and not message.force:
                self._out.extend((control, Interrupt(attempt, message.recursive)) for attempt in attempts)
        touched = [pools[number] for number in {task.pool for task in message.tasks} if number in pools]
        for pool in touched:
            _sweep(pool)
        return touched

    def overdue(self, lease: Lease, task: Task, now: float) -> None:
        """A task that runs there has had its time: its submitter hears of it now, its worker is to be rid of it."""
        task.cancel = Cancel.OVERDUE
        self._out.append(("app", Failed(task, overdue=True)))
        self._out.append((lease.control, Interrupt(task.attempt)))
        self._kill_later(lease, task.attempt, now)

    def _kill_later(self, lease: Lease, attempt: int, now: float, grace_s: float | None = None) -> None:
        at_s = now + (self._limits.cancel_grace_s if grace_s is None else grace_s)
        self.kill_at[attempt] = (at_s, lease.lease)
        self._alarm.ask(at_s)

    def deaf(self, now: float) -> list[tuple[int, str]]:
        """Attempts that were to stop and have not within their grace, and the leases that they are with.

        They are named again after another grace: a kill spares a worker that runs something else at that moment.
        """
        deaf = []
        for attempt, (at_s, lease) in list(self.kill_at.items()):
            if at_s <= now:
                deaf.append((attempt, lease))
                at_s = now + self._limits.cancel_grace_s
                self.kill_at[attempt] = (at_s, lease)
            self._alarm.ask(at_s)
        return deaf


def _sweep(pool: Pool) -> None:
    """Drop the cancelled tasks from a queue that is mostly made of them."""
    if pool.stale * 2 > len(pool.queue):
        pool.queue = deque(task for task in pool.queue if not task.cancel)
        pool.stale = 0


def _line_up_again(pool: Pool, task: Task) -> None:
    """Before the others, as it came first; behind them from its second death on, or they might wait for ever."""
    if task.deaths > 1:
        pool.queue.append(task)
    else:
        pool.queue.appendleft(task)
