"""What NVML says of real GPUs against what CUDA says, and the memory that tasks leave behind."""

from __future__ import annotations

import pytest

from tests.processes.harness import ROOT
from tests.processes.scene import run

pytest.importorskip("pynvml")

HEAD = """
import os, time
import cupy
import distpool
from distpool.scheduler.shells.gpu_watch import GpuWatch
import zmq

def looked():
    watch = GpuWatch(zmq.Poller())
    watch.begin()
    return watch, watch.find()

def uuid(number):
    # CuPy's is of bytes, and in some releases cut at the first zero.
    return cupy.cuda.runtime.getDeviceProperties(number)["uuid"].hex()

def used():
    free, size = cupy.cuda.runtime.memGetInfo()
    return (size - free) >> 20

def wait(condition, what, within_s=20):
    until = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < until, what
        time.sleep(0.01)

if __name__ == "__main__":
"""


def tell(body: str, **env: str) -> str:
    lines = "".join(f"    {line}\n" for line in body.strip().splitlines())
    return run(HEAD + lines, within_s=100, env={"PYTHONPATH": ROOT, **env})


def test_the_same_gpus_in_the_same_order() -> None:
    assert tell("""
watch, found = looked()
assert found.count == cupy.cuda.runtime.getDeviceCount(), (found, "of a GPU that is divided, CUDA shows one part")
for number, device in enumerate(found.devices):
    theirs, ours = uuid(number), device.uuid.partition("-")[2].replace("-", "")
    assert ours.startswith(theirs) and len(theirs) >= 2, (theirs, ours)
print(bool(found.kind))
watch._give_up(0.0)
""", CUDA_DEVICE_ORDER="PCI_BUS_ID") == "True\n"  # fmt: skip


def test_a_gpu_by_its_uuid_and_by_the_beginning_of_it() -> None:
    assert tell("""
watch, found = looked()
watch._give_up(0.0)
seen = distpool.remote(num_gpus=1)(lambda: (os.environ["CUDA_VISIBLE_DEVICES"], uuid(0)))
for name in (found.devices[0].uuid, found.devices[0].uuid[:12]):
    os.environ["CUDA_VISIBLE_DEVICES"] = name
    distpool.init(num_cpus=1)
    assert distpool.get(seen.remote(), timeout=100) == (name, uuid(0))
    distpool.shutdown()
print("both")
""", CUDA_DEVICE_ORDER="PCI_BUS_ID") == "both\n"  # fmt: skip


def test_memory_and_load_while_a_task_runs_and_memory_afterwards() -> None:
    """By NVML, whoever uses it: what the task had is gone a second after its end, with its context."""
    assert tell("""
watch, found = looked()
def load():
    watch.look(time.monotonic())
    while watch.is_asked:
        for source, _ in watch._poller.poll(100):
            watch.read(source, time.monotonic())
    return watch.loads(time.monotonic())[0]
def works(for_s):
    x = cupy.ones(1 << 27)  # 1 GiB
    until = time.monotonic() + for_s
    while time.monotonic() < until:
        x *= 1.0
        cupy.cuda.Device().synchronize()
base = used()
ref = distpool.remote(num_gpus=1)(works).remote(6)
wait(lambda: used() > base + 1000, "it has its memory")
time.sleep(1.5)
now = load()
assert now.busy > 0.2, now
assert now.used_bytes >> 20 > 1000, now
distpool.get(ref, timeout=100)
wait(lambda: used() <= base + 16, "memory of the task is still used", 5)
print("as before")
watch._give_up(0.0)
""") == "as before\n"  # fmt: skip
