"""What pandas passes of its own tests, against what distpool passes: the counts, the complaints, the table.

**The denominator** is what passes with pandas itself and has made a DataFrame or a Series in doing so. Of each file,
``baselines/pandas.json`` has how many these are, and the names of all others, which are fewer.
**The guard**: a test counts as passed only if it has made one of distpool's. **A waived test counts as not passed**;
the waiver (``waivers.toml``) only lets others show.

Pure: records in, rows out.
"""

from __future__ import annotations

import fnmatch
import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from compat_tests.dask.agreement import HEADINGS, Record, Row, cells, total
from compat_tests.pandas.suites import SUITES, suite_of
from compat_tests.settings import CHECKOUT

__all__ = ["HEADINGS", "Row", "as_markdown", "cells", "compare", "keep", "load", "total", "waivers"]

BASELINE = CHECKOUT / "compat_tests" / "baselines" / "pandas.json"
WAIVERS = Path(__file__).with_name("waivers.toml")


def ended(records: Iterable[Record]) -> dict[str, dict[str, Record]]:
    """How each test ended, by file and name. A test has failed if any part of it has."""
    tests: dict[str, dict[str, Record]] = {}
    for record in records:
        file, _, name = record["test"].partition("::")
        known = tests.setdefault(file, {})
        if name not in known or record["outcome"] == "failed":
            known[name] = record
    return tests


def counts(record: Record) -> bool:
    """Whether it has passed and made something of the library under test."""
    return bool(record["outcome"] == "passed" and record["made"])


def keep(version: str, records: Iterable[Record]) -> None:
    """Write the denominator down, for the files that were run."""
    kept = load()
    if kept["pandas"] != version:
        kept = {"pandas": version, "files": {}}
    for file, tests in ended(records).items():
        others = sorted(name for name, record in tests.items() if not counts(record))
        kept["files"][file] = {"counts": len(tests) - len(others), "others": others}
    kept["files"] = dict(sorted(kept["files"].items()))
    BASELINE.write_text(json.dumps(kept, indent=0) + "\n")


def load() -> dict[str, Any]:
    """The denominator that is kept."""
    if not BASELINE.exists():
        return {"pandas": "", "files": {}}
    kept: dict[str, Any] = json.loads(BASELINE.read_text())
    return kept


def waivers() -> dict[str, str]:
    """Patterns of tests, and why each may fail."""
    return {each["test"]: each["reason"] for each in tomllib.loads(WAIVERS.read_text()).get("waiver", [])}


def compare(
    kept: Mapping[str, Any],
    records: Iterable[Record],
    files: Iterable[str],
    waived: Mapping[str, str],
    whole: bool,
) -> list[Row]:
    """A row for each of the files. If they were run as a whole, a test that is missing has failed."""
    tests = ended(records)
    rows = []
    for file in files:
        known = kept["files"].get(file, {"counts": 0, "others": []})
        row = Row(file, wanted=known["counts"])
        others = set(known["others"])
        for name, record in tests.get(file, {}).items():
            if name not in others:
                _add(row, f"{file}::{name}", record, waived)
        if whole and row.run < row.wanted:
            missing = row.wanted - row.run
            row.failed, row.run = row.failed + missing, row.wanted
            row.complaints.append(f"FAILED {file}: {missing} tests were not found, or not reached")
        rows.append(row)
    return rows


def _add(row: Row, test: str, record: Record, waived: Mapping[str, str]) -> None:
    row.run += 1
    if counts(record):
        row.passed += 1
    elif any(fnmatch.fnmatchcase(test, pattern) for pattern in waived):
        row.waived += 1
    else:
        row.failed += 1
        why = (
            record["detail"].strip()
            or f"{record['outcome']}, and made {record['made']} of distpool's objects"
        )
        row.complaints.append(f"FAILED {test}: {why.splitlines()[-1][:300]}")


def as_markdown(routes: Mapping[str, Sequence[Row]], facts: str, waived: Mapping[str, str]) -> str:
    """The results' file: for each file and route, passed / failed / waived."""
    lines = [
        "# pandas' own tests, with distpool.dataframe as pandas",
        "",
        facts,
        "",
        "The denominator is what passes with pandas itself and makes a DataFrame or a Series in doing so. A test "
        "passes here if it does so and made one of distpool's. A waived test counts as not passed. Each cell: "
        "passed / failed / waived; a dash means that it was not run.",
        "",
        "| suite | file | denominator | " + " | ".join(routes) + " |",
        "|" + " --- |" * (3 + len(routes)),
    ]
    by_file = {route: {row.suite: row for row in rows} for route, rows in routes.items()}
    for files in SUITES.values():
        for file in files:
            found = [by_file[route].get(file, Row(file)) for route in routes]
            wanted = max(row.wanted for row in found)
            lines.append(_line(suite_of(file), f"`{file}`", wanted, found))
    sums = [total(rows) for rows in routes.values()]
    lines.append(_line("all", "that were run", max(row.wanted for row in sums), sums))
    lines += [
        "",
        "Of those run, passed: "
        + "; ".join(f"{r}: {s.share}" for r, s in zip(routes, sums, strict=True))
        + ".",
    ]
    if waived:
        lines += [
            "",
            "Waived, each with its reason:",
            "",
            *[f"- `{test}`: {why}" for test, why in waived.items()],
        ]
    for route, rows in routes.items():
        complaints = [complaint for row in rows for complaint in row.complaints]
        if complaints:
            lines += ["", f"Failed ({route}):", "", "```", *_by_function(complaints), "```"]
    return "\n".join(lines) + "\n"


def _by_function(complaints: Iterable[str]) -> Iterator[str]:
    """One line for all parameters of a test: how often, and why the first of them."""
    found: dict[str, list[str]] = {}
    for complaint in complaints:
        test, _, why = complaint.removeprefix("FAILED ").partition(": ")
        found.setdefault(test.partition("[")[0], []).append(why.strip()[:160])
    for test, reasons in found.items():
        yield f"{len(reasons):4} {test}: {reasons[0]}"


def _line(suite: str, file: str, wanted: int, rows: Sequence[Row]) -> str:
    results = [f"{row.passed} / {row.failed} / {row.waived}" if row.run else "-" for row in rows]
    return f"| {suite} | {file} | {wanted} | " + " | ".join(results) + " |"
