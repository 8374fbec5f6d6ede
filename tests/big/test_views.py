"""Views that outlive the object they were cut from: the bytes stay right while others take, use and free the store."""

from __future__ import annotations

import gc
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

import distpool
from tests.big import bodies, storage
from tests.processes.scene import wait_until

SIZE = 1 << 20


def _stir(pool: Any, rounds: int = 6) -> None:
    """Have other objects come and go, at whatever places are free."""
    for key in range(1000, 1000 + rounds):
        array = pool.apply(bodies.same, (bodies.pattern(key, SIZE),))
        assert bodies.write_over(array, key)
        reference = distpool.put(array)
        del array
        assert bodies.first(distpool.get(reference)) == 0xAA


def test_slices_in_the_driver(two: Any) -> None:
    before, slices = storage.numbers(), []
    for key in range(5):
        array = two.apply(bodies.make_pattern, (key, SIZE))
        slices.append((array[1000:3000], array[::4096], memoryview(array)[-100:]))
        del array
    gc.collect()
    _stir(two)
    for key, (part, pages, tail) in enumerate(slices):
        whole = bodies.pattern(key, SIZE)
        assert np.array_equal(part, whole[1000:3000])
        assert np.array_equal(pages, whole[::4096])
        assert bytes(tail) == whole[-100:].tobytes()
    # A worker's own pin may still be on its way out.
    storage.wait_until(lambda: len(storage.numbers() - before) == 5, "each is kept whole by its views", 5)
    slices.clear()
    del part, pages, tail
    storage.wait_empty(but=before)


def test_slices_in_the_globals_of_a_worker(make_pool: Callable[..., Any]) -> None:
    before = storage.numbers()
    pool = make_pool(1)
    for key in range(5):
        pool.apply(bodies.keep_slices, (key, bodies.pattern(key, SIZE)))
    _stir(pool)
    for key in range(5):
        assert pool.apply(bodies.slices_are_right, (key, key, SIZE)) == [True] * 3
    pool.apply(bodies.forget)
    storage.wait_empty(but=before)


def test_arguments_and_references_in_the_globals_of_a_worker(make_pool: Callable[..., Any]) -> None:
    before = storage.numbers()
    pool = make_pool(1)
    pool.apply(bodies.keep, ("array", bodies.pattern(1, SIZE)))
    pool.apply(bodies.keep, ("reference", distpool.put(bodies.pattern(2, SIZE))))
    pool.apply(bodies.keep, ("view", bodies.pattern(3, SIZE)[::3]))
    gc.collect()
    _stir(pool)
    assert pool.apply(bodies.kept_is_pattern, ("array", 1))
    assert bodies.is_pattern(pool.apply(bodies.take_kept, ("array",)), 1)
    reference = pool.apply(bodies.take_kept, ("reference",))
    assert bodies.is_pattern(distpool.get(reference), 2)
    assert np.array_equal(pool.apply(bodies.take_kept, ("view",)), bodies.pattern(3, SIZE)[::3])
    pool.apply(bodies.forget)
    del reference
    storage.wait_empty(but=before)


def test_results_that_are_views_of_arguments(two: Any) -> None:
    array = bodies.pattern(1, SIZE)
    results = [two.apply(bodies.views_of, (array,)) for _ in range(3)]
    array[...] = 0
    _stir(two)
    whole = bodies.pattern(1, SIZE)
    for result in results:
        assert np.array_equal(result["same"], whole)
        assert np.array_equal(result["part"], whole[4096:-4096])
        assert np.array_equal(result["strided"], whole[::2])
        assert np.array_equal(result["turned"], whole.reshape(2, -1).T)


def test_passed_on_from_worker_to_worker(make_pool: Callable[..., Any]) -> None:
    """A result that is a view of an argument goes on to another pool, whose workers give views of that."""
    one, other = make_pool(1), make_pool(1)
    array = bodies.pattern(1, SIZE)
    for _ in range(4):
        array = one.apply(bodies.views_of, (array,))["part"]
        array = other.apply(bodies.views_of, (array,))["part"]
    whole = bodies.pattern(1, SIZE)[8 * 4096 : -8 * 4096]
    assert np.array_equal(array, whole)
    assert np.array_equal(array[::-1], whole[::-1])


def test_passed_on_to_pools_of_workers(make_pool: Callable[..., Any]) -> None:
    pool = make_pool(2)
    work = [(bodies.pattern(key, SIZE), key) for key in range(2)]
    assert pool.starmap(bodies.pass_on, work, 1) == [[True] * 3] * 2


def test_views_in_closures_and_partials(
    make_pool: Callable[..., Any], make_executor: Callable[..., Any]
) -> None:
    pool, executor = make_pool(2), make_executor(2)
    view = pool.apply(bodies.make_pattern, (1, SIZE))[4096:]
    whole = bodies.pattern(1, SIZE)[4096:]

    def is_right(_: int = 0) -> bool:
        return np.array_equal(view, whole)

    _stir(pool)
    assert pool.map(is_right, range(8), 1) == [True] * 8
    assert executor.submit(is_right).result()
    assert np.array_equal(executor.submit(partial(bodies.same, view)).result(), whole)
    assert np.array_equal(executor.submit(partial(bodies.same, view[::2])).result(), whole[::2])


def test_an_argument_outlives_the_drivers_array(make_pool: Callable[..., Any]) -> None:
    """The driver's own array is gone before the task begins."""
    pool = make_pool(1)
    results = [pool.apply_async(bodies.check_pair, (bodies.pattern(key, SIZE), key)) for key in range(12)]
    gc.collect()
    assert [result.get(30.0) for result in results] == [True] * 12


def test_a_reference_outlives_the_drivers(make_pool: Callable[..., Any]) -> None:
    pool = make_pool(1)
    results = [
        pool.apply_async(bodies.get_and_check, (distpool.put(bodies.pattern(key, SIZE)), key))
        for key in range(12)
    ]
    gc.collect()
    assert [result.get(30.0) for result in results] == [True] * 12


@pytest.mark.parametrize("manner", ["terminate", "close"])
def test_results_outlive_their_pool(make_pool: Callable[..., Any], manner: str) -> None:
    pool = make_pool(2)
    results = pool.starmap(bodies.make_pattern, [(key, SIZE) for key in range(6)])
    unread = pool.apply_async(bodies.make_pattern, (6, SIZE))
    unread.wait()
    getattr(pool, manner)()
    pool.join()
    with make_pool(1) as another:
        _stir(another)
    assert [bodies.is_pattern(array, key) for key, array in enumerate([*results, unread.get()])] == [True] * 7


def test_what_nobody_asks_for_is_let_go(
    make_pool: Callable[..., Any], make_executor: Callable[..., Any]
) -> None:
    """Results that are never read, calls that are cancelled: all goes with its pool at the latest."""
    before = storage.numbers()
    pool, executor = make_pool(2), make_executor(1)
    pool.starmap_async(bodies.make_pattern, [(key, SIZE) for key in range(6)])
    futures = [executor.submit(bodies.same, bodies.pattern(key, SIZE)) for key in range(6)]
    for future in futures[1:]:
        future.cancel()
    del future, futures
    pool.apply_async(bodies.same, (bodies.pattern(1, SIZE),)).wait()
    many = pool.map_async(bodies.same, [bodies.pattern(key, SIZE) for key in range(20)], 1)
    pool.terminate()
    pool.join()
    executor.shutdown(cancel_futures=True)
    del many
    gc.collect()
    storage.wait_empty(but=before)


def test_what_a_worker_has_goes_with_it(make_pool: Callable[..., Any]) -> None:
    before = storage.numbers()
    pool = make_pool(1)
    pool.apply(bodies.keep, ("array", bodies.pattern(1, SIZE)))
    pool.apply(bodies.keep, ("reference", distpool.put(bodies.pattern(1, SIZE))))
    wait_until(lambda: len(storage.numbers() - before) == 2, "only the worker has them")
    pool.terminate()
    pool.join()
    storage.wait_empty(but=before)
