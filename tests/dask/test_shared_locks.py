"""Locks of Dask's between tasks: ``SerializableLock``, and that which ``dask.array.store`` makes."""

from __future__ import annotations

import pickle
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import pytest
from dask import delayed
from dask.utils import SerializableLock

import distpool.dask  # noqa: F401
from distpool.dask.shared_locks import OfAllWorkers
from distpool.locks import Lock
from tests.processes.scene import wait_until

pytestmark = pytest.mark.usefixtures("session")


def _hold(lock: SerializableLock, folder: Path) -> None:
    with lock:
        Path(folder, "held").touch()
        wait_until(Path(folder, "looked").exists, "another task has looked")


def _look(lock: SerializableLock, folder: Path) -> tuple[bool, bool]:
    wait_until(Path(folder, "held").exists, "another task holds the lock")
    seen = lock.locked(), lock.acquire(blocking=False)
    Path(folder, "looked").touch()
    return seen


def test_a_lock_is_the_same_for_all_workers(tmp_path):
    lock = SerializableLock()
    _, seen = dask.compute(
        delayed(_hold)(lock, tmp_path), delayed(_look)(lock, tmp_path), scheduler="distpool"
    )
    assert seen == (True, False)


def test_it_comes_home_as_what_it_was():
    lock = SerializableLock("one of a kind")
    (back,) = dask.compute(delayed(lambda each: each)(lock), scheduler="distpool")
    assert back.token == lock.token
    assert back.lock is lock.lock
    assert pickle.loads(pickle.dumps(lock)).lock is lock.lock


class _File:
    """Of all chunks that are written into it, one after the other, none is lost."""

    def __init__(self, path: Path, size: int) -> None:
        self.path, self.shape, self.dtype = path, (size,), np.dtype(float)
        np.save(path, np.zeros(size))

    def __setitem__(self, where: slice, values: np.ndarray) -> None:
        whole = np.load(self.path)
        whole[where] = values
        np.save(self.path, whole)


def test_what_is_stored_into_one_file_is_all_there(tmp_path):
    target = _File(tmp_path / "x.npy", 64)
    da.store(da.ones(64, chunks=1), target, scheduler="distpool")
    assert np.load(target.path).sum() == 64


def test_it_has_the_manners_of_a_lock_of_threads():
    lock = OfAllWorkers(Lock())
    assert lock.acquire()
    assert lock.locked()
    assert not lock.acquire(blocking=False)
    assert not lock.acquire(timeout=0.001)
    with pytest.raises(ValueError, match="can't specify a timeout for a non-blocking call"):
        lock.acquire(False, 1)
    lock.release()
    with lock:
        assert lock.locked()
    with pytest.raises(RuntimeError, match="release unlocked lock"):
        lock.release()
