"""Runs tests, each in a process of its own, and says how each ended.

A hang, a crash or a silent exit is a failed test like any other: nothing that a test does can stop the run.
"""

from __future__ import annotations

import concurrent.futures
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from compat_tests import guard, hook, processes
from compat_tests.settings import Settings

# How much of a failing test's own output is kept.
LOG_TAIL_CHARS = 6000
# The last lines of a process, printed if the harness itself fails.
HARNESS_TAIL_CHARS = 2000


class HarnessError(Exception):
    """The harness could not do its work; the text holds what the test process said last."""


@dataclass(frozen=True)
class Lane:
    """What tests are run in: an interpreter's venv, a suite, a start method, and with or without the swap."""

    executable: Path
    version: str
    suite: str
    start_method: str
    swap: bool
    package_path: Path
    borrowed: dict[str, str]


@dataclass(frozen=True)
class Result:
    """How one test ended. `made`: guarded class -> the classes of the instances that were really made."""

    test: str
    status: str
    detail: str
    seconds: float
    made: dict[str, set[str]]
    left_behind: tuple[str, ...]


def list_tests(lane: Lane, settings: Settings) -> list[str]:
    """The names of the tests of `lane`. Raises HarnessError."""
    with _Workplace(lane) as place:
        ended, events = place.run("list", settings)
        if ended.status != 0 or ended.timed_out:
            raise HarnessError(f"cannot list the tests of {lane}:\n{place.log_tail(HARNESS_TAIL_CHARS)}")
        return [event["name"] for event in events]


def run_tests(lane: Lane, tests: Iterable[str], settings: Settings) -> Iterator[Result]:
    """Run `tests` of `lane`, `settings.jobs` at a time; yields each result as its test ends."""
    with concurrent.futures.ThreadPoolExecutor(settings.jobs) as threads:
        waiting = [threads.submit(_run_one, lane, test, settings) for test in tests]
        try:
            for done in concurrent.futures.as_completed(waiting):
                yield done.result()
        except BaseException:
            # Ctrl-C reaches only this process, since each test has a session of its own.
            threads.shutdown(wait=False, cancel_futures=True)
            processes.kill_running()
            raise


def _run_one(lane: Lane, test: str, settings: Settings) -> Result:
    with _Workplace(lane) as place:
        start = time.monotonic()
        ended, events = place.run("run", settings, "--test", test)
        seconds = time.monotonic() - start
        if not events and not ended.timed_out:
            # It did not even reach the test: not the test's fault, and must not shrink a denominator.
            raise HarnessError(f"cannot start {test} of {lane}:\n{place.log_tail(HARNESS_TAIL_CHARS)}")
        last: dict[str, Any] = events[-1] if events else {"event": "nothing"}
        if last["event"] == "ended":
            status, detail = last["status"], last["detail"]
            if status == "failed":
                detail += f"\n{place.log_tail(LOG_TAIL_CHARS)}"
            elif ended.timed_out:
                status, detail = (
                    "failed",
                    f"the test passed, then its process hung\n{place.log_tail(LOG_TAIL_CHARS)}",
                )
        else:
            how = (
                f"no end after {settings.timeout_s:g} s" if ended.timed_out else f"exit status {ended.status}"
            )
            status, detail = "failed", f"{how}, last event: {last['event']}\n{place.log_tail(LOG_TAIL_CHARS)}"
        return Result(test, status, detail, seconds, guard.made(place.evidence), ended.killed)


class _Workplace:
    """A fresh folder for one test process: its current directory, TMPDIR, output, events and evidence."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane

    def __enter__(self) -> Self:
        # Short, because the paths of unix sockets below it must fit in 107 bytes.
        self._folder = Path(tempfile.mkdtemp(prefix="dpc-"))
        (self._folder / "t").mkdir()
        self._log = self._folder / "log"
        self._events = self._folder / "events"
        self.evidence = self._folder / "evidence"
        return self

    def __exit__(self, *exc_info: object) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def run(
        self, command: str, settings: Settings, *more: str
    ) -> tuple[processes.Ended, list[dict[str, Any]]]:
        """Run `compat_tests.child` here; how it ended, and the events that it wrote."""
        lane = self._lane
        order = {
            "suite": lane.suite,
            "swap": lane.swap,
            "evidence": str(self.evidence),
            "package_path": str(lane.package_path),
            "borrowed": lane.borrowed,
        }
        argv = [str(lane.executable), "-m", "compat_tests.child", command, "--suite", lane.suite]
        argv += ["--start-method", lane.start_method, "--events", str(self._events)]
        argv += ["--timeout-s", str(settings.timeout_s), *more]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        environment |= {hook.VARIABLE: json.dumps(order), "TMPDIR": str(self._folder / "t")}
        environment.pop("VIRTUAL_ENV", None)
        ended = processes.run_bounded(
            argv,
            environment,
            mark=str(self.evidence),
            folder=self._folder / "t",
            log=self._log,
            timeout_s=settings.timeout_s,
            settle_s=settings.settle_s,
        )
        lines = self._events.read_text().splitlines() if self._events.exists() else []
        return ended, [json.loads(line) for line in lines]

    def log_tail(self, chars: int) -> str:
        """The last part of what the process printed."""
        return self._log.read_text(errors="replace")[-chars:] if self._log.exists() else ""
