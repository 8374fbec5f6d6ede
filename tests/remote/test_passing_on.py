"""References that are passed on: by tasks and actors, finished and pending, inside of all that can be pickled."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

import distpool
from compat_tests.ray.waiting import Gate
from distpool.scheduler.remote.here import here
from tests.remote import bodies
from tests.remote.bodies import ErrorWithRefs, Keeper

PATIENCE_S = 20.0
BIG = 400_000


def get(refs: Any) -> Any:
    return distpool.get(refs, timeout=PATIENCE_S)


@pytest.mark.parametrize("value", ["small", bytearray(BIG)], ids=["small", "big"])
def test_an_actor_keeps_what_is_pending_after_its_call_has_ended(gate: Gate, value: Any) -> None:
    keeper = Keeper.remote()
    ref = bodies.make_behind.remote(gate, value)
    assert get(keeper.keep.remote([ref])) == 1
    del ref  # only the actor has it now, and only we know what it will be
    gate.open()
    assert get(keeper.values.remote()) == [value]
    assert get(get(keeper.give_back.remote())) == [value]


def test_an_actor_keeps_it_if_its_method_raises(gate: Gate) -> None:
    keeper = Keeper.remote()
    ref = bodies.make_behind.remote(gate, 7)
    with pytest.raises(KeyError):
        get(keeper.keep_and_fail.remote([ref]))
    gate.open()
    assert get(keeper.values.remote()) == [7]
    del ref


def test_what_is_pending_comes_back_to_who_makes_it(gate: Gate) -> None:
    keeper = Keeper.remote()
    get(keeper.keep.remote([bodies.make_behind.remote(gate, 7)]))
    (back,) = get(keeper.give_back.remote())
    assert not back.settled
    gate.open()
    assert get(back) == 7


@pytest.mark.parametrize("value", ["small", bytearray(BIG)], ids=["small", "big"])
def test_a_nested_task_returns_what_is_pending(gate: Gate, value: Any) -> None:
    (inner,) = get(bodies.spawn.remote(gate, value))
    assert not inner.settled
    gate.open()
    assert get(inner) == value


def test_what_a_value_names_was_finished_long_ago(gate: Gate) -> None:
    """The call's worker has forgotten it; whoever gets the outer value later must get the inner one all the same."""
    outer = bodies.spawn.remote(gate, 7)
    (inner,) = get(outer)
    gate.open()
    assert get(inner) == 7
    del inner
    assert get(bodies.open_list.remote(get(outer))) == [7]
    assert get(bodies.open_nested.remote([outer])) == 7


def test_it_is_finished_while_the_task_that_gets_it_waits(gate: Gate, tmp_path: Any) -> None:
    """When that task begins its owner, the nested task's worker, has forgotten it, or has gone."""
    second = Gate(str(tmp_path / "second"))
    (inner,) = get(bodies.spawn.remote(gate, 7))
    opened = bodies.open_list.remote([inner], bodies.make_behind.remote(second, 0))
    gate.open()
    assert get(inner) == 7
    second.open()
    assert get(opened) == [7]


def test_a_finished_value_that_names_what_is_pending(gate: Gate) -> None:
    inner = bodies.make_behind.remote(gate, 7)
    outer = distpool.put([inner])
    opened = bodies.open_nested.remote([outer])
    gate.open()
    assert get(opened) == 7


def test_a_borrower_passes_on_to_another(gate: Gate) -> None:
    first, second = Keeper.remote(), Keeper.remote()
    get(first.keep.remote([bodies.make_behind.remote(gate, 7)]))
    refs = get(first.give_back.remote())
    get(second.keep.remote(refs))
    del refs
    gate.open()
    assert get(second.values.remote()) == [7]


def test_in_closures_globals_and_exceptions(gate: Gate) -> None:
    pending, there = bodies.make_behind.remote(gate, 7), distpool.put(bytearray(BIG))
    namespace: dict[str, Any] = {"__name__": "__main__", "refs": [pending, there], "get": distpool.get}
    exec("def captured():\n    return get(refs)", namespace)

    def enclosed() -> Any:
        return distpool.get([pending, there])

    calls = [distpool.remote(num_cpus=0)(function).remote() for function in (enclosed, namespace["captured"])]
    with pytest.raises(ErrorWithRefs) as raised:
        get(bodies.fail_with.remote([pending, there]))
    gate.open()
    for values in (*map(get, calls), get(raised.value.refs)):
        assert values == [7, bytearray(BIG)]
    assert raised.value.refs == [pending, there], "they are the same references"
    for pool in here().pools:
        pool.exporter.forget()  # it keeps what functions capture, for their next call
    namespace.clear()


def test_an_exception_brings_what_its_task_has_made() -> None:
    """Its worker keeps that for a while; it goes with the worker at the latest."""

    def fail() -> None:
        error = ErrorWithRefs([bodies.make.remote(bytearray(BIG)), distpool.put(bytearray(BIG + 1))])
        error.pid = os.getpid()
        raise error

    with pytest.raises(ErrorWithRefs) as raised:
        get(distpool.remote(num_cpus=0)(fail).remote())
    assert [len(value) for value in get(raised.value.refs)] == [BIG, BIG + 1]
    os.kill(raised.value.pid, signal.SIGKILL)


def test_ten_thousand_in_one_object() -> None:
    refs = [distpool.put(number) for number in range(10_000)]
    outer = distpool.put(refs)
    first, second = get(outer), get(outer)
    assert all(one is other is ref for one, other, ref in zip(first, second, refs, strict=True))
    del refs, first
    assert get(second) == list(range(10_000))


def test_two_thousand_pending_ones_returned(gate: Gate) -> None:
    @distpool.remote(num_cpus=0)
    def start(gate: Gate) -> list[distpool.ObjectRef]:
        first = bodies.make_behind.remote(gate, 0)
        return [bodies.plus_one.remote(first, number) for number in range(2_000)]

    refs = get(start.remote(gate))
    gate.open()
    assert get(refs) == [1] * 2_000


@pytest.mark.parametrize("value", ["small", bytearray(BIG)], ids=["small", "big"])
def test_a_class_made_in_a_function_refers_to_an_actor_and_to_values(gate: Gate, value: Any) -> None:
    """They are in the definition of the class, which is a pickle of its own within that of the actor."""
    keeper = Keeper.remote()
    refs = [distpool.put(value), bodies.make_behind.remote(gate, value)]

    class Helper:
        @staticmethod
        def kept() -> int:
            count: int = get(keeper.keep.remote(refs))
            return count

    @distpool.remote
    class User(Helper):
        def use(self) -> list[Any]:
            return [self.kept(), get(refs[0])]

    assert get(User.remote().use.remote()) == [2, value]
    refs.clear()
    gate.open()
    assert get(keeper.values.remote()) == [value] * 2
