"""Small tasks that keep coming, so that no node is ever empty, and a group that needs one that is.

A world with a crowd has nothing else: each driver keeps its pool of short tasks full until after the last fault, while
some make placement groups, one of them as large as a node. The oracle: while any group waits that would fit if nothing
new began, one of them is placed within a bound; whatever is done meanwhile, the tasks get on too (``everything_ends``).

By a chance of its own, so that the worlds without are what they were.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from distpool.scheduler.cores.place_bundles import Room, Wanted, place_bundles
from distpool.scheduler.cores.resources import add, to_units, without
from distpool.scheduler.messages import GroupFacts

from .loop import Violation

if TYPE_CHECKING:
    from distpool.scheduler.cores.head_rooms import Group

    from .ledger import Job
    from .plan import Plan
    from .program import Program
    from .world import World

LENGTHS_S = (0.02, 0.1, 0.3)
REFILL_S = 0.2
#: So long they keep coming when faults have ended.
LAST_S = 25.0
#: A group's patience, a turn, the longest that a worker may take to exit, and its task: all that is waited for ...
BOUND_S = 1.0 + 1.0 + 5.0 + max(LENGTHS_S)
#: ... and what may pass beside: reports, links, a head's epoch.
SLACK_S = 3.0


class Crowds:
    """The crowd of one world."""

    def __init__(self, world: World, rng: random.Random) -> None:
        self.world = world
        self.chance = rng
        self.over = False
        self._since_s = 0.0  # when something was placed, or went, or nothing waited
        self._placed: dict[str, tuple[str, ...]] = {}

    def add(self, plan: Plan) -> None:
        """Whether this world has one."""
        if self.chance.random() < 0.08:
            plan.crowd = plan.groups = True
            plan.gpus = plan.limits = plan.hunger = False
            plan.wears = plan.births = (
                0.0  # a worker that hangs at birth holds its room for ``worker_start_s``
            )

    def write(self, program: Program) -> None:
        """What a driver does."""
        cpus = self.chance.choice((0.5, 1.0))
        room = sum(machine.total["CPU"] for machine in self.world.machines.values())
        book = program.open_pool(int(2 * room / cpus), dedicated=False, resources={"CPU": cpus})
        jobs: list[Job] = []

        def refill() -> None:
            if program.shell.alive and book.state in ("open", "broken") and not self.over:
                jobs[:] = [job for job in jobs if not job.outcome]
                more = 3 * int(room / cpus) - len(jobs)
                new = [
                    program.job(book, "plain", self.chance.choice(LENGTHS_S), retries=3) for _ in range(more)
                ]
                jobs.extend(new)
                program.submit(book, new)
                self.world.loop.after(REFILL_S, refill)

        refill()
        self.world.groups.write(program)
        largest = max(machine.total["CPU"] for machine in self.world.machines.values())
        self.world.loop.after(self.chance.uniform(1.0, 4.0), self._make_large, program, largest)

    def _make_large(self, program: Program, cpus: float) -> None:
        if program.shell.alive:
            name = f"large{len(self.world.groups.books)}"
            self.world.groups.open(program, GroupFacts(name, ({"CPU": cpus},), "PACK", name=name))

    def last(self) -> None:
        """Nothing strikes any more: what waits for room must get it, though the crowd is still there."""
        if self.world.plan.crowd:
            self.world.loop.run_until(self.world.loop.now + LAST_S)
            self.over = True

    def sample(self, *, calm: bool) -> None:
        """While something waits that could be placed, something is."""
        head, now = self.world.head, self.world.loop.now
        if head is None or not calm or self.over or not self.world.plan.crowd:
            self._since_s = now
            return
        groups = head.core.groups.groups
        placed = {name: tuple(group.nodes) for name, group in groups.items()}
        waits = [name for name, group in groups.items() if not group.placed and self._could_come(group)]
        if placed != self._placed or not waits:
            self._since_s = now
        self._placed = placed
        if now - self._since_s > BOUND_S + SLACK_S:
            raise Violation(
                "groups_do_not_starve", f"{waits} wait, and nothing is placed since {self._since_s:.2f} s"
            )

    def _could_come(self, group: Group) -> bool:
        """Whether it fits beside what other groups have and what workers of their pool's own hold."""
        rooms = []
        for machine in self.world.machines.values():
            agent = machine.agent
            if agent is None or agent.core.draining.on:
                continue
            taken: dict[str, int] = {}
            for name, pots in agent.core.groups.pots.items():
                for index, pot in pots.items():
                    if name != group.facts.group or group.nodes[index]:
                        add(taken, pot.total)
            for worker in machine.workers.values():
                book = worker.lease and self.world.books.get((worker.lease.owner, worker.lease.pool))
                if book and book.dedicated and not book.strategy.group:
                    add(taken, to_units(book.resources))
            rooms.append(Room(machine.name, without(agent.core.total, taken), {}))
        wanted = [Wanted(i, need) for i, need in enumerate(group.needs) if not group.nodes[i]]
        fixed = {index: node for index, node in enumerate(group.nodes) if node}
        return place_bundles(group.facts.strategy, wanted, rooms, fixed) is not None
