"""``distpool start``, ``stop``, ``nodes`` and ``status``: a cluster of several machines, from the command line.

::

    start --head                ──► an agent that goes on by itself, with the head; prints what to run on other machines
    start --address HOST:PORT   ──► an agent that joins it
    stop [NODE ...]             ──► SIGTERM to this machine's agents, and waits for their end
    nodes, status               ──► ask any node (``Asker``), and print

What ``start`` has started is found again by its session directory: ``node.json`` there says what it is, ``secret`` is
the cluster's. Both go with the node. Not here: what an agent does (``scheduler.shells.agent``).
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import select
import signal
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from distpool.command_words import CommandWords
from distpool.errors import ClusterError
from distpool.scheduler.cores.place import show_terms
from distpool.scheduler.cores.resources import show
from distpool.scheduler.limits import DEFAULTS, Limits
from distpool.scheduler.messages import FactsReport, NodeFacts, ScalingFacts, ScalingSettings
from distpool.scheduler.messages.insights import GpuLoad
from distpool.scheduler.node_identity import current_node
from distpool.scheduler.shells import curve, knocking, processes, session_dir
from distpool.scheduler.shells.asking import Asker
from distpool.scheduler.shells.gateway import local_address
from distpool.scheduler.shells.gpu_show import gpu_rows, gpus_of, in_a_line
from distpool.scheduler.shells.joining import JoiningAgent
from distpool.scheduler.shells.started import SECRET_FILE, leave_word, started_nodes, write_private
from distpool.scheduler.store.files import show_size
from distpool.scheduler.text_tables import in_columns

__all__ = ["COMMANDS", "found_cluster"]

PORT = 9437
#: How long a node has to end by itself, when what runs there has ended or had its time.
STOP_S = 10.0
#: The least that may be taken for a node's death: a machine may be that slow.
SILENCE_S_MIN = 0.5
#: A node says something so often before it would be taken for dead.
BEATS = 5
SECRET_SUFFIX = ".secret"  # of the file beside a journal
#: Documentation's own network (RFC 5737): asked for the way out of this machine, never sent to.
_ELSEWHERE = "192.0.2.1:9"


def _start_parser() -> CommandWords:
    parser = CommandWords(
        "start",
        "Start a node of a cluster on this machine: the first one (--head), or one that joins (--address).",
        "The secret decides who may come in: `start --head` makes one and prints it, or keeps it in "
        "--secret-file, which other machines need a copy of. They may have it in DISTPOOL_SECRET too.",
    )
    add = parser.add_argument
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--head", action="store_true", help="the first node, which others join")
    which.add_argument("--address", metavar="HOST:PORT", help="join the cluster whose head is there")
    add(
        "--secret-file", metavar="FILE", help="where the secret is; with --head it is made if it is not there"
    )
    add("--host", metavar="ADDRESS", help="the address of this machine to listen at (the one on the way out)")
    add(
        "--port",
        type=_port,
        metavar="PORT",
        help=f"the port to listen at ({PORT} with --head, else any that is free)",
    )
    add(
        "--journal",
        metavar="FILE",
        help="with --head: where the head keeps what must survive it, for a later start to go on with "
        "(a file in ~/.local/state/distpool, which `distpool stop` removes)",
    )
    add(
        "--head-away",
        type=_seconds,
        metavar="SECONDS",
        default=DEFAULTS.head_away_s,
        help="how long a node that has joined waits for a head that is lost "
        f"({DEFAULTS.head_away_s:g}), before it ends",
    )
    add(
        "--drain",
        type=_seconds,
        metavar="SECONDS",
        default=DEFAULTS.drain_s,
        help="how long what runs on a node that has joined may go on when that is told to end "
        f"({DEFAULTS.drain_s:g})",
    )
    add(
        "--node-silent",
        type=_silence,
        metavar="SECONDS",
        default=DEFAULTS.node_silent_s,
        help="after how long a node that says nothing is taken for dead "
        f"({DEFAULTS.node_silent_s:g}); the same on all nodes, as each says something five times in it",
    )
    add(
        "--autoscale",
        type=_scaling,
        metavar="WHAT",
        help="with --head: start nodes when work waits for them, and stop those that have been idle: "
        "local:CPU=2,max=3,idle=60 (nodes of 2 CPUs on this machine, 3 at most, idle for 60 s); or a JSON object with "
        "the keys of `autoscaling` in a cluster's file, and `provider`",
    )
    add("--name", metavar="NAME", help="what to call the node (the machine's name, and some digits)")
    add("--num-cpus", type=float, metavar="N", help="how many CPUs it offers (those that there are)")
    add("--num-gpus", type=float, metavar="N", help="how many GPUs it offers (those that there are)")
    add("--resources", type=_amounts, default={}, metavar="JSON", help="what else it has: '{\"license\": 2}'")
    add(
        "--labels",
        type=_labels,
        default={},
        metavar="JSON",
        help='what it can be chosen by: \'{"zone": "a"}\'',
    )
    return parser


def _port(text: str) -> int:
    if not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"a port is a number from 1 to 65535, or 0 for any, not {text!r}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0.0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return seconds


def _silence(text: str) -> float:
    seconds = _seconds(text)
    if seconds < SILENCE_S_MIN:
        raise argparse.ArgumentTypeError(
            f"a busy node may well say nothing for {SILENCE_S_MIN:g} s: allow it more"
        )
    return seconds


def _scaling(text: str) -> ScalingSettings:
    from distpool.providers.settings import of_description, of_line

    try:
        return of_description(_table(text)) if text.startswith("{") else of_line(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _amounts(text: str) -> dict[str, float]:
    try:
        return {str(name): float(amount) for name, amount in _table(text).items()}
    except (TypeError, ValueError):
        raise argparse.ArgumentTypeError(f"{text!r} has something else than numbers as amounts") from None


def _labels(text: str) -> dict[str, str]:
    return {str(name): str(value) for name, value in _table(text).items()}


def _table(text: str) -> dict[str, Any]:
    try:
        table = json.loads(text)
    except ValueError:
        table = None
    if not isinstance(table, dict):
        raise argparse.ArgumentTypeError(f"{text!r} is no JSON object, such as '{{\"a\": 1}}'")
    return table


def start(words: Sequence[str]) -> int:
    """``distpool start``."""
    options = _start_parser().parse_args(words)
    head = "" if options.head else knocking.tcp_address(options.address)
    if options.journal and not options.head:
        raise ValueError("--journal is for --head: other nodes keep nothing that must survive them")
    if options.autoscale and not options.head:
        raise ValueError("--autoscale is for --head: it decides for the whole cluster")
    host = options.host or _own_address(head.removeprefix("tcp://") or _ELSEWHERE)
    port = options.port if options.port is not None else PORT if options.head else 0
    journal = (options.journal or _own_journal(port)) if options.head else ""
    goes_on = bool(journal) and os.path.exists(journal)
    secret = _secret(options, journal)
    curve.derive(secret)
    given = {"CPU": options.num_cpus, "GPU": options.num_gpus, **options.resources}
    agent = JoiningAgent(
        head,
        options.name or current_node(),
        {name: amount for name, amount in given.items() if amount is not None},
        _limits(options),
        labels=options.labels,
        listen=f"{host}:{port}",
        secret=secret,
        logged=True,
        journal=journal,
        scaling=options.autoscale,
    )
    place = agent.port_address.removeprefix("tcp://")
    cluster = place if options.head else head.removeprefix("tcp://")
    facts = {
        "node": agent.node,
        "pid": agent.pid,
        "at": place,
        "cluster": cluster,
        "journal": "" if options.journal else journal,  # it goes when the node is stopped
        "drain": options.drain,
        "labels": options.labels,
    }
    leave_word(agent.directory, secret, facts)
    print(
        f"Node {agent.node} is up at {place}" + ("." if options.head else f", in the cluster of {cluster}.")
    )
    if goes_on:
        print(f"It goes on with what an earlier head has left in {journal}.")
    if options.head:
        knows = (
            f"DISTPOOL_SECRET_FILE={options.secret_file}"
            if options.secret_file
            else f"DISTPOOL_SECRET={secret}"
        )
        by_file = f" --secret-file {options.secret_file}" if options.secret_file else ""
        before = "" if options.secret_file else f"{knows} "
        print(f"\nTo add a machine, run there:\n    {before}distpool start --address {cluster}{by_file}")
        print(
            f"\nTo use the cluster, run a program with:\n    DISTPOOL_ADDRESS={cluster} {knows} python script.py"
        )
        print("\nTo end this node: distpool stop")
    return 0


def _limits(options: argparse.Namespace) -> Limits:
    silent_s = options.node_silent
    return msgspec.structs.replace(
        DEFAULTS,
        head_away_s=options.head_away,
        drain_s=options.drain,
        node_silent_s=silent_s,
        heartbeat_s=min(DEFAULTS.heartbeat_s, silent_s / BEATS),
    )


def _own_journal(port: int) -> str:
    """Where the journal of a head is about which nothing was said: found again by a start at the same port."""
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    folder = Path(state, "distpool")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return str(folder / f"head-{port}.journal")


def _journal_files(journal: str) -> list[str]:
    """All that belongs to a journal: the file, its log while it is in use, and the cluster's secret."""
    return [f"{journal}{suffix}" for suffix in ("", "-wal", "-shm", SECRET_SUFFIX)]


def _secret(options: argparse.Namespace, journal: str) -> str:
    """The cluster's secret. It leaves the environment, so that no worker finds it there.

    One that was made here is kept beside the journal: a head that goes on with it is to be found by those who know it.
    """
    known = os.environ.pop("DISTPOOL_SECRET", "")
    path = options.secret_file or os.environ.pop("DISTPOOL_SECRET_FILE", "")
    if path:
        file = Path(path)
        try:
            if options.head and not file.exists():
                write_private(path, curve.new_secret() + "\n")
        except OSError as error:
            raise ClusterError(f"the secret that was made cannot be kept: {error}") from None
        try:
            return file.read_text().strip()
        except OSError as error:
            raise ClusterError(f"the secret cannot be read: {error}") from None
    if known:
        return known
    if journal:
        beside = Path(journal + SECRET_SUFFIX)
        if not beside.exists():
            write_private(str(beside), curve.new_secret() + "\n")
        return beside.read_text().strip()
    raise ClusterError(
        "the cluster's secret is needed: --secret-file FILE, or DISTPOOL_SECRET in the environment"
    )


def _own_address(towards: str) -> str:
    try:
        return local_address(towards)
    except OSError:
        return "127.0.0.1"  # no network


# ------------------------------------------------------------------------------- what there is


def found_cluster(address: str | None = None) -> tuple[str, str]:
    """Address and secret of a cluster: the named one, that of the environment, or that of a node on this machine.

    Raises:
        ClusterError: there is none, or its secret is not known.
    """
    address = address or os.environ.get("DISTPOOL_ADDRESS")
    for directory, facts in started_nodes():
        if address in (None, "", "auto", facts["cluster"], facts["at"]):
            try:
                return facts["at"], Path(directory, SECRET_FILE).read_text()
            except OSError:
                continue
    if not address or address == "auto":
        raise ClusterError(
            "there is no node of a cluster on this machine: start one with `distpool start`, or name one with "
            "--address HOST:PORT or DISTPOOL_ADDRESS"
        )
    from distpool.scheduler import client  # all of a session, which `distpool start` would wait for

    return address, client.secret_of_environment()


def stop(words: Sequence[str]) -> int:
    """``distpool stop``."""
    parser = CommandWords("stop", "End the nodes that `distpool start` has started here.")
    parser.add_argument("nodes", nargs="*", metavar="NODE", help="only these, by their names")
    wanted = parser.parse_args(words).nodes
    started = [(place, facts) for place, facts in started_nodes() if not wanted or facts["node"] in wanted]
    if missing := set(wanted) - {facts["node"] for _, facts in started}:
        raise ClusterError(
            f"no node of yours of this name runs on this machine: {', '.join(sorted(missing))}"
        )
    if not started:
        print("distpool stop: no node of yours is running on this machine", file=sys.stderr)
        return 1
    for directory, facts in started:
        _end(facts["pid"], directory, facts["drain"] + STOP_S)
        for file in _journal_files(facts["journal"]) if facts["journal"] else ():
            Path(file).unlink(missing_ok=True)
        print(f"Node {facts['node']} has ended.")
    return 0


def _end(pid: int, directory: str, within_s: float) -> None:
    fd = processes.open_pidfd(pid)
    if fd is None:
        session_dir.sweep_one(directory)
        return
    try:
        signal.pidfd_send_signal(fd, signal.SIGTERM)
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        if not poll.poll(within_s * 1000):
            processes.kill(pid)
    finally:
        os.close(fd)


def _asking(
    name: str, description: str, words: Sequence[str]
) -> tuple[FactsReport, dict[str, tuple[GpuLoad, ...]]]:
    """What the cluster's head says of its nodes, and those of their GPUs."""
    parser = CommandWords(name, description)
    parser.add_argument(
        "--address", metavar="HOST:PORT", help="of any node (DISTPOOL_ADDRESS, or the node here)"
    )
    options = parser.parse_args(words)
    with Asker(*found_cluster(options.address)) as asker:
        report = asker.facts()
        return report, gpus_of(asker, report)


def nodes(words: Sequence[str]) -> int:
    """``distpool nodes``."""
    report, gpus = _asking("nodes", "List the nodes of the cluster, and what they have.", words)
    rows: list[tuple[str, ...]] = [("NODE", "ADDRESS", "CPUS", "GPUS", "MEMORY", "OTHER")]
    rows += [_row(node) for node in report.nodes]
    rows += [(node.node, node.address.removeprefix("tcp://"), "lost", "", "", "") for node in report.gone]
    print("\n".join(in_columns(rows)))
    if gpus:
        print("\n" + "\n".join(in_columns(gpu_rows(gpus.items()))))
    return 0


_STATES = ("up", "asked", "starting", "leaving", "stopping")
_SHOWN = ("CPU", "GPU", "memory", "object_store_memory")


def _row(node: NodeFacts) -> tuple[str, ...]:
    other = [
        f"{name} {_used(node, name)}"
        for name in sorted(node.total)
        if name not in _SHOWN and not name.startswith("node:")
    ]
    memory = show_size(int(node.total.get("memory", 0)))
    place = node.address.removeprefix("tcp://")
    return node.node, place, _used(node, "CPU"), _used(node, "GPU"), memory, ", ".join(other)


def _used(node: NodeFacts, name: str) -> str:
    total = node.total.get(name, 0.0)
    return f"{total - node.available.get(name, 0.0):g}/{total:g}" if total else "-"


def status(words: Sequence[str]) -> int:
    """``distpool status``."""
    report, gpus = _asking("status", "Say how the cluster is, in a few lines.", words)
    lost = f", {len(report.gone)} lost" if report.gone else ""
    print(f"{len(report.nodes)} node{'s' * (len(report.nodes) != 1)}{lost}; the head is on {report.head}")
    for name in ("CPU", "GPU"):
        total = sum(node.total.get(name, 0.0) for node in report.nodes)
        free = sum(node.available.get(name, 0.0) for node in report.nodes)
        if total:
            more = in_a_line(itertools.chain(*gpus.values())) if name == "GPU" else ""
            print(f"{name}s: {total - free:g} of {total:g} in use{more}")
    if report.scaling is not None:
        print("\n".join(_scaling_lines(report.scaling)))
    return 0


def _scaling_lines(scaling: ScalingFacts) -> list[str]:
    """What the autoscaler does: its nodes, what waits for one, what went wrong."""
    states = Counter(node.state for node in scaling.nodes)
    said = ", ".join(f"{states[state]} {state}" for state in _STATES if states[state]) or "none"
    lines = [f"Nodes by demand: {said}"]
    lines += [
        f"  {node.name} is {node.state}, for {node.for_s:.0f} s so far"
        for node in scaling.nodes
        if node.state != "up"
    ]
    for want in scaling.unmet:
        where = f" where {show_terms(want.labels)}" if want.labels else ""
        lines.append(f"  no room for {want.count} x {show(want.need)}{where}")
    if scaling.waits:
        lines.append(f"  nothing is started for it: {scaling.waits}")
    for failure in scaling.failures:
        what = "provider" if failure.what == "provider" else f"nodes of type {failure.what}"
        lines.append(
            f"  {what}: {failure.count} failure{'s' * (failure.count != 1)} in a row, the last: {failure.reason}; "
            f"tried again in {failure.again_s:.0f} s"
        )
    return lines


COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "start": start,
    "stop": stop,
    "nodes": nodes,
    "status": status,
}


def run(name: str, words: Sequence[str]) -> int:
    """Run one of them; what goes wrong is said in a line. Returns the exit status."""
    try:
        return COMMANDS[name](words)
    except (ClusterError, ValueError, OSError) as error:
        print(f"distpool {name}: {error}", file=sys.stderr)
        return 1
