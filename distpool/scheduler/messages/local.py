"""A program and the owner core in its own process. These never travel; they may carry live objects."""

from __future__ import annotations

from typing import Any

import msgspec

from distpool.scheduler.messages.base import Payload
from distpool.scheduler.messages.leasing import Death


class Local(msgspec.Struct, frozen=True):
    """Base of the messages between a program and the owner core in its own process."""


class OpenPool(Local, frozen=True):
    """``max_tasks``: a worker retires after that many (0: never). ``setup_attempts``: consecutive workers that
    may fail before their set-up is done, until the pool counts as broken. ``memory_bytes_max``: see ``Setup``."""

    pool: int
    size: int
    setup: bytes
    max_tasks: int = 0
    setup_attempts: int = 3
    dedicated: bool = True
    resources: dict[str, float] = {}
    memory_bytes_max: int = 0


class Submit(Local, frozen=True):
    """Tasks for one pool, in order."""

    pool: int
    tasks: list[Any]  # list[cores.tasks.Task]


class CancelTasks(Local, frozen=True):
    """Take back tasks that have not started; with ``running`` also interrupt, then kill, those that have."""

    tasks: list[Any]
    running: bool


class ClosePool(Local, frozen=True):
    """No more tasks will come; drop the pool when the last one is done."""

    pool: int


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


class Failed(Local, frozen=True):
    """``error`` is a pickled exception of the task's own; or, when it is None, ``death`` killed it, or, when
    both are None, the task was cancelled or its pool went away, as ``reason`` says. ``overdue``: it has run for longer
    than its time-out; its worker may not be rid of it yet."""

    task: Any
    error: bytes | None = None
    death: Death | None = None
    reason: str = ""
    overdue: bool = False


class PoolReady(Local, frozen=True):
    """All of the pool's first workers have done their set-up."""

    pool: int


class PoolBroken(Local, frozen=True):
    """The pool cannot get workers: the initializer's error, the death of its workers, or a refusal."""

    pool: int
    error: bytes | None
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
