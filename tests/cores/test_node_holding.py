"""NodeCore: room that is made for a placement group that has long waited."""

from __future__ import annotations

from collections.abc import Iterable

from distpool.scheduler.messages import (
    Blocked,
    Drain,
    GroupFacts,
    GroupNews,
    LinkLost,
    Message,
    NodeFacts,
    NodeReport,
    NodeWelcome,
    Pressed,
    Release,
    Reserve,
    Reserved,
    Strategy,
    Tick,
    View,
    WantLeases,
)
from tests.cores.test_node_resources import CPU, Node, forks

Out = list[tuple[str, Message]]
WAIT_S = 10.0
GROUP = Strategy("group", group="g")


def full(cpus: int = 2) -> Node:
    """A node whose CPUs an owner has, who wants more of them."""
    node = Node({"CPU": float(cpus)})
    node.tell("head", NodeWelcome(1, True))
    node.hello("o")
    node.want("o", 2 * cpus, CPU)
    node.starts(*range(1, cpus + 1))
    return node


def make_room(node: Node, *bundles: dict[str, float], round_: int = 1) -> Out:
    return node.tell("head", Reserve("g", round_, dict(enumerate(bundles)), WAIT_S))


def answers(out: Iterable[tuple[str, Message]]) -> list[bool]:
    return [message.granted for _, message in out if isinstance(message, Reserved)]


def pressed(out: Iterable[tuple[str, Message]]) -> list[bool]:
    return [message.pressed for _, message in out if isinstance(message, Pressed)]


def test_what_comes_free_is_kept_until_all_is_there() -> None:
    node = full()
    said = make_room(node, {"CPU": 2.0})
    assert answers(said) == []
    assert pressed(said) == [True], "though only its own wish for more is there besides"
    said = node.leaves(1)
    assert (forks(said), answers(said)) == ([], [])
    said = node.leaves(2)
    assert (forks(said), answers(said), pressed(said)) == ([], [True], [])
    assert node.core.groups.bundles() == {"g": (0,)}
    assert node.core.free == {"CPU": 0}


def test_another_group_gets_nothing_of_what_is_held() -> None:
    node = full()
    make_room(node, {"CPU": 2.0})
    node.leaves(1)
    assert answers(node.tell("head", Reserve("h", 1, {0: CPU}))) == [False]


def test_what_is_there_at_once_is_set_aside_at_once() -> None:
    node = Node({"CPU": 2.0})
    assert answers(make_room(node, {"CPU": 2.0})) == [True]


def test_the_rest_of_the_node_goes_on() -> None:
    node = full(3)
    make_room(node, CPU)
    assert answers(node.leaves(1)) == [True]
    assert forks(node.leaves(2)) == [("o", 1)]


def test_it_is_refused_when_its_time_is_up_and_others_have_what_was_held() -> None:
    node = full()
    make_room(node, {"CPU": 2.0})
    node.leaves(1)
    node.now = WAIT_S
    said = node.tell("timer", Tick())
    assert (answers(said), forks(said)) == ([False], [("o", 1)])
    assert node.core.holding.hold is None


def test_what_can_never_come_is_refused_at_once() -> None:
    node = Node({"CPU": 2.0})
    node.tell("head", NodeWelcome(1, True))
    node.hello("o")
    node.now = 1.0
    said = node.tell("owner:o", WantLeases(1, 1, True, CPU))
    (report,) = (message for _, message in said if isinstance(message, NodeReport))
    assert report.lasting == CPU, "the head knows"
    assert answers(make_room(node, {"CPU": 2.0})) == [False]
    node.tell("head", Reserve("h", 1, {0: CPU}))
    assert answers(make_room(node, CPU, round_=2)) == [False], "the other half is a bundle of another group"


def test_and_when_it_cannot_come_any_more() -> None:
    node = full()
    make_room(node, {"CPU": 2.0})
    node.leaves(1)
    assert answers(node.tell("shell", Drain())) == [False]


def test_the_head_takes_it_back() -> None:
    node = full()
    make_room(node, {"CPU": 2.0})
    node.leaves(1)
    said = node.tell("head", Release("g", (0,), "because"))
    assert (answers(said), forks(said), pressed(said)) == ([], [("o", 1)], [False])


def test_or_is_gone() -> None:
    node = full()
    make_room(node, {"CPU": 2.0})
    node.leaves(1)
    assert forks(node.tell("head", LinkLost())) == [("o", 1)]


def test_a_head_that_took_us_for_dead_has_not_asked_for_it() -> None:
    node = full()
    make_room(node, {"CPU": 2.0})
    node.leaves(1)
    said = node.tell("head", NodeWelcome(1, False, "not known here", again=True))
    assert forks(said) == [("o", 1)]


def test_its_owners_death_is_room_too() -> None:
    node = full()
    make_room(node, {"CPU": 2.0})
    node.tell("owner:o", LinkLost())
    node.leaves(1)
    assert answers(node.leaves(2)) == [True]


def test_a_task_that_waits_no_more_has_its_resources_before() -> None:
    node = full()
    node.tell("owner:o", Blocked("n.1.1", True))
    node.starts(3)  # in its place
    node.tell("owner:o", Blocked("n.1.1", False))
    make_room(node, {"CPU": 2.0})
    node.leaves(2)
    assert node.core.holding.hold is not None
    assert node.core.holding.hold.have == {"CPU": 0}, "it is the first one's again"
    node.leaves(3)
    assert answers(node.leaves(1)) == [True]


def test_whole_devices_are_waited_for_and_no_share_is_given_away() -> None:
    node = Node({"CPU": 8.0, "GPU": 2.0})
    node.hello("o")
    half = {"GPU": 0.5}
    node.want("o", 8, half)
    node.starts(1, 2, 3, 4)  # two on each device
    make_room(node, {"GPU": 1.0})
    device = {number: next(iter(node.core.workers[number].lease.gpus)) for number in (1, 2, 3, 4)}
    first = next(n for n in (2, 3, 4) if device[n] != device[1])
    for worker in (1, first):
        said = node.leaves(worker)
        assert (answers(said), forks(said)) == ([], []), "a half of each is no whole one"
    rest = next(n for n in (2, 3, 4) if n != first and device[n] == device[1])
    said = node.leaves(rest)
    assert answers(said) == [True]
    assert forks(said) == [("o", 1)], "the other half was held for want of a whole one"


def test_nothing_begins_in_it_while_other_nodes_make_room() -> None:
    node = Node({"CPU": 2.0})
    node.tell("head", NodeWelcome(1, True))
    node.hello("o")
    assert answers(make_room(node, CPU)) == [True]
    said = node.tell("owner:o", WantLeases(1, 1, False, CPU, False, GROUP))
    assert forks(said) == []
    pending = GroupFacts("g", (CPU, CPU), "SPREAD", nodes=("", ""), state="pending")
    assert forks(node.tell("head", GroupNews(pending))) == []
    created = GroupFacts("g", (CPU, CPU), "SPREAD", nodes=("n", "m"), state="created")
    assert forks(node.tell("head", GroupNews(created))) == [("o", 1)]


def test_a_bundle_on_a_node_that_drains_is_waited_for_here() -> None:
    """Pointed there, its owner would be told that the node drains, and come back, as fast as messages go."""
    node = Node({"CPU": 1.0})
    node.tell("head", NodeWelcome(1, True))
    node.view(NodeFacts("m", "tcp://m", CPU, CPU, draining=True))
    node.hello("o")
    node.tell("owner:o", WantLeases(1, 1, False, CPU, False, GROUP))
    said = node.tell("head", GroupNews(GroupFacts("g", (CPU,), "PACK", nodes=("m",), state="created")))
    assert [message for to, message in said if to == "owner:o"] == []
    said = node.tell(
        "head", View(9, (NodeFacts("n", "ipc://n", {}, {}), NodeFacts("m", "tcp://m", CPU, CPU)))
    )
    assert "LeaseElsewhere" in str(said), "it has come back"
