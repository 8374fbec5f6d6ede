"""Real Ray's verdicts against distpool's: what agrees, what does not count, what is complained of."""

import json

import pytest

from compat_tests.ray import agreement
from compat_tests.ray.bodies import Verdict

TEST = "test_tasks.py::test_one"


def verdict(status, test=TEST, differs="", detail=""):
    return Verdict(test, status, differs, 0.5, detail, "text")


@pytest.fixture(autouse=True)
def baseline(tmp_path, monkeypatch):
    """An empty one, so that the real one is left alone."""
    monkeypatch.setattr(agreement, "BASELINE", tmp_path / "ray.json")
    return tmp_path / "ray.json"


def counts(found):
    (row,) = agreement.compare(found)
    return row.agree, row.differ, row.fail, row.not_judged


def test_what_passes_on_both_agrees():
    assert agreement.judge("2.0", [verdict("passed")], partly=False) is False
    assert counts([verdict("passed")]) == (1, 0, 0, 0)


def test_what_passes_only_there_fails():
    agreement.judge("2.0", [verdict("passed")], partly=False)
    (row,) = agreement.compare([verdict("failed", detail="text\nE   ValueError: why\n")])
    assert (row.agree, row.fail) == (0, 1)
    assert row.complaints == [f"FAILED {TEST}: ValueError: why"]
    assert counts([verdict("skipped")]) == (0, 0, 1, 0)


def test_a_difference_on_purpose_is_counted_apart_and_has_its_reason():
    agreement.judge("2.0", [verdict("passed", differs="because")], partly=False)
    found = [verdict("passed", differs="because")]
    assert counts(found) == (0, 1, 0, 0)
    assert "- because" in agreement.as_markdown(agreement.compare(found), "command")
    assert counts([verdict("failed", differs="because")]) == (0, 0, 1, 0)


def test_what_real_ray_fails_is_no_judgement():
    assert agreement.judge("2.0", [verdict("failed")], partly=False) is True
    (row,) = agreement.compare([verdict("passed")])
    assert (row.agree, row.not_judged) == (0, 1)
    assert row.complaints[0].startswith(f"NOT JUDGED {TEST}")


def test_what_real_ray_has_not_seen_is_no_judgement():
    assert counts([verdict("passed")]) == (0, 0, 0, 1)


def test_another_text_of_the_file_is_no_judgement(baseline):
    agreement.judge("2.0", [verdict("passed")], partly=False)
    kept = json.loads(baseline.read_text())
    kept["tests"][TEST]["text"] = "another"
    baseline.write_text(json.dumps(kept))
    assert counts([verdict("passed")]) == (0, 0, 0, 1)


def test_a_part_is_added_to_what_is_kept_and_a_whole_replaces_it(baseline):
    other = "test_tasks.py::test_two"
    agreement.judge("2.0", [verdict("passed")], partly=False)
    agreement.judge("2.0", [verdict("passed", test=other)], partly=True)
    assert json.loads(baseline.read_text())["tests"].keys() == {TEST, other}
    agreement.judge("2.0", [verdict("passed", test=other)], partly=False)
    assert json.loads(baseline.read_text())["tests"].keys() == {other}


def test_what_a_file_no_longer_says_is_forgotten(baseline):
    agreement.judge("2.0", [verdict("passed")], partly=False)
    renamed = Verdict("test_tasks.py::test_renamed", "passed", "", 0.5, "", "another text")
    agreement.judge("2.0", [renamed], partly=True)
    assert json.loads(baseline.read_text())["tests"].keys() == {renamed.test}


def test_the_table_sums_up():
    agreement.judge("2.0", [verdict("passed"), verdict("passed", "test_objects.py::test_one")], partly=False)
    rows = agreement.compare([verdict("passed"), verdict("failed", "test_objects.py::test_one")])
    last = agreement.as_text(rows).splitlines()[-1].split()
    assert last[:6] == ["all", "2", "1", "0", "1", "0"]
