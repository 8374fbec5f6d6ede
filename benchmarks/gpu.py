"""What passing CuPy's arrays between processes costs on this machine's GPU, against what its memory and bus can do.

``python -m benchmarks.gpu [--mib 1,64,1024] [--seconds 1]`` prints a table for ``benchmarks/GPU.md``. Needs a GPU and
CuPy, and says so without.

::

    limits, in this process:   device to device · device to host, host to device (pinned)
    ways, in a child each:     there and back with one worker, on the device · over the host (DISTPOOL_DEVICE_IPC=0)
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

WAYS = {"on the device": "1", "over the host": "0"}
#: So often an array is copied on the device there and back: out of the sender's and into the receiver's, each way.
COPIES = 4


def main(argv: list[str]) -> int:
    """Measure, and print."""
    options = _options(argv)
    try:
        import cupy

        cupy.cuda.runtime.memGetInfo()
    except Exception as error:
        print(f"no GPU to measure: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    sizes = [int(size) << 20 for size in options.mib.split(",")]
    if options.way:
        print(json.dumps(_there_and_back(cupy, sizes, options.seconds)))
        return 0
    print(_about(cupy))
    limits = {
        name: _rate(what, max(sizes), options.seconds) for name, what in _limits(cupy, max(sizes)).items()
    }
    for name, rate in limits.items():
        print(f"| {name} | {rate / 1e9:,.1f} GB/s |")
    best = limits["device to device, a copy"]
    print("\n| array | way | there and back | copied at | of the device's own speed | memory left behind |")
    print("|---|---|---|---|---|---|")
    for way, switch in WAYS.items():
        for size, took_s, left in _child(options, switch):
            rate = COPIES * size / took_s
            share = f"{rate / best:.0%}" if switch == "1" else "-"
            speed = f"{rate / 1e9:,.1f} GB/s" if switch == "1" else f"{2 * size / took_s / 1e9:,.1f} GB/s"
            print(
                f"| {size >> 20:,} MiB | {way} | {took_s * 1e3:,.2f} ms | {speed} | {share} | {left >> 20} MiB |"
            )
    return 0


def _options(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--mib", default="1,16,256,1024", help="sizes of arrays, in MiB")
    parser.add_argument("--seconds", type=float, default=1.0, help="for each measurement")
    parser.add_argument("--way", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def _about(cupy: Any) -> str:
    """The device, and what its memory can do by its own word."""
    runtime = cupy.cuda.runtime
    facts = runtime.getDeviceProperties(0)
    free, total = runtime.memGetInfo()
    clock, width = (
        facts.get("memoryClockRate", 0),
        facts.get("memoryBusWidth", 0),
    )  # kHz, bits; gone in CUDA 13
    limit = f"{2 * clock * 1e3 * width / 8 / 1e9:,.0f} GB/s" if clock and width else "look it up by its name"
    name = facts["name"].decode()
    return (
        f"{name}, {total >> 20:,} MiB, {free >> 20:,} free; CuPy {getattr(cupy, '__version__', '?')}\n\n"
        f"| limit | |\n|---|---|\n| memory, read or written, by the device's own word | {limit} |"
    )


def _limits(cupy: Any, size: int) -> dict[str, Callable[[], None]]:
    """What this device does in one process."""
    one = cupy.full(size // 8, 1.0)
    two = cupy.full(size // 8, 2.0)
    pinned = cupy.cuda.alloc_pinned_memory(size)
    stream = cupy.cuda.get_current_stream()

    def between() -> None:
        two.data.copy_from_device_async(one.data, size)
        stream.synchronize()

    def out() -> None:
        one.data.copy_to_host_async(pinned.ptr, size)
        stream.synchronize()

    def into() -> None:
        one.data.copy_from_host_async(pinned.ptr, size)
        stream.synchronize()

    return {
        "device to device, a copy": between,
        "device to host, pinned": out,
        "host to device, pinned": into,
    }


def _rate(what: Callable[[], None], size: int, seconds: float) -> float:
    return size / _median_s(what, seconds)


def _median_s(what: Callable[[], None], seconds: float) -> float:
    """How long it takes, after a first time that does not count."""
    what()
    times = []
    until = time.perf_counter() + seconds
    while not times or time.perf_counter() < until:
        began = time.perf_counter()
        what()
        times.append(time.perf_counter() - began)
    return sorted(times)[len(times) // 2]


def _child(options: argparse.Namespace, switch: str) -> list[tuple[int, float, int]]:
    """A session of its own, whose processes all have that switch."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.gpu",
        "--way",
        "--mib",
        options.mib,
        "--seconds",
        str(options.seconds),
    ]
    told = subprocess.run(
        command, env={**os.environ, "DISTPOOL_DEVICE_IPC": switch}, stdout=subprocess.PIPE, check=True
    )
    return [tuple(row) for row in json.loads(told.stdout)]  # type: ignore[misc]


def _same(array: Any) -> Any:
    return array


def _there_and_back(cupy: Any, sizes: list[int], seconds: float) -> list[tuple[int, float, int]]:
    """For each size: seconds there and back, and what of the device's memory is missing afterwards."""
    import distpool

    rows = []
    with distpool.Pool(1) as pool:
        for size in sizes:
            array = cupy.full(size // 8, 1.0)
            pool.apply(_same, (array,))
            before = _free(cupy, pool)
            took_s = _median_s(lambda array=array: pool.apply(_same, (array,)), seconds)  # type: ignore[misc]
            rows.append((size, took_s, max(0, before - _free(cupy, pool))))
    return rows


def _free(cupy: Any, pool: Any) -> int:
    """What the device has free when exporters have looked and pools have given back what they keep."""
    time.sleep(0.3)
    pool.apply(_give_back)
    _give_back()
    return int(cupy.cuda.runtime.memGetInfo()[0])


def _give_back() -> None:
    import cupy

    cupy.get_default_memory_pool().free_all_blocks()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
