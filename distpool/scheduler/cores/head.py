"""HeadCore: which nodes there are, what of them is free, and a few small keys.

It is the cluster's memory, never on a task's path: it hears from a node when that joins, leaves, and a few times a
second at most when its free resources changed. It grants nothing; agents decide by the View that it spreads::

    NodeHello ──► nodes ──► View ──► every agent
    NodeReport ─► nodes ──► View, if it would change a decision, and not more often than every ``view_s``
                    └─────► groups (``head_groups``) ──► Reserve, Release

A node that is silent for ``node_silent_s`` is dead to it. The node ``home`` shares the head's process: it has nothing
to prove by heartbeats, and is never silent alone.

Owners ask through their agents (``Asked``, ``Answered``): which nodes there are, for keys (``head_keys``), for
placement groups, and what others know (``head_surveys``). What the head keeps in an owner's name goes when the owner's
agent says that it has ended (``OwnerGone``), or with its node.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from distpool.scheduler.cores.deadlines import Deadlines
from distpool.scheduler.cores.head_groups import Groups
from distpool.scheduler.cores.head_keys import Keys
from distpool.scheduler.cores.head_surveys import Surveys
from distpool.scheduler.limits import Limits
from distpool.scheduler.messages import (
    Answered,
    Asked,
    FactsQuery,
    FactsReport,
    GroupQuery,
    LinkLost,
    MakeGroup,
    Message,
    NodeAnswers,
    NodeBye,
    NodeFacts,
    NodeHello,
    NodeReport,
    NodeWelcome,
    OwnerGone,
    RemoveGroup,
    Reserved,
    Survey,
    Tick,
    View,
    WakeAt,
    WatchGroup,
)

#: The number of the store of the head's own node, which needs no welcome.
HOME_STORE = 1
#: Nodes that are gone and still told of.
GONE_MAX = 100

Output = list[tuple[str, Message]]


@dataclass(slots=True)
class _Node:
    sender: str
    incarnation: int
    facts: NodeFacts
    told: Mapping[str, int]  # how free the last View said that it is, coarsely


class HeadCore:
    """The state machine of a cluster's head."""

    def __init__(self, limits: Limits, home: str = "") -> None:
        self.limits = limits
        self.home = home
        self.nodes: dict[str, _Node] = {}
        self.gone: deque[NodeFacts] = deque(maxlen=GONE_MAX)  # left or lost, the latest last
        self.keys = Keys()
        self.stores = HOME_STORE  # the highest number of a store that was given out
        self.version = 0
        self.viewed_s = float("-inf")  # when the last View was spread
        self.deadlines: Deadlines[tuple[str, str]] = Deadlines()
        self._out: Output = []
        self.groups = Groups(lambda: (node.facts for node in self.nodes.values()), self._free_now, self._send)
        self.surveys = Surveys(limits, self.deadlines, self._send)
        self._now = 0.0

    def receive(self, sender: str, message: Message, now: float) -> Output:
        """Take in one message and return the messages that it causes, in the order in which they must be sent."""
        self._now = now
        match message:
            case NodeHello():
                self._hello(sender, message, now)
            case NodeReport(incarnation=incarnation, available=available):
                self._report(sender, incarnation, available, now)
            case NodeBye(incarnation=incarnation):
                if (node := self._known(sender, incarnation)) is not None:
                    self._remove(node, now)
            case LinkLost():
                for node in [node for node in self.nodes.values() if node.sender == sender]:
                    self._remove(node, now)
            case Asked(owner=owner):
                self._asked(sender, owner, message, now)
            case OwnerGone(owner=owner):
                self.keys.owner_gone((_name(sender), owner))
                self.groups.owner_gone(_name(sender), owner)
            case Reserved():
                self.groups.reserved(_name(sender), message)
            case NodeAnswers():
                self.surveys.heard(_name(sender), message)
            case WatchGroup(group=group):
                if _name(sender) in self.nodes:
                    self.groups.watch(_name(sender), group)
            case Tick():
                self._tick(now)
            case _:
                raise AssertionError(f"nobody says {message} to a head")
        if (at_s := self.deadlines.wake()) is not None:
            self._out.append(("timer", WakeAt(at_s)))
        out, self._out = self._out, []
        return out

    def _send(self, address: str, message: Message) -> None:
        self._out.append((address, message))

    # ---------------------------------------------------------------------------------- nodes

    def _hello(self, sender: str, hello: NodeHello, now: float) -> None:
        """A rejoin replaces; a second living node of the same name, or a late word of an earlier life, is refused."""
        incarnation, facts = hello.incarnation, hello.facts
        known = self.nodes.get(facts.node)
        if known is not None and known.facts.address != facts.address:
            reason = (
                f"a node named {facts.node} is alive at {known.facts.address}; give this one another name"
            )
            self._out.append((sender, NodeWelcome(incarnation, False, reason)))
            return
        if known is not None and incarnation < known.incarnation:
            reason = f"a later start of node {facts.node} has joined already"
            self._out.append((sender, NodeWelcome(incarnation, False, reason)))
            return
        if known is not None and incarnation > known.incarnation:
            self.keys.node_gone(facts.node)  # its owners are not those of its earlier life
            self.groups.owners_gone(facts.node)
        facts = msgspec.structs.replace(facts, store=self._store_number(facts.store, hello.has_store))
        self.nodes[facts.node] = _Node(sender, incarnation, facts, {})
        self._heard(facts.node, now)
        self._out.append((sender, NodeWelcome(incarnation, True, store=facts.store)))
        self._spread(now)
        self.groups.node_says(facts.node, hello.bundles)

    def _store_number(self, number: int, has_store: bool) -> int:
        """Each store has a number of its own, for as long as there is anybody who may know of it."""
        self.stores = max(self.stores, number)
        if has_store and not number:
            self.stores = number = self.stores + 1
        return number

    def _known(self, sender: str, incarnation: int) -> _Node | None:
        node = self.nodes.get(_name(sender))
        return node if node is not None and node.incarnation == incarnation else None

    def _report(self, sender: str, incarnation: int, available: dict[str, float], now: float) -> None:
        node = self._known(sender, incarnation)
        if node is None:
            # It was taken for dead, or this head is new: it has to introduce itself again.
            self._out.append((sender, NodeWelcome(incarnation, False, "not known here; say hello again")))
            return
        self._heard(node.facts.node, now)
        self._free_now(node.facts.node, available)
        self.groups.place_all()

    def _free_now(self, name: str, available: Mapping[str, float]) -> None:
        """A node, if it is still one, has said what is free there."""
        node = self.nodes.get(name)
        if node is not None:
            node.facts = msgspec.structs.replace(node.facts, available=dict(available))
            if _coarse(node.facts) != node.told:
                self._spread_soon(self._now)

    def _heard(self, name: str, now: float) -> None:
        if name != self.home:
            self.deadlines.set(("silent", name), now + self.limits.node_silent_s)

    def _remove(self, node: _Node, now: float) -> None:
        del self.nodes[node.facts.node]
        self.deadlines.clear(("silent", node.facts.node))
        self.gone.append(node.facts)
        self.keys.node_gone(node.facts.node)
        self._spread(now)
        self.groups.node_gone(node.facts.node)
        self.surveys.node_gone(node.facts.node)

    def _tick(self, now: float) -> None:
        for kind, name in self.deadlines.due(now):
            if kind == "silent":
                self._remove(self.nodes[name], now)
            elif kind == "survey":
                self.surveys.late(name)
            elif any(_coarse(node.facts) != node.told for node in self.nodes.values()):
                self._spread(now)

    # ----------------------------------------------------------------------------------- view

    def _spread_soon(self, now: float) -> None:
        if now >= self.viewed_s + self.limits.view_s:
            self._spread(now)
        elif ("view", "") not in self.deadlines.at_s:
            self.deadlines.set(("view", ""), self.viewed_s + self.limits.view_s)

    def _spread(self, now: float) -> None:
        self.version += 1
        self.viewed_s = now
        self.deadlines.clear(("view", ""))
        view = View(self.version, tuple(node.facts for node in self.nodes.values()))
        for node in self.nodes.values():
            node.told = _coarse(node.facts)
            self._out.append((node.sender, view))

    # ------------------------------------------------------------------------------ questions

    def _asked(self, sender: str, owner: str, asked: Asked, now: float) -> None:
        node = _name(sender)
        if node not in self.nodes:
            return  # it was taken for dead, and says hello and asks again
        match asked.question:
            case FactsQuery(request=request):
                nodes = tuple(known.facts for known in self.nodes.values())
                answer = FactsReport(request, self.home, nodes, tuple(self.gone))
                self._out.append((sender, Answered(owner, answer)))
            case Survey() as survey:
                self.surveys.begin(sender, owner, survey, self.nodes, now)
            case MakeGroup() | RemoveGroup() | GroupQuery() as question:
                self.groups.answer(node, owner, question)
            case question:
                self._out.append((sender, Answered(owner, self.keys.answer(node, question))))

    # --------------------------------------------------------------------------------- oracle

    def check(self) -> None:
        """Assert every invariant; for tests and the simulator."""
        for name, node in self.nodes.items():
            assert node.facts.node == name
            assert node.sender == f"agent:{name}"
            for resource, free in node.facts.available.items():
                assert 0 <= free <= node.facts.total.get(resource, 0.0), (
                    f"{name} has more {resource} free than it has"
                )
        for kind, name in self.deadlines.at_s:
            assert kind == "view" or name in (self.surveys.open if kind == "survey" else self.nodes)
        self.surveys.check(self.nodes)
        self.keys.check()
        self.groups.check(self.nodes)
        assert {node for node, _ in self.keys.claims} <= set(self.nodes), "a key outlived its owner's node"


def _name(sender: str) -> str:
    """The node that an agent's address names."""
    return sender.partition(":")[2]


def _coarse(facts: NodeFacts) -> dict[str, int]:
    """How free a node is, in quarters: a change of less decides nothing elsewhere. None and a little differ."""
    free = facts.available
    return {name: math.ceil(4 * free.get(name, 0.0) / total) for name, total in facts.total.items() if total}
