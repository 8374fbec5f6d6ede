"""Placement, exact amounts and deadlines: small policies and helpers of the node."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distpool.scheduler.cores import resources
from distpool.scheduler.cores.deadlines import Deadlines
from distpool.scheduler.cores.place import home_is_best, place
from distpool.scheduler.messages import LabelTerm, NodeFacts, Strategy

CASES = (Path(__file__).parent / "placements.txt").read_text().splitlines()


def node_of(text: str) -> NodeFacts:
    name, *words = text.split()
    total: dict[str, float] = {}
    free: dict[str, float] = {}
    labels: dict[str, str] = {}
    for word in words:
        label, is_label, value = word.partition(":")
        if is_label:
            labels[label] = value
            continue
        resource, _, amounts = word.rpartition("=")
        total[resource or "CPU"], free[resource or "CPU"] = map(float, amounts.split("/"))
    return NodeFacts(name, f"tcp://{name}", total, free, labels)


def strategy_of(text: str) -> tuple[Strategy, str]:
    """The strategy, and who had the last turn."""
    strategy, last = Strategy(), ""
    terms: dict[str, list[LabelTerm]] = {"labels": [], "wishes": []}
    kind = ""
    for part in text.split(" & "):
        words = part.split()
        if words[0] == "spread":
            strategy = msgspec.structs.replace(strategy, kind="spread")
            last = words[-1] if len(words) > 1 else ""
        elif words[0] in ("node", "near"):
            strategy = msgspec.structs.replace(strategy, kind=words[0], node=words[1], soft=len(words) > 2)
        elif words[0] != "default":
            kind = words.pop(0) if words[0] in terms else kind
            values = tuple(words[2].split(",")) if len(words) > 2 else ()
            terms[kind].append(LabelTerm(words[0], words[1], values))
    return msgspec.structs.replace(
        strategy, labels=tuple(terms["labels"]), wishes=tuple(terms["wishes"])
    ), last


def cases() -> Iterator[tuple[str, str]]:
    """(nodes, case)"""
    nodes = ""
    for line in CASES:
        if line.startswith("nodes:"):
            nodes = line.removeprefix("nodes:")
        elif line and not line.startswith("#"):
            yield nodes, line


@pytest.mark.parametrize(("nodes", "case"), list(cases()))
def test_placement(nodes: str, case: str) -> None:
    asked, how, expected = (part.strip() for part in case.split(";"))
    facts = [node_of(text) for text in nodes.split("|")]
    amounts = [] if asked == "nothing" else [word.split("=") for word in asked.split()]
    need = resources.to_units({name: float(amount) for name, amount in amounts})
    strategy, last = strategy_of(how)
    placed = place(need, strategy, facts, facts[0].node, last)
    said = "never" if placed is None else f"{placed.node.node} {'now' if placed.now else 'later'}"
    assert said == expected
    if home_is_best(strategy, facts[0]) and resources.fits(need, resources.to_units(facts[0].available)):
        assert expected == f"{facts[0].node} now", "the short way must lead to the same place"


def test_there_is_a_case_for_each_outcome() -> None:
    outcomes = {case.rpartition(";")[2].split()[-1] for _, case in cases()}
    assert outcomes == {"now", "later", "never"}
    assert len(list(cases())) > 50


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
