"""What programs of a world keep at the head, deaths of that head, and the oracles that judge both.

Drivers count in one key, each by compare-and-set, and take names that go with them. A head that dies has a journal;
the next one begins with it. So, whatever strikes::

    count       every acknowledged step is there, once: none lost, none doubled, none done and reported as not done
    names       at most one living owner has a name, and it has it until it gives it up
    leases      nobody is told that a node is lost because the head was away
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from distpool.scheduler.cores.head_keys import ANSWERS
from distpool.scheduler.messages import KeyAnswer, KeyDelete, KeyGet, KeyPut, KeySwap

from . import faults
from .loop import Violation
from .plan import SAFETY_S

if TYPE_CHECKING:
    from .machine import AgentShell
    from .network import End
    from .owner import OwnerShell
    from .program import Program
    from .world import World

COUNT = "kv/count"
NAMES = ("actor/a", "actor/b")
QUESTIONS = (KeyGet, KeyPut, KeyDelete, KeySwap)


@dataclass(slots=True)
class Claim:
    """A name that an owner has, by way of one link to its agent."""

    shell: OwnerShell
    link: End

    @property
    def stands(self) -> bool:
        """Whether the head must keep it: where that link is not what it was, it need not."""
        end = self.shell.links.get(f"agent:{self.shell.home}")
        return self.shell.alive and end is self.link and not (end.cut or end.peer.cut or not end.peer.open)


class Keys:
    """All of it, of one world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.chance = world.key_chance
        self.cut_chance = random.Random(f"cuts of answers {world.loop.seed}")
        self.acknowledged = 0  # the highest step that somebody was told to have made
        self.steps: set[int] = set()  # those that were acknowledged
        self.unsure = 0  # steps of which nobody knows
        self.claims: dict[str, Claim] = {}
        self.asked_at: dict[
            tuple[str, int], int
        ] = {}  # (owner, request) -> ``acknowledged`` when it was asked

    # -------------------------------------------------------------------------------- programs

    def write(self, program: Program) -> None:
        """Schedule what this driver does with keys."""
        loop, chance = self.world.loop, self.chance
        for _ in range(chance.randint(1, 25)):
            loop.after(chance.uniform(0.0, SAFETY_S), self._ask, program.shell, KeyGet(0, COUNT))
        for _ in range(chance.randint(0, 6)):
            loop.after(chance.uniform(0.0, SAFETY_S), self._claim, program.shell)

    def schedule(self) -> None:
        """When the head dies, and for how long it is away."""
        loop, chance = self.world.loop, self.chance
        for _ in range(chance.choice((0, 1, 2, 5))):
            loop.after(chance.uniform(0.05, SAFETY_S), self.kill_head)

    def kept(self, table: str) -> None:
        """The head has journaled something: by chance it dies, or a link, before anybody hears of it, or just after."""
        if table != ANSWERS or not self.world.plan.keys:
            return
        if self.chance.random() < 0.03:
            self.world.loop.after(0.0, self.kill_head)
        elif self.world.plan.cuts and self.cut_chance.random() < 0.05:
            self.world.loop.after(0.0, self._cut_off_a_node)

    def _cut_off_a_node(self) -> None:
        head = self.world.head
        if head is not None and head.links and not self.world.quiet:
            faults.cut(
                self.world, self.cut_chance.choice(list(head.links.values())), both=True, detect_s=0.05
            )

    def kill_head(self) -> None:
        """It dies, and another begins, at once or after a while."""
        if not self.world.quiet:
            self.world.stop_head()
            self.world.loop.after(self.chance.choice((0.0, 0.1, 2.0)), self.world.start_head)

    def _ask(self, shell: OwnerShell, question: Any) -> None:
        if shell.alive and f"agent:{shell.home}" in shell.links:
            shell.ask(question)
            self.asked_at[shell.owner, shell.questions] = self.acknowledged

    def _claim(self, shell: OwnerShell) -> None:
        name = self.chance.choice(NAMES)
        claim = self.claims.get(name)
        if claim is not None and claim.shell is shell:
            del self.claims[name]
            self._ask(shell, KeyDelete(0, name))
        else:
            self._ask(shell, KeyPut(0, name, shell.owner.encode(), overwrite=False, owner=shell.owner))

    def answered(self, shell: OwnerShell, question: Any, answer: KeyAnswer) -> None:
        """The head has answered."""
        before = self.asked_at.pop((shell.owner, question.request))
        match question:
            case KeyGet():
                self._has_read(shell, int(answer.value or b"0"), before)
            case KeySwap(value=value) if answer.changed:
                self._has_counted(shell, int(value))
            case KeySwap():
                self._has_read(shell, int(answer.value or b"0"), before)
            case KeyPut(key=name) if answer.changed:
                holder = self.claims.get(name)
                if holder is not None and holder.stands:
                    raise Violation(
                        "one_holder", f"{shell.name} has the name {name}, and so has {holder.shell.name}"
                    )
                self.claims[name] = Claim(shell, shell.links[f"agent:{shell.home}"])

    def _has_read(self, shell: OwnerShell, value: int, before: int) -> None:
        if value < before:
            raise Violation("writes_are_kept", f"{shell.name} reads {value}, and {before} was acknowledged")
        if not self.world.quiet:
            expected = None if value == 0 else str(value).encode()
            self._ask(shell, KeySwap(0, COUNT, expected, str(value + 1).encode()))

    def _has_counted(self, shell: OwnerShell, value: int) -> None:
        if value in self.steps:
            raise Violation("counted_once", f"{shell.name} and another have both counted {value}")
        self.steps.add(value)
        self.acknowledged = max(self.acknowledged, value)

    def link_lost(self, shell: OwnerShell) -> None:
        """What an owner had asked may be done or not: it is not asked again by another link."""
        for number, question in list(shell.asked.items()):
            if isinstance(question, QUESTIONS):
                del shell.asked[number]
                self.unsure += isinstance(question, KeySwap)

    # --------------------------------------------------------------------------------- oracles

    def node_lost(self, node: str) -> None:
        """The head has lost a node, or taken in a later start of it: names that were had there are free."""
        self.claims = {name: claim for name, claim in self.claims.items() if claim.shell.home != node}

    def tells_lost(self, agent: AgentShell, node: str) -> None:
        """An agent tells an owner that a node is lost."""
        world = self.world
        if not (world.ledger.anything_lost or world.plan.jumps or world.machines[node].has_left):
            raise Violation("nobody_is_lost_with_the_head", f"{agent.name} says that {node} is lost")

    def sample(self, *, calm: bool) -> None:
        """Who has a name has it at the head; from the last fault on, all nodes know what that says of the others."""
        head = self.world.head
        if head is None:
            return
        for machine in self.world.machines.values() if calm else ():
            assert machine.agent is not None
            others = machine.agent.core.head.others.keys()
            if others != head.core.nodes.keys() - {machine.name}:
                raise Violation("views_are_heard", f"{machine.name} knows of {sorted(others)}")
        for name, claim in self.claims.items():
            if claim.stands and head.core.keys.values.get(name) != claim.shell.owner.encode():
                raise Violation("names_are_kept", f"{claim.shell.name} has the name {name} no more")

    def account(self) -> None:
        """The count is what was counted; nothing else is left at the head."""
        assert self.world.head is not None
        keys = self.world.head.core.keys
        asked = sum(isinstance(q, KeySwap) for shell in self.world.drivers for q in shell.asked.values())
        counted, most = int(keys.values.get(COUNT, b"0")), len(self.steps) + self.unsure + asked
        if not self.acknowledged <= counted <= most:
            raise Violation(
                "writes_are_kept", f"{counted} counted, {self.acknowledged} acknowledged, {most} at most"
            )
        if left := [key for key in keys.values if key != COUNT]:
            raise Violation("nothing_left", f"the head keeps {left}")
        if keys.answers:
            raise Violation("nothing_left", f"the head remembers what {list(keys.answers)} were told")


def add(plan: Any, chance: Any) -> None:
    """By a chance of its own, so that the worlds without are what they were before there were keys."""
    plan.keys = chance.random() < 0.35
