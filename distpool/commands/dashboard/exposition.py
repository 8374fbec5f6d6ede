"""The same facts as the page, in the text format of Prometheus; with what programs count and measure themselves.

::

    Chronicle ──► distpool_tasks_total{function, outcome}, distpool_node_cpu_ratio{node}, ...  ─┐
    ``distpool.util.metrics`` of all processes (``metrics_sharing.merged``) ──► ray_NAME ───────┴─► text

Counters begin with the workers that lived when the dashboard was started, and go on past their end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from distpool.commands.dashboard.chronicle import Chronicle
from distpool.commands.dashboard.functions import Function
from distpool.util.metrics import Series

__all__ = ["text_of"]

#: Boundaries of the histogram of lengths: powers of four microseconds, to an hour or so.
PLACES = tuple(range(0, 33, 2))


def text_of(chronicle: Chronicle, of_programs: Iterable[Series] = ()) -> str:
    """Everything, to be read by Prometheus. Raises ModuleNotFoundError: prometheus-client is not installed."""
    from distpool.util.metrics_sharing import prometheus_text

    ours = prometheus_text(_series(chronicle), prefix="distpool_")
    theirs = list(of_programs)
    return ours + (prometheus_text(theirs) if theirs else "")


def _series(chronicle: Chronicle) -> Iterator[Series]:
    functions = list(chronicle.functions.by_name.values())
    yield Series(
        "counter",
        "tasks",
        "Calls that have ended.",
        ("function", "outcome"),
        (),
        {
            (function.name, outcome): round(count, 3)
            for function in functions
            for outcome, count in (("done", function.done), ("failed", function.failed))
        },
    )
    yield Series(
        "histogram",
        "task_seconds",
        "How long calls have taken.",
        ("function",),
        tuple(2.0**place / 1e6 for place in PLACES),
        {(function.name,): _buckets(function) for function in functions},
    )
    states = ("waiting", "queued", "offered", "running")
    yield _gauge(
        "tasks_pending",
        "Calls that have not ended, by state: what runs is offered, too.",
        ("function", "state"),
        {(each.name, state): getattr(each, state) for each in functions for state in states},
    )
    yield _gauge(
        "workers", "Workers.", ("state",), _count(worker.state for worker in chronicle.workers.values())
    )
    yield _gauge("nodes", "Nodes.", ("state",), _count(node.state for node in chronicle.nodes.values()))
    yield Series(
        "counter",
        "errors",
        "Calls that have failed, as their owners have it.",
        ("owner",),
        (),
        {(owner,): count for owner, count in chronicle.failed_by_owner.items()},
    )
    nodes = [node for node in chronicle.nodes.values() if node.state != "lost"]
    yield _gauge(
        "node_cpu_ratio", "Share of its CPUs that is busy.", ("node",), {(n.name,): n.cpu for n in nodes}
    )
    for what, name in (("memory", "Memory"), ("store", "Memory of the object store")):
        for place, words in ((0, "in use"), (1, "in all")):
            yield _gauge(
                f"node_{what}_{('used', 'total')[place]}_bytes",
                f"{name} {words}.",
                ("node",),
                {(n.name,): amount[place] for n in nodes if (amount := getattr(n, what)) is not None},
            )
    gpus = {(node.name, gpu.name, gpu.model): gpu for node in nodes for gpu in node.gpus}
    for name, words, field in (
        ("gpu_busy_ratio", "Share of the last moments in which something ran on it.", "busy"),
        ("gpu_memory_used_bytes", "Memory of a GPU in use.", "used_bytes"),
        ("gpu_memory_total_bytes", "Memory of a GPU in all.", "memory_bytes"),
    ):
        values = {key: getattr(gpu, field) for key, gpu in gpus.items()}
        yield _gauge(name, words, ("node", "gpu", "model"), values)
    for word, what in (("total", "What it has."), ("available", "What of it is free.")):
        yield _gauge(
            f"node_resource_{word}",
            what,
            ("node", "resource"),
            {
                (node.name, name): amount
                for node in nodes
                for name, amount in getattr(node, word).items()
                if not name.startswith("node:")
            },
        )


def _gauge(name: str, words: str, keys: tuple[str, ...], values: dict[Any, Any]) -> Series:
    return Series(
        "gauge", name, words, keys, (), {key: value for key, value in values.items() if value is not None}
    )


def _count(states: Iterable[str]) -> dict[tuple[str, ...], int]:
    counts: dict[tuple[str, ...], int] = {}
    for state in states:
        counts[(state,)] = counts.get((state,), 0) + 1
    return counts


def _buckets(function: Function) -> list[float]:
    """Counts between the boundaries, that of what is above, and the sum."""
    counts = [0.0] * (len(PLACES) + 1)
    for place, count in function.buckets.items():
        counts[min((place + 1) // 2, len(PLACES))] += count
    return [*(round(count, 3) for count in counts), function.total_s]
