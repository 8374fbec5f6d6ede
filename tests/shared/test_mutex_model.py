"""The mutex's steps in all orders: processes that are preempted, and die, between any two accesses to shared memory.

The code under test is ``Mutex`` itself. Its memory, its semaphores, its record lock, the clock and who is dead are
simulated; each access to them hands control to a scheduler, which goes on with whom its plan says::

    plan {7: 1, 19: DIE}     at the 7th access process 1 goes on; at the 19th whoever runs dies; else none stops

Nobody who lives may be inside with another, and all who live get in.
"""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from distpool.scheduler.shared import mutex
from distpool.scheduler.shared.mutex import Mutex
from tests.simulation.seeds import SOAK

DIE = -1
STEPS_MAX = 600  # a run takes some 60; who still waits after these waits for ever
Plan = dict[int, int]


class Dead(BaseException):
    """Unwinds the thread of a process that died; no access has an effect any more."""


class World:
    """Shared memory, and processes (threads, of which one runs at a time)."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.words = [0] * 8
        self.words[0] = 99  # the last holder: free again, and dead
        self.values = [1] + [0] * (mutex.GENERATIONS - 1)
        self.steps = 0
        self.deaths = 0
        self.waits = 0
        self.current = 0
        self.dead: set[int] = set()
        self.done: set[int] = set()
        self.inside: list[int] = []
        self.mender: int | None = None
        self.failures: list[str] = []
        self.turns: list[threading.Semaphore] = []
        self.over = threading.Event()

    # Who is running calls these.

    def step(self, gives_way: bool = False) -> None:
        """Before an access: perhaps somebody else goes on first, or this one dies."""
        me = self.current
        if me in self.dead:
            raise Dead
        self.steps += 1
        if self.steps > STEPS_MAX:
            self.failures.append(f"process {me} waits for ever")
            self.dead.update(range(len(self.turns)))
            raise Dead
        action = self.plan.get(self.steps)
        if action == DIE:
            self.deaths += 1
            self.die(me)
            raise Dead
        if action is not None and action != me and self._can_run(action):
            self._switch(me, action)
        elif gives_way:
            self.waits += 1
            others = [other for other in self._after(me) if self._can_run(other)]
            if self.waits >= 2 and others:  # the first time it looks around while nobody else goes on
                self._switch(me, others[0])

    def die(self, me: int) -> None:
        self.dead.add(me)
        if me in self.inside:
            self.inside.remove(me)
        if self.mender == me:
            self.mender = None  # the kernel lets go

    def _after(self, me: int) -> list[int]:
        count = len(self.turns)
        return [(me + n) % count for n in range(1, count)]

    def _can_run(self, process: int) -> bool:
        return process not in self.done

    def _switch(self, me: int, other: int) -> None:
        self.waits = 0
        self.current = other
        self.turns[other].release()
        self.turns[me].acquire()
        if me in self.dead:
            raise Dead

    def end(self, me: int) -> None:
        """The process has done what it was to do, or is dead."""
        self.done.add(me)
        for other in self._after(me):
            if self._can_run(other):
                self.waits = 0
                self.current = other
                self.turns[other].release()
                return
        self.over.set()

    def word(self, process: int) -> int:
        return 1 + process

    def is_dead(self, word: int) -> bool:
        self.step()
        return word in (0, 99) or word - 1 in self.dead


class Words:
    """The words of the mutex, as a process sees them."""

    def __init__(self, world: World) -> None:
        self._world = world

    def __getitem__(self, index: int) -> int:
        self._world.step()
        return self._world.words[index]

    def __setitem__(self, index: int, value: int) -> None:
        self._world.step()
        self._world.words[index] = value


class Holder:
    def __init__(self, world: World, index: int) -> None:
        object.__setattr__(self, "at", (world, index))

    def __setattr__(self, name: str, value: int) -> None:
        world, index = self.at  # type: ignore[attr-defined]
        world.step()
        world.words[index] = value


class Semaphore:
    """A process's handle on one, of the kind whose holder is not let in again."""

    def __init__(self, world: World, index: int) -> None:
        self._world, self._index, self._has = world, index, 0

    def acquire(self, block: bool = True, slice_s: float = 0.0) -> bool:
        self._world.step(gives_way=block)
        if self._world.values[self._index]:
            self._world.values[self._index] = 0
            self._has += 1
            return True
        return False

    def release(self) -> None:
        self._world.step()
        self._world.values[self._index] += 1
        self._has = 0
        if self._world.values[self._index] > 1:
            self._world.failures.append("a semaphore was released twice")

    def _is_zero(self) -> bool:
        self._world.step()
        return not self._world.values[self._index]

    def _count(self) -> int:
        self._world.step()
        return self._has

    def _is_mine(self) -> bool:
        self._world.step()
        return self._has > 0

    def _after_fork(self) -> None:
        self._has = 0


class ModelMutex(Mutex):
    """The record lock is simulated."""

    world: World

    @contextmanager
    def _mending(self) -> Iterator[None]:
        world = self.world
        while True:
            world.step(gives_way=world.mender is not None)
            if world.mender is None:
                break
        me = world.mender = world.current
        try:
            yield
        finally:
            if me not in world.dead:
                world.step()
                world.mender = None


def run(monkeypatch: pytest.MonkeyPatch, plan: Plan, processes: int, kind: type[ModelMutex]) -> World:
    world = World(plan)

    class Identity:
        NOBODY = 0
        is_dead = staticmethod(world.is_dead)
        me = property(lambda self: world.word(world.current))

    with monkeypatch.context() as patch:
        patch.setattr(mutex, "identity", Identity())
        patch.setattr(mutex, "_address", lambda place, index: index)
        handles = SimpleNamespace(handle=lambda slot, *_: Semaphore(world, slot), SEMAPHORE=1, RECURSIVE=0)
        patch.setattr(mutex, "semaphores", handles)
        cells = SimpleNamespace(from_address=lambda address: Holder(world, address // 8))
        patch.setattr(mutex, "ctypes", SimpleNamespace(c_uint64=cells))
        clock = SimpleNamespace(monotonic=itertools.count(1).__next__, sleep=lambda _: world.step())
        patch.setattr(mutex, "time", clock)
        patch.setattr(mutex, "_SETTLINGS", 1)  # a mender waits for nobody here, who lives or not
        place: Any = SimpleNamespace(words=Words(world), address=0)
        threads = []
        for number in range(processes):
            world.turns.append(threading.Semaphore(0))
            work = (world, number, lambda: kind(place, 1))
            threads.append(threading.Thread(target=_process, args=work, daemon=True))
        for thread in threads:
            thread.start()
        world.turns[0].release()
        assert world.over.wait(30)
        for thread in threads:
            thread.join(30)
    return world


def _process(world: World, me: int, make: Callable[[], ModelMutex]) -> None:
    world.turns[me].acquire()
    try:
        handle = make()
        handle.world = world
        assert handle.acquire()
        world.inside.append(me)
        world.step()
        if len(world.inside) > 1:
            world.failures.append(f"processes {world.inside} are inside together")
        world.step()
        world.inside.remove(me)
        handle.release()
    except Dead:
        world.die(me)
    except BaseException as error:
        world.failures.append(repr(error))
    world.end(me)


def all_plans() -> Iterator[Plan]:
    """For two processes: up to three preemptions and deaths, close to each other; in the soak the third anywhere."""
    yield {}
    for first in range(1, 20):
        yield {first: DIE}
        for second in range(first + 1, first + 14):
            yield {first: 1, second: DIE}
            for third in range(second + 1, second + 12, 1 if SOAK else 3):
                yield {first: 1, second: 0, third: 1}
                yield {first: 1, second: 0, third: DIE}
                yield {first: 1, second: DIE, third: DIE}


def random_plans(count: int) -> Iterator[Plan]:
    """For three processes: some preemptions and deaths, close to each other."""
    chance = random.Random(4)
    for _ in range(count):
        plan, step = {}, chance.randrange(1, 25)
        for _ in range(chance.randrange(2, 8)):
            plan[step] = chance.choice((DIE, 0, 1, 2, 0, 1, 2))
            step += chance.randrange(1, 14)
        yield plan


def failures(monkeypatch: pytest.MonkeyPatch, kind: type[ModelMutex], stop: bool = False) -> list[str]:
    found = []
    deaths = 0
    for processes, plans in ((2, all_plans()), (3, random_plans(6_000 if SOAK else 1_000))):
        for plan in plans:
            world = run(monkeypatch, plan, processes, kind)
            deaths += world.deaths
            if world.failures:
                found.append(f"{plan}: {world.failures[0]}")
                if stop or len(found) > 5:
                    return found
    assert deaths > 2_000, "these plans kill nobody"
    return found


def test_in_every_order_there_is_one_inside_and_all_get_in(monkeypatch: pytest.MonkeyPatch) -> None:
    assert failures(monkeypatch, ModelMutex) == []


class BelievesItsTake(ModelMutex):
    """Does not ask whether the semaphore that it took still counts."""

    def _counts(self, bound: Any) -> bool:
        return True


class MendsWithoutLookingAgain(ModelMutex):
    """Decides on what it saw before it announced the change."""

    def _finish(self) -> None:
        generation = self._words[mutex._GENERATION]
        if generation & mutex._CLOSING:
            self._advance(generation & ~mutex._CLOSING, 1)


class ForgetsToOpen(ModelMutex):
    """Begins the next generation with its semaphore taken."""

    def _advance(self, generation: int, died: int) -> None:
        self._words[(generation + 1) % mutex.GENERATIONS] = 0
        self._words[mutex._GENERATION] = generation + 1


class ReleasesSilently(ModelMutex):
    """Its word stays behind, and hides one who dies before it has written its own."""

    def release(self) -> None:
        self._give[0]()


class LeavesAChangeUnfinished(ModelMutex):
    """Does not finish what a mender that died has begun."""

    def _follow(self) -> Any:
        return self._bound


@pytest.mark.parametrize(
    "planted",
    [BelievesItsTake, MendsWithoutLookingAgain, ForgetsToOpen, ReleasesSilently, LeavesAChangeUnfinished],
)
def test_a_planted_mistake_is_found(monkeypatch: pytest.MonkeyPatch, planted: type[ModelMutex]) -> None:
    assert failures(monkeypatch, planted, stop=True) != []
