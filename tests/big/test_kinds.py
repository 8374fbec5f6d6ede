"""Every kind of big thing, there and back, on every way that there is: what arrives is what pickle would have made."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest

import distpool
from tests.big import bodies, kinds

SIZE = 400_000


@pytest.mark.parametrize("name", [*kinds.ARRAYS, *kinds.OTHERS])
def test_there_and_back(two: Any, name: str) -> None:
    kinds.check(name, two.apply(kinds.check_and_return, (name, kinds.make(name))))


@pytest.mark.parametrize("name", kinds.FRAMES)
def test_pandas_there_and_back(one: Any, name: str) -> None:
    pytest.importorskip("pandas")
    kinds.check(name, one.apply(kinds.check_and_return, (name, kinds.make(name))))


@pytest.mark.parametrize("name", kinds.TABLES)
def test_arrow_there_and_back(one: Any, name: str) -> None:
    pytest.importorskip("pyarrow")
    pytest.importorskip("pandas")
    kinds.check(name, one.apply(kinds.check_and_return, (name, kinds.make(name))))


SOME = ["c_order", "fortran_order", "big_bytes", "nested", "read_only", "of_no_size", "many_small_things"]


def test_on_every_way_of_a_pool(two: Any) -> None:
    values = [(name, kinds.make(name)) for name in SOME]
    for got in (
        two.starmap(kinds.check_and_return, values),
        two.starmap(kinds.check_and_return, values, 3),
        two.starmap_async(kinds.check_and_return, iter(values)).get(),
        two.map(bodies.same, [value for _, value in values], 2),
        list(two.imap(bodies.same, (value for _, value in values))),
        list(two.imap(bodies.same, (value for _, value in values), 3)),
    ):
        for (name, _), value in zip(values, got, strict=True):
            kinds.check(name, value)
    for chunksize in (1, 3):
        for name, value in two.imap_unordered(bodies.same, values, chunksize):
            kinds.check(name, value)
    for name, value in values:
        assert two.apply(kinds.check_keyword, (name,), {"value": value}) == name
        assert two.apply(partial(kinds.check_keyword, value=value), (name,)) == name
        kinds.check(name, two.apply_async(kinds.check_and_return, (name, value)).get())


def test_on_every_way_of_an_executor(executor: Any) -> None:
    values = [(name, kinds.make(name)) for name in SOME]
    futures = [executor.submit(kinds.check_and_return, name, value) for name, value in values]
    for (name, _), future in zip(values, futures, strict=True):
        kinds.check(name, future.result())
        kinds.check(name, future.result())  # asked again
    for chunksize in (1, 3):
        got = executor.map(kinds.check_and_return, SOME, (value for _, value in values), chunksize=chunksize)
        for name, value in zip(SOME, got, strict=True):
            kinds.check(name, value)
    for name, value in values:
        assert executor.submit(kinds.check_keyword, name, value=value).result() == name


def test_results_of_callbacks(two: Any) -> None:
    got: list[Any] = []
    two.apply_async(bodies.make_pattern, (5, SIZE), callback=got.append).wait()
    two.map_async(bodies.make_of_size, [SIZE, SIZE], callback=got.extend).wait()
    assert [bodies.is_pattern(got[0], 5), bodies.is_pattern(got[1], 1), bodies.is_pattern(got[2], 1)] == [
        True
    ] * 3


def test_by_reference(two: Any) -> None:
    for name in SOME:
        reference = distpool.put(kinds.make(name))
        kinds.check(name, distpool.get(reference))
        assert two.apply(get_and_check_kind, (name, reference)) is None
    names = [*SOME]
    references = [distpool.put(kinds.make(name)) for name in names]
    for name, value in zip(names, distpool.get(references), strict=True):
        kinds.check(name, value)


def get_and_check_kind(name: str, reference: Any) -> None:
    kinds.check(name, distpool.get(reference))


def test_a_reference_inside_other_things(two: Any, make_pool: Callable[..., Any]) -> None:
    reference = distpool.put(bodies.pattern(1, SIZE))
    assert two.apply(get_from_within, ({"deep": [reference]}, bodies.pattern(2, SIZE))) == [True, True]
    assert two.map(partial(bodies.get_and_check, key=1), [reference] * 10) == [True] * 10
    assert make_pool(1).apply(lambda: bodies.is_pattern(distpool.get(reference), 1))


def get_from_within(thing: Any, array: Any) -> list[bool]:
    return [bodies.is_pattern(distpool.get(thing["deep"][0]), 1), bodies.is_pattern(array, 2)]


def test_a_small_thing_may_be_put(two: Any) -> None:
    reference = distpool.put({"a": 1})
    assert distpool.get(reference) == {"a": 1}
    assert two.apply(distpool.get, (reference,)) == {"a": 1}


def test_a_task_may_put_and_return_the_reference(two: Any) -> None:
    reference = two.apply(distpool.put, (bodies.pattern(1, SIZE),))
    assert bodies.is_pattern(distpool.get(reference), 1)
    assert two.apply(bodies.get_and_check, (reference, 1))


# ------------------------------------------------------------------------------ identity, twice


def test_the_same_array_twice_in_one_call(two: Any) -> None:
    array = bodies.pattern(1, SIZE)
    assert two.apply(bodies.are_one, (array, array))
    assert two.apply(bodies.write_one_read_other, (array, array)) == 0xAA
    back = two.apply(bodies.same, ([array, array, {"again": array}],))
    assert back[0] is back[1] is back[2]["again"]
    assert bodies.is_pattern(back[0], 1)


def test_two_views_of_one_array_are_two_arrays(two: Any) -> None:
    array = bodies.pattern(1, SIZE)
    assert two.apply(bodies.write_one_read_other, (array[:], array[:])) == array[0]
    assert two.starmap(bodies.write_one_read_other, [(array[:], array[:])] * 4) == [array[0]] * 4
    assert bodies.is_pattern(array, 1)


# --------------------------------------------------------------------------- errors, set-up, globals


def test_exceptions_that_carry_arrays(two: Any, executor: Any) -> None:
    array = bodies.pattern(1, SIZE)
    errors = [executor.submit(bodies.raise_with, array).exception()]
    with pytest.raises(bodies.CarriesArray) as raised:
        two.apply(bodies.raise_with, (array,))
    errors.append(raised.value)
    with pytest.raises(bodies.CarriesArray) as raised:
        two.map(bodies.raise_with, [array])
    errors.append(raised.value)
    for error in errors:
        assert error.text == "with an array"
        assert np.array_equal(error.array, array[::-1])
        assert bodies.is_pattern(error.more["array"], 1)
        assert "raise error" in str(error.__cause__)
    del raised, error, errors


@pytest.mark.parametrize("make", ["make_pool", "make_executor"])
def test_initargs(request: pytest.FixtureRequest, make: str) -> None:
    opened = request.getfixturevalue(make)(
        2, initializer=bodies.initialise, initargs=(bodies.pattern(1, SIZE),)
    )
    assert list(opened.map(bodies.initial_is, [1] * 20)) == [True] * 20


def test_initargs_of_workers_that_come_later(make_pool: Callable[..., Any]) -> None:
    pool = make_pool(1, bodies.initialise, (bodies.pattern(1, SIZE),), maxtasksperchild=2)
    assert pool.map(bodies.initial_is, [1] * 10, 1) == [True] * 10


def test_captured_in_closures(make_pool: Callable[..., Any], make_executor: Callable[..., Any]) -> None:
    pool, executor = make_pool(2), make_executor(2)
    array = bodies.pattern(1, SIZE)

    def is_right(_: Any = None) -> bool:
        return bodies.is_pattern(array, 1)

    def write(_: Any = None) -> bool:
        right = bodies.is_pattern(array, 1)
        array[...] = array  # what this worker has of it is its own, and may be written to
        return right

    for body in (is_right, write):
        assert pool.map(body, range(20), 1) == [True] * 20
        assert executor.submit(body).result()
        assert executor.submit(lambda a=array: bodies.is_pattern(a, 1)).result()
    assert list(executor.map(partial(bodies.check_pair, array), [1] * 5)) == [True] * 5
    assert pool.apply(partial(bodies.by_keyword, array=array, key=1))


def test_a_generator_of_big_things_is_read_as_it_is_needed(two: Any) -> None:
    drawn = []

    def draw() -> Iterator[Any]:
        for key in range(30):
            drawn.append(key)
            yield bodies.pattern(key, SIZE), key

    assert [bodies.is_pattern(array, key) for array, key in two.imap(bodies.same, draw())] == [True] * 30
    assert drawn == list(range(30))


@pytest.mark.parametrize("method", ["imap", "imap_unordered"])
@pytest.mark.parametrize("ends_with", [StopIteration, ValueError])
def test_a_generator_that_ends_after_its_last_result_was_taken(
    two: Any, method: str, ends_with: type[Exception]
) -> None:
    """Then it is the feeder, not a result, that whoever waits must hear of."""

    def draw() -> Iterator[Any]:
        yield bodies.pattern(0, SIZE)
        threading.Event().wait(0.2)  # so that the other one waits by now
        if ends_with is ValueError:
            raise ValueError("in the generator")

    results = getattr(two, method)(bodies.first, draw())
    assert results.next(timeout=20.0) == bodies.pattern(0, 1)[0]
    began_s = time.monotonic()
    with pytest.raises(ends_with):
        results.next(timeout=10.0)
    assert time.monotonic() - began_s < 5.0, "it was not told, and found out when its time was up"
