"""What a program can ask of its cluster, from any node, and what it is told when nobody answers."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from distpool import cluster
from distpool.cpus import cpu_count
from distpool.errors import ClusterError, TimeoutError
from distpool.scheduler import client
from distpool.scheduler.messages import FactsQuery, FactsReport
from distpool.scheduler.node_identity import current_node
from distpool.scheduler.remote import cluster_facts
from distpool.scheduler.shells import processes
from distpool.scheduler.shells.joining import JoiningAgent
from tests.nodes import bodies
from tests.nodes.conftest import everything, expect_gone, warm
from tests.processes.harness import BOUND_S
from tests.processes.scene import wait_until

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def no_keys(engine: client.Session) -> Iterator[None]:
    """Nothing is kept at the head behind a test."""
    yield
    for key in cluster_facts.keys(""):
        cluster_facts.key_delete(key)


def test_nodes_have_ray_s_shape(engine: client.Session, join: Callable[..., JoiningAgent]) -> None:
    join(resources={"CPU": 3.0, "wheel": 2.5}, labels={"zone": "east"})
    facts = {node["NodeName"]: node for node in cluster.nodes() if node["Alive"]}
    assert set(facts) == {current_node(), "b"}
    there = facts["b"]
    assert there["NodeManagerHostname"] == socket.gethostname()
    assert there["NodeManagerAddress"] == "127.0.0.1"
    assert there["NodeID"] == b"b".hex()
    assert there["Labels"] == {"zone": "east", "ray.io/node-id": there["NodeID"]}
    amounts = there["Resources"]
    assert amounts["CPU"] == 3.0
    assert amounts["wheel"] == 2.5
    assert amounts["node:b"] == amounts["node:127.0.0.1"] == 1.0
    assert amounts["memory"] > 0 < amounts["object_store_memory"]
    assert "node:__internal_head__" not in amounts
    here = facts[current_node()]["Resources"]
    assert here["CPU"] == cpu_count()
    assert here["node:__internal_head__"] == 1.0


def test_resources_are_summed_and_what_is_taken_is_not_available(
    engine: client.Session, second_agent: JoiningAgent, make_pool: Callable[..., Any]
) -> None:
    assert cluster.cluster_resources()["CPU"] == cpu_count() + 2
    assert cluster.cluster_resources()["node:127.0.0.1"] == 2.0
    wait_until(lambda: cluster.available_resources().get("CPU") == cpu_count() + 2, "nothing is taken")
    memory = cluster.available_resources()["memory"]
    pool = make_pool(2, resources={"node:b": 0.001, "CPU": 1, "memory": 1 << 20})
    assert pool.apply(bodies.node) == "b"
    wait_until(lambda: cluster.available_resources().get("CPU") == cpu_count(), "two CPUs are taken")
    assert cluster.available_resources()["memory"] == memory - (2 << 20)
    assert cluster.cluster_resources()["CPU"] == cpu_count() + 2


def test_a_node_that_has_left_is_shown_as_dead(
    engine: client.Session, join: Callable[..., JoiningAgent]
) -> None:
    join("leaver", resources={"CPU": 1.0}).stop()
    wait_until(lambda: "leaver" not in bodies.known_nodes(), "the head has seen it leave")
    (gone,) = (node for node in cluster.nodes() if node["NodeName"] == "leaver")
    assert not gone["Alive"]
    assert not gone["Resources"]


def test_keys_are_the_same_on_every_node(engine: client.Session, pool_on_b: Any, no_keys: None) -> None:
    assert cluster_facts.key_put("a/1", b"here")
    assert pool_on_b.apply(bodies.get_key, ("a/1",)) == b"here"
    assert not pool_on_b.apply(bodies.put_key, ("a/1", b"there", False))
    assert pool_on_b.apply(bodies.put_key, ("a/2", b"there", False))
    assert cluster_facts.key_get("a/2") == b"there"
    assert cluster_facts.keys("a/") == ["a/1", "a/2"]
    assert cluster_facts.key_exists("a/1")
    assert cluster_facts.key_delete("a/1")
    assert not cluster_facts.key_delete("a/1")
    assert cluster_facts.key_get("a/1") is None
    assert set(pool_on_b.apply(bodies.known_nodes)) == {current_node(), "b"}


@pytest.mark.parametrize("where", ["here", "there"])
def test_a_worker_s_own_keys_go_when_it_is_killed(
    engine: client.Session,
    second_agent: JoiningAgent,
    make_pool: Callable[..., Any],
    where: str,
    no_keys: None,
) -> None:
    pool = make_pool(1, resources={"node:b": 0.001} if where == "there" else {})
    pid = pool.apply(os.getpid)
    assert pool.apply(bodies.put_key, ("mine", b"", True))
    assert pool.apply(bodies.put_key, ("for ever", b"", False))
    assert cluster_facts.keys() == ["for ever", "mine"]
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: cluster_facts.keys() == ["for ever"], "the head has forgotten the key")


def test_the_keys_of_a_lost_node_s_owners_go(
    engine: client.Session, pool_on_b: Any, second_agent: JoiningAgent, no_keys: None
) -> None:
    assert pool_on_b.apply(bodies.put_key, ("mine", b"", True))
    pids = everything(second_agent)
    os.kill(second_agent.pid, signal.SIGKILL)
    wait_until(lambda: not cluster_facts.keys(), "the head has forgotten the key")
    expect_gone(second_agent, pids)


def test_many_threads_ask_at_once(engine: client.Session, no_keys: None) -> None:
    wrong: list[str] = []

    def ask(name: str) -> None:
        for number in range(50):
            key = f"{name}/{number}"
            if not cluster_facts.key_put(key, key.encode()) or cluster_facts.key_get(key) != key.encode():
                wrong.append(key)

    threads = [threading.Thread(target=ask, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(BOUND_S)
    assert wrong == []
    assert len(cluster_facts.keys()) == 200


def agent_pid(engine: client.Session) -> int:
    process = engine.cluster._process  # type: ignore[union-attr]
    assert process is not None
    return process.pid


def test_an_agent_that_does_not_answer_is_not_waited_for_beyond_the_time_out(engine: client.Session) -> None:
    pid = agent_pid(engine)
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(TimeoutError, match=r"has not answered within 0\.2 s"):
            engine.ask(FactsQuery(), FactsReport, 0.2)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert cluster_facts.facts().nodes


def test_who_waits_when_the_agent_dies_is_told_and_may_ask_the_next_one(engine: client.Session) -> None:
    pid = agent_pid(engine)
    os.kill(pid, signal.SIGSTOP)
    asked = engine.begin_ask(FactsQuery())
    assert not engine.leading.wait(asked, 0.1)
    processes.kill(pid)
    assert engine.leading.wait(asked, BOUND_S)
    with pytest.raises(ClusterError, match="has died; ask again"):
        asked.value()
    assert engine.ask(FactsQuery(), FactsReport, BOUND_S).head == current_node()
    assert agent_pid(engine) != pid
    warm()


def test_a_question_that_comes_before_the_agent_is_up_is_asked_then() -> None:
    client.shutdown()
    try:
        assert client.session().ask(FactsQuery(), FactsReport, BOUND_S).head == current_node()
        session = client.session()
    finally:
        client.shutdown()
    with pytest.raises(ClusterError, match="the session has ended"):
        session.ask(FactsQuery(), FactsReport)
    warm()
