"""The command line: what to run, with whom, how often, and where the results go."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import environment, interleave, machine, peers, proc, report, rows, verdict
from benchmarks.environment import Places
from benchmarks.model import Peer, Row

_DESCRIPTION = """\
Compare distpool with the libraries it stands in for.

Every row runs the same task bodies (benchmarks/bodies.py) in every library: each round measures every
library once, the order turning, each measurement in a fresh process with a time-out; the best of the rounds
counts. A library that fails shows the reason in its cell. The last table says of every target whether it is met."""

_EPILOG = """\
examples:
  python -m benchmarks                              everything, with the libraries that are installed
  python -m benchmarks --quick --rounds 1           a look in a minute or two
  python -m benchmarks --rows apply-async,apply     two rows
  python -m benchmarks --rows small_tasks           a group of rows
  python -m benchmarks --rows big_arrays,one_array_many_tasks,shared_memory_use,sizes,frames
                                                    everything about data: arrays, frames, byte strings
  python -m benchmarks --rows remote --peers distpool,ray --rounds 2
                                                    remote functions, objects and actors beside Ray
  python -m benchmarks --peers distpool,stdlib,memcpy
                                                    three families of libraries; memcpy is none, but how fast
                                                    this machine copies, which rows with arrays compare with
  python -m benchmarks --peers all --results benchmarks/RESULTS.md
                                                    install every library in an environment of its own,
                                                    .cache/peers, measure, and write the results down

Rows about data need numpy, frames pandas and pyarrow too. They are looked for in this interpreter, then in the
peers' environment, where `--peers all` puts them; without them those rows are left out, and say so.

Ray listens on every network interface and is therefore run only inside a network namespace that holds
nothing but loopback (`unshare --net`, as root or where user namespaces are allowed); elsewhere its cells say so.
Exit status: 0 where all measured targets are met, 1 where one is not, 2 for a wrong command line."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks; return the exit status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.list:
        _list()
        return 0
    try:
        chosen_rows = _choose_rows(options.rows)
        chosen_peers = _choose_peers(options.peers)
    except ValueError as error:
        parser.error(str(error))
    proc.become_subreaper()
    if options.peers == "all":
        environment.install(chosen_peers.values(), chosen_rows)
    places = environment.locate(chosen_peers.values(), chosen_rows)
    if options.peers == "installed":
        chosen_peers = {name: peer for name, peer in chosen_peers.items() if places.has(peer)}
    _tell_missing(chosen_rows, chosen_peers, places)
    plan = interleave.Plan(tuple(chosen_rows), chosen_peers, places, options.rounds, options.quick)
    try:
        lines = verdict.judge(plan.rows, interleave.run(plan))
    except KeyboardInterrupt:
        print("\nstopped; nothing was written", file=sys.stderr)
        return 130
    setting = report.Setting(machine.facts(), chosen_peers, places, options.rounds, options.quick, arguments)
    report.show(lines, setting)
    if options.results:
        measured = [group for group in rows.groups() if any(row in plan.rows for row in group.rows)]
        report.write_markdown(options.results, measured, lines, setting)
        print(f"written to {options.results}")
    return 1 if any(each.met is False for line in lines for each in line.verdicts) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rows", default="", metavar="KEYS", help="rows or groups, by comma (default: all)")
    parser.add_argument(
        "--peers",
        default="installed",
        metavar="NAMES",
        help="'installed' (default), 'all' (installs what is missing), or libraries and families by comma",
    )
    parser.add_argument("--rounds", type=_positive, default=3, help="rounds; the best counts (default: 3)")
    parser.add_argument("--quick", action="store_true", help="a tenth of the tasks: a look, not a result")
    parser.add_argument(
        "--results", type=Path, metavar="FILE", help="write the tables to this Markdown file too"
    )
    parser.add_argument(
        "--list", action="store_true", help="say which rows and libraries there are, and stop"
    )
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def _choose_rows(text: str) -> list[Row]:
    """The rows that were asked for, in the order of the results.

    Raises:
        ValueError: a name is neither a row nor a group.
    """
    wanted = _names(text)
    known = {row.key for group in rows.groups() for row in group.rows} | {
        group.key for group in rows.groups()
    }
    _refuse_unknown("row or group", wanted, known)
    return [
        row
        for group in rows.groups()
        for row in group.rows
        if not wanted or row.key in wanted or group.key in wanted
    ]


def _choose_peers(text: str) -> dict[str, Peer]:
    """The libraries that were asked for, by name.

    Raises:
        ValueError: a name is neither a library nor a family.
    """
    found = peers.discover()
    if text in ("all", "installed"):
        return found
    wanted = _names(text)
    _refuse_unknown("library or family", wanted, set(found) | {peer.family for peer in found.values()})
    return {name: peer for name, peer in found.items() if name in wanted or peer.family in wanted}


def _names(text: str) -> set[str]:
    return {name.strip() for name in text.split(",") if name.strip()}


def _refuse_unknown(what: str, wanted: set[str], known: set[str]) -> None:
    if unknown := sorted(wanted - known):
        raise ValueError(f"no {what} is called {', '.join(unknown)}; there are: {', '.join(sorted(known))}")


def _tell_missing(chosen_rows: list[Row], chosen_peers: dict[str, Peer], places: Places) -> None:
    """Say before a long run which rows will have no number of distpool's, and why."""
    for row in chosen_rows:
        ours = chosen_peers.get(row.ours)
        place = places.find(ours, row.needs) if ours else None
        if isinstance(place, str):
            print(f"{row.key}: {place}", file=sys.stderr)


def _list() -> None:
    for group in rows.groups():
        print(f"{group.key}: {group.title}")
        for row in group.rows:
            for metric in row.metrics:
                goals = "; ".join(target.text for target in metric.targets)
                print(f"  {row.key:<22} {metric.title} [{metric.unit}]{': ' if goals else ''}{goals}")
    print("libraries:")
    for peer in peers.discover().values():
        print(f"  {peer.name:<24} {peer.title} (family {peer.family})")
