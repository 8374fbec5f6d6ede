"""The table of a soak: on the terminal, and as the Markdown file that is committed."""

from __future__ import annotations

import datetime
import platform
import subprocess
from collections.abc import Sequence

from tests.soak.running import ROOT, Outcome

HEADINGS = ("step", "what", "count", "runs", "result", "s", "date", "commit", "Python")
NAMED_MAX = 20
_FAILURES = "## Failures of "


def cells(outcome: Outcome) -> tuple[str, ...]:
    """One line of the table."""
    step = outcome.step
    whole = "" if outcome.share == 1.0 else f" ({outcome.share:g} of the full count)"
    return (
        step.name,
        step.what,
        f"{step.count_of(outcome.share):,}{whole}",
        str(outcome.runs),
        f"FAILED: {outcome.complaint}" if outcome.complaint else f"passed: {outcome.summary}",
        f"{outcome.seconds:.0f}",
        datetime.date.today().isoformat(),
        commit(),
        platform.python_version(),
    )


def as_markdown(outcomes: Sequence[Outcome], steps: Sequence[str], before: str = "") -> str:
    """The whole file. ``steps`` are the names of all there are; what was not run now stays as it is in ``before``."""
    rows, failures = _read(before)
    for outcome in outcomes:
        rows[outcome.step.name] = cells(outcome)
        failures.pop(outcome.step.name, None)
        if outcome.failures:
            named = "\n".join(f"- `{failure[:200]}`" for failure in outcome.failures[:NAMED_MAX])
            failures[outcome.step.name] = named
    lines = [HEADINGS, ("---",) * len(HEADINGS), *(rows[name] for name in steps if name in rows)]
    parts = [
        "# The soak: full counts of what the tests take samples of",
        "Each step with the day and the commit of its last run, by "
        f"`python -m tests.soak --steps NAMES --results tests/RESULTS.md`, on {platform.platform()}.",
        "\n".join(f"| {' | '.join(line)} |" for line in lines),
    ]
    if left := [name for name in steps if name not in rows]:
        parts.append(f"Not run: {', '.join(left)}.")
    parts += [f"{_FAILURES}{name}\n\n{failures[name]}" for name in steps if name in failures]
    return "\n\n".join(parts) + "\n"


def _read(text: str) -> tuple[dict[str, tuple[str, ...]], dict[str, str]]:
    """The rows and the failures of a file that ``as_markdown`` has made, by step."""
    head, *sections = text.split(f"\n{_FAILURES}")
    rows = [tuple(cell.strip() for cell in line.strip("| ").split(" | ")) for line in head.splitlines()]
    failures = dict(section.strip().split("\n\n", 1) for section in sections)
    return {row[0]: row for row in rows if len(row) == len(HEADINGS)}, failures


def commit() -> str:
    """What was tested."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except OSError:
        return "unknown"
    return answer.stdout.strip() or "unknown"
