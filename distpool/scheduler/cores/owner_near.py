"""Calls that are to run near their data: on that node, if a worker there can be had in a moment; else anywhere.

::

    Submit ──► pool of workers near NODE ── waits for longer than ``near_s`` ──► the pool beside it, of workers anywhere
                  │
                  └── workers that the pool beside it has idle on NODE are given back: it is their room that is wanted

A part of ``OwnerCore``. Which calls these are is decided where they are submitted (``remote.shared_pools``), and where
the workers come from by the agents (``place``).
"""

from __future__ import annotations

from collections.abc import Mapping

from distpool.scheduler.cores.deadlines import Alarm
from distpool.scheduler.cores.owner_leasing import Leasing
from distpool.scheduler.cores.tasks import Pool, PoolState, Task
from distpool.scheduler.limits import Limits


class Near:
    """Which pools have had calls wait, and until when they may."""

    def __init__(self, limits: Limits, alarm: Alarm, leasing: Leasing) -> None:
        self.until_s: dict[int, float] = {}
        self._limits = limits
        self._alarm = alarm
        self._leasing = leasing

    def came(self, pool: Pool, beside: Pool | None, now: float) -> None:
        """Calls have come for a pool of workers near something."""
        if pool.pool not in self.until_s:
            self.until_s[pool.pool] = now + self._limits.near_s
            self._alarm.ask(now + self._limits.near_s)
        short = pool.pending - len(pool.ranks.idle)
        if beside is not None and short > 0:
            there = [lease for lease in beside.ranks.idle if lease.node == pool.strategy.node]
            for lease in there[:short]:
                self._leasing.retire(lease)

    def due(self, now: float, pools: Mapping[int, Pool]) -> list[tuple[Pool, Pool, list[Task]]]:
        """What has waited for too long, taken out of its pool: with that, and the pool beside it."""
        moved = []
        for number in [number for number, until_s in self.until_s.items() if until_s <= now]:
            del self.until_s[number]
            pool = pools.get(number)
            if pool is not None and pool.staying > pool.ready:
                self.until_s[number] = now + self._limits.near_s  # a worker there is about to be ready
                continue
            beside = None if pool is None else pools.get(pool.beside)
            if pool is None or beside is None or beside.state is not PoolState.OPEN or not pool.pending:
                continue
            tasks = [task for task in pool.queue if task.payload is not None]
            pool.queue.clear()
            pool.stale = 0
            for task in tasks:
                task.pool = beside.pool
            moved.append((pool, beside, tasks))
        if self.until_s:
            self._alarm.ask(min(self.until_s.values()))
        return moved
