"""Actors on another node than their creator, and callers on another node than their actor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from distpool.scheduler.messages import ActorEnd
from distpool.scheduler.shells.joining import JoiningAgent
from tests.actors import bodies
from tests.actors.bodies import Async, Plain, call
from tests.nodes.conftest import ON_B, everything
from tests.nodes.conftest import join as join
from tests.nodes.conftest import second_agent as second_agent
from tests.processes.harness import BOUND_S, survivors

MB = 1 << 20


def test_an_actor_on_another_node(opened: Any, second_agent: JoiningAgent) -> None:
    for cls in (Plain, Async):
        actor = opened(cls, resources=ON_B)
        assert [call(actor, "add").get() for _ in range(100)] == list(range(1, 101))
        assert actor.node == "b"
        value = bytearray(b"z" * (3 * MB))
        assert call(actor, "echo", value).get() == value


def test_callers_on_both_nodes_and_big_data_between_them(
    opened: Any, pool: Callable[..., Any], second_agent: JoiningAgent
) -> None:
    here, there = opened(Plain), opened(Plain, resources=ON_B)
    near, far = pool(1), pool(1, resources=ON_B)
    for actor in (here, there):
        for workers in (near, far):
            assert workers.apply(bodies.big_through_the_store, (actor.lent, 2 * MB)) == 2 * MB
            assert len(workers.apply(bodies.use, (actor.lent, 50))) == 50
        assert call(actor, "add").get() == 101


def test_an_actor_whose_node_dies_starts_again_on_another(
    opened: Any, join: Callable[..., JoiningAgent]
) -> None:
    first = join("b", resources={"CPU": 1.0, "special": 1.0})
    actor = opened(Plain, resources={"special": 1.0}, restarts=1)
    assert call(actor, "add").get() == 1
    answer = call(actor, "add", retries=-1)
    assert answer.get() == 2
    pids = everything(first)
    second = join("c", resources={"CPU": 1.0, "special": 1.0})
    assert second.pid not in pids
    first.stop()
    assert survivors(pids, within_s=BOUND_S) == []
    after = call(actor, "add", retries=-1)
    assert after.get() == 1
    assert actor.node == "c"
    assert call(actor, "leave", "os._exit").kind == ActorEnd.DIED
