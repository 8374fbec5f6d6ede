"""Placement, exact amounts and deadlines: small policies and helpers of the node."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distpool.scheduler.cores import resources
from distpool.scheduler.cores.deadlines import Deadlines
from distpool.scheduler.cores.place import place, place_later
from distpool.scheduler.messages import NodeFacts


def node(name: str, total: float, free: float, **more: float) -> NodeFacts:
    return NodeFacts(name, f"tcp://{name}", {"CPU": total, **more}, {"CPU": free, **more})


def test_the_node_with_the_most_free_cpu_is_taken() -> None:
    nodes = [node("a", 8, 1), node("b", 4, 3), node("c", 4, 2)]
    assert place({"CPU": 1}, nodes) is nodes[1]


def test_ties_are_broken_by_name() -> None:
    nodes = [node("b", 4, 2), node("a", 4, 2)]
    assert place({"CPU": 1}, nodes) is nodes[1]


def test_a_node_without_the_resource_is_no_candidate() -> None:
    nodes = [node("a", 8, 8), node("g", 4, 1, GPU=1)]
    assert place({"GPU": 1}, nodes) is nodes[1]
    assert place({"GPU": 2}, nodes) is None


def test_later_counts_what_a_node_has_not_what_is_free() -> None:
    nodes = [node("a", 8, 0), node("b", 2, 2)]
    assert place({"CPU": 4}, nodes) is None
    assert place_later({"CPU": 4}, nodes) is nodes[0]
    assert place_later({"CPU": 9}, nodes) is None


def test_ten_tenths_are_one() -> None:
    have = resources.to_units({"CPU": 1.0})
    for _ in range(10):
        resources.subtract(have, resources.to_units({"CPU": 0.1}))
    assert have == {"CPU": 0}


def test_the_smallest_request_still_costs_something() -> None:
    assert resources.to_units({"CPU": 1e-9}) == {"CPU": 1}


def test_taking_what_is_not_there_is_a_bug() -> None:
    with pytest.raises(AssertionError, match="CPU oversubscribed by 1"):
        resources.subtract({"CPU": 0}, {"CPU": resources.UNITS})


amounts = st.dictionaries(st.sampled_from(["CPU", "GPU", "x"]), st.integers(0, 50_000), max_size=3)


@given(amounts, amounts)
def test_what_fits_can_be_taken_as_often_as_it_is_said_to_fit(
    need: dict[str, int], have: dict[str, int]
) -> None:
    need = {name: units for name, units in need.items() if units}
    often = resources.how_often(need, have)
    if often is None:
        assert not need
        return
    assert resources.fits(need, have) == (often > 0)
    left = dict(have)
    for _ in range(min(often, 100)):
        resources.subtract(left, need)
    if often <= 100:
        assert not resources.fits(need, left)


def test_a_tick_is_asked_for_only_if_it_must_come_sooner() -> None:
    deadlines: Deadlines[str] = Deadlines()
    assert deadlines.wake() is None
    deadlines.set("a", 5.0)
    assert deadlines.wake() == 5.0
    deadlines.set("b", 7.0)
    assert deadlines.wake() is None
    deadlines.set("c", 3.0)
    assert deadlines.wake() == 3.0
    deadlines.clear("c")
    assert deadlines.due(3.0) == []
    assert deadlines.wake() == 5.0
    assert deadlines.due(8.0) == ["a", "b"]
    assert deadlines.wake() is None
    assert not deadlines.at_s


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 10) | st.none()), max_size=20), st.floats(0, 10)
)
def test_every_deadline_is_served_by_a_tick_that_was_asked_for(
    steps: list[tuple[str, float | None]], now: float
) -> None:
    deadlines: Deadlines[str] = Deadlines()
    asked: list[float] = []
    for key, at_s in steps:
        deadlines.clear(key) if at_s is None else deadlines.set(key, at_s)
        if (wake := deadlines.wake()) is not None:
            asked.append(wake)
    open_keys = dict(deadlines.at_s)
    for at_s in open_keys.values():
        assert min(asked) <= at_s
    assert sorted(deadlines.due(now)) == sorted(key for key, at_s in open_keys.items() if at_s <= now)
