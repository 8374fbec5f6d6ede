"""A pool's life: opened, ready, closed or terminated or broken, dropped at each agent, gone.

::

    open ──► OPEN ── close ──► CLOSING ── the last task is done ──► drop ──► DROPPED ── PoolDropped of each ──► PoolGone
               │                  │                                  ▲                  agent that was asked
               ├── terminate ─────┴── fail every task ───────────────┤
               └── break_pool ─────── fail every task, tell why ─────┴──► BROKEN, until it is closed too

"Gone" is said when every worker has been reaped, so whoever joins a pool can rely on it. A broken pool is remembered
for the tasks that are still on their way to it. Not here: what happens to single tasks and leases (``owner_outcomes``,
``owner_leasing``, on which this is built).
"""

from __future__ import annotations

from collections.abc import Callable

from distpool.scheduler.cores.ahead import calls_ahead
from distpool.scheduler.cores.load_ranks import LoadRanks
from distpool.scheduler.cores.owner_leasing import Leasing, is_borrowed
from distpool.scheduler.cores.owner_outcomes import Outcomes
from distpool.scheduler.cores.tasks import Actor, LeaseState, Output, Pool, PoolState
from distpool.scheduler.limits import Limits
from distpool.scheduler.messages import (
    ActorEnd,
    ClosePool,
    Death,
    DropPool,
    OpenPool,
    PoolBroken,
    PoolGone,
    PoolReady,
    TerminatePool,
)

#: So many times as often may workers die in their set-up while another worker of the pool is ready.
DEATHS_BESIDE_A_READY_ONE = 10


class PoolLife:
    """A part of ``OwnerCore``: it shares what the core says (``out``)."""

    def __init__(self, limits: Limits, out: Output, outcomes: Outcomes, leasing: Leasing) -> None:
        self.pools: dict[int, Pool] = {}
        self.lost = ""  # why there is no cluster, and none will come
        self.on_drop: Callable[[Pool], None] = _nothing  # before its workers are told; see ``owner_actors``
        self._limits = limits
        self._out = out
        self._outcomes = outcomes
        self._leasing = leasing

    # --------------------------------------------------------------------------------- beginning

    def open(self, message: OpenPool) -> None:
        """A pool begins to want workers; a shared one, when it has tasks."""
        terms = message.actor
        ahead = 0 if terms is None else calls_ahead(terms.concurrency, self._limits)
        pool = Pool(
            message.pool,
            message.size,
            message.setup,
            message.max_tasks,
            message.setup_attempts,
            message.dedicated,
            message.resources,
            LoadRanks(max(self._limits.ahead_tasks_max, self._limits.ahead_tasks_unknown, ahead)),
            message.memory_bytes_max,
            message.self_contained,
        )
        if terms is not None:
            pool.actor, pool.ahead = Actor(terms, message.restarts, message.borrow), ahead
        pool.strategy, pool.beside, pool.linger_s = message.strategy, message.beside, message.linger_s
        self.pools[pool.pool] = pool
        if self.lost:
            self.break_pool(pool, None, None, self.lost)
        elif pool.dedicated:
            self._leasing.ask(pool)

    def look_whether_ready(self, pool: Pool) -> None:
        """Say so once, when every worker has done its set-up; a pool that was closed before that may go now."""
        if not pool.ready_once and pool.ready >= pool.size:
            pool.ready_once = True
            self._out.append(("app", PoolReady(pool.pool)))
            self.drop_if_done(pool)

    def setup_failed(self, pool: Pool, error: bytes | None, death: Death | None) -> None:
        """Count a worker that never got ready. Where another works, set-up can succeed, and a death was bad luck."""
        pool.setup_failures += 1
        attempts = pool.setup_attempts
        if death is not None and pool.ready:
            attempts *= DEATHS_BESIDE_A_READY_ONE
        if pool.setup_failures < attempts:
            return
        if death is not None and pool.actor is not None and pool.actor.restarts:
            pool.actor.restarts -= pool.actor.restarts > 0  # a death as any other of the actor's
            return
        self.break_pool(pool, error, death, "its workers fail in their set-up")

    def resize(self, pool: Pool, size: int) -> None:
        """Retire what is too many; ask for what is missing.

        The idle go first, then those in their set-up, when that is done, then who has least, when its tasks are done.
        """
        pool.size = size
        self._leasing.ask(pool)
        surplus = max(0, pool.staying - size)
        ready = [lease for lease in pool.leases.values() if lease.state is LeaseState.READY]
        idle = sum(not lease.offered for lease in ready)
        if surplus > idle:
            surplus = max(idle, surplus - (pool.staying - pool.ready))
        for lease in sorted(ready, key=lambda lease: len(lease.offered))[:surplus]:
            self._leasing.retire_surplus(lease)
        self.look_whether_ready(pool)

    # ------------------------------------------------------------------------------------ ending

    def close(self, message: ClosePool) -> None:
        """No more tasks will come."""
        pool = self.pools.get(message.pool)
        if pool is None:
            self._out.append(("app", PoolGone(message.pool)))
        elif pool.state is PoolState.OPEN:
            pool.state = PoolState.CLOSING
            self.drop_if_done(pool)
        elif pool.state is PoolState.BROKEN:
            self._bury(pool)

    def drop_if_done(self, pool: Pool) -> None:
        """The last task of a closed pool is done: its workers may finish, and go.

        Each worker of a pool gets its set-up once, even if the pool is closed right after it was opened.
        """
        if pool.state is not PoolState.CLOSING or pool.pending or pool.offered or pool.resting:
            return
        if pool.dedicated and not pool.ready_once and not is_borrowed(pool):
            return
        self._drop(pool, kill=False)  # first, or the agent replaces those that leave
        self._leasing.retire_all(pool)

    def terminate(self, message: TerminatePool) -> None:
        """Drop a pool with all its tasks, and kill its workers."""
        pool = self.pools.get(message.pool)
        if pool is None:
            self._out.append(("app", PoolGone(message.pool)))
        elif pool.state is PoolState.BROKEN:
            self._bury(pool)
        else:
            self._outcomes.fail_all(pool, PoolBroken(pool.pool, None, None, "cancelled"))
            self._drop(pool, kill=True)

    def break_pool(
        self,
        pool: Pool,
        error: bytes | None,
        death: Death | None,
        reason: str,
        kind: str = "",
        *,
        kill: bool = True,
    ) -> None:
        """The pool cannot get workers: fail its tasks, and those that are still to come."""
        closing = pool.state is PoolState.CLOSING
        if pool.actor is not None and not kind:
            kind = ActorEnd.REFUSED if death is None else ActorEnd.DIED
        pool.failure = PoolBroken(pool.pool, error, death, reason, kind)
        self._out.append(("app", pool.failure))
        self._outcomes.fail_all(pool, pool.failure)
        self._drop(pool, kill=kill, state=PoolState.DROPPED if closing else PoolState.BROKEN)

    def _bury(self, pool: Pool) -> None:
        """A broken pool that is closed too need not be remembered for later tasks."""
        pool.state = PoolState.DROPPED
        self._gone_if_dropped(pool)

    # ---------------------------------------------------------------------------------- dropping

    def _drop(self, pool: Pool, *, kill: bool, state: PoolState = PoolState.DROPPED) -> None:
        """Tell every agent that was asked for leases; the pool is gone when each says that its workers are reaped."""
        if pool.live:
            pool.state = state
            self.on_drop(pool)
            pool.queue.clear()  # nothing but stale tasks
            pool.stale = 0
            pool.dropping = {node for node in pool.wanted if node in self._leasing.agents}
        elif pool.killing or not kill:
            return
        pool.killing = kill
        for node in sorted(pool.dropping):
            self._out.append((f"agent:{node}", DropPool(pool.pool, kill)))
        self._gone_if_dropped(pool)

    def say_again(self, pool: Pool, node: str) -> None:
        """The link to this agent is up again: say it once more if the pool is dropped there."""
        if node in pool.dropping:
            self._out.append((f"agent:{node}", DropPool(pool.pool, pool.killing)))

    def dropped(self, pool: Pool, node: str) -> None:
        """This node has reaped all workers of the pool, or is gone with them."""
        if node in pool.dropping:
            pool.dropping.discard(node)
            self._gone_if_dropped(pool)

    def lose_cluster(self, reason: str) -> None:
        """No agent will be had again: every pool is broken, and nobody is left to reap its workers."""
        self.lost = reason
        self._leasing.lose_agents()
        for pool in list(self.pools.values()):
            for node in list(pool.dropping):
                self.dropped(pool, node)
            if pool.live:
                self.break_pool(pool, None, None, reason)

    def _gone_if_dropped(self, pool: Pool) -> None:
        if pool.dropping or pool.live:
            return
        for lease in list(pool.leases.values()):
            self._leasing.forget(lease, 0)
        if pool.state is PoolState.DROPPED:
            del self.pools[pool.pool]
        self._out.append(("app", PoolGone(pool.pool)))


def _nothing(_pool: Pool) -> None:
    """There are no actors."""
