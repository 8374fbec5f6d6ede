"""What the crash tests have workers do: work, meet, and die in each of the ways there are."""

from __future__ import annotations

import ctypes
import importlib
import multiprocessing
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def kill_self() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def segfault() -> None:
    ctypes.string_at(0)


def exit_hard() -> None:
    os._exit(3)


def abort() -> None:
    os.abort()


def exhaust_memory() -> None:
    """Take memory until there is none, in a process that may have only little more than it has."""
    with open("/proc/self/statm") as file:
        size = int(file.read().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (size + (32 << 20), before[1]))
    hoard = []
    try:
        while True:
            hoard.append(bytearray(1 << 20))
    finally:
        hoard.clear()
        resource.setrlimit(resource.RLIMIT_AS, before)


MANNERS: dict[str, Callable[[], None]] = {
    "SIGKILL": kill_self,
    "SIGSEGV": segfault,
    "exit": exit_hard,
    "memory": exhaust_memory,
}


def note(path: str) -> int:
    """Count this call in a file, as an append that is atomic between processes; returns how many there are."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(fd, b".")
        return os.fstat(fd).st_size
    finally:
        os.close(fd)


def noted(path: str | Path) -> int:
    """How often ``note`` was called."""
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


def die(manner: str, path: str, times: int) -> str:
    """Die the first ``times`` times; "alive" after that."""
    assert multiprocessing.parent_process() is not None, "the tests' own process is not to be killed"
    if note(path) <= times:
        MANNERS[manner]()
    return "alive"


class DeadlyArgument:
    """Dies where it is unpickled."""

    def __init__(self, manner: str, path: str, times: int) -> None:
        self.how = (manner, path, times)

    def __reduce__(self) -> Any:
        return die, self.how


class DeadlyResult:
    """Dies where it is pickled."""

    def __init__(self, manner: str, path: str, times: int) -> None:
        self.how = (manner, path, times)

    def __reduce__(self) -> Any:
        return str, (die(*self.how),)


def same(thing: Any) -> Any:
    return thing


def die_in_task(manner: str, path: str, times: int) -> str:
    return die(manner, path, times)


def return_deadly(manner: str, path: str, times: int) -> Any:
    return DeadlyResult(manner, path, times)


def append_number(path: str, number: int) -> int:
    """Leave a trace of having run, one atomic line."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(fd, b"%d\n" % number)
    os.close(fd)
    return number


def append_or_abort(path: str, number: int, poison: int) -> int:
    if number == poison:
        os.abort()
    return append_number(path, number)


def square(number: int) -> int:
    return number * number


def slow_square(number: int, task_s: float = 0.001) -> int:
    until_s = time.perf_counter() + task_s
    while time.perf_counter() < until_s:
        pass
    return number * number


def wait_for_ever(path: str) -> None:
    """Run until somebody ends this; ``path`` tells that it began."""
    note(path)
    signal.pause()


def spin_for_ever(path: str) -> None:
    note(path)
    while True:
        pass


class _SlowFinalizer:
    def __init__(self, path: str) -> None:
        self.path = path

    def __del__(self) -> None:
        note(self.path)
        while True:  # until an interrupt ends it, which Python then drops
            pass


def be_interrupted_in_a_finalizer(path: str) -> None:
    """And go on for ever after it."""
    _SlowFinalizer(path)
    while True:
        pass


def import_from(folder: str, name: str) -> str:
    """Import a module that lies there, and tell what it says."""
    sys.path.insert(0, folder)
    try:
        return str(importlib.import_module(name).WORD)
    finally:
        sys.path.remove(folder)


def refuse_interrupts(path: str) -> None:
    """Run on through every KeyboardInterrupt."""
    note(path)
    while True:
        try:
            while True:
                signal.pause()
        except KeyboardInterrupt:
            pass


def meet(folder: str, name: int, of: int, within_s: float = 20.0) -> bool:
    """A barrier of files: true once all have come, which takes that they run at one time."""
    Path(folder, str(name)).touch()
    until_s = time.monotonic() + within_s
    while len(os.listdir(folder)) < of:
        if time.monotonic() > until_s:
            return False
        time.sleep(0.002)
    return True


def pid_of_worker(*_: Any) -> int:
    return os.getpid()


PLACE = "untouched"


def set_place(value: str) -> None:
    global PLACE
    PLACE = value


def set_place_and_note(value: str, path: str) -> None:
    note(path)
    set_place(value)


def get_place() -> str:
    return PLACE
