"""The user's program, as an owner's "app": it opens pools, submits, cancels, resizes, closes and terminates, by chance.

``Program`` is a driver's; ``Children`` is what a nested task does in its worker: one pool, some tasks, wait, close.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from distpool.scheduler.cores.tasks import Task, TimeLimit
from distpool.scheduler.messages import (
    CancelTasks,
    ClosePool,
    Done,
    Failed,
    OpenPool,
    PoolBroken,
    PoolGone,
    ResizePool,
    Strategy,
    Submit,
    TerminatePool,
)

from .actors import ActorCall
from .ledger import Job, PoolBook
from .loop import Violation

if TYPE_CHECKING:
    from .owner import OwnerShell
    from .world import World


class Program:
    """What is common to both: the books of the pools, and what the core says."""

    def __init__(self, world: World, shell: OwnerShell) -> None:
        self.world = world
        self.shell = shell
        self.pools: dict[int, PoolBook] = {}
        shell.program = self

    def open_pool(
        self, size: int, *, dedicated: bool = True, resources: dict[str, float] | None = None, setup_fails: float = 0.0,
        max_tasks: int = 0, wears: float = 0.0, strategy: Strategy = Strategy(),  # noqa: B008
    ) -> PoolBook:  # fmt: skip
        book = PoolBook(
            self.shell.owner,
            len(self.pools) + 1,
            size,
            dedicated,
            resources or {},
            setup_fails,
            max_tasks,
            wears,
            strategy,
        )
        self.pools[book.number] = book
        self.world.books[book.owner, book.number] = book
        setup = b"setup %f" % setup_fails
        self.shell.tell(
            OpenPool(
                book.number,
                size,
                setup,
                max_tasks,
                dedicated=dedicated,
                resources=book.resources,
                strategy=strategy,
            )
        )
        return book

    def job(
        self,
        book: PoolBook,
        kind: str,
        duration_s: float,
        *,
        retries: int = 2,
        function: int = 1,
        argument: Any = None,
        limit_s: float | None = None,
    ) -> Job:
        job = self.world.ledger.job(
            owner=self.shell.owner, pool=book, kind=kind, duration_s=duration_s, function=function, retries=retries,
            argument=argument, limit_s=limit_s,
        )  # fmt: skip
        payload = [job.number, kind, duration_s, argument]
        blob = b"function %d" % function
        size = self.world.loop.rng.choice((20, 20, 20, 5000)) if self.world.random_sizes else 20
        limit = None if limit_s is None else TimeLimit(limit_s)
        job.task = Task(book.number, job, job.number, function, blob, payload, size, retries, job, limit)
        return job

    def submit(self, book: PoolBook, jobs: list[Job]) -> None:
        if book.state in ("open", "broken") and jobs:
            for job in jobs:
                job.submitted = True
            self.shell.tell(Submit(book.number, [job.task for job in jobs]))

    def submit_if_open(self, book: PoolBook, jobs: list[Job]) -> None:
        """Submit, or forget the jobs if the pool has ended meanwhile."""
        if self.shell.alive and book.state in ("open", "broken"):
            self.submit(book, jobs)
        else:
            for job in jobs:
                self.world.ledger.forget(job)

    def cancel(self, jobs: list[Job], *, running: bool) -> None:
        for job in jobs:
            if not job.settled and job.cancel != "running":
                job.cancel = "running" if running else "unstarted"
                job.cancelled_s = self.world.loop.now
        self.shell.tell(CancelTasks([job.task for job in jobs], running))

    def resize(self, book: PoolBook, size: int) -> None:
        book.size = size
        book.sized_s = self.world.loop.now
        self.shell.tell(ResizePool(book.number, size))

    def close(self, book: PoolBook) -> None:
        if book.state == "open":
            book.state = "closed"
            self.shell.tell(ClosePool(book.number))

    def terminate(self, book: PoolBook) -> None:
        if book.state in ("open", "closed", "broken"):
            book.state = "terminated"
            self.shell.tell(TerminatePool(book.number))

    def terminate_if_alive(self, book: PoolBook) -> None:
        if self.shell.alive:
            self.terminate(book)

    def hear(self, message: Any) -> None:
        match message:
            case Done(tasks, values):
                for task, value in zip(tasks, values, strict=True):
                    if isinstance(task.token, ActorCall):
                        self.world.actors.done(task.token, value)
                        continue
                    self.world.ledger.done(task.token, value)
                    self.settled(task.token)
            case Failed(task=task) if isinstance(task.token, ActorCall):
                self.world.actors.failed(task.token, message)
            case Failed(task=task):
                self.world.ledger.failed(task.token, message)
                self.settled(task.token)
            case PoolBroken(pool=number):
                book = self.pools[number]
                if book.actor is None:
                    self.world.pool_broken(book, message)
                book.broke = True
                if book.state == "open":
                    book.state = "broken"
            case PoolGone(pool=number):
                self._gone(self.pools[number])
            case _:
                pass

    def _gone(self, book: PoolBook) -> None:
        if book.state == "open":
            raise Violation(
                "pools_end_when_told", f"pool {book.number} of {book.owner} is gone, and nobody ended it"
            )
        self.world.pool_gone(book)
        if book.state != "broken":
            book.state = "gone"

    def settled(self, job: Job) -> None:
        """A job has its outcome."""

    @property
    def finished(self) -> bool:
        return all(book.state == "gone" for book in self.pools.values())


class Children(Program):
    """What a nested task does: ``plan`` is [number of children, their length, dedicated, retries]."""

    def __init__(self, world: World, shell: OwnerShell, plan: Any) -> None:
        super().__init__(world, shell)
        count, duration_s, dedicated, retries = plan
        self.open_jobs = 0
        self.over = False
        book = self.open_pool(2, dedicated=dedicated, resources={} if dedicated else {"CPU": 1.0})
        self.book = book
        jobs = [self.job(book, "plain", duration_s, retries=retries) for _ in range(count)]
        self.open_jobs = len(jobs)
        self.submit(book, jobs)

    def settled(self, job: Job) -> None:
        self.open_jobs -= 1
        if not self.open_jobs and not self.over:
            self.over = True
            self.world.loop.after(0.0, self._end)

    def _end(self) -> None:
        worker = self.shell.worker
        if self.shell.alive and worker is not None:
            self.shell.block(False)
            (self.close if self.book.state == "open" else self.terminate)(self.book)
            worker.nested_done()
