"""Who runs tasks, and the agent, who notices that they are dead.

A worker maps its arguments, keeps some views and references beyond the task, puts its results for the task's owner, and
sends its answers one by one or together. It may be killed at every pause and after every write to the ledger.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from distpool.errors import StoreFull
from distpool.scheduler.store.keeper import Keeper
from distpool.scheduler.store.store import Held

from .owners import Answer, Job, Owner, always
from .schedule import Process

if TYPE_CHECKING:
    from .world import World


class Worker:
    """A worker process that serves one owner."""

    def __init__(self, world: World, owner: Owner, number: int) -> None:
        self.world = world
        self.owner = owner
        self.number = number
        self.process = Process(number, f"w{number}")
        self.store = world.memory.store(self.process)
        self.inbox: deque[tuple[Job, int]] = deque()
        self.sent: deque[list[Answer]] = deque()  # what the owner has not read yet
        self.retired = False
        self._unsent: list[Answer] = []
        self._views: list[tuple[tuple[int, ...], list[memoryview]]] = []  # in globals of the user's
        self._references: list[Held] = []

    def retire(self) -> None:
        """Its owner's word: leave when all is done."""
        self.retired = True

    def run(self) -> None:
        """The process's main thread."""
        while True:
            self.world.pause(self.process, "waits for work", lambda: bool(self.inbox) or self.retired)
            if not self.inbox:
                break
            job, attempt = self.inbox.popleft()
            self._unsent.append(self._execute(job, attempt))
            self._look_at_globals()
            if self.inbox and self.world.rng.random() < 0.5:
                continue  # the next answer goes with this one
            self._flush()
            self.store.drain()
        if self.world.rng.random() < 0.3:
            self._views.clear()
            self._references.clear()
            self.store.drain()
        self.world.died(self.process, "exits")

    def _flush(self) -> None:
        self.world.pause(self.process, "is about to send")
        self.sent.append(self._unsent)
        self._unsent = []
        self.world.pause(self.process, "has sent")

    def _execute(self, job: Job, attempt: int) -> Answer:
        rng = self.world.rng

        def needed() -> bool:
            return not job.over and job.attempt == attempt and self.owner.process.alive

        if rng.random() < 0.4 and (held := self.world.hold(self.store, job.args, needed=needed)) is not None:
            self._references.append(held)
        views = self.world.map(self.store, job.args, needed=needed)
        if rng.random() < 0.3:
            self._views.append((job.args, views))
        if rng.random() < 0.2 and (mine := self.world.put(self.store, 1)) is not None:
            self._references.append(mine)
        if job.nested:
            self._own()
        self.world.pause(self.process, "computes")
        self.world.check_views(job.args, views)
        if rng.random() < 0.15:
            return Answer(attempt)
        if self._references and rng.random() < 0.3:  # what it has itself, such as an argument, is its answer
            ids = rng.choice(self._references).ids
            try:
                self.store.hand(ids, self.owner.process.number)
            except StoreFull:
                return Answer(attempt)
            return Answer(attempt, ids, handed=True)
        results = self.world.put(self.store, rng.choice((1, 1, 2)), holder=self.owner.process.number)
        return Answer(attempt) if results is None else Answer(attempt, results.ids)

    def _own(self) -> None:
        jobs, workers_max = self.world.rng.randint(1, 3), self.world.rng.choice((1, 2))
        Owner(self.world, self.process, self.store, jobs=jobs, workers_max=workers_max, depth=0).run()

    def _look_at_globals(self) -> None:
        rng = self.world.rng
        for ids, views in self._views:
            self.world.check_views(ids, views)
        if self._references and rng.random() < 0.5:
            held = rng.choice(self._references)
            self.world.map(self.store, held.ids, needed=always)
        if self._views and rng.random() < 0.3:
            self._views.pop(rng.randrange(len(self._views)))
        if self._references and rng.random() < 0.3:
            self._references.pop(rng.randrange(len(self._references)))


class Agent:
    """Mends the ledger after a death, tells the owner, in one order or the other, and gives pages back."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.process = Process(0, "agent")
        self.keeper = Keeper(world.memory.store(self.process), warm_bytes_max=0)  # it removes what it can
        self.living: set[int] = set()
        self._todo: list[tuple[int, Callable[[], None]]] = []  # from which step on, and what
        self._tick_step = 0

    @property
    def idle(self) -> bool:
        """Whether all deaths are dealt with."""
        return not self._todo

    def notice(self, worker: Worker) -> None:
        """A worker is dead: not at once, but sooner or later this is dealt with."""
        for action in (self._mend, self._tell, self._end_children):
            from_step = self.world.steps + self.world.rng.choice((0, 0, 0, 20, 80))
            self._todo.append((from_step, functools.partial(action, worker)))

    def run(self) -> None:
        """Until everything is over; then the account."""
        world = self.world
        while not world.is_over:
            world.pause(self.process, "watches", self._can_go_on)
            due = [item for item in self._todo if item[0] <= world.steps]
            if due and world.rng.random() < 0.7:
                item = world.rng.choice(due)
                item[1]()
                self._todo.remove(item)
            elif world.steps >= self._tick_step:
                self._tick_step = world.steps + world.rng.randint(5, 60)
                self.keeper.tick(())
        world.account()

    def _can_go_on(self) -> bool:
        return not self.idle or self.world.is_over or self.world.steps >= self._tick_step

    def _mend(self, worker: Worker) -> None:
        self.world.tell(f"the agent mends {worker.process.name}")
        self.living.discard(worker.number)
        self.keeper.mend(worker.number, self.living)

    def _tell(self, worker: Worker) -> None:
        if worker.owner.process.alive:
            worker.owner.deaths.append(worker)

    def _end_children(self, worker: Worker) -> None:
        for other in self.world.workers:
            if other.owner.process is worker.process:
                self.world.kill(other.process, "its owner is dead")
