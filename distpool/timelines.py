"""``timeline``: what the workers of the cluster have run of late, as a trace that Perfetto shows.

::

    timeline() ──► survey ──► every worker's ring, and what workers that have ended have left (``shells.traces``)
                                │
                                ▼  a process for each worker; calls that ran side by side in lanes of their own
    [{"name": "square", "cat": "task", "ph": "X", "ts": ..., "dur": ..., "pid": ..., "tid": ..., "args": ...}, ...]

Open the file at https://ui.perfetto.dev, or in a browser's tracing page. Stands in for ``ray.timeline``.
"""

from __future__ import annotations

import heapq
import json
import os
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from distpool.cluster import node_id_of
from distpool.errors import ClusterError
from distpool.scheduler import client
from distpool.scheduler.messages import Surveyed
from distpool.scheduler.remote import cluster_facts
from distpool.scheduler.shells import traces, worker_start
from distpool.scheduler.shells.traces import Ran

__all__ = ["timeline"]


def timeline(filename: str | os.PathLike[str] | None = None) -> list[dict[str, Any]] | None:
    """What ran where and when: the latest 10,000 calls of each worker, of Pools, remote functions and actors.

    Of workers that have ended the latest 256 are remembered; not of those that were killed.

    Args:
        filename: write the events there, as JSON that Perfetto opens, instead of returning them.

    Returns:
        Chrome trace events: of each call ``name``, ``cat`` ("task" or "actor_task"), ``ph`` ("X"), ``ts`` (its start)
        and ``dur`` in microseconds, ``pid`` and ``tid``, ``args``; and names of processes (``ph`` "M").

    Raises:
        ClusterError: there is no session, or none any more.
        OSError: the file cannot be written.
    """
    if client.current() is None and worker_start.this_worker is None:
        raise ClusterError("there is no session to ask: call init() first, or any remote function")
    surveyed = cluster_facts.survey("timeline", workers=True)
    _warn_if_partial(surveyed)
    events = list(events_of(surveyed))
    if filename is None:
        return events
    with open(filename, "w") as file:
        json.dump(events, file)
    return None


def _warn_if_partial(surveyed: Surveyed) -> None:
    missing = [
        *surveyed.missing,
        *(f"{who} on {node.node}" for node in surveyed.nodes for who in node.missing),
    ]
    if missing:
        warnings.warn(
            f"the timeline is partial: {', '.join(missing)} did not answer", RuntimeWarning, stacklevel=3
        )


def events_of(surveyed: Surveyed) -> Iterator[dict[str, Any]]:
    """The trace events of all workers that have answered."""
    for node in surveyed.nodes:
        for answer in node.answers:
            try:
                ran = traces.unpack(answer)
            except msgspec.DecodeError:
                continue  # its worker was killed while it wrote
            yield from of_worker(ran)


def of_worker(ran: Ran) -> Iterator[dict[str, Any]]:
    """The trace events of one worker."""
    kind = "an actor's worker" if ran.is_actor else "worker"
    yield _named("process_name", ran.pid, ran.pid, f"{kind} {ran.pid} on {ran.node}")
    category = "actor_task" if ran.is_actor else "task"
    node = node_id_of(ran.node)
    lanes: set[int] = set()
    for lane, (name, start_s, end_s, failed) in in_lanes(ran.events):
        if lane not in lanes:
            lanes.add(lane)
            yield _named(
                "thread_name", ran.pid, _thread(ran.pid, lane), f"calls {lane + 1}" if lane else "calls"
            )
        yield {
            "name": ran.names[name],
            "cat": category,
            "ph": "X",
            "ts": (ran.zero_s + start_s) * 1e6,
            "dur": max(0.0, end_s - start_s) * 1e6,
            "pid": ran.pid,
            "tid": _thread(ran.pid, lane),
            "args": {"failed": failed, "node_id": node},
        }


Row = tuple[int, float, float, bool]


def in_lanes(rows: Iterable[Row]) -> Iterator[tuple[int, Row]]:
    """The rows by their starts, each with the lowest lane that is free then: what overlaps is not in one lane."""
    free: list[int] = []
    busy: list[tuple[float, int]] = []  # until when, which
    made = 0
    for row in sorted(rows, key=lambda row: row[1]):
        while busy and busy[0][0] <= row[1]:
            heapq.heappush(free, heapq.heappop(busy)[1])
        if free:
            lane = heapq.heappop(free)
        else:
            lane, made = made, made + 1
        heapq.heappush(busy, (row[2], lane))
        yield lane, row


#: More than any process has as its number, so that lanes are nobody's.
_LANE = 1 << 23


def _thread(pid: int, lane: int) -> int:
    """The first lane is the process's main thread; the others have numbers that no thread has."""
    return pid + lane * _LANE


def _named(what: str, pid: int, thread: int, name: str) -> dict[str, Any]:
    return {"name": what, "cat": "", "ph": "M", "ts": 0, "pid": pid, "tid": thread, "args": {"name": name}}
