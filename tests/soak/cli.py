"""The command line of the soak: which steps, how much of each, where the results go.

The results file is written after each step, so that a run that is cut short still says what it has seen; the rows of
steps that were not run stay, each with its own date and commit.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.soak.report import as_markdown, cells
from tests.soak.running import Outcome, run_step
from tests.soak.steps import STEPS, Step


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the soak; returns its exit status: 0 if every step passed."""
    options = _options(arguments)
    if options.list:
        for step in STEPS:
            print(f"{step.name}: {step.count:,} {step.what}; at most {step.limit_s * step.runs:,.0f} s")
        return 0
    steps = [step for step in STEPS if not options.steps or step.name in options.steps]
    folder = options.output or Path(tempfile.mkdtemp(prefix="soak-"))
    folder.mkdir(parents=True, exist_ok=True)
    print(f"{len(steps)} steps; their output goes to {folder}", flush=True)
    outcomes = _run_all(steps, options, folder)
    return 1 if any(outcome.complaint for outcome in outcomes) else 0


def _run_all(steps: list[Step], options: argparse.Namespace, folder: Path) -> list[Outcome]:
    outcomes: list[Outcome] = []
    for step in steps:
        print(f"{step.name} ...", end=" ", flush=True)
        outcome = run_step(step, options.share, folder)
        outcomes.append(outcome)
        _, _, count, _, result, seconds, *_ = cells(outcome)
        print(f"{count} in {seconds} s, {result}", flush=True)
        for failure in outcome.failures:
            print(f"    {failure}", flush=True)
        if options.results is not None:
            before = options.results.read_text() if options.results.exists() else ""
            options.results.write_text(as_markdown([outcome], [step.name for step in STEPS], before))
    return outcomes


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak", description="Run the full counts, step by step."
    )
    add = parser.add_argument
    add("--steps", type=_names, default=[], metavar="NAMES", help="only these, by comma (see --list)")
    add("--share", type=_share, default=1.0, metavar="X", help="this share of each count, above 0, at most 1")
    add("--results", type=Path, metavar="FILE", help="put each step's row into this Markdown file")
    add("--output", type=Path, metavar="FOLDER", help="where each step's output goes (default: a new one)")
    add("--list", action="store_true", help="say which steps there are, and stop")
    return parser.parse_args(arguments)


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    known = {step.name for step in STEPS}
    for name in names:
        if name not in known:
            raise argparse.ArgumentTypeError(f"no step {name!r}; there are: {', '.join(sorted(known))}")
    return names


def _share(text: str) -> float:
    share = float(text)
    if not 0.0 < share <= 1.0:
        raise argparse.ArgumentTypeError("a share is above 0 and at most 1")
    return share
