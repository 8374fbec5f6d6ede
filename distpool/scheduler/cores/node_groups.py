"""A node's part in placement groups: the bundles that it keeps, and the leases that are charged to them.

::

    head ── Reserve ──► pots: group -> bundle -> what of it is free       (taken from the node's free resources)
              │           │  ▲     (with ``wait_s`` and no room: ``node_holding`` makes it, and then they are set aside)
           grant: lease ─┘  └─ its end
    head ── Release ──► its leases are killed, the rest is given back

    a pool that wants a bundle ── not here, or nothing free ──► LeaseElsewhere, to where the head says that others are

A pot is what a node's free resources are to other leases. When it is released its leases live on for a moment, until
they are reaped; from then on they are charged to the node.

Where the other bundles of a group are is asked of the head once (``WatchGroup``), and told with each change. What is
free in them nobody knows but their nodes: so what waits for *any* bundle is sent round, to a node that it has not been
to, and having been to all of them every ``view_s``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from distpool.scheduler.cores import devices
from distpool.scheduler.cores.node_records import WantedPool
from distpool.scheduler.cores.resources import (
    Amounts,
    add,
    fits,
    how_often,
    show,
    subtract,
    to_floats,
    to_units,
)
from distpool.scheduler.messages import (
    GROUP_REMOVED,
    GroupFacts,
    GroupNews,
    Release,
    Reserve,
    Reserved,
    WatchGroup,
)

if TYPE_CHECKING:
    from distpool.scheduler.cores.node import NodeCore


@dataclass(slots=True)
class Pot:
    """One bundle."""

    total: Amounts
    free: Amounts
    gpus: Amounts  # its devices, and how much of each is its own
    free_gpus: Amounts
    early: bool  # other nodes still make room for their parts: it may be given up, so nothing begins here yet


class NodeGroups:
    """A part of ``NodeCore``, which it is given."""

    def __init__(self, core: NodeCore) -> None:
        self.pots: dict[str, dict[int, Pot]] = {}
        self.watched: dict[str, GroupFacts | None] = {}  # None: the head has not told us yet
        self._core = core

    def bundles(self) -> dict[str, tuple[int, ...]]:
        """What is kept here, for the head."""
        return {group: tuple(sorted(pots)) for group, pots in self.pots.items()}

    # --------------------------------------------------------------------- what the head says

    def hear(self, message: Reserve | Release | GroupNews, now: float) -> None:
        """A word of the head."""
        match message:
            case Reserve():
                if not self.reserve(message, refuse=not message.wait_s) and message.wait_s:
                    self._core.holding.begin(message, now)
            case Release(group=group, bundles=bundles, reason=reason):
                self._core.holding.release(group)
                self._release(group, bundles, reason)
                self._core.head.beat(now)  # who waits for a group may have been waiting for just that
            case GroupNews(facts=facts):
                self._news(facts)

    def reserve(self, message: Reserve, *, refuse: bool = True) -> bool:
        """Set all of these bundles aside, or none. Returns whether they are; if not, the head is told to ``refuse``."""
        core = self._core
        needs = {index: to_units(bundle) for index, bundle in message.bundles.items()}
        here = self.pots.get(message.group, {})
        assert not here.keys() & needs.keys(), "a bundle is reserved that was not released"
        whole: Amounts = {}
        for need in needs.values():
            add(whole, need)
        left = to_floats(core.free)
        gpus = devices.for_each(needs, core.free_gpus)
        granted = fits(whole, core.free) and gpus is not None and not core.draining.on
        if granted and gpus is not None:
            subtract(core.free, whole)
            left = to_floats(core.free)
            pots = self.pots.setdefault(message.group, {})
            for index, need in needs.items():
                subtract(core.free_gpus, gpus[index])
                pots[index] = Pot(need, dict(need), gpus[index], dict(gpus[index]), bool(message.wait_s))
        elif gpus is None:
            left[devices.GPU] = 0.0  # or the head would ask again at once
        if granted or refuse:
            core.send("head", Reserved(message.group, message.round, granted, left))
        return granted

    def _release(self, group: str, bundles: tuple[int, ...], reason: str) -> None:
        """They are bundles no more, if they were: kill what runs in them."""
        core = self._core
        pots = self.pots.get(group, {})
        for index in bundles:
            pot = pots.pop(index, None)
            if pot is None:
                continue
            add(core.free, pot.free)
            add(core.free_gpus, pot.free_gpus)
            for lease in core.leases.values():
                if lease.purse is pot.free:
                    lease.purse, lease.devices = core.free, core.free_gpus
                    core.processes.kill(lease.worker, reason)
        if not pots:
            self.pots.pop(group, None)

    def _news(self, facts: GroupFacts) -> None:
        if facts.group not in self.watched:
            return
        if facts.state != "removed":
            self.watched[facts.group] = facts
            return
        del self.watched[facts.group]
        for pool in list(self._waiting_for(facts.group)):
            self._core.granting.refuse(pool, f"{_called(facts)} was removed", GROUP_REMOVED)

    def _waiting_for(self, group: str) -> Iterator[WantedPool]:
        for pools in self._core.hungry.values():
            for pool in pools.values():
                if pool.strategy.group == group:
                    yield pool

    def watch_again(self) -> None:
        """The head has taken us in, and may be another: what it told us of groups may not be true any more."""
        for group in self.watched:
            self.watched[group] = None
            self._core.send("head", WatchGroup(group))

    # -------------------------------------------------------------------------------- granting

    def wants_more(self, pool: WantedPool, now: float) -> None:
        """Its owner has raised its level: all nodes may be tried; but what was sent on to us waits here for a while."""
        pool.tried.clear()
        pool.move_s = now + self._core.limits.view_s if pool.spilled else now

    def grant(self, pool: WantedPool, now: float) -> bool:
        """One lease of a bundle, or a word to its owner where to ask for it. Whether there was one.

        Who may have any bundle gets one that has little else: a GPU is left to who asks for one.
        """
        core, strategy = self._core, pool.strategy
        pots = self.pots.get(strategy.group, {})
        for index, pot in sorted(
            pots.items(), key=lambda item: (len(item[1].total.keys() - pool.need), item[0])
        ):
            has_devices = devices.pick(pool.need, pot.free_gpus) is not None
            if pot.early and not self._is_placed(strategy.group, index):
                continue
            pot.early = False
            if strategy.bundle in (-1, index) and fits(pool.need, pot.free) and has_devices:
                return core.processes.start(pool, pot.free, pot.free_gpus, now)
        facts = self._facts(strategy.group)
        if facts is None:
            return False
        if reason := _why_never(facts, pool):
            core.granting.refuse(pool, reason)
            return False
        return self._point(pool, facts, now)

    def _is_placed(self, group: str, index: int) -> bool:
        """Whether the head has said that this bundle is ours to stay."""
        facts = self._facts(group)
        return facts is not None and facts.nodes[index : index + 1] == (self._core.node,)

    def _facts(self, group: str) -> GroupFacts | None:
        if group not in self.watched:
            self.watched[group] = None
            if self._core.head.registered:
                self._core.send("head", WatchGroup(group))
        return self.watched[group]

    def _point(self, pool: WantedPool, facts: GroupFacts, now: float) -> bool:
        """Send what waits to another node of the group, if there is one, and it is time."""
        core = self._core
        takers = {node.node for node in core.head.takers()}  # who drains would send it back
        rooms = {node: room for node, room in _rooms(facts, pool).items() if node in takers}
        if not rooms or pool.elsewhere:
            return False  # or the owner moves the last one first
        if now < pool.move_s:
            core.deadlines.set(("group", pool.key), pool.move_s)
            return False
        untried = [node for node in rooms if node not in pool.tried]
        if not untried:
            pool.tried.clear()
            pool.move_s = now + core.limits.view_s
            core.deadlines.set(("group", pool.key), pool.move_s)
            return False
        node = min(
            untried, key=lambda node: (node < core.node, node)
        )  # a ring, so that nobody goes to and fro
        pool.tried.add(node)
        core.granting.point_to(pool, core.head.others[node], rooms[node])
        return True

    # ---------------------------------------------------------------------------------- oracle

    def check(self) -> None:
        """Assert every invariant; for tests and the simulator."""
        core = self._core
        assert all(self.pots.values())
        for group, pots in self.pots.items():
            for index, pot in pots.items():
                charged: Amounts = {}
                for lease in core.leases.values():
                    if lease.purse is pot.free:
                        add(charged, lease.need if lease.charged else devices.keeps(lease.need))
                for name, units in pot.total.items():
                    left = units - charged.get(name, 0)
                    assert 0 <= pot.free[name] == left, (
                        f"{name} of bundle {index} of group {group} miscounted"
                    )
                used = dict(pot.free_gpus)
                for lease in core.leases.values():
                    if lease.devices is pot.free_gpus:
                        assert lease.purse is pot.free, "a lease has its devices from elsewhere"
                        add(used, lease.gpus)
                assert used == pot.gpus, f"devices of bundle {index} of group {group} miscounted"
                assert sum(pot.gpus.values()) == pot.total.get(devices.GPU, 0)
        purses = [core.free, *(pot.free for pots in self.pots.values() for pot in pots.values())]
        for lease in core.leases.values():
            assert any(lease.purse is purse for purse in purses), "a lease of a bundle that is none any more"


def _why_never(facts: GroupFacts, pool: WantedPool) -> str:
    """Why no bundle of the group will ever do; "" if one may."""
    index = pool.strategy.bundle
    if index >= len(facts.bundles):
        return f"{_called(facts)} has {len(facts.bundles)} bundles, and none with the number {index}"
    chosen = facts.bundles if index < 0 else facts.bundles[index : index + 1]
    if any(fits(pool.need, to_units(bundle)) for bundle in chosen):
        return ""
    have = "; ".join(show(bundle) for bundle in chosen)
    which = (
        f"no bundle of {_called(facts)} has that"
        if index < 0
        else f"bundle {index} of {_called(facts)} has not"
    )
    return f"each worker asks for {show(pool.resources)}, and {which}: {have}"


def _rooms(facts: GroupFacts, pool: WantedPool) -> dict[str, int | None]:
    """How many leases fit into the bundles on each node, were they empty; None: any number."""
    rooms: dict[str, int | None] = {}
    for index, (node, bundle) in enumerate(zip(facts.nodes, facts.bundles, strict=True)):
        if node and pool.strategy.bundle in (-1, index):
            often = how_often(pool.need, to_units(bundle))
            before = rooms.get(node, 0)
            if often != 0:
                rooms[node] = None if often is None or before is None else before + often
    return rooms


def _called(facts: GroupFacts) -> str:
    return f"the placement group {facts.name or facts.group}"
