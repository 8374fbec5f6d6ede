"""A new worker of an actor may be heard of before the death of the former one: it comes by another link."""

from __future__ import annotations

from distpool.scheduler.messages import (
    ActorTerms,
    AgentWelcome,
    Death,
    KillWorker,
    LeaseHello,
    LinkLost,
    NodeLost,
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


def test_it_is_counted_on_so_an_agent_that_does_not_know_it_says_so() -> None:
    """Its death was told by a link that was down, and when that is up again nobody else speaks of it."""
    owner = actor()
    owner("worker:b", LeaseHello("b", 1, "n", "host", 101))
    assert owner.core.hello().held == ("a", "b")
    unknown = Death(0, "host", 0, 0, reason="its node does not know it any more")
    owner("agent:n", WorkerDied("b", 0, unknown, 0, certain=False))
    owner("agent:n", WorkerDied("a", 0, unknown, 0, certain=False))
    assert list(owner.core.pools[1].leases) == []
    owner("worker:c", LeaseHello("c", 1, "n", "host", 102))
    assert list(owner.core.pools[1].leases) == ["c"]


def test_its_link_may_be_lost_meanwhile() -> None:
    owner = actor()
    owner("worker:b", LeaseHello("b", 1, "n", "host", 101))
    [(to, said)] = owner("worker:b", LinkLost())
    assert (to, type(said), said.lease) == ("agent:n", KillWorker, "b")
    owner("agent:n", WorkerDied("a", 1, KILLED, 0))
    assert list(owner.core.pools[1].leases) == []
    assert owner.core.hello().held == ()


def test_its_node_may_be_lost_meanwhile() -> None:
    owner = actor()
    owner("agent:m", AgentWelcome("m", 11, "other", 2.0, {}))
    owner("worker:b", LeaseHello("b", 1, "m", "other", 101))
    owner("links", NodeLost("m", "the link to its agent was lost"))
    owner("agent:n", WorkerDied("a", 1, KILLED, 0))
    assert list(owner.core.pools[1].leases) == []
