"""``distpool top``: what a cluster does, live in the terminal; ``--once`` prints it a single time, as plain text.

::

    every ``--interval`` s: facts, survey "load" ──► Look ──► rates against the Look before ──► tables
                                                                 rich, on an alternate screen; or text

A look costs each owner and each agent a millisecond. Who does not answer is named below the tables.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from distpool.commands.finding import Parser, asker, missing, say_missing
from distpool.commands.reasons import Picture, picture_of, titled, who_owns
from distpool.errors import ClusterError
from distpool.scheduler.messages import FactsReport, WorkerFacts
from distpool.scheduler.messages.insights import MachineLoad, ProcessLoad, unpack_machine
from distpool.scheduler.shells.asking import Asker
from distpool.scheduler.store.files import show_size
from distpool.scheduler.text_tables import in_columns

__all__ = ["run"]

WORKERS_SHOWN = 30
POOLS_SHOWN = 20

Rows = list[tuple[str, ...]]


def run(words: Sequence[str]) -> int:
    """``distpool top``."""
    parser = Parser(
        "top", "Show what the nodes, the workers and the calls of a cluster do, live. Ctrl-C ends it."
    )
    parser.add_argument("--once", action="store_true", help="print it once, as plain text")
    parser.add_argument("--interval", type=float, default=1.0, metavar="S", help="seconds between looks (1)")
    options = parser.parse_args(words)
    if not options.interval >= 0.1:
        parser.error(f"an interval is 0.1 s or more, not {options.interval:g}")
    with asker(options) as cluster:
        if options.once:
            before = look(cluster)
            time.sleep(min(0.5, options.interval))
            now = look(cluster)
            print("\n\n".join("\n".join(in_columns(rows)) for rows in tables(now, before)))
            say_missing("top", now.missing)
            return 0
        return _live(cluster, options.interval)


# ---------------------------------------------------------------------------------------------- one look


@dataclass
class Look:
    """What was to be seen at one moment."""

    facts: FactsReport
    picture: Picture
    missing: list[str]
    machines: dict[str, MachineLoad] = field(default_factory=dict)
    at_s: float = 0.0

    def process(self, node: str, worker: int) -> ProcessLoad | None:
        """What a worker's process takes."""
        machine = self.machines.get(node)
        processes = () if machine is None else machine.processes
        return next((process for process in processes if process.worker == worker), None)


def look(cluster: Asker) -> Look:
    """Ask. Raises ClusterError."""
    facts = cluster.facts()
    surveyed = cluster.survey("load")
    machines = {node.node: unpack_machine(node.own) for node in surveyed.nodes if node.own}
    return Look(facts, picture_of(surveyed, ()), missing(surveyed), machines, time.monotonic())


def tables(now: Look, before: Look) -> list[Rows]:
    """Nodes, calls, workers: each with its head first. Tables without rows are left out."""
    return [
        rows for rows in (_nodes(now, before), _pools(now, before), _workers(now, before)) if len(rows) > 1
    ]


def _nodes(now: Look, before: Look) -> Rows:
    rows: Rows = [("NODE", "CPUS IN USE", "CPU", "MEMORY", "STORE", "WORKERS", "WANTED")]
    for facts in sorted(now.facts.nodes, key=lambda facts: facts.node):
        name = facts.node
        total = facts.total.get("CPU", 0.0)
        used = total - facts.available.get("CPU", 0.0)
        machine, answers = now.machines.get(name), now.picture.nodes.get(name)
        if machine is None or answers is None:
            rows.append((name, f"{used:g}/{total:g}", "?", "?", "?", "?", "?"))
            continue
        earlier = before.machines.get(name)
        rows.append(
            (
                name,
                f"{used:g}/{total:g}",
                _busy(machine, earlier),
                _of(machine.memory_used_bytes, machine.memory_bytes),
                _of(*machine.store),
                str(len(answers.workers)),
                str(sum(want.missing for want in answers.wanted)),
            )
        )
    rows += [(facts.node, "lost", *[""] * 5) for facts in now.facts.gone]
    return rows


def _busy(machine: MachineLoad, earlier: MachineLoad | None) -> str:
    if earlier is None or machine.time_s <= earlier.time_s:
        return "-"
    share = (machine.cpu_busy_s - earlier.cpu_busy_s) / (machine.time_s - earlier.time_s) / machine.cpus
    return f"{max(0.0, min(1.0, share)):.0%}"


def _of(used: int, size: int) -> str:
    return f"{show_size(used)}/{show_size(size)}" if size else "-"


def _pools(now: Look, before: Look) -> Rows:
    rows: Rows = [("CALLS OF", "IN", "DONE/S", "WORKERS")]
    earlier = {(view.owner, pool.pool): pool.done for view in before.picture.owners for pool in view.pools}
    passed_s = now.at_s - before.at_s
    found = [(view, pool) for view in now.picture.owners for pool in view.pools if pool.kind != "borrowed"]
    found.sort(key=lambda pair: -(pair[1].pending + pair[1].offered))
    for view, pool in found[:POOLS_SHOWN]:
        done = pool.done - earlier.get((view.owner, pool.pool), pool.done)
        rate = f"{max(0, done) / passed_s:,.0f}" if passed_s > 0 else "-"
        rows.append((who_owns(view), titled(pool), rate, f"{pool.ready} ready"))
    if len(found) > POOLS_SHOWN:
        rows.append((f"and {len(found) - POOLS_SHOWN} more", "", "", ""))
    return rows


def _workers(now: Look, before: Look) -> Rows:
    rows: Rows = [("WORKER", "PROCESS", "RUNS", "FOR", "CPU", "MEMORY")]
    found = [(node, facts) for node, answers in now.picture.nodes.items() for facts in answers.workers]
    found.sort(key=lambda pair: (-pair[1].for_s, pair[0], pair[1].worker))
    for node, facts in found[:WORKERS_SHOWN]:
        process = now.process(node, facts.worker)
        rows.append(
            (
                f"{node}/{facts.worker}",
                str(facts.pid),
                _runs(now.picture, facts),
                f"{facts.for_s:.1f} s" if facts.running else "",
                _share(process, before.process(node, facts.worker), now.at_s - before.at_s),
                show_size(process.memory_bytes) if process is not None else "?",
            )
        )
    if len(found) > WORKERS_SHOWN:
        rows.append((f"and {len(found) - WORKERS_SHOWN} more", "", "", "", "", ""))
    return rows


def _runs(picture: Picture, facts: WorkerFacts) -> str:
    if facts.running:
        return (picture.call_of(facts) or "a call") + (" (waits for its own)" if facts.blocked else "")
    if not facts.greeted:
        return "(is being started)"
    return "(an actor)" if facts.begun else "(idle)"


def _share(process: ProcessLoad | None, earlier: ProcessLoad | None, passed_s: float) -> str:
    if process is None or earlier is None or earlier.pid != process.pid or passed_s <= 0:
        return "-"
    return f"{max(0.0, process.cpu_s - earlier.cpu_s) / passed_s:.0%}"


# ------------------------------------------------------------------------------------------------ live


def _live(cluster: Asker, interval_s: float) -> int:
    try:
        from rich.console import Console, Group
        from rich.live import Live
    except ImportError:
        print(
            "distpool top: needs rich to draw (pip install 'distpool[top]'); `distpool top --once` does without",
            file=sys.stderr,
        )
        return 1
    console = Console()
    if not console.is_terminal:
        print("distpool top: standard output is no terminal: use `distpool top --once`", file=sys.stderr)
        return 1
    before = now = look(cluster)
    trouble = ""
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            live.update(Group(*_drawn(now, before, trouble)), refresh=True)
            time.sleep(interval_s)
            try:
                before, now, trouble = now, look(cluster), ""
            except ClusterError as error:
                trouble = str(error)
                if cluster.lost:
                    raise


def _drawn(now: Look, before: Look, trouble: str) -> list[Any]:
    from rich.table import Table
    from rich.text import Text

    clock = time.strftime("%H:%M:%S")
    drawn: list[Any] = [
        Text(f"distpool top, {clock}; the head is on {now.facts.head}; Ctrl-C ends it", "dim")
    ]
    for head, *rows in tables(now, before):
        table = Table(*head, box=None, header_style="bold", pad_edge=False)
        for row in rows:
            table.add_row(*map(Text, row))
        drawn += [Text(""), table]
    drawn += [Text(line, "yellow") for line in [*now.missing, *filter(None, [trouble])]]
    return drawn
