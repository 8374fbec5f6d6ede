"""Place of death, manner, front door: what the user gets of real deaths, and that the pool is usable after them.

=================  =============================================  ==================================
the worker dies    of a signal                                    by ``os._exit``
=================  =============================================  ==================================
idle               nobody notices                                 -
in a call          the call is run again, ``retries`` times;      the call fails at once: WorkerDied
                   then WorkerDied, with the cause
in the set-up      the next worker tries; after some in a row     as left
                   the pool is broken, with the cause
=================  =============================================  ==================================

Running out of memory where Python sees it (MemoryError) is an exception like any other.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from distpool.errors import CannotUnpickle, WorkerDied
from distpool.futures import BrokenProcessPool, ProcessPoolExecutor
from distpool.pool import MaybeEncodingError, Pool
from tests.processes import bodies
from tests.processes.scene import check_core, wait_until

pytestmark = pytest.mark.usefixtures("engine")
SOON_S = 20.0

DOORS = ["pool", "executor"]
SIGNALS = ["SIGKILL", "SIGSEGV"]
PLACES: dict[str, Callable[..., tuple[Callable[..., Any], tuple[Any, ...]]]] = {
    "in the task": lambda *how: (bodies.die_in_task, how),
    "unpickling the arguments": lambda *how: (bodies.same, (bodies.DeadlyArgument(*how),)),
    "pickling the result": lambda *how: (bodies.return_deadly, how),
}


class Door:
    """The two front doors, as far as these tests need them, behind one face."""

    def __init__(self, kind: str, **options: Any) -> None:
        self.kind = kind
        self.it: Any = Pool(2, **options) if kind == "pool" else ProcessPoolExecutor(2, **options)

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        if self.kind == "pool":
            return self.it.apply_async(function, args).get(SOON_S)
        return self.it.submit(function, *args).result(SOON_S)

    def map(self, function: Callable[..., Any], items: Any) -> list[Any]:
        return list(self.it.map(function, items))

    def close(self) -> None:
        if self.kind == "pool":
            self.it.terminate()
            self.it.join()
        else:
            self.it.shutdown(cancel_futures=True)


@pytest.fixture
def open_door() -> Iterator[Callable[..., Door]]:
    with ExitStack() as stack:

        def open_(kind: str, **options: Any) -> Door:
            door = Door(kind, **options)
            stack.callback(door.close)
            return door

        yield open_


def expect_usable(door: Door) -> None:
    assert door.map(bodies.square, range(20)) == [n * n for n in range(20)]
    check_core()


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("manner", SIGNALS)
@pytest.mark.parametrize("place", PLACES)
def test_a_call_whose_worker_is_killed_is_run_again(
    place: str, manner: str, door: str, open_door: Callable[..., Door], tmp_path: Path
) -> None:
    it = open_door(door)
    function, args = PLACES[place](manner, str(tmp_path / "tries"), 1)
    assert it.call(function, *args) == "alive"
    assert bodies.noted(tmp_path / "tries") == 2
    expect_usable(it)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("manner", SIGNALS)
@pytest.mark.parametrize("place", PLACES)
def test_without_retries_it_fails_and_says_why(
    place: str, manner: str, door: str, open_door: Callable[..., Door], tmp_path: Path
) -> None:
    it = open_door(door, retries=0)
    function, args = PLACES[place](manner, str(tmp_path / "tries"), 99)
    with pytest.raises(
        WorkerDied, match=rf"pid \d+ on .* was killed by {manner}; its memory peaked at"
    ) as info:
        it.call(function, *args)
    assert str(info.value).startswith(f"the worker running {function.__name__}")
    assert isinstance(info.value, BrokenProcessPool)
    assert info.value.death is not None
    assert info.value.death.signal == signal.Signals[manner]
    assert bodies.noted(tmp_path / "tries") == 1
    expect_usable(it)


@pytest.mark.parametrize("door", DOORS)
def test_it_says_which_call_it_was(door: str, open_door: Callable[..., Door], tmp_path: Path) -> None:
    it = open_door(door, retries=0)
    tries = str(tmp_path / "tries")
    arguments = f"'SIGKILL', {tries!r}, 99"
    shown = arguments if len(arguments) <= 80 else f"{arguments[:80]}..."
    with pytest.raises(WorkerDied) as info:
        it.call(bodies.die_in_task, "SIGKILL", tries, 99)
    assert str(info.value).startswith(f"the worker running die_in_task({shown}) (pid ")


class Deadly:
    def die(self, tries: str) -> str:
        return bodies.die_in_task("SIGKILL", tries, 99)


@pytest.mark.parametrize("door", DOORS)
def test_it_says_which_call_it_was_also_of_what_is_made_for_a_call(
    door: str, open_door: Callable[..., Door], tmp_path: Path
) -> None:
    it = open_door(door, retries=0)
    tries = str(tmp_path / "tries")
    with pytest.raises(WorkerDied, match=r"^the worker running die_in_task\(99\)"):
        it.call(partial(bodies.die_in_task, "SIGKILL", tries), 99)
    with pytest.raises(WorkerDied, match=r"^the worker running Deadly\.die\('.*"):
        it.call(Deadly().die, tries)
    with pytest.raises(WorkerDied, match=r"^the worker running .*<lambda>\(1\)"):
        it.call(lambda _: bodies.die_in_task("SIGKILL", tries, 99), 1)


def test_a_crash_in_native_code_says_where(open_door: Callable[..., Door], tmp_path: Path) -> None:
    it = open_door("pool", retries=0)
    with pytest.raises(WorkerDied, match="Fatal Python error: Segmentation fault") as info:
        it.call(bodies.die_in_task, "SIGSEGV", str(tmp_path / "tries"), 99)
    assert "in segfault" in str(info.value)


@pytest.mark.parametrize("door", DOORS)
def test_a_call_that_kills_every_worker_is_given_up(
    door: str, open_door: Callable[..., Door], tmp_path: Path
) -> None:
    it = open_door(door)
    with pytest.raises(WorkerDied, match="SIGKILL"):
        it.call(bodies.die_in_task, "SIGKILL", str(tmp_path / "tries"), 99)
    assert bodies.noted(tmp_path / "tries") == 3
    expect_usable(it)


def test_the_environment_says_how_often(
    open_door: Callable[..., Door], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISTPOOL_RETRIES", "0")
    it = open_door("pool")
    with pytest.raises(WorkerDied):
        it.call(bodies.die_in_task, "SIGKILL", str(tmp_path / "tries"), 99)
    assert bodies.noted(tmp_path / "tries") == 1


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("place", PLACES)
def test_a_call_that_ends_its_process_fails_at_once(
    place: str, door: str, open_door: Callable[..., Door], tmp_path: Path
) -> None:
    it = open_door(door)
    function, args = PLACES[place]("exit", str(tmp_path / "tries"), 99)
    with pytest.raises(WorkerDied, match=r"exited with status 3.*let it return or raise instead"):
        it.call(function, *args)
    assert bodies.noted(tmp_path / "tries") == 1
    expect_usable(it)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("place", PLACES)
def test_out_of_memory_is_an_exception_of_that_call(
    place: str, door: str, open_door: Callable[..., Door], tmp_path: Path
) -> None:
    it = open_door(door)
    workers = {it.call(bodies.pid_of_worker) for _ in range(20)}
    function, args = PLACES[place]("memory", str(tmp_path / "tries"), 99)
    with pytest.raises((MemoryError, MaybeEncodingError, CannotUnpickle)) as info:
        it.call(function, *args)
    assert "MemoryError" in repr(info.value)
    # No retry; where a reducer failed, it may be asked a second time, to find the path to the culprit.
    assert bodies.noted(tmp_path / "tries") <= (1 if place == "in the task" else 2)
    assert it.call(bodies.pid_of_worker) in workers
    expect_usable(it)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("manner", SIGNALS)
def test_idle_workers_that_are_killed_are_replaced(
    manner: str, door: str, open_door: Callable[..., Door]
) -> None:
    it = open_door(door, retries=0)
    for _ in range(3):
        pids = set(it.map(bodies.pid_of_worker, range(50)))
        for pid in pids:
            os.kill(pid, signal.Signals[manner])
        wait_until(lambda pids=pids: not any(alive(pid) for pid in pids), "the workers are reaped")
        expect_usable(it)


def alive(pid: int) -> bool:
    return os.path.exists(f"/proc/{pid}")


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("manner", ["SIGKILL", "SIGSEGV", "exit", "memory"])
def test_one_bad_start_is_made_good(
    manner: str, door: str, open_door: Callable[..., Door], tmp_path: Path
) -> None:
    path = str(tmp_path / "tries")
    it = open_door(door, initializer=bodies.die, initargs=(manner, path, 1))
    assert it.call(bodies.square, 3) == 9
    expect_usable(it)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("manner", ["SIGKILL", "SIGSEGV", "exit", "memory"])
def test_an_initializer_that_always_dies_breaks_the_pool_with_its_cause(
    manner: str, door: str, open_door: Callable[..., Door], tmp_path: Path
) -> None:
    path = str(tmp_path / "tries")
    it = open_door(door, initializer=bodies.die, initargs=(manner, path, 10**6))
    causes = {
        "SIGKILL": "SIGKILL",
        "SIGSEGV": "SIGSEGV",
        "exit": "exited with status 3",
        "memory": "MemoryError",
    }
    for _ in range(2):  # what was under way, and what comes later
        with pytest.raises(BrokenProcessPool) as info:
            it.call(bodies.square, 3)
        story = f"{info.value!r} {info.value.__cause__!r}"
        assert causes[manner] in story
    # Three in a row; and for each worker one beside them, and one that the agent has begun before it hears of the end.
    assert bodies.noted(path) <= 3 + 2 * 2, "bounded attempts"


def test_the_initializer_runs_again_in_a_replacement(open_door: Callable[..., Door], tmp_path: Path) -> None:
    path = str(tmp_path / "starts")
    it = open_door("pool", initializer=bodies.set_place_and_note, initargs=("set", path))
    assert it.map(_place, range(20)) == ["set"] * 20
    for pid in set(it.map(bodies.pid_of_worker, range(50))):
        os.kill(pid, signal.SIGKILL)
    assert it.map(_place, range(20)) == ["set"] * 20
    assert bodies.noted(path) >= 3


def _place(_: int) -> str:
    return bodies.get_place()
