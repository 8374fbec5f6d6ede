"""What the crash tests stand on: drivers to be killed, what is left of them, and conditions that are waited for.

A driver of its own process carries a mark in its environment, which every process of its session inherits, however
it is reparented or renamed. So "nothing is left" is a fact about marks, not about pids that somebody remembered.
"""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from distpool.scheduler import client
from distpool.scheduler.shells import processes
from tests.processes.harness import BOUND_S, ROOT

MARK = "DISTPOOL_TEST_MARK"
SOAK = os.environ.get("DISTPOOL_SOAK") == "1"
SOAK_SHARE = float(os.environ.get("DISTPOOL_SOAK_SHARE", "1"))

_TAKE_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


def count(check: int, soak: int) -> int:
    """How often: a sample in `make check`, the whole number in `make soak` (or the share of it that was asked for)."""
    return max(1, round(soak * SOAK_SHARE)) if SOAK else check


def wait_until(
    condition: Callable[[], Any], what: str | Callable[[], str], within_s: float = BOUND_S
) -> None:
    """Poll a fact about other processes, which nothing announces, until it is true.

    ``what`` may be a call: so that the error says what there was instead.
    """
    until_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < until_s, f"not within {within_s} s: {what() if callable(what) else what}"
        select.select([], [], [], 0.005)


def check_core() -> None:
    """Assert the invariants of this process's OwnerCore, under its lock, and raise what they raise here."""
    session = client.session()
    done = threading.Event()
    errors: list[BaseException] = []

    def check() -> None:
        try:
            session.core.check()
        except BaseException as error:
            errors.append(error)
        done.set()

    session.leading.tell(check)
    assert done.wait(BOUND_S), "the engine does not answer"
    if errors:
        raise errors[0]


class Driver:
    """A Python program in a process of its own, on pipes or on a terminal of its own, with a mark."""

    def __init__(
        self,
        code: str,
        *args: str,
        tty: bool = False,
        interactive: bool = False,
        env: Mapping[str, str] | None = None,
        stderr: int | None = None,
    ) -> None:
        self.mark = uuid.uuid4().hex
        self.output = b""
        program = ["-i", "-q"] if interactive else ["-c", code, *args]
        command = [sys.executable, *program]
        environment = {**os.environ, "PYTHONPATH": ROOT, MARK: self.mark, "TERM": "dumb", **(env or {})}
        if tty:
            self._fd, theirs = pty.openpty()
            self.process = subprocess.Popen(
                [sys.executable, "-c", _TAKE_TERMINAL, *command],
                stdin=theirs,
                stdout=theirs,
                stderr=theirs,
                env=environment,
                start_new_session=True,
            )
            os.close(theirs)
        else:
            self._fd, theirs = os.pipe()
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=theirs,
                stderr=theirs if stderr is None else stderr,
                env=environment,
                start_new_session=True,
            )
            os.close(theirs)

    @property
    def text(self) -> str:
        """All that it has written so far."""
        return self.output.decode(errors="replace").replace("\r\n", "\n")

    def type(self, text: str) -> None:
        """Press keys on its terminal."""
        os.write(self._fd, text.encode())

    def read_until(self, words: str, within_s: float = BOUND_S) -> str:
        """Read until ``words`` come; returns what came from here on, and forgets it."""
        until_s = time.monotonic() + within_s
        while words.encode() not in self.output.replace(b"\r\n", b"\n"):
            assert self._read(until_s - time.monotonic()), (
                f"{words!r} did not come within {within_s} s: {self.text}"
            )
        text, self.output = self.text, b""
        return text

    def finish(self, within_s: float = BOUND_S) -> str:
        """Wait for its end and for that of its output; returns what it wrote. It must end within this time."""
        until_s = time.monotonic() + within_s
        while self._read(until_s - time.monotonic()):
            pass
        try:
            self.process.wait(max(0.0, until_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it did not end within {within_s} s: {self.text}") from None
        return self.text

    def _read(self, within_s: float) -> bool:
        if not select.select([self._fd], [], [], max(0.0, within_s))[0]:
            return False
        try:
            data = os.read(self._fd, 65536)
        except OSError:  # a terminal that nobody holds any more
            return False
        self.output += data
        return bool(data)

    def left(self) -> list[int]:
        """The living processes that bear the mark."""
        return marked(self.mark)

    def expect_nothing_left(self, within_s: float = 5.0) -> None:
        """No process of the session outlives this."""
        wait_until(lambda: not self.left(), f"the processes of the session end ({self.text})", within_s)

    def close(self) -> None:
        """End it, and after a moment everything that bears its mark still; give the descriptor back."""
        self.process.kill()
        self.process.wait()
        until_s = time.monotonic() + 5.0
        while self.left() and time.monotonic() < until_s:
            select.select([], [], [], 0.005)
        for pid in self.left():
            processes.kill(pid)
        os.close(self._fd)


@contextmanager
def driver(code: str = "", *args: str, **options: Any) -> Iterator[Driver]:
    """A Driver that is gone afterwards, whatever happens."""
    it = Driver(code, *args, **options)
    try:
        yield it
    finally:
        it.close()


def run(code: str, *args: str, within_s: float = BOUND_S, **options: Any) -> str:
    """Run a driver to its good end; returns its output. Nothing of it may be left."""
    with driver(code, *args, **options) as it:
        text = it.finish(within_s)
        assert it.process.returncode == 0, text
        it.expect_nothing_left()
        return text


def marked(mark: str) -> list[int]:
    """The living processes whose environment bears this mark."""
    needle = f"{MARK}={mark}".encode()
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            environment = Path(f"/proc/{name}/environ").read_bytes()
        except OSError:
            continue
        if needle in environment and processes.start_time(int(name)) is not None:
            found.append(int(name))
    return found


def session_directories(parent: str) -> list[str]:
    """The session directories in a folder."""
    return sorted(name for name in os.listdir(parent) if name.startswith("distpool-"))
