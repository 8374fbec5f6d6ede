"""OwnerCore: the levels of leases that it wants of several nodes, and workers that come without one asking for them."""

from __future__ import annotations

from typing import Any

from distpool.scheduler.messages import (
    AgentWelcome,
    LeaseElsewhere,
    LeaseHello,
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


def test_a_level_here_is_not_raised_for_who_works_off_what_it_has_on_another_node() -> None:
    """That one's level was lowered. One more here would be one too many when it comes, and be replaced, and again."""
    owner = spread(1, 1)
    owner("app", Submit(1, [task(key) for key in range(3)]))
    assert len(owner.core.leases["m.1.1"].offered) == 1, "it has less, so it is the one to go"
    said = owner("app", ResizePool(1, 1))
    assert ("worker:m.1.1", Retire()) in said
    assert not any(isinstance(message, ReturnLease) for _, message in said)
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
