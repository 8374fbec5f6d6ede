"""HeadCore: which nodes there are, what of them is free, and a few small keys.

It is the cluster's memory, never on a task's path: it hears from a node when that joins, leaves, and a few times a
second at most when its free resources changed. It grants nothing; agents decide by the View that it spreads::

    NodeHello ──► nodes ──► View ──► every agent
    NodeReport ─► nodes ──► View, if it would change a decision, and not more often than every ``view_s``

A node that is silent for ``node_silent_s`` is dead to it. The node ``home`` shares the head's process: it has nothing
to prove by heartbeats, and is never silent alone.

Keys are for what must exist once in the cluster (names, rendezvous): put-if-absent, get, delete.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from distpool.scheduler.cores.deadlines import Deadlines
from distpool.scheduler.limits import Limits
from distpool.scheduler.messages import (
    KeyAnswer,
    KeyDelete,
    KeyGet,
    KeyPut,
    LinkLost,
    Message,
    NodeBye,
    NodeFacts,
    NodeHello,
    NodeReport,
    NodeWelcome,
    Tick,
    View,
    WakeAt,
)

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
        self.keys: dict[str, bytes] = {}
        self.version = 0
        self.viewed_s = float("-inf")  # when the last View was spread
        self.deadlines: Deadlines[tuple[str, str]] = Deadlines()
        self._out: Output = []

    def receive(self, sender: str, message: Message, now: float) -> Output:
        """Take in one message and return the messages that it causes, in the order in which they must be sent."""
        match message:
            case NodeHello(incarnation=incarnation, facts=facts):
                self._hello(sender, incarnation, facts, now)
            case NodeReport(incarnation=incarnation, available=available):
                self._report(sender, incarnation, available, now)
            case NodeBye(incarnation=incarnation):
                if (node := self._known(sender, incarnation)) is not None:
                    self._remove(node, now)
            case LinkLost():
                for node in [node for node in self.nodes.values() if node.sender == sender]:
                    self._remove(node, now)
            case KeyPut() | KeyGet() | KeyDelete():
                self._out.append((sender, self._key(message)))
            case Tick():
                self._tick(now)
            case _:
                raise AssertionError(f"nobody says {message} to a head")
        if (at_s := self.deadlines.wake()) is not None:
            self._out.append(("timer", WakeAt(at_s)))
        out, self._out = self._out, []
        return out

    # ---------------------------------------------------------------------------------- nodes

    def _hello(self, sender: str, incarnation: int, facts: NodeFacts, now: float) -> None:
        """A rejoin replaces; a second living node of the same name, or a late word of an earlier life, is refused."""
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
        self.nodes[facts.node] = _Node(sender, incarnation, facts, {})
        self._heard(facts.node, now)
        self._out.append((sender, NodeWelcome(incarnation, True)))
        self._spread(now)

    def _known(self, sender: str, incarnation: int) -> _Node | None:
        node = self.nodes.get(sender.partition(":")[2])
        return node if node is not None and node.incarnation == incarnation else None

    def _report(self, sender: str, incarnation: int, available: dict[str, float], now: float) -> None:
        node = self._known(sender, incarnation)
        if node is None:
            # It was taken for dead, or this head is new: it has to introduce itself again.
            self._out.append((sender, NodeWelcome(incarnation, False, "not known here; say hello again")))
            return
        self._heard(node.facts.node, now)
        node.facts = msgspec.structs.replace(node.facts, available=available)
        if _coarse(node.facts) != node.told:
            self._spread_soon(now)

    def _heard(self, name: str, now: float) -> None:
        if name != self.home:
            self.deadlines.set(("silent", name), now + self.limits.node_silent_s)

    def _remove(self, node: _Node, now: float) -> None:
        del self.nodes[node.facts.node]
        self.deadlines.clear(("silent", node.facts.node))
        self._spread(now)

    def _tick(self, now: float) -> None:
        for kind, name in self.deadlines.due(now):
            if kind == "silent":
                self._remove(self.nodes[name], now)
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

    # ----------------------------------------------------------------------------------- keys

    def _key(self, message: KeyPut | KeyGet | KeyDelete) -> KeyAnswer:
        held = self.keys.get(message.key)
        match message:
            case KeyGet(request=request):
                return KeyAnswer(request, held)
            case KeyDelete(request=request, key=key):
                self.keys.pop(key, None)
                return KeyAnswer(request, held, held is not None)
            case KeyPut(request=request, key=key, value=value, overwrite=overwrite):
                if held is not None and not overwrite:
                    return KeyAnswer(request, held, False)
                self.keys[key] = value
                return KeyAnswer(request, value, True)

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
            assert kind == "view" or name in self.nodes


def _coarse(facts: NodeFacts) -> dict[str, int]:
    """How free a node is, in quarters: a change of less decides nothing elsewhere. None and a little differ."""
    free = facts.available
    return {name: math.ceil(4 * free.get(name, 0.0) / total) for name, total in facts.total.items() if total}
