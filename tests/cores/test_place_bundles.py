"""Where the bundles of a placement group go; small cases are compared with all that could be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distpool.scheduler.cores.place_bundles import STRATEGIES, Plan, Room, Wanted, place_bundles
from distpool.scheduler.cores.resources import Amounts
from distpool.scheduler.messages import LabelTerm


def rooms(**cpus: int) -> list[Room]:
    return [Room(name, {"CPU": count}, {}) for name, count in cpus.items()]


def bundles(*cpus: int) -> list[Wanted]:
    return [Wanted(index, {"CPU": count}) for index, count in enumerate(cpus)]


def test_pack_takes_one_node_if_one_will_do_and_few_if_not() -> None:
    assert place_bundles("PACK", bundles(1, 1), rooms(a=1, b=2, c=1), {}) == {0: "b", 1: "b"}
    assert set((place_bundles("PACK", bundles(1, 1, 2), rooms(a=2, b=2, c=1), {}) or {}).values()) == {
        "a",
        "b",
    }
    assert place_bundles("PACK", bundles(3), rooms(a=2, b=2), {}) is None


def test_spread_takes_as_many_nodes_as_have_room() -> None:
    assert place_bundles("SPREAD", bundles(1, 1, 1), rooms(a=9, b=1, c=1), {}) == {0: "a", 1: "b", 2: "c"}
    plan = place_bundles("SPREAD", bundles(1, 1, 1), rooms(a=9, b=1), {})
    assert plan is not None
    assert Counter(plan.values()) == {"a": 2, "b": 1}


def test_strict_pack_is_on_one_node_or_nowhere() -> None:
    assert place_bundles("STRICT_PACK", bundles(1, 2), rooms(a=2, b=3), {}) == {0: "b", 1: "b"}
    assert place_bundles("STRICT_PACK", bundles(2, 2), rooms(a=2, b=3), {}) is None


def test_strict_spread_finds_the_one_way_there_is() -> None:
    """Bundle 0 fits both, bundle 1 only the freest."""
    assert place_bundles("STRICT_SPREAD", bundles(1, 2), rooms(a=1, b=2), {}) == {0: "a", 1: "b"}
    assert place_bundles("STRICT_SPREAD", bundles(1, 1), rooms(a=9), {}) is None


def test_what_is_placed_already_stays_and_counts() -> None:
    room = rooms(a=9, b=5, c=1)
    missing = [Wanted(1, {"CPU": 1})]
    assert place_bundles("STRICT_SPREAD", missing, room, {0: "a"}) == {1: "b"}
    assert place_bundles("SPREAD", missing, room, {0: "a", 2: "b"}) == {1: "c"}
    assert place_bundles("PACK", missing, room, {0: "c"}) == {1: "c"}
    assert place_bundles("STRICT_PACK", missing, room, {0: "c"}) == {1: "c"}
    assert place_bundles("STRICT_PACK", [Wanted(1, {"CPU": 2})], room, {0: "c"}) is None


def test_a_target_is_taken_if_it_has_room() -> None:
    for strategy in STRATEGIES:
        assert place_bundles(strategy, bundles(1), rooms(a=9, b=1), {}, "b") == {0: "b"}
        assert place_bundles(strategy, bundles(2), rooms(a=9, b=1), {}, "b") == {0: "a"}


def test_labels_of_each_bundle() -> None:
    room = [Room("a", {"CPU": 9}, {"zone": "east"}), Room("b", {"CPU": 9}, {"zone": "west"})]
    west = (LabelTerm("zone", "in", ("west",)),)
    wanted = [Wanted(0, {"CPU": 1}, west), Wanted(1, {"CPU": 1})]
    assert place_bundles("PACK", wanted, room, {}) == {0: "b", 1: "b"}
    assert place_bundles("STRICT_SPREAD", wanted, room, {}) == {0: "b", 1: "a"}
    north = [Wanted(0, {"CPU": 1}, (LabelTerm("zone", "in", ("north",)),))]
    assert [place_bundles(strategy, north, room, {}) for strategy in STRATEGIES] == [None] * 4


def test_what_is_planned_is_not_taken_from_the_rooms_themselves() -> None:
    room = rooms(a=2)
    place_bundles("PACK", bundles(1, 1), room, {})
    assert room[0].free == {"CPU": 2}


def ways(wanted: list[Wanted], room: list[Room]) -> Iterator[Plan]:
    """All plans that fit."""
    for nodes in product(room, repeat=len(wanted)):
        taken: dict[str, Amounts] = {}
        for bundle, where in zip(wanted, nodes, strict=True):
            amounts = taken.setdefault(where.node, {})
            for name, units in bundle.need.items():
                amounts[name] = amounts.get(name, 0) + units
        free = {where.node: where.free for where in room}
        if all(units <= free[node].get(name, 0) for node, t in taken.items() for name, units in t.items()):
            yield {bundle.index: where.node for bundle, where in zip(wanted, nodes, strict=True)}


amounts = st.fixed_dictionaries({"CPU": st.integers(0, 4), "GPU": st.integers(0, 2)})


@pytest.mark.parametrize("strategy", STRATEGIES)
@given(st.lists(amounts, min_size=1, max_size=4), st.lists(amounts, max_size=4))
def test_against_all_that_could_be(strategy: str, needs: list[Amounts], free: list[Amounts]) -> None:
    """Nothing is oversubscribed, what is strict is kept to, and the strict ones are placed whenever they can be."""
    wanted = [
        Wanted(index, {name: units for name, units in need.items() if units})
        for index, need in enumerate(needs)
    ]
    room = [Room(f"n{number}", have, {}) for number, have in enumerate(free)]
    possible = list(ways(wanted, room))
    plan = place_bundles(strategy, wanted, room, {})
    if strategy == "STRICT_PACK":
        possible = [way for way in possible if len(set(way.values())) == 1]
    if strategy == "STRICT_SPREAD":
        possible = [way for way in possible if len(set(way.values())) == len(wanted)]
    if plan is not None:
        assert plan in possible
    if strategy.startswith("STRICT"):
        assert (plan is None) == (not possible)
