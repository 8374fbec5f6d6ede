"""``distpool memory``: asks the agents of this user's sessions what lies in their object stores, and shows it.

What it is not: a part of a session. It dials each agent's socket as a stranger would, if the session directory lets it
in, and asks one question.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable

import zmq

from distpool.scheduler.messages import DRIVER, StoredObject, StoreQuery, StoreReport, decode, encode
from distpool.scheduler.shells import session_dir
from distpool.scheduler.shells.links import dealer
from distpool.scheduler.store.files import show_size
from distpool.scheduler.text_tables import in_columns

__all__ = ["show"]

#: An agent answers at once; one that does not is stopped, or busy dying.
ANSWER_MS = 3000
#: Objects that are shown one by one, the largest first.
OBJECTS_SHOWN = 50


def show(write: Callable[[str], object] = sys.stdout.write) -> int:
    """Print the stores of all living sessions. Returns the exit status: 1 if there is none."""
    sessions = session_dir.living()
    if not sessions:
        print(
            "distpool memory: no session of yours is running on this machine "
            "(they are looked for in TMPDIR, /tmp and /var/tmp)",
            file=sys.stderr,
        )
        return 1
    for directory in sessions:
        report = ask(directory)
        if report is None:
            print(f"distpool memory: the agent of {directory} does not answer", file=sys.stderr)
        else:
            write("\n".join(describe(report)) + "\n")
    return 0


def ask(directory: str) -> StoreReport | None:
    """One agent's report; None if it does not answer."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    link = dealer(context, f"ipc://{directory}/agent", b"q:%d" % os.getpid())
    try:
        link.send(encode(StoreQuery()))
        if not link.poll(ANSWER_MS):
            return None
        answer = decode(link.recv())
        return answer if isinstance(answer, StoreReport) else None
    except zmq.ZMQError:
        return None
    finally:
        link.close()
        context.term()


def describe(report: StoreReport) -> list[str]:
    """The lines to be shown for one session."""
    memory, disk = zip(report.used, report.size, strict=True)
    if any(report.size):
        lines = [
            f"node {report.node}: {show_size(memory[0])} of {show_size(memory[1])} memory in use, "
            f"{show_size(disk[0])} of {show_size(disk[1])} on disk in {report.spill_directory}"
        ]
    else:
        lines = [
            f"node {report.node}: no object store, since the limits of its processes (ulimit -f) leave no room for "
            "one; big values travel in messages"
        ]
    lines += _table(["process", "holds", "objects"], _processes(report))
    objects = sorted(report.objects, key=lambda o: -o.bytes)
    rows = [_row(report, o) for o in objects[:OBJECTS_SHOWN]]
    lines += _table(["object", "where", "made by", "held by"], rows)
    if len(objects) > OBJECTS_SHOWN:
        rest = sum(o.bytes for o in objects[OBJECTS_SHOWN:])
        lines.append(f"  ... and {len(objects) - OBJECTS_SHOWN} smaller ones, {show_size(rest)} in all")
    return lines


def _processes(report: StoreReport) -> list[list[str]]:
    held: Counter[int] = Counter()
    count: Counter[int] = Counter()
    for stored in report.objects:
        for process in {holder for holder, *_ in stored.holders}:
            held[process] += stored.bytes
            count[process] += 1
    numbers = sorted(report.pids.keys() | held.keys(), key=lambda number: (number != DRIVER, number))
    return [[_name(report, n), show_size(held[n]), str(count[n])] for n in numbers]


def _row(report: StoreReport, stored: StoredObject) -> list[str]:
    where = "disk" if stored.on_disk else "memory"
    if stored.state != "sealed":
        where += f", {stored.state}"
    return [show_size(stored.bytes), where, stored.label, "; ".join(_holders(report, stored))]


def _holders(report: StoreReport, stored: StoredObject) -> list[str]:
    said = []
    for holder, via, references, views in stored.holders:
        what = [_count(references, "reference"), _count(views, "view")]
        text = f"{_name(report, holder)}: {', '.join(filter(None, what))}"
        said.append(text + (f" on their way from {_name(report, via)}" if via else ""))
    return said


def _count(count: int, what: str) -> str:
    return "" if not count else f"{count} {what}{'s' * (count != 1)}"


def _name(report: StoreReport, number: int) -> str:
    kind = "driver" if number == DRIVER else "worker"
    pid = report.pids.get(number)
    return f"{kind} {pid}" if pid else f"{kind} (ended)"


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    """Columns, aligned; nothing for no rows."""
    if not rows:
        return []
    return [f"  {line}" for line in in_columns([head, *rows])]
