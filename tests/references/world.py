"""A few processes that call each other, pass references on in every way there is, keep them, forget them, and die.

::

    seed ─► what next? ─┬─ a process does one of its steps, or delivers
                        ├─ a frame arrives: each link keeps its order, two links do not
                        ├─ a program goes on: puts, calls, looks at a value, keeps or drops a reference, answers
                        └─ a process dies (what it sent last is lost), or leaves when it owes nothing (it is not)

Then nobody dies any more, every call answers, and everything must come to rest: ``Violation`` says what did not.
What may be lost is little: an object is, only if one that had its reference died, or the call that made it failed. (Or
if somebody has got its value, and let it go before the answer arrives that names it as pending, and nobody else has it
any more: that cannot be told from the value of another answer. It is so rare that only the soak ``excuses`` it.)
"""

from __future__ import annotations

import gc
import heapq
import random
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from distpool import worker_hooks
from distpool.scheduler.remote import following, refs
from tests.simulation.loop import Violation

from . import process as process_module
from .process import Process
from .program import Program
from .store import Ledger

STEPS = 600
SETTLING_STEPS_MAX = 60_000
PROCESSES = 4
PROCESSES_MAX = 8

Name = tuple[str, int]
Frame = Callable[[Process], None]


class World:
    """Everything that happens under one seed."""

    def __init__(
        self, seed: int, trace: Callable[[str], None] | None = None, *, excuses: bool = False
    ) -> None:
        self.excuses = excuses  # whether what is lost by being ``forgotten`` is only counted
        self.rng = random.Random(seed)
        self.trace = trace or (lambda _line: None)
        self.now_s = 0.0
        self.ledger = Ledger()
        self.processes: dict[str, Process] = {}
        self.made = 0
        #: What is on its way: between owners, and of calls and their answers. (sender, receiver, which) -> frames
        self.links: dict[tuple[str, str, str], deque[Frame]] = {}
        self.timers: list[tuple[float, int, Process, Callable[[], None]]] = []
        self.count = 0
        self.crashed: set[str] = set()
        self.had: dict[Name, set[str]] = {}  # who has ever had a reference to this object
        self.forgotten: set[Name] = set()  # some process had a reference to it, dropped it, and got another
        self.deadly = self.rng.random() < 0.4
        self.slow = self.rng.choice(("", "owners", "calls"))  # which links are slower than the others
        self.settling = False
        self.program = Program(self)
        for _ in range(PROCESSES):
            self.start()

    def note(self, name: Name, process: str) -> None:
        """A reference arrives in a process that has none, or has forgotten it."""
        had = self.had.setdefault(name, set())
        if process in had or name[0] == f"base-{process}":
            self.forgotten.add(name)
        had.add(process)

    def start(self) -> Process:
        self.made += 1
        name = f"p{self.made}"
        started = self.processes[name] = Process(self, name, self.made + 10)
        return started

    def living(self) -> list[Process]:
        return [process for process in self.processes.values() if process.alive]

    # -------------------------------------------------------------------------------------- links

    def send(self, sender: str, receiver: str, frame: bytes, which: str = "owners") -> None:
        told = self.processes[sender]
        self.put_on(sender, receiver, which, lambda process: process.hear(told, frame))

    def put_on(self, sender: str, receiver: str, which: str, frame: Frame) -> None:
        if self.processes[receiver].alive:
            self.links.setdefault((sender, receiver, which), deque()).append(frame)

    def dialled(self, by: Process, name: str) -> None:
        if not self.processes[name].alive:
            self._lose(name, by)

    def _lose(self, name: str, loser: Process) -> None:
        index = self.processes[name].index

        def lose(process: Process) -> None:
            self._read_calls(name, process)  # what it had answered comes first
            process.lose(name, index)

        self.put_on(name, loser.name, "owners", lose)

    def _read_calls(self, sender: str, receiver: Process) -> None:
        frames = self.links.get((sender, receiver.name, "calls"), deque())
        while frames:
            frames.popleft()(receiver)

    def _arrive(self, key: tuple[str, str, str]) -> None:
        frame = self.links[key].popleft()
        receiver = self.processes[key[1]]
        if receiver.alive:
            with receiver.active():
                frame(receiver)

    # ------------------------------------------------------------------------------------- deaths

    def end(self, process: Process, *, crash: bool) -> None:
        """It dies, or leaves: then all that it has said arrives."""
        self.trace(f"{process.name} {'dies' if crash else 'leaves'}")
        name = process.name
        if crash:
            self.crashed.add(name)
        process.die()
        for (sender, receiver, _), frames in self.links.items():
            if receiver == name:
                frames.clear()
            elif sender == name and crash:
                for _ in range(self.rng.randint(0, len(frames))):
                    frames.pop()
        for other in self.living():
            if name in other.dialled:
                self._lose(name, other)
            self.put_on(name, other.name, "calls", lambda process: self.program.lose(process, name))
        gc.collect(0)

    # ------------------------------------------------------------------------------------- running

    def call_later(self, delay_s: float, process: Process, what: Callable[[], None]) -> None:
        self.count += 1
        heapq.heappush(self.timers, (self.now_s + delay_s, self.count, process, what))

    def next(self) -> bool:
        """Let something happen. False: there is nothing that could."""
        rng = self.rng
        frames = [key for key, frames in self.links.items() if frames]
        if self.slow and rng.random() < 0.9:
            frames = [key for key in frames if key[2] != self.slow]
        busy = [process for process in self.living() if process.is_busy]
        kinds = [*("frame",) * bool(frames), *("step",) * 2 * bool(busy)]
        if not self.settling or self.program.can_go_on():
            kinds.append("program")
        if not kinds:
            return any(self.links.values()) or self._pass_time()
        kind = rng.choice(kinds)
        if kind == "frame":
            self._arrive(rng.choice(frames))
        elif kind == "step":
            rng.choice(busy).step()
        else:
            self.program.go_on(rng.choice(self.living()))
        return True

    def _pass_time(self) -> bool:
        if not self.timers:
            return False
        self.now_s, _, process, what = heapq.heappop(self.timers)
        if process.alive:
            what()
        return True

    def perhaps_end_somebody(self) -> None:
        living = self.living()
        chance = self.rng.random()
        if chance < 0.05:
            process = self.rng.choice(living[1:] or living)
            if len(living) > 1 and self.program.may_leave(process):
                self.end(process, crash=False)
        elif chance < 0.06 and self.deadly and len(living) > 1:
            self.end(self.rng.choice(living[1:]), crash=True)
        if len(self.living()) < PROCESSES and self.made < PROCESSES_MAX:
            self.start()

    def settle(self) -> None:
        """Everything that can happen does."""
        self.settling = True
        for _ in range(SETTLING_STEPS_MAX):
            if not self.next():
                return
        raise Violation("comes_to_rest", "messages go round and round")


def run(seed: int, trace: Callable[[str], None] | None = None, *, excuses: bool = False) -> World:
    """One world. Raises Violation."""
    world = None
    try:
        with _in_place(lambda: world):
            world = World(seed, trace, excuses=excuses)
            for _ in range(STEPS):
                world.next()
                world.perhaps_end_somebody()
            world.settle()
            _check_rest(world)
            return world
    except Violation:
        raise
    except Exception as error:
        raise Violation("no_exception", f"seed {seed}: {error!r}") from error


def _check_rest(world: World) -> None:
    for process in world.living():
        with process.active():
            if process.calls:
                raise Violation("answers_end", f"{process.name} has not answered {process.calls[0]}")
            world.program.check_values(process)
            _check_nothing_left(process)
            process.variables.clear()
    world.settle()
    gc.collect()
    world.settle()
    for process in world.living():
        for table in (process.exported, process.borrowed):
            if len(table):
                raise Violation("no_references_left", f"{process.name} has {list(table)[:5]}")
    if world.ledger.objects:
        raise Violation("no_holds_left", f"{world.ledger.objects}")


def _check_nothing_left(process: Process) -> None:
    mine: Any = process.following
    left = {
        "asked": mine._asked,
        "handed over": mine._handed,
        "safe": mine._safes,
        "early": mine._early,
        "waiting": mine._serving._waiting,
    }
    for what, there in left.items():
        if there:
            raise Violation("nothing_left", f"{process.name}: {what}: {there}")


@contextmanager
def _in_place(world: Callable[[], World | None]) -> Iterator[None]:
    """The real modules, with this world's clock and processes."""
    original: dict[str, Any] = {
        name: getattr(refs, name) for name in ("_make", "_own_contact", "on_arrival", "on_return")
    }
    clock, unsafe = following.time, worker_hooks.unsafe

    def make(base: str | None, number: int) -> Any:
        assert process_module.active is not None
        there = world()
        if there is not None:
            there.note((base or refs.base(), number), process_module.active.name)
        return original["_make"](base, number)

    def here() -> Process:
        assert process_module.active is not None
        return process_module.active

    refs._make = make
    refs._own_contact = lambda: here().contact
    refs.on_arrival = [lambda ref, expected, via: here().following.follow(ref, expected, via)]
    refs.on_return = [lambda ref: here().following.came_back(ref)]
    following.time = SimpleNamespace(monotonic=lambda: there.now_s if (there := world()) else 0.0)  # type: ignore[assignment]
    collects = gc.isenabled()
    gc.disable()  # a cycle goes at its end, and not at an instant that no seed tells
    try:
        yield
    finally:
        if collects:
            gc.enable()
        for name, value in original.items():
            setattr(refs, name, value)
        following.time, worker_hooks.unsafe = clock, unsafe
