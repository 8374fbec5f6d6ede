"""A process that does what a test tells it, in threads that the test names, on this node or another; and dies at will.

::

    test                             actor
    call("lock.acquire()", "a") ──► stdin ──► thread "a" evaluates it with the things that it was given
    Future  ◄──────────────────── stdout ◄──┘
"""

from __future__ import annotations

import os
import pickle
import queue
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any

ROOT = Path(__file__).parents[2]
#: How long anything here may take. It never does.
BOUND_S = 20.0


def wait_until(condition: Callable[[], Any], what: str, within_s: float = BOUND_S) -> None:
    """Look again and again, giving way to others, until it is true."""
    over = threading.Event()
    timer = threading.Timer(within_s, over.set)
    timer.daemon = True
    timer.start()
    try:
        while not condition():
            assert not over.wait(0.002), f"not within {within_s:g} s: {what}"
    finally:
        timer.cancel()
        timer.join()


class Actor:
    """One such process; ``things`` are the names that its expressions may use."""

    def __init__(self, node: str | None = None, **things: Any) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        if node is not None:
            environment["DISTPOOL_NODE"] = node
        self._process = subprocess.Popen(
            [sys.executable, "-W", "always", "-m", "tests.shared.actor"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            cwd=ROOT,
        )
        self.pid = self._process.pid
        self._calls: dict[int, Future[Any]] = {}
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.tell("things", things)

    def tell(self, what: str, *details: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(pickle.dumps((what, *details)))
        self._process.stdin.flush()

    def start(self, expression: str, thread: str = "main") -> Future[Any]:
        """Have it evaluated; the answer is for later."""
        number = len(self._calls)
        future = self._calls[number] = Future()
        self.tell("call", number, expression, thread)
        return future

    def call(self, expression: str, thread: str = "main") -> Any:
        """Have it evaluated, and what came of it."""
        return self.start(expression, thread).result(BOUND_S)

    def kill(self) -> None:
        """SIGKILL, and see it dead."""
        self._process.kill()
        self._process.wait(BOUND_S)

    def send_signal(self, number: int) -> None:
        self._process.send_signal(number)

    def close(self) -> None:
        self.kill()
        self._reader.join(BOUND_S)
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            try:
                stream.close()
            except BrokenPipeError:
                pass

    def __enter__(self) -> Actor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        try:
            while True:
                number, error, value = pickle.load(self._process.stdout)
                if error is None:
                    self._calls[number].set_result(value)
                else:
                    self._calls[number].set_exception(error)
        except (EOFError, pickle.UnpicklingError):
            for future in list(self._calls.values()):
                if not future.done():
                    future.set_exception(ChildProcessError("the actor is dead"))


class _Stage:
    """The process's own side."""

    def __init__(self) -> None:
        self._names: dict[str, Any] = {"os": os, "threading": threading}
        self._queues: dict[str, queue.SimpleQueue[tuple[int, str]]] = {"main": queue.SimpleQueue()}
        self._writing = threading.Lock()
        self._out = os.fdopen(os.dup(1), "wb")
        os.dup2(2, 1)

    def play(self) -> None:
        threading.Thread(target=self._listen, daemon=True).start()
        while True:
            try:
                self._perform("main")
            except KeyboardInterrupt:
                pass

    def _listen(self) -> None:
        try:
            while True:
                message = pickle.load(sys.stdin.buffer)
                if message[0] == "things":
                    self._names.update(message[1])
                    continue
                _, number, expression, thread = message
                if thread not in self._queues:
                    self._queues[thread] = queue.SimpleQueue()
                    threading.Thread(target=self._perform, args=(thread,), daemon=True).start()
                self._queues[thread].put((number, expression))
        except EOFError:
            os._exit(0)

    def _perform(self, thread: str) -> None:
        while True:
            number, expression = self._queues[thread].get()
            try:
                answer = pickle.dumps((number, None, eval(expression, self._names)))
            except BaseException as error:
                answer = pickle.dumps((number, error, None))
            with self._writing:
                self._out.write(answer)
                self._out.flush()


if __name__ == "__main__":
    _Stage().play()
