"""The nodes of an autoscaler, and the calls to its provider. A part of the head's autoscaling.

A node of the fleet goes this way, under a name that is used once::

    asked ── NodeStarted ──► starting ── it joins ──► up ── LeaveIfIdle ──► leaving ── bye ──► stopping ──► gone
      └── refused, or not joined in ``join_s`` ────────────► stopping ◄── it was lost ───┘

    start ──► StartNode ─┐                ┌─► NodeStarted, NodeStopped, NodesListed
    leave ──► LeaveIfIdle│──► provider ───┤
    gone ───► StopNode ──┘                └─► NodeRefused: it rests, and the call is made again

**At most one call about a node is under way** (``calling``), and has a deadline: one that takes too long costs the
provider's process its life, and with the process all calls are over. What comes up meanwhile waits for the answer.

**What is journaled**: each name before the provider hears of it, until the provider has said that it is gone. A later
head, or a provider that was started again, asks for the list of what there is (until then nothing is ``listed``), and
then again for whatever was asked for and is not there: ``start`` is idempotent by name. Listed nodes of which nothing
is known are taken over.

Not here: which to start, and which may leave (``autoscaling``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

import msgspec

from distpool.scheduler.cores.backoff import Backoff
from distpool.scheduler.cores.deadlines import Deadlines
from distpool.scheduler.messages import (
    LeaveIfIdle,
    ListNodes,
    Message,
    NodeRefused,
    NodeReport,
    NodesListed,
    NodeStarted,
    NodeStopped,
    ProviderDown,
    ProviderHangs,
    ProviderUp,
    Record,
    ScalingSettings,
    StartNode,
    StopNode,
)

__all__ = ["COUNT", "PROVIDER", "SCALED", "FleetNode", "ScalingFleet"]

#: Tables of the journal: names that were asked for, and the highest number in one.
SCALED, COUNT = "scaled", "scaled_count"
#: What has failed, where it is not a type of node: the list, or the provider's process.
PROVIDER = "provider"
#: How long ``StopNode`` and ``ListNodes`` may take; a node that was told to leave has answered by then.
CALL_S = 60.0
ANSWER_S = 10.0
#: While a node is starting the list is asked for so often: one may end before it has joined.
LOOK_S = 5.0

STATES = ("asked", "starting", "up", "leaving", "stopping")
_Kept = tuple[str, bool]  # type, whether it is to be stopped


@dataclass(slots=True)
class FleetNode:
    """A node that was asked for, until it is known to be gone."""

    name: str
    node_type: str
    state: str  # one of ``STATES``
    since_s: float
    incarnation: int = 0  # while it is up
    idle_s: float = math.inf  # since when it is idle
    calling: bool = False  # a call about it is under way

    @property
    def is_coming(self) -> bool:
        """Whether it is counted on, and not there yet."""
        return self.state in ("asked", "starting")

    @property
    def is_there(self) -> bool:
        """Whether it has joined, and not left."""
        return self.state in ("up", "leaving")

    @property
    def is_going(self) -> bool:
        """Whether nothing is to be placed there any more."""
        return self.state in ("leaving", "stopping")


class ScalingFleet:
    """A part of ``Autoscaling``. ``joined`` gives the names of all nodes that are in the cluster (awaited or not)."""

    def __init__(
        self,
        settings: ScalingSettings,
        deadlines: Deadlines[tuple[str, str]],
        joined: Callable[[], Collection[str]],
        backoff: Backoff,
        send: Callable[[str, Message], None],
        record: Callable[[Record], None],
    ) -> None:
        self.nodes: dict[str, FleetNode] = {}
        self.listed = False  # whether the provider has told what there is, since it is up
        self._settings = settings
        self._types = {node_type.name: node_type for node_type in settings.types}
        self._count = 0  # the highest number in a name
        self._deadlines, self._joined, self._backoff = deadlines, joined, backoff
        self._send, self._record = send, record

    def __iter__(self) -> Iterator[FleetNode]:
        return iter(self.nodes.values())

    def __len__(self) -> int:
        return len(self.nodes)

    def restore(self, record: Record) -> None:
        """Take in what a former head has left."""
        assert record.value is not None
        if record.table == COUNT:
            self._count = int(record.value)
        else:
            node_type, stopping = _decode(record.value, type=_Kept)
            state = "stopping" if stopping else "asked"
            self.nodes[record.key] = FleetNode(record.key, node_type, state, -math.inf)

    def _keep(self, node: FleetNode) -> None:
        self._record(Record(SCALED, node.name, _encode((node.node_type, node.state == "stopping"))))

    # ---------------------------------------------------------------------------- what is decided

    def start(self, node_type: str, now: float) -> None:
        """Have another node of this type."""
        self._count += 1
        while f"{node_type}-{self._count}" in self._joined():
            self._count += 1
        self._record(Record(COUNT, "", str(self._count).encode()))
        node = FleetNode(f"{node_type}-{self._count}", node_type, "asked", now)
        self.nodes[node.name] = node
        self._keep(node)
        self._call_start(node, now)

    def leave(self, node: FleetNode, now: float) -> None:
        """Tell a node to leave if it is idle; it decides, and says so in its next report."""
        self._set(node, "leaving", now)
        self._send(f"agent:{node.name}", LeaveIfIdle(node.incarnation))
        self._deadlines.set(("scale-leave", node.name), now + ANSWER_S)

    # ------------------------------------------------------------------------------ what nodes say

    def has_joined(self, name: str, incarnation: int, now: float) -> None:
        """A node has said hello."""
        node = self.nodes.get(name)
        if node is None or not (node.is_coming or node.is_there):
            return
        if node.state != "up":
            self._backoff.succeeded(node.node_type)
        self._set(node, "up", now)
        node.incarnation, node.idle_s = incarnation, math.inf
        if not node.calling:
            self._deadlines.clear(("scale-join", name))

    def reported(self, name: str, report: NodeReport, now: float) -> None:
        """A node has said whether it is idle, and whether it leaves."""
        node = self.nodes.get(name)
        if node is None or not node.is_there:
            return
        if report.draining:
            if node.state == "up":
                self._set(node, "leaving", now)
            self._deadlines.clear(("scale-leave", name))
        elif not report.idle:
            node.idle_s = math.inf
            if node.state == "leaving":  # it was needed after all
                self._set(node, "up", now)
                self._deadlines.clear(("scale-leave", name))
        elif node.idle_s == math.inf:
            node.idle_s = now
            self._deadlines.set(("scale-idle", name), now + self._settings.idle_s)

    def gone(self, name: str, now: float) -> None:
        """A node has left, or was lost."""
        node = self.nodes.get(name)
        if node is not None and node.is_there:
            self._stop(node, now)

    # --------------------------------------------------------------------------- what the provider says

    def heard(self, message: Message, now: float) -> None:
        """A word of the provider, or about it."""
        match message:
            case ProviderUp():
                self.listed = False
                self._call_list(now)
            case ProviderDown(reason=reason):
                self.listed = False
                self._deadlines.clear(("scale-call", ""))
                self._deadlines.clear(("scale-list", ""))
                for node in self:
                    node.calling = False
                    self._deadlines.clear(("scale-call", node.name))
                self._backoff.failed(PROVIDER, reason, now)
            case NodesListed(nodes=nodes):
                self._backoff.succeeded(PROVIDER)
                self._deadlines.clear(("scale-call", ""))
                if self.listed:
                    self._look(nodes, now)
                else:
                    self._reconcile(nodes, now)
                self._look_again(now)
            case NodeRefused(name="", reason=reason):
                self._deadlines.clear(("scale-call", ""))
                self._deadlines.set(("scale-list", ""), self._backoff.failed(PROVIDER, reason, now))
            case NodeStarted(name=name):
                if (called := self._answered(name)) is not None:
                    self._started(called, now)
            case NodeStopped(name=name):
                if (called := self._answered(name)) is not None and called.state == "stopping":
                    self._backoff.succeeded(PROVIDER)
                    self._forget(called)
            case NodeRefused(name=name, reason=reason):
                if (called := self._answered(name)) is not None:
                    self._refused(called, reason, now)
            case _:
                raise AssertionError(f"a provider does not say {message}")

    def _answered(self, name: str) -> FleetNode | None:
        """The call about this node is over."""
        node = self.nodes.get(name)
        if node is not None:
            node.calling = False
            self._deadlines.clear(("scale-call", name))
        return node

    def _started(self, node: FleetNode, now: float) -> None:
        if node.state == "asked":
            self._set(node, "starting", now)
            self._look_again(now)
        elif node.state == "stopping":
            self._call_stop(node, now)  # it was given up, or lost, while this call went on
        else:
            self._deadlines.clear(("scale-join", node.name))

    def _refused(self, node: FleetNode, reason: str, now: float) -> None:
        if node.state == "asked":
            self._backoff.failed(node.node_type, reason, now)
            self._stop(node, now)  # perhaps a part of it is there
        elif node.state == "stopping":
            until_s = self._backoff.failed(PROVIDER, f"{node.name} cannot be stopped: {reason}", now)
            self._deadlines.set(("scale-again", node.name), until_s)
        else:
            self._deadlines.clear(("scale-join", node.name))

    def _look(self, there: Mapping[str, str], now: float) -> None:
        """Who was on its way, and is not there any more, never joins."""
        for node in list(self):
            waited = node.state == "starting" and not node.calling and now >= node.since_s + LOOK_S
            if waited and node.name not in there:
                self._backoff.failed(node.node_type, f"{node.name} has ended before it had joined", now)
                self._stop(node, now)

    def _look_again(self, now: float) -> None:
        if any(node.state == "starting" for node in self):
            self._deadlines.set(("scale-list", ""), now + LOOK_S)

    def _reconcile(self, there: Mapping[str, str], now: float) -> None:
        """What there is, and what should be: see the header."""
        self.listed = True
        for name, node_type in there.items():
            if name not in self.nodes:
                self.nodes[name] = node = FleetNode(name, node_type, "starting", now)
                self._raise_count(name)
                self._keep(node)
        joined = self._joined()
        for node in list(self):
            if node.calling:
                continue
            if node.state == "stopping":
                if node.name in there:
                    self._call_stop(node, now)
                else:
                    self._forget(node)
            elif node.name in joined:
                if node.is_coming:
                    self._set(node, "up", now)
            elif node.node_type not in self._types:
                self._stop(node, now)
            elif node.name in there:
                self._set(node, "starting", now)
                self._deadlines.set(("scale-join", node.name), now + self._settings.join_s)
            else:
                self._call_start(node, now)

    def _raise_count(self, name: str) -> None:
        number = name.rpartition("-")[2]
        if number.isdecimal() and int(number) > self._count:
            self._count = int(number)
            self._record(Record(COUNT, "", number.encode()))

    # -------------------------------------------------------------------------------------- calls

    def _call_start(self, node: FleetNode, now: float) -> None:
        self._set(node, "asked", now)
        node.calling = True
        self._send("provider", StartNode(node.name, self._types[node.node_type]))
        self._deadlines.set(("scale-join", node.name), now + self._settings.join_s)

    def _stop(self, node: FleetNode, now: float) -> None:
        """It has left, was lost or given up: what remains is the provider's to let go of."""
        for kind in ("scale-join", "scale-idle", "scale-leave"):
            self._deadlines.clear((kind, node.name))
        self._set(node, "stopping", now)
        self._keep(node)
        if self.listed and not node.calling:
            self._call_stop(node, now)

    def _call_stop(self, node: FleetNode, now: float) -> None:
        node.calling = True
        self._send("provider", StopNode(node.name))
        self._deadlines.set(("scale-call", node.name), now + CALL_S)

    def _call_list(self, now: float) -> None:
        self._deadlines.clear(("scale-list", ""))
        self._send("provider", ListNodes())
        self._deadlines.set(("scale-call", ""), now + CALL_S)

    def _set(self, node: FleetNode, state: str, now: float) -> None:
        if node.state != state or node.since_s == -math.inf:
            node.state, node.since_s = state, now

    def _forget(self, node: FleetNode) -> None:
        del self.nodes[node.name]
        for kind in ("scale-again", "scale-call"):
            self._deadlines.clear((kind, node.name))
        self._record(Record(SCALED, node.name, None))

    # -------------------------------------------------------------------------------------- the clock

    def due(self, kind: str, name: str, now: float) -> None:
        """A deadline of a call's, or of a node's."""
        if kind == "scale-list":
            self._call_list(now)
            return
        if kind == "scale-call":
            what = f"stopping {name}" if name else "listing the nodes"
            self._hang(f"{what} has taken longer than {CALL_S:g} s", now)
            return
        node = self.nodes.get(name)
        if node is None:
            return
        if kind == "scale-again" and self.listed and not node.calling:
            self._call_stop(node, now)
        elif kind == "scale-join":
            self._late(node, now)
        elif kind == "scale-leave" and node.state == "leaving":
            self._set(node, "up", now)  # our word was lost, or its answer
            node.idle_s = math.inf

    def _late(self, node: FleetNode, now: float) -> None:
        """It has not joined in time, or the call that was to start it still goes on."""
        join_s = self._settings.join_s
        if node.is_there:
            if node.calling:
                self._hang(f"starting {node.name}, which is up, has taken longer than {join_s:g} s", now)
            return
        reason = f"{node.name} has not joined within {join_s:g} s, and is given up"
        self._backoff.failed(node.node_type, reason, now)
        if node.calling:
            self._hang(f"starting {node.name} has taken longer than {join_s:g} s", now)
        self._stop(node, now)

    def _hang(self, reason: str, now: float) -> None:
        self._backoff.failed(PROVIDER, reason, now)
        self._send("provider", ProviderHangs(reason))

    # -------------------------------------------------------------------------------------- oracle

    def check(self) -> None:
        """Assert every invariant."""
        is_ours = all(node.node_type in self._types for node in self)  # none that was taken over
        assert len(self) <= self._settings.max_nodes or not self.listed or not is_ours, (
            "more than there may be"
        )
        joined = self._joined()
        for name, node in self.nodes.items():
            assert node.name == name
            assert node.state in STATES
            if node.is_there:
                assert name in joined, f"{name} is {node.state}, and not there"
            if node.calling:
                assert self.listed, f"the call about {name} will not be answered"
                if node.state == "asked":
                    assert ("scale-join", name) in self._deadlines.at_s, f"the call about {name} has no limit"
            if node.state == "starting" and self.listed:
                assert ("scale-join", name) in self._deadlines.at_s, f"{name} is waited for without end"


_encode = msgspec.msgpack.encode
_decode = msgspec.msgpack.decode
