"""Which nodes to start for what is wanted: policy, as functions without state.

::

    demands ── left_over(rooms: free, or starting) ──► what there is no room for ── nodes_for(types) ──► types to start

Assumptions. A demand comes by shape and count, so a million leases are one line; shapes and types are few, so each node
that is to be started may look at all of them. Largest first, first fit, as ``place_bundles`` does. Of several types the
one is taken of which least lies idle: a node with a GPU is not started for work that wants none, as long as another
would do, and a large one not for a small need. What one start leaves free is filled before the next is considered.

``tests/cores/packings.txt`` has a case for each rule. Not here: when (``autoscaling``); where leases go.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from distpool.scheduler.cores.place import satisfies
from distpool.scheduler.cores.resources import BYTES, Amounts, how_often, subtract, to_units
from distpool.scheduler.messages import LabelTerm, NodeType

__all__ = ["Demand", "Room", "left_over", "nodes_for", "room_of"]


@dataclass(frozen=True, slots=True)
class Demand:
    """``count`` times ``need``, where ``labels`` are satisfied. ``apart``: all of this name want a node each."""

    need: Amounts
    count: int
    labels: tuple[LabelTerm, ...] = ()
    apart: str = ""


@dataclass(slots=True)
class Room:
    """What is left of a node, and who is there that wants to be apart."""

    free: Amounts
    labels: Mapping[str, str]
    apart: set[str] = field(default_factory=set)


def room_of(node_type: NodeType) -> Room:
    """A node of this type with nothing on it."""
    return Room(to_units(node_type.resources), node_type.labels)


def left_over(demands: Sequence[Demand], rooms: Sequence[Room]) -> list[Demand]:
    """What of the demands there is no room for, the largest first. The rooms are filled."""
    left = sorted(demands, key=lambda demand: (-len(demand.need), -sum(demand.need.values())))
    for room in rooms:
        if not left:
            break
        left = _fill(room, left)
    return left


def nodes_for(
    demands: Sequence[Demand], types: Sequence[NodeType], may: Mapping[str, int], most: int
) -> list[str]:
    """The types of the nodes to start, ``most`` at most and of each type as many as it ``may`` have more."""
    started: list[str] = []
    quota = dict(may)
    left = left_over(demands, ())
    while left and len(started) < most:
        choices = [
            (_waste(node_type, room), node_type.name, rest)
            for node_type in types
            if quota.get(node_type.name, 0) > 0 and (rest := _fill(room := room_of(node_type), left)) != left
        ]
        if not choices:
            break
        _, name, left = min(choices, key=lambda choice: choice[:2])
        quota[name] -= 1
        started.append(name)
    return started


def _fill(room: Room, demands: Sequence[Demand]) -> list[Demand]:
    """Put into a room what it takes, in this order; returns what is left."""
    left: list[Demand] = []
    for demand in demands:
        taken = _how_many(room, demand)
        if taken:
            subtract(room.free, {name: units * taken for name, units in demand.need.items()})
            if demand.apart:
                room.apart.add(demand.apart)
        if taken < demand.count:
            left.append(Demand(demand.need, demand.count - taken, demand.labels, demand.apart))
    return left


def _how_many(room: Room, demand: Demand) -> int:
    if not satisfies(room.labels, demand.labels) or demand.apart in room.apart - {""}:
        return 0
    fitting = how_often(demand.need, room.free)
    count = demand.count if fitting is None else min(fitting, demand.count)
    return min(count, 1) if demand.apart else count


def _waste(node_type: NodeType, room: Room) -> tuple[int, float, int]:
    """How many kinds of its resources nobody uses, and how much is left of the others; memory counts for nothing.

    Of those that are alike in this, the one is best that serves most kinds.
    """
    total = {name: units for name, units in to_units(node_type.resources).items() if name not in BYTES}
    shares = [room.free[name] / units for name, units in total.items()]
    unused = sum(share == 1.0 for share in shares)
    return unused, sum(shares), unused - len(total)
