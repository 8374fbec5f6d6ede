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


def test_subclasses_are_noted_under_their_own_name_unless_exempt(module, guarded, tmp_path):
    evidence = tmp_path / "evidence"
    original = swap_and_watch(module, guarded, evidence)
    exempt = type("Exempt", (original,), {})
    exempt.__module__ = __name__
    exempt(1)
    assert guard.made(evidence) == {}
    type("Own", (original,), {"__module__": "a_test"})(1)
    assert guard.made(evidence) == {f"{NAME}.Thing": {"a_test.Own"}}


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
