"""One look at a whole cluster: what ``distpool top`` and ``distpool dashboard`` show is made of the same.

::

    Asker ── FactsQuery, Survey "activity" ──► look ──► Look: nodes, machines, owners, workers, what they run and ran

A look costs each owner, agent and worker about a millisecond, and nothing between looks.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field

import msgspec

from distpool.commands.finding import missing
from distpool.commands.reasons import Picture
from distpool.scheduler.messages import FactsReport, Surveyed
from distpool.scheduler.messages.activity import (
    ActivityWanted,
    LeftActivity,
    OwnerActivity,
    WorkerActivity,
    unpack,
    unpack_worker,
)
from distpool.scheduler.messages.insights import MachineLoad, ProcessLoad, unpack_machine
from distpool.scheduler.shells import tallies, traces
from distpool.scheduler.shells.asking import Asker

__all__ = ["Look", "asker_name", "look", "put_together"]


@dataclass
class Look:
    """What was to be seen at one moment: ``at_s`` is monotonic, ``day_s`` the time of day; it took ``took_s``."""

    facts: FactsReport
    picture: Picture
    missing: list[str]
    machines: dict[str, MachineLoad] = field(default_factory=dict)
    at_s: float = 0.0
    day_s: float = 0.0
    took_s: float = 0.0
    owners: list[OwnerActivity] = field(default_factory=list)
    workers: list[WorkerActivity] = field(default_factory=list)
    ended: list[WorkerActivity] = field(default_factory=list)

    def process(self, node: str, worker: int) -> ProcessLoad | None:
        """What a worker's process takes."""
        machine = self.machines.get(node)
        processes = () if machine is None else machine.processes
        return next((process for process in processes if process.worker == worker), None)


def asker_name() -> str:
    """A name of one's own, under which to look again and again."""
    return os.urandom(6).hex()


def look(cluster: Asker, asker: str, bars: int = 0) -> Look:
    """Ask. ``bars``: how many of each worker, of the time since this asker's last look. Raises ClusterError."""
    began_s = time.monotonic()
    facts = cluster.facts()
    about = msgspec.json.encode(ActivityWanted(asker, bars)).decode()
    surveyed = cluster.survey("activity", workers=True, about=about)
    now_s = time.monotonic()
    return put_together(facts, surveyed, now_s, time.time(), now_s - began_s)


def put_together(
    facts: FactsReport, surveyed: Surveyed, at_s: float, day_s: float, took_s: float = 0.0
) -> Look:
    """The answers in the form in which they are looked up."""
    machines = {node.node: unpack_machine(node.own) for node in surveyed.nodes if node.own}
    seen = Look(facts, Picture(), missing(surveyed), machines, at_s, day_s, took_s)
    for node in surveyed.nodes:
        seen.picture.nodes[node.node] = node
        for answer in node.answers:
            match unpack(answer):
                case OwnerActivity() as owner:
                    seen.owners.append(owner)
                    seen.picture.owners.append(owner.view)
                case WorkerActivity() as worker:
                    seen.workers.append(worker)
                case LeftActivity() as left:
                    if (ended := _of_ended(left)) is not None:
                        seen.ended.append(ended)
    return seen


def _of_ended(left: LeftActivity) -> WorkerActivity | None:
    """What it did; if nobody had asked it while it lived, that is added up here."""
    try:
        if left.did:
            return unpack_worker(left.did)
        ran = traces.unpack(left.ran)
    except msgspec.DecodeError:
        return None  # it was killed while it wrote
    events = [(ran.names[name], start_s, end_s, failed) for name, start_s, end_s, failed in ran.events]
    ledger = tallies.Ledger()
    ledger.add(events)
    until_s = max(event[2] for event in events)
    since_s = until_s - tallies.HISTORY_S
    late = [event for event in events if event[2] > since_s]
    names, bars = tallies.bars_of(late, since_s, until_s, traces.LAST_BARS, ran.zero_s)
    return WorkerActivity(
        ran.node,
        left.worker,
        ran.pid,
        ran.is_actor,
        ledger.tallies(),
        tuple(names),
        tuple(bars),
        len(events) >= traces.EVENTS_MAX,
    )
