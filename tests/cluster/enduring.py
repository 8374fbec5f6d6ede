"""A program that keeps a cluster busy until a file is there. Prints "begun", and in the end, as JSON, what it counted.

Tasks, calls of a named actor and steps in ``distpool.kv`` go on all the time, each on a thread of its own.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import distpool
from distpool import kv


@distpool.remote
def square(number: int) -> int:
    time.sleep(0.01)
    return number * number


@distpool.remote(num_cpus=0)
class Counter:
    def __init__(self) -> None:
        self.count = 0

    def add(self) -> int:
        self.count += 1
        return self.count


class Busy:
    """Does something again and again until it is told to stop: how often, and the longest that one took."""

    def __init__(self, step: Callable[[int], None]) -> None:
        self.done, self.longest_s, self.error = 0, 0.0, ""
        self._step = step
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                began_s = time.monotonic()
                self._step(self.done)
                self.done += 1
                self.longest_s = max(self.longest_s, time.monotonic() - began_s)
        except BaseException as error:
            self.error = repr(error)

    def end(self) -> dict[str, object]:
        self._stop.set()
        self._thread.join()
        return {"done": self.done, "longest_s": round(self.longest_s, 3), "error": self.error}


def run_tasks(_: int) -> None:
    assert distpool.get([square.remote(number) for number in range(8)]) == [n * n for n in range(8)]


def count(done: int) -> None:
    """Nobody else counts: each step must succeed, and once."""
    expected = None if done == 0 else str(done).encode()
    assert kv.compare_and_set("count", expected, str(done + 1).encode())


def main(end: Path) -> None:
    distpool.init()
    counter = Counter.options(name="counter").remote()

    def call(done: int) -> None:
        assert distpool.get(counter.add.remote()) == done + 1

    parts = {"tasks": run_tasks, "calls": call, "count": count}
    run_tasks(0)
    busy = {name: Busy(step) for name, step in parts.items()}
    print("begun", flush=True)
    while not end.exists():
        time.sleep(0.01)
    for one in busy.values():  # each goes on
        at = one.done
        while one.done <= at + 1 and not one.error:
            time.sleep(0.01)
    facts = {name: one.end() for name, one in busy.items()}
    found = distpool.get(distpool.get_actor("counter").add.remote())
    print(json.dumps({**facts, "found": found, "kept": int(kv.get("count") or b"0")}))
    distpool.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
