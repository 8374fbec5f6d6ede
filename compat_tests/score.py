"""The counting. A pure function of results, baseline and waivers: what passed, and what makes the run fail.

    denominator   the tests that the standard library passes here (skips never count)
    waived        a waiver names them: NOT passed, whatever they did
    failed        the rest of those that did not pass, or whose evidence shows the standard library at work

Per cents are of the denominator; floors apply to a suite on one Python, over all start methods.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from compat_tests import guard
from compat_tests.baseline import Baseline
from compat_tests.jobs import Result
from compat_tests.settings import Waiver


@dataclass(frozen=True)
class Row:
    """One line of the table: a suite on one Python under one start method."""

    suite: str
    version: str
    lent_by: str | None
    start_method: str
    passed: int
    failures: tuple[tuple[str, str], ...]
    waived: tuple[tuple[str, str], ...]
    stale_waivers: tuple[str, ...]
    violations: tuple[tuple[str, str], ...]
    seconds: float

    @property
    def denominator(self) -> int:
        """How many tests the standard library passes."""
        return self.passed + len(self.failures) + len(self.waived)


def row(
    results: Iterable[Result],
    baseline: Baseline,
    waivers: Iterable[Waiver],
    *,
    guarded: bool,
    suite: str,
    version: str,
    lent_by: str | None,
    start_method: str,
    seconds: float,
) -> Row:
    """Count the `results` of one suite, Python and start method against its baseline.

    `guarded`: every instance must be distpool's; False for the standard library's own run.
    """
    waivers = list(waivers)
    passed = 0
    failures, waived, stale, violations = [], [], [], []
    for result in sorted(results, key=lambda result: result.test):
        reason = next(
            (w.reason for w in waivers if w.covers(suite, result.test, start_method, version)), None
        )
        wrong = (
            guard.violations(result.made, _made_by_stdlib(baseline, start_method, result)) if guarded else []
        )
        if wrong:
            violations.append((result.test, "; ".join(wrong)))
        good = result.status == "passed" and not wrong
        if reason is not None:
            waived.append((result.test, reason))
            if good:
                stale.append(result.test)
        elif good:
            passed += 1
        else:
            failures.append((result.test, _why(result, wrong)))
    return Row(
        suite,
        version,
        lent_by,
        start_method,
        passed,
        tuple(failures),
        tuple(waived),
        tuple(stale),
        tuple(violations),
        seconds,
    )


def percent(rows: Iterable[Row]) -> float | None:
    """The share of the denominator that passed, in per cent; None if there is nothing to pass."""
    rows = list(rows)
    denominator = sum(row.denominator for row in rows)
    return 100.0 * sum(row.passed for row in rows) / denominator if denominator else None


def _made_by_stdlib(baseline: Baseline, start_method: str, result: Result) -> tuple[str, ...]:
    # A test that failed may have ended before it made anything; only a pass needs the full evidence.
    return baseline.known[start_method][result.test].made if result.status == "passed" else ()


def _why(result: Result, wrong: list[str]) -> str:
    if wrong:
        return "; ".join(wrong)
    if result.status == "skipped":
        return f"skipped, though the standard library passes it: {result.detail}"
    return result.detail
