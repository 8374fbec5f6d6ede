"""ray.util.queue: a queue that everybody reaches."""

import asyncio
import queue

import pytest


@pytest.fixture
def make(ray):
    from ray.util.queue import Queue

    made = []

    def make(*args, **kwargs):
        made.append(Queue(*args, **kwargs))
        return made[-1]

    yield make
    for each in made:
        each.shutdown(force=True)


@pytest.fixture
def full():
    from ray.util.queue import Full

    return Full


@pytest.fixture
def empty():
    from ray.util.queue import Empty

    return Empty


def test_first_in_first_out(make):
    items = make()
    for i in range(5):
        items.put(i)
    assert items.size() == items.qsize() == len(items) == 5
    assert [items.get() for _ in range(5)] == [0, 1, 2, 3, 4]
    assert items.empty() is True


def test_a_bound(make, full):
    items = make(maxsize=2)
    items.put(1)
    assert items.full() is False
    items.put(2)
    assert items.full() is True
    with pytest.raises(full):
        items.put_nowait(3)
    with pytest.raises(full):
        items.put(3, block=False)
    with pytest.raises(full):
        items.put(3, timeout=0.1)
    assert items.get() == 1
    items.put(3)


def test_nothing_in_it(make, empty):
    items = make()
    with pytest.raises(empty):
        items.get_nowait()
    with pytest.raises(empty):
        items.get(block=False)
    with pytest.raises(empty):
        items.get(timeout=0.1)


def test_its_exceptions_are_those_of_every_queue(full, empty):
    assert issubclass(full, queue.Full)
    assert issubclass(empty, queue.Empty)


def test_negative_timeouts(make):
    items = make()
    with pytest.raises(ValueError, match="negative"):
        items.get(timeout=-1)
    with pytest.raises(ValueError, match="negative"):
        items.put(1, timeout=-1)


def test_batches(make, full, empty):
    items = make(maxsize=4)
    items.put_nowait_batch([1, 2, 3])
    with pytest.raises(full):
        items.put_nowait_batch([4, 5])
    assert items.get_nowait_batch(2) == [1, 2]
    with pytest.raises(empty):
        items.get_nowait_batch(2)
    assert items.get_nowait_batch(1) == [3]


def test_tasks_share_it(ray, make):
    items = make()

    @ray.remote
    def produce(items, n):
        for i in range(n):
            items.put(i)

    @ray.remote
    def consume(items, n):
        return [items.get() for _ in range(n)]

    found = consume.remote(items, 20)
    ray.get(produce.remote(items, 20))
    assert ray.get(found) == list(range(20))


def test_a_get_waits_for_a_put(ray, make):
    items = make()

    @ray.remote
    def take(items):
        return items.get()

    ref = take.remote(items)
    assert ray.wait([ref], timeout=0.2)[0] == []
    items.put("at last")
    assert ray.get(ref) == "at last"


def test_it_may_be_awaited(make):
    items = make()

    async def both():
        await items.put_async("x")
        return await items.get_async()

    assert asyncio.run(both()) == "x"


def test_its_actor_takes_options(ray, make):
    items = make(actor_options={"num_cpus": 1, "name": "the queue of this test"})
    items.put(1)
    assert ray.get_actor("the queue of this test") == items.actor


def test_it_ends_when_told(ray, make):
    items = make()
    items.put(1)
    items.shutdown()
    with pytest.raises((ray.exceptions.RayActorError, AttributeError)):
        items.put(2)
