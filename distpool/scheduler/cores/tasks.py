"""What an owner keeps of a task, a leased worker and a pool: plain slotted records, no behaviour worth the name.

A task is in exactly one container, which is its state: ``pool.queue`` (pending), ``lease.offered`` (lies with a
worker, and may be running), ``Outcomes.resting`` (pending again in a moment), or none (done). ``owner_check`` asserts
it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from distpool.scheduler.cores.load_ranks import LoadRanks
from distpool.scheduler.messages import ActorTerms, Borrow, Contact, LeaseHello, Strategy

#: What a core says in one step: addresses and messages, in the order in which they must be sent.
Output = list[tuple[str, Any]]

#: Arguments below this weight are not counted against ``Limits.ahead_bytes_max``.
HEAVY_BYTES = 4096


class Cancel(IntEnum):
    """How much somebody wants this task gone."""

    NO = 0
    UNSTARTED = 1  # take it back if it has not started
    RUNNING = 2  # interrupt it, and kill its worker if that does not help
    OVERDUE = 3  # the same; it has run out of its time, and its submitter has been told


@dataclass(frozen=True, slots=True)
class TimeLimit:
    """How long each of some tasks may run, and what they are called when one has run for longer."""

    limit_s: float
    name: str = ""
    many: bool = False  # whether ``Task.key`` tells one call of that name from another


class Task:
    """A call: a function's id and pickled form, its arguments, and where the outcome goes.

    The id is negative if the function is to be loaded anew for each call.

    ``token`` and ``key`` are the submitter's own; the core only hands them back. ``size`` is the weight of the
    arguments in bytes. ``careful``: may never be repeated (``retries=0``). ``keep`` is what must live until the task is
    done; the core only lets go of it, together with the arguments. ``limit``: how long it may run, if that is bounded.
    ``origin`` is what the submitter may need to make the call again: its own, or (arguments, keep) of a task that is
    done, where that may be wanted.
    """

    __slots__ = (
        "attempt", "blob", "cancel", "careful", "deaths", "function", "keep", "key", "lease", "limit", "origin",
        "payload", "pool", "retries", "size", "token",
    )  # fmt: skip

    def __init__(
        self,
        pool: int,
        token: Any,
        key: int,
        function: int,
        blob: bytes,
        payload: Any,
        size: int,
        retries: int,
        keep: Any = None,
        limit: TimeLimit | None = None,
    ) -> None:
        self.pool = pool
        self.token = token
        self.key = key
        self.function = function
        self.blob = blob
        self.payload = payload
        self.size = size
        self.retries = retries
        self.keep = keep
        self.limit = limit
        self.careful = not retries
        self.attempt = 0
        self.lease: Lease | None = None
        self.cancel = Cancel.NO
        self.origin: Any = None
        self.deaths = 0  # how many workers have died under it

    @property
    def offered(self) -> bool:
        """Whether it lies with a worker (and may be running)."""
        return self.lease is not None


class LeaseState(IntEnum):
    """How far a leased worker is; an order."""

    SETTING_UP = 0  # Setup sent, SetupDone awaited
    READY = 1
    RETIRING = 2  # told to finish what it has and exit
    LOST = 3  # its link is gone; its agent was told to kill it, and will say what it ran


class Lease:
    """A leased worker, as its owner sees it."""

    __slots__ = (
        "asked_s",
        "careful",
        "control",
        "data",
        "doomed",
        "functions",
        "heard_s",
        "heavy_bytes",
        "keep",
        "lease",
        "look_s",
        "node",
        "offered",
        "pid",
        "pool",
        "rank",
        "recalling",
        "received",
        "returned",
        "settled",
        "since_s",
        "stalled",
        "state",
        "tasks_left",
        "unsettled_bytes",
    )

    def __init__(self, lease: str, pool: Pool, node: str, pid: int, tasks_left: int, now: float) -> None:
        self.lease = lease
        self.data = f"worker:{lease}"
        self.control = f"control:{lease}"
        self.pool = pool
        self.node = node
        self.pid = pid
        self.state = LeaseState.SETTING_UP
        self.offered: dict[int, Task] = {}  # attempt -> task, in the order of offering
        self.rank = -1  # in ``pool.ranks``; -1 while it is not ready, or was asked in vain for what it has
        self.functions: dict[int, None] = {}  # ids that the worker keeps, oldest first
        self.tasks_left = tasks_left  # -1: no end
        self.received = 0  # answers had from it
        self.careful = False  # its latest batch may not be repeated, so its answers wait in its mailbox
        self.settled = 0  # ... when it was last idle, so that its mailbox was emptied
        self.unsettled_bytes = 0  # what those since then weigh
        self.heavy_bytes = 0  # argument bytes of offered tasks that are not small
        self.keep: list[
            Any
        ] = []  # of tasks that failed while they lay with it: what must live as long as it does
        self.heard_s = self.since_s = now
        self.asked_s = -1.0  # an actor: it was asked for its answers when it was last heard of then
        self.doomed = 0  # an attempt that is to be ended there, and nothing new comes behind it
        self.look_s = (
            0.0  # when to ask what it runs, because that may be overdue; 0: nothing there has a time limit
        )
        self.recalling = False  # a Recall is under way
        self.returned = False  # its agent knows that it has nothing left to do, or that its pool is dropped
        self.stalled = False  # took nothing back up to now: runs something long, gets nothing more meanwhile


class PoolState(IntEnum):
    """How far a pool is; an order."""

    OPEN = 0
    CLOSING = 1  # no more tasks; dropped when the last is done
    DROPPED = 2  # agents told; waiting for their workers to be reaped
    BROKEN = 3  # no workers to be had; every task fails


@dataclass(slots=True)
class Caller:
    """Another owner that an actor of ours takes calls of. ``index`` tells its attempts apart in the worker's slot."""

    index: int
    contact: Contact
    pool: int  # what it calls the actor


@dataclass(slots=True)
class Actor:
    """What is particular about a pool that is an actor: see ``owner_actors``."""

    terms: ActorTerms
    restarts: int  # how often it may still be started again; -1: without end
    borrow: Borrow | None = None  # it is another owner's, which tells us of its worker's end
    callers: dict[str, Caller] = field(default_factory=dict)
    callers_made: int = 0
    early: LeaseHello | None = None  # of a new worker that came before we heard of the old one's end
    killed: str = ""  # the lease whose worker is being killed since the program has said so
    #: The last lease whose link was lost before its worker's end was told, and what it had then.
    unexplained: tuple[str, dict[int, Task]] = ("", {})  # replaced, never changed


class Pool:
    """A set of leases with one queue before it."""

    __slots__ = (
        "actor",
        "ahead",
        "beside",
        "dedicated",
        "dropping",
        "failure",
        "killing",
        "leases",
        "linger_s",
        "max_tasks",
        "mean_s",
        "memory_bytes_max",
        "offered",
        "pool",
        "queue",
        "ranks",
        "ready",
        "ready_once",
        "recalling",
        "resources",
        "resting",
        "self_contained",
        "setup",
        "setup_attempts",
        "setup_failures",
        "share_tried",
        "size",
        "stale",
        "state",
        "staying",
        "strategy",
        "wanted",
        "wanted_in_all",
        "working_off",
    )

    def __init__(
        self,
        pool: int,
        size: int,
        setup: bytes,
        max_tasks: int,
        setup_attempts: int,
        dedicated: bool,
        resources: dict[str, float],
        ranks: LoadRanks,
        memory_bytes_max: int = 0,
        self_contained: bool = False,
    ) -> None:
        self.pool = pool
        self.size = size
        self.setup = setup
        self.max_tasks = max_tasks
        self.setup_attempts = setup_attempts
        self.setup_failures = 0  # consecutive
        self.dedicated = dedicated
        self.resources = resources
        self.memory_bytes_max = memory_bytes_max
        self.self_contained = self_contained
        self.strategy = Strategy()
        self.beside = 0  # the pool that takes its tasks when they have waited; see ``owner_near``
        self.linger_s = 0.0  # for how long a worker without work is kept; 0: as the limits say
        self.actor: Actor | None = None
        self.ahead = 0  # so many tasks may lie with a worker; 0: as their measured length says
        self.state = PoolState.OPEN
        self.queue: deque[Task] = deque()
        self.stale = 0  # cancelled tasks still lying in the queue
        self.resting = 0  # tasks that will be in it again in a moment
        self.leases: dict[str, Lease] = {}
        self.ranks = ranks  # those of them that are ready, by how much they have
        self.recalling = 0  # how many of them have not answered a Recall
        self.share_tried = 0  # each of them has this share of the work, or can take no more
        self.ready = 0  # how many are ready
        self.staying = 0  # leases that are not on their way out
        self.working_off = 0  # those that are, and have something left to do: their agents count them still
        self.offered = 0  # tasks that lie with them all
        self.wanted: dict[str, int] = {}  # node -> the level last said there
        self.wanted_in_all = 0
        self.dropping: set[str] = set()  # nodes whose PoolDropped is awaited
        self.killing = False  # dropped with its workers killed, not told to finish
        self.mean_s = 0.0  # measured length of a task; 0: nothing measured
        self.ready_once = False
        self.failure: Any = None  # the PoolBroken that later tasks are failed with

    @property
    def pending(self) -> int:
        """Tasks that wait for a worker."""
        return len(self.queue) - self.stale

    @property
    def counted(self) -> int:
        """The workers that its agents count towards its levels."""
        return self.staying + self.working_off

    @property
    def live(self) -> bool:
        """Whether its tasks are still worked on, so that it wants workers."""
        return self.state <= PoolState.CLOSING
