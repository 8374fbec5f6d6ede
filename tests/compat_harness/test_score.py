"""The counting of `compat_tests`: whatever a run looks like, nothing is counted that was not earned."""

import dataclasses
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from compat_tests.baseline import Baseline, Known
from compat_tests.jobs import Result
from compat_tests.report import complaints, hints, table
from compat_tests.score import Row, percent, row
from compat_tests.settings import Waiver

POOL = "multiprocessing.pool.Pool"
OURS = {POOL: {"distpool.pool.Pool"}}
THEIRS = {POOL: {"multiprocessing.pool.Pool"}}


def result(test, status="passed", made=OURS, detail=""):
    return Result(test, status, detail, 1.0, made, ())


def count(results, waivers=(), guarded=True, made_by_stdlib=(POOL,)):
    known = {each.test: Known("passed", tuple(made_by_stdlib)) for each in results}
    baseline = Baseline(Path("unused"), {"fork": known})
    return row(
        results,
        baseline,
        waivers,
        guarded=guarded,
        suite="pool",
        version="3.13.0",
        lent_by=None,
        start_method="fork",
        seconds=2.0,
    )


def waiver(test, **more):
    return Waiver("pool", test, "known", **more)


def test_a_pass_with_evidence_counts():
    counted = count([result("a"), result("b")])
    assert (counted.passed, counted.failures, counted.denominator) == (2, (), 2)
    assert complaints([counted], {"pool": 100.0}) == []


def test_a_failure_tells_the_line_that_names_the_error():
    trace = "Traceback (most recent call last):\n  File ...\nValueError: no\nlog line"
    counted = count([result("a"), result("b", "failed", detail=trace)])
    assert (counted.passed, percent([counted])) == (1, 50.0)
    assert complaints([counted], {"pool": 50.0}) == ["FAILED pool on 3.13.0, fork: b: ValueError: no"]


def test_a_skip_of_what_the_standard_library_passes_is_a_failure():
    counted = count([result("a", "skipped", detail="no reason")])
    assert counted.failures == (("a", "skipped, though the standard library passes it: no reason"),)


def test_a_waived_test_counts_as_not_passed_even_if_it_passes():
    counted = count([result("a"), result("b", "failed"), result("c")], [waiver("[bc]")])
    assert (counted.passed, counted.waived, counted.denominator) == (1, (("b", "known"), ("c", "known")), 3)
    assert counted.stale_waivers == ("c",)
    assert hints([counted]) == ["pool on 3.13.0, fork: c passes; its waiver can go"]


def test_a_pass_by_the_standard_class_is_a_violation_and_a_failure():
    counted = count([result("a", made=THEIRS)])
    assert counted.passed == 0
    assert [line.split()[0] for line in complaints([counted], {"pool": 0.0})] == ["GUARD", "FAILED"]


def test_a_pass_that_made_none_is_a_violation_only_if_the_standard_library_makes_one():
    assert count([result("a", made={})]).violations == (("a", f"made no {POOL} at all"),)
    assert count([result("a", made={})], made_by_stdlib=()).passed == 1


def test_a_waiver_does_not_hide_a_violation():
    counted = count([result("a", made=THEIRS)], [waiver("a")])
    assert complaints([counted], {"pool": 0.0})[0].startswith("GUARD ")
    assert counted.stale_waivers == ()


def test_the_standard_library_itself_is_not_guarded():
    assert count([result("a", made=THEIRS)], guarded=False).passed == 1


def test_the_floor_is_over_all_start_methods_and_each_python_has_its_own():
    good = count([result(name) for name in "abc"])
    bad = dataclasses.replace(count([result("a", "failed")]), start_method="spawn")
    other = dataclasses.replace(good, version="3.11.7")
    floors = {"pool": 80.0}
    assert [line for line in complaints([good, bad, other], floors) if line.startswith("FLOOR")] == [
        "FLOOR pool on 3.13.0: 75.0 % is below the floor of 80 %"
    ]
    totals = [line for line in table([good, bad, other], floors) if line[2] == "all"]
    assert [(line[1], line[3], line[6], line[7]) for line in totals] == [
        ("3.13.0", "3", "4", "75.0"),
        ("3.11.7", "3", "3", "100.0"),
    ]


def test_an_empty_run_is_no_good_run():
    assert complaints([count([])], {}) == [
        "EMPTY pool on 3.13.0: the standard library passes nothing, so nothing was tested"
    ]


def test_no_rows_have_no_per_cent():
    assert percent([]) is None


results = st.builds(
    result,
    st.uuids().map(str),
    st.sampled_from(["passed", "failed", "skipped"]),
    st.sampled_from([OURS, THEIRS, {}]),
)


@given(st.lists(results, unique_by=lambda each: each.test), st.data())
def test_every_test_is_counted_once(found, data):
    waived = [each.test for each in found if data.draw(st.booleans())]
    counted = count(found, [waiver(test) for test in waived])
    assert counted.denominator == len(found)
    assert {test for test, _ in counted.waived} == set(waived)
    earned = [
        each.test
        for each in found
        if each.status == "passed" and each.made == OURS and each.test not in waived
    ]
    assert counted.passed == len(earned)
    assert isinstance(counted, Row)
