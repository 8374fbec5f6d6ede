"""Workers that lend what they have taken of their node: a task that waits for its own children lets them run with it.

::

    charged ── Blocked ──► lent ── it goes on ──► owed ── free, when its turn comes ──► charged
       │                    ▲                      └── not within ``turn_s`` ──► Reclaim: its owner gives the worker
       └── when another has ended ─┘                                             back, once that has done what it holds
    retired, and lingers for the sake of what it has called: free for others, for good

What is lent is bounded (``nested_workers_per_cpu_max``, and nothing more while memory is scarce): beyond that a task
waits with what it has. Where all wait for each other like that, and nothing runs that may end it, the owner hears the
chain instead of waiting for ever; where it is for want of memory, that may come back, not before a while. GPUs are
never lent, as a task's data stays in their memory.

A part of ``NodeCore``. Who waits like that is told by owners (``Blocked``), once for each wait that lasts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from distpool.scheduler.cores import devices
from distpool.scheduler.cores.node_memory import mib
from distpool.scheduler.cores.node_records import Lease, Owner, WantedPool
from distpool.scheduler.cores.resources import Amounts, add, fits, subtract, without
from distpool.scheduler.messages import Reclaim

if TYPE_CHECKING:
    from distpool.scheduler.cores.node import NodeCore


#: Of a long chain so many are named at each of its ends.
CHAIN_ENDS = 4


class Lending:
    """A part of ``NodeCore``, which it is given."""

    def __init__(self, core: NodeCore) -> None:
        self._core = core
        self.owed: dict[str, Lease] = {}  # no longer blocked, and not charged again yet

    # ------------------------------------------------------------------------------ lent, and owed

    def block(self, lease: Lease, blocked: bool, now: float) -> None:
        """A task that waits for its own children lends its resources, so that they can run; not without bound.

        When it goes on it takes back what is free, or does without for as long as a turn.
        """
        need = devices.lends(lease.need)
        if lease.blocked == blocked or lease.worker.lingers:
            return
        lease.blocked = blocked
        if blocked and lease.charged and need and self._may_lend():
            lease.charged = False
            add(lease.purse, need)
        elif blocked:
            self.owed.pop(lease.name, None)
        elif not lease.charged:
            self._owe(lease, now)

    def _owe(self, lease: Lease, now: float) -> None:
        self.owed[lease.name] = lease
        if not lease.pool.dedicated:
            self._core.deadlines.set(("owed", lease.name), now + self._core.limits.turn_s)

    def due(self, name: str, now: float) -> None:
        """This lease has been owed what it takes for as long as a turn."""
        if (lease := self.owed.get(name)) is not None:
            self._core.send(f"owner:{lease.pool.owner.name}", Reclaim(name))
            self._owe(lease, now)

    def charge_owed(self) -> Amounts:
        """Tasks that wait no more take their resources again, before anybody else. Returns what they still wait for."""
        reserved: Amounts = {}
        charged = False
        free = self._core.free
        for lease in list(self.owed.values()):
            in_group = lease.purse is not free
            need = devices.lends(lease.need)
            if fits(need, lease.purse if in_group else without(free, reserved)):
                subtract(lease.purse, need)
                lease.charged = charged = True
                del self.owed[lease.name]
            elif not in_group:
                add(reserved, need)
        if charged:
            self.lend_more()
        return reserved

    def linger(self, owner: Owner) -> None:
        """A retired worker stays for the sake of what it has called; what it had taken, but for GPUs, is free."""
        core = self._core
        worker = core.workers.get(owner.worker)
        if worker is None or worker.lingers or worker.doomed:
            return
        worker.lingers = True
        core.deadlines.clear(("worker", worker.number))
        lease = worker.lease
        self.owed.pop(lease.name, None)
        if lease.charged:
            lease.charged = False
            add(lease.purse, devices.lends(lease.need))

    # ------------------------------------------------------------------------------------- bounds

    def count(self) -> int:
        """How many leases do without their resources: blocked, or waiting to get them back."""
        return sum(not lease.charged and not lease.worker.lingers for lease in self._core.leases.values())

    def most(self) -> int:
        """How many leases may be lent at once."""
        return self._core.limits.nested_workers_per_cpu_max * max(1, self._core.cpus)

    def _may_lend(self) -> bool:
        return self._core.memory.scarce is None and self.count() < self.most()

    def lend_more(self) -> None:
        """One that was lent is so no more, or memory is not scarce any more: others, who had to wait, may lend now."""
        for lease in self._core.leases.values():
            need = devices.lends(lease.need)
            if lease.blocked and lease.charged and need and self._may_lend():
                lease.charged = False
                add(lease.purse, need)

    # ------------------------------------------------------------------------ who waits for whom

    def _lease_under(self, owner: Owner) -> Lease | None:
        """The lease whose worker this owner is, if it is one."""
        worker = self._core.workers.get(owner.worker)
        return worker.lease if worker is not None else None

    def depth(self, name: str) -> int:
        """How many tasks wait, one for the other, for what this owner wants to run."""
        owner, depth = self._core.owners[name], 0
        while (lease := self._lease_under(owner)) is not None and lease.blocked:
            owner, depth = lease.pool.owner, depth + 1
        return depth

    def exhausted_chain(self, pool: WantedPool, now: float) -> str | None:
        """Why an owner that is itself a blocked worker gets no workers; None if it only has to wait."""
        owner = pool.owner
        core = self._core
        lease = self._lease_under(owner)
        full = not core.processes.has_slot
        if lease is None or not (full or (lease.blocked and lease.charged and devices.lends(lease.need))):
            return None
        if any(_runs(other) for other in core.leases.values()):
            return None  # when that is done, there is room
        scarce = core.memory.scarce
        if scarce is not None and now < (patience_s := pool.asked_s + core.limits.node_silent_s):
            core.deadlines.set(("pool", pool.key), max(patience_s, pool.not_before_s))
            return None
        links = [owner.name]
        while lease is not None:
            owner = lease.pool.owner
            links.append(f"{owner.name} (lease {lease.name}, pid {lease.worker.pid})")
            lease = self._lease_under(owner)
        if len(links) > 2 * CHAIN_ENDS + 1:
            links[CHAIN_ENDS:-CHAIN_ENDS] = [f"({len(links) - 2 * CHAIN_ENDS} more)"]
        chain = " <- ".join(links)
        if scarce is not None and not full:
            many = f"{self.count() + 1} at once on this node, and for more there is no memory: "
            many += f"{mib(scarce.available_bytes)} of {mib(scarce.total_bytes)} are left"
        else:
            most = core.limits.workers_max if full else self.most()
            many = f"{most} workers at once on this node, and no more may"
        return (
            f"tasks wait for tasks that they started, {many}. Where a task returns the references of what it started "
            f"instead of waiting for it, it takes no worker meanwhile. The chain: {chain}"
        )


def _runs(lease: Lease) -> bool:
    """Whether what it has taken of the node may come back by itself."""
    return lease.charged and not lease.blocked and bool(devices.lends(lease.need))
