"""What the tests call remotely."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

import distpool
from compat_tests.ray.waiting import Gate


@distpool.remote(num_cpus=0)
def make(value: Any) -> Any:
    return value


@distpool.remote(num_cpus=0)
def make_behind(gate: Gate, value: Any) -> Any:
    gate.wait()
    return value


@distpool.remote(num_cpus=0)
def plus_one(value: int, *_others: Any) -> int:
    return value + 1


@distpool.remote(num_cpus=0)
def spawn(gate: Gate, value: Any) -> list[distpool.ObjectRef]:
    """A reference to what the worker that runs this owns, and what is pending."""
    return [make_behind.remote(gate, value)]


@distpool.remote(num_cpus=0)
def open_list(refs: list[distpool.ObjectRef], *_others: Any) -> list[Any]:
    return distpool.get(refs)


@distpool.remote(num_cpus=0)
def open_nested(refs: list[distpool.ObjectRef]) -> Any:
    """A reference in what a reference in a list leads to."""
    return distpool.get(distpool.get(refs[0])[0])


@distpool.remote(num_cpus=0)
def fail_with(refs: list[distpool.ObjectRef]) -> None:
    raise ErrorWithRefs(refs)


@distpool.remote(num_cpus=0)
def process() -> int:
    return os.getpid()


@distpool.remote(num_cpus=0)
def fire_and_forget(path: str, gate: Gate) -> None:
    """The call goes on after this one, whose worker owns it, has ended."""
    write_behind.remote(path, gate)


@distpool.remote(num_cpus=0)
def write_behind(path: str, gate: Gate) -> None:
    gate.wait()
    with open(path, "w") as file:
        file.write("written")


@distpool.remote(num_cpus=0)
def count_to(count: int, size_bytes: int) -> Any:
    for number in range(count):
        yield number, bytearray(size_bytes)


@distpool.remote(num_cpus=0)
def count_for_ever(path: str) -> Any:
    number = 0
    try:
        while number < 1000:
            yield number
            number += 1
    finally:
        with open(path, "w") as file:
            file.write(str(number))


@distpool.remote(num_cpus=0)
def make_zeros(size_bytes: int) -> bytearray:
    return bytearray(size_bytes)


@distpool.remote(num_cpus=0)
def grow(value: bytearray, by_bytes: int) -> bytearray:
    return value + bytearray(by_bytes)


class ErrorWithRefs(Exception):
    """It has references in it."""

    def __init__(self, refs: list[distpool.ObjectRef]) -> None:
        super().__init__(refs)
        self.refs = refs
        self.pid = 0


@distpool.remote(num_cpus=0)
class Keeper:
    """An actor that keeps references."""

    def __init__(self) -> None:
        self.kept: list[distpool.ObjectRef] = []

    def keep(self, refs: list[distpool.ObjectRef]) -> int:
        self.kept += refs
        return len(self.kept)

    def keep_and_fail(self, refs: list[distpool.ObjectRef]) -> None:
        self.kept += refs
        raise KeyError("kept all the same")

    def values(self) -> list[Any]:
        return distpool.get(self.kept)

    def give_back(self) -> list[distpool.ObjectRef]:
        kept, self.kept = self.kept, []
        return kept

    def start(self, gate: Gate, value: Any) -> list[distpool.ObjectRef]:
        self.own = [make_behind.remote(gate, value)]
        return self.own

    def finish(self, value: Any) -> list[distpool.ObjectRef]:
        ref = make.remote(value)
        distpool.get(ref)
        return [ref]

    def follow_for_ever(self, refs: list[distpool.ObjectRef]) -> None:
        distpool.get(refs)
        threading.Event().wait()

    def process(self) -> int:
        return os.getpid()

    def now_s(self) -> float:
        return time.monotonic()


@distpool.remote
def chain(length: int) -> int:
    return 0 if length == 0 else 1 + distpool.get(chain.remote(length - 1))


@distpool.remote
def fib(n: int) -> int:
    return n if n < 2 else sum(distpool.get([fib.remote(n - 1), fib.remote(n - 2)]))


@distpool.remote
def tree(levels: int, fan_out: int) -> int:
    if levels == 0:
        return 1
    return 1 + sum(distpool.get([tree.remote(levels - 1, fan_out) for _ in range(fan_out)]))
