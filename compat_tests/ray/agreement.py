"""Real Ray's verdicts against distpool's: what agrees, what differs on purpose, what fails; and the table of it.

Real Ray's are kept in `compat_tests/baselines/`, with a fingerprint of the test's file, so that whoever has no Ray can
compare too, and so that a verdict of another text of a test is no verdict.
"""

from __future__ import annotations

import datetime
import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from compat_tests import report
from compat_tests.ray.bodies import Verdict, file_of, last_line
from compat_tests.settings import CHECKOUT

BASELINE = CHECKOUT / "compat_tests" / "baselines" / "ray.json"
HEADINGS = ("concept", "tests", "agree", "differ on purpose", "fail", "not judged", "s distpool", "s Ray")


@dataclass
class Row:
    """One test file: its counts, the reasons for what differs on purpose, and a complaint for all that is wrong."""

    concept: str
    tests: int = 0
    agree: int = 0
    differ: int = 0
    fail: int = 0
    not_judged: int = 0
    seconds: float = 0.0
    seconds_ray: float = 0.0
    reasons: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


def judge(version: str, found: Sequence[Verdict], partly: bool) -> bool:
    """Keep real Ray's verdicts (all, or with `partly` those of some tests); returns whether any test fails there."""
    kept = _load()
    if not partly or kept["ray"] != version:
        kept = {"ray": version, "python": platform.python_version(), "tests": {}}
    for verdict in found:
        kept["tests"][verdict.test] = {
            "status": verdict.status,
            "seconds": verdict.seconds,
            "text": verdict.text,
        }
    texts = {verdict.file: verdict.text for verdict in found}
    kept["tests"] = {
        test: entry
        for test, entry in sorted(kept["tests"].items())
        if entry["text"] == texts.get(file_of(test), entry["text"])  # else: of a text that is no more
    }
    BASELINE.write_text(json.dumps(kept, indent=1) + "\n")
    failed = [verdict.test for verdict in found if verdict.status == "failed"]
    print(
        f"real Ray {version}: {len(found)} tests, {len(failed)} of them fail: the body is wrong about these"
    )
    return bool(failed)


def compare(found: Sequence[Verdict]) -> list[Row]:
    """A row for each test file, of distpool's verdicts against the kept ones of real Ray."""
    kept = _load()
    rows: dict[str, Row] = {}
    for verdict in found:
        row = rows.setdefault(verdict.file, Row(verdict.file))
        theirs = kept["tests"].get(verdict.test, {"status": "none", "seconds": 0.0, "text": ""})
        row.tests += 1
        if verdict.differs and verdict.differs not in row.reasons:
            row.reasons.append(verdict.differs)
        row.seconds += verdict.seconds
        row.seconds_ray += theirs["seconds"]
        if theirs["text"] != verdict.text or theirs["status"] != "passed":
            row.not_judged += 1
            if theirs["status"] != "skipped":
                row.complaints.append(
                    f"NOT JUDGED {verdict.test}: run `--on ray`, the text is new or fails there"
                )
        elif verdict.status != "passed":
            row.fail += 1
            row.complaints.append(f"{verdict.status.upper()} {verdict.test}: {last_line(verdict.detail)}")
        elif verdict.differs:
            row.differ += 1
        else:
            row.agree += 1
    return list(rows.values())


def as_text(rows: Sequence[Row]) -> str:
    """The table for a terminal."""
    lines = _cells(rows)
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )


def as_markdown(rows: Sequence[Row], command: str) -> str:
    """The table as `RESULTS-ray.md` keeps it, the failures below, and the differences with their reasons."""
    heading, *lines = _cells(rows)
    kept = _load()
    complaints = [complaint for row in rows for complaint in row.complaints]
    parts = [
        "# Programs for Ray, run on distpool",
        f"{datetime.date.today()}, commit {report.commit()}, Python {platform.python_version()}, by `{command}`. "
        f"Judged by Ray {kept['ray']} on Python {kept['python']}, in a network namespace with nothing but loopback.",
        "A test agrees if it passes on both. Where we differ on purpose it carries both expectations and the reason. "
        "Seconds are of one run each, at different times on a shared machine: they say what the body costs, no more.",
        "\n".join(f"| {' | '.join(line)} |" for line in (heading, ("---",) * len(HEADINGS), *lines)),
        "## Different on purpose\n\n" + "\n".join(f"- {reason}" for row in rows for reason in row.reasons),
    ]
    if complaints:
        parts.append("## Not as it should be\n\n" + "\n".join(f"- {complaint}" for complaint in complaints))
    return "\n\n".join(parts) + "\n"


def _cells(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    total = Row("all")
    for row in rows:
        for name in ("tests", "agree", "differ", "fail", "not_judged", "seconds", "seconds_ray"):
            setattr(total, name, getattr(total, name) + getattr(row, name))
    counted = [
        (
            row.concept,
            *(str(n) for n in (row.tests, row.agree, row.differ, row.fail, row.not_judged)),
            f"{row.seconds:.1f}",
            f"{row.seconds_ray:.1f}",
        )
        for row in (*rows, total)
    ]
    return [HEADINGS, *counted]


def _load() -> dict[str, Any]:
    if not BASELINE.exists():
        return {"ray": "none", "python": "none", "tests": {}}
    kept: dict[str, Any] = json.loads(BASELINE.read_text())
    return kept
