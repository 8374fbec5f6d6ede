"""Nodes by demand: what nodes tell the head of what is wanted, and what head and provider say to each other.

::

    agents ── NodeReport(wants) ──► head ── StartNode, StopNode, ListNodes ──► provider's process
       ▲                             │ ◄── NodeStarted, NodeRefused, NodeStopped, NodesListed, ProviderUp, ProviderDown
       └── View(types), LeaveIfIdle ─┘

The head decides (``cores.autoscaling``); the provider (``distpool.providers``) does.
"""

from __future__ import annotations

from typing import Any

import msgspec

from distpool.scheduler.messages.base import Message
from distpool.scheduler.messages.placing import LabelTerm


class NodeType(msgspec.Struct, frozen=True, array_like=True):
    """A kind of node that can be started: what one has, and how many there are to be (``max_nodes`` at most)."""

    name: str
    resources: dict[str, float]
    labels: dict[str, str] = {}
    min_nodes: int = 0
    max_nodes: int = 1


class ScalingSettings(msgspec.Struct, frozen=True):
    """What a head is told of its autoscaler. ``provider`` and ``options`` are for the provider's process.

    ``max_nodes``: of all types together. ``idle_s``: a node that has done nothing for so long is stopped. ``join_s``:
    one that has not joined within this time is given up. ``patience_s``: so long a demand must have lasted.
    ``upscaling_speed``: so many times the nodes that there are may be starting at a time, and five in any case.
    """

    provider: str
    types: tuple[NodeType, ...]
    options: dict[str, Any] = {}
    max_nodes: int = 1000
    idle_s: float = 300.0
    join_s: float = 300.0
    patience_s: float = 0.5
    upscaling_speed: float = 1.0


class Want(msgspec.Struct, frozen=True, array_like=True):
    """So many leases of this shape are wanted on a node and not granted; ``labels``: what their node must satisfy."""

    need: dict[str, float]
    count: int
    labels: tuple[LabelTerm, ...] = ()


class ScaledNode(msgspec.Struct, frozen=True, array_like=True):
    """A node of the autoscaler's: "asked", "starting", "up", "leaving" or "stopping", for ``for_s`` so far."""

    name: str
    node_type: str
    state: str
    for_s: float


class ScalingFailure(msgspec.Struct, frozen=True, array_like=True):
    """The last ``count`` attempts have failed, with this reason at last; the next may be made in ``again_s``.

    ``what``: the type of node that was to be started, or "provider".
    """

    what: str
    reason: str
    count: int
    again_s: float


class ScalingFacts(msgspec.Struct, frozen=True, array_like=True):
    """What an autoscaler knows. ``unmet``: demand for which there is no room, neither free nor starting.

    ``waits``: why nothing is started for it, if so.
    """

    unmet: tuple[Want, ...]
    nodes: tuple[ScaledNode, ...]
    failures: tuple[ScalingFailure, ...]
    waits: str = ""


# ------------------------------------------------------------------------------------- head and provider


class StartNode(Message, frozen=True):
    """Have a node of this type join as ``name``; nothing is done if it is there, or on its way."""

    name: str
    node_type: NodeType


class StopNode(Message, frozen=True):
    """See that the node is gone."""

    name: str


class ListNodes(Message, frozen=True):
    """Which are there, or on their way?"""


class NodeStarted(Message, frozen=True):
    """The node is on its way, or there."""

    name: str


class NodeStopped(Message, frozen=True):
    """It is gone, and so is what it had."""

    name: str


class NodeRefused(Message, frozen=True):
    """A call about this node has failed ("": that for the list)."""

    name: str
    reason: str


class NodesListed(Message, frozen=True):
    """The names of the nodes that are there, or on their way, with the names of their types."""

    nodes: dict[str, str]


class ProviderUp(Message, frozen=True):
    """The provider's process is there, for the first time or again, and knows of no call."""


class ProviderDown(Message, frozen=True):
    """It has ended with all calls that were under way; the shell starts it again, after a pause that grows."""

    reason: str


class ProviderHangs(Message, frozen=True):
    """The head's word to its shell: a call has taken too long, so end the provider's process and start it again."""

    reason: str


# --------------------------------------------------------------------------------------- head and agents


class RequestResources(Message, frozen=True):
    """The nodes are to have room for these bundles in all, whatever runs there, until the asker ends or asks again."""

    request: int
    bundles: tuple[dict[str, float], ...]


class ResourcesNoted(Message, frozen=True):
    """They will, if ``scaled``: there is an autoscaler."""

    request: int
    scaled: bool


class LeaveIfIdle(Message, frozen=True):
    """Leave, as by a SIGTERM but without a limit of time, if at this instant nothing runs here or is needed of here."""

    incarnation: int
