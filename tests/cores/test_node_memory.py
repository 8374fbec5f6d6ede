"""A node without memory: which worker ends, what is said of it; and what becomes of its task in its owner."""

from __future__ import annotations

import pytest

from distpool.scheduler.messages import (
    OUT_OF_MEMORY,
    CancelTasks,
    ClosePool,
    Death,
    DropPool,
    Exited,
    Failed,
    MemoryLow,
    Signal,
    Submit,
    TerminatePool,
    Tick,
    WorkerDied,
)
from tests.cores import test_node, test_owner
from tests.cores.test_node import KILLED, Node
from tests.cores.test_owner import Owner, task

MIB = 1 << 20
NO_MEMORY = Death(100, "host", 9, -9, reason="...", kind=OUT_OF_MEMORY)


def low(**used_mib: int) -> MemoryLow:
    """Of workers ``w1``, ``w2``, ..."""
    return MemoryLow(1000 * MIB, 30 * MIB, {int(name[1:]): mib * MIB for name, mib in used_mib.items()})


def node_of(*pools: tuple[float, bool]) -> Node:
    """A worker for each pool: what it asks for, and whether its work is not repeated."""
    node = Node({"CPU": 8.0, "memory": 4000.0 * MIB})
    node.hello()
    for number, (memory_mib, once) in enumerate(pools, 1):
        resources = {"memory": memory_mib * MIB} if memory_mib else {}
        node.want(1, pool=number, resources=resources, once=once)
        node.start(number)
    return node


def ended(node: Node, message: MemoryLow) -> list[int]:
    return [said.worker for _, said in node.tell("memory", message) if isinstance(said, Signal)]


@pytest.mark.parametrize(
    ("pools", "used", "victims"),
    [
        ([(0, False)] * 3, {"w1": 300, "w2": 500, "w3": 100}, [2]),
        ([(0, False)] * 3, {"w1": 505, "w2": 500, "w3": 500}, [3]),  # as good as equal: the newest
        ([(400, False), (0, False)], {"w1": 500, "w2": 200}, [2]),  # what it asked for is its own
        ([(600, False), (600, False)], {"w1": 500, "w2": 400}, [1]),  # all within: then who has most
        ([(0, True), (0, False)], {"w1": 500, "w2": 300}, [2]),  # its work is repeated
        ([(0, True), (0, False)], {"w1": 500, "w2": 100}, [1]),  # but to end it would not help
        ([(0, False)] * 2, {"w1": 10, "w2": 20}, []),  # somebody else has it
        ([(0, False)], {}, []),
        ([(0, False)], {"w1": 500, "w9": 900}, [1]),  # reaped meanwhile
    ],
    ids=[
        "who has most", "the newest of equals", "above what it asked for", "within", "repeated work first",
        "unless that is little", "others have it", "nobody", "gone",
    ],
)  # fmt: skip
def test_who_ends(pools: list[tuple[float, bool]], used: dict[str, int], victims: list[int]) -> None:
    assert ended(node_of(*pools), low(**used)) == victims


def test_one_at_a_time_and_the_next_when_that_was_not_enough() -> None:
    node = node_of((0, False), (0, False))
    assert ended(node, low(w1=500, w2=300)) == [1]
    assert ended(node, low(w1=500, w2=300)) == []
    node.tell("nursery", Exited(1, KILLED))
    assert ended(node, low(w2=300)) == [2]
    assert node.core.memory.ended == 2


def test_its_death_names_the_numbers() -> None:
    node = node_of((100, False))
    node.tell("memory", low(w1=500))
    ((_, died), *_) = node.tell("nursery", Exited(1, KILLED, running=42))
    assert isinstance(died, WorkerDied)
    assert died.death.kind == OUT_OF_MEMORY
    assert died.death.reason == (
        "its node was running out of memory: 30 MiB (3%) of 1,000 MiB were left, and this worker had taken 500 MiB; "
        "it had asked for 100 MiB"
    )


def test_one_that_has_ended_by_itself_meanwhile_is_no_victim() -> None:
    node = node_of((0, False))
    node.tell("memory", low(w1=500))
    ((_, died), *_) = node.tell("nursery", Exited(1, test_node.LEFT))
    assert isinstance(died, WorkerDied)
    assert (died.death.kind, died.death.reason) == ("", "")


# ------------------------------------------------------------------------------------ in its owner


def owner_of(*tasks: object) -> Owner:
    owner = Owner(1).with_workers("a")
    owner("app", Submit(1, list(tasks)))
    return owner


def dies(owner: Owner, lease: str, running: int) -> list[tuple[str, object]]:
    return owner("agent:n", WorkerDied(lease, 1, NO_MEMORY, running))


def test_its_task_rests_and_twice_as_long_the_next_time() -> None:
    hungry, other = task(1, retries=2), task(2)
    owner = owner_of(hungry, other)
    dies(owner, "a", 1)
    owner.with_workers("b")
    assert (hungry.retries, hungry.lease, other.lease is None) == (1, None, False), "others run meanwhile"
    owner.now = 0.09
    assert owner("timer", Tick()) == []
    owner.now = 0.1
    owner("timer", Tick())
    assert hungry.lease is not None
    owner("agent:n", WorkerDied("b", 1, NO_MEMORY, hungry.attempt))
    owner.with_workers("c")
    owner.now = 0.29
    owner("timer", Tick())
    assert hungry.lease is None
    owner.now = 0.31
    owner("timer", Tick())
    assert hungry.lease is not None
    assert hungry.retries == 0
    out = owner("agent:n", WorkerDied("c", 1, NO_MEMORY, hungry.attempt))
    assert ("app", Failed(hungry, death=NO_MEMORY, kind=OUT_OF_MEMORY, arguments=[1])) in out


def test_a_wake_up_is_asked_for() -> None:
    owner = owner_of(task(1))
    said = owner.core.receive("agent:n", WorkerDied("a", 1, NO_MEMORY, 1), 5.0)
    assert ("timer", test_owner.WakeAt(5.1)) in said


def test_one_that_may_not_be_repeated_fails_at_once() -> None:
    once = task(1, retries=0)
    assert ("app", Failed(once, death=NO_MEMORY, kind=OUT_OF_MEMORY, arguments=[1])) in dies(
        owner_of(once), "a", 1
    )


def test_a_resting_task_can_be_cancelled() -> None:
    one = task(1)
    owner = owner_of(one)
    dies(owner, "a", 1)
    assert owner("app", CancelTasks([one], True)) == [("app", Failed(one, reason="cancelled"))]
    owner.now = 1.0
    assert owner("timer", Tick()) == []


def test_a_closing_pool_waits_for_it_and_a_terminated_one_does_not() -> None:
    one = task(1)
    owner = owner_of(one)
    dies(owner, "a", 1)
    assert not [m for _, m in owner("app", ClosePool(1)) if isinstance(m, DropPool)]
    owner.now = 0.2
    owner("timer", Tick())
    owner.with_workers("b")
    assert one.lease is not None
    owner("agent:n", WorkerDied("b", 1, NO_MEMORY, one.attempt))
    failed = [m.task for _, m in owner("app", TerminatePool(1)) if isinstance(m, Failed)]
    assert failed == [one]
