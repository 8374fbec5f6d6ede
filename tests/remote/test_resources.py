"""What is said to be free: what a worker holds that only waits for the next call is."""

from __future__ import annotations

import time

import distpool
from distpool.scheduler import client
from tests.remote import bodies
from tests.remote.conftest import CPUS

PATIENCE_S = 20.0


@distpool.remote
def hold(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def free() -> float:
    return distpool.available_resources().get("CPU", 0.0)


def test_what_idle_workers_hold_is_free(session: client.Session) -> None:
    """However long they are kept."""
    until_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < until_s:
        distpool.get([hold.remote(0.0) for _ in range(CPUS)])
        while resting := session.core.idling.resting():
            if free() == CPUS and session.core.idling.resting() == resting:
                return
    raise AssertionError(f"{free()} CPUs are said to be free, and workers idle")


def test_no_more_is_free_than_there_is(session: client.Session) -> None:
    for _ in range(30):
        distpool.get(hold.remote(0.0))
        assert free() <= CPUS


def test_what_runs_is_not_free(session: client.Session) -> None:
    distpool.get(bodies.make.remote(1))
    running = hold.remote(1.0)
    least = CPUS
    while not running.settled:
        least = min(least, free())
    assert least <= CPUS - 1
