"""Which node gets which bundle of a placement group: policy, as a function without state.

Assumptions. Groups are few and made seldom, bundles are tens, nodes a thousand at most, so this may scan. What is free
is known exactly here, since the head counts what it has promised; a node that has less after all refuses, and then all
is planned again. ``PACK`` takes few nodes, by first fit from the largest bundle on: not always the fewest, but a plan
that exists for STRICT_SPREAD is always found, because "one each" is a matching and has an exact answer.

::

    STRICT_PACK     all on one node, or none                PACK     as few nodes as this finds
    STRICT_SPREAD   each on a node of its own, or none      SPREAD   as many nodes as there is room on

What is placed already (``fixed``) stays where it is. Not here: how the nodes are asked (``head_groups``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from distpool.scheduler.cores.place import satisfies
from distpool.scheduler.cores.resources import Amounts, add, fits, subtract
from distpool.scheduler.messages import LabelTerm

STRATEGIES = ("PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD")


@dataclass(slots=True)
class Room:
    """What is left of a node while a plan is made."""

    node: str
    free: Amounts
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A bundle that is to be placed. ``labels``: what its node must satisfy."""

    index: int
    need: Amounts
    labels: Sequence[LabelTerm] = ()


Plan = dict[int, str]  # bundle -> node


def place_bundles(
    strategy: str, wanted: Sequence[Wanted], rooms: Sequence[Room], fixed: Mapping[int, str], target: str = ""
) -> Plan | None:
    """A node for each of the ``wanted`` bundles; None if there is no room for all of them now.

    ``target``: the node to try first.
    """
    rooms = [Room(room.node, dict(room.free), room.labels) for room in rooms]
    rooms.sort(key=lambda room: (room.node != target, -room.free.get("CPU", 0), room.node))
    largest = sorted(wanted, key=lambda bundle: (-sum(bundle.need.values()), bundle.index))
    used = dict.fromkeys(fixed.values(), 0)
    for node in fixed.values():
        used[node] += 1
    match strategy:
        case "STRICT_PACK":
            return _on_one(largest, [room for room in rooms if not used or room.node in used])
        case "STRICT_SPREAD":
            return _one_each(largest, [room for room in rooms if room.node not in used])
        case "SPREAD":
            return _spread(largest, rooms, used)
        case "PACK":
            first = [room for room in rooms if room.node in used] + [r for r in rooms if r.node not in used]
            return _on_one(largest, first) or _pack(largest, first)
        case _:
            raise AssertionError(f"no such strategy: {strategy}")


def _suits(bundle: Wanted, room: Room) -> bool:
    return fits(bundle.need, room.free) and satisfies(room.labels, bundle.labels)


def _on_one(bundles: Sequence[Wanted], rooms: Sequence[Room]) -> Plan | None:
    whole: Amounts = {}
    for bundle in bundles:
        add(whole, bundle.need)
    for room in rooms:
        if fits(whole, room.free) and all(satisfies(room.labels, bundle.labels) for bundle in bundles):
            return {bundle.index: room.node for bundle in bundles}
    return None


def _pack(bundles: Sequence[Wanted], rooms: Sequence[Room]) -> Plan | None:
    """First fit, largest first; a node that has one already is tried before those that have none."""
    plan: Plan = {}
    for bundle in bundles:
        taken = set(plan.values())
        suitable = [room for room in rooms if _suits(bundle, room)]
        room = next((room for room in suitable if room.node in taken), next(iter(suitable), None))
        if room is None:
            return None
        subtract(room.free, bundle.need)
        plan[bundle.index] = room.node
    return plan


def _spread(bundles: Sequence[Wanted], rooms: Sequence[Room], used: Mapping[str, int]) -> Plan | None:
    """Largest first, each to the node that has fewest of them."""
    count = dict(used)
    plan: Plan = {}
    for bundle in bundles:
        suitable = [room for room in rooms if _suits(bundle, room)]
        room = min(suitable, key=lambda room: count.get(room.node, 0), default=None)
        if room is None:
            return None
        subtract(room.free, bundle.need)
        count[room.node] = count.get(room.node, 0) + 1
        plan[bundle.index] = room.node
    return plan


def _one_each(bundles: Sequence[Wanted], rooms: Sequence[Room]) -> Plan | None:
    """A matching of bundles and nodes, by augmenting paths."""
    has: dict[str, Wanted] = {}  # node -> its bundle

    def seat(bundle: Wanted, tried: set[str]) -> bool:
        suitable = [room.node for room in rooms if _suits(bundle, room)]
        for node in sorted(
            suitable, key=lambda node: node in has
        ):  # one that is free, before somebody must move
            if node in tried:
                continue
            tried.add(node)
            if node not in has or seat(has[node], tried):
                has[node] = bundle
                return True
        return False

    if not all(seat(bundle, set()) for bundle in bundles):
        return None
    return {bundle.index: node for node, bundle in has.items()}
