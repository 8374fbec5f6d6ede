"""``max_worker_memory=``: a worker that has grown too big is replaced between tasks, and nobody notices."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from distpool.futures import ProcessPoolExecutor
from distpool.pool import Pool
from distpool.scheduler.shells.own_memory import own_memory_bytes
from tests.processes import bodies
from tests.processes.scene import check_core

pytestmark = pytest.mark.usefixtures("engine")

MIB = 1 << 20
hoard: list[bytearray] = []


def leak(size: int) -> tuple[int, int]:
    """Keep so many more bytes; who did it, and how many pieces it keeps now."""
    hoard.append(bytearray(b"x") * size)
    return os.getpid(), len(hoard)


def own_memory(_: object = None) -> int:
    return own_memory_bytes()


def test_a_leak_is_bounded(tmp_path: Path) -> None:
    starts = str(tmp_path / "starts")
    with Pool(
        1, bodies.set_place_and_note, ("set", starts), max_worker_memory=own_start() + 64 * MIB, retries=0
    ) as pool:
        pieces = pool.map(leak, [24 * MIB] * 12, chunksize=1)
        assert max(count for _, count in pieces) <= 3, "two fit, the third is one too many"
        pids = [pid for pid, _ in pieces]
        assert 4 <= len(set(pids)) <= 12
        assert pool.apply(bodies.get_place) == "set"
        assert bodies.noted(starts) >= len(set(pids))
        check_core()
    pool.join()


def test_a_worker_that_stays_small_stays() -> None:
    with Pool(2, max_worker_memory="4G") as pool:
        pids = set(pool.map(bodies.pid_of_worker, range(2000), chunksize=1))
        assert len(pids) <= 2
    with ProcessPoolExecutor(1, max_worker_memory=4 << 30) as executor:
        assert len({executor.submit(bodies.pid_of_worker).result() for _ in range(20)}) == 1


def test_a_bound_below_what_a_fresh_worker_has_is_no_deadlock() -> None:
    """Each does at least one call."""
    with Pool(2, max_worker_memory=1) as pool:
        assert pool.map(bodies.square, range(20), chunksize=1) == [n * n for n in range(20)]
        check_core()


def test_what_is_shared_does_not_count() -> None:
    """A big argument lies in the store, and its pages are everybody's."""
    numpy = pytest.importorskip("numpy")
    array = numpy.ones(16 * MIB)  # 128 MiB
    with Pool(1, max_worker_memory=own_start() + 64 * MIB) as pool:
        assert {pool.apply(summed_by, (array,)) for _ in range(3)} == {
            (16.0 * MIB, pool.apply(bodies.pid_of_worker))
        }


def summed_by(array: object) -> tuple[float, int]:
    return float(array.sum()), os.getpid()  # type: ignore[attr-defined]


def own_start() -> int:
    """What a worker has when it has done nothing."""
    with Pool(1) as pool:
        return pool.apply(own_memory)
