"""A new worker of an actor may be heard of before the death of the former one: it comes by another link."""

from __future__ import annotations

from distpool.scheduler.messages import (
    ActorTerms,
    Death,
    LeaseHello,
    Retire,
    Setup,
    SetupDone,
    WorkerDied,
)
from tests.cores.test_owner import Owner

KILLED = Death(100, "host", 9, -9)


def actor() -> Owner:
    owner = Owner(1, actor=ActorTerms(), restarts=3)
    owner("worker:a", LeaseHello("a", 1, "n", "host", 100))
    owner("worker:a", SetupDone())
    return owner


def test_it_waits_for_that_news_and_is_not_taken_for_one_too_many() -> None:
    owner = actor()
    assert owner("worker:b", LeaseHello("b", 1, "n", "host", 101)) == []
    said = owner("agent:n", WorkerDied("a", 1, KILLED, 0))
    assert ("worker:b", Setup) in [(to, type(message)) for to, message in said]
    said = owner("worker:b", SetupDone())
    assert not any(isinstance(message, Retire) for _, message in said)
    assert list(owner.core.pools[1].leases) == ["b"]


def test_and_may_die_before_it_comes() -> None:
    owner = actor()
    owner("worker:b", LeaseHello("b", 1, "n", "host", 101))
    owner("agent:n", WorkerDied("b", 1, KILLED, 0))
    owner("agent:n", WorkerDied("a", 1, KILLED, 0))
    assert list(owner.core.pools[1].leases) == []
    owner("worker:c", LeaseHello("c", 1, "n", "host", 102))
    owner("worker:c", SetupDone())
    assert list(owner.core.pools[1].leases) == ["c"]
