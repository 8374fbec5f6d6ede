"""``python -m compat_tests.programs [NAME ...] [--results FILE]``: run the programs both ways and compare."""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

from compat_tests.programs import running
from compat_tests.programs.catalogue import PROGRAMS
from compat_tests.settings import CHECKOUT


def main(arguments: list[str]) -> int:
    """Returns the exit status: 1 if a program behaves differently."""
    parser = argparse.ArgumentParser(
        prog="python -m compat_tests.programs",
        description="Run real programs from the package index on plain Python and under distpool run, and compare "
        "exit status, output and all files that they write.",
    )
    parser.add_argument("names", nargs="*", help="which of them (default: all)")
    parser.add_argument("--results", type=Path, metavar="FILE", help="write the table there")
    parser.add_argument("--list", action="store_true", help="name the programs and stop")
    chosen = parser.parse_args(arguments)
    known = {program.name: program for program in PROGRAMS}
    if chosen.list:
        print("\n".join(f"{program.name:15} {program.uses}" for program in PROGRAMS))
        return 0
    unknown = [name for name in chosen.names if name not in known]
    if unknown:
        parser.error(f"no program {', '.join(unknown)}; there are {', '.join(known)}")
    programs = [known[name] for name in chosen.names] or list(PROGRAMS)
    python = running.environment(PROGRAMS)
    rows, failed = [], 0
    for program in programs:
        with tempfile.TemporaryDirectory(prefix="programs-") as folder:
            found, plain, ours = running.differences(program, python, Path(folder))
        failed += bool(found)
        verdict = "same" if not found else "; ".join(found[:3])
        print(f"{program.name:15} {verdict}", flush=True)
        command = " ".join(("python", *program.command))
        rows.append(
            f"| {program.name} | {program.uses} | `{command}` | {len(plain.files)} files | "
            f"{verdict} | {plain.seconds:.1f} | {ours.seconds:.1f} |"
        )
    if chosen.results:
        chosen.results.write_text(_table(rows, arguments, python))
    print(f"{len(programs) - failed} of {len(programs)} programs behave the same")
    return 1 if failed else 0


def _table(rows: list[str], arguments: list[str], python: Path) -> str:
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=CHECKOUT, capture_output=True, text=True, check=False
    ).stdout.strip()
    freeze = subprocess.run(
        [str(python), "-m", "pip", "freeze"], capture_output=True, text=True, check=True
    ).stdout.split()
    wanted = {package for program in PROGRAMS for package in program.packages}
    versions = ", ".join(line for line in freeze if line.split("==")[0].lower() in wanted)
    return "\n".join(
        [
            "# Real programs, run on plain Python and under `distpool run`",
            "",
            f"{date.today()}, commit {commit}, Python {platform.python_version()}, by `python -m "
            f"compat_tests.programs {' '.join(arguments)}`. {versions}.",
            "",
            "Compared are exit status, both outputs and every file that the program writes. Seconds are of one run "
            "each on a shared machine: they say that nothing is out of bounds, no more.",
            "",
            "| program | uses | command | compared | under distpool | s plain | s distpool |",
            "| --- | --- | --- | --- | --- | --- | --- |",
            *rows,
            "",
        ]
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
