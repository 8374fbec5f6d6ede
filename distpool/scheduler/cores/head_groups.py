"""The head's placement groups: which bundle is on which node, and how it gets there.

::

                       Reserve ──► every node of the plan           RemoveGroup, the end of its creator
    MakeGroup ─► pending ────────────────────────────────► created ──────────────────► removed
                    ▲      all Reserved                       │                           │
                    └── one refused or was lost:              │ a node is lost            └── Release ──► its nodes
                        Release to the others                 ▼
                                                        rescheduling ── as pending, for what is missing

A plan is made by ``place_bundles`` from what the nodes say is free, less what is on its way to them. It is tried again
whenever a node comes, goes, or reports; groups that wait are tried in the order in which they were made.

Small tasks could take for ever what a large group waits for. So one that has waited for ``group_patience_s`` is planned
on what can come free (``head_rooms``), and the nodes of that plan are asked to make room (``Reserve.wait_s``). There is
one such group at a time, the one that has waited for longest; the others, and tasks, have the rest. It is bounded: by
then it is placed, or rests for as long as it was waited for, so at most half of the time is spent in vain.

Links are first in first out, so after a Release a node has nothing of that attempt, and an answer to it says nothing
any more: its ``round`` is not the group's.

A node says hello with the bundles that it has. What it has not got is lost, and what it should not have is released. A
group and its places are journaled; what is under way is not, so a head that has been started again gives that back.
Agents that have asked for a group (``WatchGroup``) are told where it is after each change. Not here: leases, which the
head never hears of.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping

import msgspec

from distpool.scheduler.cores.deadlines import Deadlines
from distpool.scheduler.cores.head_rooms import Group, Rooms, check_strategy, missing_of, plan_for
from distpool.scheduler.cores.packing import Demand
from distpool.scheduler.cores.place_bundles import STRATEGIES, Plan
from distpool.scheduler.cores.resources import Amounts, add, show, to_units
from distpool.scheduler.limits import Limits
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
#: The head's deadline for the group that has waited for longest.
PATIENCE = ("group", "")


_Kept = tuple[GroupFacts, str, list[str], bool]  # facts, home, nodes, created


class Groups:
    """A part of ``HeadCore``. ``nodes`` gives the facts of those that are there, ``heard`` takes what one has free.

    ``record`` takes what the head's journal is to keep, ``clock`` tells the time of this step.
    """

    def __init__(
        self,
        nodes: Callable[[], Iterable[NodeFacts]],
        heard: Callable[[str, Mapping[str, float]], None],
        send: Callable[[str, Message], None],
        record: Callable[[Record], None],
        limits: Limits,
        deadlines: Deadlines[tuple[str, str]],
        clock: Callable[[], float],
    ) -> None:
        self.groups: dict[str, Group] = {}
        self.removed: deque[GroupFacts] = deque(maxlen=REMOVED_MAX)
        self._nodes = nodes
        self._heard = heard
        self._send = send
        self._record = record
        self._limits = limits
        self._deadlines = deadlines
        self._clock = clock
        self.rooms = Rooms(nodes, self.groups)

    def restore(self, record: Record, now: float) -> None:
        """Take in a group as a former head has left it."""
        assert record.value is not None
        facts, home, nodes, created = msgspec.msgpack.decode(record.value, type=_Kept)
        needs = [to_units(bundle) for bundle in facts.bundles]
        self.groups[record.key] = Group(facts, home, nodes, needs, now, created)

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
        needs = [to_units(bundle) for bundle in facts.bundles]
        group = Group(facts, node, [""] * len(needs), needs, self._clock())
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
        if group.held:
            return (
                f"room is made for it on {', '.join(sorted(group.awaited))}, where nothing new begins before"
            )
        if group.placed or group.plan:
            return ""
        if plan_for(group, self.rooms.whole()) is not None:
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
        """Try each group that misses bundles, and is not being placed; make room for one that has long waited."""
        for group in self.groups.values():
            if (
                not group.placed
                and not group.plan
                and (plan := plan_for(group, self.rooms.free())) is not None
            ):
                self._reserve(group, plan)
        self._make_room()

    def _make_room(self) -> None:
        if any(group.held for group in self.groups.values()):
            return
        self._deadlines.clear(PATIENCE)
        now, next_s = self._clock(), math.inf
        waiting = [group for group in self.groups.values() if not group.placed and not group.plan]
        for group in sorted(waiting, key=lambda group: group.since_s):
            ripe_s = group.since_s + self._patience_s(group)
            if now < ripe_s:
                next_s = min(next_s, ripe_s)
            elif (plan := plan_for(group, self.rooms.to_come())) is not None:
                group.held = True
                self._reserve(group, plan, self._wait_s(group.refusals))
                return
        self._deadlines.set(PATIENCE, next_s)

    def _patience_s(self, group: Group) -> float:
        return self._wait_s(group.refusals - 1) if group.refusals else self._limits.group_patience_s

    def _wait_s(self, refusals: int) -> float:
        return min(self._limits.group_wait_s * 2.0 ** min(refusals, 30), self._limits.group_wait_s_max)

    def _reserve(self, group: Group, plan: Plan, wait_s: float = 0.0) -> None:
        group.round += 1
        group.plan, group.awaited = plan, set(plan.values())
        for node in sorted(group.awaited):
            bundles = {index: group.facts.bundles[index] for index in sorted(plan) if plan[index] == node}
            self._send(f"agent:{node}", Reserve(group.facts.group, group.round, bundles, wait_s))

    def demand(self) -> list[Demand]:
        """What there is no room for at present, in the autoscaler's words; nodes may make it in vain."""
        demands: list[Demand] = []
        for name, group in self.groups.items():
            if group.placed or (group.plan and not group.held):
                continue
            wanted = missing_of(group)
            if group.facts.strategy == "STRICT_PACK":
                whole: Amounts = {}
                for bundle in wanted:
                    add(whole, bundle.need)
                labels = tuple(dict.fromkeys(term for bundle in wanted for term in bundle.labels))
                demands.append(Demand(whole, 1, labels))
            else:
                apart = name if group.facts.strategy == "STRICT_SPREAD" else ""
                demands += [Demand(bundle.need, 1, tuple(bundle.labels), apart) for bundle in wanted]
        return demands

    def reserved(self, node: str, message: Reserved) -> None:
        """A node has answered."""
        self._heard(node, message.available)
        group = self.groups.get(message.group)
        if group is None or message.round != group.round or node not in group.awaited:
            return  # of an attempt that was given up: that was said to it too
        group.awaited.discard(node)
        if not message.granted:
            if group.held:
                group.refusals += 1
                group.since_s = self._clock()
            self._give_up(group, but=node)
        elif not group.awaited:
            for index, place in group.plan.items():
                group.nodes[index] = place
            group.plan, group.held, group.refusals = {}, False, 0
            group.created = True
            self._changed(group)
        self.place_all()

    def _give_up(self, group: Group, but: str = "") -> None:
        """One node of the plan has not got its part, so nobody is to have any. ``but``: one that has nothing anyway."""
        plan, group.plan, group.awaited, group.held = group.plan, {}, set(), False
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
        self.rooms.gone(node)
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
            elif group.held and plan_for(group, self.rooms.free()) is not None:
                self._give_up(group)  # a node has come that has all the room that it waits for
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
            group.since_s = self._clock() if group.placed else group.since_s
            for index in lost:
                group.nodes[index] = ""
            self._changed(group)

    # ------------------------------------------------------------------------------------ oracle

    def check(self, nodes: Iterable[str]) -> None:
        """Assert every invariant."""
        known = set(nodes)
        assert sum(group.held for group in self.groups.values()) <= 1, "room is made for two groups at a time"
        self.rooms.check(known)
        for name, group in self.groups.items():
            assert group.facts.group == name
            assert {node for node in group.nodes if node} <= known, (
                f"group {name} has a bundle on a lost node"
            )
            assert set(group.plan.values()) <= known
            assert group.awaited <= set(group.plan.values())
            assert bool(group.plan) == bool(group.awaited), f"nobody is asked for group {name}"
            assert group.plan or not group.held, f"room is made for group {name}, and nobody was asked to"
            assert not any(group.nodes[index] for index in group.plan), "a bundle in two places"
            assert group.watchers <= known
            assert not (group.placed and group.waiting), "created, and somebody waits for it"
            assert group.home in known or group.facts.detached, (
                f"group {name} has outlived its creator's node"
            )
            check_strategy(group)


def _asks_for_all(query: GroupQuery) -> bool:
    return not query.group and not query.name


def _is_named(facts: GroupFacts, query: GroupQuery) -> bool:
    return not query.name or (facts.name, facts.namespace) == (query.name, query.namespace)
