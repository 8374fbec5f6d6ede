"""Shared things that nobody keeps but the call that they are an argument of: they are there when it starts."""

import gc
import weakref

import pytest

from distpool import managers, queues, sharedctypes, synchronize
from distpool.pool import Pool

THINGS = {
    "Queue": lambda _: queues.Queue(),
    "SimpleQueue": lambda _: queues.SimpleQueue(),
    "Lock": lambda _: synchronize.Lock(),
    "a large Array": lambda _: sharedctypes.Array("d", 300_000),
    "RawArray": lambda _: sharedctypes.RawArray("d", 300_000),
    "a list of a manager": lambda manager: manager.list([1]),
}
#: More than are kept for a while by whoever pickles them.
MANY = 40


def kind_of(thing):
    return type(thing).__name__


@pytest.fixture(scope="module")
def manager():
    with managers.SyncManager() as manager:
        yield manager


@pytest.fixture
def pool():
    with Pool(1) as pool:
        yield pool
    pool.join()


@pytest.mark.parametrize("name", THINGS)
def test_each_is_there_when_its_call_starts(name, pool, manager):
    made = [kind_of(THINGS[name](manager)) for _ in range(MANY)]
    calls = [pool.apply_async(kind_of, (THINGS[name](manager),)) for _ in range(MANY)]
    gc.collect()
    assert [call.get(30) for call in calls] == made


@pytest.mark.parametrize("name", THINGS)
def test_also_what_only_a_function_has_captured(name, pool, manager):
    def capture():
        thing = THINGS[name](manager)
        return lambda: type(thing).__name__

    calls = [pool.apply_async(capture()) for _ in range(MANY)]
    gc.collect()
    assert {call.get(30) for call in calls} == {kind_of(THINGS[name](manager))}


def test_none_is_kept_for_longer(pool, manager):
    thing = manager.list([1])
    gone = weakref.ref(thing)
    pool.apply(kind_of, (thing,))
    del thing
    pool.apply(kind_of, (0,))
    gc.collect()
    assert gone() is None
