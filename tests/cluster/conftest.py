"""Three hosts, and a cluster of two of them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cluster import hosts
from tests.cluster.hosts import Host

SECRET = "the secret of a cluster of tests"
PORT = 9437


@contextmanager
def _folder() -> Iterator[Path]:
    """A short one: the path of a socket has no more than 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="dp", dir="/tmp") as folder:
        yield Path(folder)


@pytest.fixture
def three() -> Iterator[list[Host]]:
    """Hosts ``a``, ``b`` and ``c``."""
    if why := hosts.refusal():
        pytest.skip(why)
    with _folder() as folder, hosts.network(folder, "a", "b", "c") as made:
        yield made


@pytest.fixture(scope="module")
def lone_head() -> Iterator[list[Host]]:
    """Three hosts, of which ``a`` holds a head; for tests that change nothing."""
    if why := hosts.refusal():
        pytest.skip(why)
    with _folder() as folder, hosts.network(folder, "a", "b", "c") as made:
        start(made[0], "--head")
        yield made


@pytest.fixture
def cluster(three: list[Host]) -> list[Host]:
    """The same; ``a`` holds the head, ``b`` has joined, both with two CPUs, and ``c`` has no part in it."""
    a, b, _ = three
    start(a, "--head")
    start(b, "--address", f"{a.address}:{PORT}")
    return three


def start(host: Host, *words: str, env: dict[str, str] | None = None) -> str:
    """``distpool start`` on a host, with two CPUs, by its name; what it prints."""
    status, text = host.run(
        *("-m", "distpool", "start", "--name", host.name, "--num-cpus", "2", "--host", host.address),
        *words,
        env={"DISTPOOL_SECRET": SECRET, **(env or {})},
    )
    assert status == 0, text
    return text


def of_cluster(host: Host) -> dict[str, str]:
    """What a program's environment says of the cluster whose head is on this host."""
    return {"DISTPOOL_ADDRESS": f"{host.address}:{PORT}", "DISTPOOL_SECRET": SECRET}


def facts_of(text: str) -> dict[str, object]:
    """What a program has printed last."""
    facts: dict[str, object] = json.loads(text.splitlines()[-1])
    return facts
