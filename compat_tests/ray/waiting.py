"""How a test waits for its tasks and its tasks for it, in any process, without sleeping and without Ray's own means.

A `Gate` is a locked file: closed as long as the test holds the lock, open for ever after. `Marks` is a file to
which tasks append lines. Both are nothing but a path, so they travel to workers and survive every death.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from typing import TypeVar

LOOK_S = 0.02
PATIENCE_S = 20.0

T = TypeVar("T")


def eventually(look: Callable[[], T], patience_s: float = PATIENCE_S) -> T:
    """Look again and again until there is something true to see, and return it."""
    deadline = time.monotonic() + patience_s
    while not (seen := look()):
        assert time.monotonic() < deadline, f"not within {patience_s:g} s; the last look gave {seen!r}"
        time.sleep(LOOK_S)
    return seen


def call_until_it_raises(call: Callable[[], object], patience_s: float = PATIENCE_S) -> None:
    """Call again and again: a death that was ordered may be still to come. What is raised goes to the caller."""
    eventually(lambda: call() and False, patience_s)


def has_ended(process: int) -> bool:
    """Whether a process is no more, or waits only to be reaped."""
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):  # the second: between opening and reading
        return True


class Marks:
    """Lines that any process may add: who was here, how often, in what order."""

    def __init__(self, path: str) -> None:
        self.path = path

    def add(self, text: object) -> int:
        """Append a line in one write; returns how many there are now."""
        handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(handle, f"{text}\n".encode())
        finally:
            os.close(handle)
        return len(self.lines())

    def lines(self) -> list[str]:
        try:
            with open(self.path) as file:
                return file.read().splitlines()
        except FileNotFoundError:
            return []

    def wait_count(self, count: int) -> list[str]:
        """Wait until there are so many lines."""
        return eventually(lambda: lines if len(lines := self.lines()) >= count else [])


class Gate:
    """What a task waits at until the test opens it. `arrived` has a line for each that came."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.arrived = Marks(path + ".arrived")
        self._holder: int | None = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._holder, fcntl.LOCK_EX)

    def __getstate__(self) -> dict[str, object]:
        return {"path": self.path, "arrived": self.arrived, "_holder": None}

    def wait(self) -> None:
        """Stand there until it is open. Python code runs all the while, so that an interrupt is met soon."""
        self.arrived.add(os.getpid())
        handle = os.open(self.path, os.O_RDWR)
        try:
            while not self._is_open(handle):
                time.sleep(LOOK_S)
        finally:
            os.close(handle)

    @staticmethod
    def _is_open(handle: int) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def open(self) -> None:
        """Let everybody through, those who come later too."""
        if self._holder is not None:
            os.close(self._holder)
            self._holder = None
