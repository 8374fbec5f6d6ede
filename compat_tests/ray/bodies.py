"""Runs the test files on one library, a process for each file, and brings back a verdict for each test.

A process that dies or hangs costs the test that it was at; the file's other tests are run in another one. What a
file leaves running is killed, by pid.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from benchmarks import environment, network, peers
from compat_tests import processes
from compat_tests.settings import CHECKOUT

FOLDER = Path(__file__).resolve().parent
#: What the body needs in real Ray's environment beside Ray. The last one is for the state API.
BESIDE_RAY = ("numpy", "pytest", "pytest-timeout", "ray[default]")
FILE_TIMEOUT_S = 900.0
SETTLE_S = 5.0
_NOTHING_SELECTED = 5


class CannotRun(Exception):
    """Real Ray cannot be had here; the text says why and what to do."""


@dataclass(frozen=True)
class Place:
    """Where the body runs: on which library, of which version, by which command."""

    on: str
    version: str
    command: tuple[str, ...]


@dataclass(frozen=True)
class Verdict:
    """How one test ended: "passed", "failed" or "skipped"; `detail` is the traceback, or why it was skipped.

    `differs` is the reason why distpool is expected to do something else here, mostly empty. `text` is a
    fingerprint of the test's file, as it was when it was run.
    """

    test: str
    status: str
    differs: str
    seconds: float
    detail: str
    text: str

    @property
    def file(self) -> str:
        """The concept that it belongs to."""
        return file_of(self.test)


def file_of(test: str) -> str:
    """The concept that a test belongs to: "tasks" of "test_tasks.py::test_one"."""
    return test.partition("::")[0].removeprefix("test_").removesuffix(".py")


OURS = Place("distpool", "this checkout", (sys.executable,))


def real_ray() -> Place:
    """Real Ray, in the environment of the benchmarks' peers; it is installed there if it is missing.

    Raises:
        CannotRun: there is no network namespace to be had, or Ray cannot be installed.
    """
    prefix = network.isolating_command()
    if not prefix:
        raise CannotRun(
            "real Ray listens on every interface, so it is run only in a network namespace of its own, and "
            "`unshare --net` is not permitted here (run as root, or allow user namespaces)"
        )
    peer = peers.discover()["ray-tasks"]
    needs = SimpleNamespace(needs=BESIDE_RAY)
    found = environment.locate([peer], []).find(peer, ())
    if isinstance(found, str) or not _has_all(found.python):
        environment.install([peer], [needs])  # type: ignore[list-item]
        found = environment.locate([peer], []).find(peer, ())
    if isinstance(found, str):
        raise CannotRun(f"real Ray: {found}")
    return Place("ray", found.version, (*prefix, found.python))


def _has_all(python: str) -> bool:
    """Whether it can import what the body imports, and what Ray's state API does."""
    command = [python, "-c", "import aiohttp_cors, numpy, pytest, pytest_timeout"]
    with tempfile.TemporaryDirectory(prefix="compat-") as folder:
        log = Path(folder) / "log"
        return processes.run_bounded(command, dict(os.environ), folder, Path(folder), log, 60, 0).status == 0


def run(place: Place, expression: str, timeout_s: float) -> list[Verdict]:
    """Run the body, or what pytest's `-k` selects of it, and print each failure as it comes."""
    found = []
    for file in sorted(FOLDER.glob("test_*.py")):
        verdicts = _run_file(place, file, expression, timeout_s)
        passed = sum(verdict.status == "passed" for verdict in verdicts)
        if verdicts:
            print(f"{file.stem:28} on {place.on}: {passed} of {len(verdicts)} passed", flush=True)
        for verdict in verdicts:
            if verdict.status != "passed":
                print(f"  {verdict.status:8}{verdict.test}: {last_line(verdict.detail)}", flush=True)
        found += verdicts
    return found


def _run_file(place: Place, file: Path, expression: str, timeout_s: float) -> list[Verdict]:
    verdicts: dict[str, Verdict] = {}
    text = hashlib.sha256(file.read_bytes()).hexdigest()[:12]
    while True:
        # Short, because libraries put unix sockets beneath it, whose paths have 107 characters at most.
        with tempfile.TemporaryDirectory(prefix="c-", dir="/tmp", ignore_cleanup_errors=True) as scratch:
            notes, log = Path(scratch) / "verdicts", Path(scratch) / "log"
            mark = uuid.uuid4().hex
            variables = {
                **os.environ,
                "COMPAT_VERDICTS": str(notes),
                "COMPAT_MARK": mark,
                "PYTHONPATH": str(CHECKOUT),
                "TMPDIR": scratch,
                "RAY_TMPDIR": scratch,
            }
            command = _pytest(place, file, expression, timeout_s, verdicts)
            ended = processes.run_bounded(
                command, variables, mark, CHECKOUT, log, FILE_TIMEOUT_S, SETTLE_S if place is OURS else 0.0
            )
            before = len(verdicts)
            begun = _read(notes, verdicts, text)
            if begun is not None:
                cause = "no end within the file's time" if ended.timed_out else f"died ({ended.status})"
                detail = f"{cause}: {log.read_text(errors='replace')[-2000:]}"
                verdicts[begun] = Verdict(begun, "failed", "", 0.0, detail, text)
            elif ended.status not in (0, 1, _NOTHING_SELECTED):
                name = f"{file.name}::(the file)"
                verdicts[name] = Verdict(
                    name, "failed", "", 0.0, log.read_text(errors="replace")[-4000:], text
                )
            if begun is None or len(verdicts) == before:
                return list(verdicts.values())


def _pytest(place: Place, file: Path, expression: str, timeout_s: float, done: Iterable[str]) -> list[str]:
    folder = FOLDER.relative_to(CHECKOUT)
    command = [*place.command, "-m", "pytest", str(folder / file.name), "--on", place.on, "-q"]
    command += ["-p", "no:cacheprovider", "--timeout", f"{timeout_s:g}", "--tb", "short"]
    if place is not OURS:  # what another library warns of is not our affair
        command += ["-o", "filterwarnings=ignore"]
    if expression:
        command += ["-k", expression]
    for test in done:
        command += ["--deselect", str(folder / test)]
    return command


def _read(notes: Path, verdicts: dict[str, Verdict], text: str) -> str | None:
    """Add what the file of notes tells; returns the test that began and did not end."""
    begun = None
    for line in notes.read_text().splitlines() if notes.exists() else ():
        entry = json.loads(line)
        test = entry["test"].rpartition("compat_tests/ray/")[2]
        if entry["status"] == "begun":
            begun = test
        elif entry["status"] == "ended":
            begun = None
        elif test not in verdicts or entry["status"] == "failed":
            verdicts[test] = Verdict(
                test, entry["status"], entry["differs"], entry["seconds"], entry["detail"], text
            )
    return begun


def last_line(text: str) -> str:
    """The line of a traceback that names the error."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line[1:].strip() for line in lines if line.startswith("E ")]
    return (errors or lines or ["no detail"])[0][:200]
