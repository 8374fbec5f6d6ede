"""Chains, crowds, streams and big results: that they end, and what is left of them (nothing)."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path
from typing import Any

import pytest

import distpool
from compat_tests.ray.waiting import Gate
from distpool.exceptions import TaskCancelledError
from distpool.scheduler.remote.here import here
from tests.big import storage
from tests.processes.scene import wait_until
from tests.remote import bodies
from tests.remote.test_passing_on import BIG, get

MIB = 1 << 20


def test_a_chain_of_fifty() -> None:
    ref: Any = 0
    for _ in range(50):
        ref = bodies.plus_one.remote(ref)
    assert get(ref) == 50


def test_a_chain_of_fifty_behind_something(gate: Gate) -> None:
    ref = bodies.make_behind.remote(gate, 0)
    for _ in range(50):
        ref = bodies.plus_one.remote(ref)
    gate.open()
    assert get(ref) == 50


def test_a_chain_whose_first_has_failed(gate: Gate) -> None:
    ref = bodies.fail_with.remote([])
    for _ in range(50):
        ref = bodies.plus_one.remote(ref)
    with pytest.raises(bodies.ErrorWithRefs):
        get(ref)


def test_a_wide_one(gate: Gate) -> None:
    first = bodies.make_behind.remote(gate, 1)
    many = [bodies.plus_one.remote(first) for _ in range(200)]
    last = bodies.plus_one.remote(*many)
    gate.open()
    assert get(last) == 3
    assert get(many) == [2] * 200


@pytest.mark.parametrize("size", [300_000, 5 * MIB, 50 * MIB])
def test_big_results_through_a_chain(size: int) -> None:
    ref = bodies.make.remote(bytearray(size))
    for _ in range(4):
        ref = bodies.grow.remote(ref, 1)
    assert len(get(ref)) == size + 4
    del ref
    gc.collect()
    storage.wait_empty()


def test_an_intermediate_result_goes_as_soon_as_it_can(gate: Gate) -> None:
    ref = bodies.make_zeros.remote(BIG)  # (what is put into its arguments would stay, to make it again)
    grown = bodies.grow.remote(ref, 1)
    distpool.wait([grown])
    del ref
    gc.collect()
    wait_until(lambda: len(storage.lying_there()) == 1, "only the last is there")
    assert len(get(grown)) == BIG + 1


def test_a_generator_is_left_half_way(tmp_path: Path) -> None:
    """Who asked for back-pressure has a worker that waits for him: it must not wait for ever."""
    path = tmp_path / "ended"
    options = bodies.count_for_ever.options(num_returns="streaming", _generator_backpressure_num_objects=2)
    generator = options.remote(str(path))
    assert [get(next(generator)) for _ in range(3)] == [0, 1, 2]
    assert not path.exists()
    del generator
    wait_until(path.exists, "it goes on to its end", 20.0)


def test_a_generator_of_big_values_is_left_half_way() -> None:
    generator = bodies.count_to.options(num_returns="streaming").remote(20, BIG)
    first = next(generator)
    assert get(first)[0] == 0
    done = generator.completed()
    del generator, first
    assert get(done) == 20
    del done
    gc.collect()
    storage.wait_empty()


def test_a_generator_is_cancelled(tmp_path: Path) -> None:
    path = tmp_path / "ended"
    generator = bodies.count_for_ever.options(
        num_returns="streaming", _generator_backpressure_num_objects=2
    ).remote(str(path))
    get(next(generator))
    distpool.cancel(generator)
    wait_until(path.exists, "it was interrupted")
    with pytest.raises(TaskCancelledError):
        [get(ref) for ref in generator]


def test_cancel_what_waits_for_arguments(gate: Gate) -> None:
    argument = bodies.make_behind.remote(gate, 0)
    waiting = bodies.plus_one.remote(argument)
    behind = bodies.plus_one.remote(waiting)
    distpool.cancel(waiting)
    for ref in (waiting, behind):
        with pytest.raises(TaskCancelledError):
            get(ref)
    gate.open()
    assert get(argument) == 0
    assert not here().waiting


def test_await_five_thousand(gate: Gate) -> None:
    async def all_of(refs: list[distpool.ObjectRef]) -> list[int]:
        async with asyncio.timeout(60):
            return await asyncio.gather(*refs)

    first = bodies.make_behind.remote(gate, 0)
    refs = [bodies.plus_one.remote(first) for _ in range(5_000)]
    gate.open()
    assert asyncio.run(all_of(refs)) == [1] * 5_000


def test_await_for_a_while_again_and_again(gate: Gate) -> None:
    """Who gives up leaves nothing at the reference."""

    async def look(ref: distpool.ObjectRef) -> None:
        for _ in range(100):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(ref.as_future(), 0.0001)

    ref = bodies.make_behind.remote(gate, 0)
    asyncio.run(look(ref))
    assert not ref.watchers
    gate.open()
    assert get(ref) == 0
