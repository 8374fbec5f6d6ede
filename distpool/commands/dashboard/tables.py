"""The tables of the page, a part at a time: filtered, sorted and cut where the rows are, so 10,000 of them cost little.

::

    rows of a sort ──► cut(rows, Wanted(filter, sort, descending, offset, limit)) ──► {"total": 1000, "rows": [...]}

Pure. Rows are flat dicts; a filter is words, each of which must be somewhere in the row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from distpool.commands.dashboard.chronicle import Chronicle
from distpool.commands.dashboard.overview import error_row, function_row, node_row
from distpool.commands.reasons import titled
from distpool.scheduler.messages import StoreReport
from distpool.scheduler.messages.insights import LogList
from distpool.scheduler.messages.leasing import AGENT, DRIVER, NODES
from distpool.scheduler.remote.records import Told

__all__ = [
    "TABLES", "Wanted", "actor_rows", "cut", "holder_rows", "log_rows", "object_rows", "wanted_of",
]  # fmt: skip

LIMIT_MAX = 500
FILTER_CHARS_MAX = 200
Row = dict[str, Any]


@dataclass(frozen=True)
class Wanted:
    """Which part of a table, in which order."""

    filter: str = ""
    sort: str = ""
    descending: bool = False
    offset: int = 0
    limit: int = 100


def wanted_of(query: Mapping[str, str]) -> Wanted:
    """Of a request's query. Raises ValueError, with what is wrong."""
    numbers = {}
    for name, default in (("offset", 0), ("limit", 100)):
        text = query.get(name, str(default))
        if not (text.isdecimal() and len(text) < 10):
            raise ValueError(f"{name} is a whole number from 0 on, not {text[:40]!r}")
        numbers[name] = int(text)
    return Wanted(
        query.get("filter", "")[:FILTER_CHARS_MAX],
        query.get("sort", ""),
        query.get("descending", "") in ("1", "true"),
        numbers["offset"],
        min(numbers["limit"], LIMIT_MAX),
    )


def cut(rows: Iterable[Row], wanted: Wanted) -> Row:
    """The part that is wanted, and how many rows there are in all that have the words."""
    found = list(rows)
    for word in wanted.filter.casefold().split():
        found = [row for row in found if any(word in str(value).casefold() for value in row.values())]
    if wanted.sort:
        found.sort(key=lambda row: _order(row.get(wanted.sort)), reverse=wanted.descending)
    return {"total": len(found), "rows": found[wanted.offset : wanted.offset + wanted.limit]}


def _order(value: Any) -> tuple[int, Any]:
    """Numbers before texts, what is unknown before both."""
    if value is None:
        return 0, 0
    if isinstance(value, bool | int | float):
        return 1, value
    if isinstance(value, list | tuple):
        return (1, value[0]) if value and isinstance(value[0], int | float) else (0, 0)
    return 2, str(value).casefold()


# -------------------------------------------------------------------------------- of what is known anyway


def _workers(chronicle: Chronicle) -> list[Row]:
    return [
        {
            "worker": now.key,
            "node": now.node,
            "number": now.worker,
            "pid": now.pid,
            "state": now.state,
            "kind": "actor" if now.is_actor else "",
            "function": now.function,
            "for": round(now.for_s, 2) if now.function else None,
            "cpu": None if now.cpu is None else round(now.cpu, 3),
            "memory": now.memory,
            "done": round(now.done),
            "failed": round(now.failed),
            "work": round(now.work_s, 3),
            "owner": now.owner,
            "holds": ", ".join(f"{name} {amount:g}" for name, amount in now.need.items()),
        }
        for now in chronicle.workers.values()
    ]


def _pools(chronicle: Chronicle) -> list[Row]:
    return [
        {
            "key": f"{now.owner.owner} {now.pool.pool}",
            "owner": now.who,
            "pool": titled(now.pool).partition(": ")[0],
            "kind": now.pool.kind,
            "pending": now.pool.pending + now.pool.resting,
            "sent": now.pool.offered,
            "done": now.pool.done,
            "rate": None if now.rate is None else round(now.rate, 2),
            "mean": float(f"{now.pool.mean_s:.3g}"),
            "ready": now.pool.ready,
            "wanted": sum(now.pool.wanted.values()),
            "failure": now.pool.failure,
        }
        for now in chronicle.pools
    ]


#: Those that need nobody to be asked.
TABLES: dict[str, Callable[[Chronicle], list[Row]]] = {
    "nodes": lambda chronicle: [node_row(node) for node in chronicle.nodes.values()],
    "functions": lambda chronicle: [
        function_row(function, chronicle.at_s) for function in chronicle.functions.by_name.values()
    ],
    "workers": _workers,
    "pools": _pools,
    "errors": lambda chronicle: [error_row(error) for error in reversed(chronicle.errors)],
}


# ----------------------------------------------------------------------------- of what is asked when looked at


def actor_rows(told: Iterable[Told], chronicle: Chronicle) -> list[Row]:
    """Actors, with what waits for them."""
    pools = {now.pool.actor: now for now in chronicle.pools if now.pool.kind == "actor" and now.pool.actor}
    by_pid = {(worker.node, worker.pid): worker for worker in chronicle.workers.values()}
    rows: dict[str, Row] = {}
    for owner in told:
        for facts in owner.actors:
            pool, worker = pools.get(facts.actor), by_pid.get((facts.node, facts.pid))
            rows[facts.actor] = {
                "actor": facts.actor,
                "class": facts.name,
                "name": facts.key.split("/", 2)[2] if facts.key.count("/") > 1 else "",
                "state": facts.state,
                "worker": "" if worker is None else worker.key,
                "runs": "" if worker is None else worker.function,
                "waiting": None if pool is None else pool.pool.pending + pool.pool.offered,
                "done": None if pool is None else pool.pool.done,
                "rate": None if pool is None or pool.rate is None else round(pool.rate, 2),
                "memory": None if worker is None else worker.memory,
                "node": facts.node,
                "pid": facts.pid or None,
                "restarts": facts.restarts,
                "holds": ", ".join(f"{name} {amount:g}" for name, amount in facts.resources.items()),
                "detached": facts.detached,
                "reason": facts.reason,
            }
    return list(rows.values())


def holder_rows(reports: Iterable[StoreReport]) -> list[Row]:
    """Object memory by who holds it; what several hold is counted for each."""
    rows: list[Row] = []
    for report in reports:
        held: dict[int, list[int]] = {number: [0, 0, 0] for number in report.pids}
        for stored in report.objects:
            for number in {holder for holder, *_ in stored.holders}:
                row = held.setdefault(number, [0, 0, 0])
                row[0] += stored.bytes
                row[1] += 1
                row[2] += stored.bytes if stored.on_disk else 0
        for number, (size, count, on_disk) in held.items():
            pid = report.pids.get(number)
            rows.append(
                {
                    "key": f"{report.node} {number}",
                    "node": report.node,
                    "process": _process(number, pid),
                    "worker": f"{report.node}/{number}" if number < DRIVER and pid else "",
                    "pid": pid,
                    "bytes": size,
                    "disk": on_disk,
                    "objects": count,
                }
            )
    return rows


def object_rows(reports: Iterable[StoreReport]) -> list[Row]:
    """The biggest objects, with the line that made each, and who holds it."""
    return [
        {
            "key": f"{report.node} {place}",
            "node": report.node,
            "bytes": stored.bytes,
            "where": "disk" if stored.on_disk else "memory",
            "state": stored.state,
            "made": stored.label,
            "held": ", ".join(
                _holder(report, holder, refs, views) for holder, _, refs, views in stored.holders
            ),
        }
        for report in reports
        for place, stored in enumerate(report.objects)
    ]


def _holder(report: StoreReport, number: int, references: int, views: int) -> str:
    counts = [f"{references} ref{'s' * (references != 1)}"] if references else []
    counts += [f"{views} view{'s' * (views != 1)}"] if views else []
    return f"{_process(number, report.pids.get(number))}: {' and '.join(counts) or 'on its way'}"


def _process(number: int, pid: int | None) -> str:
    """What a number of the store's stands for."""
    if number >= NODES:
        return "another node"
    if number == AGENT:
        return "programs of other machines, and copies"
    kind = "program" if number == DRIVER else f"worker {number}"
    return f"{kind}, process {pid}" if pid else f"{kind} (ended)"


def log_rows(lists: Mapping[str, LogList]) -> list[Row]:
    """The logs that there are."""
    return [
        {
            "log": f"{node}/{facts.worker}",
            "node": node,
            "worker": facts.worker,
            "what": f"worker {facts.worker}" if facts.worker else "the node's agent",
            "pid": facts.pid,
            "size": facts.size,
            "ended": facts.ended,
        }
        for node, told in lists.items()
        for facts in told.logs
    ]
