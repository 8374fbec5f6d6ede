"""A pool inside a pool inside a task: no assertion about daemons, no deadlock however few the CPUs, nothing left."""

from __future__ import annotations

import os
import time

import pytest

import distpool
from distpool.futures import ProcessPoolExecutor
from distpool.pool import Pool
from tests.processes import bodies
from tests.processes.scene import check_core, driver, run

pytestmark = pytest.mark.usefixtures("engine")


def level(depth: int, kind: str = "pool") -> int:
    """One for each task below and this one; each level is a pool of two with a map of two."""
    if not depth:
        return 1
    counts: list[int]
    if kind == "pool":
        with Pool(2) as pool:
            counts = pool.starmap(level, [(depth - 1, kind)] * 2)
    elif kind == "executor":
        with ProcessPoolExecutor(2) as executor:
            counts = list(executor.map(level, [depth - 1] * 2, [kind] * 2))
    else:  # one inside the other, by turns
        with Pool(1) as pool, ProcessPoolExecutor(1) as executor:
            counts = [
                pool.apply(level, (depth - 1, "executor")),
                executor.submit(level, depth - 1).result(),
                1,
            ]
    return 1 + sum(counts)


@pytest.mark.parametrize(("kind", "count"), [("pool", 15), ("executor", 15)])
def test_three_deep(kind: str, count: int) -> None:
    assert level(3, kind) == count
    check_core()


def test_pools_and_executors_by_turns() -> None:
    assert level(2, "both") == 1 + 3 + 3 + 1


def test_standard_names_inside_a_task() -> None:
    """What a program calls that was written for the standard library."""
    with distpool.Pool(1) as pool:
        assert pool.apply(inside_a_task) == [0, 1, 4]


def inside_a_task() -> list[int]:
    context = distpool.get_context("spawn")
    with context.Pool(2) as pool:
        return pool.map(bodies.square, range(3))


PROGRAM = """
import os, sys
from tests.processes.test_nested import level
print("counted", level(3), flush=True)
"""

HANGING = """
import os, sys
from distpool.pool import Pool
from tests.processes.test_nested import hang_below
with Pool(1) as pool:
    pool.apply(hang_below, (2,))
"""


def hang_below(depth: int) -> None:
    """Says so when the deepest level is reached, and stays there."""
    if not depth:
        os.write(1, b"deepest\n")
        time.sleep(1e6)
    with Pool(1) as pool:
        pool.map(hang_below, [depth - 1])


@pytest.mark.parametrize("cpus", [1, 2])
def test_no_deadlock_on_few_cpus(cpus: int) -> None:
    few = sorted(os.sched_getaffinity(0))[:cpus]
    code = f"import os; os.sched_setaffinity(0, {few})\n{PROGRAM}"
    assert "counted 15" in run(code, within_s=60.0)


def test_the_end_of_the_driver_is_that_of_every_level() -> None:
    with driver(HANGING) as it:
        it.read_until("deepest", 30.0)
        assert len(it.left()) >= 6, "driver, agent, nursery, and a worker for each level"
        it.process.kill()
        it.expect_nothing_left()


def test_a_time_limit_ends_every_level_below() -> None:
    with Pool(1) as pool:
        with pytest.raises(distpool.TimeoutError):
            pool.apply_async(hang_below, (2,), task_timeout=2.0).get(30.0)
        assert pool.apply_async(bodies.square, (3,)).get(30.0) == 9
        check_core()
