"""Work goes where its big arguments are, as long as there is room."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import distpool
from distpool.scheduler.node_identity import current_node
from distpool.scheduler.shells.joining import JoiningAgent
from tests.nodes import bodies
from tests.nodes.conftest import ON_B
from tests.processes.scene import wait_until

pytestmark = pytest.mark.timeout(120)

MB = 1_000_000
make_on_b = distpool.remote(resources=ON_B)(bodies.pattern)


@distpool.remote
def where(*arrays: Any) -> str:
    return bodies.node()


@distpool.remote
def wait_for(path: str, *arrays: Any) -> str:
    while not Path(path).exists():
        pass
    return bodies.node()


def test_a_call_follows_its_data(second_agent: JoiningAgent) -> None:
    big, small, mine = (
        make_on_b.remote(20 * MB),
        make_on_b.remote(MB // 2),
        distpool.put(bodies.pattern(8 * MB)),
    )
    distpool.wait([big, small], num_returns=2)
    # Those that have made it are still there, and a call does not wait for long until they are gone.
    wait_until(lambda: distpool.get(where.remote(big)) == "b", "it is made where its data is")
    wait_until(lambda: distpool.get(where.remote(small, big, mine)) == "b", "where most of it is")
    assert distpool.get(where.remote(mine, small)) == current_node()
    assert distpool.get(where.remote(small)) == current_node(), "not worth going there"
    pinned = where.options(resources={f"node:{current_node()}": 0.001})
    assert distpool.get(pinned.remote(big)) == current_node(), "what is asked for comes first"


def test_where_there_is_no_room_the_data_comes_here(second_agent: JoiningAgent, tmp_path: Path) -> None:
    big, go = make_on_b.remote(20 * MB), tmp_path / "go"
    distpool.wait([big])
    busy = distpool.remote(resources=ON_B, num_cpus=2)(_spin).remote(str(go))
    there = [wait_for.remote(str(go), big) for _ in range(3)]
    go.touch()
    assert set(distpool.get(there)) <= {"b", current_node()}
    distpool.get(busy)


def _spin(path: str) -> None:
    while not Path(path).exists():
        pass
