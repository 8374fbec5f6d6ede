"""The table of a soak: on the terminal, and as the Markdown file that is committed."""

from __future__ import annotations

import datetime
import platform
import subprocess
from collections.abc import Sequence

from tests.soak.running import ROOT, Outcome

HEADINGS = ("step", "what", "count", "runs", "result", "s")
NAMED_MAX = 20


def cells(outcome: Outcome) -> tuple[str, ...]:
    """One line of the table."""
    step = outcome.step
    return (
        step.name,
        step.what,
        f"{step.count_of(outcome.share):,}",
        str(outcome.runs),
        f"FAILED: {outcome.complaint}" if outcome.complaint else f"passed: {outcome.summary}",
        f"{outcome.seconds:.0f}",
    )


def as_markdown(outcomes: Sequence[Outcome], left: Sequence[str], command: str) -> str:
    """The whole file; ``left`` are the steps that have not been run."""
    share = outcomes[0].share if outcomes else 1.0
    lines = [HEADINGS, ("---",) * len(HEADINGS), *map(cells, outcomes)]
    parts = [
        "# The soak: full counts of what the tests take samples of",
        f"{datetime.date.today().isoformat()}, commit {commit()}, Python {platform.python_version()}, "
        f"{platform.platform()}, by `{command}`.",
        "\n".join(f"| {' | '.join(line)} |" for line in lines),
    ]
    if share != 1.0:
        parts.insert(2, f"**Not the full counts, but {share:g} of them.**")
    if left:
        parts.append(f"Not run: {', '.join(left)}.")
    for outcome in outcomes:
        if outcome.failures:
            named = "\n".join(f"- `{failure[:200]}`" for failure in outcome.failures[:NAMED_MAX])
            parts.append(f"## Failures of {outcome.step.name}\n\n{named}")
    return "\n\n".join(parts) + "\n"


def commit() -> str:
    """What was tested."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except OSError:
        return "unknown"
    return answer.stdout.strip() or "unknown"
