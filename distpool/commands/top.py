"""``distpool top``: what a cluster does, live in the terminal; ``--once`` prints it a single time, as plain text.

::

    every ``--interval`` s: look (``looking``) ──► Chronicle, and the Look before ──► rates ──► tables
                                                                 rich, on an alternate screen; or text

What it shows is what ``distpool dashboard`` does. Who does not answer is named below the tables.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

from distpool.commands.dashboard.chronicle import Chronicle
from distpool.commands.dashboard.functions import quantile
from distpool.commands.finding import Parser, asker, say_missing
from distpool.commands.looking import Look, asker_name, look
from distpool.commands.reasons import Picture, titled, who_owns
from distpool.errors import ClusterError
from distpool.scheduler.messages import WorkerFacts
from distpool.scheduler.messages.insights import MachineLoad, ProcessLoad
from distpool.scheduler.shells.asking import Asker
from distpool.scheduler.shells.gpu_show import gpu_rows
from distpool.scheduler.store.files import show_size
from distpool.scheduler.text_tables import in_columns

__all__ = ["run"]

WORKERS_SHOWN = 30
POOLS_SHOWN = 20
FUNCTIONS_SHOWN = 20

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
            seen, name = Chronicle(), asker_name()
            before = look(cluster, name)
            seen.take(before)
            time.sleep(min(0.5, options.interval))
            seen.take(look(cluster, name))
            print("\n\n".join("\n".join(in_columns(rows)) for rows in tables(seen, before)))
            say_missing("top", seen.missing)
            return 0
        return _live(cluster, options.interval)


# ----------------------------------------------------------------------------------------------- tables


def tables(seen: Chronicle, before: Look) -> list[Rows]:
    """Nodes, GPUs, pools, functions, workers: each with its head first. Tables without rows are left out."""
    now = seen.look
    assert now is not None
    gpus = gpu_rows((node, machine.gpus) for node, machine in sorted(now.machines.items()))
    found = (_nodes(now, before), gpus, _pools(now, before), _functions(seen), _workers(now, before))
    return [rows for rows in found if len(rows) > 1]


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


def _functions(seen: Chronicle) -> Rows:
    rows: Rows = [("FUNCTION", "DONE/S", "RUNNING", "WAITING", "DONE", "FAILED", "MEDIAN", "95 %")]
    found = sorted(seen.functions.by_name.values(), key=lambda each: (-each.running, -each.total_s))
    for each in found[:FUNCTIONS_SHOWN]:
        waiting = each.waiting + each.queued + max(0, each.offered - each.running)
        rows.append(
            (
                each.name,
                f"{each.rates(seen.at_s)[0]:,.0f}",
                str(each.running),
                f"{'about ' * each.guessed}{waiting:,}",
                f"{each.done:,.0f}",
                f"{each.failed:,.0f}",
                show_length(quantile(each.buckets, 0.5)),
                show_length(quantile(each.buckets, 0.95)),
            )
        )
    if len(found) > FUNCTIONS_SHOWN:
        rows.append((f"and {len(found) - FUNCTIONS_SHOWN} more", *[""] * 7))
    return rows


def show_length(seconds: float) -> str:
    """A length of time in three figures."""
    for size, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return "-"


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
    seen, name = Chronicle(), asker_name()
    before = now = look(cluster, name)
    seen.take(now)
    trouble = ""
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            live.update(Group(*_drawn(seen, before, trouble)), refresh=True)
            time.sleep(interval_s)
            try:
                before, now, trouble = now, look(cluster, name), ""
                seen.take(now)
            except ClusterError as error:
                trouble = str(error)
                if cluster.lost:
                    raise


def _drawn(seen: Chronicle, before: Look, trouble: str) -> list[Any]:
    from rich.table import Table
    from rich.text import Text

    clock = time.strftime("%H:%M:%S")
    drawn: list[Any] = [Text(f"distpool top, {clock}; the head is on {seen.head}; Ctrl-C ends it", "dim")]
    for head, *rows in tables(seen, before):
        table = Table(*head, box=None, header_style="bold", pad_edge=False)
        for row in rows:
            table.add_row(*map(Text, row))
        drawn += [Text(""), table]
    drawn += [Text(line, "yellow") for line in [*seen.missing, *filter(None, [trouble])]]
    return drawn
