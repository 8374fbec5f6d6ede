"""``dask.array.store`` into what only this process has, beside the synchronous scheduler: what is there afterwards."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
from dask import delayed
from dask.callbacks import Callback

from distpool.dask.running import Computation
from tests.big import storage

pytestmark = pytest.mark.usefixtures("session")

SCHEDULERS = ("sync", "distpool")


def _small() -> da.Array:
    """Of chunks that Dask joins with what stores them."""
    return da.arange(1600, chunks=1600).reshape(40, 40).rechunk(20).astype(float)


def _zeros(x: da.Array) -> np.ndarray:
    return np.zeros(x.shape)


def _one_array() -> Any:
    x = _small()
    target = _zeros(x)
    assert da.store(x, target) is None
    return target


def _two_big_arrays() -> Any:
    """Big targets have a name of their own in the graph."""
    x = da.ones((800, 800), chunks=400)
    targets = [_zeros(x), _zeros(x)]
    da.store([x, x + 1], targets)
    return targets


def _one_chunk_with_no_lock() -> Any:
    """Which is joined with the end of the whole."""
    x = da.from_array(np.ones((4, 4)), chunks=4)
    target = _zeros(x)
    da.store(x, target, lock=False)
    return target


def _with_a_lock_of_threads() -> Any:
    x = _small()
    target = _zeros(x)
    da.store(x, target, lock=threading.Lock())
    return target


def _a_region() -> Any:
    target = np.zeros((60, 40))
    da.store(_small(), target, regions=(slice(10, 50), slice(None)))
    return target


def _later() -> Any:
    x = _small()
    target = _zeros(x)
    stored = da.store(x, target, compute=False)
    assert not target.any()
    return stored.compute(), target


def _later_with_others() -> Any:
    x = _small()
    target = _zeros(x)
    stored = delayed(lambda stored, more: (stored, more))(da.store(x, target, compute=False), 5)
    return stored.compute(), target


def _and_used() -> Any:
    x = _small()
    target = _zeros(x)
    stored = da.store(x, target, return_stored=True)
    return (stored + 1).sum().compute(), target


def _later_and_used() -> Any:
    x = _small()
    target = _zeros(x)
    stored = da.store(x, target, return_stored=True, compute=False)
    return (stored + 1).sum().compute(), target


def _without_optimization() -> Any:
    x = _small()
    target = _zeros(x)
    da.store(x, target, optimize_graph=False)
    return target


class _CannotBePickled:
    def __init__(self, x: da.Array) -> None:
        self.array, self.shape, self.dtype = _zeros(x), x.shape, x.dtype
        self.lock = threading.Lock()

    def __setitem__(self, where: Any, values: np.ndarray) -> None:
        self.array[where] = values


def _what_cannot_be_pickled() -> Any:
    x = _small()
    target = _CannotBePickled(x)
    da.store(x, target)
    return target.array


def _told() -> Any:
    x = _small()
    target = _zeros(x)
    keys: list[Any] = []
    with Callback(posttask=lambda key, *_: keys.append(key)):
        da.store(x, target)
    assert len(set(keys)) == len(keys) > 4
    return target


@pytest.mark.parametrize(
    "store",
    [
        _one_array,
        _two_big_arrays,
        _one_chunk_with_no_lock,
        _with_a_lock_of_threads,
        _a_region,
        _later,
        _later_with_others,
        _and_used,
        _later_and_used,
        _without_optimization,
        _what_cannot_be_pickled,
        _told,
    ],
    ids=lambda store: store.__name__.strip("_").replace("_", " "),
)
def test_what_is_stored_is_there(store: Callable[[], Any]):
    results = []
    for scheduler in SCHEDULERS:
        with dask.config.set(scheduler=scheduler):
            results.append(store())
    np.testing.assert_equal(results[1], results[0])
    target = results[1] if isinstance(results[1], np.ndarray) else results[1][-1]
    assert target.any()


def test_a_file_in_memory_is_written(tmp_path: Path):
    target = np.memmap(tmp_path / "x", float, mode="w+", shape=(40, 40))
    da.store(_small(), target, scheduler="distpool")
    target.flush()
    assert np.memmap(tmp_path / "x", float, mode="r").sum() == 1279200


class _Writer:
    """Writes down which process has written."""

    shape, dtype = (4,), np.dtype(float)

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __setitem__(self, where: Any, values: np.ndarray) -> None:
        Path(self.folder, f"{os.getpid()}").touch()


def test_what_can_be_pickled_is_written_by_workers(tmp_path: Path):
    da.store(da.ones(4, chunks=1), _Writer(tmp_path), scheduler="distpool")
    assert str(os.getpid()) not in {path.name for path in tmp_path.iterdir()} != set()


def test_an_error_of_writing_is_raised_and_names_the_task():
    target = np.zeros((40, 40))
    target.flags.writeable = False
    with pytest.raises(ValueError, match="read-only") as raised:
        da.store(_small(), target, scheduler="distpool")
    assert "raised by the Dask task ('rechunk-merge-rechunk-split-store-map-" in raised.value.__notes__[0]


def test_a_chunk_that_is_lost_before_it_is_written_is_made_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """One that lies in the store, at the first time that something is to be written."""
    lost: list[Any] = []
    evaluated = Computation._evaluated

    def lose(computation: Computation, number: int) -> Any:
        if not lost:
            lost.extend(storage.lose_all())
        return evaluated(computation, number)

    monkeypatch.setattr(Computation, "_evaluated", lose)
    made = delayed(_count_and_make)(str(tmp_path))
    x = da.from_delayed(made, (256, 256), float)
    target = np.zeros(x.shape)
    da.store(x, target, scheduler="distpool")
    assert target.all()
    assert len(lost) == 1
    assert len(list(tmp_path.iterdir())) == 2


def _count_and_make(folder: str) -> np.ndarray:
    Path(folder, f"{len(os.listdir(folder))}").touch()
    return np.ones((256, 256))
