"""OwnerCore: decides which task goes to which leased worker, and what becomes of it when things go wrong.

It is a driver's, or a worker's that submits tasks itself. It is not a queue of messages, knows no socket and no clock:
``receive(sender, message, now)`` returns what is to be sent. The states of a task and what moves it are drawn in
ARCHITECTURE.md.

::

    OpenPool ──► WantLeases ──► LeaseHello ──► Setup ──► SetupDone ──► READY
    Submit ──► queue ──► Execute ──► Results ──► Done
                 ▲          │
                 └──────────┴── Recalled, WorkerDied, LinkLost, NodeLost

This module is the table of what happens at each message. Seven parts do it, and share records (``tasks``) and one
list of what is said::

    owner_offers     which worker gets which of the pending tasks, and what is taken back from it
    owner_outcomes   how an offered task comes back: done, failed, cancelled, or pending again
    owner_limits     which of the running tasks have had their time
    owner_leasing    which workers there are, and which are wanted of whom
    owner_idling     which shared workers are kept though there is no work for them
    owner_pools      a pool's life; it ends tasks and leases through the two before
    owner_actors     pools that are actors: restarts, and calls from other owners

Batches are the hot path: ``Submit`` and ``Results`` carry thousands of tasks, and two loops run over them, in
``Offers`` and in ``Outcomes.take``. The invariants are in ``owner_check``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from distpool.scheduler.cores.deadlines import Alarm
from distpool.scheduler.cores.head_groups import NOT_PLACED
from distpool.scheduler.cores.owner_actors import Actors
from distpool.scheduler.cores.owner_idling import Idling
from distpool.scheduler.cores.owner_leasing import Leasing, is_borrowed
from distpool.scheduler.cores.owner_limits import TimeLimits
from distpool.scheduler.cores.owner_near import Near
from distpool.scheduler.cores.owner_offers import Offers
from distpool.scheduler.cores.owner_outcomes import Outcomes
from distpool.scheduler.cores.owner_pools import PoolLife
from distpool.scheduler.cores.tasks import Cancel, Lease, LeaseState, Output, Pool, PoolState, Task
from distpool.scheduler.limits import Limits
from distpool.scheduler.messages import (
    GROUP_REMOVED,
    ActorDown,
    ActorExit,
    AgentWelcome,
    CancelTasks,
    ClosePool,
    ClusterLost,
    Consumed,
    ControlHello,
    Death,
    EndActor,
    HangUp,
    KillActor,
    LeaseElsewhere,
    LeaseHello,
    LeaseRefused,
    Leaving,
    LinkLost,
    NodeDrains,
    NodeLost,
    OpenPool,
    OwnerHello,
    PoolDropped,
    Pressed,
    Read,
    Recalled,
    Reclaim,
    ResizePool,
    Results,
    Seen,
    SetupDone,
    Submit,
    TerminatePool,
    Tick,
    WantActor,
    WorkerDied,
    WornOut,
    Yielded,
    Yields,
)

#: Why a worker is killed that does not let go of its task.
DEAF = {
    Cancel.RUNNING: "its task was cancelled and did not stop",
    Cancel.OVERDUE: "its task ran for longer than its time-out and did not stop",
}


class OwnerCore:
    """The state machine of one owner. ``address`` is where its workers dial it.

    An owner that is itself a worker says so (``node``, ``worker``), so that what it has goes when it dies.
    """

    def __init__(
        self, owner: str, address: str, pid: int, limits: Limits, node: str = "", worker: int = 0
    ) -> None:
        self.owner = owner
        self.address = address
        self.pid = pid
        self.limits = limits
        self.node = node
        self.worker = worker
        self.store = 0  # the number of its node's object store, if it has a part in it
        self.incarnation = 0
        self._out: Output = []
        self.alarm = Alarm(self._out)
        self.leasing = Leasing(limits, self._out)
        self.offers = Offers(limits, self._out, self.alarm, self.leasing.timed)
        self.outcomes = Outcomes(limits, self._out, self.alarm)
        self.time_limits = TimeLimits(self._out, self.alarm, self.offers, self.outcomes, self.leasing.timed)
        self.idling = Idling(limits, self.alarm)
        self.near = Near(limits, self.alarm, self.leasing)
        self.pool_life = PoolLife(limits, self._out, self.outcomes, self.leasing)
        self.actors = Actors(self._out, self.outcomes, self.leasing, self.pool_life)
        self.pools = self.pool_life.pools
        self.leases = self.leasing.leases
        self.agents = self.leasing.agents
        self._handlers: dict[type, Callable[[str, Any, float], None]] = {
            OpenPool: self._on_open_pool,
            Submit: self._on_submit,
            CancelTasks: self._on_cancel,
            ClosePool: self._on_close,
            TerminatePool: self._on_terminate,
            ResizePool: self._on_resize,
            AgentWelcome: self._on_welcome,
            LeaseElsewhere: self._on_elsewhere,
            LeaseRefused: self._on_refused,
            PoolDropped: self._on_pool_dropped,
            WorkerDied: self._on_worker_died,
            LeaseHello: self._on_lease_hello,
            ControlHello: self._on_control_hello,
            SetupDone: self._on_setup_done,
            Results: self._on_results,
            Yielded: self._on_yielded,
            Read: self._on_read,
            Recalled: self._on_recalled,
            WornOut: self._on_worn_out,
            KillActor: self._on_kill_actor,
            ActorExit: self._on_actor_exit,
            WantActor: self._on_want_actor,
            ActorDown: self._on_actor_down,
            EndActor: self._on_end_actor,
            Seen: self._on_seen,
            Leaving: self._on_leaving,
            Pressed: self._on_pressed,
            Reclaim: self._on_reclaim,
            LinkLost: self._on_link_lost,
            NodeLost: self._on_node_lost,
            NodeDrains: self._on_node_drains,
            ClusterLost: self._on_cluster_lost,
            Tick: self._on_tick,
        }

    def receive(self, sender: str, message: Any, now: float) -> Output:
        """Take in one message and return the messages that it causes, in the order in which they must be sent."""
        self._handlers[type(message)](sender, message, now)
        out = self._out[:]
        self._out.clear()
        return out

    @property
    def home(self) -> str:
        """The node whose agent is asked first, "" while there is none."""
        return self.leasing.home

    def hello(self) -> OwnerHello:
        """The first word on a new link to an agent."""
        self.incarnation += 1
        held = [name for name, lease in self.leases.items() if not is_borrowed(lease.pool)]
        held += self.actors.early()
        return OwnerHello(
            self.owner,
            self.pid,
            self.incarnation,
            self.address,
            tuple(held),
            self.node,
            self.worker,
            self.store,
        )

    def unfinished(self, *pools: Pool) -> list[Task]:
        """The tasks of these pools that have not ended: queued, offered, or resting before another try."""
        numbers = {pool.pool for pool in pools}
        tasks = [task for task in self.outcomes.resting if task.pool in numbers]
        for pool in pools:
            tasks += pool.queue
            for lease in pool.leases.values():
                tasks += lease.offered.values()
        return tasks

    def check(self) -> None:
        """Assert every invariant; for tests and the simulator."""
        from distpool.scheduler.cores.owner_check import check_owner

        check_owner(self)

    # ------------------------------------------------------------------- tasks come, run and end

    def _on_submit(self, _sender: str, message: Submit, now: float) -> None:
        pool = self.pools.get(message.pool)
        if pool is None or pool.state is not PoolState.OPEN:
            self.outcomes.refuse(pool, message.tasks)
            return
        self._take_in(pool, message.tasks, now)
        if pool.beside:
            self.near.came(pool, self.pools.get(pool.beside), now)

    def _take_in(self, pool: Pool, tasks: list[Task], now: float) -> None:
        wanted = self.offers.take_in(pool, tasks)
        if not pool.dedicated:
            self.leasing.ask(pool)  # as many as there are tasks waiting, so first
        if wanted:
            self.offers.spread(pool, now)

    def _on_results(self, sender: str, message: Results, now: float) -> None:
        lease = self.leases.get(_name_in(sender))
        if lease is None:
            return  # of a worker that is no longer ours
        self.outcomes.take(lease, message, now)
        self._after_work(lease, now)

    def _on_yielded(self, sender: str, message: Yielded, now: float) -> None:
        lease = self.leases.get(_name_in(sender))
        task = None if lease is None else lease.offered.get(message.attempt)
        if lease is not None and task is not None and task.cancel < Cancel.RUNNING:
            lease.heard_s = now
            self._out.append(("app", Yields(task, message.index, message.value, message.error)))

    def _on_read(self, _sender: str, message: Read, _now: float) -> None:
        task: Task = message.task
        if task.lease is not None:
            self._out.append((task.lease.control, Consumed(task.attempt, message.count)))

    def _after_work(self, lease: Lease, now: float) -> None:
        """A worker has room again: give it more, or take some from another for it, or let it go."""
        pool = lease.pool
        if lease.state is LeaseState.RETIRING:
            self.leasing.give_back(lease)
        if pool.state is not PoolState.OPEN:
            self.pool_life.drop_if_done(pool)
            if not pool.live:
                return
        if pool.queue and lease.state is LeaseState.READY:
            if self.idling.pressed and self.idling.turn_is_over(lease, now):
                if not lease.offered:
                    self.leasing.retire(lease)
                    self.leasing.ask(pool)
                return
            self.offers.top_up(lease, now)
        if lease.offered or lease.state is not LeaseState.READY:
            return
        if lease.tasks_left == 0:
            self.leasing.retire(lease)
        elif not pool.pending:
            may_get_some = pool.offered and self.offers.steal(pool)
            if not pool.dedicated:
                if not may_get_some and pool.wanted_in_all > pool.counted:
                    self.leasing.ask(pool)  # there is no work for more
                self.idling.rest(lease, now)  # in any case: who was asked for some may die before it answers

    def _on_recalled(self, sender: str, message: Recalled, now: float) -> None:
        lease = self.leases.get(_name_in(sender))
        if lease is None:
            return
        pool = lease.pool
        count = self.outcomes.requeue(lease, message.attempts)
        self.offers.recalled(lease, count, now)
        self._offer_again(pool, now)
        if not lease.offered:
            self._after_work(lease, now)
        if pool.ranks.idle and not pool.dedicated and not pool.pending and pool.live:
            self.offers.steal(pool)  # what they were waiting for has gone to others

    def _on_worn_out(self, sender: str, message: WornOut, now: float) -> None:
        lease = self.leases.get(_name_in(sender))
        if lease is None:
            return
        self.outcomes.requeue(lease, message.attempts)
        if lease.state is LeaseState.READY:
            self.leasing.retire(lease)
        self._after_work(lease, now)
        if lease.pool.live:
            self._offer_again(lease.pool, now)

    def _on_seen(self, _sender: str, message: Seen, now: float) -> None:
        lease = self.leases.get(message.lease)
        if lease is not None:
            self.time_limits.seen(lease, message, now)

    def _on_pressed(self, sender: str, message: Pressed, now: float) -> None:
        self.idling.press(_name_in(sender), message, now)

    def _on_leaving(self, _sender: str, _message: Leaving, now: float) -> None:
        self.idling.leave(now)

    def _on_reclaim(self, _sender: str, message: Reclaim, _now: float) -> None:
        lease = self.leases.get(message.lease)
        if lease is not None and lease.state is LeaseState.READY and not lease.pool.dedicated:
            self.leasing.retire(lease)
            self.leasing.ask(lease.pool)

    def _offer_again(self, pool: Pool, now: float) -> None:
        """Tasks have come back to the queue."""
        if not pool.dedicated:
            self.leasing.ask(pool)
        self.offers.spread(pool, now)

    def _on_cancel(self, _sender: str, message: CancelTasks, now: float) -> None:
        for pool in self.outcomes.cancel(message, self.pools, now):
            self.pool_life.drop_if_done(pool)

    def _on_tick(self, _sender: str, _message: Tick, now: float) -> None:
        self.alarm.rang()
        for attempt, name in self.outcomes.deaf(now):
            lease = self.leases.get(name)
            if lease is not None and attempt in lease.offered:
                lease.doomed = attempt
                self.leasing.kill(lease, DEAF[lease.offered[attempt].cancel], attempt)
        for pool in self.outcomes.rested(now, self.pools) if self.outcomes.resting else ():
            self._offer_again(pool, now)
        for lease in self.idling.due(now):
            self.leasing.retire(lease)
        for pool, beside, tasks in self.near.due(now, self.pools):
            self.leasing.ask(pool)
            self._take_in(beside, tasks, now)
        self.time_limits.look(now)
        for pool in self.pools.values():
            self.offers.recall_from_silent(pool, now)

    # ---------------------------------------------------------------------------- workers come

    def _on_lease_hello(self, _sender: str, message: LeaseHello, now: float) -> None:
        pool = self.pools.get(message.pool)
        if pool is None or not pool.live or message.lease in self.leasing.unheard:
            self.leasing.turn_away(message)
        elif message.node not in self.agents and not is_borrowed(pool):
            self.leasing.turn_away(message)  # of a node that was lost: nobody would tell us of its death
        elif pool.actor is not None:
            self.actors.hello(pool, message, now)
        else:
            self.leasing.hello(pool, message, now)

    def _on_control_hello(self, _sender: str, _message: ControlHello, _now: float) -> None:
        """The control link needs no state: what is sent before it is up waits in the shell."""

    def _on_setup_done(self, sender: str, message: SetupDone, now: float) -> None:
        lease = self.leases.get(_name_in(sender))
        if lease is None or lease.state is not LeaseState.SETTING_UP:
            return
        pool = lease.pool
        if message.error is not None and pool.actor is not None:
            self.actors.constructor_failed(pool, message.error)
            return
        if message.error is not None:
            self.pool_life.setup_failed(pool, message.error, None)
            if pool.state is not PoolState.BROKEN:
                self.leasing.retire(lease)
            return
        pool.setup_failures = 0
        self.leasing.ready(lease, now)
        if pool.actor is not None:
            self.actors.up(lease)
        self.pool_life.look_whether_ready(pool)
        if pool.state is PoolState.DROPPED:
            return  # it was closed, and waited only for its workers' set-up
        if self.leasing.is_uncounted(lease):
            self.leasing.retire_uncounted(lease)
        elif pool.staying > pool.size:
            self.leasing.retire_surplus(lease)  # it was made smaller meanwhile, or had one more elsewhere
        else:
            self._after_work(lease, now)

    # ------------------------------------------------------------------------------ workers go

    def _on_worker_died(self, _sender: str, message: WorkerDied, now: float) -> None:
        lease = self.leases.get(message.lease)
        if lease is None:
            pool = self.pools.get(message.pool)
            self.actors.forget_early(message.lease)
            if pool is not None and pool.live:
                self.leasing.ended_unheard(message.lease, now)
                self._set_up_in_vain(pool, message.death)
            return
        pool = lease.pool
        if pool.actor is not None:
            self.actors.died(lease, message)
            self._after_loss(pool, now)
            return
        for answers in message.answers:
            self.outcomes.take(lease, answers, now)
        if not message.certain:
            self._lose(lease, "its node does not know it any more")
            self._after_loss(pool, now)
            return
        was_setting_up = lease.state is LeaseState.SETTING_UP
        self.leasing.forget(lease, message.death.exit_code)
        if lease.doomed in lease.offered and message.death.reason:
            self.outcomes.spare(lease, message.running)
        unstarted = [attempt for attempt in lease.offered if attempt != message.running]
        self.outcomes.requeue(lease, unstarted)
        self.outcomes.charge(lease, message.running, message.death, now)
        if was_setting_up and pool.live:
            self._set_up_in_vain(pool, message.death)
        self._after_loss(pool, now)

    def _set_up_in_vain(self, pool: Pool, death: Death) -> None:
        """A worker has died before it was ready. That its bundle goes to another node is not the set-up's doing."""
        if death.reason != NOT_PLACED:
            self.pool_life.setup_failed(pool, None, death)

    def _lose(self, lease: Lease, reason: str) -> None:
        """A worker is lost, and nobody saw how it ended."""
        if lease.pool.actor is not None:
            self.actors.lost(lease, reason)
            return
        self.leasing.forget(lease, 0)
        self.outcomes.lose(lease, reason)

    def _after_loss(self, pool: Pool, now: float) -> None:
        if pool.actor is not None and not is_borrowed(pool):
            self.actors.greet(pool, now)
        self.pool_life.drop_if_done(pool)
        if pool.live:
            self._offer_again(pool, now)

    def _on_link_lost(self, sender: str, _message: LinkLost, _now: float) -> None:
        if sender.startswith("peer:"):
            self.actors.owner_gone(_name_in(sender))
            return
        lease = self.leases.get(_name_in(sender))
        if lease is not None and is_borrowed(lease.pool):
            self.actors.lost(lease, "the link to its worker was lost")
        elif lease is not None:
            self.leasing.lose_link(lease)
        else:
            self.actors.lose_early(_name_in(sender))

    def _on_node_lost(self, sender: str, message: NodeLost, now: float) -> None:
        node = message.node
        if sender.startswith("agent:"):
            # It may only be cut off from the head. What it still has of ours counts no more, so it is told to end it.
            self._out.append(("links", HangUp(node)))
        self.idling.forget(node)
        self.actors.lose_early_on(node)
        for lease in self.leasing.lose_node(node):
            self._lose(lease, f"node {node} was lost")
        for pool in list(self.pools.values()):
            self.leasing.want_nothing(pool, node)
            self.pool_life.dropped(pool, node)
            if pool.live:
                self.leasing.ask(pool)
                self._after_loss(pool, now)

    def _on_node_drains(self, _sender: str, message: NodeDrains, _now: float) -> None:
        for pool in list(self.pools.values()):
            if pool.live:
                self.leasing.leave(pool, message.node)

    # --------------------------------------------------------------------------------- agents

    def _on_welcome(self, sender: str, message: AgentWelcome, _now: float) -> None:
        self.pool_life.lost = ""
        self.leasing.welcome(message.node, sender)
        self.idling.forget(message.node)
        for pool in self.pools.values():
            self.pool_life.say_again(pool, message.node)
            if pool.live:
                self.leasing.say_again(pool, message.node)

    def _on_elsewhere(self, sender: str, message: LeaseElsewhere, _now: float) -> None:
        pool = self.pools.get(message.pool)
        if pool is not None and pool.live:
            self.leasing.ask_elsewhere(_name_in(sender), pool, message)

    def _on_refused(self, _sender: str, message: LeaseRefused, _now: float) -> None:
        pool = self.pools.get(message.pool)
        if pool is not None and pool.live:
            kind = message.kind
            if pool.actor is not None:
                kind = f"actor {kind}" if kind == GROUP_REMOVED else ""
            self.pool_life.break_pool(pool, None, None, message.reason, kind)

    def _on_cluster_lost(self, _sender: str, message: ClusterLost, _now: float) -> None:
        self.pool_life.lose_cluster(message.reason)

    # --------------------------------------------------------------------------------- pools

    def _on_open_pool(self, _sender: str, message: OpenPool, _now: float) -> None:
        self.pool_life.open(message)
        if message.actor is not None:
            self.actors.opened(self.pools[message.pool])

    def _on_resize(self, _sender: str, message: ResizePool, now: float) -> None:
        pool = self.pools.get(message.pool)
        if pool is not None and pool.state is PoolState.OPEN:
            self.pool_life.resize(pool, message.size)
            self._offer_again(pool, now)

    def _on_close(self, _sender: str, message: ClosePool, _now: float) -> None:
        self.pool_life.close(message)

    def _on_terminate(self, _sender: str, message: TerminatePool, _now: float) -> None:
        self.pool_life.terminate(message)

    # --------------------------------------------------------------------------------- actors

    def _on_kill_actor(self, _sender: str, message: KillActor, _now: float) -> None:
        pool = self.pools.get(message.pool)
        if pool is not None:
            self.actors.kill(pool, message.restart)

    def _on_actor_exit(self, sender: str, _message: ActorExit, _now: float) -> None:
        lease = self.leases.get(_name_in(sender))
        if lease is not None:
            self.actors.exited(lease)

    def _on_want_actor(self, sender: str, message: WantActor, _now: float) -> None:
        self.actors.wanted(_name_in(sender), message)

    def _on_actor_down(self, sender: str, message: ActorDown, now: float) -> None:
        pool = self.actors.down(_name_in(sender), message, now)
        if pool is not None:
            self._after_loss(pool, now)

    def _on_end_actor(self, _sender: str, message: EndActor, _now: float) -> None:
        self.actors.end(message)

    def _on_pool_dropped(self, sender: str, message: PoolDropped, _now: float) -> None:
        pool = self.pools.get(message.pool)
        if pool is not None:
            self.pool_life.dropped(pool, _name_in(sender))


def _name_in(address: str) -> str:
    """What follows the kind: the lease in "worker:LEASE" and "control:LEASE", the node in "agent:NODE"."""
    return address.partition(":")[2]
