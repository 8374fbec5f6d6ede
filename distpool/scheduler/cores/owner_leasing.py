"""Which workers an owner has, and which it wants of whom: levels, agents, and a lease's way from hello to farewell.

::

    ask ──► WantLeases ──► agent ──► LeaseHello ──► SETTING_UP ── SetupDone ──► READY ── retire ──► RETIRING
               ▲             │                           │                        │                    │
               │             └── LeaseElsewhere          └────────── forget ◄─────┴── lose_link: LOST ─┘
               └── the level of another node

A level is said once for each node, and again when the link to that node's agent comes back. A worker's death needs no
word from us: the level still stands. It counts those that stay on that node, and those that are on their way out and
work off what they have, as its agent does: if one of these were left out, the agent would take it for the one that is
wanted, and start none in the place of another that goes.

Not here: what lies with a worker (``owner_offers``, ``owner_outcomes``), and what the end of its workers means for a
pool (``owner_pools``).
"""

from __future__ import annotations

from distpool.scheduler.cores.tasks import Lease, LeaseState, Output, Pool
from distpool.scheduler.limits import Limits
from distpool.scheduler.messages import (
    Dial,
    KillWorker,
    LeaseElsewhere,
    LeaseHello,
    NodeDrains,
    Retire,
    ReturnLease,
    Setup,
    WantLeases,
    WorkerGone,
    WorkerUp,
)

LINK_LOST = "its link to the owner was lost"


class Leasing:
    """A part of ``OwnerCore``: it shares what the core says (``out``)."""

    def __init__(self, limits: Limits, out: Output) -> None:
        self.home = ""  # the agent to ask first: the first that said welcome
        self.agents: dict[str, str] = {}  # node -> address of an agent that said welcome
        self.leases: dict[str, Lease] = {}
        self.timed: dict[str, Lease] = {}  # those with tasks whose time is limited: see ``owner_limits``
        self.unheard: dict[str, float] = {}  # those that ended before their first word came, and when
        self._limits = limits
        self._out = out

    # ------------------------------------------------------------------------------------ levels

    def ask(self, pool: Pool) -> None:
        """Say the level of leases wanted, where it has changed. Shared pools want as many as they have tasks for."""
        if not self.home or not pool.live or is_borrowed(pool):
            return
        if pool.dedicated:
            level = pool.size + pool.working_off
        else:
            have = pool.counted
            unserved = pool.pending - len(pool.ranks.idle)
            wanted = _power_of_two_above(have + unserved) if unserved > 0 else have
            level = min(pool.size, max(have, wanted))
        at_home = pool.wanted.get(self.home)
        level = max(0, level - pool.wanted_in_all + (at_home or 0))
        if at_home != level:
            self._want(pool, self.home, level)

    def _want(self, pool: Pool, node: str, count: int) -> None:
        if not pool.live:
            return  # that it is dropped is the last that its agents hear of it: a level would bring it back to life
        pool.wanted_in_all += count - pool.wanted.get(node, 0)
        pool.wanted[node] = count
        if node in self.agents:
            spilled = node != self.home
            once = pool.actor is not None and not pool.actor.restarts
            elsewhere = pool.wanted_in_all - count if pool.strategy.kind == "spread" and not spilled else 0
            want = WantLeases(
                pool.pool, count, pool.dedicated, pool.resources, spilled, pool.strategy, once, elsewhere
            )
            self._out.append((f"agent:{node}", want))

    def ask_elsewhere(self, asked: str, pool: Pool, message: LeaseElsewhere) -> None:
        """The agent of node ``asked`` points to another one."""
        moved = min(message.count, pool.wanted.get(asked, 0))
        if not moved or message.node == asked or message.wanted != pool.wanted[asked]:
            return
        self._want(pool, asked, pool.wanted[asked] - moved)
        if message.node not in self.agents:
            self._out.append(("links", Dial(message.node, message.address)))
        self._want(pool, message.node, pool.wanted.get(message.node, 0) + moved)

    # ------------------------------------------------------------------------------------ agents

    def welcome(self, node: str, address: str) -> None:
        """The link to an agent is up, for the first time or again: what was said before may not have arrived."""
        self.agents[node] = address
        if not self.home:
            self.home = node
        for lease in self.leases.values():
            if lease.state is LeaseState.LOST and lease.node == node:
                self.kill(lease, LINK_LOST)

    def say_again(self, pool: Pool, node: str) -> None:
        """Say this agent what the pool wants of it."""
        if node in pool.wanted:
            self._want(pool, node, pool.wanted[node])
        self.ask(pool)

    def lose_node(self, node: str) -> list[Lease]:
        """A node is gone with all that ran on it. Returns the leases that were on it."""
        self.agents.pop(node, None)
        if node == self.home:
            self.home = next(iter(self.agents), "")
        return [lease for lease in self.leases.values() if lease.node == node]

    def lose_agents(self) -> None:
        """No agent can be had any more."""
        self.agents.clear()
        self.home = ""

    def want_nothing(self, pool: Pool, node: str) -> None:
        """What the pool wanted of a lost node is to be had elsewhere."""
        pool.wanted_in_all -= pool.wanted.pop(node, 0)

    def leave(self, pool: Pool, node: str) -> None:
        """A node is about to go: what the pool wants of it is wanted by way of home, and its workers go when they can.

        An actor stays: there would be two of it for a while.
        """
        if is_borrowed(pool) or (pool.actor is not None and pool.leases):
            return
        there = [lease for lease in pool.leases.values() if lease.node == node]
        go = [lease for lease in there if lease.state is LeaseState.READY]
        if node != self.home:
            left = sum(_works_off(lease) or (lease in go and bool(lease.offered)) for lease in there)
            if pool.wanted.get(node, 0) > left:
                if self.home:
                    self._out.append((f"agent:{self.home}", NodeDrains(node)))  # or it may point there again
                self._want(pool, node, left)
        for lease in go:
            if node == self.home:
                self.retire(lease)
            else:
                self._retire(lease)
        self.ask(pool)

    # ------------------------------------------------------------------------------------ leases

    def hello(self, pool: Pool, message: LeaseHello, now: float) -> None:
        """A worker has come: send it what it must do before any task."""
        lease = Lease(message.lease, pool, message.node, message.pid, pool.max_tasks or -1, now)
        self.leases[message.lease] = pool.leases[message.lease] = lease
        pool.staying += 1
        terms = None if pool.actor is None else pool.actor.terms
        setup = Setup(pool.setup, pool.memory_bytes_max, self_contained=pool.self_contained, actor=terms)
        self._out.append((lease.data, setup))
        self._out.append(("app", WorkerUp(pool.pool, lease.lease, lease.pid, lease.node)))

    def ended_unheard(self, lease: str, now: float) -> None:
        """A worker's end is told before its first word has come, by another link: that word counts no more.

        What is on its way for longer than a silent node is given is lost, and so its link.
        """
        for name, since_s in list(self.unheard.items()):
            if since_s + self._limits.node_silent_s > now:
                break
            del self.unheard[name]
        self.unheard[lease] = now

    def turn_away(self, message: LeaseHello) -> None:
        """A worker whose first word crossed ours that its pool is dropped, or the news of its end."""
        self._out.append((f"worker:{message.lease}", Retire()))

    def ready(self, lease: Lease, now: float) -> None:
        """A worker's set-up is done."""
        lease.state = LeaseState.READY
        lease.heard_s = now
        lease.pool.ranks.rank(lease)
        lease.pool.ready += 1

    def retire(self, lease: Lease) -> None:
        """Let a worker finish what it has and go. The level stands, so the agent replaces it where that is wanted.

        Its agent hears of it when nothing is left there but exit handlers, which have a grace; tasks have none.
        """
        if not lease.pool.dedicated and not lease.offered:
            self._want_less(lease)  # before it goes, or it may be replaced first
        self._retire(lease)

    def retire_surplus(self, lease: Lease) -> None:
        """Let one go that a pool has too many, and have its node not replace it."""
        if not lease.offered:
            self._want_less(lease)  # else when it has worked off what it has
        self._retire(lease)
        self.ask(lease.pool)

    def _retire(self, lease: Lease) -> None:
        """The level of its node is as it is to be. While it works off what it has, another takes its place."""
        _leave(lease, LeaseState.RETIRING)
        if lease.pool.dedicated and lease.offered:
            self.ask(lease.pool)
        self._out.append((lease.data, Retire()))
        self.give_back(lease, counted=False)

    def _want_less(self, lease: Lease) -> None:
        """Have its node not replace it. At home a dedicated pool's level follows from its size: see ``ask``."""
        pool, node = lease.pool, lease.node
        if not (pool.dedicated and node == self.home):
            self._want(pool, node, max(0, pool.wanted.get(node, 0) - 1))

    def is_uncounted(self, lease: Lease) -> bool:
        """Whether its node has more of the pool's workers than it was asked for.

        It saw one go that was retired before it heard that fewer are wanted, and has replaced it.
        """
        pool = lease.pool
        if is_borrowed(pool):
            return False
        count = sum(_counts(other) for other in pool.leases.values() if other.node == lease.node)
        return count > pool.wanted.get(lease.node, 0)

    def retire_uncounted(self, lease: Lease) -> None:
        """Let one go that no level asks for."""
        _leave(lease, LeaseState.RETIRING)
        self._out.append((lease.data, Retire()))
        self.give_back(lease, counted=False)

    def give_back(self, lease: Lease, *, counted: bool = True) -> None:
        """Tell its agent, once, that a retiring worker has nothing left to do; if it was counted until now, no more."""
        if not lease.offered and not lease.returned:
            _done(lease)
            if counted:
                self._want_less(lease)
            if lease.pool.dedicated:
                self.ask(lease.pool)
            if not is_borrowed(lease.pool):
                self._out.append((f"agent:{lease.node}", ReturnLease(lease.lease)))

    def retire_all(self, pool: Pool) -> None:
        """Its agents know that the pool is dropped, and wait for its workers to go."""
        for lease in pool.leases.values():
            if lease.state is not LeaseState.RETIRING:
                _leave(lease, LeaseState.RETIRING)
                self._out.append((lease.data, Retire()))
            _done(lease)

    def lose_link(self, lease: Lease) -> None:
        """A worker's link is gone though nobody saw it die. It gets nothing more; its agent will say what it ran."""
        self._leave_for_good(lease)
        self.kill(lease, LINK_LOST)

    def kill(self, lease: Lease, reason: str, only: int = 0) -> None:
        """Have a worker killed, with ``only`` if it runs this attempt; its death will be told."""
        if not is_borrowed(lease.pool):
            self._out.append((f"agent:{lease.node}", KillWorker(lease.lease, reason, only)))

    def forget(self, lease: Lease, exit_code: int) -> None:
        """A worker is gone."""
        self._leave_for_good(lease)
        del self.leases[lease.lease]
        del lease.pool.leases[lease.lease]
        self.timed.pop(lease.lease, None)
        self._out.append(("app", WorkerGone(lease.pool.pool, lease.lease, lease.pid, exit_code)))

    def _leave_for_good(self, lease: Lease) -> None:
        """It works nothing off any more, if it did."""
        counted = lease.pool.dedicated and _works_off(lease)
        _leave(lease, LeaseState.LOST)
        if counted:
            self._want_less(lease)
            self.ask(lease.pool)


def is_borrowed(pool: Pool) -> bool:
    """Whether it stands for an actor whose worker is another owner's."""
    return pool.actor is not None and pool.actor.borrow is not None


def _works_off(lease: Lease) -> bool:
    """Whether a worker on its way out has something left to do, and its agent has not heard of it."""
    return lease.state is LeaseState.RETIRING and not lease.returned


def _counts(lease: Lease) -> bool:
    """Whether it is in its node's level."""
    return lease.state <= LeaseState.READY or _works_off(lease)


def _done(lease: Lease) -> None:
    """A retiring worker counts no more at its agent."""
    lease.pool.working_off -= _works_off(lease)
    lease.returned = True


def _leave(lease: Lease, state: LeaseState) -> None:
    """The worker is on its way out."""
    pool = lease.pool
    pool.working_off += (state is LeaseState.RETIRING and not lease.returned) - _works_off(lease)
    if lease.state <= LeaseState.READY:
        pool.staying -= 1
    if lease.state is LeaseState.READY:
        pool.ranks.rank(lease, hidden=True)
        pool.ready -= 1
    if state is LeaseState.LOST and lease.recalling:
        lease.recalling = False  # its answer will not come
        pool.recalling -= 1
    lease.state = state


def _power_of_two_above(count: int) -> int:
    """Levels grow in powers of two, so that their messages grow with the logarithm of the tasks."""
    return 1 << (count - 1).bit_length() if count > 0 else 0
