"""Who owns tasks: the driver, and a worker whose task submits tasks of its own.

::

    put ──► Job.keep ──► offered to a worker ──► its Results ──► claim ──► kept, mapped, an argument again, or dropped
                              │ cancelled: the answer is late, claimed and dropped at once
                              └ WorkerDied: first all that it sent is read, then forget_transit; again, or failed
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from distpool.errors import StoreError
from distpool.scheduler.store.store import Held, ObjectStore
from tests.simulation.loop import Violation

from .schedule import Process

if TYPE_CHECKING:
    from .workers import Worker
    from .world import World


@dataclass(eq=False)
class Job:
    """A task as its owner knows it."""

    args: tuple[int, ...]
    keep: list[Held]
    nested: bool
    retries: int
    attempt: int = 0
    over: bool = False


@dataclass(eq=False)
class Answer:
    """A worker's word for one attempt; ``ids`` are what it has put for the owner, or handed to it. None: it failed."""

    attempt: int
    ids: tuple[int, ...] = ()
    handed: bool = False  # they are not new


@dataclass(eq=False)
class Thing:
    """Objects that somebody has, and perhaps sees."""

    held: Held
    views: list[memoryview] = field(default_factory=list)


def always() -> bool:
    """What one holds oneself is needed for as long."""
    return True


class Owner:
    """An owner's loop, in the process and with the store of the driver or of a worker."""

    def __init__(
        self, world: World, process: Process, store: ObjectStore, *, jobs: int, workers_max: int, depth: int
    ) -> None:
        self.world = world
        self.process = process
        self.store = store
        self.workers_max = workers_max
        self.depth = depth
        self.to_make = jobs
        self.queue: deque[Job] = deque()
        self.offered: dict[Worker, Job] = {}
        self.workers: list[Worker] = []
        self.deaths: deque[Worker] = deque()  # WorkerDied, from the agent
        self.things: list[Thing] = []

    # -------------------------------------------------------------------------------- the loop

    def run(self) -> None:
        """Until all jobs are over, all workers gone, and everything let go of."""
        while self.to_make or self.queue or self.workers or self.things:
            self.world.pause(self.process, "owns", self._can_go_on)
            rng = self.world.rng
            rng.choice(self._possible())()
        self.store.drain()

    def _can_go_on(self) -> bool:
        return bool(self._possible())

    def _possible(self) -> list[Callable[[], object]]:
        idle = [w for w in self.workers if w not in self.offered and not w.retired]
        possible: list[Callable[[], object]] = []
        if self.to_make:
            possible.append(self._make_job)
        if self.queue and idle:
            possible += [lambda: self._offer(self.world.rng.choice(idle))] * 2
        if self.queue and len(self.workers) < self.workers_max:
            possible.append(lambda: self.workers.append(self.world.spawn(self)))
        if not (self.queue or self.to_make) and idle:
            possible.append(idle[0].retire)
        talkers = [w for w in self.workers if w.sent]
        if talkers:
            possible += [lambda: self._read(self.world.rng.choice(talkers))] * 2
        if self.deaths:
            possible.append(self._mourn)
        if self.things:
            possible.append(self._look_at_something)
        if self.offered and self.world.may_cancel:
            possible.append(self._cancel)
        return possible

    # -------------------------------------------------------------------------------- the jobs

    def _make_job(self) -> None:
        rng = self.world.rng
        self.to_make -= 1
        keep: list[Held] = []
        for _ in range(rng.choice((0, 1, 1, 2))):
            if self.things and rng.random() < 0.4:
                keep.append(rng.choice(self.things).held)  # what it has already, such as a result
                continue
            held = self.world.put(self.store, rng.choice((1, 1, 2)))
            if held is not None:
                keep.append(held)
        ids = tuple(dict.fromkeys(number for held in keep for number in held.ids))
        nested = self.depth > 0 and rng.random() < self.world.plan.nested
        self.queue.append(Job(ids, keep, nested, rng.choice((0, 1, 2))))

    def _offer(self, worker: Worker) -> None:
        job = self.offered[worker] = self.queue.popleft()
        job.attempt = self.world.next_attempt()
        worker.inbox.append((job, job.attempt))

    def _end(self, job: Job) -> None:
        job.over = True
        job.keep.clear()

    def _cancel(self) -> None:
        worker, job = self.world.rng.choice(list(self.offered.items()))
        if not job.over and self.world.rng.random() < self.world.plan.cancels:
            self.world.tell(f"{self.process.name} cancels attempt {job.attempt}")
            self._end(job)
            if self.world.rng.random() < 0.5:
                self.world.kill(worker.process, "for a cancelled task")

    def _read(self, worker: Worker) -> None:
        """One message of a worker. Whatever it refers to is taken first, whoever may want it."""
        for answer in worker.sent.popleft():
            job = self.offered.get(worker)
            thing = None
            if answer.ids:
                try:
                    thing = Thing(self.store.claim(answer.ids, worker.number))
                except StoreError as error:
                    raise Violation("kept", f"a result is gone before it was claimed: {error}") from error
                if not answer.handed:
                    self.world.oracles.claimed(answer.ids, self.process.number, worker.number)
            if job is None or job.attempt != answer.attempt:
                continue
            del self.offered[worker]
            if job.over:
                continue  # cancelled: the answer is late
            self._end(job)
            if thing is not None:
                self.things.append(thing)

    def _mourn(self) -> None:
        """A worker is dead: what it had sent comes first."""
        worker = self.deaths.popleft()
        while worker.sent:
            self._read(worker)
        self.store.forget_transit(worker.number)
        self.workers.remove(worker)
        job = self.offered.pop(worker, None)
        if job is None or job.over:
            return
        if job.retries:
            job.retries -= 1
            self.queue.appendleft(job)
        else:
            self._end(job)

    # ------------------------------------------------------------------------------ the results

    def _look_at_something(self) -> None:
        rng = self.world.rng
        thing = rng.choice(self.things)
        if not thing.views and rng.random() < 0.5:
            thing.views = self.world.map(self.store, thing.held.ids, needed=always)
            return
        self.world.check_views(thing.held.ids, thing.views)
        if rng.random() < 0.6:
            self.things.remove(thing)
            if rng.random() < 0.3:
                ids, views = thing.held.ids, thing.views
                del thing  # the views live on without a reference, as a user's array does
                self.store.drain()
                self.world.pause(self.process, "has only views left")
                self.world.check_views(ids, views)


class Putter:
    """Another thread of the driver's, which puts, maps and drops with the same store."""

    def __init__(self, world: World, process: Process, store: ObjectStore, rounds: int) -> None:
        self.world = world
        self.process = process
        self.store = store
        self.rounds = rounds
        self.over = False

    def run(self) -> None:
        """All its rounds; then nothing of its own is left."""
        rng = self.world.rng
        things: list[Thing] = []
        for _ in range(self.rounds):
            self._round(things)
            if len(things) > rng.randint(0, 3):
                things.pop(rng.randrange(len(things)))
            self.world.pause(self.process, "puts on")
        things.clear()
        self.store.drain()
        self.over = True

    def _round(self, things: list[Thing]) -> None:
        rng = self.world.rng
        held = self.world.put(self.store, rng.choice((1, 2, 3)))
        if held is not None:
            things.append(Thing(held))
        if things:
            thing = rng.choice(things)
            thing.views = thing.views or self.world.map(self.store, thing.held.ids, needed=always)
            self.world.check_views(thing.held.ids, thing.views)
