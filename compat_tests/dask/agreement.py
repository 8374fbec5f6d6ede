"""What Dask's scheduler of processes passes, against what distpool passes: the counts, the complaints, the table.

**The denominator** is what passes with ``scheduler="processes"`` and has computed something in doing so; it is kept in
``baselines/dask.json``, by the version of Dask. **The guard**: a test counts only if distpool computed for it as well.
**A waived test counts as not passed**; the waiver (``waivers.toml``) only lets others show.

Pure: records in, rows out.
"""

from __future__ import annotations

import fnmatch
import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compat_tests.dask.suites import SUITES, suite_of
from compat_tests.settings import CHECKOUT

BASELINE = CHECKOUT / "compat_tests" / "baselines" / "dask.json"
WAIVERS = Path(__file__).with_name("waivers.toml")
HEADINGS = ("suite", "denominator", "run", "passed", "waived", "failed", "of those run")

Record = Mapping[str, Any]


@dataclass
class Row:
    """One suite. ``wanted``: the denominator; ``run``: how many of it were run this time."""

    suite: str
    wanted: int = 0
    run: int = 0
    passed: int = 0
    waived: int = 0
    failed: int = 0
    complaints: list[str] = field(default_factory=list)

    @property
    def share(self) -> str:
        """Passed of those run."""
        return f"{100 * self.passed / self.run:.1f} %" if self.run else "-"


def denominator(records: Iterable[Record]) -> dict[str, list[str]]:
    """The tests that pass and compute something, by module."""
    found: dict[str, list[str]] = {}
    for record in records:
        if record["outcome"] == "passed" and record["calls"]:
            module, _, name = record["test"].partition("::")
            found.setdefault(module, []).append(name)
    return {module: sorted(names) for module, names in sorted(found.items())}


def keep(version: str, records: Iterable[Record], modules: Iterable[str]) -> None:
    """Write the denominator down, for the modules that were run."""
    kept = load()
    if kept["dask"] != version:
        kept = {"dask": version, "tests": {}}
    for module in modules:
        kept["tests"].pop(module, None)
    kept["tests"] |= denominator(records)
    kept["tests"] = dict(sorted(kept["tests"].items()))
    BASELINE.write_text(json.dumps(kept, indent=0) + "\n")


def load() -> dict[str, Any]:
    """The denominator that is kept."""
    if not BASELINE.exists():
        return {"dask": "", "tests": {}}
    kept: dict[str, Any] = json.loads(BASELINE.read_text())
    return kept


def waivers() -> dict[str, str]:
    """Patterns of tests, and why each may fail."""
    return {each["test"]: each["reason"] for each in tomllib.loads(WAIVERS.read_text()).get("waiver", [])}


def compare(kept: Mapping[str, Any], records: Iterable[Record], waived: Mapping[str, str]) -> list[Row]:
    """A row for each suite."""
    rows = {suite: Row(suite) for suite in SUITES}
    wanted = {f"{module}::{name}" for module, names in kept["tests"].items() for name in names}
    for test in wanted:
        rows.setdefault(suite_of(test), Row(suite_of(test))).wanted += 1
    for record in records:
        test = record["test"]
        if test not in wanted:
            continue
        row = rows[suite_of(test)]
        row.run += 1
        passed = record["outcome"] == "passed" and record["calls"]
        reason = next((why for pattern, why in waived.items() if fnmatch.fnmatchcase(test, pattern)), None)
        if passed:
            row.passed += 1
        elif reason is not None:
            row.waived += 1
        else:
            row.failed += 1
            why = record["detail"][-200:].strip() or f"{record['outcome']}, {record['calls']} computations"
            row.complaints.append(f"FAILED {test}: {why.splitlines()[-1]}")
    return [row for row in rows.values() if row.wanted]


def total(rows: Iterable[Row]) -> Row:
    """All suites together."""
    whole = Row("all")
    for row in rows:
        whole.wanted += row.wanted
        whole.run += row.run
        whole.passed += row.passed
        whole.waived += row.waived
        whole.failed += row.failed
    return whole


def cells(row: Row) -> tuple[str, ...]:
    """A line of the table."""
    return row.suite, *map(str, (row.wanted, row.run, row.passed, row.waived, row.failed)), row.share


def as_markdown(rows: list[Row], facts: str, waived: Mapping[str, str]) -> str:
    """The results' file."""
    lines = [
        "# Dask's own tests, with distpool as its scheduler",
        "",
        facts,
        "",
        'The denominator is what passes with `scheduler="processes"` (in place of every scheduler) and computes '
        "something in doing so. A test passes here if it does so and distpool computed. A waived test counts as not "
        "passed.",
        "",
        "| " + " | ".join(HEADINGS) + " |",
        "|" + " --- |" * len(HEADINGS),
        *["| " + " | ".join(cells(row)) + " |" for row in [*rows, total(rows)]],
        "",
        "Waived, each with its reason:",
        "",
        *[f"- `{test}`: {why}" for test, why in waived.items()],
    ]
    complaints = [complaint for row in rows for complaint in row.complaints]
    if complaints:
        lines += ["", "Failed:", "", *[f"- {complaint}" for complaint in complaints]]
    return "\n".join(lines) + "\n"
