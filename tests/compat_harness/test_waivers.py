"""Waivers and settings of `compat_tests`: what they cover, and that the files in the checkout are sound."""

import json

import pytest

from compat_tests import suites
from compat_tests.baseline import BASELINES
from compat_tests.settings import Waiver, load_settings, load_waivers, same_series


@pytest.mark.parametrize(
    ("waiver", "covered"),
    [
        (Waiver("pool", "T.test_a", "why"), True),
        (Waiver("pool", "T.*", "why"), True),
        (Waiver("pool", "t.*", "why"), False),
        (Waiver("executor", "T.*", "why"), False),
        (Waiver("pool", "T.*", "why", start_methods=("spawn", "fork")), True),
        (Waiver("pool", "T.*", "why", start_methods=("spawn",)), False),
        (Waiver("pool", "T.*", "why", pythons=("3.13",)), True),
        (Waiver("pool", "T.*", "why", pythons=("3.13.0",)), True),
        (Waiver("pool", "T.*", "why", pythons=("3.1", "3.12")), False),
    ],
)
def test_what_a_waiver_covers(waiver, covered):
    assert waiver.covers("pool", "T.test_a", "fork", "3.13.0") is covered


def test_a_series_is_no_prefix():
    assert same_series("3.11.7", "3.11")
    assert not same_series("3.11.7", "3.1")


def test_waivers_are_read(tmp_path):
    path = tmp_path / "waivers.toml"
    path.write_text('[[waiver]]\nsuite = "pool"\ntest = "T.*"\npythons = ["3.13"]\nreason = " why "\n')
    assert load_waivers(path) == [Waiver("pool", "T.*", "why", pythons=("3.13",))]
    path.write_text("# none\n")
    assert load_waivers(path) == []


@pytest.mark.parametrize("reason", ["", 'reason = ""', 'reason = """two\nlines"""'])
def test_a_waiver_needs_a_reason_in_one_line(tmp_path, reason):
    path = tmp_path / "waivers.toml"
    path.write_text(f'[[waiver]]\nsuite = "pool"\ntest = "T.*"\n{reason}\n')
    with pytest.raises(ValueError, match="needs a reason, in one line"):
        load_waivers(path)


def test_every_waiver_names_a_test_that_the_standard_library_passes():
    for waiver in load_waivers():
        covered = [
            test
            for path in BASELINES.glob(f"{waiver.suite}-*.json")
            for start_method, tests in json.loads(path.read_text()).items()
            for test, (status, *_) in tests.items()
            if status == "passed" and waiver.covers(waiver.suite, test, start_method, path.name.split("-")[1])
        ]
        assert covered, waiver


def test_every_suite_has_a_floor_that_can_be_missed():
    floors = load_settings().floor_percent
    assert {*suites.SUITES, "joblib"} == set(floors)
    assert all(90.0 <= floor <= 100.0 for floor in floors.values())
