"""What is written to one's own copy stays there: not in the store, not in the next object at its place."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import distpool
from distpool.scheduler.serialize import STORED_BYTES_MIN
from tests.big import bodies, storage
from tests.processes.bodies import noted
from tests.processes.scene import count, wait_until

SIZES = [100_001, STORED_BYTES_MIN, STORED_BYTES_MIN + 1, 1 << 20, (8 << 20) + 5]
ROUNDS = count(10, 200)
SIZE = 400_000


# ------------------------------------------------------------------------------- the same place


@pytest.mark.parametrize("way", ["results", "put and get"])
@pytest.mark.parametrize("size", SIZES)
def test_write_free_put_another_at_the_same_place_read(two: Any, size: int, way: str) -> None:
    for key in range(ROUNDS):
        if way == "results":
            array = two.apply(bodies.make_pattern, (key, size))
        else:
            array = distpool.get(distpool.put(bodies.pattern(key, size)))
        assert bodies.is_pattern(array, key), f"round {key}"
        array[...] = 0xAA
        del array
    gc.collect()
    # It was the same place: there never was room for more than a few of them.
    assert storage.usage().memory <= 4 * size + storage.SLACK_BYTES + 4 * SIZES[-1]


@pytest.mark.parametrize("size", SIZES)
def test_write_free_put_another_at_the_same_place_read_in_a_worker(
    make_pool: Callable[..., Any], size: int
) -> None:
    pool = make_pool(1)
    for key in range(ROUNDS):
        assert pool.apply(bodies.write_over, (bodies.pattern(key, size), key)), f"round {key}"
    assert pool.apply(bodies.rounds_at_one_place, (size, ROUNDS)) == ROUNDS
    assert pool.starmap(bodies.rounds_at_one_place, [(size, 3)] * 6, 1) == [3] * 6


def test_write_free_put_another_at_the_same_place_read_by_several(two: Any) -> None:
    """The writers are others than the readers, and change from round to round."""
    size = 1 << 20
    for key in range(ROUNDS):
        reference = distpool.put(bodies.pattern(key, size))
        assert two.starmap(bodies.get_and_write_over, [(reference, key)] * 4, 1) == [True] * 4
        mine = distpool.get(reference)
        assert bodies.write_over(mine, key)
        assert bodies.is_pattern(distpool.get(reference), key), "what was stored is untouched"
        del mine, reference


@pytest.mark.parametrize("manner", bodies.MANNERS_OF_WRITING)
def test_write_let_go_and_get_the_same_again(make_pool: Callable[..., Any], manner: str) -> None:
    """However it was written to: nothing of that is in what the next one gets, here or in workers."""
    pool = make_pool(2)
    for size in (STORED_BYTES_MIN, 500_001):
        array = bodies.pattern(1, size)
        reference = distpool.put(array)
        assert bodies.write_drop_get_again(reference, 1, manner, 5) == 5
        assert pool.starmap(bodies.write_drop_get_again, [(reference, 1, manner, 5)] * 4, 1) == [5] * 4
        assert pool.starmap(bodies.check_then_write, [(array, 1, manner)] * 8, 1) == [True] * 8
        results = [pool.apply(bodies.same, (array,)) for _ in range(3)]
        assert [bodies.check_then_write(result, 1, manner) for result in results] == [True] * 3
        assert bodies.is_pattern(array, 1)
        assert bodies.is_pattern(distpool.get(reference), 1)
        bodies.forget()


def test_a_freed_part_of_a_larger_object(two: Any) -> None:
    """Objects of other sizes come to lie across the places of former ones."""
    for turn in range(ROUNDS):
        sizes = [SIZES[(turn + n) % 4] + 4096 * n for n in range(4)]
        arrays = [distpool.get(distpool.put(bodies.pattern(turn + n, size))) for n, size in enumerate(sizes)]
        del arrays[turn % 4]
        gc.collect()
        other = two.apply(bodies.make_pattern, (99, sum(sizes)))
        for n in [n for n in range(4) if n != turn % 4]:
            assert bodies.write_over(arrays.pop(0), turn + n)
        assert bodies.is_pattern(other, 99)
        del arrays, other


# ------------------------------------------------------------------------- between two submits


@pytest.mark.parametrize("make", ["make_pool", "make_executor"])
def test_plus_one_between_two_submits(request: pytest.FixtureRequest, make: str) -> None:
    opened = request.getfixturevalue(make)(1)
    submit, get = _submitting(opened)
    array = np.zeros(SIZE, dtype=np.int64)
    results = []
    for _ in range(10):
        results.append(submit(bodies.first_and_last, array))
        array += 1
    assert [get(result) for result in results] == [(n, n) for n in range(10)]


@pytest.mark.parametrize("make", ["make_pool", "make_executor"])
def test_plus_one_before_the_first_task_has_started(
    request: pytest.FixtureRequest, make: str, tmp_path: Path
) -> None:
    opened = request.getfixturevalue(make)(1)
    submit, get = _submitting(opened)
    go = str(tmp_path / "go")
    blocker = submit(bodies.wait_for_file, go)
    array = np.zeros(SIZE, dtype=np.int64)
    stream = bytearray(SIZE)  # a big pickle stream, not only a buffer
    captured = np.zeros(SIZE, dtype=np.int64)
    first = [
        submit(bodies.first_and_last, array),
        submit(bodies.same, stream),
        submit(bodies.same, [array] * 2),
    ]
    closure = submit(lambda: bodies.first_and_last(captured))
    array += 1
    stream[:] = b"\1" * SIZE
    second = [submit(bodies.first_and_last, array), submit(bodies.same, stream)]
    array += 1
    stream[:] = b"\2" * SIZE
    Path(go).touch()
    assert get(blocker) is None
    assert [get(first[0]), get(second[0])] == [(0, 0), (1, 1)]
    assert [get(first[1])[0], get(second[1])[-1]] == [0, 1]
    assert [bodies.first_and_last(each) for each in get(first[2])] == [(0, 0)] * 2
    assert get(closure) == (0, 0)


def test_plus_one_after_a_map_has_been_asked_for(make_pool: Callable[..., Any], tmp_path: Path) -> None:
    pool = make_pool(1)
    blocker = pool.apply_async(bodies.wait_for_file, (str(tmp_path / "go"),))
    one, other = np.zeros(SIZE, dtype=np.int64), np.ones(SIZE, dtype=np.int64)
    result = pool.map_async(bodies.first_and_last, [one, other])
    pairs = pool.starmap_async(bodies.first_and_last, [(one, 0), (other, 0)], chunksize=2)
    one += 10
    other += 10
    again = pool.map_async(bodies.first_and_last, [one, other], chunksize=2)
    one += 10
    (tmp_path / "go").touch()
    blocker.wait()
    assert result.get() == pairs.get() == [(0, 0), (1, 1)]
    assert again.get() == [(10, 10), (11, 11)]


def test_plus_one_after_executor_map(make_executor: Callable[..., Any], tmp_path: Path) -> None:
    executor = make_executor(1)
    blocker = executor.submit(bodies.wait_for_file, str(tmp_path / "go"))
    one, other = np.zeros(SIZE, dtype=np.int64), np.ones(SIZE, dtype=np.int64)
    result = executor.map(bodies.first_and_last, [one, other])
    one += 10
    other += 10
    (tmp_path / "go").touch()
    assert blocker.result() is None
    assert list(result) == [(0, 0), (1, 1)]


def test_one_array_that_a_generator_changes_between_two_items(two: Any, executor: Any) -> None:
    def draw() -> Iterator[Any]:
        array = np.zeros(SIZE, dtype=np.int64)
        for _ in range(6):
            yield array
            array += 1

    expected = [(n, n) for n in range(6)]
    assert list(two.imap(bodies.first_and_last, draw())) == expected
    assert sorted(two.imap_unordered(bodies.first_and_last, draw())) == expected
    assert list(executor.map(bodies.first_and_last, draw())) == expected


def test_plus_one_on_what_was_put(two: Any) -> None:
    array = np.zeros(SIZE, dtype=np.int64)
    before = distpool.put(array)
    array += 1
    after = distpool.put(array)
    array += 1
    assert [bodies.first_and_last(distpool.get(each)) for each in (before, after)] == [(0, 0), (1, 1)]


def _submitting(opened: Any) -> tuple[Callable[..., Any], Callable[[Any], Any]]:
    """``submit(function, *args)`` and ``get(result)`` of a pool or an executor."""
    if hasattr(opened, "submit"):
        return opened.submit, lambda future: future.result(30.0)
    return lambda function, *args: opened.apply_async(function, args), lambda result: result.get(30.0)


# ------------------------------------------------------------------------ writable, and private


def test_what_arrives_may_be_written_to_and_nobody_sees_it(two: Any) -> None:
    array = bodies.pattern(1, SIZE)
    assert two.starmap(bodies.write_over, [(array, 1)] * 8, 1) == [True] * 8
    views = [(array[:], 1) for _ in range(8)]  # one array in one chunk would be one in the worker too
    assert two.starmap(bodies.write_over, views, 4) == [True] * 8
    assert bodies.is_pattern(array, 1), "the original is untouched"
    result = two.apply(bodies.same, (array,))
    assert result.flags.writeable
    result += 1
    assert bodies.is_pattern(array, 1)


def test_each_get_is_an_array_of_its_own(two: Any) -> None:
    reference = distpool.put(bodies.pattern(1, SIZE))
    one, other = distpool.get([reference, reference])
    one[...] = 0
    assert bodies.is_pattern(other, 1)
    assert bodies.is_pattern(distpool.get(reference), 1)
    assert two.apply(bodies.get_and_check, (reference, 1))


def test_read_only_arrives_read_only(two: Any) -> None:
    array = bodies.pattern(1, SIZE)
    assert two.apply(bodies.is_writeable, (array,))
    array.flags.writeable = False
    assert not two.apply(bodies.is_writeable, (array,))
    assert two.map(bodies.is_writeable, [array] * 3) == [False] * 3
    assert not two.apply(bodies.same, (array,)).flags.writeable
    assert not distpool.get(distpool.put(array)).flags.writeable


def test_a_task_that_is_run_again_gets_what_the_first_got(
    make_pool: Callable[..., Any], tmp_path: Path
) -> None:
    """Its worker died after it had written to the argument."""
    pool = make_pool(1)
    path = str(tmp_path / "deaths")
    result = pool.apply_async(bodies.die_while_reading, (bodies.pattern(1, SIZE), 1, 0.02, path, 2))
    wait_until(lambda: noted(path) >= 1, "it has begun")
    assert result.get(30.0)
    assert noted(path) == 3
