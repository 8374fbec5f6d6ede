"""``resize``: more workers and fewer, at run time; nothing that runs is hurt by it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from distpool.futures import ProcessPoolExecutor
from distpool.pool import Pool
from tests.processes import bodies
from tests.processes.scene import check_core, wait_until

pytestmark = pytest.mark.usefixtures("engine")


def note_and_nap(path: str, task_s: float) -> int:
    bodies.note(path)
    time.sleep(task_s)
    return bodies.pid_of_worker()


def workers_of(pool: Pool) -> int:
    return len(pool._roster.refresh())


def test_up_and_down_during_a_map(tmp_path: Path) -> None:
    ran = str(tmp_path / "ran")
    with Pool(2, retries=0) as pool:
        result = pool.starmap_async(note_and_nap, [(ran, 0.02)] * 200, 1)
        wait_until(lambda: bodies.noted(ran) > 10, "it runs")
        pool.resize(6)
        wait_until(lambda: workers_of(pool) == 6, "there are six")
        pool.resize(1)
        wait_until(lambda: workers_of(pool) == 1, "there is one")
        pool.resize(3)
        assert len(set(result.get(30.0))) >= 3
        wait_until(lambda: workers_of(pool) == 3, "there are three")
        check_core()
    assert bodies.noted(ran) == 200, "nothing was run twice"


def test_shrinking_lets_tasks_end_however_long_they_take(tmp_path: Path) -> None:
    """Longer than the grace that exit handlers have (5 s), without retries: a killed one would fail."""
    ran = str(tmp_path / "ran")
    with Pool(3, retries=0) as pool:
        calls = [pool.apply_async(note_and_nap, (ran, 6.5)) for _ in range(2)]
        wait_until(lambda: bodies.noted(ran) == 2, "both run")
        pool.resize(1)
        wait_until(lambda: workers_of(pool) == 2, "the idle one goes first")
        assert len({call.get(30.0) for call in calls}) == 2
        wait_until(lambda: workers_of(pool) == 1, "then one of the others")
        check_core()


def test_an_executor(tmp_path: Path) -> None:
    ran = str(tmp_path / "ran")
    with ProcessPoolExecutor(1) as executor:
        executor.resize(2)  # before the first call
        futures = [executor.submit(note_and_nap, ran, 0.1) for _ in range(12)]
        executor.resize(4)
        assert len({future.result(20.0) for future in futures}) == 4
        executor.resize(1)
        work = executor._work
        assert work is not None
        wait_until(lambda: len(work.roster.refresh()) == 1, "there is one")
        assert executor.submit(bodies.square, 3).result(20.0) == 9
        check_core()
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.resize(2)


@pytest.mark.parametrize(
    ("size", "error"), [(0, ValueError), (-1, ValueError), (1.5, TypeError), (True, TypeError)]
)
def test_sizes_that_are_none(size: object, error: type[Exception]) -> None:
    with Pool(1) as pool, pytest.raises(error, match="worker"):
        pool.resize(size)  # type: ignore[arg-type]
    with ProcessPoolExecutor(1) as executor, pytest.raises(error, match="worker"):
        executor.resize(size)  # type: ignore[arg-type]


def test_a_closed_pool_has_the_size_it_has() -> None:
    pool = Pool(1)
    pool.close()
    with pytest.raises(ValueError, match="not running"):
        pool.resize(2)
    pool.join()
