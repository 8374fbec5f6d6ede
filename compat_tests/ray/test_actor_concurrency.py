"""More than one call at a time: threads, asyncio, groups."""

import asyncio
import threading

import pytest


@pytest.fixture
def signal(ray):
    """The asyncio actor that many programs for Ray have: wait until somebody sends."""

    @ray.remote
    class Signal:
        def __init__(self):
            self.event = asyncio.Event()
            self.waiting = 0

        async def wait(self):
            self.waiting += 1
            await self.event.wait()
            return "sent"

        async def send(self):
            self.event.set()
            return self.waiting

    return Signal.remote()


def test_threads_run_calls_at_the_same_time(ray):
    @ray.remote(max_concurrency=3)
    class Meeting:
        def __init__(self):
            self.barrier = threading.Barrier(3)

        def meet(self):
            self.barrier.wait(20)
            return threading.get_ident()

    meeting = Meeting.remote()
    assert len(set(ray.get([meeting.meet.remote() for _ in range(3)]))) == 3


def test_max_concurrency_is_the_bound_of_threads(ray, gate):
    @ray.remote(max_concurrency=2)
    class Stand:
        def stand(self, gate):
            gate.wait()

    handle = Stand.remote()
    refs = [handle.stand.remote(gate) for _ in range(4)]
    gate.arrived.wait_count(2)
    assert ray.wait(refs, timeout=0.3) == ([], refs)
    assert len(gate.arrived.lines()) == 2
    gate.open()
    ray.get(refs)


def test_max_concurrency_by_options(ray):
    @ray.remote
    class Meeting:
        def __init__(self):
            self.barrier = threading.Barrier(2)

        def meet(self):
            self.barrier.wait(20)
            return True

    meeting = Meeting.options(max_concurrency=2).remote()
    assert ray.get([meeting.meet.remote() for _ in range(2)]) == [True, True]


def test_threads_share_the_state(ray):
    @ray.remote(max_concurrency=4)
    class Counter:
        def __init__(self):
            self.lock, self.value = threading.Lock(), 0

        def add(self):
            with self.lock:
                self.value += 1

        def read(self):
            return self.value

    counter = Counter.remote()
    ray.get([counter.add.remote() for _ in range(100)])
    assert ray.get(counter.read.remote()) == 100


def test_an_exception_in_a_thread(ray):
    @ray.remote(max_concurrency=2)
    class Fails:
        def fail(self):
            raise ValueError("in a thread")

    with pytest.raises(ValueError, match="in a thread"):
        ray.get(Fails.remote().fail.remote())


def test_async_calls_wait_side_by_side(ray, signal):
    waits = [signal.wait.remote() for _ in range(20)]
    assert ray.wait(waits, timeout=0.2)[0] == []
    ray.get(signal.send.remote())
    assert ray.get(waits) == ["sent"] * 20


def test_each_async_call_runs_once(ray):
    """In what order is not promised."""

    @ray.remote
    class Log:
        def __init__(self):
            self.seen = []

        async def note(self, i):
            self.seen.append(i)
            await asyncio.sleep(0)

        async def read(self):
            return self.seen

    log = Log.remote()
    ray.get([log.note.remote(i) for i in range(100)])
    assert sorted(ray.get(log.read.remote())) == list(range(100))


def test_max_concurrency_bounds_async_calls(ray):
    @ray.remote(max_concurrency=2)
    class Crowd:
        def __init__(self):
            self.inside = self.most = 0

        async def enter(self):
            self.inside += 1
            self.most = max(self.most, self.inside)
            await asyncio.sleep(0.01)
            self.inside -= 1
            return self.most

    crowd = Crowd.remote()
    assert max(ray.get([crowd.enter.remote() for _ in range(10)])) == 2


def test_an_async_actor_awaits_references(ray):
    @ray.remote
    def square(x):
        return x * x

    @ray.remote
    class Front:
        async def ask(self, n):
            return sum(await asyncio.gather(*[square.remote(i) for i in range(n)]))

        async def given(self, refs):
            return await refs[0]

    front = Front.remote()
    assert ray.get(front.ask.remote(4)) == 14
    assert ray.get(front.given.remote([square.remote(5)])) == 25


def test_plain_methods_of_an_async_actor(ray):
    @ray.remote
    class Mixed:
        async def asynchronous(self):
            return threading.get_ident()

        def plain(self):
            return threading.get_ident()

    mixed = Mixed.remote()
    assert ray.get(mixed.plain.remote()) == ray.get(mixed.asynchronous.remote())


def test_async_calls_share_one_loop(ray):
    @ray.remote
    class Exchange:
        def __init__(self):
            self.queue = asyncio.Queue()

        async def put(self, item):
            await self.queue.put(item)

        async def take(self):
            return await self.queue.get()

    exchange = Exchange.remote()
    taken = exchange.take.remote()
    exchange.put.remote("item")
    assert ray.get(taken) == "item"


def test_an_exception_of_an_async_method(ray):
    @ray.remote
    class Fails:
        async def fail(self):
            await asyncio.sleep(0)
            raise KeyError("of a coroutine")

    with pytest.raises(KeyError, match="of a coroutine"):
        ray.get(Fails.remote().fail.remote())


def test_an_async_actor_and_its_methods_are_awaited_by_the_driver(ray, signal):
    async def both():
        wait = signal.wait.remote()
        await signal.send.remote()
        return await wait

    assert asyncio.run(both()) == "sent"


def test_groups_do_not_stand_in_each_others_way(ray, gate):
    @ray.remote(concurrency_groups={"slow": 1, "quick": 2})
    class Grouped:
        @ray.method(concurrency_group="slow")
        def stand(self, gate):
            gate.wait()

        @ray.method(concurrency_group="quick")
        def quick(self):
            return "quick"

        def ungrouped(self):
            return "default"

    handle = Grouped.remote()
    standing = handle.stand.remote(gate)
    gate.arrived.wait_count(1)
    assert ray.get([handle.quick.remote(), handle.ungrouped.remote()]) == ["quick", "default"]
    waiting = handle.quick.options(concurrency_group="slow").remote()
    assert ray.wait([waiting], timeout=0.2) == ([], [waiting])
    gate.open()
    assert ray.get([standing, waiting]) == [None, "quick"]


def test_groups_of_async_methods(ray):
    @ray.remote(concurrency_groups={"one": 1})
    class Grouped:
        def __init__(self):
            self.inside = self.most = 0

        @ray.method(concurrency_group="one")
        async def enter(self):
            self.inside += 1
            self.most = max(self.most, self.inside)
            await asyncio.sleep(0.01)
            self.inside -= 1
            return self.most

    handle = Grouped.remote()
    assert max(ray.get([handle.enter.remote() for _ in range(5)])) == 1


def test_threads_know_their_own_task(ray):
    @ray.remote(max_concurrency=2)
    class Who:
        def __init__(self):
            self.barrier = threading.Barrier(2)

        def task(self):
            self.barrier.wait(20)
            return ray.get_runtime_context().get_task_id()

    who = Who.remote()
    assert len(set(ray.get([who.task.remote() for _ in range(2)]))) == 2


@pytest.mark.parametrize("kind", ["threads", "coroutines"])
def test_a_call_that_waits_for_its_argument_holds_up_no_other(ray, kind):
    @ray.remote(max_concurrency=4)
    class Threads:
        def echo(self, x):
            return x

    @ray.remote
    class Coroutines:
        async def echo(self, x):
            return x

    actor = {"threads": Threads, "coroutines": Coroutines}[kind].remote()

    @ray.remote(num_cpus=0)
    class Gate:
        def __init__(self):
            self.opened = asyncio.Event()

        async def open(self):
            self.opened.set()

        async def wait(self):
            await self.opened.wait()
            return "late"

    gate = Gate.remote()
    late = actor.echo.remote(gate.wait.remote())
    assert ray.get(actor.echo.remote("early"), timeout=30) == "early"
    ray.get(gate.open.remote())
    assert ray.get(late, timeout=30) == "late"


@pytest.fixture
def two_groups(ray):
    """Coroutines in a group, in another, and in none."""

    @ray.remote(concurrency_groups={"one": 2, "other": 2})
    class Grouped:
        @ray.method(concurrency_group="one")
        async def stand(self, gate):
            gate.wait()  # no await: it has the thread to itself
            return "through"

        @ray.method(concurrency_group="other")
        async def other(self):
            await asyncio.sleep(0)
            return "other"

        async def ungrouped(self):
            await asyncio.sleep(0)
            return "ungrouped"

        async def stand_ungrouped(self, gate):
            gate.wait()

        @ray.method(concurrency_group="one")
        async def loop_of_one(self):
            return id(asyncio.get_running_loop())

        @ray.method(concurrency_group="other")
        async def loop_of_other(self):
            return id(asyncio.get_running_loop())

        async def loop_of_none(self):
            return id(asyncio.get_running_loop())

    return Grouped.remote()


def test_a_coroutine_that_blocks_holds_up_its_own_group_only(ray, gate, two_groups):
    standing = two_groups.stand.remote(gate)
    gate.arrived.wait_count(1)
    assert ray.get([two_groups.other.remote(), two_groups.ungrouped.remote()], timeout=20) == [
        "other",
        "ungrouped",
    ]
    behind = two_groups.other.options(concurrency_group="one").remote()
    assert ray.wait([behind], timeout=0.2) == ([], [behind])
    gate.open()
    assert ray.get([standing, behind]) == ["through", "other"]


def test_a_coroutine_in_no_group_that_blocks_holds_up_no_group(ray, gate, two_groups):
    standing = two_groups.stand_ungrouped.remote(gate)
    gate.arrived.wait_count(1)
    assert ray.get(two_groups.other.remote(), timeout=20) == "other"
    gate.open()
    assert ray.get(standing) is None


def test_each_group_has_an_event_loop(ray, two_groups):
    methods = [two_groups.loop_of_one, two_groups.loop_of_other, two_groups.loop_of_none]
    first = ray.get([method.remote() for method in methods])
    assert len(set(first)) == 3
    assert ray.get([method.remote() for method in methods]) == first


def test_an_actor_exits_though_another_call_never_ends(ray):
    @ray.remote
    class Leaves:
        async def leave(self):
            ray.actor.exit_actor()

        async def ping(self):
            return "there"

        async def stay(self):
            await asyncio.Event().wait()

    handle = Leaves.remote()
    handle.stay.remote()
    assert ray.get(handle.ping.remote()) == "there"
    with pytest.raises(ray.exceptions.RayError):
        ray.get(handle.leave.remote(), timeout=20)


def test_a_coroutine_function_is_no_remote_function(ray):
    async def one():
        return 1

    with pytest.raises(ValueError, match=r"async|coroutine"):
        ray.remote(one)
