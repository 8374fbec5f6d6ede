"""NodeCore: strategies and placement groups, as far as one node has to do with them."""

from __future__ import annotations

from distpool.scheduler.messages import (
    Asked,
    Blocked,
    Fork,
    GroupFacts,
    GroupNews,
    KillWorker,
    LabelTerm,
    LeaseElsewhere,
    LeaseRefused,
    LinkLost,
    MakeGroup,
    Message,
    NodeFacts,
    NodeHello,
    NodeWelcome,
    OwnerGone,
    Release,
    Reserve,
    Reserved,
    Signal,
    Strategy,
    Tick,
    View,
    WantLeases,
    WatchGroup,
)
from tests.cores.test_node_resources import Node, facts

Out = list[tuple[str, Message]]
CPU = {"CPU": 1.0}


def want(
    node: Node,
    strategy: Strategy,
    count: int = 1,
    *,
    spilled: bool = False,
    pool: int = 1,
    elsewhere: int = 0,
) -> Out:
    level = WantLeases(pool, count, False, CPU, spilled, strategy, elsewhere=elsewhere)
    return node.tell("owner:o", level)


def words(out: Out) -> list[str]:
    """What was done, in short: ``here``, or the node that was pointed to and how often; refused; asked of the head."""
    said = []
    for _, message in out:
        match message:
            case Fork():
                said.append("here")
            case LeaseElsewhere(count=count, node=name):
                said.append(f"{name} {count}")
            case LeaseRefused(reason=reason):
                said.append(reason)
            case WatchGroup(group=group):
                said.append(f"watch {group}")
    return said


def node(cpus: float = 4.0, *others: NodeFacts) -> Node:
    made = Node({"CPU": cpus})
    made.hello("o")
    made.tell("head", NodeWelcome(1, True))
    made.view(*others)
    return made


# ----------------------------------------------------------------------------------- strategies


def test_bound_to_another_node_it_is_asked_there_and_waits_there() -> None:
    n = node(4, facts("b", 4, free=0), facts("c", 4))
    assert words(want(n, Strategy("node", "b"), 2)) == ["b 2"]
    assert words(want(n, Strategy("node", "n"), 2, pool=2)) == ["here", "here"]


def test_bound_to_a_node_that_is_not_there() -> None:
    n = node(4, facts("b", 4))
    (reason,) = words(want(n, Strategy("node", "gone")))
    assert reason == "its workers may run on node gone only, which is not there; there are: b, n"
    assert words(want(n, Strategy("node", "gone", soft=True), pool=2)) == ["here"]


def test_bound_to_a_node_that_can_never_do_it() -> None:
    n = node(4, NodeFacts("g", "tcp://g", {"GPU": 1.0}, {"GPU": 1.0}))
    (reason,) = words(want(n, Strategy("node", "g")))
    assert reason == (
        "each worker asks for CPU 1 on node g, and no node has that: n has CPU 4; g has GPU 1; "
        "ask for less, or add a node"
    )


def test_labels_that_no_node_has_are_named() -> None:
    n = node(4, facts("b", 4))
    terms = (LabelTerm("zone", "in", ("east", "west")), LabelTerm("disk", "absent"))
    (reason,) = words(want(n, Strategy(labels=terms)))
    assert reason == (
        "each worker asks for CPU 1 where label zone is in (east, west) and there is no label disk, and no node has "
        "that: n has CPU 4, labels none; b has CPU 4, labels none; ask for less, or add a node"
    )


def test_nothing_is_refused_for_its_strategy_before_the_head_has_told_who_there_is() -> None:
    n = Node({"CPU": 4})
    n.hello("o")
    assert words(want(n, Strategy("node", "b"))) == []
    assert words(n.view(facts("b", 4))) == ["b 1"]


def test_spread_takes_turns_and_waits_for_its_owner_to_move_each() -> None:
    n = node(4, facts("a", 4), facts("z", 4))
    assert words(want(n, Strategy("spread"), 5)) == ["here", "z 1"]
    assert words(n.starts(1) or []) == []
    assert words(want(n, Strategy("spread"), 4, elsewhere=1)) == ["a 1"]
    assert words(want(n, Strategy("spread"), 3, elsewhere=2)) == ["here", "z 1"]
    assert words(want(n, Strategy("spread"), 2, elsewhere=3)) == []


def test_a_turn_that_its_owner_has_not_taken_is_the_next_one_still() -> None:
    """One worker took all its tasks at first, so its owner wanted no more as it was sent on; then it gave one back."""
    n = node(4, facts("z", 4))
    assert words(want(n, Strategy("spread"), 2)) == ["here", "z 1"]
    assert words(want(n, Strategy("spread"), 1)) == []
    assert words(want(n, Strategy("spread"), 2)) == ["z 1"]
    assert words(want(n, Strategy("spread"), 1, elsewhere=1)) == []


def test_spread_leaves_out_who_is_full() -> None:
    n = node(1, facts("a", 4, free=0), facts("z", 4))
    assert words(want(n, Strategy("spread"), 4)) == ["here", "z 1"]
    assert words(want(n, Strategy("spread"), 3, elsewhere=1)) == ["z 1"]


def test_what_was_sent_here_stays_here() -> None:
    n = node(1, facts("b", 4))
    assert words(want(n, Strategy("spread"), 2, spilled=True)) == ["here"]
    assert words(want(n, Strategy(wishes=(LabelTerm("x", "exists"),)), 1, spilled=True, pool=2)) == []


# ------------------------------------------------------------------------------------- bundles


def in_group(bundle: int = -1) -> Strategy:
    return Strategy("group", group="g", bundle=bundle)


def reserve(n: Node, bundles: dict[int, dict[str, float]], round_: int = 1) -> Reserved:
    out = n.tell("head", Reserve("g", round_, bundles))
    (answer,) = (message for to, message in out if to == "head" and isinstance(message, Reserved))
    assert (answer.group, answer.round) == ("g", round_)
    return answer


def placed(*nodes: str, bundle: dict[str, float] = CPU, state: str = "created") -> GroupNews:
    return GroupNews(GroupFacts("g", (bundle,) * len(nodes), "PACK", nodes=nodes, state=state))


def test_all_bundles_are_reserved_or_none() -> None:
    n = node(3)
    answer = reserve(n, {0: {"CPU": 2.0}, 1: {"CPU": 2.0}})
    assert not answer.granted
    assert answer.available == {"CPU": 3.0}
    answer = reserve(n, {0: {"CPU": 2.0}, 2: CPU}, 2)
    assert answer.granted
    assert answer.available == {"CPU": 0.0}
    assert n.core.groups.bundles() == {"g": (0, 2)}
    hello = n.tell("head", LinkLost())[0][1]
    assert isinstance(hello, NodeHello)
    assert hello.bundles == {"g": (0, 2)}
    assert not reserve(n, {1: CPU}, 3).granted


def test_what_is_reserved_is_for_the_group_only() -> None:
    n = node(2)
    reserve(n, {0: CPU, 1: CPU})
    assert words(want(n, Strategy(), 1)) == []
    assert words(want(n, in_group(), 3, pool=2)) == ["here", "here", "watch g"]
    assert n.core.free == {"CPU": 0}
    n.starts(1, 2)
    assert words(n.leaves(1)) == ["here"], "its bundle is free again, and no other may have it"


def test_a_bundle_can_be_asked_for_by_number() -> None:
    n = node(2)
    reserve(n, {0: CPU, 1: CPU})
    assert words(want(n, in_group(1), 2)) == ["here", "watch g"]
    assert words(want(n, in_group(0), 1, pool=2)) == ["here"]


def test_a_lease_fits_into_one_bundle_or_is_refused() -> None:
    n = node(2)
    reserve(n, {0: {"CPU": 0.5}, 1: {"CPU": 0.5}})
    want(n, in_group())
    (reason,) = words(n.tell("head", placed("n", "n", bundle={"CPU": 0.5})))
    assert reason == (
        "each worker asks for CPU 1, and no bundle of the placement group g has that: CPU 0.5; CPU 0.5"
    )
    (reason,) = words(want(n, in_group(7)))
    assert reason == "the placement group g has 2 bundles, and none with the number 7"


def test_what_a_released_bundle_had_comes_back_as_its_workers_end() -> None:
    n = node(2)
    reserve(n, {0: CPU, 1: {"CPU": 0.5}})
    want(n, in_group(0))
    n.starts(1)
    out = n.tell("head", Release("g", (0, 1, 5), "its placement group was removed"))
    assert ("nursery", Signal(1, 9)) in out
    assert n.core.groups.pots == {}
    assert n.core.free == {"CPU": 10_000}
    n.leaves(1)
    assert n.core.free == n.core.total
    assert words(n.tell("head", GroupNews(GroupFacts("g", (), "PACK", state="removed")))) == [
        "the placement group g was removed"
    ]


def test_a_worker_in_a_bundle_lends_to_its_bundle() -> None:
    n = node(2)
    reserve(n, {0: CPU})
    want(n, in_group(0), 2)
    n.starts(1)
    assert words(n.tell("owner:o", Blocked("n.1.1", True))) == ["here"]
    assert n.core.free == {"CPU": 10_000}
    n.tell("owner:o", Blocked("n.1.1", False))
    n.tell("head", Release("g", (0,), "gone"))
    n.leaves(1)
    n.leaves(2)
    assert n.core.free == n.core.total


# ------------------------------------------------------------------------- bundles on other nodes


def test_who_wants_a_bundle_elsewhere_is_pointed_there_when_the_head_has_said_where() -> None:
    n = node(4, facts("b", 4), facts("c", 4))
    assert words(want(n, in_group(1))) == ["watch g"]
    assert words(want(n, in_group(0), pool=2)) == [], "that was asked already"
    assert words(n.tell("head", placed("", "", state="pending"))) == []
    assert words(n.tell("head", placed("b", "c"))) == ["c 1", "b 1"]


def test_any_bundle_is_looked_for_at_home_and_then_at_each_node() -> None:
    n = node(1, facts("b", 4), facts("c", 4))
    reserve(n, {0: CPU})
    assert words(want(n, in_group(), 4)) == ["here", "watch g"]
    assert words(n.tell("head", placed("n", "c", "b"))) == ["b 1"]
    assert words(want(n, in_group(), 3)) == ["c 1"], "b was thought of already"


def test_having_been_everywhere_it_goes_round_again_after_a_while() -> None:
    n = node(1, facts("b", 4))
    want(n, in_group(), 2, spilled=True)
    assert words(n.tell("head", placed("b"))) == [], "what was sent here waits before it moves on"
    n.now = 0.6
    assert words(n.tell("timer", Tick())) == ["b 1"]
    assert words(n.tell("timer", Tick())) == []


def test_a_node_of_a_group_that_is_lost_is_waited_for_to_be_replaced() -> None:
    n = node(4, facts("b", 4))
    want(n, in_group())
    n.view(version=2)
    assert words(n.tell("head", placed("b"))) == []
    assert words(n.tell("head", placed("", state="rescheduling"))) == []
    n.view(facts("c", 4), version=3)
    assert words(n.tell("head", placed("c"))) == ["c 1"]


def test_a_group_that_is_gone_is_refused_and_forgotten() -> None:
    n = node(4)
    assert words(want(n, in_group())) == ["watch g"]
    gone = GroupNews(GroupFacts("g", (), "PACK", name="mine", state="removed"))
    assert words(n.tell("head", gone)) == ["the placement group mine was removed"]
    assert not n.core.groups.watched
    assert words(n.tell("head", gone)) == []


def test_another_head_is_asked_again() -> None:
    n = node(4)
    want(n, in_group())
    n.tell("head", placed("n"))
    assert words(n.tell("head", LinkLost())) == []
    assert words(want(n, in_group(), pool=2)) == []
    assert words(n.tell("head", NodeWelcome(1, True))) == ["watch g"]
    n.tell("head", View(1, (n.core.me,)))
    assert (
        words(n.tell("head", GroupNews(GroupFacts("g", (), "PACK", state="removed"))))
        == ["the placement group g was removed"] * 2
    )


def test_the_maker_of_a_group_is_told_of_to_the_head_when_it_ends() -> None:
    n = node(1)
    made = MakeGroup(1, GroupFacts("g", (CPU,), "PACK"))
    assert n.tell("owner:o", made) == [("head", Asked("o", made, made.request))]
    assert n.tell("owner:o", LinkLost()) == [("head", OwnerGone("o"))]
    assert n.tell("owner:o", KillWorker("x", "late")) == []
