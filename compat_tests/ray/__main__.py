"""``python -m compat_tests.ray --on ray|distpool|both``: judge the body by real Ray, and run it on distpool.

::

    test_*.py ──► bodies.run ──► verdicts ──► baseline (real Ray's, kept in baselines/) ──┐
                                    └──────── distpool's ──────────────────────────────────┴──► the table

Exit status: 0 if all that real Ray passes, distpool passes too; 1 if not; 2 if the work could not be done.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from compat_tests import processes
from compat_tests.ray import agreement, bodies

EXIT_GOOD, EXIT_BAD, EXIT_BROKEN, EXIT_INTERRUPTED = 0, 1, 2, 130

EPILOG = """\
examples:
  python -m compat_tests.ray                             distpool, compared with what real Ray did
  python -m compat_tests.ray --on ray                    install real Ray if need be, and let it judge the body
  python -m compat_tests.ray --on both --results compat_tests/RESULTS-ray.md
  python -m compat_tests.ray -k "cancel and not force"   a part, by pytest's expressions

Real Ray is the one of the benchmarks (`python -m benchmarks --peers all`), in .cache/peers. It runs in a network
namespace with nothing but loopback, and is never started anywhere else.
"""


def main(arguments: list[str]) -> int:
    """Returns the exit status."""
    options = _parse(arguments)
    processes.become_subreaper()
    before = processes.own_children()
    failed = False
    try:
        if options.on in ("ray", "both"):
            place = bodies.real_ray()
            found = bodies.run(place, options.k, options.timeout)
            failed |= agreement.judge(place.version, found, partly=bool(options.k))
        if options.on in ("distpool", "both"):
            found = bodies.run(bodies.OURS, options.k, options.timeout)
            rows = agreement.compare(found)
            print("\n" + agreement.as_text(rows))
            if options.results is not None:
                command = shlex.join(["python", "-m", "compat_tests.ray", *arguments])
                options.results.write_text(agreement.as_markdown(rows, command))
            complaints = [complaint for row in rows for complaint in row.complaints]
            print("\n".join(complaints))
            failed |= bool(complaints)
    except bodies.CannotRun as error:
        print(f"compat_tests.ray: {error}", file=sys.stderr)
        return EXIT_BROKEN
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    finally:
        for process in processes.end_orphans(before):
            print(f"left behind by some test, and killed: {process}")
    return EXIT_BAD if failed else EXIT_GOOD


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m compat_tests.ray",
        description="Run programs written for Ray, as tests, on real Ray and on distpool. Both must agree.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--on", choices=("ray", "distpool", "both"), default="distpool")
    parser.add_argument("-k", default="", metavar="EXPRESSION", help="only these tests (pytest's -k)")
    parser.add_argument("--results", type=Path, metavar="FILE", help="write the table there")
    parser.add_argument("--timeout", type=float, default=60, metavar="S", help="for one test (default: 60)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
