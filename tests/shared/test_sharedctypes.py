"""Values and arrays of C types: the standard library's behaviour, and what ours can do in addition."""

from __future__ import annotations

import ctypes
import multiprocessing
import multiprocessing.sharedctypes
import os
import pickle
import subprocess
import sys
from typing import Any

import pytest

import distpool
from distpool import sharedctypes


class Point(ctypes.Structure):
    _fields_ = [("x", ctypes.c_double), ("y", ctypes.c_int)]


@pytest.fixture(params=["standard", "distpool"])
def types(request: pytest.FixtureRequest) -> Any:
    """Either module: one body is run on both."""
    return multiprocessing.sharedctypes if request.param == "standard" else sharedctypes


def test_values(types: Any) -> None:
    for value in (types.Value("i", 5), types.RawValue("i", 5), types.Value(ctypes.c_int, 5, lock=False)):
        assert value.value == 5
        value.value += 1
        assert value.value == 6
    assert types.RawValue("d").value == 0.0
    assert type(types.RawValue("h", 1)) is ctypes.c_short


def test_arrays(types: Any) -> None:
    for array in (types.Array("i", range(5)), types.RawArray("i", [0, 1, 2, 3, 4])):
        assert list(array) == [0, 1, 2, 3, 4]
        assert len(array) == 5
        array[1:3] = [10, 20]
        assert array[:] == [0, 10, 20, 3, 4]
        assert array[-1] == 4
        with pytest.raises(IndexError):
            array[5]
    assert list(types.RawArray("d", 3)) == [0.0] * 3
    with pytest.raises(ValueError, match=r"-1|negative"):
        types.RawArray("d", -1)


def test_strings(types: Any) -> None:
    text = types.Array("c", b"hello")
    assert (text.value, text.raw) == (b"hello", b"hello")
    text.value = b"bye"
    assert (text.value, text.raw) == (b"bye", b"bye\0o")


def test_structures(types: Any) -> None:
    point = types.Value(Point, 1.5, 2)
    point.x *= 2
    assert (point.x, point.y) == (3.0, 2)
    points = types.Array(Point, [(1, 2), (3, 4)], lock=True)
    points[1].y = 9
    assert [(one.x, one.y) for one in points] == [(1, 2), (3, 9)]
    copied = types.copy(point.get_obj())
    copied.x = 0
    assert point.x == 3.0


def test_locks(types: Any) -> None:
    lock = multiprocessing.RLock()
    value = types.Value("i", 0, lock=lock)
    assert value.get_lock() is lock
    with value.get_lock(), value:
        value.value = 3
    assert value.get_obj().value == 3
    assert not hasattr(types.Value("i", lock=False), "get_lock")
    with pytest.raises(AttributeError, match="acquire"):
        types.Value("i", lock="no lock")
    assert repr(value) == "<Synchronized wrapper for c_int(3)>"


def _double(array: Any, value: Any) -> int:
    with value.get_lock():  # two workers may do this at once
        for index in range(len(array)):
            array[index] *= 2
        value.value += 1
    return os.getpid()


def test_they_are_the_same_memory_in_a_task() -> None:
    array, value = sharedctypes.RawArray("d", [1, 2, 3]), sharedctypes.Value("i", 0)
    with distpool.Pool(2) as pool:
        pids = pool.starmap(_double, [(array, value)] * 4, chunksize=1)
        point = sharedctypes.Value(Point, 1, 1)
        pool.apply(_move, ([{"deep": point}],))
    assert os.getpid() not in pids
    assert list(array) == [16, 32, 48]
    assert value.value == 4
    assert point.y == 11


def _move(nested: Any) -> None:
    nested[0]["deep"].y += 10


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_they_are_the_same_memory_in_a_child(method: str) -> None:
    array, value = sharedctypes.Array("i", [1, 2]), sharedctypes.Value("i", 0)
    child = multiprocessing.get_context(method).Process(target=_double, args=(array, value))
    child.start()
    child.join(30)
    assert child.exitcode == 0
    assert (list(array), value.value) == ([2, 4], 1)


def _length(array: Any) -> None:
    os._exit(0 if len(array) == 2_000_000 else 1)


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_large_one_that_only_the_child_holds_is_there_when_the_child_comes_for_it(method: str) -> None:
    context = multiprocessing.get_context(method)
    child = context.Process(target=_length, args=(sharedctypes.RawArray("d", 2_000_000),))
    child.start()  # which lets go of the arguments
    child.join(30)
    assert child.exitcode == 0


def test_plain_c_objects_are_still_pickled_by_value() -> None:
    sharedctypes.RawValue("i", 1)
    number = ctypes.c_int(4)
    copied = pickle.loads(pickle.dumps(number))
    copied.value = 5
    assert number.value == 4


def test_another_node_fails_clearly() -> None:
    read = "import pickle, sys; print(pickle.loads(bytes.fromhex(sys.stdin.read())).value)"
    done = subprocess.run(
        [sys.executable, "-c", read],
        input=pickle.dumps(sharedctypes.RawValue("i", 1)).hex(),
        env={**os.environ, "DISTPOOL_NODE": "elsewhere"},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert "SharedElsewhere: this shared memory is that of node" in done.stderr
