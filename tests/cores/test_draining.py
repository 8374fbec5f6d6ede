"""A node that is to go: head, nodes, owners and copies let go of it before it leaves."""

from __future__ import annotations

import msgspec

from distpool.scheduler.cores.copies import Copies
from distpool.scheduler.cores.copies_messages import Copied, StartPull, Stores
from distpool.scheduler.cores.head import HeadCore
from distpool.scheduler.limits import DEFAULTS
from distpool.scheduler.messages import (
    Drain,
    FarHold,
    Fork,
    LeaseElsewhere,
    NodeDrains,
    NodeFacts,
    NodeHello,
    NodeReport,
    NodeWelcome,
    Reserve,
    Reserved,
    Retire,
    ReturnLease,
    SourceRelease,
    SourceTake,
    Strategy,
    Tick,
    View,
    WantLeases,
)
from distpool.scheduler.store.ledger_table import INDEX_BITS, SERIAL_BITS
from tests.cores.test_node_resources import CPU, Node
from tests.cores.test_owner_levels import spread

OTHER = NodeFacts("m", "tcp://m", {"CPU": 4.0}, {"CPU": 4.0})


def draining() -> Node:
    """A node with an owner, another node, and the word that it is to go."""
    node = Node({"CPU": 2})
    node.hello("o")
    node.tell("head", NodeWelcome(1, True))
    node.view(OTHER)
    assert node.tell("shell", Drain()) == [
        ("head", NodeReport(1, {"CPU": 2.0}, draining=True)),
        ("owner:o", NodeDrains("n")),
    ]
    return node


def test_what_is_wanted_of_it_first_is_pointed_elsewhere() -> None:
    ((to, message),) = draining().want("o", 1, CPU)
    assert to == "owner:o"
    assert isinstance(message, LeaseElsewhere)
    assert message.node == "m"


def test_what_was_sent_there_before_that_was_known_is_told_and_gets_nothing() -> None:
    assert draining().want("o", 1, CPU, spilled=True) == [("owner:o", NodeDrains("n"))]


def test_an_owner_that_knows_it_before_the_head_tells_is_pointed_there_no_more() -> None:
    node = Node({"CPU": 1})
    node.hello("o")
    node.tell("head", NodeWelcome(1, True))
    node.view(OTHER)
    assert node.want("o", 1, {"CPU": 4.0}) == [("owner:o", LeaseElsewhere(1, 1, "m", "tcp://m", 1))]
    node.tell("owner:o", NodeDrains("m"))
    assert node.want("o", 1, {"CPU": 4.0}) == []
    node.now = 1.0 + DEFAULTS.reckoned_s
    assert node.tell("timer", Tick()) == []
    there = msgspec.structs.replace(OTHER, node="k", address="tcp://k")
    assert ("owner:o", LeaseElsewhere(1, 1, "k", "tcp://k", 1)) in node.view(there, version=2)


def test_what_is_sent_there_for_a_bundle_waits_until_that_lies_elsewhere() -> None:
    """Its owner would be told at once that the node drains, and come and go with a worker each time."""
    node = Node({"CPU": 2})
    node.hello("o")
    node.tell("head", NodeWelcome(1, True))
    node.view(OTHER)
    node.tell("head", Reserve("g", 1, {0: CPU}))
    node.tell("shell", Drain())
    said = node.tell("owner:o", WantLeases(1, 1, True, CPU, True, Strategy("group", group="g", bundle=0)))
    assert said == [("owner:o", NodeDrains("n"))]


def test_what_no_other_node_can_have_runs_there() -> None:
    node = Node({"CPU": 2, "only": 1})
    node.hello("o")
    node.tell("head", NodeWelcome(1, True))
    node.view(OTHER)
    node.tell("shell", Drain())
    assert any(isinstance(message, Fork) for _, message in node.want("o", 1, {"only": 1.0}))


def test_it_keeps_nothing_for_a_placement_group() -> None:
    said = draining().tell("head", Reserve("g", 1, {0: CPU}))
    assert [message.granted for _, message in said if isinstance(message, Reserved)] == [False]


def test_others_place_nothing_on_it() -> None:
    node = Node({"CPU": 1})
    node.hello("o")
    node.tell("head", NodeWelcome(1, True))
    node.view(msgspec.structs.replace(OTHER, draining=True))
    assert not any(isinstance(message, LeaseElsewhere) for _, message in node.want("o", 3, CPU))


def test_the_head_tells_all_at_once_and_sets_nothing_aside_there() -> None:
    head = HeadCore(DEFAULTS)
    for facts in (OTHER, msgspec.structs.replace(OTHER, node="n", address="tcp://n")):
        head.receive(f"agent:{facts.node}", NodeHello(1, facts), 0.0)
    out = head.receive("agent:n", NodeReport(1, {"CPU": 4.0}, draining=True), 0.0)
    views = [message for _, message in out if isinstance(message, View)]
    assert len(views) == 2
    assert [facts.draining for facts in views[0].nodes] == [False, True]
    assert [facts.node for facts in head.groups._nodes()] == ["m"]


def test_an_owner_s_workers_there_retire_and_are_wanted_by_way_of_its_home() -> None:
    owner = spread(1, 2)
    said = owner("agent:m", NodeDrains("m"))
    assert ("agent:m", WantLeases(1, 0, True, {}, spilled=True)) in said
    for lease in ("m.1.1", "m.1.2"):
        assert (f"worker:{lease}", Retire()) in said
        assert ("agent:m", ReturnLease(lease)) in said
    assert ("agent:n", WantLeases(1, 3, True, {})) in said
    home = [message for to, message in said if to == "agent:n"]
    assert home[0] == NodeDrains("m"), "it would point there again until the head has told it"
    assert owner("agent:m", NodeDrains("m")) == [], "it is said again and again"


def test_what_it_has_is_copied_by_who_needs_it_and_then_it_need_not_keep_it() -> None:
    store = 5
    number = store << (SERIAL_BITS + INDEX_BITS) | 1
    copies = Copies(DEFAULTS, lambda _: False)
    copies.receive("shell", Stores((store,), 1), 0.0)
    assert (f"store:{store}", SourceTake((number,))) in copies.receive("process:1", FarHold((number,)), 0.0)
    assert copies.receive("shell", Stores((store,), 1, (store,)), 0.0) == [("shell", StartPull(number))]
    copies.check()
    said = copies.receive("shell", Copied(number, 7), 0.0)
    assert (f"store:{store}", SourceRelease((number,))) in said
    copies.receive("shell", Stores((), 1), 0.0)
    copies.check()
    assert copies.copy_of(number) == 7
    assert not copies.is_lost(number)
