"""A detached actor lives without handles, and whoever has looked it up gives it back with the last one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

import distpool
from tests.processes.scene import wait_until

AT_ONCE, ROUNDS = 4, 40
#: Descriptors of a link to a caller.
LINK = 8


@distpool.remote(num_cpus=0)
class Known:
    """Tells how many descriptors it has open."""

    def descriptors(self) -> int:
        return len(os.listdir("/proc/self/fd"))


@distpool.remote
def look_up(name: str) -> int:
    return distpool.get(distpool.get_actor(name).descriptors.remote())


@distpool.remote
def create(name: str) -> None:
    distpool.get(Known.options(name=name, lifetime="detached").remote().descriptors.remote())


@pytest.fixture(params=["a driver's", "a worker's"])
def known(request: Any) -> Iterator[Any]:
    name = f"known of {request.param}"
    if request.param == "a driver's":
        Known.options(name=name, lifetime="detached").remote()
    else:
        distpool.get(create.remote(name))
    yield name
    distpool.kill(distpool.get_actor(name))


def test_it_has_no_more_links_for_being_looked_up_again_and_again(known: str) -> None:
    """It had eight descriptors more for each time, until it died of having too many."""
    counts = [distpool.get([look_up.remote(known) for _ in range(AT_ONCE)]) for _ in range(ROUNDS)]
    few = min(map(min, counts))
    assert max(map(max, counts)) < few + 4 * AT_ONCE * LINK, "a round's links, and those that are about to go"
    handle = distpool.get_actor(known)
    wait_until(lambda: distpool.get(handle.descriptors.remote()) <= few + LINK, "they are closed")
