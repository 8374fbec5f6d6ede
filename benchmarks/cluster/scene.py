"""Clusters to measure on: hosts as in ``tests.cluster``, each a network namespace, and programs that run on one.

::

    row ── bring up: start --head on a, start --address on the others ── run program.py on a ──► facts, as JSON
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.model import NotOffered
from tests.cluster import hosts
from tests.cluster.hosts import Host

SECRET = "the secret of a cluster of benchmarks"
PORT = 9437


@contextmanager
def cluster(*names: str, cpus: int = 2, joined: int | None = None) -> Iterator[list[Host]]:
    """Hosts by these names; the first holds the head, and so many (all) have joined.

    Raises:
        NotOffered: there can be no such hosts here, and why.
    """
    if why := hosts.refusal():
        raise NotOffered(f"skipped: {why}")
    with (
        tempfile.TemporaryDirectory(prefix="dp", dir="/tmp") as folder,
        hosts.network(Path(folder), *names) as made,
    ):
        for host in made[: len(made) if joined is None else joined]:
            status, text = host.run(*start_words(host, made[0], cpus), env={"DISTPOOL_SECRET": SECRET})
            assert status == 0, text
        yield made


def start_words(host: Host, head: Host, cpus: int = 2) -> list[str]:
    """What starts a node on a host."""
    which = ["--head"] if host is head else ["--address", f"{head.address}:{PORT}"]
    plain = ["start", "--name", host.name, "--num-cpus", str(cpus), "--host", host.address]
    return ["-m", "distpool", *plain, *which]


def of_cluster(head: Host) -> dict[str, str]:
    """What a program's environment says of the cluster with this head."""
    return {"DISTPOOL_ADDRESS": f"{head.address}:{PORT}", "DISTPOOL_SECRET": SECRET}


def run(
    host: Host, head: Host, *words: str, within_s: float = 120.0, env: Mapping[str, str] = {}
) -> dict[str, Any]:
    """What a program of ``program`` on this host has found out."""
    environment = {**of_cluster(head), **env}
    status, text = host.run("-m", "benchmarks.cluster.program", *words, env=environment, within_s=within_s)
    assert status == 0, text
    facts: dict[str, Any] = json.loads(text.splitlines()[-1])
    return facts
