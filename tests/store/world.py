"""One run: a node under a seed, a safety phase in which processes are killed, a liveness phase in which all must end.

::

    build ──► safety phase (kills, full disks) ──► quiet ──► every job over, every worker gone, everything let go of
                                                     ──► pages given back ──► nothing is left, all room is there

``run(seed)`` raises a Violation that names the oracle that was hurt.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from distpool.errors import DiskFull, StoreError, StoreFull
from distpool.scheduler.store.ledger import DISK, DRIVER, MEMORY, Shape
from distpool.scheduler.store.store import Held, ObjectStore
from tests.simulation.loop import Violation

from .machine import BLOCK_BYTES, Memory
from .oracles import Oracles
from .owners import Owner, Putter
from .schedule import Process, Schedule
from .workers import Agent, Worker

#: A tick gives back what was warm at the tick before, so a few clear everything.
LAST_TICKS = 4


@dataclass
class Plan:
    """One world."""

    blocks: tuple[int, int]
    objects_max: int
    holds_max: int
    size_bytes_max: int
    jobs: int
    workers_max: int
    nested: float  # the share of jobs that submit jobs
    putters: int
    strike: float  # chance of a SIGKILL at each pause
    torn: float  # chance, at each change, to die after some write in it
    cancels: float
    writes: float  # the share of readers that write to what they see
    refuses: float  # chance, at each pause, that a tier has no space behind it, or has it again
    safety_steps: int


def draw(rng: random.Random) -> Plan:
    """The plan of a world under this chance: one in four is calm."""
    kills = rng.random() < 0.75
    tight = rng.random() < 0.1  # the ledger itself is full at times
    memory = rng.choice((6, 10, 20))
    return Plan(
        blocks=(memory, rng.choice((0, 6, 16, 40))),
        objects_max=8 if tight else 64,
        holds_max=12 if tight else 160,
        size_bytes_max=rng.choice((16, 40, 80)),
        jobs=rng.choice((2, 5, 10, 20)),
        workers_max=rng.choice((1, 2, 3)),
        nested=rng.choice((0.0, 0.3, 0.8)),
        putters=rng.choice((0, 0, 1, 2)),
        strike=rng.choice((0.0, 0.002, 0.01, 0.03)) if kills else 0.0,
        torn=rng.choice((0.0, 0.02, 0.1)) if kills else 0.0,
        cancels=rng.choice((0.0, 0.02)),
        writes=rng.choice((0.0, 0.3)),
        refuses=rng.choice((0.0, 0.0, 0.01)),
        safety_steps=rng.randint(200, 4000),
    )


class World:
    """One node: a driver, an agent, workers."""

    def __init__(
        self, seed: int, trace: Callable[[str], None] | None = None, plan: Plan | None = None
    ) -> None:
        self.schedule = Schedule(seed)
        self.rng = self.schedule.rng
        self.plan = plan or draw(self.rng)
        self.trace = trace
        self.quiet = False
        self.repairs = self.deaths = self.full = 0
        self.memory = Memory(
            self, Shape(self.plan.blocks, BLOCK_BYTES, self.plan.objects_max, self.plan.holds_max)
        )
        self.oracles = Oracles(self.memory)
        self.workers: list[Worker] = []
        self.agent = Agent(self)
        self.driver = Process(DRIVER, "driver")
        store = self.memory.store(self.driver)
        self.owner = Owner(
            self, self.driver, store, jobs=self.plan.jobs, workers_max=self.plan.workers_max, depth=1
        )
        self.owner_is_over = False
        self.putters = [
            Putter(self, self.driver, store, self.rng.randint(3, 12)) for _ in range(self.plan.putters)
        ]
        self._attempts = self._puts = 0

    def run(self) -> None:
        """Everything, from the first put to the last account."""
        try:
            self.schedule.start(self.agent.process, self.agent.run)
            self.schedule.start(self.driver, self._drive)
            for putter in self.putters:
                self.schedule.start(self.driver, putter.run)
            self.schedule.run()
        finally:
            self.memory.close()

    def _drive(self) -> None:
        self.owner.run()
        self.owner_is_over = True

    # ------------------------------------------------------------------------- asked by everybody

    @property
    def steps(self) -> int:
        return self.schedule.steps

    @property
    def is_over(self) -> bool:
        """Whether nobody but the agent has anything left to do."""
        return (
            self.owner_is_over
            and all(putter.over for putter in self.putters)
            and not any(worker.process.alive for worker in self.workers)
            and self.agent.idle
        )

    def tell(self, text: str) -> None:
        if self.trace is not None:
            self.trace(f"{self.steps:6}  {text}")

    def next_attempt(self) -> int:
        self._attempts += 1
        return self._attempts

    @property
    def may_cancel(self) -> bool:
        return not self.quiet and self.plan.cancels > 0

    # ------------------------------------------------------------------------------ life and death

    def pause(self, process: Process, what: str, until: Callable[[], bool] | None = None) -> None:
        """Let others go on; perhaps for ever."""
        if not self.quiet:
            if self.steps > self.plan.safety_steps:
                self._be_quiet()
            elif self.rng.random() < self.plan.refuses:
                self.memory.refuses[self.rng.choice((MEMORY, DISK))] ^= True
            often = 5 if what == "owns" else 1  # what an owner's death leaves behind is the hardest
            if self._is_mortal(process) and process.alive and self.rng.random() < self.plan.strike * often:
                self.kill(process, f"when it {what}")
        self.tell(f"{process.name} {what}")
        self.schedule.pause(what, until)

    def writes_to_live(self, process: Process) -> int | None:
        """How many writes of the change that begins this process lives to do; None: all."""
        if self.quiet or not self._is_mortal(process) or self.rng.random() >= self.plan.torn:
            return None
        return self.rng.randrange(self.rng.choice((5, 20)))

    def writes_to_views(self) -> bool:
        """Whether the reader of a new view writes to it."""
        return self.rng.random() < self.plan.writes

    @staticmethod
    def _is_mortal(process: Process) -> bool:
        return 0 < process.number < DRIVER

    def _be_quiet(self) -> None:
        self.tell("faults stop")
        self.quiet = True
        self.memory.refuses = [False, False]

    def spawn(self, owner: Owner) -> Worker:
        worker = Worker(self, owner, len(self.workers) + 1)
        self.workers.append(worker)
        self.agent.living.add(worker.number)
        self.tell(f"{worker.process.name} starts for {owner.process.name}")
        self.schedule.start(worker.process, worker.run)
        return worker

    def kill(self, process: Process, why: str) -> None:
        """SIGKILL: what it has sent last may be lost with it."""
        if process.alive:
            self.died(process, f"SIGKILL {why}")
            worker = self.workers[process.number - 1]
            for _ in range(self.rng.randint(0, len(worker.sent))):
                worker.sent.pop()

    def died(self, process: Process, how: str) -> None:
        """A worker is no more."""
        if process.alive:
            self.tell(f"!! {process.name} is gone: {how}")
            self.deaths += 1
            process.alive = False
            self.agent.notice(self.workers[process.number - 1])

    # -------------------------------------------------------------------------- what programs do

    def put(self, store: ObjectStore, count: int, holder: int = 0) -> Held | None:
        """Put new objects, each with a content of its own; None if there was no room."""
        contents = [self._new_content() for _ in range(count)]
        halves = [(content[: len(content) // 2], content[len(content) // 2 :]) for content in contents]
        try:
            held = store.put(halves, holder=holder, label="test")
        except (StoreFull, DiskFull):
            self.full += 1
            return None
        self.oracles.contents.update(zip(held.ids, contents, strict=True))
        return held

    def _new_content(self) -> bytes:
        self._puts += 1
        size = self.rng.randint(1, self.plan.size_bytes_max)
        return (b"%d," % self._puts * size)[:size]

    def map(self, store: ObjectStore, ids: Sequence[int], *, needed: Callable[[], bool]) -> list[memoryview]:
        """Map what the caller holds, or somebody for it while ``needed()``; nothing if the ledger has no more room."""
        try:
            views = store.map(ids)
        except StoreError as error:
            self._check_gone(error, needed)
            return []
        self.check_views(ids, views)
        return views

    def hold(self, store: ObjectStore, ids: Sequence[int], *, needed: Callable[[], bool]) -> Held | None:
        """A reference of the caller's own to what somebody holds for it while ``needed()``."""
        try:
            return store.hold(ids)
        except StoreError as error:
            self._check_gone(error, needed)
            return None

    def _check_gone(self, error: StoreError, needed: Callable[[], bool]) -> None:
        if isinstance(error, StoreFull):
            self.full += 1
        elif needed():
            raise Violation("kept", f"what somebody needs is gone: {error}") from error

    def check_views(self, ids: Sequence[int], views: Sequence[memoryview]) -> None:
        for number, view in zip(ids, views, strict=False):
            self.oracles.same(number, view)

    def account(self) -> None:
        """Nothing is left, and so there is room for as much as ever."""
        self._be_quiet()
        self.owner.store.drain()
        for _ in range(LAST_TICKS):
            self.agent.keeper.tick(())
        self.oracles.end()
        size = self.plan.blocks[MEMORY] * BLOCK_BYTES[MEMORY]
        store = self.owner.store
        try:
            held = store.put([[b"x" * size]], label="all")
        except StoreError as error:
            raise Violation("all_room_again", str(error)) from error
        if store.ledger.locate(held.ids[0]).tier != MEMORY:
            raise Violation("all_room_again", "an object as large as the memory does not fit into it")


def run(seed: int, trace: Callable[[str], None] | None = None) -> World:
    """One world. Raises Violation."""
    world = World(seed, trace)
    world.run()
    return world
