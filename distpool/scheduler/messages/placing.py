"""Where work may run: strategies, and placement groups with what head, agents and owners say about them.

A placement group is a list of *bundles*, amounts that are set aside on nodes, all of them or none. The head decides
where (``cores.head_groups``), the nodes keep them (``cores.node_groups``)::

    owner ── MakeGroup ──► head ── Reserve ──► agents ── Reserved ──► head ── GroupNews ──► agents that watch the group
                             └──── Release ──► agents: it is removed, or another node had no room after all
"""

from __future__ import annotations

import msgspec

from distpool.scheduler.messages.base import Message

Bundle = dict[str, float]


class LabelTerm(msgspec.Struct, frozen=True, array_like=True):
    """What a node's label must be: ``operator`` is "in" or "not_in" (of ``values``), "exists" or "absent"."""

    key: str
    operator: str
    values: tuple[str, ...] = ()


class Strategy(msgspec.Struct, frozen=True, array_like=True):
    """Where a pool's leases may be, and where best.

    ``kind``: "default" is the owner's node first, "spread" is all nodes in turn, "node" is the one named ``node`` (with
    ``soft`` also another, if that one is not there or could never do it), "near" is the same for owners that will not
    wait for it long, "group" is bundle number ``bundle`` (-1: any) of the placement group ``group``. A node must
    satisfy ``labels``, and is preferred if it satisfies ``wishes`` too.
    ``capture``: what work in the group starts itself is in the group too, unless it says otherwise.
    """

    kind: str = "default"
    node: str = ""
    soft: bool = False
    labels: tuple[LabelTerm, ...] = ()
    wishes: tuple[LabelTerm, ...] = ()
    group: str = ""
    bundle: int = -1
    capture: bool = False


class GroupFacts(msgspec.Struct, frozen=True, array_like=True):
    """A placement group. ``nodes`` tells for each bundle where it is, "" if nowhere (yet, or any more).

    ``strategy``: PACK, SPREAD, STRICT_PACK or STRICT_SPREAD. ``state``: "pending", "created", "rescheduling" (a node
    was lost) or "removed". ``labels``: what each bundle's node must satisfy; empty, or one for each. ``owner`` has made
    it, and unless it is ``detached`` it ends with that one. ``target``: the node to take, if that has room.
    ``reason``: why it is not created.
    """

    group: str
    bundles: tuple[Bundle, ...]
    strategy: str
    name: str = ""
    namespace: str = ""
    detached: bool = False
    labels: tuple[tuple[LabelTerm, ...], ...] = ()
    target: str = ""
    owner: str = ""
    nodes: tuple[str, ...] = ()
    state: str = "pending"
    reason: str = ""


# -------------------------------------------------------------------------------- what owners ask the head


class MakeGroup(Message, frozen=True):
    """Make a group as described (of ``facts`` all from ``owner`` on is the head's to say). Answer: the group."""

    request: int
    facts: GroupFacts


class RemoveGroup(Message, frozen=True):
    """Give back what a group has, and kill what runs in it. Answer: the group, or none if there is no such."""

    request: int
    group: str


class GroupQuery(Message, frozen=True):
    """The group of this id, or of this name in its namespace; or all, also those that have been removed of late.

    With ``wait`` the answer comes when the group is created, or removed.
    """

    request: int
    group: str = ""
    name: str = ""
    namespace: str = ""
    wait: bool = False


class GroupsReport(Message, frozen=True):
    """The groups in question. ``refusal``: why there is none made."""

    request: int
    groups: tuple[GroupFacts, ...]
    refusal: str = ""


# --------------------------------------------------------------------------------------- head and agents


class Reserve(Message, frozen=True):
    """Set these bundles (by their numbers) aside, all or none. ``round`` counts the head's attempts for the group.

    With ``wait_s`` the node makes room for them: for so long whatever comes free is kept for them before anybody else,
    and only then are they refused. Without, they are set aside or refused at once.
    """

    group: str
    round: int
    bundles: dict[int, Bundle]
    wait_s: float = 0.0


class Reserved(Message, frozen=True):
    """Whether they were; ``available`` is what is free on the node now."""

    group: str
    round: int
    granted: bool
    available: dict[str, float]


class Release(Message, frozen=True):
    """Bundles of a group that are none any more: kill what runs in them, and take back what they had."""

    group: str
    bundles: tuple[int, ...]
    reason: str


class WatchGroup(Message, frozen=True):
    """An agent wants to hear of this group from now on, until it is removed: GroupNews."""

    group: str


class GroupNews(Message, frozen=True):
    """Where a group's bundles are now. Of a group that the head does not know: its state is "removed"."""

    facts: GroupFacts
