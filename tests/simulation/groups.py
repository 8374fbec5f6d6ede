"""Placement groups of a world: who makes and removes them, pools that run in them, and the oracles that judge it.

A group has a number and a name in the books here (``GroupBook``). What is true of it is asked of the cores themselves:
the head says where its bundles are, agents keep them, and workers run in them; the three must agree, whatever strikes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from distpool.scheduler.cores.place_bundles import Room, Wanted, place_bundles
from distpool.scheduler.cores.resources import to_floats, to_units
from distpool.scheduler.messages import (
    Asked,
    GroupFacts,
    GroupQuery,
    GroupsReport,
    MakeGroup,
    RemoveGroup,
    Strategy,
)

from .loop import Violation

if TYPE_CHECKING:
    from .ledger import PoolBook
    from .owner import OwnerShell
    from .program import Program
    from .worker import Worker
    from .world import World

#: What holds for longer than this without a fault is no passing state. More than the time that waits for a View.
SETTLED_S = 3.0


@dataclass(slots=True, eq=False)
class GroupBook:
    """A group as its maker knows it."""

    facts: GroupFacts
    shell: OwnerShell
    removed_s: float = 0.0  # when it was asked to go


class Groups:
    """All groups of one world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.chance = world.group_chance
        self.books: dict[str, GroupBook] = {}
        self.could_s: dict[str, float] = {}  # group -> since when there is room for it, and it has none
        self.ending = False
        self.apart_s: dict[str, float] = {}  # group -> since when head and agents do not agree

    # -------------------------------------------------------------------------------- programs

    def write(self, program: Program) -> None:
        """Schedule what this driver does with groups."""
        for _ in range(self.chance.choice((1, 1, 2, 3))):
            self.world.loop.after(self.chance.uniform(0.0, 5.0), self._make, program)

    def _make(self, program: Program) -> None:
        if not program.shell.alive:
            return
        chance = self.chance
        bundles = tuple({"CPU": chance.choice((0.5, 1.0, 1.0, 2.0))} for _ in range(chance.randint(1, 4)))
        strategy = chance.choice(("PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD"))
        name = f"g{len(self.books)}"
        facts = GroupFacts(name, bundles, strategy, name=name, detached=chance.random() < 0.3)
        if chance.random() < 0.4:
            self._compete(program)
        book = self.open(program, facts)
        for _ in range(chance.choice((0, 1, 1, 2))):
            self.world.loop.after(chance.uniform(0.0, 2.0), self._open, program, book)
        if chance.random() < 0.6:
            self.world.loop.after(chance.uniform(0.5, 7.0), self.remove, book)

    def open(self, program: Program, facts: GroupFacts) -> GroupBook:
        """Make one, and wait for it."""
        book = self.books[facts.group] = GroupBook(facts, program.shell)
        program.shell.ask(MakeGroup(0, facts))
        program.shell.ask(GroupQuery(0, facts.group, wait=True))
        return book

    def _compete(self, program: Program) -> None:
        """Work that takes CPUs at the very moment at which the head believes that they are free."""
        pool = program.open_pool(4, dedicated=False, resources={"CPU": self.chance.choice((0.5, 1.0))})
        length_s = self.chance.choice((0.01, 0.3))
        program.submit(
            pool, [program.job(pool, "plain", length_s) for _ in range(self.chance.randint(2, 12))]
        )

    def _open(self, program: Program, book: GroupBook) -> None:
        if not program.shell.alive:
            return
        chance = self.chance
        index = chance.choice((-1, -1, chance.randrange(len(book.facts.bundles))))
        smallest = min(bundle["CPU"] for bundle in book.facts.bundles)
        dedicated = chance.random() < 0.3
        share = chance.choice((0.25, smallest))
        pool = program.open_pool(
            chance.choice((1, 2, 4)),
            dedicated=dedicated,
            # All workers of a dedicated pool must fit at once, beside those of others, or it never comes up.
            resources={"CPU": 0.01 if dedicated else share},
            strategy=Strategy("group", group=book.facts.group, bundle=index),
        )
        for _ in range(chance.randint(1, 3)):
            self.world.loop.after(chance.uniform(0.0, 4.0), self._submit, program, pool)

    def _submit(self, program: Program, pool: PoolBook) -> None:
        if program.shell.alive and pool.state == "open":
            chance = self.chance
            length_s = chance.choice((1e-5, 1e-3, 0.05, 0.5))
            retries = chance.choice((0, 1, 2))
            jobs = [
                program.job(pool, "plain", length_s, retries=retries) for _ in range(chance.randint(1, 20))
            ]
            program.submit(pool, jobs)

    def remove(self, book: GroupBook) -> None:
        """Its maker removes it."""
        if book.shell.alive and not book.removed_s:
            book.removed_s = self.world.loop.now
            book.shell.ask(RemoveGroup(0, book.facts.group))

    def answered(self, shell: OwnerShell, question: Any, report: Any) -> None:
        """The head has answered; who waited for a group has it, or it is gone."""
        assert isinstance(report, GroupsReport)
        if report.refusal:
            raise Violation("groups_are_made", report.refusal)
        if isinstance(question, GroupQuery):
            states = [facts.state for facts in report.groups]
            if states not in (["created"], ["removed"], []):
                raise Violation("waiting_ends_when_created", f"{shell.name} waited for {question}: {report}")

    # ---------------------------------------------------------------------------------- phases

    def over(self) -> None:
        """Nothing strikes any more, and everything is to end: work in groups that are not there never would."""
        head = self.world.head
        assert head is not None
        for book in self.books.values():
            group = head.core.groups.groups.get(book.facts.group)
            if group is None or not group.placed:
                self._sweep(book)
        self.ending = True

    def _sweep(self, book: GroupBook) -> None:
        """Somebody removes it, who has not made it."""
        head = self.world.head
        assert head is not None
        book.removed_s = book.removed_s or self.world.loop.now
        node = next(iter(head.core.nodes))
        head.hear(f"agent:{node}", Asked("janitor", RemoveGroup(1, book.facts.group)))

    def _sweep_idle(self) -> None:
        """Others wait for what groups have set aside whose work is done."""
        for book in self.books.values():
            pools = [p for p in self.world.books.values() if p.strategy.group == book.facts.group]
            jobs = [job for pool in pools for job in pool.jobs if job.submitted and not job.outcome]
            if not jobs and (book.facts.detached or self.chance.random() < 0.5):
                self._sweep(book)

    def account(self) -> None:
        """Nothing is left of any group."""
        for machine in self.world.machines.values():
            assert machine.agent is not None
            groups = machine.agent.core.groups
            if groups.pots or machine.agent.core.head.asked or machine.agent.core.head.claimants:
                raise Violation("nothing_left", f"{machine.name} keeps {groups.pots}")
        assert self.world.head is not None
        core = self.world.head.core
        if core.groups.groups:
            raise Violation("nothing_left", f"the head keeps {list(core.groups.groups)}")

    # --------------------------------------------------------------------------------- oracles

    def attached(self, worker: Worker) -> None:
        """What runs in a group on a node fits into the bundles that this node has of it."""
        agent = worker.host.agent
        if agent is None:
            return
        used: dict[str, float] = {}
        for other in worker.host.workers.values():
            if other.alive and other.lease is not None and not other.ever_blocked and not other.retiring:
                known = agent.core.leases.get(other.lease.lease)
                book = self.world.books.get((other.lease.owner, other.lease.pool))
                if known is not None and not known.worker.doomed and book is not None and book.strategy.group:
                    group = book.strategy.group
                    used[group] = used.get(group, 0.0) + book.resources["CPU"]
        for group, amount in used.items():
            here = agent.core.groups.pots.get(group, {})
            has = sum(self.books[group].facts.bundles[index]["CPU"] for index in here)
            if amount > has + 1e-6:
                raise Violation(
                    "bundles_not_oversubscribed", f"{worker.machine}: {amount:g} CPU of {has:g} in {group}"
                )

    def reserved(self, machine: str) -> float:
        """CPUs of a node that are set aside, or held for who waits: others may not have them."""
        agent = self.world.machines[machine].agent
        if agent is None:
            return 0.0
        held = agent.core.holding.hold
        here = [(group, index) for group, pots in agent.core.groups.pots.items() for index in pots]
        aside = sum(self.books[group].facts.bundles[index]["CPU"] for group, index in here)
        return aside + (0.0 if held is None else to_floats(held.have).get("CPU", 0.0))

    def in_bundle(self, worker: Worker) -> bool:
        """Whether this worker runs at the cost of a bundle that its node has."""
        agent = worker.host.agent
        assert worker.lease is not None
        known = None if agent is None else agent.core.leases.get(worker.lease.lease)
        return agent is not None and known is not None and known.purse is not agent.core.free

    def sample(self, *, calm: bool) -> None:
        """Each from the last fault on: what could be placed is, and head and agents agree where."""
        head, now = self.world.head, self.world.loop.now
        if self.ending:
            self._sweep_idle()
        if head is None or not calm:
            self.could_s.clear()
            self.apart_s.clear()
            return
        could = [
            name for name, group in head.core.groups.groups.items() if not group.placed and self._fits(group)
        ]
        self.could_s = {name: self.could_s.get(name, now) for name in could}
        apart = [name for name in self.books if not self._agree(name)]
        self.apart_s = {name: self.apart_s.get(name, now) for name in apart}
        for oracle, since in (("groups_are_placed", self.could_s), ("bundles_agree", self.apart_s)):
            for name, at_s in since.items():
                if now - at_s > SETTLED_S:
                    raise Violation(oracle, f"group {name} is not where it should be since {at_s:.2f} s")
        self._sample_removed()

    def _fits(self, group: Any) -> bool:
        agents = [
            machine.agent
            for machine in self.world.machines.values()
            if machine.agent is not None and not machine.agent.core.draining.on
        ]
        rooms = [Room(agent.core.node, agent.core.free, {}) for agent in agents]
        wanted = [Wanted(i, need) for i, need in enumerate(group.needs) if not group.nodes[i]]
        fixed = {index: node for index, node in enumerate(group.nodes) if node}
        return place_bundles(group.facts.strategy, wanted, rooms, fixed) is not None

    def _agree(self, name: str) -> bool:
        assert self.world.head is not None
        group = self.world.head.core.groups.groups.get(name)
        if group is not None and group.plan:
            return True  # under way
        expected = {} if group is None else {i: node for i, node in enumerate(group.nodes) if node}
        kept: dict[int, str] = {}
        for machine in self.world.machines.values():
            assert machine.agent is not None
            for index, pot in machine.agent.core.groups.pots.get(name, {}).items():
                assert pot.total == to_units(self.books[name].facts.bundles[index])
                if index in kept:
                    return False
                kept[index] = machine.name
        return kept == expected

    def _sample_removed(self) -> None:
        """Work in a group ends with it."""
        for machine in self.world.machines.values():
            for worker in machine.workers.values():
                book = (
                    None
                    if worker.lease is None
                    else self.world.books.get((worker.lease.owner, worker.lease.pool))
                )
                group = None if book is None else self.books.get(book.strategy.group)
                if not worker.alive or group is None or not group.removed_s:
                    continue
                if self.world.loop.now - max(group.removed_s, self.world.last_fault_s) > SETTLED_S:
                    raise Violation("removed_ends_work", f"{worker.name} runs in {group.facts.group}")


def add(plan: Any, chance: Any) -> None:
    """By a chance of its own, so that the worlds without are what they were before there were groups."""
    plan.groups = chance.random() < 0.35
