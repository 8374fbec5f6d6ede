"""Agents and their head, and what anybody may ask of them.

A question carries a number of its asker's (``request``), and so does its answer. An owner asks its own node's agent;
what only the head knows travels on in ``Asked``, and comes back in ``Answered``::

    owner ── KeyGet(7) ──► agent ── Asked("o", KeyGet(7)) ──► head
          ◄─ KeyAnswer(7) ──     ◄─ Answered("o", KeyAnswer(7)) ──
"""

from __future__ import annotations

import msgspec

from distpool.scheduler.messages.base import Message
from distpool.scheduler.messages.jobs import JobQuery, JobsReport, StopJob, SubmitJob
from distpool.scheduler.messages.placing import GroupQuery, GroupsReport, MakeGroup, RemoveGroup
from distpool.scheduler.messages.scaling import NodeType, RequestResources, ResourcesNoted, ScalingFacts, Want
from distpool.scheduler.messages.surveys import Survey, Surveyed

#: Of the head's keys those under which workers tell their metrics; a command may read these.
METRICS_PREFIX = "metrics/"


class Knock(Message, frozen=True):
    """The first word at a node's port, of a node that wants to join or of a program that wants to use the cluster."""

    protocol: int
    python: str  # its version: "3.11.7"
    version: str  # distpool's


class Admission(Message, frozen=True):
    """The answer to Knock: whose port it is; or why who has knocked cannot come in, for people to read.

    ``store`` is the number of that node's object store; 0: it has none.
    """

    accepted: bool
    reason: str = ""
    node: str = ""
    store: int = 0


class NodeFacts(Message, frozen=True):
    """What a node has, and what of it is free; ``host`` is its machine's name."""

    node: str
    address: str
    total: dict[str, float]
    available: dict[str, float]
    labels: dict[str, str] = {}
    host: str = ""
    store: int = 0  # the number of its store; 0: it has none, or the head has not given it one yet
    draining: bool = False  # it is about to go, and takes nothing new


class NodeHello(Message, frozen=True):
    """A node introduces itself to the head, on each new link.

    ``bundles``: what it holds of placement groups. ``claimants``: those of its owners that live, and in whose name the
    head may keep something. ``epoch``: of the latest head that it has known.
    ``has_store``: its store needs a number, unless it has one already.
    """

    incarnation: int
    facts: NodeFacts
    bundles: dict[str, tuple[int, ...]] = {}
    has_store: bool = False
    claimants: tuple[str, ...] = ()
    epoch: int = 0


class NodeReport(Message, frozen=True):
    """Heartbeat with what is free; sent on a clock and when leases change it, never per task.

    ``lasting``: what is held by those who give nothing back while others wait for it (actors, pools of their own size).
    Where a View has said that nodes may be started: ``wants`` are the leases that are ``queued``, by their shapes;
    ``idle``: nothing runs here, and nobody needs what is here.
    """

    incarnation: int
    available: dict[str, float]
    queued: int = 0  # leases wanted here and not granted
    draining: bool = False
    lasting: dict[str, float] = {}
    wants: tuple[Want, ...] = ()
    idle: bool = False


class NodeBye(Message, frozen=True):
    """A clean farewell."""

    incarnation: int


class NodeWelcome(Message, frozen=True):
    """Whether the head takes the node in, and if not, why; ``store`` is the number of its store from now on.

    ``epoch`` counts the starts of a head that has a journal; 0: it has none, and forgets all when it ends.
    ``again``: the node is not known (any more), and may say hello. ``latest``: it has begun before
    by a later clock, and that was its incarnation; if it begins just now, it takes the next one.
    """

    incarnation: int
    accepted: bool
    reason: str = ""
    store: int = 0
    epoch: int = 0
    again: bool = False
    latest: int = 0


class HeadUp(Message, frozen=True):
    """The head has been started again: a node's word to those that had joined, which say hello to it anew."""


class HeadEnds(Message, frozen=True):
    """The cluster is being ended, by somebody who wants that: nobody need wait for another head."""


class View(Message, frozen=True):
    """The nodes that the head believes in, in full; ``version`` only grows. ``types``: what may be started besides."""

    version: int
    nodes: tuple[NodeFacts, ...]
    types: tuple[NodeType, ...] = ()


class OwnerGone(Message, frozen=True):
    """An owner of this node, in whose name the head keeps something, has ended."""

    owner: str


# ------------------------------------------------------------------------------------------------ nodes and keys


class FactsQuery(Message, frozen=True):
    """Which nodes are there?"""

    request: int = 0


class FactsReport(Message, frozen=True):
    """``head`` is the node that the head is on, ``gone`` are the latest that have left or were lost.

    ``scaling``: what its autoscaler does, if it has one.
    """

    request: int
    head: str
    nodes: tuple[NodeFacts, ...]
    gone: tuple[NodeFacts, ...]
    scaling: ScalingFacts | None = None


class KeyPut(Message, frozen=True):
    """Set a key, or with ``overwrite`` false only if it is not there.

    With ``owner``, an owner on the asker's node, the key goes when that one ends, or its node.
    """

    request: int
    key: str
    value: bytes
    overwrite: bool = True
    owner: str = ""


class KeyGet(Message, frozen=True):
    """Ask for a key."""

    request: int
    key: str


class KeyDelete(Message, frozen=True):
    """Remove a key."""

    request: int
    key: str


class KeySwap(Message, frozen=True):
    """Set a key to ``value`` if it holds ``expected`` (None: if it is not there), in one step."""

    request: int
    key: str
    expected: bytes | None
    value: bytes


class KeyAnswer(Message, frozen=True):
    """``changed``: whether the call has changed the key. If not, ``value`` is what it holds.

    ``refusal``: why nothing more can be kept.
    """

    request: int
    value: bytes | None
    changed: bool = False
    refusal: str = ""


class KeyList(Message, frozen=True):
    """Which keys begin with this?"""

    request: int
    prefix: str


class KeysReport(Message, frozen=True):
    """They do, in order."""

    request: int
    keys: tuple[str, ...]


# ------------------------------------------------------------------------------------------------ on their way

#: What an owner may ask of the head, by way of its agent; and what it may be answered.
HeadQuestion = (
    FactsQuery
    | KeyPut
    | KeyGet
    | KeyDelete
    | KeySwap
    | KeyList
    | MakeGroup
    | RemoveGroup
    | GroupQuery
    | Survey
    | RequestResources
    | SubmitJob
    | StopJob
    | JobQuery
)
HeadAnswer = FactsReport | KeyAnswer | KeysReport | GroupsReport | Surveyed | ResourcesNoted | JobsReport


class Asked(Message, frozen=True):
    """An owner of this node asks the head. Its questions before ``settled`` are answered, and never come again."""

    owner: str
    question: HeadQuestion
    settled: int = 0


class Answered(Message, frozen=True):
    """The answer, for the agent to pass on."""

    owner: str
    answer: HeadAnswer


# ------------------------------------------------------------------------------------------------ a node's store


class StoreQuery(Message, frozen=True):
    """What lies in the node's object store? The agent answers with a StoreReport."""

    request: int = 0


class StoredObject(msgspec.Struct, frozen=True, array_like=True):
    """One object. ``holders`` are (process number, via, references, views): see ``store.ledger.Hold``."""

    bytes: int
    on_disk: bool
    state: str
    label: str  # which line made it
    holders: tuple[tuple[int, int, int, int], ...]


class StoreReport(Message, frozen=True):
    """``pids`` by process number; ``used`` and ``size`` in bytes, of memory and disk."""

    node: str
    pids: dict[int, int]
    used: tuple[int, int]
    size: tuple[int, int]
    spill_directory: str
    objects: tuple[StoredObject, ...]
    request: int = 0


Question = HeadQuestion | StoreQuery
Answer = HeadAnswer | StoreReport
