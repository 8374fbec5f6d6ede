"""What a node tells its cluster's head, and what it believes of the other nodes.

::

    introduce ──► NodeHello ──► head ──► NodeWelcome, View ──► others
    beat, tell_changes ──► NodeReport
    ask ──► Asked ──► head ──► Answered ──► the owner that asked, or a command that is none (its name begins with "?")

``others`` is the head's last View, corrected for a while by what we have sent there ourselves since. A node that the
head has lost, or has never got to know, introduces itself again with each heartbeat. What the head has not answered by
then is asked again.

While the head is away nothing waits for it but questions: leases are granted by the last View. A head that has a
journal comes back knowing all nodes that have joined, so its first View also tells who is lost. One that has been
started from an old copy of its journal finds by our epoch that it must not take us in.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from distpool.scheduler.cores.deadlines import Deadlines
from distpool.scheduler.cores.resources import Amounts, to_floats, to_units, without
from distpool.scheduler.limits import Limits
from distpool.scheduler.messages import (
    Answered,
    Asked,
    HeadQuestion,
    HeadUp,
    LinkLost,
    Message,
    NodeFacts,
    NodeHello,
    NodeReport,
    NodeType,
    NodeWelcome,
    OwnerGone,
    View,
    Want,
)

Key = tuple[str, object]  # of a node's deadline: what it is about, and which

#: Nothing tells that a command which only asks is gone: so many of its like may wait, and then the oldest is forgotten.
ASKERS_MAX = 64

_HEARTBEAT: Key = ("heartbeat", 0)
_REPORT: Key = ("report", 0)


class HeadLink:
    """A part of ``NodeCore``: it shares the core's deadlines, its ``free`` resources and its way to send.

    ``facts``, ``bundles``, ``queued`` and ``lasting`` tell what the node is, what it has of placement groups, how many
    leases it owes, and what is held by those who stay; ``scaling`` which leases it owes, and whether it is idle, where
    nodes may be started by demand.
    """

    def __init__(
        self,
        facts: Callable[[], NodeFacts],
        bundles: Callable[[], dict[str, tuple[int, ...]]],
        queued: Callable[[], int],
        lasting: Callable[[], Amounts],
        free: Amounts,
        incarnation: int,
        store: int | None,
        limits: Limits,
        deadlines: Deadlines[Key],
        send: Callable[[str, Message], None],
        scaling: Callable[[], tuple[tuple[Want, ...], bool]],
    ) -> None:
        self._scaling = scaling
        self.types: tuple[NodeType, ...] = ()  # of nodes that may be started
        self.incarnation = incarnation
        self.store = store or 0  # the number of the node's store
        self._has_store = store is not None
        self._facts = facts
        self._bundles = bundles
        self._queued = queued
        self._lasting = lasting
        self._free = free
        self.others: dict[str, NodeFacts] = {}
        self._viewed: dict[str, NodeFacts] = {}  # the same, as the View had it
        self.version = 0  # of the View that ``others`` comes from; 0: none yet
        self.introduced = self.registered = self._has_joined = False
        self.refusal = ""  # why the head will not have us
        self.epoch = 0  # of the latest head that has taken us in
        self.asked: dict[str, dict[int, HeadQuestion]] = {}  # owner -> request -> not answered yet
        self.claimants: set[str] = set()  # owners in whose name the head keeps something
        self._limits = limits
        self._deadlines = deadlines
        self._send = send
        self._told: Amounts = {}  # what the head knows to be free here
        self._told_s = 0.0
        self._told_scaling: tuple[tuple[Want, ...], bool] = (), False

    def introduce(self, now: float) -> None:
        """Say who we are and what we have."""
        self.introduced = True
        claimants = tuple(sorted(self.claimants))
        hello = NodeHello(
            self.incarnation, self._facts(), self._bundles(), self._has_store, claimants, self.epoch
        )
        self._send("head", hello)
        self._note(now)

    def hear(self, message: Message, now: float) -> list[str]:
        """Take in what the head says. Returns the nodes that it has lost.

        The first View of a head without a journal tells of none: the others have not found it yet, if it is another.
        """
        lost: list[str] = []
        match message:
            case NodeWelcome(incarnation=incarnation, again=True):
                if incarnation == self.incarnation and self.registered:
                    self.registered = False
                    self.introduce(now)  # it took us for dead, or is another head now
            case NodeWelcome(incarnation=incarnation, accepted=accepted, reason=reason, epoch=epoch):
                if incarnation != self.incarnation:
                    return lost
                if message.latest and not self._has_joined:  # this machine's clock has gone back since then
                    self.incarnation = message.latest + 1
                    self.introduce(now)
                    return lost
                self._has_joined |= accepted
                if accepted and not self.registered:
                    for owner, questions in self.asked.items():
                        for question in questions.values():
                            self._say(owner, question)
                self.registered, self.refusal = accepted, reason
                self.store = message.store if accepted else self.store
                self.epoch = epoch if accepted else self.epoch
            case View(version=version, nodes=nodes, types=types):
                if version > self.version:
                    self.types = types
                    me = self._facts().node
                    others = {other.node: other for other in nodes if other.node != me}
                    if self.version or self.epoch:
                        lost = [node for node in self.others if node not in others]
                    for node in self.others:
                        self._deadlines.clear(("reckoned", node))
                    self.version, self.others, self._viewed = version, others, dict(others)
            case LinkLost() | HeadUp():
                # It may come back as another head. Without a journal, that one counts its versions anew.
                self.registered = False
                self.version = self.version if self.epoch else 0
                self.introduce(now)
            case _:
                raise AssertionError(f"a head does not say {message}")
        return lost

    def ask(self, owner: str, question: HeadQuestion) -> None:
        """An owner of this node asks the head something."""
        self.asked.setdefault(owner, {})[question.request] = question
        if self.registered:
            self._say(owner, question)

    def _say(self, owner: str, question: HeadQuestion) -> None:
        self._send("head", Asked(owner, question, min(self.asked[owner])))

    def ask_for(self, asker: str, question: HeadQuestion) -> None:
        """A command asks the head something, which is no owner and has nothing here."""
        waiting = [who for who in self.asked if who.startswith("?")]
        if len(waiting) >= ASKERS_MAX:
            del self.asked[waiting[0]]
        self.ask(f"?{asker}", question)

    def answered(self, message: Answered) -> None:
        """Pass on what the head answers; an owner that is gone meanwhile has left no question."""
        who = message.owner
        questions = self.asked.get(who, {})
        if questions.pop(message.answer.request, None) is not None:
            self._send(f"asker:{who[1:]}" if who.startswith("?") else f"owner:{who}", message.answer)
            if not questions:
                del self.asked[who]

    def owner_gone(self, owner: str) -> None:
        """An owner of this node has ended: the head keeps nothing in its name, and it hears no answer."""
        self.asked.pop(owner, None)
        if owner in self.claimants:
            self.claimants.discard(owner)
            self._send("head", OwnerGone(owner))

    def beat(self, now: float) -> None:
        """The time for a report has come."""
        if self.registered:
            self._report(now)
        else:
            self.introduce(now)

    def tell_changes(self, now: float) -> None:
        """Free resources that changed are told soon, but many changes at once only once."""
        if not self.registered or _REPORT in self._deadlines.at_s:
            return
        if self._free == self._told and not (self.types and self._scaling() != self._told_scaling):
            return
        if now >= self._told_s + self._limits.report_s:
            self._report(now)
        else:
            self._deadlines.set(_REPORT, self._told_s + self._limits.report_s)

    def _report(self, now: float) -> None:
        draining, lasting = self._facts().draining, to_floats(self._lasting())
        self._told_scaling = wants, idle = self._scaling() if self.types else ((), False)
        free, queued = to_floats(self._free), self._queued()
        self._send("head", NodeReport(self.incarnation, free, queued, draining, lasting, wants, idle))
        self._note(now)

    def _note(self, now: float) -> None:
        self._told, self._told_s = dict(self._free), now
        self._deadlines.clear(_REPORT)
        self._deadlines.set(_HEARTBEAT, now + self._limits.heartbeat_s)

    def address_of(self, node: str) -> str:
        """Where another node's agent is dialled; "" if there is no such node."""
        facts = self.others.get(node)
        return "" if facts is None else facts.address

    def takers(self) -> list[NodeFacts]:
        """The other nodes that take something new."""
        return [node for node in self.others.values() if not node.draining]

    def reckon(self, node: NodeFacts, taken: Amounts, now: float) -> None:
        """We have sent somebody there: count it until the head knows better, or all would be sent to one place.

        The next View may be long in coming, since the head tells of no change that would decide nothing. So after a
        while what was viewed last is true again.
        """
        left = without(to_units(node.available), taken)
        self.others[node.node] = msgspec.structs.replace(node, available=to_floats(left))
        self._deadlines.set(("reckoned", node.node), now + self._limits.reckoned_s)

    def drains(self, node: str) -> None:
        """Another node is to go: an owner has heard it there, maybe before the head. It is so until the next View."""
        for known in (self.others, self._viewed):
            if node in known:
                known[node] = msgspec.structs.replace(known[node], draining=True)

    def reckoned(self, node: str) -> None:
        """What we have sent there has had its time to be seen."""
        if node in self.others:
            self.others[node] = self._viewed[node]
