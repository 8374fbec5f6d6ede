"""The three cores, as far as more than one node matters: who is told of whose loss, and what that ends."""

from __future__ import annotations

from typing import Any

import msgspec

from distpool.scheduler.cores.head import HeadCore
from distpool.scheduler.cores.node import NodeCore
from distpool.scheduler.cores.owner import OwnerCore
from distpool.scheduler.cores.tasks import Task
from distpool.scheduler.limits import DEFAULTS, Limits
from distpool.scheduler.messages import (
    DRIVER,
    AgentWelcome,
    Dial,
    DropPool,
    Fork,
    HangUp,
    LeaseElsewhere,
    LeaseHello,
    LinkLost,
    NodeFacts,
    NodeHello,
    NodeLost,
    NodeReport,
    NodeWelcome,
    OpenPool,
    OwnerBye,
    OwnerHello,
    Retire,
    SetupDone,
    Submit,
    Tick,
    View,
    WakeAt,
    WantLeases,
)

GPU = {"GPU": 1.0}
N = NodeFacts("n", "ipc://n", {"CPU": 2.0}, {"CPU": 2.0})
B = NodeFacts("b", "ipc://b", GPU, GPU)
C = NodeFacts("c", "ipc://c", GPU, GPU)


def elsewhere(
    node: Node, pool: int, count: int, resources: dict[str, float] | None = None
) -> list[LeaseElsewhere]:
    """Where a node sends its owner for the workers of a pool."""
    out = node("owner:here", WantLeases(pool, count, True, resources or {}))
    return [message for _, message in out if isinstance(message, LeaseElsewhere)]


def without_clock(out: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    return [(to, message) for to, message in out if not isinstance(message, WakeAt)]


# ------------------------------------------------------------------------------------------- head


def test_the_heads_own_node_needs_no_heartbeat_and_the_others_do() -> None:
    head = HeadCore(DEFAULTS, "n")
    for facts in (N, B):
        head.receive(f"agent:{facts.node}", NodeHello(1, facts), 0.0)
        head.check()
    head.receive("agent:b", NodeReport(1, GPU), 5.0)
    silent = 5.0 + DEFAULTS.node_silent_s
    assert head.receive("timer", Tick(), silent - 0.1) == [("timer", WakeAt(silent))]
    assert without_clock(head.receive("timer", Tick(), silent)) == [("agent:n", View(3, (N,)))]
    assert head.receive("timer", Tick(), 1e6) == []
    assert list(head.nodes) == ["n"]


# ------------------------------------------------------------------------------------------- node


class Node:
    """An agent's core with three owners: a driver here, a worker of ``b``, and one that does not say where it is."""

    def __init__(self) -> None:
        self.core = NodeCore("n", "host", 1, "ipc://n", {"CPU": 2.0}, DEFAULTS)
        self("timer", Tick())
        self("head", NodeWelcome(1, True))
        self("owner:here", OwnerHello("here", 7, 1, "ipc://here", node="n"))
        self("owner:there", OwnerHello("there", 7, 1, "ipc://there", node="b", worker=3))
        self("owner:old", OwnerHello("old", 7, 1, "ipc://old"))

    def __call__(self, sender: str, message: Any) -> list[tuple[str, Any]]:
        out = self.core.receive(sender, message, 0.0)
        self.core.check()
        return without_clock(out)

    def forked_for(self, owner: str) -> int:
        """The process number in the store that a worker for this owner is told."""
        ((_, fork),) = self(f"owner:{owner}", WantLeases(1, 1, True, {}))
        assert isinstance(fork, Fork)
        assert fork.attach is not None
        return fork.attach.process


def test_an_owner_on_another_node_has_no_part_in_this_ones_store() -> None:
    node = Node()
    assert node.forked_for("here") == DRIVER
    assert node.forked_for("there") == 0
    assert node.forked_for("old") == DRIVER


def test_who_was_sent_to_a_node_is_told_when_the_head_has_lost_it() -> None:
    node = Node()
    node("head", View(1, (N, B, C)))
    assert node("owner:here", WantLeases(1, 1, True, GPU)) == [
        ("owner:here", LeaseElsewhere(1, 1, "b", "ipc://b", 1))
    ]
    assert node("head", View(2, (N, B))) == [], "nobody was sent to c"
    assert node("head", View(3, (N,))) == [
        ("owner:here", NodeLost("b", "it left, or was silent for too long"))
    ]
    assert node("head", View(4, (N, B))) == []
    assert node("head", View(5, (N,))) == [], "once"


def test_what_was_sent_elsewhere_is_counted_there_until_it_must_have_been_seen() -> None:
    """The head says nothing of a node on which next to nothing has changed."""
    node = Node()
    node("head", View(1, (N, B)))
    assert elsewhere(node, 1, 1, GPU) == [LeaseElsewhere(1, 1, "b", "ipc://b", 1)]
    assert node.core.head.others["b"].available == {"GPU": 0.0}
    node.core.receive("timer", Tick(), DEFAULTS.reckoned_s - 0.01)
    assert node.core.head.others["b"].available == {"GPU": 0.0}
    node.core.receive("timer", Tick(), DEFAULTS.reckoned_s)
    node.core.check()
    assert node.core.head.others["b"] == B


def test_one_pool_after_the_other_is_spread_over_the_nodes() -> None:
    """Its workers take nothing, so no View tells of them: they are counted while their pool is there."""
    node = Node()
    node("head", View(1, (N, msgspec.structs.replace(B, total={"CPU": 2.0}, available={"CPU": 2.0}))))
    assert elsewhere(node, 1, 4) == [LeaseElsewhere(1, 2, "b", "ipc://b", 4)]
    assert elsewhere(node, 2, 4) == [], "each CPU there has a worker"
    node("owner:here", WantLeases(1, 2, True, {}))
    assert elsewhere(node, 3, 4) == []
    node("owner:here", DropPool(1, True))
    assert elsewhere(node, 4, 4) == [LeaseElsewhere(4, 2, "b", "ipc://b", 4)]
    node("head", View(2, (N,)))
    node("head", View(3, (N, msgspec.structs.replace(B, total={"CPU": 2.0}, available={"CPU": 2.0}))))
    assert elsewhere(node, 5, 4) == [LeaseElsewhere(5, 2, "b", "ipc://b", 4)], "they ended with the node"


def test_what_is_counted_at_a_node_goes_with_it() -> None:
    node = Node()
    node("head", View(1, (N, B)))
    node("owner:here", WantLeases(1, 1, True, GPU))
    node("head", View(2, (N,)))
    node.core.check()
    node.core.receive("timer", Tick(), DEFAULTS.reckoned_s)
    assert node.core.head.others == {}


def test_a_head_that_has_just_started_has_lost_nobody() -> None:
    node = Node()
    node("head", View(7, (N, B)))
    node("owner:here", WantLeases(1, 1, True, GPU))
    node("head", LinkLost())
    node("head", NodeWelcome(1, True))
    assert node("head", View(1, (N,))) == []


def test_an_owner_that_is_gone_is_told_nothing() -> None:
    node = Node()
    node("head", View(1, (N, B)))
    node("owner:here", WantLeases(1, 1, True, GPU))
    node("owner:here", OwnerBye())
    node("owner:there", WantLeases(1, 1, True, GPU))
    node("owner:there", LinkLost())
    assert node("head", View(2, (N,))) == []


# ------------------------------------------------------------------------------------------ owner


class Owner:
    """An owner at home on ``n``, with one worker on ``b`` that has a task."""

    def __init__(self, *, retries: int = 2) -> None:
        limits = msgspec.structs.replace(Limits(), silent_s=1e9)
        self.core = OwnerCore("o", "ipc://o", 1, limits, node="n")
        self.task = Task(1, "token", 5, 7, b"f", [5], 64, retries)
        self("agent:n", AgentWelcome("n", 10, "host", 2.0, {}))
        self("app", OpenPool(1, 1, b"setup", resources=GPU))
        self("agent:n", LeaseElsewhere(1, 1, "b", "ipc://b", 1))
        self("agent:b", AgentWelcome("b", 11, "host", 1.0, GPU))
        self("worker:b.1.1", LeaseHello("b.1.1", 1, "b", "host", 100))
        self("worker:b.1.1", SetupDone())
        self("app", Submit(1, [self.task]))

    def __call__(self, sender: str, message: Any) -> list[tuple[str, Any]]:
        out = self.core.receive(sender, message, 0.0)
        self.core.check()
        return without_clock(out)


def test_a_node_that_its_own_agent_has_lost_is_bidden_farewell_and_its_tasks_run_elsewhere() -> None:
    owner = Owner()
    assert (owner.core.pools[1].offered, owner.core.pools[1].pending) == (1, 0)
    out = owner("agent:n", NodeLost("b", "silent"))
    assert out[0] == ("links", HangUp("b"))
    assert ("agent:n", WantLeases(1, 1, True, GPU)) in out
    assert (owner.core.pools[1].offered, owner.core.pools[1].pending) == (0, 1)
    assert owner("agent:n", LeaseElsewhere(1, 1, "c", "ipc://c", 1)) == [
        ("agent:n", WantLeases(1, 0, True, GPU)),
        ("links", Dial("c", "ipc://c")),
    ]


def test_a_link_that_is_lost_already_needs_no_farewell() -> None:
    assert not any(isinstance(message, HangUp) for _, message in Owner()("links", NodeLost("b")))


def test_a_worker_of_a_lost_node_is_turned_away() -> None:
    """Its first word may have been under way; nobody would say how it ended."""
    owner = Owner()
    owner("agent:n", NodeLost("b", "silent"))
    assert owner("worker:b.1.2", LeaseHello("b.1.2", 1, "b", "host", 101)) == [("worker:b.1.2", Retire())]
    assert owner.core.leases == {}
