"""What a page shows at first sight, as JSON: whole for one that has just come, and from there on what has changed.

::

    Chronicle ── snapshot, once for all pages ──► Snapshot ──► news(snapshot, what this page has) ──► one frame
                                                                    rows that changed, rows that are gone,
                                                                    points and bars that are new

Pure. A page that reads slowly gets fewer frames, each from what it has to what is now: nothing queues for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from distpool.commands.dashboard.chronicle import Chronicle, Error, NodeNow, WorkerNow
from distpool.commands.dashboard.functions import Function, quantile
from distpool.scheduler.messages.insights import GpuLoad

__all__ = [
    "FUNCTIONS_SHOWN",
    "LANES_SHOWN",
    "Snapshot",
    "changes",
    "error_row",
    "frame",
    "function_row",
    "snapshot",
]

Row = dict[str, Any]
Rows = dict[str, Row]

FUNCTIONS_SHOWN = 50
NODES_SHOWN = 200
LANES_SHOWN = 48
ERRORS_SHOWN = 5
#: What a page that has just come gets of the past.
PAST_S = 300.0
POINTS_MAX = 600


@dataclass(frozen=True)
class Snapshot:
    """What there was at one look; shared by all pages, and never changed."""

    look: int
    day_s: float
    facts: Row
    nodes: Rows
    functions: Rows
    lanes: Rows
    errors: Rows


def snapshot(chronicle: Chronicle, trouble: str = "", interval_s: float = 1.0) -> Snapshot:
    """Of the latest look. ``trouble``: why there is none that is newer."""
    ended, failed = chronicle.rates()
    nodes = chronicle.nodes.values()
    up = [node for node in nodes if node.state != "lost"]
    functions = chronicle.functions
    totals = functions.by_name.values()
    facts: Row = {
        "head": chronicle.head,
        "trouble": trouble,
        "missing": chronicle.missing,
        "interval": round(interval_s, 2),
        "rate": round(ended, 2),
        "failedRate": round(failed, 3),
        **chronicle.states(),
        "done": round(sum(each.done for each in totals)),
        "failed": max(round(sum(each.failed for each in totals)), sum(chronicle.failed_by_owner.values())),
        "sampled": functions.sampled,
        "workers": len(chronicle.workers),
        "busy": sum(worker.state.startswith(("runs", "waits")) for worker in chronicle.workers.values()),
        "actors": sum(worker.is_actor for worker in chronicle.workers.values()),
        "nodes": len(up),
        "lost": len(chronicle.nodes) - len(up),
        "cpus": sum(node.total.get("CPU", 0.0) for node in up),
        "cpusUsed": sum(node.total.get("CPU", 0.0) - node.available.get("CPU", 0.0) for node in up),
        "gpus": sum(node.total.get("GPU", 0.0) for node in up),
        "gpusUsed": sum(node.total.get("GPU", 0.0) - node.available.get("GPU", 0.0) for node in up),
        "gpu": _mean([(gpu.busy, 1) for node in up for gpu in node.gpus]),
        "gpuMemory": _gpu_memory([gpu for node in up for gpu in node.gpus]),
        "cpu": _mean([(node.cpu, node.cpus) for node in up]),
        "memory": _sum([node.memory for node in up]),
        "store": _sum([node.store for node in up]),
        "functions": len(functions.by_name),
        "errors": chronicle.error_count,
    }
    return Snapshot(
        chronicle.looks,
        chronicle.day_s,
        facts,
        {node.name: node_row(node) for node in list(nodes)[:NODES_SHOWN]},
        {each.name: function_row(each, chronicle.at_s) for each in _liveliest(chronicle)},
        {worker.key: _lane(worker, chronicle.day_s) for worker in _lanes(chronicle)},
        {str(error.number): error_row(error) for error in list(chronicle.errors)[-ERRORS_SHOWN:]},
    )


def frame(chronicle: Chronicle, now: Snapshot, before: Snapshot | None) -> Row:
    """What a page must be told that has ``before``; everything, if it has nothing."""
    since_s = now.day_s - PAST_S if before is None else before.day_s + 1e-6
    after = 0 if before is None else before.look
    history = chronicle.history.columns(since_s, POINTS_MAX)
    had = before or Snapshot(0, 0.0, {}, {}, {}, {}, {})
    return {
        "look": now.look,
        "at": round(now.day_s, 3),
        "whole": before is None,
        "facts": now.facts,
        "nodes": changes(had.nodes, now.nodes),
        "functions": changes(had.functions, now.functions),
        "lanes": changes(had.lanes, now.lanes),
        "errors": changes(had.errors, now.errors),
        "history": {
            name: [None if value is None else round(value, 4) for value in column]
            for name, column in history.items()
        },
        "stream": chronicle.stream.news(after, now.day_s - PAST_S, frozenset(now.lanes)),
    }


def changes(before: Rows, now: Rows) -> Row:
    """The rows that are new or not what they were, and the keys of those that are gone."""
    return {
        "set": {key: row for key, row in now.items() if before.get(key) != row},
        "gone": [key for key in before if key not in now],
    }


# --------------------------------------------------------------------------------------------------- rows


def node_row(node: NodeNow) -> Row:
    """A node."""
    return {
        "name": node.name,
        "state": node.state,
        "host": node.host,
        "address": node.address,
        "head": node.is_head,
        "cpu": None if node.cpu is None else round(node.cpu, 3),
        "cores": node.cpus,
        "load": None if node.load is None else round(node.load, 2),
        "used": {
            name: [round(total - node.available.get(name, 0.0), 4), total]
            for name, total in node.total.items()
            if not name.startswith("node:")
        },
        "memory": node.memory,
        "store": node.store,
        "gpu": _mean([(gpu.busy, 1) for gpu in node.gpus]),
        "gpuMemory": _gpu_memory(node.gpus),
        "gpus": [
            {
                "name": gpu.name,
                "model": gpu.model,
                "busy": None if gpu.busy is None else round(gpu.busy, 3),
                "memory": _gpu_memory([gpu]),
            }
            for gpu in node.gpus
        ],
        "workers": node.workers,
        "wanted": node.wanted,
    }


def function_row(function: Function, at_s: float) -> Row:
    """A function."""
    ended, failed = function.rates(at_s)
    return {
        "name": function.name,
        "waiting": function.waiting,
        "queued": function.queued,
        "sent": max(0, function.offered - function.running),
        "running": function.running,
        "guessed": function.guessed,
        "done": round(function.done),
        "failed": round(function.failed),
        "rate": round(ended, 2),
        "failedRate": round(failed, 3),
        "mean": _seconds(function.mean_s),
        "p50": _seconds(quantile(function.buckets, 0.5)),
        "p95": _seconds(quantile(function.buckets, 0.95)),
        "total": round(function.total_s, 3),
    }


def error_row(error: Error, *, whole: bool = False) -> Row:
    """A call that has failed; its traceback, if the ``whole`` is wanted."""
    mishap = error.mishap
    row = {
        "number": error.number,
        "at": round(mishap.at_s, 3),
        "function": mishap.name.rpartition("<locals>.")[2] or "(unnamed)",
        "kind": mishap.kind,
        "headline": error.headline[:300],
        "worker": f"{mishap.node}/{mishap.worker}" if mishap.node else "",
        "owner": error.owner,
        "task": mishap.task,
    }
    return {**row, "text": mishap.text, "cut": mishap.cut} if whole else row


def _lane(worker: WorkerNow, day_s: float) -> Row:
    runs = worker.function if worker.state != "idle" else ""
    return {"pid": worker.pid, "runs": runs, "since": round(day_s - worker.for_s, 2) if runs else 0}


def _seconds(value: float) -> float:
    return float(f"{value:.3g}")


def _liveliest(chronicle: Chronicle) -> list[Function]:
    """Those with something to do come first, then those that have taken most time; the order of the page is its own."""
    return sorted(
        chronicle.functions.by_name.values(),
        key=lambda each: (-(each.running + each.offered + each.queued + each.waiting > 0), -each.total_s),
    )[:FUNCTIONS_SHOWN]


def _lanes(chronicle: Chronicle) -> list[WorkerNow]:
    """Those that have worked most, if there are too many; by their names."""
    workers = chronicle.workers.values()
    chosen = sorted(workers, key=lambda each: (-each.work_s, each.node, each.worker))[:LANES_SHOWN]
    return sorted(chosen, key=lambda each: (each.node, each.worker))


def _mean(shares: list[tuple[float | None, int | None]]) -> float | None:
    known = [(share, weight or 1) for share, weight in shares if share is not None]
    weights = sum(weight for _, weight in known)
    return round(sum(share * weight for share, weight in known) / weights, 3) if weights else None


def _gpu_memory(gpus: Iterable[GpuLoad]) -> list[int] | None:
    """In use and in all, of those that tell it."""
    return _sum(
        [
            (gpu.used_bytes, gpu.memory_bytes)
            for gpu in gpus
            if gpu.used_bytes is not None and gpu.memory_bytes
        ]
    )


def _sum(amounts: Sequence[tuple[int, int] | None]) -> list[int] | None:
    known = [amount for amount in amounts if amount is not None]
    return [sum(used for used, _ in known), sum(size for _, size in known)] if known else None
