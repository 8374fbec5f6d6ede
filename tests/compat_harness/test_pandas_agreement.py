"""What counts as passed of pandas' own tests."""

from compat_tests.pandas import agreement

KEPT = {"pandas": "3", "files": {"a.py": {"counts": 3, "others": ["test_skipped"]}}}


def record(name, outcome="passed", made=1):
    return {"test": f"a.py::{name}", "outcome": outcome, "made": made, "detail": ""}


def judged(*records, waived=(), whole=True):
    [row] = agreement.compare(KEPT, records, ["a.py"], dict.fromkeys(waived, "why"), whole)
    return row.wanted, row.run, row.passed, row.failed, row.waived


def test_all_pass_and_what_pandas_does_not_pass_is_not_counted():
    assert judged(record("x"), record("y"), record("z"), record("test_skipped")) == (3, 3, 3, 0, 0)


def test_one_that_makes_none_of_our_objects_has_failed():
    assert judged(record("x"), record("y"), record("z", made=0)) == (3, 3, 2, 1, 0)


def test_one_that_is_missing_has_failed_unless_only_some_were_asked_for():
    assert judged(record("x"), record("y")) == (3, 3, 2, 1, 0)
    assert judged(record("x"), record("y"), whole=False) == (3, 2, 2, 0, 0)


def test_waived_is_not_passed():
    assert judged(record("x"), record("y"), record("z", "failed"), waived=["a.py::z"]) == (3, 3, 2, 0, 1)


def test_one_whose_end_fails_has_failed():
    assert judged(record("x"), record("y"), record("z"), record("z", "failed")) == (3, 3, 2, 1, 0)
