"""Big objects go from node to node by themselves: once for each node, to where they are used, and leave nothing."""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import distpool
from distpool.exceptions import GetTimeoutError
from distpool.scheduler.limits import DEFAULTS
from distpool.scheduler.serialize import stored
from distpool.scheduler.shells import processes
from distpool.scheduler.shells.joining import JoiningAgent
from tests.big import storage
from tests.nodes import bodies
from tests.nodes.conftest import ON_B, everything, expect_gone
from tests.processes.harness import BOUND_S
from tests.processes.scene import wait_until

pytestmark = pytest.mark.timeout(120)

MB = 1_000_000
SIZE = 4 * MB
ON_C = {"node:c": 0.001}


@distpool.remote(num_cpus=0)
def moved_bytes() -> int:
    """What was ever put into the store of the node where this runs, or copied there."""
    return storage.moved_bytes()


@distpool.remote(num_cpus=0)
def left() -> int:
    """How many objects lie there that somebody needs."""
    return len(storage.lying_there())


@distpool.remote(num_cpus=0)
def make(seed: int) -> Any:
    return bodies.pattern(SIZE, seed)


@distpool.remote(num_cpus=0)
def total(*arrays: Any) -> int:
    return int(sum(array.sum() for array in arrays))


@distpool.remote(num_cpus=0)
def make_then_die(folder: str, seed: int) -> Any:
    """The first time it dies as it hands over its result."""
    array = bodies.pattern(SIZE, seed)
    try:
        os.close(os.open(f"{folder}/died", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return array
    store = stored.current()
    assert store is not None
    store.put(
        [[array.tobytes()]], holder=(3 << 30) | 1
    )  # in transit to the home, which will never hear of it
    os.kill(os.getpid(), signal.SIGKILL)


@distpool.remote(num_cpus=0)
class Keeper:
    def keep(self, value: Any) -> int:
        self.value = value
        return int(value.sum())

    def give(self) -> Any:
        return self.value

    def pid(self) -> int:
        return os.getpid()


def expected(*seeds: int) -> int:
    return int(sum(bodies.pattern(SIZE, seed).sum() for seed in seeds))


def there(function: Any, *args: Any, node: dict[str, float] = ON_B) -> Any:
    return distpool.get(function.options(resources=node).remote(*args), timeout=60)


@contextmanager
def nothing_stays(*nodes: dict[str, float]) -> Iterator[None]:
    """Not at home, and not on these."""
    before = storage.numbers()
    there_before = [there(left, node=node) for node in nodes]
    yield
    gc.collect()
    storage.wait_empty(BOUND_S, but=before)
    for node, count in zip(nodes, there_before, strict=True):
        wait_until(
            lambda node=node, count=count: there(left, node=node) <= count, f"{node} has let go", BOUND_S
        )  # type: ignore[misc]


@pytest.fixture
def nodes(join: Callable[..., JoiningAgent]) -> dict[str, JoiningAgent]:
    """``b`` and ``c``, besides the home."""
    return {name: join(name, resources={"CPU": 2.0}) for name in ("b", "c")}


def test_it_is_pulled_once_however_many_tasks_use_it(second_agent: JoiningAgent) -> None:
    with nothing_stays(ON_B):
        reference = distpool.put(bodies.pattern(SIZE))
        keeper = Keeper.options(
            resources=ON_B
        ).remote()  # since a copy goes when nobody has it for two seconds
        distpool.get(keeper.pid.remote(), timeout=60)
        before = there(moved_bytes)
        calls = [keeper.keep.remote(reference)]
        calls += [total.options(resources=ON_B).remote(reference) for _ in range(12)]
        assert distpool.get(calls, timeout=60) == [expected(1)] * 13
        assert there(moved_bytes) - before < 1.5 * SIZE
        del reference, calls, keeper


def test_results_stay_where_they_were_made_and_go_straight_to_where_they_are_used(
    nodes: dict[str, JoiningAgent],
) -> None:
    with nothing_stays(ON_B, ON_C):
        home = storage.moved_bytes()
        made = [make.options(resources=ON_B).remote(seed) for seed in (1, 2)]
        assert there(total, *made) == expected(1, 2)
        assert there(total, *made, node=ON_C) == expected(1, 2)
        assert storage.moved_bytes() - home < MB, "the program has seen none of it"
        assert int(distpool.get(made[0], timeout=60).sum()) == expected(1)
        assert storage.moved_bytes() - home < 1.5 * SIZE
        del made


def test_a_nested_reference_and_an_actor_that_keeps_what_lies_elsewhere(
    nodes: dict[str, JoiningAgent],
) -> None:
    with nothing_stays(ON_B, ON_C):
        keeper = Keeper.options(resources=ON_C).remote()
        made = make.options(resources=ON_B).remote(3)
        assert distpool.get(keeper.keep.remote(made), timeout=60) == expected(3)
        del made
        gc.collect()
        back = keeper.give.remote()
        assert there(total, back) == expected(3)
        assert there(total_of_nested, {"in": [back]}) == expected(3)
        assert int(distpool.get(back, timeout=60).sum()) == expected(3)
        pid = distpool.get(keeper.pid.remote(), timeout=60)
        processes.kill(pid)
        assert int(distpool.get(back, timeout=60).sum()) == expected(3), (
            "what is referred to outlives who kept it"
        )
        del back, keeper


@distpool.remote(num_cpus=0)
def total_of_nested(item: Any) -> int:
    return int(distpool.get(item["in"][0]).sum())


def test_a_worker_dies_with_what_it_has_put_for_another_node(
    second_agent: JoiningAgent, tmp_path: Any
) -> None:
    with nothing_stays(ON_B):
        made = make_then_die.options(resources=ON_B).remote(str(tmp_path), 5)
        assert int(distpool.get(made, timeout=60).sum()) == expected(5)
        del made


def test_the_source_dies_and_the_value_is_made_again(nodes: dict[str, JoiningAgent]) -> None:
    with nothing_stays(ON_C):
        made = make.options(resources={"node:b": 0.001}, max_retries=2).remote(7)
        seen = total.options(resources=ON_C).remote(made)
        assert distpool.get(seen, timeout=60) == expected(7)
        agent = nodes["b"]
        pids = everything(agent)
        processes.kill(agent.pid)
        expect_gone(agent, pids)
        assert there(total, made, node=ON_C) == expected(7), "there was a copy"
        del made, seen


def test_a_source_that_is_stopped_is_waited_for_until_it_is_given_up(
    second_agent: JoiningAgent,
) -> None:
    lost = distpool.get(Keeper.options(resources=ON_B).remote().keep.remote(bodies.pattern(80)), timeout=60)
    assert lost
    reference = there(put_there)
    pids = everything(second_agent)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        start_s = time.monotonic()
        with pytest.raises(distpool.errors.DistpoolError):
            distpool.get(reference)
        assert time.monotonic() - start_s < DEFAULTS.node_silent_s + BOUND_S
    finally:
        for pid in pids:
            if processes.start_time(pid) is not None:
                os.kill(pid, signal.SIGCONT)


def test_time_is_up_while_it_comes(second_agent: JoiningAgent) -> None:
    """A ready value whose node does not answer: the wait for its data ends when the caller's time does."""
    with nothing_stays(ON_B):
        reference = there(put_there)
        pids = everything(second_agent)
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            start_s = time.monotonic()
            for several in (False, True):
                with pytest.raises(GetTimeoutError, match="lies on another node, and has not come"):
                    distpool.get([reference, reference] if several else reference, timeout=0.2)
            assert time.monotonic() - start_s < DEFAULTS.node_silent_s / 2
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
        assert distpool.get(reference, timeout=BOUND_S).sum() == bodies.pattern(SIZE).sum()
        assert distpool.get(reference, timeout=0).sum() == bodies.pattern(SIZE).sum(), "it is here by now"
        del reference


@distpool.remote(num_cpus=0)
def put_there() -> Any:
    return distpool.put(bodies.pattern(SIZE))


def test_what_does_not_fit_there_says_so_and_where(
    join: Callable[..., JoiningAgent], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as small:
        small.setenv("DISTPOOL_STORE_MEMORY", "4M")
        small.setenv("DISTPOOL_SPILL_LIMIT", "4M")
        join("b", resources={"CPU": 1.0})
    with nothing_stays(ON_B):
        array = np.zeros(16 * MB, np.uint8)
        reference = distpool.put(array)
        with pytest.raises(Exception, match=r"no room for a copy on node b.*DISTPOOL_STORE_MEMORY"):
            there(total, reference)
        assert there(total, bodies.pattern(MB)) == int(bodies.pattern(MB).sum()), "what does is still taken"
        del reference


def test_what_lies_there_makes_room(
    join: Callable[..., JoiningAgent], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy that fits into the memory there once others have gone to the disk."""
    with monkeypatch.context() as small:
        small.setenv("DISTPOOL_STORE_MEMORY", "12M")
        small.setenv("DISTPOOL_SPILL_LIMIT", "64M")
        join("b", resources={"CPU": 1.0})
    with nothing_stays(ON_B):
        kept = [there(put_there) for _ in range(3)]  # these fill it
        for seed in (1, 2):
            assert (
                there(total, distpool.put(bodies.pattern(2 * SIZE, seed)))
                == bodies.pattern(2 * SIZE, seed).sum()
            )
        assert there(total, *kept) == 3 * bodies.pattern(SIZE).sum()
        kept.clear()


def test_many_are_pulled_at_once_and_none_is_left(nodes: dict[str, JoiningAgent]) -> None:
    with nothing_stays(ON_B, ON_C):
        made = [make.options(resources=ON_B, num_cpus=1).remote(seed) for seed in range(1, 13)]
        calls = [total.options(resources=ON_C, num_cpus=1).remote(*made[n : n + 4]) for n in range(9)]
        sums = distpool.get(calls, timeout=60)
        assert sums == [expected(*range(n + 1, n + 5)) for n in range(9)]
        del made, calls


@distpool.remote(num_cpus=0)
def modules_there() -> list[str]:
    return [name for name in sys.modules if name.startswith("distpool.")]


def test_workers_of_another_node_need_not_import_what_the_home_s_have(second_agent: JoiningAgent) -> None:
    assert "distpool.scheduler.shells.actor_loop" in there(modules_there)
