"""CuPy's arrays between processes, on the real thing."""

from __future__ import annotations

import pytest

from tests.processes.harness import ROOT
from tests.processes.scene import run

HEAD = """
import os, signal, sys, time
import cupy
import distpool
from distpool.scheduler.serialize import device_arrays

MIB = 1 << 17
gpu = distpool.remote(num_gpus=0.1)

def double(x):
    x += x
    return x

def mean(x):
    return float(x.sum()) / x.size

def make(value, mib=64):
    return cupy.full(mib * MIB, value)

@gpu
def made(value):
    return make(value), os.getpid()

def exports():
    return not device_arrays._refused

def free():
    cupy.get_default_memory_pool().free_all_blocks()
    return cupy.cuda.runtime.memGetInfo()[0]

def wait(condition, what, within_s=20):
    until = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < until, what
        time.sleep(0.01)

if __name__ == "__main__":
"""


def tell(body: str, **env: str) -> str:
    lines = "".join(f"    {line}\n" for line in body.strip().splitlines())
    return run(HEAD + lines, env={"PYTHONPATH": str(ROOT), **env}, within_s=100)


def test_there_and_back_on_the_device_and_its_memory_is_what_it_was() -> None:
    assert tell("""
with distpool.Pool(1) as pool:
    pool.apply(double, (make(1.0),))
    pool.apply(free)
    before = free()
    for n in range(3):
        mine = make(float(n))
        result = pool.apply(double, (mine,))
        assert (mean(result), mean(mine)) == (2.0 * n, float(n))
    del mine, result
    pool.apply(free)
    wait(lambda: abs(free() - before) < 8 << 20, "the device's memory is not what it was")
    print(exports(), pool.apply(exports))
""") == "True True\n"  # fmt: skip


@pytest.mark.parametrize("way", ["0", "1"])
def test_shapes_and_orders(way: str) -> None:
    assert tell("""
import numpy
square = cupy.arange(600 * 500.0).reshape(600, 500)
with distpool.Pool(1) as pool:
    for there in (square, square.T, square[::2, 1:], cupy.asfortranarray(square), square.astype("f4")):
        here = pool.apply(cupy.array, (there,))
        assert here.dtype == there.dtype
        numpy.testing.assert_array_equal(here.get(), there.get())
print("same")
""", DISTPOOL_DEVICE_IPC=way) == "same\n"  # fmt: skip


def test_more_than_one_piece_over_the_host() -> None:
    assert tell("""
big = cupy.arange(20 * MIB + 1, dtype=float)
with distpool.Pool(1) as pool:
    print(bool((pool.apply(double, (big,)) == 2 * big).all()))
""", DISTPOOL_DEVICE_IPC="0") == "True\n"  # fmt: skip


def test_a_result_outlives_its_worker() -> None:
    assert tell("""
ref, worker = made.options(num_returns=2).remote(4.0)
worker = distpool.get(worker)
wait(lambda: not os.path.exists(f"/proc/{worker}"), "it is idle for long enough")
print(mean(distpool.get(ref)))
""") == "4.0\n"  # fmt: skip


def test_a_worker_is_killed_that_has_exported() -> None:
    assert tell("""
ref, worker = made.options(num_returns=2).remote(5.0)
os.kill(distpool.get(worker), signal.SIGKILL)
print(mean(distpool.get(ref)))
""") == "5.0\n"  # fmt: skip


def test_what_is_written_afterwards_is_nobody_elses() -> None:
    assert tell("""
ref = distpool.put(make(1.0))
print([mean(x) for x in distpool.get([gpu(double).remote(ref) for _ in range(3)])], mean(distpool.get(ref)))
""") == "[2.0, 2.0, 2.0] 1.0\n"  # fmt: skip
