"""What may be said of strategies and placement groups, and what is refused, in words; without a cluster."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from distpool.scheduler.messages import LabelTerm, Strategy
from distpool.util import placement_group as make_group
from distpool.util.placement_group import PlacementGroup, PlacementGroupID
from distpool.util.scheduling_strategies import (
    DoesNotExist,
    Exists,
    In,
    NodeAffinitySchedulingStrategy,
    NodeLabelSchedulingStrategy,
    NotIn,
    PlacementGroupSchedulingStrategy,
    strategy_of,
    terms_of,
)

ID = PlacementGroupID(bytes(range(18)))
GROUP = PlacementGroup(ID, [{"CPU": 1.0}, {"CPU": 2.0, "GPU": 1.0}])


def test_words() -> None:
    assert strategy_of(None) == strategy_of("DEFAULT") == Strategy()
    assert strategy_of("SPREAD") == Strategy("spread")
    with pytest.raises(ValueError, match=r'"DEFAULT" or "SPREAD".*not \'PACK\''):
        strategy_of("PACK")
    with pytest.raises(TypeError, match="not 3"):
        strategy_of(3)


def test_a_node() -> None:
    assert strategy_of(NodeAffinitySchedulingStrategy("b", soft=True)) == Strategy("node", "b", True)
    for wrong in ("", None, 3):
        with pytest.raises(ValueError, match="node_id is a NodeID as nodes"):
            NodeAffinitySchedulingStrategy(wrong, soft=False)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="only with soft=True"):
        NodeAffinitySchedulingStrategy("b", soft=False, _spill_on_unavailable=True)


def test_labels() -> None:
    made = NodeLabelSchedulingStrategy(
        {"a": In("1", "2"), "b": NotIn("3")}, soft={"c": Exists(), "d": DoesNotExist()}
    )
    assert strategy_of(made, {"e": "5"}) == Strategy(
        labels=(
            LabelTerm("a", "in", ("1", "2")),
            LabelTerm("b", "not_in", ("3",)),
            LabelTerm("e", "in", ("5",)),
        ),
        wishes=(LabelTerm("c", "exists"), LabelTerm("d", "absent")),
    )


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: In(), "In takes at least one value"),
        (lambda: NotIn("a", 1), r"NotIn takes strings.*value 1 is 1, of type int"),
        (lambda: NodeLabelSchedulingStrategy({}), "both empty"),
        (lambda: NodeLabelSchedulingStrategy(3), "hard is a dictionary"),
        (lambda: NodeLabelSchedulingStrategy({1: In("a")}), "keys of hard are strings"),
        (lambda: NodeLabelSchedulingStrategy({"a": In("a")}, soft={"b": "c"}), "values of soft are In.*of 'b' is 'c'"),
    ],
)  # fmt: skip
def test_labels_that_make_no_sense(make: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        make()


@pytest.mark.parametrize(
    ("text", "term"),
    [
        ("east", LabelTerm("k", "in", ("east",))),
        ("!east", LabelTerm("k", "not_in", ("east",))),
        ("in(east, west)", LabelTerm("k", "in", ("east", "west"))),
        ("!in(east,west)", LabelTerm("k", "not_in", ("east", "west"))),
        ("inn", LabelTerm("k", "in", ("inn",))),
    ],
)
def test_selectors(text: str, term: LabelTerm) -> None:
    assert terms_of({"k": text}) == (term,)


@pytest.mark.parametrize("text", ["", "!", "in()", "in(a,)", "!!a", "in(a", "a,b"])
def test_selectors_that_make_no_sense(text: str) -> None:
    with pytest.raises(ValueError, match=r"label_selector of 'k' is .*; write"):
        terms_of({"k": text})


def test_selectors_that_are_none() -> None:
    assert terms_of(None) == terms_of({}) == ()
    for wrong in ("east", [("k", "east")]):
        with pytest.raises(ValueError, match="label_selector is a dictionary"):
            terms_of(wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="strings for keys and values"):
        terms_of({"k": 1})  # type: ignore[dict-item]


def test_in_a_group() -> None:
    inside = PlacementGroupSchedulingStrategy
    name = bytes(range(18)).hex()
    assert strategy_of(inside(GROUP)) == Strategy("group", group=name)
    assert strategy_of(inside(GROUP, 1, True)) == Strategy("group", group=name, bundle=1, capture=True)
    assert strategy_of(inside(None)) == Strategy()
    for wrong in (2, -2, "1"):
        with pytest.raises(ValueError, match="the group has 2 bundles: give a number from 0 to 1, or -1"):
            strategy_of(inside(GROUP, wrong))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="what placement_group"):
        strategy_of(inside("mine"))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="label_selector has no meaning in a placement group"):
        strategy_of(inside(GROUP), {"zone": "east"})


def test_work_must_fit_into_one_bundle() -> None:
    inside = PlacementGroupSchedulingStrategy
    assert strategy_of(inside(GROUP), None, {"CPU": 2.0}).kind == "group"
    assert strategy_of(inside(GROUP, 1), None, {"CPU": 2.0, "GPU": 1.0}).bundle == 1
    with pytest.raises(ValueError, match=r"asks for CPU 3, and no bundle .*: CPU 1; CPU 2, GPU 1$"):
        strategy_of(inside(GROUP), None, {"CPU": 3.0})
    with pytest.raises(ValueError, match=r"asks for CPU 2, and bundle 0 of its group has not: CPU 1$"):
        strategy_of(inside(GROUP, 0), None, {"CPU": 2.0})


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"bundles": {"CPU": 1}}, "bundles is a list of dictionaries"),
        ({"bundles": []}, "bundles is empty"),
        ({"bundles": [1]}, "bundle 0 is 1; a bundle is a dictionary"),
        ({"bundles": [{"CPU": 1}, {}]}, "bundle 1 is {}: a bundle asks for something"),
        ({"bundles": [{"CPU": 0}]}, "asks for something"),
        ({"bundles": [{"CPU": -1}]}, "bundle 0 has 'CPU': -1; an amount is a number"),
        ({"bundles": [{"CPU": "1"}]}, "bundle 0 has 'CPU': '1'"),
        ({"bundles": [{"CPU": float("nan")}]}, "bundle 0 has 'CPU': nan"),
        ({"strategy": "SIDEWAYS"}, "one of PACK, SPREAD, STRICT_PACK, STRICT_SPREAD, not 'SIDEWAYS'"),
        ({"lifetime": "for ever"}, "None or \"detached\", not 'for ever'"),
        ({"_soft_target_node_id": "b"}, "for the strategy STRICT_PACK only"),
        ({"bundle_label_selector": [{}, {}]}, "a dictionary for each of the 1 bundles"),
        ({"bundle_label_selector": [{"zone": "!"}]}, "bundle_label_selector 0 of 'zone' is '!'"),
    ],
)
def test_groups_that_make_no_sense(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        make_group(**{"bundles": [{"CPU": 1}], **arguments})


def test_a_handle() -> None:
    assert pickle.loads(pickle.dumps(GROUP)) == GROUP
    assert pickle.loads(pickle.dumps(GROUP)).bundle_specs == GROUP.bundle_specs
    assert GROUP.bundle_count == 2
    assert {GROUP, PlacementGroup(PlacementGroupID.from_hex(ID.hex()))} == {GROUP}
    assert PlacementGroup.empty().is_empty
    assert not GROUP.is_empty
    GROUP.bundle_specs[0]["CPU"] = 5.0
    assert GROUP.bundle_specs[0] == {"CPU": 1.0}, "what is handed out is a copy"
