"""Tasks that wait for tasks, deeper than there are CPUs: what is lent, how far it goes, and what is said beyond."""

from __future__ import annotations

import os
import subprocess
import sys

import distpool
from distpool.scheduler import client
from tests.processes.scene import wait_until
from tests.remote.bodies import chain, fib, tree

PATIENCE_S = 50.0


def test_a_chain_of_sixty() -> None:
    assert distpool.get(chain.remote(60), timeout=PATIENCE_S) == 60


def test_naive_recursion() -> None:
    assert distpool.get(fib.remote(9), timeout=PATIENCE_S) == 34


def test_a_tree_of_four_levels() -> None:
    assert distpool.get(tree.remote(4, 4), timeout=PATIENCE_S) == 341


def test_who_has_waited_and_ended_leaves_nothing_in_the_session_directory(session: client.Session) -> None:
    directory = session.cluster.directory

    def sockets() -> int:
        return sum(name.startswith("owner-") for name in os.listdir(directory))

    distpool.get(chain.remote(3), timeout=PATIENCE_S)
    wait_until(
        lambda: sockets() == 1, "the workers are gone, and their sockets"
    )  # and this program's is there


PROGRAM = """
import distpool

distpool.init(num_cpus=1)

@distpool.remote
def chain(length):
    return 0 if length == 0 else 1 + distpool.get(chain.remote(length - 1))

try:
    distpool.get(chain.remote({length}), timeout=50)
except distpool.exceptions.TaskUnschedulableError as error:
    print(error)
print(distpool.get(chain.remote(3), timeout=50))
"""


def run(length: int, **environment: str) -> list[str]:
    """What a program prints whose chain is too long for its node."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(length=length)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    assert not done.stderr
    return done.stdout.splitlines()


def test_without_memory_for_more_workers_nobody_is_killed_and_it_is_said() -> None:
    *error, after = run(60, DISTPOOL_MEMORY_LIMIT="200M")
    assert "for more there is no memory" in error[-1]
    assert "returns the references" in error[-1]
    assert after == "3"
