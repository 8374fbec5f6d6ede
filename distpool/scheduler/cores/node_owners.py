"""What owners say to a node, and what becomes of their pools and workers when they drop one, or are lost.

::

    OwnerHello ──► here ── LinkLost ──► lost: all that it has is killed ── OwnerHello ──► here: it is squared up, and
                    │                     │  what it does not hear is      says its levels     hears who has died
                    │                     │  kept for it (``untold``)          again
                    └── OwnerBye, or its  └── ``lost_owner_s`` are over ──► final ── its last worker is reaped ──► gone
                        process has died

    WantLeases: a level ──► its pool ── DropPool ──► level 0, workers retire or are killed ── all reaped ──► PoolDropped

A level is said in full each time, so a word that is lost needs no other repair than saying it again. A part of
``NodeCore``. Not here: what is granted (``node_granting``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from distpool.scheduler.cores.node_records import Lease, Owner, WantedPool
from distpool.scheduler.cores.resources import to_floats, to_units
from distpool.scheduler.messages import (
    AgentWelcome,
    Blocked,
    Death,
    DropPool,
    FactsQuery,
    GroupQuery,
    HeadQuestion,
    Inquired,
    KeyDelete,
    KeyGet,
    KeyList,
    KeyPut,
    KeySwap,
    KillWorker,
    Lingers,
    LinkLost,
    MakeGroup,
    Message,
    NodeDrains,
    OwnerBye,
    OwnerHello,
    PoolDropped,
    Pressed,
    RemoveGroup,
    RequestResources,
    ReturnLease,
    Survey,
    WantLeases,
    WorkerDied,
)

if TYPE_CHECKING:
    from distpool.scheduler.cores.node import NodeCore


class OwnerLinks:
    """A part of ``NodeCore``, which it is given."""

    def __init__(self, core: NodeCore) -> None:
        self._core = core

    def hear(self, name: str, message: Message, now: float) -> None:
        """An owner speaks."""
        core = self._core
        if isinstance(message, OwnerHello):
            self._hello(name, message)
            return
        owner = core.owners.get(name)
        if owner is None or owner.lost:
            return  # the last words of one that is gone
        match message:
            case WantLeases():
                self._want(owner, message, now)
            case ReturnLease(lease=lease):
                if (mine := self._lease_of(owner, lease)) is not None:
                    core.processes.give_back(mine, now)
            case KillWorker(lease=lease, reason=reason):
                if (mine := self._lease_of(owner, lease)) is not None:
                    core.processes.kill(mine.worker, reason)
            case DropPool(pool=number, kill=kill):
                self._drop(owner, number, kill, now)
            case Blocked(lease=lease, blocked=blocked):
                if lease in core.leases:  # said by the task's own owner, or by the worker that runs it
                    core.lending.block(core.leases[lease], blocked, now)
            case (
                FactsQuery() | KeyPut() | KeyGet() | KeyDelete() | KeySwap() | KeyList()
                | MakeGroup() | RemoveGroup() | GroupQuery() | Survey() | RequestResources()
            ):  # fmt: skip
                self._ask_head(owner, message)
            case NodeDrains(node=node):
                core.head.drains(node)
            case Inquired():
                core.surveys.heard(f"owner:{name}", message)
            case Lingers():
                core.lending.linger(owner)
            case OwnerBye():
                self.end(owner, final=True)
            case LinkLost():
                self.end(owner, final=False)
                core.deadlines.set(("owner", name), now + core.limits.lost_owner_s)
            case _:
                raise AssertionError(f"an owner does not say {message}")

    def _ask_head(self, owner: Owner, question: HeadQuestion) -> None:
        """Pass a question on. What the head keeps in somebody's name goes with that owner: see ``end``."""
        head = self._core.head
        head.ask(owner.name, question)
        claimants = []
        if isinstance(question, KeyPut | KeyDelete | KeySwap | MakeGroup | GroupQuery | RequestResources):
            claimants.append(owner.name)
        if isinstance(question, KeyPut) and question.owner:
            claimants.append(question.owner)
        for claimant in dict.fromkeys(claimants):
            head.claimants.add(claimant)
            known = self._core.owners.get(claimant)
            if known is None or known.lost:
                head.owner_gone(claimant)  # it has ended before this was said

    def _lease_of(self, owner: Owner, name: str) -> Lease | None:
        lease = self._core.leases.get(name)
        return lease if lease is not None and lease.pool.owner is owner else None

    def worker_of(self, owner: str, lease: str) -> int | None:
        """The number of the worker that serves this lease of this owner's."""
        known = self._core.owners.get(owner)
        mine = None if known is None else self._lease_of(known, lease)
        return None if mine is None else mine.worker.number

    # ---------------------------------------------------------------------------------- it comes

    def _hello(self, name: str, hello: OwnerHello) -> None:
        core = self._core
        owner = core.owners.get(name)
        if owner is not None and hello.incarnation <= owner.incarnation:
            return  # a late word of an earlier link
        worker = hello.worker if hello.node == core.node else 0
        if worker and worker not in core.workers:
            return  # the last word of a worker that is dead already
        core.send(f"owner:{name}", self._welcome())
        if owner is None:
            foreign = hello.node not in ("", core.node)
            owner = Owner(
                name,
                hello.incarnation,
                hello.pid,
                hello.address,
                worker,
                foreign,
                store=hello.store,
                guest=hello.guest,
            )
            core.owners[name] = owner
        else:
            owner.incarnation, owner.address = hello.incarnation, hello.address
            owner.lost = owner.final = False
            owner.pressed, core.pressure.news = Pressed(False), True
            core.deadlines.clear(("owner", name))
        self._square_up(owner, set(hello.held))
        core.draining.tell(owner)

    def _welcome(self) -> AgentWelcome:
        core = self._core
        total = to_floats(core.total)
        return AgentWelcome(core.node, core.pid, core.host, total.get("CPU", 0.0), total, core.has_port)

    def _square_up(self, owner: Owner, held: set[str]) -> None:
        """An owner is back: end what it does not count on, and tell what it counts on in vain."""
        core = self._core
        told = set()
        for died in owner.untold:
            if died.lease in held:
                core.send(f"owner:{owner.name}", died)
                told.add(died.lease)
        owner.untold = []
        for pool in list(owner.pools.values()):
            pool.count = 0  # it says its levels again
            for lease in pool.leases.values():
                if lease.name not in held or lease.worker.doomed:
                    lease.returned = True
                    core.processes.kill(lease.worker, "its owner does not count on it any more")
            core.granting.look(pool)
        for name in sorted(held - told - core.leases.keys()):
            if name.rpartition(".")[0].rpartition(".")[0] == core.node:
                death = Death(0, core.host, 0, 0, reason="its node does not know it any more")
                core.send(f"owner:{owner.name}", WorkerDied(name, 0, death, 0, certain=False))

    # --------------------------------------------------------------------------------- its pools

    def _want(self, owner: Owner, want: WantLeases, now: float) -> None:
        core = self._core
        pool = owner.pools.get(want.pool)
        if pool is None:
            pool = owner.pools[want.pool] = WantedPool(owner, want.pool)
        try:
            pool.need = to_units(want.resources)
        except ValueError as error:
            core.granting.refuse(pool, str(error))
            return
        more = want.count > pool.count
        if pool.elsewhere and want.elsewhere < pool.followed + pool.elsewhere:
            pool.last = pool.before  # the owner's level had changed meanwhile, and nobody has gone there
        pool.followed = want.elsewhere
        if more and want.spilled:
            core.draining.tell(owner)
        pool.count, pool.dedicated, pool.resources = want.count, want.dedicated, want.resources
        pool.spilled, pool.elsewhere, pool.dropping, pool.asked_s = want.spilled, 0, False, now
        pool.strategy, pool.once = want.strategy, want.once
        if more and pool.strategy.kind == "group":
            core.groups.wants_more(pool, now)
        if want.count > (most := core.limits.workers_max):
            asked = f"{want.count} workers were asked for, and a node runs at most {most}; ask for fewer"
            core.granting.refuse(pool, asked)
            return
        core.granting.look(pool)

    def _drop(self, owner: Owner, number: int, kill: bool, now: float) -> None:
        core = self._core
        pool = owner.pools.get(number)
        if pool is None:
            core.send(f"owner:{owner.name}", PoolDropped(number))
            return
        pool.dropping, pool.count = True, 0
        core.granting.look(pool)
        for lease in list(pool.leases.values()):
            if kill:
                core.processes.kill(lease.worker, "its pool was terminated")
            elif lease.worker.greeted:
                core.processes.give_back(lease, now)
            else:
                core.processes.kill(lease.worker, "its pool was closed before it had started")
        self.settle(pool)

    def settle(self, pool: WantedPool) -> None:
        """Forget a pool that is not wanted any more and has no leases left; say so if that was asked."""
        core, owner = self._core, pool.owner
        if pool.leases or pool.count or not (pool.dropping or owner.lost):
            return
        if owner.pools.pop(pool.number, None) is not None and pool.dropping and not owner.lost:
            core.send(f"owner:{owner.name}", PoolDropped(pool.number))
        core.granting.look(pool)
        core.deadlines.clear(("pool", pool.key))
        core.deadlines.clear(("group", pool.key))

    # ---------------------------------------------------------------------------------- it is gone

    def end(self, owner: Owner, *, final: bool) -> None:
        """Kill all that an owner has. One whose link was lost may come back and ask what became of its leases."""
        core = self._core
        owner.lost, owner.final = True, final
        core.head.owner_gone(owner.name)
        core.surveys.gone(f"owner:{owner.name}")
        if final:
            owner.untold = []
            core.deadlines.clear(("owner", owner.name))
        for pool in list(owner.pools.values()):
            pool.count = 0
            core.granting.look(pool)
            for lease in pool.leases.values():
                core.processes.kill(lease.worker, "its owner is gone")
            self.settle(pool)
        self.forget_if_over(owner)

    def forget_if_over(self, owner: Owner) -> None:
        """It will not come back, and nothing of it is left."""
        if owner.final and not owner.pools:
            self._core.owners.pop(owner.name, None)
