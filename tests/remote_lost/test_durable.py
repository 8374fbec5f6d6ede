"""What is put with ``durable=True`` is had again from its file; and the file is gone with the last reference."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import distpool
from distpool.errors import StoreError
from distpool.exceptions import ObjectLostError
from tests.processes.harness import ROOT
from tests.remote_lost import bodies
from tests.remote_lost.bodies import lose

pytestmark = [pytest.mark.usefixtures("engine"), pytest.mark.timeout(60)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the copies go; nothing may be left there."""
    path = tmp_path / "durable"
    path.mkdir()
    monkeypatch.setenv("DISTPOOL_DURABLE_DIR", str(path))
    yield path
    gc.collect()
    assert list(path.iterdir()) == []


def copies(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*/*") if path.name != "lock"]


@pytest.mark.parametrize(
    "value",
    [np.arange(50_000.0), b"x" * 1_000_000, b"y" * 50_000, {"a": np.ones(40_000), "b": [np.zeros(40_000)]}],
    ids=["an array", "a big pickle", "one that is big enough to travel by the store", "two arrays"],
)
def test_a_lost_value_is_read_from_its_file(folder: Path, value: Any) -> None:
    ref = distpool.put(value, durable=True)
    assert len(copies(folder)) == 1
    for _ in range(2):
        lose(ref)
        np.testing.assert_equal(distpool.get(ref), value)
    del ref


def test_for_a_call_and_for_a_borrower(folder: Path) -> None:
    ref = distpool.put(np.full(bodies.FLOATS, 8.0), durable=True)
    lose(ref)
    assert distpool.get(bodies.first.remote(ref)) == 8.0
    lose(ref)
    assert distpool.get(bodies.first_of.remote([ref]), timeout=20) == 8.0
    del ref


def test_with_references_inside(folder: Path) -> None:
    inner = distpool.put(np.full(bodies.FLOATS, 2.0))
    ref = distpool.put([inner, np.full(bodies.FLOATS, 1.0)], durable=True)
    lose(ref, but=inner)
    got, array = distpool.get(ref)
    assert got is inner
    assert distpool.get(got)[0] == 2.0
    assert array[0] == 1.0
    del ref, got, inner


def test_as_an_argument_of_a_call_that_is_repeated(folder: Path, tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    put = distpool.put(np.full(bodies.FLOATS, 1.0), durable=True)
    ref = bodies.plus.remote(log, put, 1.0)
    distpool.get(ref)
    lose(put)
    lose(ref)
    assert distpool.get(ref)[0] == 2.0
    del put, ref


def test_what_is_small_needs_no_file(folder: Path) -> None:
    ref = distpool.put([1, "two"], durable=True)
    assert distpool.get(ref) == [1, "two"]
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("harm", ["other bytes", "gone"])
def test_a_file_that_is_not_what_was_written(folder: Path, harm: str) -> None:
    ref = distpool.put(np.full(bodies.FLOATS, 1.0), durable=True)
    (copy,) = copies(folder)
    if harm == "gone":
        copy.unlink()
    else:
        data = bytearray(copy.read_bytes())
        data[-1] ^= 1
        copy.write_bytes(data)
    lose(ref)
    with pytest.raises(ObjectLostError, match=r"No such file|holds something else"):
        distpool.get(ref)
    del ref


def test_a_folder_that_cannot_be_written_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISTPOOL_DURABLE_DIR", "/nowhere")
    with pytest.raises(StoreError, match="DISTPOOL_DURABLE_DIR"):
        distpool.put(np.full(bodies.FLOATS, 1.0), durable=True)


def test_files_of_a_killed_process_are_removed_by_the_next(folder: Path) -> None:
    code = """
import os, signal, numpy, distpool
if __name__ == "__main__":
    ref = distpool.put(numpy.ones(100_000), durable=True)
    distpool.nodes()  # its agent is there: who dies before that leaves its directory to the next session's start
    os.kill(os.getpid(), signal.SIGKILL)
"""
    child = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": ROOT}, timeout=60, check=False
    )
    assert child.returncode == -signal.SIGKILL
    assert len(copies(folder)) == 1
    ref = distpool.put(np.full(bodies.FLOATS, 1.0), durable=True)
    assert len(copies(folder)) == 1
    assert distpool.get(ref)[0] == 1.0
    del ref
