"""Which pool gets a node's next worker, and where what is wanted here is had instead.

::

    levels ── look ──► hungry: by owner, in turns ── grant, after each message ──► ``Processes.start``, here
                          ▲                            ├─► point_to: LeaseElsewhere, a node that has room, or is better
                          │                            ├─► refuse: LeaseRefused, what no node will ever have
                          └── its turn comes again ────┴─► it waits: what it misses is *reserved*

**Turns** go round the owners, first in first out within each. What an earlier one waits for is reserved, so that nobody
starves; unless actors and pools have so much that it cannot come while they live: then others may have the rest
meanwhile. What tasks are owed that have lent it comes before all (``node_lending``), and after that what is set aside
for a placement group (``node_holding``). Of several owners those come first for whom others wait.

**Where** is policy (``place``): here if that is as good as anywhere. Who was sent here by another node (``spilled``)
waits here, unless one has become free since. A part of ``NodeCore``.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from distpool.scheduler.cores import devices
from distpool.scheduler.cores.node_records import WantedPool
from distpool.scheduler.cores.place import Placed, home_is_best, may_be, place, refusal
from distpool.scheduler.cores.resources import (
    UNITS,
    Amounts,
    add,
    fits,
    how_often,
    to_floats,
    to_units,
    without,
)
from distpool.scheduler.messages import (
    UNSCHEDULABLE,
    LeaseElsewhere,
    LeaseRefused,
    NodeFacts,
    NodeLost,
    Strategy,
)

if TYPE_CHECKING:
    from distpool.scheduler.cores.node import NodeCore


class Granting:
    """A part of ``NodeCore``, which it is given."""

    def __init__(self, core: NodeCore) -> None:
        self._core = core
        self._coming: tuple[Amounts, Amounts] | None = (
            None  # what can come free, if somebody has asked this round
        )

    # --------------------------------------------------------------------------------- whose turn

    def look(self, pool: WantedPool) -> None:
        """Put a pool among the hungry if it misses leases, or take it off."""
        hungry, name = self._core.hungry, pool.owner.name
        if pool.missing > 0 and not pool.owner.lost:
            hungry.setdefault(name, {}).setdefault(pool.number, pool)
        elif name in hungry:
            hungry[name].pop(pool.number, None)
            if not hungry[name]:
                del hungry[name]

    def queued(self) -> int:
        """Leases that are wanted here and not granted."""
        return sum(pool.missing for pools in self._core.hungry.values() for pool in pools.values())

    def grant(self, now: float) -> None:
        """Whatever can be granted now."""
        core = self._core
        while (core.hungry or core.lending.owed or core.holding.hold) and self._grant_round(now):
            pass

    def _grant_round(self, now: float) -> bool:
        """One lease at most for each owner in turn. Returns whether another round may do more."""
        hungry = self._core.hungry
        self._coming = None
        reserved = self._core.lending.charge_owed()
        self._core.holding.fill(reserved)
        granted = False
        names = list(hungry)
        if len(names) > 1:  # what others wait for comes first, the deepest before all: so few wait at a time
            names.sort(key=self._core.lending.depth, reverse=True)
        for name in names:
            first = True
            for pool in list(hungry.get(name, {}).values()):
                if pool.not_before_s > now:
                    continue
                if self._grant_one(pool, reserved, now):
                    granted = True
                    if first and name in hungry:
                        hungry[name] = hungry.pop(name)  # to the end of the line
                    break
                first = False
        return granted

    def _grant_one(self, pool: WantedPool, reserved: Amounts, now: float) -> bool:
        core = self._core
        if pool.spilled and core.draining.on:
            return False  # its owner has been told, and looks elsewhere
        if pool.strategy.kind == "group":
            return core.groups.grant(pool, now)
        if pool.strategy.kind == "spread" and pool.elsewhere:
            return False  # one turn after the other: the owner moves that one first
        if _is_for_all(pool) and (other := self._roomier()) is not None:
            sent = self.point_to(pool, *other)
            pool.sent[other[0].node] = pool.sent.get(other[0].node, 0) + sent
            return True
        if pool.spilled and (freed := self._freed_elsewhere(pool, reserved, now)) is not None:
            self._send_on(pool, freed, how_often(pool.need, to_units(freed.available)), now)
            return True
        placed = self._place(pool, reserved)
        if placed is None:
            if not (self._may_come_again(pool) or core.scaling.may_be_started(pool)):
                self._refuse_in_time(pool, now)
            return False
        pool.nowhere_s = None
        if placed.node.node != core.node:
            room = how_often(pool.need, to_units(placed.node.available)) if placed.now else None
            self._send_on(pool, placed.node, 1 if pool.strategy.kind == "spread" else room, now)
            return placed.now
        if fits(pool.need, without(core.free, reserved)) and core.processes.start(
            pool, core.free, core.free_gpus, now
        ):
            return True
        if (chain := core.lending.exhausted_chain(pool, now)) is not None:
            self.refuse(pool, chain)
        elif self._can_come(pool):
            add(reserved, pool.need if self._has_devices(pool, reserved) else devices.keeps(pool.need))
        return False

    def _can_come(self, pool: WantedPool) -> bool:
        """Whether what it waits for comes free by others' tasks alone, so that it pays to leave it the rest."""
        if self._coming is None:
            self._coming = self._core.holding.coming()
        left, left_gpus = self._coming
        return fits(pool.need, left) and devices.pick(pool.need, left_gpus) is not None

    def _has_devices(self, pool: WantedPool, reserved: Amounts) -> bool:
        """Whether its devices are there.

        Who waits for one keeps nothing else from others: a task may have it until its children have run, who need that
        other.
        """
        gpus, core = devices.keeps(pool.need), self._core
        return devices.pick(gpus, core.free_gpus) is not None and fits(gpus, without(core.free, reserved))

    # -------------------------------------------------------------------------------------- where

    def _place(self, pool: WantedPool, reserved: Amounts) -> Placed | None:
        """Where the pool's next lease should be: here if that is as good as anywhere, or where it is better to wait."""
        core = self._core
        if core.draining.on:
            placed = place(pool.need, pool.strategy, core.head.takers(), core.node, pool.last)
            if placed is not None:
                return placed  # else it is needed here, by what still runs
        able = fits(pool.need, core.total) and may_be(pool.strategy, core.me)
        if pool.spilled:
            return Placed(core.me, True) if able else None
        free = without(core.free, reserved)
        if devices.pick(pool.need, core.free_gpus) is None:
            free = {**free, devices.GPU: 0}  # enough in all, perhaps, but not of one device
        has_slot = core.processes.has_slot
        if able and has_slot and fits(pool.need, free) and home_is_best(pool.strategy, core.me):
            return Placed(core.me, True)
        here = [msgspec.structs.replace(core.me, available=to_floats(free))] if has_slot else []
        placed = place(pool.need, pool.strategy, [*here, *core.head.takers()], core.node, pool.last)
        if able and not has_slot and (placed is None or not placed.now):
            return Placed(core.me, False)
        return placed

    def _roomier(self) -> tuple[NodeFacts, int] | None:
        """A node with CPUs for so many workers that ask for none, once each CPU here has one.

        No View tells of such workers, as they take nothing; what pools of this node's owners have there is counted.
        """
        core = self._core
        if not core.head.takers():
            return None
        here = sum(lease.pool.dedicated and not lease.need for lease in core.leases.values())
        if here < core.cpus:
            return None
        one = {"CPU": UNITS}
        sent = Counter[str]()
        for owner in core.owners.values():
            for pool in owner.pools.values():
                if not pool.dropping:
                    sent.update(pool.sent)
        rooms = [
            ((how_often(one, to_units(node.available)) or 0) - sent[node.node], node)
            for node in core.head.takers()
        ]
        room, node = max(rooms, key=lambda pair: (pair[0], pair[1].node))
        return (node, room) if room > 0 else None

    def _freed_elsewhere(self, pool: WantedPool, reserved: Amounts, now: float) -> NodeFacts | None:
        """Another node with room for what was sent here to wait: one has come since, or has become free.

        Not before it has waited for a while, so that nobody is sent to and fro by Views that are late.
        """
        core = self._core
        if pool.strategy.kind != "default" or not core.head.others:
            return None
        if fits(pool.need, without(core.free, reserved)):
            return None
        again_s = pool.asked_s + core.limits.wait_spilled_s
        if now < again_s:
            core.deadlines.set(("pool", pool.key), max(again_s, pool.not_before_s))
            return None
        placed = place(pool.need, pool.strategy, core.head.takers(), last=pool.last)
        return placed.node if placed is not None and placed.now else None

    def _may_come_again(self, pool: WantedPool) -> bool:
        """Whether a node that drains could have it: when that has gone, or is back, it will be decided."""
        return any(
            node.draining and fits(pool.need, to_units(node.total)) and may_be(pool.strategy, node)
            for node in self._core.head.others.values()
        )

    # ------------------------------------------------------------------------- elsewhere, or nowhere

    def _send_on(self, pool: WantedPool, node: NodeFacts, room: int | None, now: float) -> None:
        """Point to a node, and reckon with what goes there until its next report."""
        count = self.point_to(pool, node, room)
        self._core.head.reckon(node, {name: units * count for name, units in pool.need.items()}, now)

    def point_to(self, pool: WantedPool, node: NodeFacts, room: int | None) -> int:
        """Ask the owner to want up to ``room`` (None: all) of the missing leases of another node. Returns how many."""
        count = pool.missing if room is None else min(pool.missing, room)
        wanted = pool.count - pool.elsewhere
        pool.elsewhere += count
        pool.before, pool.last = pool.last, node.node
        pool.owner.pointed.add(node.node)
        self.look(pool)
        elsewhere = LeaseElsewhere(pool.number, count, node.node, node.address, wanted)
        self._core.send(f"owner:{pool.owner.name}", elsewhere)
        return count

    def tell_lost(self, node: str) -> None:
        """The head has lost another node: whoever was sent there must not wait for what runs there."""
        for owner in self._core.owners.values():
            for pool in owner.pools.values():
                pool.sent.pop(node, None)
            if node in owner.pointed:
                owner.pointed.discard(node)
                if not owner.lost:
                    self._core.send(
                        f"owner:{owner.name}", NodeLost(node, "it left, or was silent for too long")
                    )

    def _refuse_in_time(self, pool: WantedPool, now: float) -> None:
        """What no node can ever have is refused, but not before the head has told us who there is.

        Where others may join, one that has it may be on its way, perhaps in the place of one that was lost.
        """
        core = self._core
        until_s = pool.nowhere_s = now if pool.nowhere_s is None else pool.nowhere_s
        if not pool.spilled and not core.head.version:
            until_s += core.limits.node_silent_s
        elif core.has_port and not (pool.strategy.kind == "node" and not pool.strategy.soft):
            until_s += core.limits.join_patience_s
        if now < until_s:
            core.deadlines.set(("pool", pool.key), until_s)
            return
        pool.nowhere_s = None
        nodes = [core.me, *core.head.others.values()]
        self.refuse(pool, refusal(pool.resources, pool.strategy, nodes))

    def refuse(self, pool: WantedPool, reason: str, kind: str = UNSCHEDULABLE) -> None:
        """The pool's owner will never get leases here, nor by way of here."""
        pool.count = 0
        self.look(pool)
        self._core.send(f"owner:{pool.owner.name}", LeaseRefused(pool.number, reason, kind))


def _is_for_all(pool: WantedPool) -> bool:
    """Whether a pool's workers are to be spread over the nodes by their CPUs, though each asks for none."""
    alone = pool.count <= 1  # as an actor's worker, which is best where it is
    return pool.dedicated and not (alone or pool.spilled or pool.need) and pool.strategy == Strategy()
