"""A pool of workers as this process has it: what is submitted, who the workers are, how it ends.

::

    front door ── submit ──► NativePool ── Task ──► Leading ──► OwnerCore ──► workers
         ▲                        ▲                                │
         └──────── promises ──────┴── WorkerUp, WorkerGone, PoolBroken, PoolGone

``NativePool`` is the native implementation of ``engines.protocol.EnginePool``; a ``Session`` opens it.
"""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from distpool.engines.protocol import Call, PoolSpec, Promise, Terms, WorkerAccount, WorkerInfo
from distpool.errors import ClusterError, Failure
from distpool.scheduler.cores.ahead import tasks_ahead
from distpool.scheduler.cores.tasks import Task, TimeLimit
from distpool.scheduler.messages import (
    CancelTasks,
    ClosePool,
    Local,
    OpenPool,
    PoolBroken,
    PoolGone,
    ResizePool,
    TerminatePool,
    WorkerGone,
    WorkerUp,
)
from distpool.scheduler.serialize import PLAIN_TYPES, Exporter, is_plain, name_of, stored
from distpool.scheduler.shells.accounts import PoolAccounts
from distpool.scheduler.shells.preparation import make_setup

if TYPE_CHECKING:
    from distpool.scheduler.session import Session

#: Ended workers whose exit codes a pool remembers.
GONE_KEPT = 256


class NativePool:
    """A pool of dedicated workers (``engines.protocol.EnginePool``).

    ``beside``: one that differs only in its strategy; each can take the other's tasks (``OpenPool.beside``).
    """

    def __init__(
        self, session: Session, number: int, spec: PoolSpec, size: int, beside: NativePool | None = None
    ) -> None:
        self.size = size
        self.number = number
        self.spec = spec
        self.exporter: Exporter = Exporter(snapshot=spec.snapshot) if beside is None else beside.exporter
        self._beside = 0 if beside is None else beside.number
        self.setup_keep: Any = None  # what every new worker's set-up refers to
        self.gone = threading.Event()
        self.failure: Failure | None = None
        self._session = session
        self.leading = session.leading
        self._workers: dict[str, WorkerInfo] = {}
        self._accounts = PoolAccounts()
        self._retries = spec.retries
        self.closed = False

    # -------------------------------------------------------------------------------- submitting

    def submit(
        self,
        promise: Promise,
        key: int,
        function: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        terms: Terms | None = None,
    ) -> Task:
        """See ``EnginePool.submit``."""
        if self.closed:
            raise self._closed_error()
        retries, limit = (self._retries, None) if terms is None else self._apply(terms, function, many=False)
        keep: Any
        number, blob, keep = self.exporter.function(function)
        if not kwargs:
            for argument in args:
                if type(argument) not in PLAIN_TYPES or not is_plain(argument):
                    break
            else:
                task = Task(self.number, promise, key, number, blob, list(args), 64, retries, keep, limit)
                self.leading.submit(task)
                return task
        kept: list[Any] = []
        payload = self.exporter.dumps((tuple(args), dict(kwargs)), keep=kept, brief=True)
        if kept:
            keep = (keep, kept)
        task = Task(self.number, promise, key, number, blob, payload, len(payload), retries, keep, limit)
        self.leading.submit(task)
        return task

    def submit_many(
        self,
        promise: Promise,
        first_key: int,
        function: Callable[..., Any],
        arguments: Sequence[Sequence[Any]],
        shared: stored.Shared | None = None,
        terms: Terms | None = None,
    ) -> list[Call]:
        """See ``EnginePool.submit_many``."""
        if self.closed:
            raise self._closed_error()
        retries, limit = (self._retries, None) if terms is None else self._apply(terms, function, many=True)
        number, blob, keep = self.exporter.function(function, shared)
        pool, dumps = self.number, self.exporter.dumps
        tasks: list[Task] = []
        for key, args in enumerate(arguments, first_key):
            payload: Any
            held: Any = keep
            for argument in args:
                if type(argument) not in PLAIN_TYPES or not is_plain(argument):
                    kept: list[Any] = []
                    try:
                        payload = dumps((tuple(args), {}), keep=kept, shared=shared, brief=True)
                    except Exception as error:
                        payload = None
                        promise.reject(key, Failure(exception=error))
                    if kept:
                        held = (keep, kept)
                    break
            else:
                payload = list(args)
            if payload is not None:
                size = len(payload) if type(payload) is bytes else 64
                tasks.append(Task(pool, promise, key, number, blob, payload, size, retries, held, limit))
        self.leading.submit_all(tasks)
        return list[Call](tasks)

    def _apply(
        self, terms: Terms, function: Callable[..., Any], *, many: bool
    ) -> tuple[int, TimeLimit | None]:
        retries = self._retries if terms.retries is None else terms.retries
        if terms.limit_s is None:
            return retries, None
        return retries, TimeLimit(terms.limit_s, name_of(function), many)

    def share(self) -> stored.Shared:
        """See ``EnginePool.share``."""
        return stored.Shared()

    @property
    def ahead(self) -> int:
        """How many calls are worth lying with one of its workers, by how long they have been measured to take."""
        pool = self._session.core.pools.get(self.number)
        return tasks_ahead(0.0 if pool is None else pool.mean_s, self._session.limits)

    def _closed_error(self) -> Exception:
        if os.getpid() != self._session.pid:
            return ClusterError("this pool is the parent process's; make one of your own after the fork")
        return RuntimeError("the pool is closed")

    def cancel(self, calls: Sequence[Call], *, running: bool) -> None:
        """See ``EnginePool.cancel``."""
        self.leading.tell(CancelTasks(list(calls), running))

    def give_up(self, promise: Promise, *, running: bool = True) -> None:
        """See ``EnginePool.give_up``."""
        self.leading.tell(lambda: self._cancel_all_of(promise, running))

    def _cancel_all_of(self, promise: Promise, running: bool) -> None:
        """In a step: only the core knows which calls there are; promises do not keep theirs."""
        pool = self._session.core.pools.get(self.number)
        if pool is not None:
            tasks = [task for task in self._session.core.unfinished(pool) if task.token is promise]
            self.leading.tell(CancelTasks(tasks, running))

    # ----------------------------------------------------------------------------------- its life

    def opening(self) -> OpenPool:
        """What the core is told of it. Raises what pickling the initializer raises."""
        spec = self.spec
        setup, self.setup_keep = make_setup(
            self.exporter,
            spec.name,
            spec.initializer,
            spec.arguments(self.exporter.dumps),
            spec.closures,
            spec.environment,
            self._session.hooks_of_pools(self.exporter),
        )
        return OpenPool(
            self.number,
            self.size,
            setup,
            max_tasks=spec.max_tasks or 0,
            setup_attempts=spec.setup_attempts,
            memory_bytes_max=spec.memory_bytes_max or 0,
            resources=dict(spec.resources),
            strategy=spec.strategy,
            dedicated=spec.dedicated,
            self_contained=spec.self_contained,
            beside=self._beside,
            linger_s=spec.linger_s,
        )

    def close(self) -> None:
        """See ``EnginePool.close``. Safe in ``__del__``: it only appends to a deque."""
        if not self.closed:
            self.closed = True
            self.leading.tell(ClosePool(self.number))

    def terminate(self) -> None:
        """See ``EnginePool.terminate``."""
        self.closed = True
        self.leading.tell(TerminatePool(self.number))

    def wait_gone(self, timeout_s: float | None = None) -> bool:
        """See ``EnginePool.wait_gone``."""
        gone = self.gone.wait(timeout_s)
        reissue = self._session.shell.reissue
        if gone and reissue.pending:
            reissue.wait_handled()
        return gone

    def resize(self, size: int) -> None:
        """See ``EnginePool.resize``."""
        if size < 1:
            raise ValueError("a pool needs at least one worker")
        self.size = size
        self._accounts.asked()
        self.leading.tell(ResizePool(self.number, size))

    def workers(self) -> list[WorkerInfo]:
        """See ``EnginePool.workers``."""
        return list(self._workers.values())

    def accounts(self) -> list[WorkerAccount]:
        """See ``EnginePool.accounts``."""
        return self._accounts.workers(self._session.cluster.node)

    def abandon(self) -> None:
        """In a forked child: the workers are the parent's, and so is whoever waits for them."""
        self.closed = True
        self.gone = threading.Event()  # a thread that is not here may hold the old one's lock
        self.gone.set()

    def on_event(self, event: Local) -> None:
        """A word of the core about this pool, on the leading thread."""
        match event:
            case WorkerUp():
                self._workers[event.lease] = WorkerInfo(event.lease, event.pid, event.node)
                account = self._session.shell.accounts.take(event.lease)
                self._accounts.up(event.lease, event.pid, event.node, account)
                self._tell_workers()
            case WorkerGone():
                self._accounts.gone(event.lease)
                self._leave(event)
                self._tell_workers()
            case PoolBroken():
                self.failure = Failure(
                    error=event.error, death=event.death, reason=event.reason, kind=event.kind
                )
                if self.spec.on_broken is not None:
                    self.spec.on_broken(self.failure)
            case PoolGone():
                self.setup_keep = None
                self.exporter.forget()
                self.gone.set()
            case _:
                pass  # PoolReady

    def _leave(self, event: WorkerGone) -> None:
        """Remember how a worker ended, for those who ask for its exit code; the latest ones only."""
        workers = self._workers
        if (info := workers.pop(event.lease, None)) is not None:
            workers[event.lease] = dataclasses.replace(info, exit_code=event.exit_code)
        gone = [lease for lease, info in workers.items() if info.exit_code is not None]
        for lease in gone[:-GONE_KEPT]:
            del workers[lease]

    def _tell_workers(self) -> None:
        if self.spec.on_workers is not None:
            self.spec.on_workers()
