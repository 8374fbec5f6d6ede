"""Deaths under load: who is charged, who is not, and that neither a result nor a run is lost or made twice."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import pytest

from distpool.errors import WorkerDied
from distpool.futures import ProcessPoolExecutor
from distpool.pool import Pool
from tests.processes import bodies
from tests.processes.scene import check_core, count

pytestmark = pytest.mark.usefixtures("engine")
SOON_S = 60.0


@pytest.mark.timeout(3600 if count(0, 1) else 120)
@pytest.mark.parametrize("workers", [2, 4])
def test_of_a_thousand_calls_one_aborts_and_only_that_one_fails(workers: int, tmp_path: Path) -> None:
    chance = random.Random(workers)
    with ProcessPoolExecutor(workers, retries=0) as executor:
        for turn in range(count(2, 50)):
            path = tmp_path / f"ran-{turn}"
            poison = chance.randrange(1000)
            futures = [executor.submit(bodies.append_or_abort, str(path), n, poison) for n in range(1000)]
            failed = [n for n, future in enumerate(futures) if future.exception(SOON_S) is not None]
            assert failed == [poison]
            error = futures[poison].exception()
            assert isinstance(error, WorkerDied)
            assert "SIGABRT" in str(error)
            assert [future.result() for n, future in enumerate(futures) if n != poison] == [
                n for n in range(1000) if n != poison
            ]
            ran = sorted(map(int, path.read_text().split()))
            assert ran == [n for n in range(1000) if n != poison], "each good task runs exactly once"
            check_core()


@pytest.mark.timeout(3600 if count(0, 1) else 120)
@pytest.mark.parametrize("retries", [0, 100])
def test_random_kills_under_load(retries: int) -> None:
    """With retries every result is right; without, exactly those calls fail that a kill hit, and each says so."""
    chance = random.Random(retries)
    left = kills = count(12, 500)
    with Pool(3, retries=retries) as pool:
        while left:
            results = [pool.apply_async(bodies.slow_square, (n, 0.0003)) for n in range(300)]
            burst = min(left, 3)
            for _ in range(burst):
                results[chance.randrange(300)].wait(SOON_S)  # a random instant of the run
                pids = [process.pid for process in pool._pool]
                if pids:
                    try:
                        os.kill(chance.choice(pids), signal.SIGKILL)
                    except ProcessLookupError:
                        pass
            left -= burst
            failed = 0
            for n, result in enumerate(results):
                result.wait(SOON_S)
                assert result.ready(), "a hang"
                if result.successful():
                    assert result.get() == n * n
                else:
                    failed += 1
                    with pytest.raises(WorkerDied, match="SIGKILL"):
                        result.get()
            assert failed <= (0 if retries else burst)
            check_core()
    assert kills == count(12, 500)
    pool.join()


@pytest.mark.timeout(3600 if count(0, 1) else 120)
def test_random_kills_under_map_imap_and_large_arguments() -> None:
    chance = random.Random(7)
    with Pool(2, retries=100) as pool:
        for _ in range(count(4, 100)):
            blocks = [bytes([n % 251]) * 50_000 for n in range(60)]
            arrivals = pool.imap_unordered(bodies.same, blocks)
            lengths = []
            for number, block in enumerate(arrivals):
                lengths.append(block)
                if number in (5, 25, 45):
                    _kill_one(pool, chance)
            assert sorted(lengths) == sorted(blocks)
            ordered = pool.imap(bodies.square, iter(range(500)))
            for number, value in enumerate(ordered):
                assert value == number * number
                if number in (50, 250):
                    _kill_one(pool, chance)
            outcome = pool.map_async(bodies.slow_square, range(400), chunksize=1)
            _kill_one(pool, chance)
            assert outcome.get(SOON_S) == [n * n for n in range(400)]
            check_core()
    pool.join()


def _kill_one(pool: Pool, chance: random.Random) -> None:
    pids = [process.pid for process in pool._pool]
    if pids:
        try:
            os.kill(chance.choice(pids), signal.SIGKILL)
        except ProcessLookupError:
            pass


def test_the_last_worker_of_a_closing_pool_is_killed() -> None:
    """What is left of a closed pool's work is still done, by replacements, and join returns."""
    for _ in range(count(3, 100)):
        pool = Pool(2)
        results = [pool.apply_async(bodies.slow_square, (n,)) for n in range(100)]
        results[10].wait(SOON_S)
        pool.close()
        for process in pool._pool:
            os.kill(process.pid, signal.SIGKILL)
        assert [result.get(SOON_S) for result in results] == [n * n for n in range(100)]
        pool.join()


def test_workers_that_are_replaced_after_each_call_may_die_too(tmp_path: Path) -> None:
    with Pool(2, maxtasksperchild=1, retries=0) as pool:
        results = [
            pool.apply_async(bodies.append_or_abort, (str(tmp_path / "ran"), n, 20)) for n in range(40)
        ]
        for n, result in enumerate(results):
            if n == 20:
                with pytest.raises(WorkerDied, match="SIGABRT"):
                    result.get(SOON_S)
            else:
                assert result.get(SOON_S) == n
    pool.join()
    ran = sorted(map(int, (tmp_path / "ran").read_text().split()))
    assert ran == [n for n in range(40) if n != 20]
