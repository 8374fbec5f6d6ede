"""Run one program twice, under plain Python and under `distpool run`, and hold what came out."""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 60


@dataclass(frozen=True)
class Outcome:
    """All that a program's user sees of it."""

    status: int
    out: str
    err: str


def environment(**more: str) -> dict[str, str]:
    """The test's environment without coverage or distpool settings, and with the checkout importable."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("DISTPOOL_")}
    return {**kept, "PYTHONPATH": str(ROOT), **more}


def start(command: Sequence[str], cwd: Path, stdin: str = "", env: dict[str, str] | None = None) -> Outcome:
    """Run a command to its end."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env=environment() if env is None else env,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def plain(*words: str, cwd: Path, options: Sequence[str] = (), stdin: str = "") -> Outcome:
    """Run `python WORDS`."""
    return start([sys.executable, *options, *words], cwd, stdin)


def on_distpool(*words: str, cwd: Path, options: Sequence[str] = (), stdin: str = "") -> Outcome:
    """Run `python -m distpool run WORDS`."""
    return start([sys.executable, *options, "-m", "distpool", "run", *words], cwd, stdin)
