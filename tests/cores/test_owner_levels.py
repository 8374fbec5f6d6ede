"""OwnerCore: the levels of leases that it wants of several nodes, and workers that come without one asking for them."""

from __future__ import annotations

from typing import Any

import pytest

from distpool.scheduler.cores.tasks import LeaseState
from distpool.scheduler.messages import (
    AgentWelcome,
    LeaseElsewhere,
    LeaseHello,
    LinkLost,
    NodeDrains,
    Reclaim,
    ResizePool,
    Results,
    Retire,
    ReturnLease,
    SetupDone,
    Submit,
    WantLeases,
    WorkerDied,
)
from tests.cores.test_owner import LEFT, Owner, task


def spread(here: int, there: int, *, dedicated: bool = True) -> Owner:
    """A pool with so many workers on another node, m.1.1 and so on, and then on its home, n.1.1 and so on."""
    owner = Owner(here + there, dedicated=dedicated)
    if not dedicated:
        owner("app", Submit(1, [task(key) for key in range(here + there)]))
    wanted = owner.core.pools[1].wanted["n"]
    owner("agent:n", LeaseElsewhere(1, there, "m", "tcp://m", wanted))
    owner("agent:m", AgentWelcome("m", 11, "host", 2.0, {}))
    for node, count in (("m", there), ("n", here)):
        for number in range(1, count + 1):
            comes(owner, f"{node}.1.{number}")
    return owner


def comes(owner: Owner, lease: str) -> list[tuple[str, Any]]:
    owner(f"worker:{lease}", LeaseHello(lease, 1, lease[0], "host", 100))
    return owner(f"worker:{lease}", SetupDone())


def answers(owner: Owner, lease: str) -> list[tuple[str, Any]]:
    """It has done all that it has."""
    attempts = list(owner.core.leases[lease].offered)
    return owner(f"worker:{lease}", Results(attempts, ["x"] * len(attempts)))


def goes_with_a_task() -> Owner:
    """A pool with a worker here and one on another node, made smaller: that one is to go, and has something to do."""
    owner = spread(1, 1)
    owner("app", Submit(1, [task(key) for key in range(3)]))
    assert len(owner.core.leases["m.1.1"].offered) == 1, "it has less, so it is the one to go"
    said = owner("app", ResizePool(1, 1))
    assert ("worker:m.1.1", Retire()) in said
    assert not any(isinstance(message, ReturnLease) for _, message in said)
    return owner


def test_a_level_here_is_not_raised_for_who_works_off_what_it_has_on_another_node() -> None:
    """It is in the level of that node until it is done. One more here would be one too many, and be replaced."""
    owner = goes_with_a_task()
    assert owner.core.pools[1].wanted == {"n": 1, "m": 1}
    said = answers(owner, "m.1.1")
    assert said[1:] == [
        ("agent:m", WantLeases(1, 0, True, {}, spilled=True)),
        ("agent:m", ReturnLease("m.1.1")),
    ]
    assert owner.core.pools[1].wanted == {"n": 1, "m": 0}


def test_who_works_off_what_it_has_on_another_node_is_not_taken_for_the_one_that_is_to_stay() -> None:
    """Its agent counts both until one is given back: with a level of one it would not replace the other."""
    owner = spread(0, 2)
    owner("app", Submit(1, [task(key) for key in range(2)]))
    owner("app", ResizePool(1, 1))
    assert owner.core.pools[1].wanted == {"n": 0, "m": 2}
    leaves = next(lease for lease in owner.core.leases.values() if lease.state is LeaseState.RETIRING)
    owner("agent:m", WorkerDied(leaves.lease, 1, LEFT, 0))
    assert owner.core.pools[1].wanted == {"n": 0, "m": 1}


@pytest.mark.parametrize("dedicated", [True, False])
def test_a_node_that_is_to_go_counts_who_works_off_what_it_has_and_the_home_does_not(dedicated: bool) -> None:
    owner = spread(0, 2, dedicated=dedicated)
    for lease in list(owner.core.leases):
        answers(owner, lease)
    owner("app", Submit(1, [task(7)]))
    busy = next(lease for lease in owner.core.leases.values() if lease.offered)
    said = owner("agent:m", NodeDrains("m"))
    levels = [message.count for to, message in said if to == "agent:m" and isinstance(message, WantLeases)]
    assert levels == [1]
    assert owner.core.pools[1].wanted == {"n": 2 if dedicated else 0, "m": 1}
    answers(owner, busy.lease)
    assert owner.core.pools[1].wanted == {"n": 2 if dedicated else 0, "m": 0}


def test_who_is_lost_while_it_works_off_what_it_has_is_in_no_level_any_more() -> None:
    owner = goes_with_a_task()
    assert ("agent:m", WantLeases(1, 0, True, {}, spilled=True)) in owner("worker:m.1.1", LinkLost())
    owner("agent:m", WorkerDied("m.1.1", 1, LEFT, 0))
    assert owner.core.pools[1].wanted == {"n": 1, "m": 0}


def test_who_comes_though_fewer_are_wanted_of_its_node_goes_again_and_no_level_changes() -> None:
    """It was forked in the place of one that had gone before its node heard that fewer are wanted."""
    owner = spread(1, 2, dedicated=False)
    wanted = owner.core.pools[1].wanted
    owner("agent:m", Reclaim("m.1.2"))
    attempts = list(owner.core.leases["m.1.2"].offered)
    said = owner("worker:m.1.2", Results(attempts, ["x"] * len(attempts)))
    assert ("agent:m", WantLeases(1, 1, False, {}, spilled=True)) in said
    owner("agent:m", WorkerDied("m.1.2", 1, LEFT, 0))
    before = dict(wanted)
    assert comes(owner, "m.1.3") == [("worker:m.1.3", Retire()), ("agent:m", ReturnLease("m.1.3"))]
    assert wanted == before
    assert wanted["m"] == 1
