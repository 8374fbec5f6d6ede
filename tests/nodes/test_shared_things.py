"""Locks and their like, made here and used by workers of a second agent: each class, whichever way it gets there."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest

from distpool import synchronize
from distpool.errors import HolderDied
from distpool.scheduler.node_identity import current_node
from distpool.scheduler.shared import sync_server
from tests.nodes import bodies
from tests.processes.harness import BOUND_S

pytestmark = pytest.mark.timeout(120)

THINGS = {
    "Lock": synchronize.Lock,
    "RLock": synchronize.RLock,
    "Semaphore": synchronize.Semaphore,
    "BoundedSemaphore": synchronize.BoundedSemaphore,
    "Condition": synchronize.Condition,
}


@pytest.fixture(scope="module", autouse=True)
def server() -> None:
    """It lasts as long as the process, as the first segment does, so they are no leak of the first test."""
    sync_server.start()
    synchronize.Lock()


def take_and_give(thing: Any) -> tuple[str, bool]:
    with thing:
        pass
    return current_node(), thing.acquire() and thing.release() is None


def take(thing: Any) -> bool:
    return bool(thing.acquire(timeout=BOUND_S))


def is_here(thing: Any) -> bool:
    return not thing.is_remote


def give(thing: Any) -> None:
    thing.release()


def wait_notified(condition: Any, count: Any) -> bool:
    with condition:
        count.release()
        return bool(condition.wait(BOUND_S))


def meet(barrier: Any) -> int:
    return int(barrier.wait(BOUND_S))


def see(event: Any, also: Any) -> bool:
    also.set()
    return bool(event.wait(BOUND_S))


def hold_and_die(lock: Any, count: Any) -> None:
    lock.acquire()
    count.release()
    bodies.die()


def make_one() -> Any:
    event = synchronize.Event()
    _kept.append(event)
    return event


_kept: list[Any] = []


@pytest.mark.parametrize("name", THINGS)
def test_it_can_be_taken_and_given_back(pool_on_b: Any, name: str) -> None:
    thing = THINGS[name]()
    assert pool_on_b.apply(take_and_give, (thing,)) == ("b", True)
    assert pool_on_b.starmap(take_and_give, [({"in": thing}["in"],)] * 20, 1) == [("b", True)] * 20
    assert thing.acquire(False)
    thing.release()


@pytest.mark.parametrize("name", ["Lock", "Semaphore"])
def test_what_a_worker_takes_is_taken_here_and_can_be_given_back_here(pool_on_b: Any, name: str) -> None:
    thing = THINGS[name]()
    assert pool_on_b.apply(take, (thing,))
    assert not thing.acquire(False)
    waits = pool_on_b.apply_async(take, (thing,))
    thing.release()
    assert waits.get(BOUND_S)
    pool_on_b.apply(give, (thing,))
    assert thing.acquire(False)


def test_a_condition_wakes_those_who_wait_there(pool_on_b: Any) -> None:
    condition, count = synchronize.Condition(), synchronize.Semaphore(0)
    waits = [pool_on_b.apply_async(wait_notified, (condition, count)) for _ in range(2)]
    for _ in waits:
        assert count.acquire(timeout=BOUND_S)
    with condition:
        condition.notify_all()
    assert [wait.get(BOUND_S) for wait in waits] == [True, True]


def test_a_barrier_of_both_nodes(pool_on_b: Any) -> None:
    barrier = synchronize.Barrier(3)
    waits = [pool_on_b.apply_async(meet, (barrier,)) for _ in range(2)]
    indices = [barrier.wait(BOUND_S), *(wait.get(BOUND_S) for wait in waits)]
    assert sorted(indices) == [0, 1, 2]


def test_an_event_there_and_back(pool_on_b: Any) -> None:
    event, also = synchronize.Event(), synchronize.Event()
    waits = pool_on_b.apply_async(see, (event, also))
    assert also.wait(BOUND_S)
    event.set()
    assert waits.get(BOUND_S)


def test_workers_of_this_node_use_the_same_memory(make_pool: Callable[..., Any]) -> None:
    pool = make_pool(2)
    for make in THINGS.values():
        thing = make()
        assert pool.starmap(take_and_give, [(thing,)] * 10, 1) == [(current_node(), True)] * 10
        assert pool.apply(is_here, (thing,))


def test_one_that_a_function_has_captured(pool_on_b: Any) -> None:
    event = synchronize.Event()
    waits = pool_on_b.map_async(lambda _: event.wait(BOUND_S), range(2), 1)
    event.set()
    assert waits.get(BOUND_S) == [True, True]


def test_one_that_a_worker_made_is_used_here(pool_on_b: Any) -> None:
    event = pool_on_b.apply(make_one)
    assert not event.is_set()
    event.set()
    assert event.wait(BOUND_S)


def test_a_lock_is_free_when_a_worker_there_dies_with_it(pool_on_b: Any) -> None:
    lock, count = synchronize.Lock(), synchronize.Semaphore(0)
    dies = pool_on_b.apply_async(hold_and_die, (lock, count))
    assert count.acquire(timeout=BOUND_S)
    with pytest.warns(HolderDied):
        assert lock.acquire(timeout=BOUND_S)
    lock.release()
    dies.wait(
        BOUND_S
    )  # it is tried again, and each attempt dies with the lock; perhaps all did before we had it
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", HolderDied)
        assert lock.acquire(timeout=BOUND_S)
    assert not dies.successful()
