"""Which nodes to start, as a table, and against rules that hold for any demand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distpool.scheduler.cores.packing import Demand, Room, left_over, nodes_for, room_of
from distpool.scheduler.cores.resources import to_units
from distpool.scheduler.messages import LabelTerm, NodeType

CASES = (Path(__file__).parent / "packings.txt").read_text().splitlines()


def amounts_of(words: list[str]) -> dict[str, float]:
    return {name: float(amount) for name, _, amount in (word.partition("=") for word in words if "=" in word)}


def labels_of(words: list[str]) -> dict[str, str]:
    return {name: value for name, colon, value in (word.partition(":") for word in words) if colon}


def type_of(text: str) -> NodeType:
    name, most, *words = text.split()
    return NodeType(name, amounts_of(words), labels_of(words), 0, int(most))


def demand_of(text: str) -> Demand:
    what, *more = text.split()
    count, _, need = what.partition("x")
    labels = labels_of([word[1:] for word in more if word.startswith("@")])
    apart = next((word[1:] for word in more if word.startswith("!")), "")
    terms = tuple(LabelTerm(key, "in", (value,)) for key, value in labels.items())
    return Demand(to_units(amounts_of(need.split(","))), int(count), terms, apart)


def cases() -> Iterator[tuple[str, str]]:
    types = ""
    for line in CASES:
        if line.startswith("types:"):
            types = line.removeprefix("types:")
        elif line and not line.startswith("#"):
            yield types, line


@pytest.mark.parametrize(("types", "case"), list(cases()))
def test_packing(types: str, case: str) -> None:
    wanted, there, expected = (part.strip() for part in case.split(";"))
    kinds = [type_of(text) for text in types.split("|")]
    rooms = [
        Room(to_units(amounts_of(text.split())), labels_of(text.split()))
        for text in ([] if there == "-" else there.split("|"))
    ]
    left = left_over([demand_of(text) for text in wanted.split("+")], rooms)
    started = nodes_for(left, kinds, {kind.name: kind.max_nodes for kind in kinds}, 100)
    assert " ".join(sorted(started)) == " ".join(sorted(expected.replace("-", "").split()))


needs = st.dictionaries(st.sampled_from(["CPU", "GPU", "x"]), st.integers(1, 40_000), min_size=1)
some_types = st.lists(
    st.builds(
        NodeType,
        st.sampled_from(["a", "b", "c"]),
        st.dictionaries(st.sampled_from(["CPU", "GPU", "x"]), st.integers(1, 8).map(float), min_size=1),
        max_nodes=st.integers(0, 4),
    ),
    unique_by=lambda node_type: node_type.name,
    max_size=3,
)


@given(
    st.lists(st.builds(Demand, needs, st.integers(1, 1_000_000)), max_size=5), some_types, st.integers(0, 6)
)
def test_no_more_than_may_be_none_in_vain_and_none_forgotten(
    demands: list[Demand], types: list[NodeType], most: int
) -> None:
    may = {node_type.name: node_type.max_nodes for node_type in types}
    started = nodes_for(demands, types, may, most)
    assert len(started) <= most
    assert all(count <= may[name] for name, count in Counter(started).items())
    by_name = {node_type.name: node_type for node_type in types}
    left = left_over(demands, ())
    for name in started:
        rest = left_over(left, [room_of(by_name[name])])
        assert sum(d.count for d in rest) < sum(d.count for d in left), "a node that nobody uses"
        left = rest
    if len(started) < most:
        for node_type in types:
            if Counter(started)[node_type.name] < may[node_type.name]:
                assert left_over(left, [room_of(node_type)]) == left, "one more would have been of use"
