"""The head's placement groups: which bundle is on which node, and how it gets there.

::

                       Reserve ──► every node of the plan           RemoveGroup, the end of its creator
    MakeGroup ─► pending ────────────────────────────────► created ──────────────────► removed
                    ▲      all Reserved                       │                           │
                    └── one refused or was lost:              │ a node is lost            └── Release ──► its nodes
                        Release to the others                 ▼
                                                        rescheduling ── as pending, for what is missing

A plan is made by ``place_bundles`` from what the nodes say is free, less what is on its way to them. It is tried again
whenever a node comes, goes, or reports; groups that wait are tried in the order in which they were made, and one that
finds no room holds up nobody. Links are first in first out, so after a Release a node has nothing of that attempt, and
an answer to it says nothing any more: its ``round`` is not the group's.

A node says hello with the bundles that it has. What it has not got is lost, and what it should not have is released. A
group and its places are journaled; what is under way is not, so a head that has been started again gives that back.
Agents that have asked for a group (``WatchGroup``) are told where it is after each change. Not here: leases, which the
head never hears of.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from distpool.scheduler.cores.place_bundles import STRATEGIES, Plan, Room, Wanted, place_bundles
from distpool.scheduler.cores.resources import Amounts, add, show, to_units, without
from distpool.scheduler.messages import (
    Answered,
    GroupFacts,
    GroupNews,
    GroupQuery,
    GroupsReport,
    MakeGroup,
    Message,
    NodeFacts,
    Record,
    Release,
    RemoveGroup,
    Reserve,
    Reserved,
)

#: The table of the journal.
GROUPS = "group"
#: Groups that are removed and still told of.
REMOVED_MAX = 1000
#: Why work in a group is killed.
REMOVED = "its placement group was removed"
NOT_PLACED = "its placement group is being placed anew"


@dataclass(slots=True)
class Group:
    """One that is not removed."""

    facts: GroupFacts  # as it was made; the rest of what is known is below
    home: str  # the node of its creator
    nodes: list[str]  # of each bundle, "" if nowhere
    needs: list[Amounts]
    created: bool = False  # it was, at least once
    round: int = 0
    plan: Plan = field(default_factory=dict)  # what is being reserved
    awaited: set[str] = field(default_factory=set)  # who of the plan has not answered
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


_Kept = tuple[GroupFacts, str, list[str], bool]  # facts, home, nodes, created


class Groups:
    """A part of ``HeadCore``. ``nodes`` gives the facts of those that are there, ``heard`` takes what one has free.

    ``record`` takes what the head's journal is to keep.
    """

    def __init__(
        self,
        nodes: Callable[[], Iterable[NodeFacts]],
        heard: Callable[[str, Mapping[str, float]], None],
        send: Callable[[str, Message], None],
        record: Callable[[Record], None],
    ) -> None:
        self.groups: dict[str, Group] = {}
        self.removed: deque[GroupFacts] = deque(maxlen=REMOVED_MAX)
        self._nodes = nodes
        self._heard = heard
        self._send = send
        self._record = record

    def restore(self, record: Record) -> None:
        """Take in a group as a former head has left it."""
        assert record.value is not None
        facts, home, nodes, created = msgspec.msgpack.decode(record.value, type=_Kept)
        needs = [to_units(bundle) for bundle in facts.bundles]
        self.groups[record.key] = Group(facts, home, nodes, needs, created)

    def _keep(self, group: Group) -> None:
        kept = group.facts, group.home, group.nodes, group.created
        self._record(Record(GROUPS, group.facts.group, msgspec.msgpack.encode(kept)))

    # ------------------------------------------------------------------------------ what is asked

    def answer(self, node: str, owner: str, question: MakeGroup | RemoveGroup | GroupQuery) -> None:
        """An owner on ``node`` asks; perhaps it is answered later."""
        match question:
            case MakeGroup():
                self._make(node, owner, question)
            case RemoveGroup(request=request, group=name):
                group = self.groups.get(name)
                if group is not None:
                    self.remove(group)
                self._report(node, owner, request, [] if group is None else [self.removed[-1]])
            case GroupQuery(request=request):
                found = self._find(question)
                if question.wait and len(found) == 1 and not found[0].placed:
                    found[0].waiting.append((node, owner, request))
                else:
                    past = [] if found and not _asks_for_all(question) else self._past(question)
                    shown = [group.shown(self._why_not(group)) for group in found]
                    self._report(node, owner, request, shown + past)

    def _report(
        self, node: str, owner: str, request: int, facts: Iterable[GroupFacts], refusal: str = ""
    ) -> None:
        self._send(f"agent:{node}", Answered(owner, GroupsReport(request, tuple(facts), refusal)))

    def _make(self, node: str, owner: str, question: MakeGroup) -> None:
        facts = question.facts
        if facts.group in self.groups:
            # Asked again, since our answer was lost with a link.
            self._report(node, owner, question.request, [self.groups[facts.group].shown()])
            return
        if refusal := self._refusal(facts):
            self._report(node, owner, question.request, [], refusal)
            return
        facts = msgspec.structs.replace(facts, owner=owner)
        group = Group(facts, node, [""] * len(facts.bundles), [to_units(bundle) for bundle in facts.bundles])
        self.groups[facts.group] = group
        self._keep(group)
        self.place_all()
        self._report(node, owner, question.request, [group.shown(self._why_not(group))])

    def _refusal(self, facts: GroupFacts) -> str:
        """Why there can be no such group; "" if there can."""
        if facts.strategy not in STRATEGIES or len(facts.labels) not in (0, len(facts.bundles)):
            return f"no such placement group can be made: {facts}"
        try:
            for bundle in facts.bundles:
                to_units(bundle)
        except ValueError as error:
            return str(error)
        named = (facts.name, facts.namespace)
        if facts.name and any((g.facts.name, g.facts.namespace) == named for g in self.groups.values()):
            return f"there is a placement group named {facts.name!r} already; remove it, or take another name"
        return ""

    def _find(self, query: GroupQuery) -> list[Group]:
        if query.group:
            return [self.groups[query.group]] if query.group in self.groups else []
        return [group for group in self.groups.values() if _is_named(group.facts, query)]

    def _past(self, query: GroupQuery) -> list[GroupFacts]:
        if query.group:
            return [facts for facts in self.removed if facts.group == query.group][-1:]
        return [] if query.name else list(self.removed)

    def _why_not(self, group: Group) -> str:
        """Why it is not placed, if it is not: whether it ever can be."""
        if group.placed or group.plan:
            return ""
        wanted = _missing(group)
        rooms = [Room(node.node, to_units(node.total), node.labels) for node in self._nodes()]
        fixed = {index: node for index, node in enumerate(group.nodes) if node}
        if place_bundles(group.facts.strategy, wanted, rooms, fixed, group.facts.target) is not None:
            return "there is no room for it at present"
        have = "; ".join(f"{node.node} has {show(node.total)}" for node in self._nodes())
        return (
            f"no nodes have room for its bundles ({group.facts.strategy}), even if nothing else ran: {have}"
        )

    def watch(self, node: str, name: str) -> None:
        """An agent is to be told of a group from now on."""
        group = self.groups.get(name)
        if group is None:
            self._send(f"agent:{node}", GroupNews(GroupFacts(name, (), "PACK", state="removed")))
            return
        group.watchers.add(node)
        self._send(f"agent:{node}", GroupNews(group.shown()))

    # -------------------------------------------------------------------------------- reserving

    def place_all(self) -> None:
        """Try each group that misses bundles, and is not being placed."""
        for group in self.groups.values():
            if not group.placed and not group.plan:
                self._place(group)

    def _place(self, group: Group) -> None:
        promised = self._promised()
        rooms = [
            Room(node.node, without(to_units(node.available), promised.get(node.node, {})), node.labels)
            for node in self._nodes()
        ]
        fixed = {index: node for index, node in enumerate(group.nodes) if node}
        plan = place_bundles(group.facts.strategy, _missing(group), rooms, fixed, group.facts.target)
        if plan is None:
            return
        group.round += 1
        group.plan, group.awaited = plan, set(plan.values())
        for node in sorted(group.awaited):
            bundles = {index: group.facts.bundles[index] for index in sorted(plan) if plan[index] == node}
            self._send(f"agent:{node}", Reserve(group.facts.group, group.round, bundles))

    def _promised(self) -> dict[str, Amounts]:
        """What is on its way to the nodes, and not in what they have reported."""
        promised: dict[str, Amounts] = {}
        for group in self.groups.values():
            for index, node in group.plan.items():
                if node in group.awaited:
                    add(promised.setdefault(node, {}), group.needs[index])
        return promised

    def reserved(self, node: str, message: Reserved) -> None:
        """A node has answered."""
        self._heard(node, message.available)
        group = self.groups.get(message.group)
        if group is None or message.round != group.round or node not in group.awaited:
            return  # of an attempt that was given up: that was said to it too
        group.awaited.discard(node)
        if not message.granted:
            self._give_up(group, but=node)
        elif not group.awaited:
            for index, place in group.plan.items():
                group.nodes[index] = place
            group.plan = {}
            group.created = True
            self._changed(group)
        self.place_all()

    def _give_up(self, group: Group, but: str = "") -> None:
        """One node of the plan has not got its part, so nobody is to have any. ``but``: one that has nothing anyway."""
        plan, group.plan, group.awaited = group.plan, {}, set()
        for node in sorted(set(plan.values()) - {but}):
            indices = tuple(sorted(index for index in plan if plan[index] == node))
            self._send(f"agent:{node}", Release(group.facts.group, indices, NOT_PLACED))

    def _changed(self, group: Group) -> None:
        """Keep it, and tell whoever wants to know."""
        self._keep(group)
        for node in sorted(group.watchers):
            self._send(f"agent:{node}", GroupNews(group.shown()))
        if group.placed:
            self._tell_waiting(group, group.shown())

    def _tell_waiting(self, group: Group, facts: GroupFacts) -> None:
        waiting, group.waiting = group.waiting, []
        for node, owner, request in waiting:
            self._report(node, owner, request, [facts])

    # ---------------------------------------------------------------------------------- the end

    def remove(self, group: Group) -> None:
        """Give back what it has on any node."""
        del self.groups[group.facts.group]
        self._record(Record(GROUPS, group.facts.group, None))
        facts = msgspec.structs.replace(group.facts, state="removed", nodes=tuple(group.nodes))
        self.removed.append(facts)
        places = {**{index: node for index, node in enumerate(group.nodes) if node}, **group.plan}
        for node in sorted(set(places.values())):
            indices = tuple(sorted(index for index in places if places[index] == node))
            self._send(f"agent:{node}", Release(group.facts.group, indices, REMOVED))
        for node in sorted(group.watchers):
            self._send(f"agent:{node}", GroupNews(facts))
        self._tell_waiting(group, facts)
        self.place_all()

    def owner_gone(self, node: str, owner: str) -> None:
        """Its groups end with it, but for the detached."""
        for group in list(self.groups.values()):
            group.waiting = [waiter for waiter in group.waiting if waiter[:2] != (node, owner)]
            if (group.home, group.facts.owner) == (node, owner) and not group.facts.detached:
                self.remove(group)

    def owners_gone(self, node: str, but: frozenset[str] = frozenset()) -> None:
        """All owners of a node are gone, but for these."""
        owners = dict.fromkeys(g.facts.owner for g in self.groups.values() if g.home == node)
        for owner in owners:
            if owner not in but:
                self.owner_gone(node, owner)
        for group in self.groups.values():
            group.waiting = [waiter for waiter in group.waiting if waiter[0] != node or waiter[1] in but]

    # ------------------------------------------------------------------------- nodes come and go

    def node_gone(self, node: str) -> None:
        """What was on it is lost, and so is whoever was there. It is none of ``nodes`` any more."""
        for group in self.groups.values():
            group.watchers.discard(node)
            if node in group.plan.values():
                self._give_up(group, but=node)
            self._lose(group, node, ())
        self.owners_gone(node)
        self.place_all()

    def node_says(self, node: str, bundles: Mapping[str, tuple[int, ...]]) -> None:
        """A node has said hello, with what it holds."""
        for group in self.groups.values():
            if node in group.plan.values():
                self._give_up(group)  # it may hear of it behind this hello
            self._lose(group, node, bundles.get(group.facts.group, ()))
        for name, indices in bundles.items():
            known = self.groups.get(name)
            wrong = [i for i in indices if known is None or i >= len(known.nodes) or known.nodes[i] != node]
            if wrong:
                reason = REMOVED if known is None else NOT_PLACED
                self._send(f"agent:{node}", Release(name, tuple(wrong), reason))
        self.place_all()

    def _lose(self, group: Group, node: str, kept: tuple[int, ...]) -> None:
        lost = [index for index, place in enumerate(group.nodes) if place == node and index not in kept]
        if lost:
            for index in lost:
                group.nodes[index] = ""
            self._changed(group)

    # ------------------------------------------------------------------------------------ oracle

    def check(self, nodes: Iterable[str]) -> None:
        """Assert every invariant."""
        known = set(nodes)
        for name, group in self.groups.items():
            assert group.facts.group == name
            assert {node for node in group.nodes if node} <= known, (
                f"group {name} has a bundle on a lost node"
            )
            assert set(group.plan.values()) <= known
            assert group.awaited <= set(group.plan.values())
            assert bool(group.plan) == bool(group.awaited), f"nobody is asked for group {name}"
            assert not any(group.nodes[index] for index in group.plan), "a bundle in two places"
            assert group.watchers <= known
            assert not (group.placed and group.waiting), "created, and somebody waits for it"
            assert group.home in known or group.facts.detached, (
                f"group {name} has outlived its creator's node"
            )
            _check_strategy(group)


def _check_strategy(group: Group) -> None:
    places = [node for node in group.nodes if node]
    if group.facts.strategy == "STRICT_SPREAD":
        assert len(places) == len(set(places)), "two bundles that must be spread on one node"
    if group.facts.strategy == "STRICT_PACK":
        assert len(set(places)) <= 1, "bundles that must be together on two nodes"


def _missing(group: Group) -> list[Wanted]:
    labels = group.facts.labels or ((),) * len(group.needs)
    return [
        Wanted(index, need, labels[index]) for index, need in enumerate(group.needs) if not group.nodes[index]
    ]


def _asks_for_all(query: GroupQuery) -> bool:
    return not query.group and not query.name


def _is_named(facts: GroupFacts, query: GroupQuery) -> bool:
    return not query.name or (facts.name, facts.namespace) == (query.name, query.namespace)
