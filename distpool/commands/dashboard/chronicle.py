"""What is known of a cluster, look by look: nodes, functions, workers, pools, errors, and all of it over time.

::

    Look ──► Chronicle.take ──┬─ Functions   sums and rates by function            ──► overview.frame ──► page
                              ├─ Stream      bars of each worker, of the last minutes  tables.rows
                              ├─ History     the cluster's and each node's numbers     exposition ──► /metrics
                              └─ mishaps, nodes, workers, pools: as they are now       distpool top

Pure: no clock, no socket; one thread feeds it. Everything in it is bounded, and all who look share it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from distpool.commands.dashboard.functions import Functions, called
from distpool.commands.dashboard.histories import History
from distpool.commands.dashboard.streams import Stream
from distpool.commands.looking import Look
from distpool.commands.reasons import who_owns
from distpool.scheduler.messages import NodeFacts, WorkerFacts
from distpool.scheduler.messages.activity import Mishap
from distpool.scheduler.messages.insights import GpuLoad, OwnerView, PoolView

__all__ = ["Chronicle", "Error", "NodeNow", "PoolNow", "WorkerNow"]

ERRORS_MAX = 1_000
#: Nodes whose numbers are kept over time; of the others only the latest.
NODES_CHARTED_MAX = 50


@dataclass(slots=True)
class NodeNow:
    """A node. What has not been told is None."""

    name: str
    state: str  # "up", "draining", "silent", "lost"
    host: str = ""
    address: str = ""
    is_head: bool = False
    total: dict[str, float] = field(default_factory=dict)
    available: dict[str, float] = field(default_factory=dict)
    cpus: int | None = None
    cpu: float | None = None  # share of them that is busy
    load: float | None = None
    memory: tuple[int, int] | None = None  # used, size
    store: tuple[int, int] | None = None
    gpus: tuple[GpuLoad, ...] = ()
    workers: int = 0
    wanted: int = 0


@dataclass(slots=True)
class WorkerNow:
    """A worker. ``state``: "runs", "waits for its own", "idle", "starts", "actor"."""

    node: str
    worker: int
    pid: int
    state: str
    function: str = ""
    for_s: float = 0.0
    cpu: float | None = None
    memory: int | None = None
    owner: str = ""
    need: dict[str, float] = field(default_factory=dict)
    done: float = 0.0
    failed: float = 0.0
    work_s: float = 0.0
    is_actor: bool = False

    @property
    def key(self) -> str:
        """NODE/NUMBER, as the commands have it."""
        return f"{self.node}/{self.worker}"


@dataclass(slots=True)
class PoolNow:
    """A pool, with who owns it and how many of its calls are done a second."""

    owner: OwnerView
    pool: PoolView
    rate: float | None

    @property
    def who(self) -> str:
        """Its owner, in words."""
        return who_owns(self.owner)


@dataclass(slots=True)
class Error:
    """A call that has failed, and whose it was. ``number`` is ours."""

    number: int
    owner: str
    mishap: Mishap

    @property
    def headline(self) -> str:
        """The last line that says something: of a traceback, the exception."""
        lines = [line for line in self.mishap.text.splitlines() if line.strip()]
        return lines[-1].strip() if lines else self.mishap.kind


class Chronicle:
    """See the module. ``looks`` counts them; ``day_s`` is the time of the latest, ``missing`` who has not answered."""

    def __init__(self) -> None:
        self.looks = 0
        self.day_s = 0.0
        self.at_s = 0.0
        self.head = ""
        self.missing: list[str] = []
        self.nodes: dict[str, NodeNow] = {}
        self.workers: dict[str, WorkerNow] = {}
        self.pools: list[PoolNow] = []
        self.functions = Functions()
        self.stream = Stream()
        self.history = History()
        self.errors: deque[Error] = deque(maxlen=ERRORS_MAX)
        self.error_count = 0  # that we have been told of
        self.failed_by_owner: dict[str, int] = {}
        self.look: Look | None = None
        self._did: dict[tuple[str, int, int], tuple[float, float, float]] = {}

    def take(self, look: Look) -> None:
        """What was to be seen."""
        before = self.look
        self.looks += 1
        self.day_s, self.at_s = look.day_s, look.at_s
        self.head = look.facts.head
        self.missing = look.missing
        self._take_functions(look)
        self.stream.add(self.looks, [*look.ended, *look.workers], look.at_s)
        self._take_errors(look)
        self._take_nodes(look, before)
        self._take_workers(look, before)
        self._take_pools(look, before)
        self.look = look
        self.history.put(look.day_s, self._numbers())

    # -------------------------------------------------------------------------------------- functions

    def _take_functions(self, look: Look) -> None:
        functions = self.functions
        functions.begin_look()
        for activity in [*look.workers, *look.ended]:
            functions.add(activity, look.at_s)
        for owner in look.owners:
            for calls in owner.calls:
                function = functions.named(calls.name)
                function.waiting += calls.waiting
                function.queued += calls.queued
                function.offered += calls.offered
                function.guessed |= calls.guessed
        functions.end_look(look.at_s)

    def _take_errors(self, look: Look) -> None:
        for owner in look.owners:
            name = owner.view.owner
            self.failed_by_owner[name] = owner.failed
            for mishap in owner.mishaps:
                self.error_count += 1
                self.errors.append(Error(self.error_count, who_owns(owner.view), mishap))

    # ------------------------------------------------------------------------------- nodes and workers

    def _take_nodes(self, look: Look, before: Look | None) -> None:
        nodes: dict[str, NodeNow] = {}
        for facts in sorted(look.facts.nodes, key=lambda facts: facts.node):
            nodes[facts.node] = self._node(look, before, facts)
        for facts in look.facts.gone:
            if facts.node not in nodes:
                nodes[facts.node] = NodeNow(facts.node, "lost", facts.host, facts.address)
        self.nodes = nodes

    def _node(self, look: Look, before: Look | None, facts: NodeFacts) -> NodeNow:
        machine, answers = look.machines.get(facts.node), look.picture.nodes.get(facts.node)
        now = NodeNow(
            facts.node,
            "draining" if facts.draining else "up",
            facts.host,
            facts.address,
            facts.node == look.facts.head,
            dict(facts.total),
            dict(facts.available),
        )
        if machine is None or answers is None:
            now.state = "silent"
            return now
        now.cpus, now.load = machine.cpus, machine.load
        now.memory = machine.memory_used_bytes, machine.memory_bytes
        now.store = machine.store if machine.store[1] else None
        now.gpus = machine.gpus
        now.workers = len(answers.workers)
        now.wanted = sum(want.missing for want in answers.wanted)
        earlier = None if before is None else before.machines.get(facts.node)
        if earlier is not None and machine.time_s > earlier.time_s:
            passed_s = machine.time_s - earlier.time_s
            share = (machine.cpu_busy_s - earlier.cpu_busy_s) / passed_s / machine.cpus
            now.cpu = max(0.0, min(1.0, share))
        return now

    def _take_workers(self, look: Look, before: Look | None) -> None:
        running = {
            lease.lease: lease.running
            for owner in look.picture.owners
            for pool in owner.pools
            for lease in pool.leases
        }
        owners = {owner.owner: owner for owner in look.picture.owners}
        did = {(each.node, each.worker, each.pid): each for each in look.workers}
        earlier = {} if before is None else _processes(before)
        processes = _processes(look)
        passed_s = 0.0 if before is None else look.at_s - before.at_s
        workers: dict[str, WorkerNow] = {}
        for node, answers in look.picture.nodes.items():
            for facts in answers.workers:
                owner = owners.get(facts.owner)
                now = WorkerNow(
                    node,
                    facts.worker,
                    facts.pid,
                    _state(facts),
                    owner="" if owner is None else who_owns(owner),
                    need=dict(facts.need),
                )
                if facts.running:
                    now.for_s = facts.for_s
                    if name := running.get(facts.lease, ""):  # else it has just ended, as its owner has it
                        now.function = called(name)
                        self.functions.named(name).running += 1
                key = node, facts.worker, facts.pid
                if (process := processes.get(key)) is not None:
                    now.memory = process.memory_bytes
                    if (was := earlier.get(key)) is not None and passed_s > 0:
                        now.cpu = max(0.0, process.cpu_s - was.cpu_s) / passed_s
                self._add_done(now, key, did.get(key))
                workers[now.key] = now
        self.workers = workers
        alive = {(now.node, now.worker, now.pid) for now in workers.values()}
        for key in [key for key in self._did if key not in alive]:
            del self._did[key]

    def _add_done(self, now: WorkerNow, key: tuple[str, int, int], activity: Any) -> None:
        if activity is not None:
            self._did[key] = (
                sum(tally.done for tally in activity.tallies),
                sum(tally.failed for tally in activity.tallies),
                sum(tally.total_s for tally in activity.tallies),
            )
            now.is_actor = activity.is_actor
        now.done, now.failed, now.work_s = self._did.get(key, (0.0, 0.0, 0.0))

    def _take_pools(self, look: Look, before: Look | None) -> None:
        earlier = {} if before is None else _done(before)
        passed_s = 0.0 if before is None else look.at_s - before.at_s
        done = _done(look)
        self.pools = []
        for owner in look.picture.owners:
            for pool in owner.pools:
                if pool.kind == "borrowed":
                    continue
                key = owner.owner, pool.pool
                rate = None
                if passed_s > 0:
                    rate = max(0, done[key] - earlier.get(key, done[key])) / passed_s
                self.pools.append(PoolNow(owner, pool, rate))

    # ------------------------------------------------------------------------------------ over time

    def rates(self) -> tuple[float, float]:
        """Calls that have ended a second, of late, and those that failed."""
        rates = [function.rates(self.at_s) for function in self.functions.by_name.values()]
        return sum(ended for ended, _ in rates), sum(failed for _, failed in rates)

    def states(self) -> dict[str, int]:
        """Calls that have not ended, by their state: "waiting", "queued", "sent", "running"."""
        functions = self.functions.by_name.values()
        running = sum(function.running for function in functions)
        offered = sum(function.offered for function in functions)
        return {
            "waiting": sum(function.waiting for function in functions),
            "queued": sum(function.queued for function in functions),
            "sent": max(0, offered - running),
            "running": running,
        }

    def _numbers(self) -> dict[str, float]:
        ended = sum(function.ended for function in self.functions.by_name.values())
        failed = sum(function.failed for function in self.functions.by_name.values())
        numbers: dict[str, float] = {key: float(value) for key, value in self.states().items()}
        numbers["workers"] = float(len(self.workers))
        last = self._ended_before
        if last is not None and self.at_s > last[0]:
            passed_s = self.at_s - last[0]
            numbers["done/s"] = max(0.0, ended - failed - last[1] + last[2]) / passed_s
            numbers["failed/s"] = max(0.0, failed - last[2]) / passed_s
        self._ended_before = self.at_s, ended, failed
        for name, node in list(self.nodes.items())[:NODES_CHARTED_MAX]:
            if node.cpu is not None:
                numbers[f"cpu {name}"] = node.cpu
            if node.memory is not None and node.memory[1]:
                numbers[f"memory {name}"] = node.memory[0] / node.memory[1]
            if node.store is not None:
                numbers[f"store {name}"] = node.store[0] / node.store[1]
        return numbers

    _ended_before: tuple[float, float, float] | None = None


def _state(facts: WorkerFacts) -> str:
    if facts.running:
        return "waits for its own" if facts.blocked else "runs"
    if not facts.greeted:
        return "starts"
    return "actor" if facts.begun else "idle"


def _processes(look: Look) -> dict[tuple[str, int, int], Any]:
    return {
        (node, process.worker, process.pid): process
        for node, machine in look.machines.items()
        for process in machine.processes
    }


def _done(look: Look) -> dict[tuple[str, int], int]:
    return {(owner.owner, pool.pool): pool.done for owner in look.picture.owners for pool in owner.pools}
