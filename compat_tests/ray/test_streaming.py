"""Generators as tasks and as methods: their items are objects as soon as they are made.

Ray sends into its generators, so `yield from` works only over what can be sent into. These are loops.
"""

# ruff: noqa: UP028

import asyncio

import pytest


def test_a_generator_function_gives_a_generator_of_references(ray):
    @ray.remote
    def count(n):
        for i in range(n):
            yield i

    generator = count.remote(3)
    refs = list(generator)
    assert all(isinstance(ref, ray.ObjectRef) for ref in refs)
    assert ray.get(refs) == [0, 1, 2]


def test_streaming_may_be_asked_for_by_name(ray):
    @ray.remote(num_returns="streaming")
    def count(n):
        for i in range(n):
            yield i

    generator = count.remote(2)
    assert isinstance(generator, ray.ObjectRefGenerator)
    assert [ray.get(ref) for ref in generator] == [0, 1]


def test_an_item_is_there_before_the_next_is_made(ray, gate):
    @ray.remote
    def slow(gate):
        yield "first"
        gate.wait()
        yield "second"

    generator = slow.remote(gate)
    assert ray.get(next(generator)) == "first"
    gate.open()
    assert ray.get(next(generator)) == "second"
    with pytest.raises(StopIteration):
        next(generator)


def test_a_generator_without_items(ray):
    @ray.remote
    def empty():
        return
        yield

    assert list(empty.remote()) == []


def test_an_exception_comes_after_the_items_before_it(ray):
    @ray.remote
    def breaks():
        yield 1
        raise ValueError("broken")

    generator = breaks.remote()
    assert ray.get(next(generator)) == 1
    with pytest.raises(ValueError, match="broken"):
        ray.get(next(generator))
    with pytest.raises(StopIteration):
        next(generator)


def test_a_function_that_is_no_generator_cannot_stream(ray):
    def plain():
        return 1

    with pytest.raises(ValueError, match="generator"):
        ray.remote(num_returns="streaming")(plain)


def test_items_are_arguments_like_any_other(ray):
    @ray.remote
    def count(n):
        for i in range(n):
            yield i

    @ray.remote
    def square(x):
        return x * x

    assert ray.get([square.remote(ref) for ref in count.remote(4)]) == [0, 1, 4, 9]


def test_a_generator_is_awaited_item_by_item(ray):
    @ray.remote
    def count(n):
        for i in range(n):
            yield i

    async def collect():
        return [await ref async for ref in count.remote(3)]

    assert asyncio.run(collect()) == [0, 1, 2]


def test_completed_tells_when_all_items_are_there(ray, gate):
    @ray.remote
    def slow(gate):
        yield 1
        gate.wait()

    generator = slow.remote(gate)
    done = generator.completed()
    assert ray.wait([done], timeout=0.2) == ([], [done])
    gate.open()
    ray.get(done)
    assert ray.get(next(generator)) == 1


def test_wait_takes_generators(ray, gate):
    @ray.remote
    def slow(gate):
        gate.wait()
        yield 1

    generator = slow.remote(gate)
    assert ray.wait([generator], timeout=0.2) == ([], [generator])
    gate.open()
    ready, rest = ray.wait([generator], timeout=20)
    assert (ready, rest) == ([generator], [])
    assert ray.get(next(generator)) == 1


def test_big_items(ray):
    @ray.remote
    def blocks():
        for i in range(3):
            yield bytes([i]) * 1_000_000

    assert [ray.get(ref) for ref in blocks.remote()] == [bytes([i]) * 1_000_000 for i in range(3)]


def test_back_pressure_holds_the_generator_back(ray, marks):
    @ray.remote(_generator_backpressure_num_objects=2)
    def eager(marks):
        for i in range(10):
            marks.add(i)
            yield i

    generator = eager.remote(marks)
    marks.wait_count(2)
    assert ray.wait([generator.completed()], timeout=0.5)[0] == []
    assert len(marks.lines()) <= 4
    assert [ray.get(ref) for ref in generator] == list(range(10))


def test_a_method_of_an_actor_may_stream(ray):
    @ray.remote
    class Source:
        def items(self, n):
            for i in range(n):
                yield i

        @ray.method(num_returns="streaming")
        def declared(self, n):
            for i in range(n):
                yield i

    source = Source.remote()
    assert ray.get(list(source.items.remote(3))) == [0, 1, 2]
    assert ray.get(list(source.declared.remote(2))) == [0, 1]


def test_an_async_generator_of_an_actor_streams(ray):
    @ray.remote
    class Source:
        async def items(self, n):
            for i in range(n):
                await asyncio.sleep(0)
                yield i

    assert ray.get(list(Source.remote().items.remote(3))) == [0, 1, 2]


def test_get_gives_a_generator_back(ray):
    @ray.remote
    def count(n):
        for i in range(n):
            yield i

    generator = count.remote(2)
    assert ray.get(generator) is generator
    assert [ray.get(ref) for ref in ray.get(generator)] == [0, 1]


def test_how_many_items_may_lie_unread_is_not_zero(ray):
    with pytest.raises(ValueError, match="_generator_backpressure_num_objects"):

        @ray.remote(_generator_backpressure_num_objects=0)
        def count():
            yield 1


@pytest.mark.parametrize("failures", [1, 2, 3])
def test_a_generator_that_raises_is_tried_again_where_that_is_wanted(ray, marks, failures):
    @ray.remote(retry_exceptions=[KeyError], max_retries=2)
    def count(marks, failures):
        tried = marks.add("try")
        for i in range(3):
            yield i
            if i == 1 and tried <= failures:
                raise KeyError("not yet")

    refs = list(count.remote(marks, failures))
    if failures <= 2:
        assert ray.get(refs) == [0, 1, 2]
    else:
        assert ray.get(refs[:2]) == [0, 1]
        with pytest.raises(KeyError, match="not yet"):
            ray.get(refs[2])
    assert len(marks.lines()) == min(failures, 2) + 1
