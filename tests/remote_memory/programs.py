"""A driver whose workers may have 300 MB in all, and what its tasks do with that; run by the test as a program."""

from __future__ import annotations

import itertools
import os
import sys
import time
from pathlib import Path

import distpool
from distpool.exceptions import ActorDiedError, OutOfMemoryError

#: A task takes this much and no more, slowly enough to be seen: the machine is never in danger.
TAKES_BYTES, STEP_BYTES = 500 << 20, 20 << 20


def _eat(then_s: float = 20.0) -> None:
    kept = []
    for _ in range(TAKES_BYTES // STEP_BYTES):
        kept.append(bytearray(b"x") * STEP_BYTES)
        time.sleep(0.02)
    time.sleep(then_s)


@distpool.remote(max_retries=2)
def hungry(log: str) -> None:
    with open(log, "a") as file:
        file.write(f"{time.monotonic()}\n")
    _eat()


@distpool.remote(max_retries=2)
def hungry_once(log: str) -> str:
    """It needs less the second time."""
    if Path(log).exists():
        return "done"
    Path(log).touch()
    _eat()
    return "never"


@distpool.remote
def modest() -> int:
    time.sleep(0.05)
    return os.getpid()


@distpool.remote
class Hungry:
    def eat(self) -> None:
        _eat()


def fails(log: str) -> None:
    """After all its retries, with pauses between them; others are not touched."""
    ref = hungry.remote(log)
    modest_ones = [modest.remote() for _ in range(20)]
    try:
        distpool.get(ref, timeout=60)
    except OutOfMemoryError as error:
        print(error)
    times = [float(line) for line in Path(log).read_text().split()]
    print("attempts", len(times), "pauses", all(b - a > 0.1 for a, b in itertools.pairwise(times)))
    print("others", len(distpool.get(modest_ones)))


def comes_back(log: str) -> None:
    print(distpool.get(hungry_once.remote(log), timeout=60))


def actor(_log: str) -> None:
    it = Hungry.remote()
    try:
        distpool.get(it.eat.remote(), timeout=60)
    except ActorDiedError as error:
        print(error)


if __name__ == "__main__":
    distpool.init(num_cpus=2)
    globals()[sys.argv[1]](sys.argv[2])
    distpool.shutdown()
