"""A node dies with the workers that have made values: what is needed of them is elsewhere, or is made again."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import distpool
from distpool.scheduler.shells import processes
from distpool.scheduler.shells.joining import JoiningAgent
from distpool.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from tests.nodes.conftest import everything, expect_gone
from tests.processes.scene import wait_until
from tests.remote_lost import bodies
from tests.remote_lost.bodies import lose, noted

pytestmark = pytest.mark.timeout(90)


def on_b_if_it_is_there() -> NodeAffinitySchedulingStrategy:
    (node,) = [node["NodeID"] for node in distpool.nodes() if node["NodeName"] == "b"]
    return NodeAffinitySchedulingStrategy(node, soft=True)


def kill(agent: JoiningAgent) -> None:
    """Its agent; the rest of the node ends itself."""
    pids = everything(agent)
    processes.kill(agent.pid)
    expect_gone(agent, pids)


def test_what_it_has_made_outlives_it_and_what_was_made_of_that_is_made_again(
    join: Callable[..., JoiningAgent], tmp_path: Path
) -> None:
    agent = join(resources={"CPU": 2.0})
    log = str(tmp_path / "log")
    there = bodies.make.options(scheduling_strategy=on_b_if_it_is_there()).remote(log, 3.0)
    here = bodies.plus.remote(log, there, 1.0)
    assert distpool.get(here)[0] == 4.0
    kill(agent)
    assert distpool.get(there)[0] == 3.0
    assert distpool.get(bodies.first_of.remote([there]), timeout=20) == 3.0
    lose(here)
    assert distpool.get(here, timeout=20)[0] == 4.0
    del there
    gc.collect()
    lose(here)
    assert distpool.get(here, timeout=20)[0] == 4.0
    assert noted(log) == ["make", "plus", "plus", "make", "plus"], "nobody had kept what it was made of"


def test_what_was_made_where_its_arguments_lay_is_made_again(
    join: Callable[..., JoiningAgent], tmp_path: Path
) -> None:
    agent = join(resources={"CPU": 2.0})
    log = str(tmp_path / "log")
    big = bodies.make.options(scheduling_strategy=on_b_if_it_is_there()).remote(log, 3.0, 2_000_000)
    made = bodies.plus.remote(log, big, 1.0)
    distpool.wait([made], fetch_local=False)
    kill(agent)
    assert distpool.get(made, timeout=30)[0] == 4.0
    assert noted(log) == ["make", "plus", "make", "plus"], "both were on b"


def test_what_only_this_node_has_a_copy_of_can_be_read_on_others(
    join: Callable[..., JoiningAgent], tmp_path: Path
) -> None:
    """It is looked for where it was made; that node is gone, and the call that made it may not be repeated."""
    agent = join(resources={"CPU": 2.0})
    log = str(tmp_path / "log")
    on_b = on_b_if_it_is_there()
    there = bodies.make.options(scheduling_strategy=on_b, max_retries=0).remote(log, 3.0)
    assert distpool.get(there)[0] == 3.0  # the copy
    kill(agent)
    join("c", resources={"CPU": 2.0})
    on_c = bodies.plus.options(resources={"node:c": 0.001})
    assert distpool.get(on_c.remote(log, there, 1.0), timeout=30)[0] == 4.0
    nested = bodies.first_of.options(resources={"node:c": 0.001})
    assert distpool.get(nested.remote([there]), timeout=30) == 3.0
    assert noted(log) == ["make", "plus"]


def test_what_was_yielded_there_is_made_again_by_one_run(
    join: Callable[..., JoiningAgent], tmp_path: Path
) -> None:
    agent = join(resources={"CPU": 2.0})
    log = str(tmp_path / "log")
    options: dict[str, Any] = {"scheduling_strategy": on_b_if_it_is_there(), "max_retries": 1}
    refs = list(bodies.streams.options(**options).remote(log, 4))
    assert distpool.get(refs[0])[0] == 0
    kill(agent)
    assert [array[0] for array in distpool.get(refs, timeout=30)] == [0, 1, 2, 3]
    assert len(noted(log)) <= 8


def test_what_it_was_about_to_make_is_made_elsewhere(
    join: Callable[..., JoiningAgent], tmp_path: Path
) -> None:
    agent = join(resources={"CPU": 2.0})
    ready, go = tmp_path / "ready", tmp_path / "go"
    options: dict[str, Any] = {"scheduling_strategy": on_b_if_it_is_there()}
    there = bodies.first_of_when.options(**options).remote([distpool.put([7.0])], str(ready), str(go))
    wait_until(ready.exists, "it runs there")
    kill(agent)
    go.touch()
    assert distpool.get(there, timeout=30) == 7.0
