"""``task_timeout=``: what runs for too long is ended, whatever it is doing; everything else never notices."""

from __future__ import annotations

import ctypes
import os
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import distpool
from distpool.futures import ProcessPoolExecutor
from distpool.pool import Pool
from tests.processes import bodies
from tests.processes.scene import check_core

pytestmark = pytest.mark.usefixtures("engine")

HANGING = {1234: "sleep", 5000: "spin", 9876: "native"}


def hang(manner: str) -> None:
    """For ever, as far as a test can tell; "native" is C code that holds the GIL and hears no signal."""
    if manner == "sleep":
        time.sleep(1e6)
    elif manner == "spin":
        while True:
            pass
    elif manner == "native":
        while True:  # a signal ends a C sleep, and Python sees none before this comes back
            ctypes.PyDLL(None).sleep(1000)
    elif manner == "stubborn":
        while True:
            try:
                time.sleep(1e6)
            except KeyboardInterrupt:
                continue


def square_or_hang(number: int, hanging: dict[int, str]) -> int:
    if number in hanging:
        hang(hanging[number])
    return number * number


def note_and_hang(path: str, manner: str) -> None:
    bodies.note(path)
    hang(manner)


def nap(task_s: float) -> float:
    time.sleep(task_s)
    return task_s


def test_three_of_ten_thousand_hang() -> None:
    with Pool(4) as pool:
        began_s = time.monotonic()
        results: list[Any] = pool.map(
            partial(square_or_hang, hanging=HANGING), range(10_000), task_timeout=2, errors="return"
        )
        assert time.monotonic() - began_s < 20.0
        check_core()
        failed = {number: result for number, result in enumerate(results) if result != number * number}
        assert failed.keys() == HANGING.keys()
        assert {type(error) for error in failed.values()} == {distpool.TimeoutError}
        assert pool.map(bodies.square, range(100)) == [n * n for n in range(100)]
    pool.join()


@pytest.mark.parametrize("manner", ["sleep", "spin", "native", "stubborn"])
def test_each_manner_of_hanging(manner: str, tmp_path: Path) -> None:
    starts, runs = str(tmp_path / "starts"), tmp_path / "runs"
    with Pool(1, initializer=bodies.set_place_and_note, initargs=("set", starts)) as pool:
        before = pool.apply(bodies.pid_of_worker)
        began_s = time.monotonic()
        call = pool.apply_async(note_and_hang, (str(runs), manner), task_timeout=0.3)
        with pytest.raises(distpool.TimeoutError) as caught:
            call.get(20.0)
        told_s = time.monotonic() - began_s
        assert 0.3 <= told_s < 8.0, "at once"
        text = str(caught.value)
        assert "note_and_hang(" in text
        assert "task_timeout of 0.3 s" in text
        assert "more time" in text
        after = pool.apply_async(bodies.pid_of_worker).get(20.0)
        assert (after == before) == (manner in ("sleep", "spin")), (
            "one that can be interrupted keeps its worker"
        )
        assert pool.apply(bodies.get_place) == "set"
        assert bodies.noted(starts) == (1 if after == before else 2)
        assert bodies.noted(runs) == 1, "an overdue call is never run again"
        check_core()


def test_time_counts_from_the_start_and_is_each_items_own() -> None:
    """Ten tasks of 0.1 s, one after the other, with 0.4 s for each."""
    with Pool(1) as pool:
        assert pool.map(nap, [0.1] * 10, task_timeout=0.4, chunksize=10) == [0.1] * 10
        assert pool.starmap(nap, [(0.1,)] * 3, task_timeout=0.4) == [0.1] * 3
        assert list(pool.imap(nap, [0.1] * 5, chunksize=5, task_timeout=0.4)) == [0.1] * 5


def test_neighbours_are_not_charged(tmp_path: Path) -> None:
    """With retries=0 any of them that was started twice, or killed, would show."""
    ran = str(tmp_path / "ran")
    with ProcessPoolExecutor(2, retries=0) as executor:
        pool = [executor.submit(bodies.append_number, ran, n) for n in range(200)]
        late = executor.map(
            partial(square_or_hang, hanging={7: "stubborn"}), range(300), task_timeout=0.3, errors="return"
        )
        more = [executor.submit(bodies.append_number, ran, n) for n in range(200, 400)]
        values = list(late)
        assert isinstance(values.pop(7), TimeoutError)
        assert values == [n * n for n in range(300) if n != 7]
        assert [future.result(20.0) for future in pool + more] == list(range(400))
        check_core()
    assert sorted(map(int, Path(ran).read_text().split())) == list(range(400))


def test_the_first_failure_is_raised_at_once_and_what_has_not_started_does_not(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    with Pool(2) as pool:
        pool.map(nap, [0.1] * 4, 1)  # both have imported this module
        began_s = time.monotonic()
        with pytest.raises(distpool.TimeoutError):
            pool.map(partial(note_and_nap, str(ran)), [30.0, 0.2] + [0.2] * 500, task_timeout=0.5)
        assert time.monotonic() - began_s < 0.5 + 3.0, "the others would take 50 s"
        check_core()
        assert pool.apply(bodies.square, (3,)) == 9
    assert bodies.noted(ran) < 40


def note_and_nap(path: str, task_s: float) -> float:
    bodies.note(path)
    return nap(task_s)


def test_an_executors_map_raises_before_what_is_still_to_come() -> None:
    with ProcessPoolExecutor(2) as executor:
        began_s = time.monotonic()
        with pytest.raises(ZeroDivisionError):
            list(executor.map(nap_or_fail, [60.0, 0.0], task_timeout=90.0))
        assert time.monotonic() - began_s < 10.0
        executor.kill_workers()


def nap_or_fail(task_s: float) -> float:
    if not task_s:
        raise ZeroDivisionError
    return nap(task_s)


def test_the_default_of_a_pool_and_of_an_executor() -> None:
    with Pool(1, task_timeout=0.3) as pool:
        with pytest.raises(distpool.TimeoutError):
            pool.apply(nap, (20.0,))
        assert pool.apply_async(nap, (0.6,), task_timeout=20.0).get(20.0) == 0.6
        assert pool.map(nap, [0.6], task_timeout=float("inf")) == [0.6]
    with ProcessPoolExecutor(1, task_timeout=0.3) as executor:
        future = executor.submit(nap, 20.0)
        assert isinstance(future.exception(20.0), distpool.TimeoutError)
        assert executor.submit(nap, 0.1).result(20.0) == 0.1


def test_callbacks_hear_of_it() -> None:
    heard: list[BaseException] = []
    with Pool(1) as pool:
        call = pool.apply_async(nap, (20.0,), error_callback=heard.append, task_timeout=0.2)
        call.wait(20.0)
        assert [type(error) for error in heard] == [distpool.TimeoutError]
        assert not call.successful()


def test_many_limits_at_random_instants() -> None:
    """Tasks about as long as their limit: each has its value or a TimeoutError, and the pool goes on."""
    with Pool(2) as pool:
        for _ in range(5):
            results = pool.map(nap, [0.02] * 20, task_timeout=0.0201, errors="return")
            assert all(result == 0.02 or isinstance(result, TimeoutError) for result in results)
        assert pool.map(bodies.square, range(50)) == [n * n for n in range(50)]
        check_core()


def test_close_and_join_wait_for_the_end_of_what_is_overdue() -> None:
    pool = Pool(1)
    pid = pool.apply(bodies.pid_of_worker)
    call = pool.apply_async(hang, ("stubborn",), task_timeout=0.2)
    pool.close()
    pool.join()
    with pytest.raises(distpool.TimeoutError):
        call.get(0)
    assert not os.path.exists(f"/proc/{pid}")


def limited_inside() -> str:
    """A task that limits tasks of its own."""
    with Pool(1) as pool:
        try:
            return str(pool.apply_async(hang, ("native",), task_timeout=0.3).get(20.0))
        except distpool.TimeoutError as error:
            return str(error)


def test_inside_a_task() -> None:
    with Pool(1) as pool:
        assert "hang('native') ran for longer than its task_timeout of 0.3 s" in pool.apply(limited_inside)
        check_core()
