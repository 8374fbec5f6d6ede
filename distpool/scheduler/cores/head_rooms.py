"""Which room the head believes that there is for the bundles of placement groups, and what it keeps of each group.

::

    whole      what the nodes are                            could it ever be placed?
    to_come    less what groups have, and what stays         where may room be made for one that has long waited?
    free       less what is in use, or on its way to them    where does it go now?

Policy without effects: who is asked for it, and when, is in ``head_groups``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from distpool.scheduler.cores.place_bundles import Plan, Room, Wanted, place_bundles
from distpool.scheduler.cores.resources import Amounts, add, to_units, without
from distpool.scheduler.messages import GroupFacts, NodeFacts


@dataclass(slots=True)
class Group:
    """One that is not removed."""

    facts: GroupFacts  # as it was made; the rest of what is known is below
    home: str  # the node of its creator
    nodes: list[str]  # of each bundle, "" if nowhere
    needs: list[Amounts]
    since_s: float  # when it began to want for room, or was refused it by who had waited
    created: bool = False  # it was, at least once
    round: int = 0
    plan: Plan = field(default_factory=dict)  # what is being reserved
    awaited: set[str] = field(default_factory=set)  # who of the plan has not answered
    held: bool = False  # and the nodes make room for it
    refusals: int = 0  # how often they did so in vain
    watchers: set[str] = field(default_factory=set)  # nodes
    waiting: list[tuple[str, str, int]] = field(default_factory=list)  # (node, owner, request)

    @property
    def placed(self) -> bool:
        """Whether every bundle is somewhere."""
        return all(self.nodes)

    def shown(self, reason: str = "") -> GroupFacts:
        """What others are told of it."""
        state = "created" if self.placed else "rescheduling" if self.created else "pending"
        return msgspec.structs.replace(
            self.facts, nodes=tuple(self.nodes), state=state, reason="" if self.placed else reason
        )


class Rooms:
    """A part of ``Groups``, whose ``groups`` it shares; ``nodes`` gives the facts of those that take something new."""

    def __init__(self, nodes: Callable[[], Iterable[NodeFacts]], groups: Mapping[str, Group]) -> None:
        self._nodes = nodes
        self._groups = groups
        self._lasting: dict[str, Amounts] = {}  # node -> what is held there by those who give nothing back

    def lasts(self, node: str, held: Mapping[str, float]) -> None:
        """A node has said what is held there by those who give nothing back."""
        self._lasting[node] = to_units(held)

    def gone(self, node: str) -> None:
        """It is none any more."""
        self._lasting.pop(node, None)

    def whole(self) -> list[Room]:
        """What the nodes have, were they empty."""
        return [Room(node.node, to_units(node.total), node.labels) for node in self._nodes()]

    def free(self) -> list[Room]:
        """What is free at present, and not promised to anybody."""
        promised = self._promised()
        return [
            Room(node.node, without(to_units(node.available), promised.get(node.node, {})), node.labels)
            for node in self._nodes()
        ]

    def to_come(self) -> list[Room]:
        """What could be free if nothing new began: not what groups have, nor what is held by those who stay."""
        taken: dict[str, Amounts] = {name: dict(amounts) for name, amounts in self._lasting.items()}
        for group in self._groups.values():
            for index, need in enumerate(group.needs):
                if node := group.nodes[index] or group.plan.get(index, ""):
                    add(taken.setdefault(node, {}), need)
        return [
            Room(node.node, without(to_units(node.total), taken.get(node.node, {})), node.labels)
            for node in self._nodes()
        ]

    def _promised(self) -> dict[str, Amounts]:
        """What is on its way to the nodes, and not in what they have reported; what they hold they do report."""
        promised: dict[str, Amounts] = {}
        for group in self._groups.values():
            if group.held:
                continue
            for index, node in group.plan.items():
                if node in group.awaited:
                    add(promised.setdefault(node, {}), group.needs[index])
        return promised

    def check(self, nodes: set[str]) -> None:
        """Assert that nothing is remembered of who is gone."""
        assert self._lasting.keys() <= nodes


def plan_for(group: Group, rooms: list[Room]) -> Plan | None:
    """Where what it misses may go."""
    fixed = {index: node for index, node in enumerate(group.nodes) if node}
    return place_bundles(group.facts.strategy, missing_of(group), rooms, fixed, group.facts.target)


def missing_of(group: Group) -> list[Wanted]:
    """The bundles that are nowhere."""
    labels = group.facts.labels or ((),) * len(group.needs)
    return [
        Wanted(index, need, labels[index]) for index, need in enumerate(group.needs) if not group.nodes[index]
    ]


def check_strategy(group: Group) -> None:
    """Assert that what is placed is where its strategy allows."""
    places = [node for node in group.nodes if node]
    if group.facts.strategy == "STRICT_SPREAD":
        assert len(places) == len(set(places)), "two bundles that must be spread on one node"
    if group.facts.strategy == "STRICT_PACK":
        assert len(set(places)) <= 1, "bundles that must be together on two nodes"
