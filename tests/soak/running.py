"""Running a step: each command in a process group of its own, under its limit, with its output in a file.

A command that runs into its limit is asked for its stacks first (SIGABRT, which pytest's faulthandler answers), then
its whole group is killed. The group, and not the drivers below it that have sessions of their own: those end with the
process that started them, which is one of the things that are tested.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tests.soak.steps import Step

ROOT = Path(__file__).parents[2]
STACKS_S = 10.0
#: The line in which a command says how it went: pytest's last, or the simulator's.
_SUMMARY = re.compile(r"^(=+ )?\d+ (passed|failed|skipped|deselected|error|seeds)\b.*$", re.MULTILINE)
_FAILED = re.compile(r"^(?:FAILED|ERROR) .*$|^seed \d+: .*$", re.MULTILINE)


@dataclass
class Outcome:
    """What became of a step."""

    step: Step
    share: float
    runs: int = 0
    seconds: float = 0.0
    complaint: str = ""  # "": it passed
    summary: str = ""  # the last run's own words
    failures: tuple[str, ...] = ()
    output: Path | None = None


def run_step(step: Step, share: float, folder: Path) -> Outcome:
    """Run it, to the end or to the first run that fails."""
    outcome = Outcome(step, share)
    outcome.output = folder / f"{re.sub('[^a-z]+', '-', step.name)}.txt"
    began_s = time.monotonic()
    with outcome.output.open("w") as output:
        while not outcome.complaint and outcome.runs < step.runs_of(share):
            outcome.runs += 1
            output.write(f"== run {outcome.runs}: {' '.join(step.command_of(share))}\n")
            output.flush()
            outcome.complaint = _run(step, share, output.fileno())
    outcome.seconds = time.monotonic() - began_s
    text = outcome.output.read_text(errors="replace")
    outcome.failures = tuple(match[0] for match in _FAILED.finditer(text))
    for match in _SUMMARY.finditer(text):
        outcome.summary = match[0].strip("= ")
    return outcome


def _run(step: Step, share: float, output_fd: int) -> str:
    """Run the command once; returns what is to be complained of, "" if nothing."""
    process = subprocess.Popen(
        step.command_of(share),
        cwd=ROOT,
        env={**os.environ, "DISTPOOL_SOAK": "1", "DISTPOOL_SOAK_SHARE": repr(share)},
        stdin=subprocess.DEVNULL,
        stdout=output_fd,
        stderr=output_fd,
        start_new_session=True,
    )
    try:
        status = process.wait(step.limit_s)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)
        try:
            process.wait(STACKS_S)
        except subprocess.TimeoutExpired:
            pass
        return f"not done within {step.limit_s:.0f} s"
    finally:
        _kill_group(process)
    return "" if status == 0 else f"exit status {status}"


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass  # all of them have ended
    process.wait()
