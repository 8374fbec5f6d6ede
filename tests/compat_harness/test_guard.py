"""The guard of `compat_tests`: it sees every instance, and calls wrong what is not distpool's."""

import sys
from types import ModuleType

import pytest

from compat_tests import guard
from compat_tests.suites.model import Guarded

NAME = "stood_in_for"


class Standard:
    def __init__(self, size):
        self.size = size


class StandIn:
    def __init__(self, size, *, more=0):
        self.size = size + more


@pytest.fixture
def module(monkeypatch):
    """A module whose class is swapped; the classes are fresh, since the guard wraps their constructors."""
    made = ModuleType(NAME)
    made.Thing = type("Standard", (Standard,), {"__init__": lambda self, size: Standard.__init__(self, size)})
    monkeypatch.setitem(sys.modules, NAME, made)
    return made


@pytest.fixture
def guarded():
    return Guarded(NAME, "Thing", (f"{__name__}.Exempt",))


def swap_and_watch(module, guarded, evidence):
    standard = guard.standard_classes([guarded])
    original = module.Thing
    stand_in = type(
        "StandIn", (StandIn,), {"__init__": lambda self, *a, **k: StandIn.__init__(self, *a, **k)}
    )
    stand_in.__module__ = "distpool.thing"
    module.Thing = stand_in
    guard.watch(standard, evidence)
    return original


def test_instances_of_both_are_noted_and_work_as_before(module, guarded, tmp_path):
    evidence = tmp_path / "evidence"
    original = swap_and_watch(module, guarded, evidence)
    assert guard.made(evidence) == {}
    assert module.Thing(3, more=4).size == 7
    assert guard.made(evidence) == {f"{NAME}.Thing": {"distpool.thing.StandIn"}}
    assert original(5).size == 5
    assert guard.made(evidence) == {f"{NAME}.Thing": {"distpool.thing.StandIn", f"{__name__}.Standard"}}


def test_a_tests_own_subclasses_are_noted_as_what_they_derive_from_unless_exempt(module, guarded, tmp_path):
    evidence = tmp_path / "evidence"
    original = swap_and_watch(module, guarded, evidence)
    exempt = type("Exempt", (original,), {})
    exempt.__module__ = __name__
    exempt(1)
    assert guard.made(evidence) == {}
    type("Own", (module.Thing,), {"__module__": "a_test"})(1)
    assert guard.made(evidence) == {f"{NAME}.Thing": {"distpool.thing.StandIn"}}
    type("Own", (original,), {"__module__": "a_test"})(1)
    assert guard.made(evidence) == {f"{NAME}.Thing": {"distpool.thing.StandIn", f"{__name__}.Standard"}}


def test_of_two_watched_classes_the_more_special_one_is_noted(module, guarded, tmp_path):
    module.Special = type("Special", (module.Thing,), {})
    special = Guarded(NAME, "Special")
    evidence = tmp_path / "evidence"
    guard.watch(guard.standard_classes([guarded, special]), evidence)
    module.Special(1)
    assert set(guard.made(evidence)) == {f"{NAME}.Special"}


def test_a_class_without_a_constructor_of_its_own_leaves_the_next_one_its_turn(module, guarded, tmp_path):
    """A stand-in that inherits: in a diamond, what comes next is not its own first base."""
    standard = module.Thing
    module.Thing = type("StandIn", (standard,), {"__module__": "distpool.thing"})
    guard.watch({guarded: standard}, tmp_path / "evidence")
    twice = type("Twice", (standard,), {"__init__": lambda self, size: standard.__init__(self, 2 * size)})
    assert type("Both", (module.Thing, twice), {})(3).size == 6


def test_what_a_library_makes_for_its_own_objects_is_not_noted(module, guarded, tmp_path):
    evidence = tmp_path / "evidence"
    swap_and_watch(module, guarded, evidence)
    space = {"__name__": "distpool.queues", "module": module}
    exec("class Queue:\n    def __init__(self): self.part = module.Thing(1)", space)
    assert space["Queue"]().part.size == 1
    assert guard.made(evidence) == {}
    handing_on = {"__name__": "distpool.context", "module": module}
    exec("def Thing(self): return module.Thing(1)", handing_on)
    assert handing_on["Thing"](None).size == 1
    assert guard.made(evidence) == {f"{NAME}.Thing": {"distpool.thing.StandIn"}}


def test_without_a_swap_the_class_is_wrapped_once(module, guarded, tmp_path):
    evidence = tmp_path / "evidence"
    guard.watch(guard.standard_classes([guarded]), evidence)
    module.Thing(1)
    assert len(evidence.read_text().splitlines()) == 1


def test_a_stand_in_that_is_no_class_is_refused(module, guarded, tmp_path):
    standard = guard.standard_classes([guarded])
    module.Thing = lambda size: None
    with pytest.raises(TypeError, match="which is no class"):
        guard.watch(standard, tmp_path / "evidence")


@pytest.mark.parametrize(
    ("made", "by_stdlib", "wrong"),
    [
        ({"a.B": {"distpool.b.B"}}, ["a.B"], []),
        ({}, [], []),
        ({"a.B": {"distpool.b.B"}}, [], []),
        ({}, ["a.B"], ["made no a.B at all"]),
        ({"a.B": {"a.B"}}, ["a.B"], ["made instances of a.B instead of distpool's a.B"]),
        (
            {"a.B": {"distpool.b.B", "distpoolish.B"}},
            ["a.B"],
            ["made instances of distpoolish.B instead of distpool's a.B"],
        ),
    ],
)
def test_violations(made, by_stdlib, wrong):
    assert guard.violations(made, by_stdlib) == wrong
