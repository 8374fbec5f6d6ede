"""``python -m compat_tests.pandas``: pandas' own tests, from the installed package, with distpool.dataframe as pandas.

::

    pytest, a process for a suite ── plugin ──► a line of JSON for each test ──► agreement ──► the table, the complaints

Exit status: 0 if all of the denominator that was run passes or is waived; 1 if not; 2 if the work could not be done,
as when a test file holds pandas' own classes.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from importlib.resources import files as files_of
from pathlib import Path
from typing import Any

from compat_tests import installed, processes, report
from compat_tests.installed import CannotRun
from compat_tests.pandas import agreement
from compat_tests.pandas.suites import SAMPLE, SAMPLE_ROUTES, SUITES

EXIT_GOOD, EXIT_BAD, EXIT_BROKEN, EXIT_INTERRUPTED = 0, 1, 2, 130

#: What the table calls a route, and `DISTPOOL_DF_ROUTE` for it.
ROUTES = {"by size": "", "polars": "polars", "cluster": "cluster", "pandas": "pandas"}

EPILOG = """\
examples:
  python -m compat_tests.pandas --sample                    the fixed sample of `make check`
  python -m compat_tests.pandas --suite sort,merge          some suites, on all routes
  python -m compat_tests.pandas --files indexing/test_na_indexing.py --on both   any other files
  python -m compat_tests.pandas --on pandas                 measure the denominator with pandas itself
  python -m compat_tests.pandas --results compat_tests/RESULTS-pandas.md

The tests are those of the installed package: pandas' wheel has them. They are not changed, and left out is only what
pandas.test() leaves out: what is slow, and what needs the network or a database.
"""


def main(arguments: list[str]) -> int:
    """Returns the exit status."""
    options = _parse(arguments)
    try:
        suites, routes = _chosen(options)
        processes.become_subreaper()
        before = processes.own_children()
        try:
            return _run_all(options, suites, routes, arguments)
        finally:
            for process in processes.end_orphans(before):
                print(f"left behind by some test, and killed: {process}")
    except CannotRun as error:
        print(f"compat_tests.pandas: {error}", file=sys.stderr)
        return EXIT_BROKEN
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _chosen(options: argparse.Namespace) -> tuple[dict[str, Sequence[str]], list[str]]:
    if options.files:
        suites: dict[str, Sequence[str]] = {"files": options.files}
    elif options.sample:
        suites = {"sample": SAMPLE}
    else:
        names = options.suite.split(",") if options.suite else list(SUITES)
        if unknown := set(names) - set(SUITES):
            raise CannotRun(f"there is no suite {', '.join(unknown)}; there are {', '.join(SUITES)}")
        suites = {name: SUITES[name] for name in names}
    usual = SAMPLE_ROUTES if options.sample else ROUTES
    routes = options.route.split(",") if options.route else list(usual)
    if unknown := set(routes) - set(ROUTES):
        raise CannotRun(f"there is no route {', '.join(unknown)}; there are {', '.join(ROUTES)}")
    return suites, routes


def _run_all(
    options: argparse.Namespace, suites: dict[str, Sequence[str]], routes: list[str], arguments: list[str]
) -> int:
    failed = False
    if options.on in ("pandas", "both"):
        for files in suites.values():
            agreement.keep(version("pandas"), run("pandas", "", files))
    if options.on in ("distpool", "both"):
        kept = agreement.load()
        if kept["pandas"] != version("pandas"):
            raise CannotRun(
                f"the denominator is of pandas {kept['pandas'] or 'none'}, and installed is {version('pandas')}: "
                "measure it by `python -m compat_tests.pandas --on pandas`"
            )
        results: dict[str, list[agreement.Row]] = {}
        for route in routes:
            print(f"route: {route}")
            results[route] = list(_judged(kept, route, suites, options.k))
            print(
                "  ".join(cell.ljust(12) for cell in agreement.cells(agreement.total(results[route]))),
                flush=True,
            )
            if options.results is not None:
                _write(options.results, results, arguments)
        failed = any(row.failed for rows in results.values() for row in rows)
        failed |= not any(row.run for rows in results.values() for row in rows)
    return EXIT_BAD if failed else EXIT_GOOD


def _judged(
    kept: dict[str, Any], route: str, suites: dict[str, Sequence[str]], expression: str
) -> Iterator[agreement.Row]:
    waived = agreement.waivers()
    for files in suites.values():
        records = run("distpool", ROUTES[route], files, expression)
        for row in agreement.compare(kept, records, files, waived, whole=not expression):
            print("  ".join(cell.ljust(12) for cell in agreement.cells(row)))
            print("\n".join(row.complaints), end="\n" if row.complaints else "", flush=True)
            yield row


def run(under_test: str, route: str, files: Sequence[str], expression: str = "") -> list[dict[str, Any]]:
    """pandas' tests in these files, in one process. Raises CannotRun.

    A process that dies in the middle has run what it has run: what is missing counts as failed.
    """
    tests = Path(str(files_of("pandas"))) / "tests"
    if missing := [file for file in files if not (tests / file).exists()]:
        raise CannotRun(f"pandas {version('pandas')} has no tests/{', '.join(missing)}")
    words = [
        *("--continue-on-collection-errors", "-m", "not slow and not network and not db"),
        *(["-k", expression] if expression else []),
        *[str(tests / file) for file in files],
    ]
    ended = installed.run("pandas", words, {"DISTPOOL_COMPAT_PANDAS": under_test, "DISTPOOL_DF_ROUTE": route})
    if ended.status < 0:
        print(f"the test process died by signal {-ended.status}:\n{ended.said}")
    return ended.records


def _write(path: Path, results: dict[str, list[agreement.Row]], arguments: Sequence[str]) -> None:
    command = shlex.join(["python", "-m", "compat_tests.pandas", *arguments])
    facts = report.provenance(f"pandas {version('pandas')}, Polars {version('polars')}", command)
    path.write_text(agreement.as_markdown(results, facts, agreement.waivers()))


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m compat_tests.pandas",
        description="Run pandas' own tests with distpool.dataframe as pandas.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--on", choices=("pandas", "distpool", "both"), default="distpool")
    parser.add_argument("--suite", default="", metavar="NAMES", help="some suites, by comma (default: all)")
    parser.add_argument("--files", nargs="+", metavar="FILE", help="these files below pandas/tests instead")
    parser.add_argument("--route", default="", metavar="NAMES", help=f"of {', '.join(ROUTES)} (default: all)")
    parser.add_argument("--sample", action="store_true", help="the fixed sample of `make check`")
    parser.add_argument("-k", default="", metavar="EXPRESSION", help="only these tests (pytest's -k)")
    parser.add_argument("--results", type=Path, metavar="FILE", help="write the table there")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
