"""Actors that other processes call, and what becomes of each when one of them dies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from distpool.errors import WorkerDied
from distpool.scheduler import client
from distpool.scheduler.messages import ActorEnd
from distpool.scheduler.remote.actor_pools import borrow_actor
from tests.actors import bodies
from tests.actors.bodies import Async, Plain, Threaded, call, notes
from tests.processes.scene import wait_until

KINDS = pytest.mark.parametrize("cls", [Plain, Threaded, Async])


@KINDS
def test_calls_of_several_processes_meet_on_one_instance(
    opened: Any, pool: Callable[..., Any], cls: type[Any]
) -> None:
    actor = opened(cls)
    results = pool(3).starmap(bodies.use, [(actor.lent, 200)] * 6)
    for values in results:
        assert values == sorted(values) or cls is Threaded
    everything = [value for values in results for value in values]
    assert sorted(everything) == list(range(1, 1201))
    assert call(actor, "add").get() == 1201


def test_big_data_goes_by_the_store_for_each_caller(opened: Any, pool: Callable[..., Any]) -> None:
    actor = opened(Plain)
    sizes = [1 << 20, 3 << 20]
    assert pool(2).starmap(bodies.big_through_the_store, [(actor.lent, size) for size in sizes]) == sizes


@KINDS
def test_a_caller_that_dies_takes_its_calls_along_and_nothing_else(
    opened: Any, pool: Callable[..., Any], tmp_path: Path, cls: type[Any]
) -> None:
    go = str(tmp_path / "go")
    actor = opened(cls, go + ".notes")
    pid = call(actor, "pid").get()
    result = pool(1, retries=0).apply_async(bodies.use_and_die, (actor.lent, go))
    with pytest.raises(WorkerDied):
        result.get(bodies.BOUND_S)
    after = call(actor, "add")
    Path(go).touch()
    assert after.get() >= 1
    assert call(actor, "pid").get() == pid


@KINDS
def test_an_actor_that_starts_again_serves_its_callers_again(
    opened: Any, pool: Callable[..., Any], tmp_path: Path, cls: type[Any]
) -> None:
    go = str(tmp_path / "go")
    actor = opened(cls, go + ".notes", restarts=1)
    pid = call(actor, "pid").get()
    result = pool(1).apply_async(bodies.use_until_down, (actor.lent, go))
    wait_until(lambda: "waits" in notes(go + ".borrower") and "waits" in notes(go + ".notes"), "it is busy")
    actor.kill(restart=True)
    new_pid, kinds, value = result.get(bodies.BOUND_S)
    assert new_pid not in (0, pid)
    assert kinds[0] == ActorEnd.UNAVAILABLE
    assert kinds[-1] == "", "it may be run again"
    assert value == 1 + kinds[1:].count("") if cls is Plain else value >= 1


def test_an_actor_of_an_actor(opened: Any) -> None:
    inner, outer = opened(Plain), opened(Plain)
    assert call(outer, "tell_parent_of", inner.lent).get() == 1
    assert call(inner, "add").get() == 2


def test_it_ends_with_the_process_that_created_it(pool: Callable[..., Any], engine: client.Session) -> None:
    workers = pool(1)
    lent = workers.apply(bodies.create_and_lend)
    actor = borrow_actor(engine, lent)
    assert call(actor, "add").get() == 2
    workers.terminate()
    workers.join()
    assert call(actor, "add", retries=-1).kind == ActorEnd.OWNER_DIED
    actor.close()
    assert actor.wait_gone(5.0)


def test_a_borrower_hears_that_it_was_killed_and_may_kill_it_itself(
    opened: Any, pool: Callable[..., Any], tmp_path: Path
) -> None:
    actor = opened(Plain, str(tmp_path / "log"))
    workers = pool(1)
    assert workers.apply(_kill, (actor.lent,)) == ActorEnd.KILLED
    assert call(actor, "add").kind == ActorEnd.KILLED
    assert workers.apply(_kind_of_a_call, (actor.lent,)) == ActorEnd.KILLED


def _kill(lent: Any) -> str:
    actor = borrow_actor(client.session(), lent)
    assert call(actor, "add").get() == 1
    actor.kill()
    return call(actor, "spin").kind


def _kind_of_a_call(lent: Any) -> str:
    return call(borrow_actor(client.session(), lent), "add").kind
