"""``python -m compat_tests.joblib``: joblib's own tests of `Parallel`, first on loky, then on distpool, and the count.

    all tests ── on loky, once ──► baselines/joblib-...json: what passes there, and has used a process backend
                                        │  these
                                        ▼
                                   on distpool ──► score.row ──► the table

What is counted, and how, is as in the other suites (README.md): the start method of the table is always "any".
"""

from __future__ import annotations

import argparse
import platform
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import joblib

from compat_tests import baseline, jobs, processes, report, score
from compat_tests.cli import EXIT_BAD, EXIT_BROKEN, EXIT_GOOD, EXIT_INTERRUPTED
from compat_tests.joblib import running
from compat_tests.settings import load_settings, load_waivers

SUITE, START_METHOD = "joblib", "any"
SAMPLE = Path(__file__).with_name("sample.txt")

EPILOG = """\
examples:
  python -m compat_tests.joblib                          all tests of joblib.Parallel
  python -m compat_tests.joblib --sample                 the fixed sample that `make check` runs
  python -m compat_tests.joblib -k timeout -v            a part, with the traceback of each failure
  python -m compat_tests.joblib --refresh                measure anew what loky passes, and stop
"""


def main(arguments: Sequence[str]) -> int:
    """Returns the exit status: 1 if a test failed that has no waiver, or there are too many that have."""
    options = _parse(arguments)
    processes.become_subreaper()
    before = processes.own_children()
    try:
        row = _run(options)
    except jobs.HarnessError as error:
        print(f"compat_tests.joblib: {error}", file=sys.stderr)
        return EXIT_BROKEN
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    finally:
        for process in processes.end_orphans(before):
            print(f"left behind by some test, and killed: {process}")
    return EXIT_GOOD if row is None else _conclude(row, options, arguments)


def _run(options: argparse.Namespace) -> score.Row | None:
    source = Path(joblib.__file__).parent / "test" / "test_parallel.py"
    if not source.exists():
        raise jobs.HarnessError(f"the installed joblib has no tests: there is no {source}")
    known = baseline.load(SUITE, joblib.__version__, [source])
    wanted = SAMPLE.read_text().split("\n") if options.sample else None
    measured = known.known.get(START_METHOD, {})
    if options.refresh or not measured:
        print(f"joblib {joblib.__version__} on loky", flush=True)
        for result in _shown(running.run(swap=False, tests=wanted), options.verbose):
            known.record(START_METHOD, result.test, result.status, result.made)
        if wanted is None:  # of a sample there is no baseline
            known.save()
        if options.refresh:
            return None
        measured = known.known[START_METHOD]
    tests = [
        test
        for test in known.passed(START_METHOD, measured)
        # What has not used loky there says nothing of what stands in its place.
        if measured[test].made
        and (wanted is None or test in wanted)
        and any(fnmatchcase(test, f"*{pattern}*") for pattern in options.k)
    ]
    print(f"joblib {joblib.__version__} on distpool: {len(tests)} tests", flush=True)
    start = time.monotonic()
    results = list(_shown(running.run(swap=True, tests=tests), options.verbose))
    return score.row(
        results,
        known,
        load_waivers(),
        guarded=True,
        suite=SUITE,
        version=f"{platform.python_version()}, joblib {joblib.__version__}",
        lent_by=None,
        start_method=START_METHOD,
        seconds=time.monotonic() - start,
    )


def _shown(results: Iterator[jobs.Result], verbose: bool) -> Iterator[jobs.Result]:
    for result in results:
        if verbose:
            print(f"  {result.status:8}{result.seconds:6.1f} s  {result.test}", flush=True)
            if result.status == "failed":
                print("    " + result.detail.rstrip().replace("\n", "\n    "), flush=True)
        yield result


def _conclude(row: score.Row, options: argparse.Namespace, arguments: Sequence[str]) -> int:
    floors = load_settings().floor_percent
    lines = report.table([row], floors)[-1:]
    print("\n" + report.as_text(lines))
    if options.results is not None:
        command = shlex.join(["python", "-m", "compat_tests.joblib", *arguments])
        title = "# joblib's own tests of Parallel, run against distpool"
        counted = "Of the tests that loky passes there, and that use it. A waived test counts as not passed."
        report.write(options.results, report.as_markdown([row], lines, command, title, counted))
    for hint in report.hints([row]):
        print(f"note: {hint}")
    whole = options.k == [""] and not options.sample
    complaints = report.complaints([row], floors if whole else {})
    print("\n".join(complaints))
    return EXIT_BAD if complaints else EXIT_GOOD


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m compat_tests.joblib",
        description="Run joblib's own tests of Parallel (of the installed package, untouched) with distpool in "
        "loky's place, and beside it by its own name.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--sample", action="store_true", help="only the tests in sample.txt")
    parser.add_argument("--refresh", action="store_true", help="measure what loky passes, and stop")
    parser.add_argument(
        "-k", nargs="+", default=[""], metavar="TEXT", help="only tests with one of these in their names"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="show each test, and each failure")
    parser.add_argument("--results", type=Path, metavar="FILE", help="write the table there")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
