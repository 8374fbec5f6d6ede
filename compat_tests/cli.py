"""The command line of `python -m compat_tests`: for each lane, baseline, run, count."""

from __future__ import annotations

import argparse
import dataclasses
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from compat_tests import baseline, interpreters, jobs, processes, report, score
from compat_tests.settings import CHECKOUT, Settings, Waiver, load_settings, load_waivers
from compat_tests.suites import SUITES, Suite
from compat_tests.suites.model import START_METHODS

EXIT_GOOD, EXIT_BAD, EXIT_BROKEN, EXIT_INTERRUPTED = 0, 1, 2, 130

DESCRIPTION = """\
Run CPython's own tests of multiprocessing and ProcessPoolExecutor against distpool.

The tests are those of the `test` packages of the Pythons on this machine, untouched. What counts is the share
of those that the standard library itself passes, on the same Python and start method. That is measured first
and kept in compat_tests/baselines/.
"""

EPILOG = """\
examples:
  python -m compat_tests                                 all suites, this Python, all start methods
  python -m compat_tests --suite pool -k imap -v         the pool tests with "imap" in their names
  python -m compat_tests --python 3.11,3.12,3.13 --results compat_tests/RESULTS.md
  python -m compat_tests --stdlib --python 3.13          measure what the standard library passes

exit status:
  0  every suite is at its floor, and no test failed that has no waiver
  1  a test failed, a suite is below its floor, or a test met the standard library's class, not distpool's
  2  the harness could not do its work (no such Python, tests that cannot be listed, ...)

Floors and time-outs: compat_tests/settings.toml. Known failures and why: compat_tests/waivers.toml.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; returns the exit status."""
    options = _parse(arguments)
    settings = load_settings()
    settings = dataclasses.replace(
        settings, jobs=options.jobs or settings.jobs, timeout_s=options.timeout or settings.timeout_s
    )
    processes.become_subreaper()
    children_before = processes.own_children()
    try:
        rows = list(_run_all(options, settings, load_waivers()))
    except (interpreters.MissingInterpreter, jobs.HarnessError, ValueError) as error:
        print(f"compat_tests: {error}", file=sys.stderr)
        return EXIT_BROKEN
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    finally:
        for process in processes.end_orphans(children_before):
            print(f"left behind by some test, and killed: {process}")
    return _conclude(rows, options, settings)


def _run_all(options: argparse.Namespace, settings: Settings, waivers: list[Waiver]) -> Iterator[score.Row]:
    for python in _pythons(options.python):
        executable = interpreters.environment(python, settings, stdlib_only=options.stdlib)
        for suite in options.suite:
            runner = _SuiteRun(options, settings, suite, python, executable)
            for start_method in options.start_method:
                yield runner.run(start_method, waivers)


def _pythons(wanted: list[str]) -> list[interpreters.Interpreter]:
    if wanted == ["all"]:
        return interpreters.find_all()
    return [interpreters.find(name) for name in wanted] or [interpreters.running()]


class _SuiteRun:
    """One suite on one Python: knows its tests, who lent them, and its baseline."""

    def __init__(
        self,
        options: argparse.Namespace,
        settings: Settings,
        suite: Suite,
        python: interpreters.Interpreter,
        executable: Path,
    ) -> None:
        self._options, self._settings, self._suite, self._python = options, settings, suite, python
        self._executable = executable
        sources = suite.source_files(python.stdlib)
        self._lender = None if sources else interpreters.lender(python, suite)
        self._borrowed: dict[str, str] = {}
        if self._lender is not None:
            sources = suite.source_files(self._lender.stdlib)
            place = self._lender.stdlib.joinpath(*suite.source.split("."))
            self._borrowed = {suite.source: str(place if place.is_dir() else place.with_suffix(".py"))}
        if not sources:
            raise interpreters.MissingInterpreter(
                f"no Python here has {suite.source}; install one from source, for instance with pyenv"
            )
        self._baseline = baseline.load(suite.name, python.version, sources)

    def run(self, start_method: str, waivers: list[Waiver]) -> score.Row:
        """Measure the baseline where it is missing, then (without --stdlib) run distpool, and count."""
        standard = self._lane(start_method, swap=False)
        tests = [
            test
            for test in jobs.list_tests(standard, self._settings)
            if any(fnmatchcase(test, f"*{pattern}*") for pattern in self._options.k)
        ]
        again = self._options.stdlib or self._options.refresh
        start = time.monotonic()
        results = self._measure(standard, tests if again else self._baseline.missing(start_method, tests))
        counted = self._baseline.passed(start_method, tests)
        if not self._options.stdlib:
            start = time.monotonic()
            results = self._run_tests(self._lane(start_method, swap=True), counted)
        else:
            results = [result for result in results if result.test in counted]
        return score.row(
            results,
            self._baseline,
            [] if self._options.stdlib else waivers,
            guarded=not self._options.stdlib,
            suite=self._suite.name,
            version=self._python.version,
            lent_by=self._lender.version if self._lender else None,
            start_method=start_method,
            seconds=time.monotonic() - start,
        )

    def _measure(self, lane: jobs.Lane, tests: list[str]) -> list[jobs.Result]:
        results = self._run_tests(lane, tests)
        # Some tests fail now and then with the standard library too. One pass is enough to be asked of distpool.
        failed = [result.test for result in results if result.status == "failed"]
        results = [result for result in results if result.test not in failed] + self._run_tests(lane, failed)
        for result in results:
            self._baseline.record(lane.start_method, result.test, result.status, result.made)
        if results:
            self._baseline.save()
        return results

    def _run_tests(self, lane: jobs.Lane, tests: list[str]) -> list[jobs.Result]:
        what = "distpool" if lane.swap else "standard library"
        if tests:
            print(
                f"{lane.suite} on {lane.version}, {lane.start_method}: {len(tests)} tests, {what}", flush=True
            )
        results = []
        for result in jobs.run_tests(lane, tests, self._settings):
            self._show(result)
            results.append(result)
        return results

    def _show(self, result: jobs.Result) -> None:
        if self._options.verbose:
            print(f"  {result.status:8}{result.seconds:6.1f} s  {result.test}", flush=True)
            if result.status == "failed":
                print("    " + result.detail.rstrip().replace("\n", "\n    "), flush=True)
        if self._options.verbose or result.status == "passed":
            for process in result.left_behind:
                print(f"  {result.test} left behind, and we killed: {process}", flush=True)

    def _lane(self, start_method: str, swap: bool) -> jobs.Lane:
        return jobs.Lane(
            self._executable,
            self._python.version,
            self._suite.name,
            start_method,
            swap,
            self._options.package_path,
            self._borrowed,
        )


def _conclude(rows: list[score.Row], options: argparse.Namespace, settings: Settings) -> int:
    lines = report.table(rows, settings.floor_percent)
    print("\n" + report.as_text(lines))
    if options.stdlib:
        return EXIT_GOOD
    if options.results is not None:
        command = shlex.join(["python", "-m", "compat_tests", *sys.argv[1:]])
        report.write(options.results, report.as_markdown(rows, lines, command))
    for hint in report.hints(rows):
        print(f"note: {hint}")
    # A part of a suite has no floor.
    floors = settings.floor_percent if options.k == [""] else {}
    complaints = report.complaints(rows, floors)
    for complaint in complaints:
        print(complaint)
    return EXIT_BAD if complaints else EXIT_GOOD


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m compat_tests",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--suite",
        type=_suites,
        default=list(SUITES.values()),
        help=f"which, by commas: {', '.join(SUITES)} (all)",
    )
    add("--python", type=_names, default=[], help="versions or paths, by commas, or all (the running one)")
    add(
        "--start-method",
        type=_start_methods,
        default=list(START_METHODS),
        help="fork, spawn, forkserver (all)",
    )
    add(
        "-k",
        type=_names,
        default=[""],
        metavar="PATTERN",
        help="only tests whose name contains one of these; * and ? match",
    )
    add("--timeout", type=float, metavar="SECONDS", help="for one test, with its start-up (settings.toml)")
    add("--jobs", type=int, metavar="N", help="test processes at a time (settings.toml)")
    add(
        "--stdlib",
        action="store_true",
        help="run the standard library only, and keep the result as the baseline",
    )
    add("--refresh", action="store_true", help="measure the baseline again before running distpool")
    add("--results", type=Path, metavar="FILE", help="also write the table as Markdown")
    add(
        "--package-path",
        type=Path,
        default=CHECKOUT,
        metavar="DIR",
        help="the folder that holds distpool (this checkout)",
    )
    add(
        "-v", "--verbose", action="store_true", help="a line for each test, and the traceback of each failure"
    )
    options = parser.parse_args(arguments)
    options.package_path = options.package_path.resolve()
    return options


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _suites(text: str) -> list[Suite]:
    return [SUITES[name] for name in _known(_names(text), SUITES)]


def _start_methods(text: str) -> list[str]:
    return _known(_names(text), START_METHODS)


def _known(names: list[str], known: Sequence[str] | dict[str, Suite]) -> list[str]:
    for name in names:
        if name not in known:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(known)}")
    return names
