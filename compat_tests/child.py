"""The test process: lists the tests of a suite, or runs one of them, and says so in JSON lines.

Started by `compat_tests.jobs` as `python -m compat_tests.child ...` in the interpreter under test. Its
lines go to a file, never to a pipe: tests print, fork and die as they like, and nobody ever waits for an
end of file.

    {"event": "test", "name": ...}                                            for `list`
    {"event": "started"}  {"event": "ended", "status": ..., "detail": ...}     for `run`

`status` is passed, failed or skipped. A process that dies leaves "started" alone, and that is a failure.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import sys
import traceback
import unittest
from pathlib import Path
from typing import Any

from compat_tests import hook
from compat_tests.suites import SUITES

# The stacks of a hung test are written this long before the runner kills it.
STACKS_BEFORE_KILL_S = 2.0


class Outcome(unittest.TestResult):
    """Folds all that happens during one test (subtests and fixtures included) into one status."""

    def __init__(self) -> None:
        super().__init__()
        self.passed = False
        self.skip_reason: str | None = None
        self.problems: list[str] = []

    def addSuccess(self, test: unittest.TestCase) -> None:
        self.passed = True

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        self.skip_reason = reason

    def addExpectedFailure(self, test: unittest.TestCase, err: Any) -> None:
        self.passed = True

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:
        self.problems.append("passed, though CPython expects it to fail")

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:
        self._add(err)

    def addError(self, test: unittest.TestCase, err: Any) -> None:
        self._add(err)

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: Any) -> None:
        if err is not None:
            self._add(err)

    def _add(self, err: Any) -> None:
        self.problems.append("".join(traceback.format_exception(*err)))

    def verdict(self) -> tuple[str, str]:
        """(status, detail)."""
        if self.problems:
            return "failed", "\n".join(self.problems)
        if self.skip_reason is not None:
            return "skipped", self.skip_reason
        return ("passed", "") if self.passed else ("failed", "the test did not run")


def main() -> None:
    """Do what the command line says; an exception here is a failure of the harness and ends with status 1."""
    options = _parse()
    if not hook.watching:
        raise RuntimeError("the start-up hook did not run: this process was not started by compat_tests.jobs")
    suite = SUITES[options.suite]
    if options.command == "list":
        with options.events.open("a") as events:
            for name, _ in suite.collect(options.start_method):
                _say(events, event="test", name=name)
        return
    faulthandler.dump_traceback_later(max(options.timeout_s - STACKS_BEFORE_KILL_S, 1.0))
    test = dict(suite.collect(options.start_method))[options.test]
    with options.events.open("a") as events:
        _say(events, event="started")
        outcome = Outcome()
        # A TestSuite, because it also runs the fixtures of the test's class and module.
        unittest.TestSuite([test]).run(outcome)
        status, detail = outcome.verdict()
        _say(events, event="ended", status=status, detail=detail)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="compat_tests.child")
    parser.add_argument("command", choices=("list", "run"))
    parser.add_argument("--suite", required=True)
    parser.add_argument("--start-method", required=True)
    parser.add_argument("--events", type=Path, required=True)
    parser.add_argument("--timeout-s", type=float, required=True)
    parser.add_argument("--test")
    return parser.parse_args()


def _say(events: Any, **event: object) -> None:
    events.write(json.dumps(event) + "\n")
    events.flush()


if __name__ == "__main__":
    # Imported once more by spawned children, under another name: nothing may happen then.
    main()
    sys.stdout.flush()
