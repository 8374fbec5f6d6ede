"""NodeCore: which worker processes a machine has, whom they serve, and what becomes of them.

It is an agent's decisions. It never sees a task: owners talk to leased workers directly, so its messages grow with
leases and deaths. It forks and kills nothing itself: Fork and Signal go to the nursery, deaths come back.

::

    owner ── WantLeases (a level) ──► hungry pools ── grant ──► Fork(Attach) ──► worker dials its owner
               ▲                          ▲                                          │
               │                          └── the level still stands ◄── Exited ◄────┘ retires or dies
               └── WorkerDied, PoolDropped, LeaseElsewhere, LeaseRefused, NodeLost

A level is compared with the leases that count, after every message; whatever is missing is granted when its
resources are free: local first, then where ``place`` points, else it waits in turn. A worker serves one lease
and exits: no state leaks from one job to another.

This is the table, and who hears what. What is decided is in its parts:

====================  =====================================================================================
``node_owners``       what owners want, and what becomes of it when they are lost
``node_granting``     whose turn it is, and where; ``place`` is the policy, ``resources`` the amounts
``node_processes``    a worker's birth, its end, and who is told
``node_lending``      tasks that wait for tasks, and lend them what they have taken
``node_groups``       what is set aside for placement groups; ``node_holding``: room that is made for one
``node_head``         what is said to the head; ``node_scaling``: to one that starts and stops nodes
``node_pressure``     who is told that others wait; ``node_memory``: who goes when memory is low
``node_draining``     a node that is to go; ``node_jobs``, ``node_surveys``: programs, questions
``node_records``      the records of all these; ``node_check``: the invariants
====================  =====================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from distpool.scheduler.cores import devices
from distpool.scheduler.cores.deadlines import Deadlines
from distpool.scheduler.cores.node_draining import Draining
from distpool.scheduler.cores.node_granting import Granting
from distpool.scheduler.cores.node_groups import NodeGroups
from distpool.scheduler.cores.node_head import HeadLink, Key
from distpool.scheduler.cores.node_holding import Holding
from distpool.scheduler.cores.node_jobs import NodeJobs
from distpool.scheduler.cores.node_lending import Lending
from distpool.scheduler.cores.node_memory import NodeMemory
from distpool.scheduler.cores.node_owners import OwnerLinks
from distpool.scheduler.cores.node_pressure import Pressure
from distpool.scheduler.cores.node_processes import Processes
from distpool.scheduler.cores.node_records import Lease, Owner, WantedPool, Worker
from distpool.scheduler.cores.node_scaling import NodeScaling
from distpool.scheduler.cores.node_surveys import NodeSurveys
from distpool.scheduler.cores.resources import Amounts, to_floats, to_units
from distpool.scheduler.limits import Limits
from distpool.scheduler.messages import (
    Answered,
    Drain,
    EndJob,
    FactsQuery,
    GroupNews,
    GroupQuery,
    Inquire,
    JobNoted,
    JobQuery,
    JobSays,
    KeyGet,
    KeyList,
    LeaveIfIdle,
    MemoryLow,
    MemoryScarce,
    Message,
    NodeFacts,
    Release,
    Reserve,
    RunJob,
    StopJob,
    SubmitJob,
    Survey,
    WakeAt,
)

Output = list[tuple[str, Message]]


class NodeCore:
    """The state machine of one node's agent.

    ``total`` is what the node has, ``gpus`` the names of its devices, ``address`` where other machines dial its agent.
    ``incarnation`` must be greater each time a node of the same name starts again. The first Tick makes the node
    introduce itself to its head. ``store`` is the number of its object store in the cluster; 0: the head has yet to
    give it one; None: it has none. ``has_port``: owners and nodes may come by one; owners reach each other by gates.
    """

    def __init__(
        self,
        node: str,
        host: str,
        pid: int,
        address: str,
        total: Mapping[str, float],
        limits: Limits,
        labels: Mapping[str, str] = {},
        incarnation: int = 1,
        gpus: Sequence[str] = (),
        store: int | None = None,
        has_port: bool = False,
    ) -> None:
        self.node, self.host, self.pid, self.address = node, host, pid, address
        self.limits = limits
        self.labels = dict(labels)
        self.total: Amounts = to_units(total)
        self.cpus = int(to_floats(self.total).get("CPU", 0.0))  # whole ones
        self.free: Amounts = dict(self.total)
        self.gpus = devices.all_of(self.total, gpus)
        self.free_gpus: Amounts = dict(self.gpus)
        self.owners: dict[str, Owner] = {}
        self.workers: dict[int, Worker] = {}
        self.leases: dict[str, Lease] = {}
        self.hungry: dict[str, dict[int, WantedPool]] = {}  # whose turn comes first -> pools that miss leases
        self.deadlines: Deadlines[Key] = Deadlines()
        self._out: Output = []
        #: But for what is free.
        self.me = NodeFacts(node, address, to_floats(self.total), {}, self.labels, host)
        self.has_port = has_port
        self.owner_links = OwnerLinks(self)
        self.granting = Granting(self)
        self.processes = Processes(self)
        self.lending = Lending(self)
        self.groups = NodeGroups(self)
        self.holding = Holding(self)
        self.pressure = Pressure(self.send)
        self.memory = NodeMemory(self)
        self.draining = Draining(self)
        self.jobs = NodeJobs(self.send)
        self.surveys = NodeSurveys(self)
        self.scaling = NodeScaling(self)
        self.head = HeadLink(
            self._facts,
            self.groups.bundles,
            self.granting.queued,
            self.holding.lasting,
            self.free,
            incarnation,
            store,
            limits,
            self.deadlines,
            self.send,
            self.scaling.tell,
        )

    def receive(self, sender: str, message: Message, now: float) -> Output:
        """Take in one message and return the messages that it causes, in the order in which they must be sent."""
        kind, _, name = sender.partition(":")
        match kind:
            case "owner":
                self.owner_links.hear(name, message, now)
            case "asker":
                assert isinstance(
                    message,
                    FactsQuery | GroupQuery | Survey | KeyList | KeyGet | SubmitJob | StopJob | JobQuery,
                ), "it may look and hand in jobs, and change nothing else"
                self.head.ask_for(name, message)
            case "process":
                self.processes.from_process(int(name), message)
            case "nursery":
                self.processes.from_nursery(message, now)
            case "head":
                self._from_head(message, now)
            case "timer":
                self._tick(now)
            case "jobs":
                assert isinstance(message, JobSays)
                self.jobs.from_shell(message)
            case "memory":
                assert isinstance(message, MemoryLow | MemoryScarce)
                self.memory.hear(message)
            case "shell":
                assert isinstance(message, Drain)
                self.draining.begin(now)
            case _:
                raise AssertionError(f"a node has no dealings with {sender}")
        self.granting.grant(now)
        self.pressure.tell(self.hungry, self.owners.values(), holding=self.holding.hold is not None)
        self.head.tell_changes(now)
        if (at_s := self.deadlines.wake()) is not None:
            self.send("timer", WakeAt(at_s))
        out, self._out = self._out, []
        return out

    @property
    def incarnation(self) -> int:
        """Which of the starts of a node of this name it is; the head may give it another number before it joins."""
        return self.head.incarnation

    def worker_of(self, owner: str, lease: str) -> int | None:
        """The number of the worker that serves this lease of this owner's, for who wants to look at its slot."""
        return self.owner_links.worker_of(owner, lease)

    def send(self, address: str, message: Message) -> None:
        """To be said when this step is done."""
        self._out.append((address, message))

    # ------------------------------------------------------------------- what the head and the clock say

    def _from_head(self, message: Message, now: float) -> None:
        if isinstance(message, Answered):
            self.head.answered(message)
            return
        if isinstance(message, LeaveIfIdle):
            if message.incarnation == self.incarnation:
                self.scaling.leave(now)
            return
        if isinstance(message, Inquire):
            self.surveys.begin(message, now)
            return
        if isinstance(message, Reserve | Release | GroupNews):
            self.groups.hear(message, now)
            return
        if isinstance(message, RunJob | EndJob | JobNoted):
            self.jobs.from_head(message)
            return
        known = self.head.registered
        for lost in self.head.hear(message, now):
            self.granting.tell_lost(lost)
        if not self.head.registered:
            self.holding.drop()  # another head, or one that took us for dead, has not asked for it
        elif not known:
            self.groups.watch_again()
            self.jobs.say_all()

    def _tick(self, now: float) -> None:
        if not self.head.introduced:
            self.head.introduce(now)
        for kind, which in self.deadlines.due(now):
            match kind, which:
                case "worker", int(number):
                    self.processes.late(self.workers[number])
                case "owner", str(name):
                    self.owner_links.end(self.owners[name], final=True)
                case "heartbeat" | "report", _:
                    self.head.beat(now)
                case "survey", int(number):
                    self.surveys.late(number)
                case "drain", _:
                    self.draining.tell_all(now)
                case "hold", _:
                    self.holding.refuse()
                case "reckoned", str(node):
                    self.head.reckoned(node)
                case "owed", str(name):
                    self.lending.due(name, now)
                case _:
                    pass  # "pool": its turn to be granted, which follows every message

    def _facts(self) -> NodeFacts:
        return msgspec.structs.replace(
            self.me, available=to_floats(self.free), store=self.head.store, draining=self.draining.on
        )

    def check(self) -> None:
        """Assert every invariant; for tests and the simulator."""
        from distpool.scheduler.cores.node_check import check_node

        check_node(self)
