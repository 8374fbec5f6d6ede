"""Tasks that print, in every way in which a process can."""

from __future__ import annotations

import atexit
import logging
import os
import subprocess
import sys
import threading
import time
from typing import Any

from distpool.pool import Pool

BOUND_S = 20.0


def in_every_way(number: int) -> int:
    print("print", number)
    print("print to stderr", number, file=sys.stderr)
    os.write(1, b"C to stdout %d\n" % number)
    os.write(2, b"C to stderr %d\n" % number)
    subprocess.run(["sh", "-c", f"echo child {number}; echo child to stderr {number} >&2"], check=True)
    print("a", end="")
    print("b", number, flush=True)
    return number


def number_lines(count: int, length: int = 0) -> int:
    for number in range(count):
        print(number, "x" * length)
    return count


def number_lines_later(count: int) -> None:
    """When the call has ended: a thread goes on, and so do exit handlers."""

    def go_on() -> None:
        time.sleep(0.05)
        number_lines(count - 10)

    threading.Thread(target=go_on).start()
    for number in reversed(range(count - 10, count)):
        atexit.register(print, number, "")


def wait_for(path: str) -> None:
    until_s = time.monotonic() + BOUND_S
    while not os.path.exists(path):
        assert time.monotonic() < until_s
        time.sleep(0.005)


def child_that_waits(path: str) -> None:
    """Its child prints, waits, and prints again; this process does nothing meanwhile."""
    program = f"import os, sys, time\nprint('begun', flush=True)\nprint('half', end='', flush=True)\n\
while not os.path.exists({path!r}): time.sleep(0.005)\nprint(' a line')"
    subprocess.run([sys.executable, "-c", program], check=True)


def print_and_log(count: int) -> None:
    for number in range(count):
        print("print", number)
        logging.getLogger("far").info("log %d", number)


def print_and_die() -> None:
    print("last words")
    os.kill(os.getpid(), 9)


def print_until_interrupted(logs: bool) -> None:
    number = 0
    while True:
        print(number)
        if logs:
            logging.getLogger("far").info("log %d", number)
        number += 1


def print_to_both(count: int) -> None:
    for number in range(count):
        print("out", number)
        print("err", number, file=sys.stderr)
        print("and", number, file=sys.stderr)


def in_inner_pool(resources: dict[str, float], count: int) -> int:
    with Pool(1, resources=resources) as pool:
        return int(pool.apply(number_lines, (count,)))


def truncate_own_log() -> None:
    """As ``echo > /dev/stdout`` of a shell does."""
    print("before", flush=True)
    os.truncate("/proc/self/fd/1", 0)
    print("after")


def has_prints() -> bool:
    """Whether this worker looks at what is printed."""
    from distpool.scheduler.shells import remarks

    return remarks._open is not None and remarks._open.prints is not None


class Talker:
    """An actor."""

    def say(self, word: Any) -> None:
        print(word)
