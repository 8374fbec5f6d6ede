"""References and what they lead to: put, get, wait, and references that travel."""

import asyncio
import concurrent.futures
import gc
import pickle
import threading

import numpy as np
import pytest


@pytest.mark.parametrize(
    "value",
    [None, 0, -(10**30), 1.5, "text", b"bytes", [1, [2]], (1, "a"), {"k": {1, 2}}, range(3), 1j, ..., int],
    ids=repr,
)
def test_what_is_put_comes_back(ray, value):
    assert ray.get(ray.put(value)) == value


def test_get_of_a_list_gives_a_list(ray):
    refs = [ray.put(i) for i in range(5)]
    assert ray.get(refs) == [0, 1, 2, 3, 4]
    assert ray.get([]) == []
    assert ray.get([refs[1], refs[0], refs[1]]) == [1, 0, 1]


def test_get_gives_a_fresh_copy_each_time(ray):
    ref = ray.put(["mine"])
    ray.get(ref).append("changed")
    assert ray.get(ref) == ["mine"]


def test_what_was_put_does_not_follow_its_source(ray):
    source = [1]
    ref = ray.put(source)
    source.append(2)
    assert ray.get(ref) == [1]


def test_references_are_equal_only_to_themselves(ray):
    first, second = ray.put(1), ray.put(1)
    assert first == first
    assert first != second
    assert first != 1
    assert {first: "a", second: "b"}[first] == "a"
    assert len({first, second, first}) == 2


def test_a_reference_has_a_hexadecimal_name(ray):
    first, second = ray.put(1), ray.put(1)
    assert int(first.hex(), 16) > 0
    assert first.hex() != second.hex()
    assert first.hex() in repr(first)


def test_a_reference_that_went_through_a_task_is_equal_and_hashes_alike(ray):
    @ray.remote
    def same(refs):
        return refs

    ref = ray.put(1)
    (back,) = ray.get(same.remote([ref]))
    assert back == ref
    assert hash(back) == hash(ref)
    assert back.hex() == ref.hex()


def test_references_inside_containers_stay_references(ray):
    class Box:
        def __init__(self, content):
            self.content = content

    inner = ray.put("inner")
    outer = ray.get(ray.put({"list": [inner], "tuple": (inner,), "box": Box(inner)}))
    for ref in (outer["list"][0], outer["tuple"][0], outer["box"].content):
        assert isinstance(ref, ray.ObjectRef)
        assert ray.get(ref) == "inner"


def test_an_inner_reference_keeps_its_value_alive(ray):
    outer = ray.put([ray.put("x" * 1_000_000)])
    gc.collect()
    (inner,) = ray.get(outer)
    assert len(ray.get(inner)) == 1_000_000


def test_a_reference_in_a_closure(ray):
    ref = ray.put(41)

    @ray.remote
    def more():
        return ray.get(ref) + 1

    assert ray.get(more.remote()) == 42


def test_a_task_may_put_and_return_the_reference(ray):
    @ray.remote
    def make():
        return [ray.put("made by a task")]

    (ref,) = ray.get(make.remote())
    assert ray.get(ref) == "made by a task"


def test_a_reference_to_a_pending_value_may_travel(ray, gate):
    @ray.remote
    def slow(gate):
        gate.wait()
        return "late"

    @ray.remote
    def wait_for(refs):
        return ray.get(refs[0])

    ref = slow.remote(gate)
    answer = wait_for.remote([ref])
    del ref
    gate.arrived.wait_count(1)
    gate.open()
    assert ray.get(answer) == "late"


def test_a_reference_travels_on_through_tasks(ray):
    @ray.remote
    def onwards(refs, hops):
        return refs if hops == 0 else ray.get(onwards.remote(refs, hops - 1))

    (ref,) = ray.get(onwards.remote([ray.put("far")], 3))
    assert ray.get(ref) == "far"


def test_an_object_holding_many_references(ray):
    ref = ray.put([ray.put(i) for i in range(1_000)])
    assert sum(ray.get(ray.get(ref))) == 499_500


@pytest.mark.parametrize("dtype", ["float64", "int8", "complex128", "bool", "datetime64[s]"])
def test_arrays_keep_type_and_shape(ray, dtype):
    array = np.arange(6).reshape(2, 3).astype(dtype)
    back = ray.get(ray.put(array))
    assert back.dtype == array.dtype
    assert np.array_equal(back, array)


def test_big_arrays_inside_anything(ray):
    arrays = {"a": np.arange(500_000), "b": [np.ones((300, 300)), "text"]}
    back = ray.get(ray.put(arrays))
    assert np.array_equal(back["a"], arrays["a"])
    assert np.array_equal(back["b"][0], arrays["b"][0])
    assert back["b"][1] == "text"


@pytest.mark.differs(
    "a big array of Ray's is read-only; ours is a private copy-on-write view, as with a plain Pool"
)
def test_a_big_array_from_the_store_and_writing_to_it(ray, ours):
    ref = ray.put(np.zeros(1_000_000))

    @ray.remote
    def write(array):
        array[0] = 1
        return array[0]

    if ours:
        assert ray.get(write.remote(ref)) == 1
        ray.get(ref)[0] = 2
    else:
        with pytest.raises(ValueError, match="read-only"):
            ray.get(write.remote(ref))
        with pytest.raises(ValueError, match="read-only"):
            ray.get(ref)[0] = 2
    assert ray.get(ref)[0] == 0


def test_a_big_result_is_an_argument_without_a_get(ray):
    @ray.remote
    def make():
        return np.arange(1_000_000)

    @ray.remote
    def add(array, other):
        return int(array.sum() - other.sum())

    ref = make.remote()
    assert ray.get(add.remote(ref, ref)) == 0


def test_a_view_outlives_its_reference(ray):
    ref = ray.put(np.arange(1_000_000))
    view = ray.get(ref)[10:20]
    del ref
    gc.collect()
    ray.put(np.zeros(1_000_000))
    assert view.tolist() == list(range(10, 20))


def test_get_with_a_timeout_that_passes(ray, gate):
    @ray.remote
    def stand(gate):
        gate.wait()
        return "there"

    ref = stand.remote(gate)
    with pytest.raises(ray.exceptions.GetTimeoutError):
        ray.get(ref, timeout=0.1)
    with pytest.raises(TimeoutError):
        ray.get([ray.put(1), ref], timeout=0.1)
    gate.open()
    assert ray.get(ref, timeout=20) == "there"


def test_get_with_a_timeout_of_zero_looks_once(ray, gate):
    @ray.remote
    def stand(gate):
        gate.wait()

    assert ray.get(ray.put(1), timeout=0) == 1
    with pytest.raises(ray.exceptions.GetTimeoutError):
        ray.get(stand.remote(gate), timeout=0)


def test_wait_splits_ready_from_rest(ray, gate):
    @ray.remote
    def stand(gate):
        gate.wait()

    waiting, there = stand.remote(gate), ray.put(1)
    assert ray.wait([waiting, there]) == ([there], [waiting])
    assert ray.wait([waiting, there], num_returns=2, timeout=0.1) == ([there], [waiting])
    gate.open()
    assert ray.wait([waiting, there], num_returns=2) == ([waiting, there], [])


def test_wait_gives_no_more_than_asked_for(ray):
    refs = [ray.put(i) for i in range(5)]
    ready, rest = ray.wait(refs, num_returns=2)
    assert len(ready) == 2
    assert sorted(map(refs.index, ready + rest)) == [0, 1, 2, 3, 4]
    ready, rest = ray.wait(refs)
    assert (len(ready), len(rest)) == (1, 4)


def test_wait_with_a_timeout_of_zero_looks_once(ray, gate):
    @ray.remote
    def stand(gate):
        gate.wait()

    ref = stand.remote(gate)
    assert ray.wait([ref], timeout=0) == ([], [ref])
    gate.open()
    ray.get(ref)
    assert ray.wait([ref], timeout=0) == ([ref], [])


def test_wait_without_fetching(ray):
    refs = [ray.put(i) for i in range(3)]
    assert ray.wait(refs, num_returns=3, fetch_local=False) == (refs, [])


def test_wait_on_nothing(ray):
    assert ray.wait([]) == ([], [])


def test_a_failed_task_is_ready(ray):
    @ray.remote
    def fail():
        raise ValueError

    ref = fail.remote()
    assert ray.wait([ref], timeout=20) == ([ref], [])


def test_wait_takes_each_reference_once(ray):
    ref = ray.put(1)
    with pytest.raises(ValueError, match="unique"):
        ray.wait([ref, ref])


def test_awaiting_a_reference(ray):
    @ray.remote
    def add(a, b):
        return a + b

    async def both():
        return await asyncio.gather(add.remote(1, 2), add.remote(3, 4))

    assert asyncio.run(both()) == [3, 7]


def test_awaiting_a_reference_raises_its_exception(ray):
    @ray.remote
    def fail():
        raise KeyError("lost")

    async def wait():
        await fail.remote()

    with pytest.raises(KeyError, match="lost"):
        asyncio.run(wait())


def test_references_in_asyncio_wait(ray):
    @ray.remote
    def number(i):
        return i

    async def collect():
        done, pending = await asyncio.wait([asyncio.wrap_future(number.remote(i).future()) for i in range(3)])
        assert not pending
        return sorted(future.result() for future in done)

    assert asyncio.run(collect()) == [0, 1, 2]


def test_a_reference_as_a_future(ray):
    @ray.remote
    def one():
        return 1

    future = one.remote().future()
    assert isinstance(future, concurrent.futures.Future)
    assert future.result(timeout=20) == 1
    done, _ = concurrent.futures.wait([one.remote().future() for _ in range(3)], timeout=20)
    assert [each.result() for each in done] == [1, 1, 1]


def test_a_future_has_the_exception(ray):
    @ray.remote
    def fail():
        raise KeyError("lost")

    assert isinstance(fail.remote().future().exception(timeout=20), KeyError)


def test_threads_may_get_and_put(ray):
    @ray.remote
    def square(x):
        return x * x

    found = {}

    def work(i):
        found[i] = ray.get(square.remote(ray.put(i)))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {i: i * i for i in range(8)}


def test_functions_and_classes_may_be_put(ray):
    class Greeter:
        def greet(self):
            return "hello"

    function, cls = ray.get([ray.put(lambda x: x + 1), ray.put(Greeter)])
    assert function(1) == 2
    assert cls().greet() == "hello"


def test_an_exception_as_a_value_is_a_value(ray):
    assert ray.get(ray.put([ValueError("value")]))[0].args == ("value",)


def test_a_reference_is_no_value_for_pickle_to_copy(ray):
    """It may be pickled inside of tasks and objects; elsewhere it is a name, and the same one."""
    ref = ray.put("x")
    assert pickle.loads(ray.cloudpickle.dumps(ref)) == ref


def test_a_future_of_a_loop_that_does_not_run_yet(ray):
    @ray.remote
    def double(x):
        return 2 * x

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        futures = [double.remote(i).as_future() for i in range(3)]
        assert loop.run_until_complete(asyncio.gather(*futures)) == [0, 2, 4]
    finally:
        asyncio.set_event_loop(None)
        loop.close()
