"""What runs while the commands look. Whoever waits, waits for a file, and not for longer than a bound."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import distpool

BOUND_S = 60.0


def wait_for_file(path: Path) -> None:
    ends_s = time.monotonic() + BOUND_S
    while not path.exists():
        assert time.monotonic() < ends_s, f"{path} never came"
        time.sleep(0.002)


def after(path: Path, value: Any) -> Any:
    wait_for_file(path)
    return value


remote_after = distpool.remote(after)


@distpool.remote
def use(value: Any) -> Any:
    return value


@distpool.remote(num_cpus=2)
def asks_for_two() -> int:
    return 2


@distpool.remote
def calls_another(path: Path) -> Any:
    return distpool.get(remote_after.options(name="inner", num_cpus=2).remote(path, 1))


@distpool.remote(num_cpus=0.1)
def keeps_the_lock(path: Path) -> int:
    """In C, with Python's lock, for some seconds."""
    path.touch()
    return sum(range(150_000_000))


@distpool.remote(num_cpus=0.1)
def tells_its_pid(started: Path, path: Path) -> int:
    started.write_text(str(os.getpid()))
    wait_for_file(path)
    return os.getpid()


@distpool.remote(num_cpus=0)
class Waiter:
    def __init__(self, path: Path | None = None) -> None:
        if path is not None:
            wait_for_file(path)

    def pid(self) -> int:
        return os.getpid()

    def after(self, path: Path, value: Any) -> Any:
        return after(path, value)


@distpool.remote(num_cpus=0)
class Sleeper:
    async def until(self, path: Path) -> int:
        while not path.exists():
            await asyncio.sleep(0.005)
        return os.getpid()
