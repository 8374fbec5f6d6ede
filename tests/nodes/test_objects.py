"""Arguments and results between nodes that do not see each other's store, of every size and in every place."""

from __future__ import annotations

import functools
import gc
from collections.abc import Callable
from typing import Any

import pytest

import distpool
from distpool.scheduler import client
from distpool.scheduler.serialize import SerializationError, parcels
from distpool.scheduler.shells.joining import JoiningAgent
from tests.big import storage
from tests.nodes import bodies
from tests.nodes.conftest import ON_B

pytestmark = pytest.mark.timeout(120)

MB = 1_000_000
#: In the message, through a slab, as an object, and one that is big: where it would lie on one node.
SIZES = [80, 40_000, 400_000, 100 * MB]


@pytest.mark.parametrize("size", SIZES)
def test_an_argument(pool_on_b: Any, size: int) -> None:
    array = bodies.pattern(size)
    assert pool_on_b.apply(bodies.check, (array, size)) == "b"
    assert array[0] == 1, "what the task wrote was its own copy"


@pytest.mark.parametrize("size", SIZES)
def test_a_result(pool_on_b: Any, size: int) -> None:
    array = pool_on_b.apply(bodies.pattern, (size,))
    assert (array == bodies.pattern(size)).all()
    array[0] = 7


def test_a_big_stream_without_buffers(pool_on_b: Any) -> None:
    text = "x" * (3 * MB)
    assert pool_on_b.apply(str.upper, (text,)) == text.upper()
    words = [str(number) for number in range(300_000)]
    assert pool_on_b.apply(sorted, (words,)) == sorted(words)


def test_many_calls_over_the_same_array(pool_on_b: Any) -> None:
    array = bodies.pattern(MB)
    assert set(pool_on_b.starmap(bodies.check, [(array, MB)] * 40, 1)) == {"b"}
    assert pool_on_b.apply(bodies.check_all, ([array, array, array.copy()],)) == "b"


def test_more_than_one_frame_holds(pool_on_b: Any) -> None:
    """Many short calls lie ahead on a worker; together they are far more than a message should hold."""
    assert sum(pool_on_b.map(abs, range(10_000))) > 0
    arrays = [bodies.pattern(20 * MB, seed) for seed in range(8)]
    assert set(pool_on_b.starmap(bodies.check, [(a, 20 * MB, n) for n, a in enumerate(arrays)], 1)) == {"b"}


def test_what_a_function_and_an_initializer_bring_along(
    second_agent: JoiningAgent, make_pool: Callable[..., Any]
) -> None:
    array = bodies.pattern(2 * MB)
    pool = make_pool(2, bodies.remember, (array,), resources=ON_B)
    assert pool.apply(bodies.remembered_sum) == array.sum()
    assert pool.apply(functools.partial(bodies.check, array), (2 * MB,)) == "b"
    assert set(pool.map(lambda seed: int(array[0]) + seed, range(10))) == set(range(1, 11))


def test_a_reference_carries_its_value_along(pool_on_b: Any, make_pool: Callable[..., Any]) -> None:
    size = 2 * MB
    reference = distpool.put(bodies.pattern(size))
    where, back = pool_on_b.apply(bodies.get_and_check, ({"reference": reference}, size))
    assert where == "b"
    assert (distpool.get(back) == bodies.pattern(size)).all()
    at_home = make_pool(1)
    assert at_home.apply(bodies.get_and_check, ({"reference": back}, size))[0] != "b"
    again, _ = pool_on_b.apply(bodies.get_and_check, ({"reference": back}, size))
    assert again == "b"


def test_a_reference_that_was_made_there(pool_on_b: Any) -> None:
    reference = pool_on_b.apply(bodies.put_there, (2 * MB,))
    assert (distpool.get(reference) == bodies.pattern(2 * MB)).all()


def test_nothing_stays_in_the_store(pool_on_b: Any) -> None:
    before = storage.numbers()
    for _ in range(3):
        assert pool_on_b.apply(bodies.check, (bodies.pattern(MB), MB)) == "b"
        assert pool_on_b.apply(bodies.pattern, (MB,)).nbytes == MB
    gc.collect()
    storage.wait_empty(8.0, but=before)  # copies are kept for two seconds


def test_what_cannot_be_loaded_there_is_that_calls_error(pool_on_b: Any) -> None:
    with pytest.raises(
        distpool.errors.CannotUnpickle, match=r"the arguments could not be unpickled.*no number"
    ):
        pool_on_b.apply(bodies.check, (bodies.FailsToCome(), 1))
    assert pool_on_b.apply(bodies.node) == "b"


def test_what_is_more_than_a_message_holds_is_that_calls_error(
    second_agent: JoiningAgent, make_pool: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client.session().core, "store", 0)  # it cannot be asked for what it has
    pool = make_pool(1, resources=ON_B)
    pool.apply(abs, (1,))  # its worker's set-up, which may hold the tests' own modules, is through
    monkeypatch.setattr(parcels, "PARCEL_BYTES_MAX", MB)
    words = "could not be sent to another node: .* in one piece: at most 4 GiB"
    with pytest.raises(distpool.errors.CannotUnpickle, match=words):
        pool.apply(bodies.check, (bodies.pattern(2 * MB), 2 * MB))
    array = bodies.pattern(2 * MB)
    with pytest.raises(SerializationError, match=words):
        pool.apply(functools.partial(bodies.check, array), (2 * MB,))
    assert pool.apply(bodies.check, (bodies.pattern(MB // 2), MB // 2)) == "b"
    unready = make_pool(1, bodies.remember, (array,), resources=ON_B)
    with pytest.raises(distpool.errors.PoolBroken, match=words):
        unready.apply(bodies.remembered_sum)
