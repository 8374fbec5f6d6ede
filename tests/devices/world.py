"""One run: a node whose processes export and import arrays of a device, under a seed.

::

    driver ── an array, exported ──► job ──► worker: imports it, exports a result ──► driver: imports that, passes it on
       │                                        └ killed at any pause, or after any write to the ledger
       └── at last: workers retire (and leave), everything is let go of ──► nothing is left, on the device either

The store, its ledger and its tickets are the real ones; the kernel is that of ``tests/store``. The device is a table of
copies. Each process has a second strand that looks at what it has exported. ``run(seed)`` raises a Violation:

    freed_under_a_reader    a copy goes while a living process has it mapped
    kept                    what somebody needs is gone, and its exporter was not killed, or it was on the host already
    answered                who wants the bytes on the host has them, or hears that they are gone
    contents, nothing_left, everything_ends, ...    as in ``tests/store``
"""

from __future__ import annotations

import itertools
import random
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from distpool.errors import DiskFull, StoreError, StoreFull
from distpool.scheduler.serialize.on_device import OnDevice
from distpool.scheduler.store import arrivals, tickets
from distpool.scheduler.store.arrivals import Arrival, framed
from distpool.scheduler.store.keeper import Keeper
from distpool.scheduler.store.ledger import DISK, DRIVER, MEMORY, Shape
from distpool.scheduler.store.store import Held, ObjectStore
from tests.simulation.loop import Violation
from tests.store.machine import BLOCK_BYTES, Memory
from tests.store.oracles import Oracles
from tests.store.schedule import Process, Schedule

TICKET_BYTES = 4
LAST_LOOKS = 4
STEPS_OF_A_MINUTE = 1500


@dataclass(eq=False)
class Copy:
    """``on_device.Exported``."""

    world: World
    process: Process
    name: int
    content: bytes
    room_bytes: int

    @property
    def ticket(self) -> bytes:
        return self.name.to_bytes(TICKET_BYTES, "little")

    @property
    def size(self) -> int:
        return len(self.content)

    def pieces(self) -> Iterator[memoryview]:
        self.world.pause(self.process, "copies to the host")
        yield memoryview(self.content)

    def refuse(self) -> None:
        self.world.refused.add(self.process)

    def __del__(self) -> None:
        self.world.freed(self)


@dataclass(eq=False)
class Array:
    """``on_device.Source``: an array of ``process``."""

    world: World
    process: Process
    content: bytes

    @property
    def place(self) -> int:
        return id(self)

    def export(self) -> Copy | None:
        world = self.world
        if self.process in world.refused or world.rng.random() < world.plan.no_export:
            return None
        copy = Copy(world, self.process, next(world.names), self.content, world.plan.room_bytes)
        world.device[copy.name] = self.content, self.process
        return copy

    def pieces(self) -> Iterator[memoryview]:
        yield memoryview(self.content)


@dataclass
class Plan:
    """One world."""

    blocks: tuple[int, int]
    jobs: int
    workers_max: int
    room_bytes: int
    no_export: float
    ways: tuple[str, ...]  # how arrays are read
    strike: float
    torn: float
    refuses: float  # chance, at each pause, that a tier has no space behind it, or has it again
    safety_steps: int = 6000


def draw(rng: random.Random) -> Plan:
    kills = rng.random() < 0.7
    return Plan(
        blocks=(rng.choice((5, 12, 30)), rng.choice((0, 8, 30))),
        jobs=rng.choice((2, 5, 10)),
        workers_max=rng.choice((1, 2, 3)),
        room_bytes=rng.choice((20, 60, 1000)),
        no_export=rng.choice((0.0, 0.0, 0.2)),
        ways=rng.choice((("device",), ("device", "host"), ("device", "host", "refused"))),
        strike=rng.choice((0.0, 0.005, 0.02)) if kills else 0.0,
        torn=rng.choice((0.0, 0.02, 0.05)) if kills else 0.0,
        refuses=rng.choice((0.0, 0.0, 0.05)),
    )


@dataclass(eq=False)
class Thing:
    """Objects that the driver holds, and whose array they were."""

    held: Any


@dataclass(eq=False)
class Job:
    ids: tuple[int, ...]
    keep: list[Any]
    retries: int


@dataclass(eq=False)
class Worker:
    """A worker process of the driver's."""

    process: Process
    store: ObjectStore
    inbox: deque[Job] = field(default_factory=deque)
    sent: deque[tuple[int, ...]] = field(default_factory=deque)
    job: Job | None = None
    retired: bool = False


class _ThreadLock:
    """A lock between the strands of one process."""

    def __init__(self, world: World, process: Process) -> None:
        self._world, self._process, self.is_held = world, process, False

    def __enter__(self) -> None:
        self._world.pause(self._process, "waits for its other thread", lambda: not self.is_held)
        self.is_held = True

    def __exit__(self, *_: object) -> None:
        self.is_held = False


class World:
    """One node."""

    def __init__(self, seed: int, trace: Callable[[str], None] | None = None) -> None:
        self.schedule = Schedule(seed)
        self.rng = self.schedule.rng
        self.plan = draw(self.rng)
        self.trace = trace
        self.quiet = False
        self.repairs = self.deaths = self.read_on_device = self.read_on_host = self.lost = 0
        self.names = itertools.count(1)
        self.device: dict[int, tuple[bytes, Process]] = {}  # copies: what they hold, whose they are
        self.mapped: dict[int, list[Process]] = {}
        self.refused: set[Process] = set()
        self.exporters: dict[int, Process] = {}  # of objects
        self.was_on_host: set[int] = set()
        self.killed: set[Process] = set()
        self.given_up: set[int] = set()  # by exporters that have ended, without room on the host
        self.memory = Memory(self, Shape(self.plan.blocks, BLOCK_BYTES, 64, 160))  # type: ignore[arg-type]
        self.oracles = Oracles(self.memory)
        self.oracles.ticket_bytes = len(framed(b"\0" * TICKET_BYTES))
        self.driver = Process(DRIVER, "driver")
        self.store = self._store(self.driver)
        self.agent = Process(0, "agent")
        self.keeper = Keeper(self.memory.store(self.agent), warm_bytes_max=0)
        self.workers: list[Worker] = []
        self.all: list[Worker] = []
        self.unmended: list[Worker] = []
        self.mended: deque[Worker] = deque()
        self.things: list[Thing] = []
        self.to_make = self.plan.jobs
        self.queue: deque[Job] = deque()
        self.reads = False
        self.is_over = False

    def run(self) -> None:
        try:
            with self._clock():
                self.schedule.start(self.agent, self._watch)
                self.schedule.start(self.driver, self._drive)
                self.schedule.start(self.driver, self._read_on)
                self.schedule.start(self.driver, lambda: self._look(self.driver, self.store))
                self.schedule.run()
        finally:
            self.quiet = True
            self.memory.close()

    @contextmanager
    def _clock(self) -> Iterator[None]:
        """Whoever sleeps lets others go on; a minute, after which an exporter is given up, has so many steps."""
        clock = SimpleNamespace(
            monotonic=lambda: self.steps * arrivals.BRING_S / STEPS_OF_A_MINUTE,
            sleep=lambda _: self.schedule.pause("sleeps"),
        )
        before = tickets.time, arrivals.time
        tickets.time = arrivals.time = clock  # type: ignore[assignment]
        try:
            yield
        finally:
            tickets.time, arrivals.time = before

    def _store(self, process: Process) -> ObjectStore:
        store = self.memory.store(process)
        their: Any = store._tickets
        their._wake = lambda: None  # a strand looks
        their._looking = _ThreadLock(self, process)
        ledger: Any = store.ledger
        give_up = ledger.give_up

        def noted(number: int) -> bool:
            if has_gone := give_up(number):
                self.given_up.add(number)
            return bool(has_gone)

        ledger.give_up = noted
        return store

    # ------------------------------------------------------------------ asked by the machine

    @property
    def steps(self) -> int:
        return self.schedule.steps

    def tell(self, text: str) -> None:
        if self.trace is not None:
            self.trace(f"{self.steps:6}  {text}")

    def pause(self, process: Process, what: str, until: Callable[[], bool] | None = None) -> None:
        if self.steps > self.plan.safety_steps:
            self.quiet = True
            self.memory.refuses = [False, False]
        if not self.quiet and self.rng.random() < self.plan.refuses:
            self.memory.refuses[self.rng.choice((MEMORY, DISK))] ^= True
        if self._may_die(process) and self.rng.random() < self.plan.strike:
            self.died(process, f"SIGKILL when it {what}")
        self.tell(f"{process.name} {what}")
        self.schedule.pause(what, until)

    def _may_die(self, process: Process) -> bool:
        return not self.quiet and process.alive and 0 < process.number < DRIVER

    def writes_to_live(self, process: Process) -> int | None:
        if not self._may_die(process) or self.rng.random() >= self.plan.torn:
            return None
        return self.rng.randrange(self.rng.choice((5, 20)))

    def writes_to_views(self) -> bool:
        return False

    def died(self, process: Process, how: str) -> None:
        if process.alive:
            self.tell(f"!! {process.name} is gone: {how}")
            process.alive = False
            if how != "exits":
                self.killed.add(process)
            self.deaths += 1
            self.unmended.append(next(worker for worker in self.all if worker.process is process))

    # -------------------------------------------------------------------------- the device

    def freed(self, copy: Copy) -> None:
        content = self.device.pop(copy.name, None)
        readers = [reader for reader in self.mapped.get(copy.name, ()) if reader.alive]
        if content is not None and copy.process.alive and readers and not self.quiet_end:
            self.schedule._fail(
                Violation("freed_under_a_reader", f"{readers[0].name} reads what {copy.process.name} frees")
            )

    @property
    def quiet_end(self) -> bool:
        return self.schedule.violation is not None

    def put(self, process: Process, store: ObjectStore, holder: int = 0) -> Held | None:
        """Export a new array; None if there was no room."""
        content = b"%d," % next(self.names) * 20
        content = content[: self.rng.choice((1, 17, 40))]
        array = Array(self, process, content)
        try:
            held = store.put([OnDevice(array, len(content))], holder=holder, label="test")
        except (StoreFull, DiskFull):
            return None
        (number,) = held.ids
        self.oracles.contents[number] = content
        self.exporters[number] = process
        return held

    def read(self, process: Process, store: ObjectStore, number: int) -> None:
        """Import an array that somebody holds for this."""
        if process.number == DRIVER or self.rng.random() < 0.8:
            self._note_host(number)
        try:
            (view,) = store.map([number])
            content = self._content(process, view, number) if isinstance(view, Arrival) else bytes(view)
        except StoreFull:
            return
        except StoreError as error:
            self._check_lost(number, error)
            return
        if content != self.oracles.contents[number]:
            raise Violation("contents", f"{process.name} has read something else of object {number:#x}")

    def _check_lost(self, number: int, error: StoreError) -> None:
        self.lost += 1
        if "does not hand it on" in str(error):
            raise Violation("answered", f"who waits for object {number:#x} has waited for too long")
        is_excused = self.exporters[number] in self.killed and number not in self.was_on_host
        if not is_excused and number not in self.given_up:
            raise Violation("kept", f"what somebody needs is gone: {error}") from error

    def _note_host(self, number: int) -> None:
        ledger = self.memory.ledger
        if ledger.exists(number) and not ledger.is_on_device(number):
            self.was_on_host.add(number)

    def _content(self, process: Process, view: Arrival, number: int) -> bytes:
        way = self.rng.choice(self.plan.ways)
        content = None
        if way == "device" or view.own is not None:
            content = view.own.content if isinstance(view.own, Copy) else self._read_device(process, view)
        if content is None:
            content = bytes(view.host(refused=way == "refused"))
            self.was_on_host.add(number)
            self.read_on_host += 1
        view.close()
        return content

    def _read_device(self, process: Process, view: Arrival) -> bytes | None:
        with view.reading() as ticket:
            name = int.from_bytes(ticket, "little")
            content, exporter = self.device.get(name, (b"", None))
            if not ticket or exporter is None or not exporter.alive:
                return None  # it is on the host, or cannot be opened
            readers = self.mapped.setdefault(name, [])
            readers.append(process)
            for _ in range(self.rng.choice((0, 2, 20))):
                self.pause(process, "reads the device")
            readers.remove(process)
            self.read_on_device += 1
            return content if view.is_there() else None

    def _look(self, process: Process, store: ObjectStore) -> None:
        """The second thread of a process."""
        while not self.is_over:
            self.pause(process, "will look", lambda: bool(store._tickets) or self.is_over)
            store._tickets.look()

    # ---------------------------------------------------------------------------- the agent

    def _watch(self) -> None:
        while not self.is_over:
            self.pause(self.agent, "watches", lambda: bool(self.unmended) or self.is_over)
            if self.unmended and self.rng.random() < 0.3:
                worker = self.unmended.pop(0)
                self.keeper.mend(
                    worker.process.number, [w.process.number for w in self.all if w.process.alive]
                )
                self.mended.append(worker)
        looking: Any = self.store._tickets
        self.pause(self.agent, "waits for the driver's thread", lambda: not looking._looking.is_held)
        self._account()

    def _account(self) -> None:
        self.store.drain()
        self.store._tickets.look()
        for _ in range(LAST_LOOKS):
            self.keeper.tick(())
        self.oracles.end()
        left = [name for name, (_, process) in self.device.items() if process.alive]
        if left:
            raise Violation("nothing_left", f"{len(left)} copies on the device that nobody needs")

    # ---------------------------------------------------------------------------- workers

    def _spawn(self) -> None:
        process = Process(len(self.all) + 1, f"w{len(self.all) + 1}")
        worker = Worker(process, self._store(process))
        self.workers.append(worker)
        self.all.append(worker)
        self.schedule.start(process, lambda: self._work(worker))
        self.schedule.start(process, lambda: self._look(process, worker.store))

    def _work(self, worker: Worker) -> None:
        process, store = worker.process, worker.store
        while True:
            self.pause(process, "waits for work", lambda: bool(worker.inbox) or worker.retired)
            if not worker.inbox:
                break
            job = worker.inbox.popleft()
            for number in job.ids:
                self.read(process, store, number)
            made = self.put(process, store, DRIVER) if self.rng.random() < 0.8 else None
            worker.sent.append(() if made is None else made.ids)
            self.pause(process, "has answered")
        store.leave()
        self.died(process, "exits")

    # ---------------------------------------------------------------------------- the driver

    def _drive(self) -> None:
        while self.to_make or self.queue or self.workers or self.things:
            self.pause(self.driver, "owns", lambda: bool(self._possible()))
            self.rng.choice(self._possible())()
        self.pause(self.driver, "waits for its reader", lambda: not self.reads)
        self.store.drain()
        self.is_over = True

    def _read_on(self) -> None:
        """Another thread of the program's, which reads what there is."""
        while not self.is_over:
            self.pause(self.driver, "may read", lambda: bool(self.things) or self.is_over)
            if self.things:
                self.reads = True
                thing = self.rng.choice(self.things)
                for number in thing.held.ids:
                    self.read(self.driver, self.store, number)
                del thing
                self.reads = False

    def _possible(self) -> list[Callable[[], None]]:
        idle = [worker for worker in self.workers if worker.job is None and not worker.retired]
        found: list[Callable[[], None]] = []
        if self.to_make:
            found.append(self._make)
        if self.queue and idle:
            found += [self._offer] * 2
        if self.queue and len(self.workers) < self.plan.workers_max:
            found.append(self._spawn)
        if idle and (not (self.queue or self.to_make) or self.rng.random() < 0.1):
            found.append(self._retire)
        if any(worker.sent for worker in self.workers):
            found += [self._answered] * 2
        if self.mended:
            found.append(self._mourn)
        if self.things:
            found.append(self._use)
        return found

    def _make(self) -> None:
        self.to_make -= 1
        keep: list[Any] = []
        if self.things and self.rng.random() < 0.7:
            keep.append(self.rng.choice(self.things).held)
        elif (held := self.put(self.driver, self.store)) is not None:
            keep.append(held)
        self.queue.append(Job(tuple(number for held in keep for number in held.ids), keep, 1))

    def _offer(self) -> None:
        idle = [worker for worker in self.workers if worker.job is None and not worker.retired]
        worker = self.rng.choice(idle)
        worker.job = self.queue.popleft()
        worker.inbox.append(worker.job)

    def _retire(self) -> None:
        next(worker for worker in self.workers if worker.job is None and not worker.retired).retired = True

    def _answered(self) -> None:
        self._read_answer(self.rng.choice([worker for worker in self.workers if worker.sent]))

    def _read_answer(self, worker: Worker) -> None:
        ids = worker.sent.popleft()
        if worker.job is not None:
            worker.job.keep.clear()
        worker.job = None
        if ids:
            try:
                self.things.append(Thing(self.store.claim(ids, worker.process.number)))
            except StoreError as error:
                self._check_lost(ids[0], error)

    def _mourn(self) -> None:
        worker = self.mended.popleft()
        while worker.sent:
            self._read_answer(worker)
        self.store.forget_transit(worker.process.number)
        self.workers.remove(worker)
        job, worker.job = worker.job, None
        if job is not None and job.retries:
            job.retries -= 1
            self.queue.appendleft(job)
        elif job is not None:
            job.keep.clear()

    def _use(self) -> None:
        thing = self.rng.choice(self.things)
        if self.rng.random() < 0.5:
            for number in thing.held.ids:
                self.read(self.driver, self.store, number)
        if self.rng.random() < 0.5 and thing in self.things:
            self.things.remove(thing)


def run(seed: int, trace: Callable[[str], None] | None = None) -> World:
    """One world. Raises Violation."""
    world = World(seed, trace)
    world.run()
    return world


assert BLOCK_BYTES[MEMORY] >= len(framed(b"\0" * TICKET_BYTES))
