"""What the tasks of these tests do; importable in workers."""

import os
import signal
import time

WAIT_S = 20.0


def wait_for(path: str) -> None:
    """Wait until a file is there."""
    until = time.monotonic() + WAIT_S
    while not os.path.exists(path):
        if time.monotonic() > until:
            raise TimeoutError(path)
        time.sleep(0.002)


def pass_gate(gate: str | None) -> None:
    """Return at once, or when the gate is open."""
    if gate is not None:
        wait_for(gate)


def two(first: int, second: int) -> int:
    return first + second


def fail_at_three(number: int) -> int:
    if number == 3:
        raise ValueError("three")
    return number


def fail_at_three_then_nap(number: int) -> int:
    """So that the map has not ended by itself when its caller sees the failure."""
    if number > 3:
        nap()
    return fail_at_three(number)


def die_once(item: tuple[int, str]) -> int:
    """End the worker, the first time that there is something to do."""
    number, marker = item
    time.sleep(0.01)
    if marker and not os.path.exists(marker):
        with open(marker, "w"):
            pass
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def slow(number: int) -> int:
    time.sleep(0.005)
    return number


def nap(_argument: object = None) -> None:
    time.sleep(0.2)


def kilobytes(count: int) -> bytes:
    return bytes(range(256)) * (4 * count)


def nap_at_three(number: int) -> int:
    if number == 3:
        time.sleep(20)
    return number
