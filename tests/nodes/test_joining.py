"""A node joins, is given work, and leaves; and what is refused, in words that help."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import distpool
from distpool.errors import ClusterError
from distpool.futures import ProcessPoolExecutor
from distpool.scheduler import client
from distpool.scheduler.node_identity import VARIABLE, belong_to, current_node
from distpool.scheduler.shells.joining import JoiningAgent
from tests.nodes import bodies
from tests.nodes.conftest import ON_B, everything, expect_gone
from tests.processes.bodies import meet
from tests.processes.harness import BOUND_S, ROOT
from tests.processes.scene import wait_until

pytestmark = pytest.mark.timeout(120)


def test_a_pool_asks_for_workers_of_another_node_by_name(pool_on_b: Any, tmp_path: Path) -> None:
    assert pool_on_b.starmap(meet, [(str(tmp_path), name, 2) for name in "ab"], 1) == [True, True]
    told = pool_on_b.map(bodies.pid_and_node, range(100), 1)
    assert {node for _, node in told} == {"b"}
    assert len({pid for pid, _ in told}) == 2
    assert sum(pool_on_b.map(abs, range(50_000))) == sum(range(50_000))
    with pytest.raises(ZeroDivisionError):
        pool_on_b.apply(divmod, (1, 0))


def test_an_executor_does_too(second_agent: JoiningAgent) -> None:
    with ProcessPoolExecutor(2, resources=ON_B) as executor:
        assert executor.submit(bodies.node).result(BOUND_S) == "b"
        assert set(executor.map(bodies.node, range(20))) == {"b"}


def test_what_does_not_fit_at_home_runs_elsewhere(
    engine: client.Session, second_agent: JoiningAgent, make_pool: Callable[..., Any], tmp_path: Path
) -> None:
    from distpool.cpus import cpu_count

    count = cpu_count() + 2
    pool = make_pool(count, resources={"CPU": 1})
    assert all(pool.starmap(meet, [(str(tmp_path), str(number), count) for number in range(count)], 1))
    info = [worker.node for worker in pool._engine_pool.workers()]
    assert sorted(info) == sorted([current_node()] * cpu_count() + ["b"] * 2)


def test_who_belongs_to_which_node(
    engine: client.Session, pool_on_b: Any, make_pool: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = current_node()
    at_home = make_pool(1)
    for pool, expected in ((at_home, here), (pool_on_b, "b")):
        assert pool.apply(bodies.node) == expected
        assert pool.apply(bodies.node_of_a_child) == expected
        assert pool.apply(bodies.node_of_a_spawned_child) == expected
    assert engine.cluster.node == here != "b"
    assert bodies.node_of_a_child() == here, "a program that this one starts"
    unrelated = subprocess.run(
        [sys.executable, "-c", bodies.ASK_NODE], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert unrelated.stdout.strip() == here, "no word has to pass for that"


def test_the_environment_of_the_program_does_not_bring_its_node_along(
    second_agent: JoiningAgent, make_pool: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "somewhere-else")
    monkeypatch.setenv("ALSO", "this")
    pool = make_pool(1, resources=ON_B)
    assert pool.apply(os.getenv, (VARIABLE,)) == "b"
    assert pool.apply(os.getenv, ("ALSO",)) == "this"


def test_a_task_there_has_a_pool_of_its_own(pool_on_b: Any) -> None:
    assert pool_on_b.apply(bodies.sum_of_nested_pool, (1000,)) == ("b", {"b"}, sum(range(1000)))


def test_what_no_node_has_is_refused_at_once(
    second_agent: JoiningAgent, make_pool: Callable[..., Any]
) -> None:
    started_s = time.monotonic()
    pool = make_pool(1, resources={"node:nowhere": 0.001})
    with pytest.raises(
        distpool.errors.PoolBroken, match=r"node:nowhere 0\.001.*no node has that.*b has CPU 2"
    ):
        pool.apply(bodies.node)
    assert time.monotonic() - started_s < 10.0


def test_a_node_that_comes_later_is_found(
    engine: client.Session, join: Callable[..., JoiningAgent], make_pool: Callable[..., Any]
) -> None:
    with pytest.raises(distpool.errors.PoolBroken, match="no node has that"):
        make_pool(1, resources={"node:c": 0.001}).apply(bodies.node)
    join("c")
    assert make_pool(1, resources={"node:c": 0.001}).apply(bodies.node) == "c"


def test_three_nodes(
    join: Callable[..., JoiningAgent], second_agent: JoiningAgent, make_pool: Callable[..., Any]
) -> None:
    join("c")
    pools = {node: make_pool(1, resources={f"node:{node}": 0.001}) for node in ("b", "c", current_node())}
    for node, pool in pools.items():
        assert pool.apply(bodies.node) == node


def test_resize_and_close(pool_on_b: Any, second_agent: JoiningAgent, tmp_path: Path) -> None:
    pool = pool_on_b._engine_pool

    def alive() -> int:
        return sum(worker.exit_code is None for worker in pool.workers())

    wait_until(lambda: alive() == 2, "two workers are up")
    pool.resize(4)
    assert all(pool_on_b.starmap(meet, [(str(tmp_path), str(number), 4) for number in range(4)], 1))
    pool.resize(1)
    wait_until(lambda: alive() == 1, "three of four workers leave")
    assert pool_on_b.map(bodies.node, range(10)) == ["b"] * 10
    pool_on_b.close()
    pool_on_b.join()
    wait_until(lambda: len(everything(second_agent)) == 2, "only agent and nursery are left")


def test_a_name_can_be_had_once(join: Callable[..., JoiningAgent], second_agent: JoiningAgent) -> None:
    with pytest.raises(ClusterError, match=r"a node named b is alive at .*; give this one another name"):
        join()
    with pytest.raises(ClusterError, match="holds the head; give this one another name"):
        join(current_node())
    with pytest.raises(ValueError, match="cannot be the name of a node"):
        join("b:c")


def test_a_name_is_free_again_when_its_node_has_gone(
    join: Callable[..., JoiningAgent], make_pool: Callable[..., Any]
) -> None:
    for _ in range(2):
        agent = join()
        assert make_pool(1, resources=ON_B).apply(bodies.node) == "b"
        pids = everything(agent)
        agent.stop()
        expect_gone(agent, pids)


def test_only_the_head_can_be_joined(second_agent: JoiningAgent) -> None:
    with pytest.raises(ClusterError, match=r"does not hold the head; join at (ipc|tcp)://"):
        JoiningAgent(second_agent.address, "c")
    with pytest.raises(ClusterError, match="no agent answers at"):
        JoiningAgent(f"{second_agent.address}-that-is-none", "c")


def test_a_node_that_is_asked_to_end_does_so_with_its_workers(
    second_agent: JoiningAgent, pool_on_b: Any
) -> None:
    assert pool_on_b.apply(bodies.node) == "b"
    pids = everything(second_agent)
    os.kill(second_agent.pid, signal.SIGTERM)
    expect_gone(second_agent, pids)


def test_belonging_is_settled_for_all_that_is_started_from_here() -> None:
    code = "from tests.nodes.test_joining import settle; settle()"
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout.split()
    assert told == ["x.y", "x.y"]


def settle() -> None:
    belong_to("x.y")
    print(current_node(), bodies.node_of_a_child())
