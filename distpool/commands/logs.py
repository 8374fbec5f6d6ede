"""``distpool logs``: what a node's agent, a worker or an actor has printed, from any machine; ``--follow`` goes on.

::

    nothing           which logs there are
    NODE              its agent's            NODE/NUMBER, a process id    a worker's
    an actor's id, its name, its class       that of the worker which it runs in
    a job                                    what it has printed

A log is read in parts, from an offset on; see ``scheduler.shells.logs``.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from distpool.cluster_commands import found_cluster
from distpool.commands.finding import Parser, asker, missing, say_missing
from distpool.commands.job_client import JobClient, is_job, show_end
from distpool.errors import ClusterError
from distpool.scheduler.messages import Surveyed
from distpool.scheduler.messages.insights import (
    LogList,
    LogPart,
    LogWanted,
    unpack_log,
    unpack_logs,
    unpack_owner,
)
from distpool.scheduler.messages.jobs import PENDING
from distpool.scheduler.shells.asking import Asker
from distpool.scheduler.shells.logs import PART_BYTES_MAX
from distpool.scheduler.store.files import show_size
from distpool.scheduler.text_tables import in_columns

__all__ = ["run"]

#: How long to wait for more, when there was no more.
FOLLOW_S = 0.5
#: What a line takes, if it must be guessed how much to ask for.
LINE_BYTES = 200


@dataclass(frozen=True)
class _Log:
    node: str
    worker: int
    pid: int
    size: int
    ended: bool


def run(words: Sequence[str]) -> int:
    """``distpool logs``."""
    parser = Parser("logs", "Show what a node, a worker or an actor has printed; or which logs there are.")
    parser.add_argument(
        "what",
        nargs="?",
        default="",
        help="the name of a node; NODE/NUMBER or the process id of a worker; the id or the class of an actor; "
        "the name of a job",
    )
    parser.add_argument("-f", "--follow", action="store_true", help="go on, until it ends")
    parser.add_argument(
        "-n", "--lines", type=int, metavar="N", help="the last so many lines (all that there is)"
    )
    options = parser.parse_args(words)
    if is_job(options.what):
        return _of_job(options.what, options.address, options.lines, follow=options.follow)
    with asker(options) as cluster:
        surveyed = cluster.survey("logs", owners=False)
        logs = _logs(surveyed)
        if not options.what:
            _show_list(surveyed, logs)
            say_missing("logs", missing(surveyed))
            return 0
        log = _find(cluster, surveyed, logs, options.what)
        _Reader(cluster, log).show(options.lines, follow=options.follow)
    return 0


def _of_job(job: str, address: str | None, lines: int | None, *, follow: bool) -> int:
    with JobClient(found_cluster(address)) as client:
        facts = client.job(job)
        part = client.log_part(facts, -1 if lines is not None else 0)
        if part is None:
            if follow and facts.state == PENDING:
                part = LogPart(0, b"", 0, False)
            else:
                raise ClusterError(
                    f"nothing is left of what {job} has printed: it is {facts.state} {facts.reason}"
                )
        data = part.data
        if lines is not None:
            data = b"".join(data.splitlines(keepends=True)[-lines:] if lines > 0 else ())
        _write(data)
        offset = part.offset + len(part.data)
        if follow:
            facts = client.wait_end(job, _write, offset)
            if end := show_end(facts):
                print(f"distpool logs: {end}", file=sys.stderr)
        else:
            client.write_log(facts, _write, offset)
    return 0


# --------------------------------------------------------------------------------------- which there are


def _logs(surveyed: Surveyed) -> list[_Log]:
    return [
        _Log(node.node, facts.worker, facts.pid, facts.size, facts.ended)
        for node in sorted(surveyed.nodes, key=lambda node: node.node)
        for facts in _told(node.own).logs
    ]


def _told(own: bytes) -> LogList:
    return unpack_logs(own) if own else LogList(())


def _show_list(surveyed: Surveyed, logs: Sequence[_Log]) -> None:
    rows = [("LOG", "PROCESS", "SIZE", "")]
    for log in logs:
        name = f"{log.node}/{log.worker}" if log.worker else log.node
        state = "has ended" if log.ended else "" if log.worker else "the node's agent"
        rows.append((name, str(log.pid), show_size(log.size), state))
    if logs:
        print("\n".join(in_columns(rows)))
    for node in surveyed.nodes:
        if pid := _told(node.own).elsewhere:
            print(
                f"Node {node.node} has none: what is printed there goes where the output of process {pid} goes."
            )


def _find(cluster: Asker, surveyed: Surveyed, logs: Sequence[_Log], what: str) -> _Log:
    """The log that is meant. Raises ClusterError where there is none, or several."""
    node, _, number = what.rpartition("/")
    found = [log for log in logs if log.node == what and not log.worker]
    found = found or [log for log in logs if (log.node, str(log.worker)) == (node, number)]
    found = found or [log for log in logs if str(log.pid) == what]
    found = found or _of_actor(cluster, logs, what)
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(f"{log.node}/{log.worker}" for log in found)
        raise ClusterError(f"{what!r} has several logs; choose one: {names}")
    elsewhere = [node.node for node in surveyed.nodes if _told(node.own).elsewhere]
    if elsewhere:
        raise ClusterError(
            f"there is no log of {what!r}; what is printed on {', '.join(elsewhere)} goes where the output of its "
            "program goes"
        )
    lacking = f" ({'; '.join(missing(surveyed))})" if missing(surveyed) else ""
    raise ClusterError(f"there is no log of {what!r}{lacking}; `distpool logs` lists those that there are")


def _of_actor(cluster: Asker, logs: Sequence[_Log], what: str) -> list[_Log]:
    surveyed = cluster.survey("why", about="")
    leases = [
        lease.lease
        for node in surveyed.nodes
        for owner in map(unpack_owner, node.answers)
        for pool in owner.pools
        if pool.kind == "actor" and what in (pool.actor, pool.name)
        for lease in pool.leases
    ]
    workers = {
        (node.node, facts.worker)
        for node in surveyed.nodes
        for facts in node.workers
        if facts.lease in leases
    }
    return [log for log in logs if (log.node, log.worker) in workers]


# ------------------------------------------------------------------------------------------------ reading


class _Reader:
    """Reads one log from its end, or from its beginning, onwards."""

    def __init__(self, cluster: Asker, log: _Log) -> None:
        self._cluster = cluster
        self._log = log

    def show(self, lines: int | None, *, follow: bool) -> None:
        """Write it to standard output."""
        if lines is None:
            offset = 0
        else:
            part = self._tail(max(0, lines))
            offset = part.offset + len(part.data)
            _write(b"".join(part.data.splitlines(keepends=True)[-lines:] if lines > 0 else ()))
        while True:
            part = self._part(offset)
            if part.offset > offset > 0 or part.size < offset:
                print("\n... what was here has been removed: the log was too long ...", file=sys.stderr)
            offset = part.offset + len(part.data)
            _write(part.data)
            if part.data:
                continue
            if not follow or (part.ended and offset >= part.size):
                return
            time.sleep(FOLLOW_S)

    def _tail(self, lines: int) -> LogPart:
        """The last so many lines, if they are not longer than lines usually are."""
        wanted = min(PART_BYTES_MAX, max(4096, lines * LINE_BYTES))
        while True:
            part = self._part(-1, wanted)
            if wanted == PART_BYTES_MAX or part.offset == 0 or part.data.count(b"\n") > lines:
                return part
            wanted = min(PART_BYTES_MAX, 4 * wanted)

    def _part(self, offset: int, size: int = PART_BYTES_MAX) -> LogPart:
        about = msgspec.json.encode(LogWanted(self._log.worker, offset, size)).decode()
        surveyed = self._cluster.survey("logs", owners=False, node=self._log.node, about=about)
        if surveyed.missing or not surveyed.nodes[0].own:
            raise ClusterError("; ".join(missing(surveyed)) or f"node {self._log.node} cannot read that log")
        part = unpack_log(surveyed.nodes[0].own)
        if part.refusal:
            raise ClusterError(part.refusal)
        return part


def _write(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
