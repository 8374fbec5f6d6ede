"""Runs joblib's tests in pytest processes, until each has a verdict: a death or a hang costs only the test it hit."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compat_tests import processes
from compat_tests.joblib import plugin
from compat_tests.jobs import LOG_TAIL_CHARS, HarnessError, Result
from compat_tests.settings import CHECKOUT

MODULE = "joblib.test.test_parallel"
TEST_TIMEOUT_S = 90.0
RUN_TIMEOUT_S = 3600.0
SETTLE_S = 6.0
_NO_TESTS_LEFT = 5


@dataclass
class _Test:
    """What the notes say of one test."""

    status: str = ""
    detail: str = ""
    seconds: float = 0.0
    made: set[str] = field(default_factory=set)
    ended: bool = False


def run(*, swap: bool, tests: Sequence[str] | None = None) -> Iterator[Result]:
    """Run these tests (None: all that there are), and yield how each ended.

    Raises:
        HarnessError: they cannot be run.
    """
    done: dict[str, Result] = {}
    while True:
        found, log, ended = _one_process(swap, tests, sorted(done))
        before = len(done)
        for name, test in found.items():
            if not test.ended:  # it was this one
                how = "no end within its time" if ended.timed_out else f"the process died ({ended.status})"
                test.status, test.detail = "failed", f"{how}\n{log}"
            made = {plugin.GUARDED: test.made} if test.made else {}
            done[name] = result = Result(name, test.status, test.detail, test.seconds, made, ended.killed)
            yield result
        if ended.status in (0, 1, _NO_TESTS_LEFT) and not ended.timed_out:
            return
        if len(done) == before:
            raise HarnessError(f"cannot run {MODULE}:\n{log}")


def _one_process(
    swap: bool, tests: Sequence[str] | None, done: Sequence[str]
) -> tuple[dict[str, _Test], str, processes.Ended]:
    # Short, because the paths of unix sockets below it must fit in 107 bytes.
    with tempfile.TemporaryDirectory(prefix="dpj-", dir="/tmp", ignore_cleanup_errors=True) as scratch:
        folder = Path(scratch)
        notes, log, chosen = folder / "notes", folder / "log", folder / "chosen"
        chosen.write_text(json.dumps({"tests": tests, "done": done}))
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        environment |= {
            plugin.VARIABLE: json.dumps({"swap": swap, "notes": str(notes), "chosen": str(chosen)}),
            "COMPAT_MARK": (mark := uuid.uuid4().hex),
            "PYTHONPATH": str(CHECKOUT),
            "PYTHONHASHSEED": "0",
            "TMPDIR": scratch,
        }
        command = [sys.executable, "-m", "pytest", "-p", "compat_tests.joblib.plugin", "--pyargs", MODULE]
        command += ["-q", "-p", "no:cacheprovider", "--timeout", f"{TEST_TIMEOUT_S:g}", "--tb", "short"]
        command += ["--rootdir", scratch, "-W", "ignore::pytest.PytestUnknownMarkWarning"]
        ended = processes.run_bounded(command, environment, mark, folder, log, RUN_TIMEOUT_S, SETTLE_S)
        text = log.read_text(errors="replace")[-LOG_TAIL_CHARS:] if log.exists() else ""
        return _read(notes), text, ended


def _read(notes: Path) -> dict[str, _Test]:
    found: dict[str, _Test] = {}
    for line in notes.read_text().splitlines() if notes.exists() else ():
        entry: dict[str, Any] = json.loads(line)
        test = found.setdefault(entry["test"], _Test())
        if entry["event"] == "ended":
            test.ended = True
            test.made |= set(entry["made"])
        elif entry["event"] == "phase" and test.status != "failed":
            test.status, test.detail = entry["status"], entry["detail"]
            test.seconds += entry["seconds"]
    return found
