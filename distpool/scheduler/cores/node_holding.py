"""Room that a node makes for the bundles of one placement group that has long waited.

::

    head ── Reserve(wait_s) ──► hold ◄── whatever comes free, before anybody else (``fill``, each round of granting)
                                 ├── it has all: bundles ─► Reserved(granted)
                                 ├── ``wait_s`` are over, the node drains, it cannot come any more ─► Reserved(refused)
                                 └── Release, or the head is gone ─► nothing is held, and nobody is told

What is held is taken from the node's free resources, so nothing can be granted from it: no lease, no bundle of another
group. While it lacks something all owners of shared leases are told that others wait (``node_pressure``), so these come
back as their turns end. What a blocked task lends is taken too, as it is for a group that finds room at once; tasks
that wait no more take their resources again before (``reserved``), since their number only falls.

Devices are chosen at the end, since a share of one is no use for a whole one: until they are there all free GPUs are
held. Not here: whose turn it is (``head_groups``), and bundles that are set aside (``node_groups``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from distpool.scheduler.cores import devices
from distpool.scheduler.cores.node_records import Lease
from distpool.scheduler.cores.resources import Amounts, add, fits, subtract, to_floats, to_units, without
from distpool.scheduler.messages import Reserve, Reserved

if TYPE_CHECKING:
    from distpool.scheduler.cores.node import NodeCore

#: The node's deadline for it.
HOLD = ("hold", 0)


@dataclass(slots=True)
class Hold:
    """What is wanted, and what of it is there."""

    wanted: Reserve
    needs: dict[int, Amounts]
    whole: Amounts
    have: Amounts


class Holding:
    """A part of ``NodeCore``, which it is given."""

    def __init__(self, core: NodeCore) -> None:
        self.hold: Hold | None = None
        self._core = core

    def begin(self, wanted: Reserve, now: float) -> None:
        """Hold what comes free for these bundles. One group at a time: the head has given the last one up."""
        self.drop()
        needs = {index: to_units(bundle) for index, bundle in wanted.bundles.items()}
        whole: Amounts = {}
        for need in needs.values():
            add(whole, need)
        self.hold = Hold(wanted, needs, whole, {})
        self._core.deadlines.set(HOLD, now + wanted.wait_s)

    def fill(self, reserved: Amounts) -> None:
        """Take what is free, but for what is ``reserved``; have the bundles set aside once all is there."""
        core, hold = self._core, self.hold
        if hold is None:
            return
        if core.draining.on or not self._can_come(hold):
            self.refuse()
            return
        spare = without(core.free, reserved)
        for name, units in hold.whole.items():
            missing = units - hold.have.get(name, 0)
            taken = spare.get(name, 0) if name == devices.GPU else min(missing, spare.get(name, 0))
            subtract(core.free, {name: taken})
            add(hold.have, {name: taken})
        if fits(hold.whole, hold.have) and devices.for_each(hold.needs, core.free_gpus) is not None:
            self.drop()
            core.groups.reserve(hold.wanted)

    def _can_come(self, hold: Hold) -> bool:
        left, left_gpus = self.coming()
        return fits(hold.whole, left) and devices.for_each(hold.needs, left_gpus) is not None

    def coming(self) -> tuple[Amounts, Amounts]:
        """What would be free if nobody got anything new, and of which GPUs: what does not last, and is in no bundle."""
        core = self._core
        left, left_gpus = dict(core.total), dict(core.gpus)
        for pots in core.groups.pots.values():
            for pot in pots.values():
                subtract(left, pot.total)
                subtract(left_gpus, pot.gpus)
        for lease in self._staying():
            subtract(left_gpus, lease.gpus)
        return without(left, self.lasting()), left_gpus

    def lasting(self) -> Amounts:
        """What is held by those who give nothing back while others wait: workers that are their pool's own."""
        lasting: Amounts = {}
        for lease in self._staying():
            add(lasting, devices.keeps(lease.need) if lease.worker.lingers else lease.need)
        return lasting

    def _staying(self) -> Iterator[Lease]:
        core = self._core
        return (
            lease
            for lease in core.leases.values()
            if lease.pool.dedicated and lease.purse is core.free and not lease.returned
        )

    def refuse(self) -> None:
        """It does not come, or not in time."""
        assert self.hold is not None
        wanted = self.hold.wanted
        self.drop()
        core = self._core
        core.send("head", Reserved(wanted.group, wanted.round, False, to_floats(core.free)))

    def release(self, group: str) -> None:
        """The head has given it up."""
        if self.hold is not None and self.hold.wanted.group == group:
            self.drop()

    def drop(self) -> None:
        """Give back what is held."""
        if self.hold is not None:
            add(self._core.free, self.hold.have)
            self._core.deadlines.clear(HOLD)
            self.hold = None
