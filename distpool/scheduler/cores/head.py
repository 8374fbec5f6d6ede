"""HeadCore: which nodes there are, what of them is free, and a few small keys.

It is the cluster's memory, never on a task's path: it hears from a node when that joins, leaves, and a few times a
second at most when its free resources changed. It grants nothing; agents decide by the View that it spreads::

    NodeHello ──► nodes ──► View ──► every agent
    NodeReport ─► nodes ──► View, if it would change a decision, and not more often than every ``view_s``
                    └─────► groups (``head_groups``) ──► Reserve, Release

A node that is silent for ``node_silent_s`` is dead to it. The node ``home`` shares the head's process: it has nothing
to prove by heartbeats, and is never silent alone.

Owners ask through their agents (``Asked``, ``Answered``): which nodes there are, for keys (``head_keys``), for
placement groups, and what others know (``head_surveys``); commands also for jobs (``head_jobs``).
What the head keeps in an owner's name goes when the owner's agent says that it has ended (``OwnerGone``), or says hello
without naming it, or with its node.

A head may die. What it must know again is journaled: each ``Record`` is durable before what is said in the same step
leaves. ``restore`` begins where the journal ends, as the next *epoch*::

    journaled   nodes (incarnation, facts), keys and their owners, answers that may not have come, groups, places, jobs
    said anew   by each node in its NodeHello: what is free, which bundles it has, which of its owners live
    let go      who is being asked, reservations under way, who waits (they ask again), what was removed long ago

Until a node has said hello again it is *awaited*: shown in Views as it was, asked for nothing, and lost after
``node_silent_s``. A node that has known a later epoch is refused: this head has been started from an old journal.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec

from distpool.scheduler.cores.autoscaling import TABLES as SCALING
from distpool.scheduler.cores.autoscaling import Autoscaling
from distpool.scheduler.cores.deadlines import Deadlines
from distpool.scheduler.cores.head_groups import Groups
from distpool.scheduler.cores.head_jobs import Jobs
from distpool.scheduler.cores.head_keys import Keys
from distpool.scheduler.cores.head_surveys import Surveys
from distpool.scheduler.limits import Limits
from distpool.scheduler.messages import (
    Answered,
    Asked,
    FactsQuery,
    FactsReport,
    GroupQuery,
    JobQuery,
    JobSays,
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
    Record,
    RemoveGroup,
    RequestResources,
    Reserved,
    ResourcesNoted,
    ScalingSettings,
    StopJob,
    SubmitJob,
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
#: So many Views at most before the head is started again: their numbers only grow.
VIEWS_MAX = 1_000_000_000
#: Tables of the journal. Those of groups, keys and jobs are ``head_groups``', ``head_keys``' and ``head_jobs``'.
EPOCH, NODES, GONE, STORES = "epoch", "node", "gone", "store"

Output = list[tuple[str, Message]]


@dataclass(slots=True)
class _Node:
    sender: str
    incarnation: int
    facts: NodeFacts
    told: Mapping[str, int]  # how free the last View said that it is, coarsely
    awaited: bool = False  # it has not said hello to this head, but to an earlier one


class HeadCore:
    """The state machine of a cluster's head."""

    def __init__(self, limits: Limits, home: str = "", scaling: ScalingSettings | None = None) -> None:
        self.limits = limits
        self.home = home
        self.nodes: dict[str, _Node] = {}
        self.gone: deque[NodeFacts] = deque(maxlen=GONE_MAX)  # left or lost, the latest last
        self.stores = HOME_STORE  # the highest number of a store that was given out
        self.incarnations: dict[str, int] = {}  # the latest of those that are gone
        self.epoch = 0  # 0: without a journal
        self.keys = Keys(limits, self._record)
        self.version = 0
        self.viewed_s = float("-inf")  # when the last View was spread
        self.deadlines: Deadlines[tuple[str, str]] = Deadlines()
        self._out: Output = []
        self.groups = Groups(
            self._takers,
            self._free_now,
            self._send,
            self._record,
            limits,
            self.deadlines,
            lambda: self._now,
        )
        self.jobs = Jobs(self._job_refusal, self._send, self._record)
        self.surveys = Surveys(limits, self.deadlines, self._send)
        self.scaling: Autoscaling | None = None
        if scaling is not None:
            self.scaling = Autoscaling(
                scaling,
                self.deadlines,
                lambda: {name: node.facts for name, node in self.nodes.items()},
                self.groups.demand,
                self._send,
                self._record,
            )
        self._now = 0.0

    def _takers(self) -> list[NodeFacts]:
        """Where a bundle may be placed."""
        return [
            node.facts
            for name, node in self.nodes.items()
            if not (node.awaited or node.facts.draining or (self.scaling and self.scaling.is_leaving(name)))
        ]

    def restore(self, records: Iterable[Record], now: float) -> None:
        """Have a journal from now on, and begin with what it holds. To be called once, before anything is received."""
        for record in records:
            assert record.value is not None
            match record.table:
                case "epoch":
                    self.epoch = int(record.value)
                case "node":
                    incarnation, facts = _decode_node(record.value)
                    awaited = _Node(f"agent:{facts.node}", incarnation, facts, _coarse(facts), awaited=True)
                    self.nodes[facts.node] = awaited
                    self.deadlines.set(("silent", facts.node), now + self.limits.node_silent_s)
                case "gone":
                    incarnation, facts = _decode_node(record.value)
                    self.incarnations[facts.node] = incarnation
                    self.gone.append(facts)
                case "store":
                    self.stores = int(record.value)
                case "group":
                    self.groups.restore(record, now)
                case table if table in SCALING:
                    if self.scaling is not None:
                        self.scaling.restore(record)
                case "job":
                    self.jobs.restore(record)
                case _:
                    self.keys.restore(record)
        self.epoch += 1
        self.version = (self.epoch - 1) * VIEWS_MAX
        self._record(Record(EPOCH, "", str(self.epoch).encode()))
        if (at_s := self.deadlines.wake()) is not None:
            self._out.append(("timer", WakeAt(at_s)))

    def receive(self, sender: str, message: Message, now: float) -> Output:
        """Take in one message and return the messages that it causes, in the order in which they must be sent."""
        self._now = now
        match message:
            case NodeHello():
                self._hello(sender, message, now)
            case NodeReport():
                self._report(sender, message, now)
            case NodeBye(incarnation=incarnation):
                if (node := self._known(sender, incarnation)) is not None:
                    self._remove(node, now)
                    self.keys.node_gone(node.facts.node)
            case LinkLost():
                if self._is_here(sender):
                    self._remove(self.nodes[_name(sender)], now)
            case Tick():
                self._tick(now)
            case _ if sender == "provider":
                assert self.scaling is not None, "nobody has a provider without an autoscaler"
                self.scaling.heard(message, now)
            case _ if not self._is_here(sender):
                pass  # it is taken for dead, or awaited: it says hello, and what matters again
            case Asked():
                self._asked(sender, message, now)
            case OwnerGone(owner=owner):
                self.keys.owner_gone((_name(sender), owner))
                self.groups.owner_gone(_name(sender), owner)
                if self.scaling is not None:
                    self.scaling.owner_gone(_name(sender), owner, now)
            case Reserved():
                self.groups.reserved(_name(sender), message)
            case JobSays():
                self.jobs.heard(_name(sender), message)
            case NodeAnswers():
                self.surveys.heard(_name(sender), message)
            case WatchGroup(group=group):
                self.groups.watch(_name(sender), group)
            case _:
                raise AssertionError(f"nobody says {message} to a head")
        if (at_s := self.deadlines.wake()) is not None:
            self._out.append(("timer", WakeAt(at_s)))
        out, self._out = self._out, []
        return out

    def _send(self, address: str, message: Message) -> None:
        self._out.append((address, message))

    def _record(self, record: Record) -> None:
        if self.epoch:
            self._out.append(("journal", record))

    def _is_here(self, sender: str) -> bool:
        node = self.nodes.get(_name(sender))
        return node is not None and not node.awaited

    # ---------------------------------------------------------------------------------- nodes

    def _hello(self, sender: str, hello: NodeHello, now: float) -> None:
        """A rejoin replaces; a second living node of the same name, or a late word of an earlier life, is refused."""
        name, incarnation = hello.facts.node, hello.incarnation
        if reason := self._refusal(hello):
            latest = self._latest(name)
            latest = latest if latest > incarnation else 0
            self._out.append(
                (sender, NodeWelcome(incarnation, False, reason, epoch=self.epoch, latest=latest))
            )
            return
        self._lose_awaited_at(hello.facts, now)
        known = self.nodes.get(name)
        earlier = (
            known is None or incarnation > known.incarnation
        )  # its owners are not those of its earlier life
        claimants = frozenset() if earlier else frozenset(hello.claimants)
        same = incarnation == self._latest(name)  # lost or not
        self.keys.node_gone(name, but=frozenset(hello.claimants) if same else frozenset())
        self.groups.owners_gone(name, but=claimants)
        if earlier:
            self.jobs.node_gone(name, f"node {name} has ended, and been started again")
        facts = msgspec.structs.replace(
            hello.facts, store=self._store_number(hello.facts.store, hello.has_store)
        )
        self.nodes[name] = _Node(sender, incarnation, facts, {})
        self._record(Record(NODES, name, _encode((incarnation, facts))))
        if self.incarnations.pop(name, None) is not None:
            self._record(Record(GONE, name, None))
        self.deadlines.clear(("silent", name))
        self._heard(name, now)
        self._out.append((sender, NodeWelcome(incarnation, True, store=facts.store, epoch=self.epoch)))
        self._spread(now)
        self.groups.node_says(name, hello.bundles)
        if self.scaling is not None:
            self.scaling.owners_gone(name, claimants, now)
            self.scaling.joined(name, incarnation, now)
        self.jobs.node_says_hello(name)

    def _refusal(self, hello: NodeHello) -> str:
        """Why a node cannot come in; "" if it can."""
        name, known = hello.facts.node, self.nodes.get(hello.facts.node)
        if hello.epoch > self.epoch > 0:
            return (
                f"node {name} has known start {hello.epoch} of this cluster's head, and this is start {self.epoch}: "
                "its journal is an old copy"
            )
        if (
            known is not None
            and known.facts.address != hello.facts.address
            and not (known.awaited and hello.incarnation > known.incarnation)
        ):
            return f"a node named {name} is alive at {known.facts.address}; give this one another name"
        if hello.incarnation < self._latest(name):
            return f"a later start of node {name} has joined already"
        return ""

    def _latest(self, name: str) -> int:
        """The latest start of a node of this name that is remembered; 0: none is."""
        known = self.nodes.get(name)
        return self.incarnations.get(name, 0) if known is None else known.incarnation

    def _lose_awaited_at(self, facts: NodeFacts, now: float) -> None:
        """Nobody else is where this node is: whoever was there, and is awaited, does not come again."""
        for node in list(self.nodes.values()):
            if node.awaited and node.facts.address == facts.address and node.facts.node != facts.node:
                self._remove(node, now)
                self.keys.node_gone(node.facts.node)

    def _store_number(self, number: int, has_store: bool) -> int:
        """Each store has a number of its own, for as long as there is anybody who may know of it."""
        highest = max(self.stores, number)
        if has_store and not number:
            highest = number = highest + 1
        if highest != self.stores:
            self.stores = highest
            self._record(Record(STORES, "", str(highest).encode()))
        return number

    def _known(self, sender: str, incarnation: int) -> _Node | None:
        node = self.nodes.get(_name(sender))
        return node if node is not None and node.incarnation == incarnation else None

    def _report(self, sender: str, report: NodeReport, now: float) -> None:
        node = self._known(sender, report.incarnation)
        if node is None or node.awaited:
            # It was taken for dead, or this head is new: it has to introduce itself again.
            self._out.append((sender, NodeWelcome(report.incarnation, False, "not known here", again=True)))
            return
        self._heard(node.facts.node, now)
        self._free_now(node.facts.node, report.available)
        self.groups.rooms.lasts(node.facts.node, report.lasting)
        if report.draining and not node.facts.draining:
            node.facts = msgspec.structs.replace(node.facts, draining=True)
            self._spread(now)
        self.groups.place_all()
        if self.scaling is not None:
            self.scaling.reported(node.facts.node, report, now)

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
        self._record(Record(NODES, node.facts.node, None))
        self.keys.node_lost(node.facts.node)
        if self.scaling is None or not self.scaling.is_leaving(node.facts.node):
            self.gone.append(node.facts)
            self._fence(node)
        else:
            self.keys.node_gone(node.facts.node)
        self.jobs.node_gone(node.facts.node, f"node {node.facts.node} was lost, or has ended")
        self._spread(now)
        self.groups.node_gone(node.facts.node)
        self.surveys.node_gone(node.facts.node)
        if self.scaling is not None:
            self.scaling.gone(node.facts.node, now)

    def _fence(self, node: _Node) -> None:
        """Remember which start of it is gone, so that an earlier one is never taken in."""
        name = node.facts.node
        self.incarnations[name] = node.incarnation
        self._record(Record(GONE, name, _encode((node.incarnation, node.facts))))
        if len(self.incarnations) > GONE_MAX:
            oldest = next(iter(self.incarnations))
            del self.incarnations[oldest]
            self._record(Record(GONE, oldest, None))
            self.keys.node_gone(oldest)

    def _tick(self, now: float) -> None:
        for kind, name in self.deadlines.due(now):
            if kind == "silent":
                self._remove(self.nodes[name], now)
            elif kind == "survey":
                self.surveys.late(name)
            elif kind.startswith("scale"):
                assert self.scaling is not None
                self.scaling.due(kind, name, now)
            elif kind == "group":
                self.groups.place_all()
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
        types = () if self.scaling is None else self.scaling.settings.types
        view = View(self.version, tuple(node.facts for node in self.nodes.values()), types)
        for node in self.nodes.values():
            node.told = _coarse(node.facts)
            if not node.awaited:
                self._out.append((node.sender, view))

    # ------------------------------------------------------------------------------ questions

    def _asked(self, sender: str, asked: Asked, now: float) -> None:
        node, owner = _name(sender), asked.owner
        match asked.question:
            case FactsQuery(request=request):
                nodes = tuple(known.facts for known in self.nodes.values())
                scaling = None if self.scaling is None else self.scaling.facts(now)
                answer = FactsReport(request, self.home, nodes, tuple(self.gone), scaling)
                self._out.append((sender, Answered(owner, answer)))
            case Survey() as survey:
                here = [name for name, known in self.nodes.items() if not known.awaited]
                self.surveys.begin(sender, owner, survey, here, now)
            case MakeGroup() | RemoveGroup() | GroupQuery() as question:
                self.groups.answer(node, owner, question)
                if self.scaling is not None:
                    self.scaling.soon(now)
            case RequestResources(request=request, bundles=bundles):
                if self.scaling is not None:
                    self.scaling.request(node, owner, bundles, now)
                noted = ResourcesNoted(request, self.scaling is not None)
                self._out.append((sender, Answered(owner, noted)))
            case SubmitJob() | StopJob() | JobQuery() as question:
                self._out.append((sender, Answered(owner, self.jobs.answer(node, question))))
            case question:
                self._out.append(
                    (sender, Answered(owner, self.keys.answer(node, owner, question, asked.settled)))
                )

    def _job_refusal(self, node: str) -> str:
        known = self.nodes.get(node)
        if known is None or known.facts.draining:
            return f"node {node} is about to go, and takes no job: name another by --address"
        return ""

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
            if kind in ("silent", "survey"):
                assert name in (self.surveys.open if kind == "survey" else self.nodes)
        if self.scaling is not None:
            self.scaling.check()
        self.surveys.check(self.nodes)
        self.keys.check()
        self.groups.check(self.nodes)
        self.jobs.check(self.nodes)
        assert {node for node, _ in self.keys.claims} <= set(self.nodes), "a key outlived its owner's node"
        asked = {node for node, _ in self.keys.answers}
        assert asked <= self.nodes.keys() | self.incarnations.keys(), "an answer outlived who may ask for it"
        assert not self.incarnations.keys() & self.nodes.keys(), "a node that is here is among the gone"


_encode = msgspec.msgpack.encode


def _decode_node(value: bytes) -> tuple[int, NodeFacts]:
    return msgspec.msgpack.decode(value, type=tuple[int, NodeFacts])


def _name(sender: str) -> str:
    """The node that an agent's address names."""
    return sender.partition(":")[2]


def _coarse(facts: NodeFacts) -> dict[str, int]:
    """How free a node is, in quarters: a change of less decides nothing elsewhere. None and a little differ."""
    free = facts.available
    return {name: math.ceil(4 * free.get(name, 0.0) / total) for name, total in facts.total.items() if total}
