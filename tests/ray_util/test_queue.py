"""The queue in an actor: first in, first out, for whoever has its handle; a wait is bounded, and can be taken back."""

import asyncio
import itertools
import pickle
import queue
import threading

import pytest

import distpool
from distpool.util.queue import Empty, Full, Queue
from tests.processes.scene import wait_until
from tests.ray_util.bodies import AsyncUser, put_into, take_from

pytestmark = pytest.mark.usefixtures("session")


@pytest.fixture
def make_queue():
    made = []

    def make(*args, **kwargs):
        made.append(Queue(*args, **kwargs))
        return made[-1]

    yield make
    for each in made:
        each.shutdown(force=True)


def test_first_in_first_out(make_queue):
    items = make_queue()
    for item in (1, "two", [3], None):
        items.put(item)
    assert (items.size(), items.qsize(), len(items)) == (4, 4, 4)
    assert [items.get() for _ in range(4)] == [1, "two", [3], None]
    assert items.empty()
    assert not items.full()


def test_a_full_one_takes_no_more(make_queue):
    items = make_queue(maxsize=2)
    items.put_nowait(1)
    items.put(2, timeout=5)
    assert items.full()
    for put in (
        lambda: items.put(3, block=False),
        lambda: items.put_nowait(3),
        lambda: items.put(3, timeout=0.01),
        lambda: items.put(3, timeout=0),
    ):
        with pytest.raises(Full):
            put()
    with pytest.raises(queue.Full):
        items.put_nowait_batch([3])
    assert [items.get(), items.get()] == [1, 2]


def test_an_empty_one_has_nothing(make_queue):
    items = make_queue()
    for get in (
        lambda: items.get(block=False),
        items.get_nowait,
        lambda: items.get(timeout=0.01),
        lambda: items.get(timeout=0),
        lambda: items.get_nowait_batch(1),
    ):
        with pytest.raises(Empty):
            get()
    with pytest.raises(queue.Empty):
        items.get_nowait()


def test_batches_go_whole_or_not_at_all(make_queue):
    items = make_queue(maxsize=3)
    items.put_nowait_batch(range(2))
    with pytest.raises(Full, match="no room for 2 items"):
        items.put_nowait_batch(iter([2, 3]))
    with pytest.raises(Empty, match="not 3 items"):
        items.get_nowait_batch(3)
    assert items.get_nowait_batch(0) == []
    assert items.get_nowait_batch(2) == [0, 1]
    items.put_nowait_batch([])
    assert items.empty()


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda q: q.put(1, timeout=-1), ValueError, "the timeout is negative"),
        (lambda q: q.get(timeout=-0.5), ValueError, "zero or more"),
        (lambda q: q.get_nowait_batch(-1), ValueError, "not -1"),
        (lambda q: q.get_nowait_batch("2"), TypeError, "not a str"),
        (lambda q: q.put_nowait_batch(3), TypeError, "not a int"),
    ],
)
def test_bad_input(call, error, text, make_queue):
    with pytest.raises(error, match=text):
        call(make_queue())


def test_tasks_share_it(make_queue):
    items = make_queue(maxsize=2)
    took = [take_from.remote(items, 10) for _ in range(2)]
    put = [put_into.remote(items, list(range(start, start + 10))) for start in (0, 10)]
    assert distpool.get(put, timeout=60) == [10, 10]
    assert sorted(itertools.chain(*distpool.get(took, timeout=60))) == list(range(20))
    again = pickle.loads(pickle.dumps(items))
    again.put("x")
    assert items.get() == "x"


def test_who_waits_is_woken(make_queue):
    items = make_queue(maxsize=1)
    got = []
    taker = threading.Thread(target=lambda: got.append(items.get(timeout=30)))
    taker.start()
    items.put("a")
    taker.join(30)
    assert got == ["a"]
    items.put("b")
    putter = threading.Thread(target=lambda: items.put("c", timeout=30))
    putter.start()
    assert items.get() == "b"
    putter.join(30)
    assert items.get() == "c"


def test_however_many_wait_for_items_there_is_room_for_who_brings_them(make_queue):
    items = make_queue()
    waiting = [items.actor.get.remote(None) for _ in range(1_200)]
    for item in range(1_200):
        items.put(item)
    assert distpool.get(waiting, timeout=60) == [(item,) for item in range(1_200)]


def test_it_can_be_awaited(make_queue):
    items = make_queue(maxsize=1)

    async def use():
        await items.put_async(1)
        with pytest.raises(Full):
            await items.put_async(2, block=False)
        with pytest.raises(Full):
            await items.put_async(2, timeout=0.01)
        assert await items.get_async() == 1
        with pytest.raises(Empty):
            await items.get_async(block=False)
        with pytest.raises(Empty):
            await items.get_async(timeout=0.01)
        with pytest.raises(ValueError, match="zero or more"):
            await items.get_async(timeout=-1)
        taking = asyncio.create_task(items.get_async())
        await items.put_async("late")
        return await taking

    assert asyncio.run(use()) == "late"
    user = AsyncUser.remote()
    assert sorted(distpool.get([user.meet.remote(items, item) for item in "ab"], timeout=60)) == ["a", "b"]


def test_who_stops_waiting_takes_no_item_along(make_queue):
    items = make_queue()

    async def give_up():
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(items.get_async(), 0.05)

    asyncio.run(give_up())
    wait_until(lambda: _waiting(items) == 0, "nobody waits in the actor", 20)
    items.put("mine")
    assert items.get(timeout=5) == "mine"


def _waiting(items):
    """How many wait for items."""
    return distpool.get(items.actor.__ray_call__.remote(lambda actor: len(actor._queue._getters)))


def test_of_a_reference_its_value_is_put(make_queue):
    items = make_queue()
    items.put(distpool.put(5))
    items.put([distpool.put(6)])
    assert items.get() == 5
    (inner,) = items.get()
    assert distpool.get(inner) == 6


def test_its_actor_may_have_options(make_queue):
    items = make_queue(actor_options={"name": "jobs", "num_cpus": 0})
    items.put(1)
    assert distpool.get(distpool.get_actor("jobs").qsize.remote()) == 1


def test_after_shutdown_it_says_so(make_queue):
    for force in (False, True):
        items = make_queue()
        items.put(1)
        items.shutdown(force=force)
        items.shutdown()
        for call in (lambda: items.put(2), items.get, items.size):  # noqa: B023
            with pytest.raises(distpool.exceptions.RayActorError, match="was shut down"):
                call()
