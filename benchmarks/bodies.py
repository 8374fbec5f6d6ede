"""The task bodies that every library runs, fixed before any tuning.

A module of their own, importable in every worker, so that no library pays for shipping code by value and
none can be given an easier task than another.
"""

import os
import time
from collections.abc import Iterator
from typing import TypeVar

T = TypeVar("T")

ONE_MILLISECOND_S = 0.001


def null_task(argument: T) -> T:
    """The empty task: give the argument back."""
    return argument


def spin_one_millisecond(argument: T) -> T:
    """Keep a core busy for one millisecond of wall-clock time, then give the argument back."""
    end = time.perf_counter() + ONE_MILLISECOND_S
    while time.perf_counter() < end:
        pass
    return argument


def process_id(_argument: object) -> int:
    """The worker's process id, after a millisecond: long enough for the other workers to take a share."""
    spin_one_millisecond(None)
    return os.getpid()


def numbers(count: int) -> Iterator[int]:
    """0, 1, ... count - 1 as a generator: an iterable without a length."""
    yield from range(count)
