"""Locks and their like, made here and used by workers of a second agent: each class, whichever way it gets there."""

from __future__ import annotations

import importlib
import multiprocessing
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from distpool import managers, queues, sharedctypes, synchronize
from distpool.errors import CannotUnpickle, HolderDied
from distpool.scheduler.node_identity import current_node
from distpool.scheduler.shared import sync_server
from tests.nodes import bodies
from tests.processes.harness import BOUND_S

pytestmark = pytest.mark.timeout(120)

STANDARD_VALUE = partial(multiprocessing.get_context("fork").Value, "i")

THINGS = {
    "Lock": synchronize.Lock,
    "RLock": synchronize.RLock,
    "Semaphore": synchronize.Semaphore,
    "BoundedSemaphore": synchronize.BoundedSemaphore,
    "Condition": synchronize.Condition,
}


@pytest.fixture(scope="module", autouse=True)
def server() -> None:
    """It lasts as long as the process, as the first segments do, so they are no leak of the first test."""
    sync_server.start()
    synchronize.Lock()
    STANDARD_VALUE()


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


def take_and_put(taken_from: Any, put_to: Any) -> str:
    put_to.put(taken_from.get() + 1)
    return current_node()


@pytest.fixture(scope="module")
def pairs_of_queues() -> dict[str, Any]:
    """Whoever has sent one keeps it for some seconds, so they are no leak of the test either."""
    kinds = {"Queue": queues.Queue, "JoinableQueue": queues.JoinableQueue, "SimpleQueue": queues.SimpleQueue}
    return {name: (kind(), kind()) for name, kind in kinds.items()}


@pytest.mark.parametrize("name", ["Queue", "JoinableQueue", "SimpleQueue"])
def test_a_queue_there_and_back(pairs_of_queues: dict[str, Any], pool_on_b: Any, name: str) -> None:
    there, back = pairs_of_queues[name]
    waits = pool_on_b.apply_async(take_and_put, (there, back))
    there.put(41)
    assert back.get() == 42
    assert waits.get(BOUND_S) == "b"


SEEN_ON_ONE_NODE = {
    "Value": lambda: sharedctypes.Value("i", 3),
    "Array": lambda: sharedctypes.Array("d", 3),
    "RawValue": lambda: sharedctypes.RawValue("i", 3),
    "RawArray": lambda: sharedctypes.RawArray("d", 3),
}


@pytest.mark.parametrize("name", SEEN_ON_ONE_NODE)
def test_a_value_is_refused_there_with_the_remedy(pool_on_b: Any, name: str) -> None:
    with pytest.raises(CannotUnpickle, match=r"SharedElsewhere: .* cannot be seen on node 'b'.*Use a Queue"):
        pool_on_b.apply_async(id, (SEEN_ON_ONE_NODE[name](),)).get(BOUND_S)


STANDARD = {
    "Lock": "synchronize",
    "RLock": "synchronize",
    "Semaphore": "synchronize",
    "BoundedSemaphore": "synchronize",
    "Condition": "synchronize",
    "Event": "synchronize",
    "Queue": "queues",
    "JoinableQueue": "queues",
    "SimpleQueue": "queues",
    "Value": "sharedctypes",
}


@pytest.mark.parametrize("name", STANDARD)
def test_what_the_standard_library_makes_is_refused_at_once(pool_on_b: Any, name: str) -> None:
    make = getattr(importlib.import_module(f"multiprocessing.{STANDARD[name]}"), name)
    thing = make(*("i",) * (name == "Value"), ctx=multiprocessing.get_context("fork"))
    with pytest.raises(RuntimeError, match="should only be shared between processes through inheritance"):
        pool_on_b.apply_async(id, (thing,)).get(BOUND_S)


def use_proxies(things: dict[str, Any]) -> str:
    things["dict"]["key"] = 1
    things["list"].append(2)
    things["Queue"].put(3)
    things["Event"].set()
    things["Value"].value = 4
    things["Array"][0] = 5
    things["Namespace"].name = 6
    for name in ("Lock", "RLock", "Semaphore", "BoundedSemaphore", "Condition"):
        with things[name]:
            pass
    things["Barrier"].wait()
    return current_node()


@pytest.fixture(scope="module")
def manager(started: None) -> Iterator[managers.SyncManager]:
    with managers.SyncManager() as manager:
        yield manager


def test_a_managers_things_are_used_there(manager: managers.SyncManager, pool_on_b: Any) -> None:
    arguments: dict[str, Any] = {"Barrier": (1,), "Value": ("i", 0), "Array": ("i", [0])}
    names = (
        "dict list Queue Event Value Array Namespace Lock RLock Semaphore BoundedSemaphore Condition Barrier"
    )
    things = {name: getattr(manager, name)(*arguments.get(name, ())) for name in names.split()}
    assert pool_on_b.apply_async(use_proxies, (things,)).get(BOUND_S) == "b"
    assert (things["dict"]["key"], things["list"][0], things["Queue"].get()) == (1, 2, 3)
    assert things["Event"].is_set()
    assert (things["Value"].value, things["Array"][0], things["Namespace"].name) == (4, 5, 6)


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
