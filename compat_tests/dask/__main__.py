"""``python -m compat_tests.dask``: Dask's own tests, from the installed package, with distpool as its scheduler.

::

    pytest --pyargs dask.* ── plugin ──► a line of JSON for each test ──► agreement ──► the table, the complaints

Exit status: 0 if all of the denominator that was run passes or is waived; 1 if not; 2 if the work could not be done.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from compat_tests import installed, processes, report
from compat_tests.dask import agreement
from compat_tests.dask.suites import SAMPLE, SUITES
from compat_tests.installed import CannotRun

EXIT_GOOD, EXIT_BAD, EXIT_BROKEN, EXIT_INTERRUPTED = 0, 1, 2, 130

EPILOG = """\
examples:
  python -m compat_tests.dask --sample                   the fixed sample of `make check`
  python -m compat_tests.dask --suite bag,delayed        some suites
  python -m compat_tests.dask --on processes             measure the denominator with Dask's own scheduler
  python -m compat_tests.dask --results compat_tests/RESULTS-dask.md

The tests are those of the installed package: Dask's wheel has them. They are not changed, and nothing is left out but
what needs the network or a GPU.
"""


def main(arguments: list[str]) -> int:
    """Returns the exit status."""
    options = _parse(arguments)
    suites = options.suite.split(",") if options.suite else list(SUITES)
    if unknown := set(suites) - set(SUITES):
        print(
            f"compat_tests.dask: there is no suite {', '.join(unknown)}; there are {', '.join(SUITES)}",
            file=sys.stderr,
        )
        return EXIT_BROKEN
    names = SAMPLE if options.sample else [name for suite in suites for name in SUITES[suite]]
    processes.become_subreaper()
    before = processes.own_children()
    failed = False
    try:
        if options.on in ("processes", "both"):
            records = run("processes", names, options.k)
            modules = {record["test"].partition("::")[0] for record in records}
            agreement.keep(version("dask"), records, () if options.k or options.sample else modules)
        if options.on in ("distpool", "both"):
            failed = _judge(run("distpool", names, options.k), options.results, arguments)
    except CannotRun as error:
        print(f"compat_tests.dask: {error}", file=sys.stderr)
        return EXIT_BROKEN
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    finally:
        for process in processes.end_orphans(before):
            print(f"left behind by some test, and killed: {process}")
    return EXIT_BAD if failed else EXIT_GOOD


def run(under_test: str, names: Sequence[str], expression: str = "") -> list[dict[str, Any]]:
    """Dask's tests of these modules, with one scheduler in the place of all. Raises CannotRun."""
    words = [
        *("-m", "not network and not gpu"),
        *(["-k", expression] if expression else []),
        *("--pyargs", *[_place(name) for name in names]),
    ]
    environment = {
        "DISTPOOL_COMPAT_DASK": under_test,
        "PYTHONHASHSEED": "6640",  # Dask's scheduler of processes wants one
    }
    ended = installed.run("dask", words, environment)
    if ended.status < 0:
        raise CannotRun(f"pytest ended with {ended.status}:\n{ended.said}")
    return ended.records


def _place(name: str) -> str:
    """A module as pytest takes it; of a single test, its file's path."""
    module, separator, test = name.partition("::")
    if not separator:
        return name
    import dask

    return f"{Path(dask.__file__).parent.parent / module.replace('.', '/')}.py::{test}"


def _judge(records: list[dict[str, Any]], results: Path | None, arguments: Sequence[str]) -> bool:
    """Print how it went; returns whether anything failed."""
    kept = agreement.load()
    if kept["dask"] != version("dask"):
        print(
            f"the denominator is of Dask {kept['dask'] or 'none'}, and installed is {version('dask')}: "
            "measure it by `python -m compat_tests.dask --on processes`"
        )
    waived = agreement.waivers()
    rows = agreement.compare(kept, records, waived)
    for line in [agreement.HEADINGS, *map(agreement.cells, [*rows, agreement.total(rows)])]:
        print("  ".join(cell.ljust(12) for cell in line))
    for row in rows:
        print("\n".join(row.complaints), end="\n" if row.complaints else "")
    if results is not None:
        command = shlex.join(["python", "-m", "compat_tests.dask", *arguments])
        facts = report.provenance(f"Dask {version('dask')}", command)
        results.write_text(agreement.as_markdown(rows, facts, waived))
    return any(row.failed for row in rows) or not any(row.run for row in rows)


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m compat_tests.dask",
        description="Run Dask's own tests with distpool in the place of each of its schedulers.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--on", choices=("processes", "distpool", "both"), default="distpool")
    parser.add_argument("--suite", default="", metavar="NAMES", help="some suites, by comma (default: all)")
    parser.add_argument("--sample", action="store_true", help="the fixed sample of `make check`")
    parser.add_argument("-k", default="", metavar="EXPRESSION", help="only these tests (pytest's -k)")
    parser.add_argument("--results", type=Path, metavar="FILE", help="write the table there")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
