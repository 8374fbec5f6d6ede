"""A program and the owner core in its own process. These never travel; they may carry live objects."""

from __future__ import annotations

from typing import Any

import msgspec

from distpool.scheduler.messages.base import Payload
from distpool.scheduler.messages.leasing import Death
from distpool.scheduler.messages.peers import Contact
from distpool.scheduler.messages.placing import Strategy
from distpool.scheduler.messages.running import ActorTerms


class Local(msgspec.Struct, frozen=True):
    """Base of the messages between a program and the owner core in its own process."""


class Borrow(msgspec.Struct, frozen=True):
    """An actor of another owner's: the pool is ``actor`` there. ``me``: where the actor's worker dials this owner."""

    lender: Contact
    actor: int
    me: Contact


class OpenPool(Local, frozen=True):
    """``max_tasks``: a worker retires after that many (0: never). ``setup_attempts``: consecutive workers that
    may fail before their set-up is done, until the pool counts as broken. ``memory_bytes_max`` and
    ``self_contained``: see ``Setup``.

    ``actor``: the pool is one, of one dedicated worker; ``restarts`` is how often it is started again after its worker
    has died (-1: without end). ``borrow``: it is another owner's actor, and this one has no worker for it.

    ``beside``: a pool that is like this one but for the strategy, and takes its tasks when they have waited for long.
    """

    pool: int
    size: int
    setup: bytes
    max_tasks: int = 0
    setup_attempts: int = 3
    dedicated: bool = True
    resources: dict[str, float] = {}
    memory_bytes_max: int = 0
    self_contained: bool = False
    actor: ActorTerms | None = None
    restarts: int = 0
    borrow: Borrow | None = None
    strategy: Strategy = Strategy()
    beside: int = 0
    linger_s: float = 0.0  # for how long a shared worker without work is kept; 0: as ``Limits`` say


class Submit(Local, frozen=True):
    """Tasks for one pool, in order."""

    pool: int
    tasks: list[Any]  # list[cores.tasks.Task]


class CancelTasks(Local, frozen=True):
    """Take back tasks that have not started; with ``running`` also interrupt, then kill, those that have.

    With ``force`` they are killed without being interrupted; an actor is killed for the sake of a call only so.
    ``recursive``: and so are the calls that they have made.
    """

    tasks: list[Any]
    running: bool
    force: bool = False
    recursive: bool = True


class KillActor(Local, frozen=True):
    """SIGKILL an actor's worker; with ``restart`` that is a death like another, without it the actor's end."""

    pool: int
    restart: bool


class ClosePool(Local, frozen=True):
    """No more tasks will come; drop the pool when the last one is done."""

    pool: int


class Leaving(Local, frozen=True):
    """This owner is to end when nothing of it is under way: shared workers that rest are given back at once."""


class TerminatePool(Local, frozen=True):
    """Drop the pool with all its tasks and kill its workers."""

    pool: int


class ResizePool(Local, frozen=True):
    """The pool is to have so many workers from now on."""

    pool: int
    size: int


class Dial(Local, frozen=True):
    """To "links": connect to this node's agent and say OwnerHello there."""

    node: str
    address: str


class HangUp(Local, frozen=True):
    """To "links": say OwnerBye to this node's agent, if that can still hear it, and drop the link."""

    node: str


class ClusterLost(Local, frozen=True):
    """The shell gives up: no agent can be had (again). Every pool is broken."""

    reason: str


class Done(Local, frozen=True):
    """Results, in the order in which they came."""

    tasks: list[Any]
    values: list[Payload]


class Yields(Local, frozen=True):
    """A task has yielded a value, or ends with an error."""

    task: Any
    index: int
    value: Payload
    error: bytes | None


class Read(Local, frozen=True):
    """The program has read so many of the values that a task yields."""

    task: Any
    count: int


class Failed(Local, frozen=True):
    """``error`` is a pickled exception of the task's own; or, when it is None, ``death`` killed it, or, when
    both are None, the task was cancelled or its pool went away, as ``reason`` says. ``overdue``: it has run for longer
    than its time-out; its worker may not be rid of it yet. ``kind``: it was an actor's call, see ``ActorEnd``.
    ``arguments``: of a call that was killed, where they are plain values, for the text of the error."""

    task: Any
    error: bytes | None = None
    death: Death | None = None
    reason: str = ""
    overdue: bool = False
    kind: str = ""
    arguments: Any = None


class PoolReady(Local, frozen=True):
    """All of the pool's first workers have done their set-up."""

    pool: int


class PoolBroken(Local, frozen=True):
    """The pool cannot get workers: the initializer's error, the death of its workers, or a refusal.

    ``kind``: it was an actor, and has ended, see ``ActorEnd``.
    """

    pool: int
    error: bytes | None
    death: Death | None
    reason: str
    kind: str = ""


class ActorUp(Local, frozen=True):
    """The actor is constructed, for the first time or once more, and takes calls."""

    pool: int
    pid: int
    node: str


class ActorRestarts(Local, frozen=True):
    """The actor's worker has died, of ``death`` or as ``reason`` says, and a new one is to construct it again."""

    pool: int
    death: Death | None
    reason: str


class PoolGone(Local, frozen=True):
    """Every worker of the pool has been reaped, on every node."""

    pool: int


class WorkerUp(Local, frozen=True):
    """``lease`` of ``pool`` has said hello; its set-up is still to come."""

    pool: int
    lease: str
    pid: int
    node: str


class WorkerGone(Local, frozen=True):
    """A worker has been reaped, or lost with its node. ``exit_code`` as multiprocessing counts."""

    pool: int
    lease: str
    pid: int
    exit_code: int
