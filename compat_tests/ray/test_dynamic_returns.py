"""Generators called with num_returns="dynamic": one reference, to a generator of references that may be passed on."""

import warnings

import pytest

INIT = {"num_cpus": 4}
pytestmark = pytest.mark.filterwarnings("ignore:num_returns='dynamic'")


@pytest.fixture
def count(ray):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")

        @ray.remote(num_returns="dynamic")
        def count(n):
            yield from range(n)

        return count


@pytest.fixture
def open_all(ray):
    @ray.remote
    def open_all(generator):
        return [ray.get(ref) for ref in generator]

    return open_all


def test_a_call_gives_one_reference_to_all_of_them(ray, count):
    ref = count.remote(3)
    assert isinstance(ref, ray.ObjectRef)
    generator = ray.get(ref)
    assert isinstance(generator, ray.DynamicObjectRefGenerator)
    assert len(generator) == 3
    assert [ray.get(item) for item in generator] == [0, 1, 2]


def test_a_generator_without_values(ray, count):
    assert list(ray.get(count.remote(0))) == []


def test_iterating_takes_them_out(ray, count):
    generator = ray.get(count.remote(3))
    assert ray.get(next(iter(generator))) == 0
    assert len(generator) == 2
    assert [ray.get(item) for item in generator] == [1, 2]
    assert list(generator) == []


def test_each_get_gives_all_of_them(ray, count):
    ref = count.remote(3)
    assert [len(list(ray.get(ref))) for _ in range(2)] == [3, 3]


def test_it_is_no_iterator(ray, count):
    with pytest.raises(TypeError):
        next(ray.get(count.remote(2)))


def test_the_reference_is_an_argument(ray, count, open_all):
    assert ray.get(open_all.remote(count.remote(4))) == [0, 1, 2, 3]


def test_the_generator_is_an_argument(ray, count, open_all):
    assert ray.get(open_all.remote(ray.get(count.remote(4)))) == [0, 1, 2, 3]


def test_what_was_taken_out_is_not_passed_on(ray, count, open_all):
    generator = ray.get(count.remote(4))
    next(iter(generator))
    assert ray.get(open_all.remote(generator)) == [1, 2, 3]


def test_the_reference_is_in_a_container(ray, count):
    @ray.remote
    def open_nested(holder):
        return [ray.get(ref) for ref in ray.get(holder["refs"][0])]

    assert ray.get(open_nested.remote({"refs": [count.remote(3)]})) == [0, 1, 2]


def test_it_is_put(ray, count):
    again = ray.get(ray.put({"g": ray.get(count.remote(3))}))
    assert [ray.get(ref) for ref in again["g"]] == [0, 1, 2]


def test_a_task_returns_the_generator(ray, count):
    @ray.remote
    def through(n):
        return ray.get(count.remote(n))

    assert [ray.get(ref) for ref in ray.get(through.remote(3))] == [0, 1, 2]


def test_a_task_returns_the_reference(ray, count):
    @ray.remote
    def through(n):
        return count.remote(n)

    assert [ray.get(ref) for ref in ray.get(ray.get(through.remote(3)))] == [0, 1, 2]


def test_an_actor_keeps_them(ray, count):
    @ray.remote
    class Keeper:
        def keep(self, generator):
            self.refs = list(generator)

        def values(self):
            return ray.get(self.refs)

    keeper = Keeper.remote()
    ray.get(keeper.keep.remote(count.remote(3)))
    assert ray.get(keeper.values.remote()) == [0, 1, 2]


def test_a_method_of_an_actor(ray):
    @ray.remote
    class Counter:
        def __init__(self):
            self.calls = 0

        def count(self, n):
            self.calls += 1
            for i in range(n):
                yield self.calls, i

    counter = Counter.remote()
    count = counter.count.options(num_returns="dynamic")
    for call in (1, 2):
        assert [ray.get(ref) for ref in ray.get(count.remote(2))] == [(call, 0), (call, 1)]


def test_an_exception_is_what_the_last_one_holds(ray):
    def fail():
        yield 1
        raise KeyError("after one")

    generator = ray.get(ray.remote(num_returns="dynamic")(fail).remote())
    first, last = generator
    assert ray.get(first) == 1
    with pytest.raises(KeyError):
        ray.get(last)


def test_big_values(ray, open_all):
    def big():
        for i in range(3):
            yield bytes([i]) * 2_000_000

    ref = ray.remote(num_returns="dynamic")(big).remote()
    assert [len(value) for value in ray.get(open_all.remote(ref))] == [2_000_000] * 3
    assert [ray.get(item)[:1] for item in ray.get(ref)] == [b"\x00", b"\x01", b"\x02"]


def test_wait_waits_for_the_end(ray, gate):
    def stop(gate):
        yield 1
        gate.wait()
        yield 2

    ref = ray.remote(num_returns="dynamic")(stop).remote(gate)
    gate.arrived.wait_count(1)
    assert ray.wait([ref], timeout=0.2) == ([], [ref])
    gate.open()
    assert ray.wait([ref], timeout=20) == ([ref], [])
    assert len(ray.get(ref)) == 2


def test_a_function_that_is_no_generator_cannot(ray):
    @ray.remote
    def one():
        return 1

    with pytest.raises(ValueError, match="dynamic"):
        one.options(num_returns="dynamic").remote()


def test_it_is_cancelled_like_any_call(ray, gate):
    def stop(gate):
        yield 1
        gate.wait()

    ref = ray.remote(num_returns="dynamic")(stop).remote(gate)
    gate.arrived.wait_count(1)
    ray.cancel(ref)
    with pytest.raises(ray.exceptions.TaskCancelledError):
        ray.get(ref, timeout=20)
