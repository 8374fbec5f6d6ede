"""HeadCore and placement groups: reserved by all or by none, placed again, given back."""

from __future__ import annotations

import msgspec

from distpool.scheduler.cores.head import HeadCore
from distpool.scheduler.limits import DEFAULTS
from distpool.scheduler.messages import (
    Answered,
    Asked,
    GroupFacts,
    GroupNews,
    GroupQuery,
    GroupsReport,
    HeadQuestion,
    LinkLost,
    MakeGroup,
    Message,
    NodeFacts,
    NodeHello,
    NodeReport,
    NodeWelcome,
    OwnerGone,
    Release,
    RemoveGroup,
    Reserve,
    Reserved,
    Tick,
    View,
    WakeAt,
    WatchGroup,
)

CPU = {"CPU": 1.0}
REMOVED = "its placement group was removed"
ANEW = "its placement group is being placed anew"


class Head:
    """A head, and nodes that answer when a test says so."""

    def __init__(self, **cpus: float) -> None:
        self.core = HeadCore(DEFAULTS)
        self.cpus = cpus
        for name in cpus:
            self.hello(name)

    def tell(self, sender: str, message: Message) -> list[tuple[str, Message]]:
        out = self.core.receive(sender, message, 0.0)
        self.core.check()
        return [(to, m) for to, m in out if not isinstance(m, WakeAt | View | NodeWelcome)]

    def hello(self, name: str, incarnation: int = 1, **bundles: tuple[int, ...]) -> list[tuple[str, Message]]:
        amounts = {"CPU": self.cpus[name]}
        facts = NodeFacts(name, f"tcp://{name}", amounts, amounts)
        return self.tell(f"agent:{name}", NodeHello(incarnation, facts, bundles, claimants=("o",)))

    def ask(self, question: HeadQuestion, node: str = "a", owner: str = "o") -> list[tuple[str, Message]]:
        return self.tell(f"agent:{node}", Asked(owner, question))

    def make(self, group: GroupFacts, node: str = "a") -> list[tuple[str, Message]]:
        return [(to, m) for to, m in self.ask(MakeGroup(1, group), node) if not isinstance(m, Answered)]

    def answer(
        self, node: str, group: str, round_: int, free: float, *, granted: bool = True
    ) -> list[tuple[str, Message]]:
        return self.tell(f"agent:{node}", Reserved(group, round_, granted, {"CPU": free}))

    def state(self, group: str) -> tuple[str, tuple[str, ...]]:
        ((_, answered),) = self.ask(GroupQuery(9, group))
        assert isinstance(answered, Answered)
        assert isinstance(answered.answer, GroupsReport)
        (facts,) = answered.answer.groups
        return facts.state, facts.nodes


def group(strategy: str = "STRICT_SPREAD", *bundles: dict[str, float], **more: object) -> GroupFacts:
    return msgspec.structs.replace(GroupFacts("g", bundles or (CPU, CPU), strategy), **more)


def test_bundles_are_reserved_and_the_group_is_there_when_every_node_has_said_so() -> None:
    head = Head(a=2, b=1)
    assert head.make(group()) == [
        ("agent:a", Reserve("g", 1, {0: CPU})),
        ("agent:b", Reserve("g", 1, {1: CPU})),
    ]
    assert head.ask(GroupQuery(7, "g", wait=True), "b", "p") == []
    assert head.answer("b", "g", 1, 0.0) == []
    assert head.state("g") == ("pending", ("", ""))
    created = group(owner="o", nodes=("a", "b"), state="created")
    answer = [("agent:b", Answered("p", GroupsReport(7, (created,))))]
    assert head.answer("a", "g", 1, 1.0) == answer
    assert head.ask(GroupQuery(7, "g", wait=True), "b", "p") == answer, "who asks later is answered at once"


def test_one_refusal_gives_back_what_the_others_have_reserved() -> None:
    head = Head(a=2, b=1)
    head.make(group())
    assert head.answer("b", "g", 1, 0.5, granted=False) == [("agent:a", Release("g", (0,), ANEW))]
    assert head.answer("a", "g", 1, 1.0) == [], "it has been told to give that back"
    assert head.tell("agent:a", NodeReport(1, {"CPU": 2.0})) == []
    assert head.tell("agent:b", NodeReport(1, {"CPU": 1.0})) == [
        ("agent:a", Reserve("g", 2, {0: CPU})),
        ("agent:b", Reserve("g", 2, {1: CPU})),
    ]
    assert head.answer("a", "g", 1, 2.0) == [], "an answer to the first attempt"
    head.answer("a", "g", 2, 1.0)
    head.answer("b", "g", 2, 0.0)
    assert head.state("g") == ("created", ("a", "b"))


def test_what_is_promised_to_one_group_is_not_promised_to_another() -> None:
    head = Head(a=2)
    first = group("PACK", CPU, CPU)
    assert head.make(first) == [("agent:a", Reserve("g", 1, {0: CPU, 1: CPU}))]
    assert head.make(msgspec.structs.replace(first, group="h")) == []
    head.answer("a", "g", 1, 0.0)
    assert head.ask(RemoveGroup(2, "g"))[0] == ("agent:a", Release("g", (0, 1), REMOVED))
    assert head.tell("agent:a", NodeReport(1, {"CPU": 2.0})) == [
        ("agent:a", Reserve("h", 1, {0: CPU, 1: CPU}))
    ]


def test_a_group_that_finds_no_room_holds_up_nobody() -> None:
    head = Head(a=2)
    assert head.make(group("PACK", {"CPU": 8.0})) == []
    assert head.make(group("PACK", CPU, group="h")) == [("agent:a", Reserve("h", 1, {0: CPU}))]
    ((_, answered),) = head.ask(GroupQuery(1, "g"))
    assert isinstance(answered, Answered)
    assert isinstance(answered.answer, GroupsReport)
    reason = answered.answer.groups[0].reason
    assert reason == "no nodes have room for its bundles (PACK), even if nothing else ran: a has CPU 2"


def test_bundles_of_a_lost_node_are_placed_again_and_the_others_stay() -> None:
    head = Head(a=1, b=1, c=1)
    head.make(group())
    head.answer("a", "g", 1, 0.0)
    head.answer("b", "g", 1, 0.0)
    head.tell("agent:a", WatchGroup("g"))
    lost = group(owner="o", nodes=("a", ""), state="rescheduling")
    assert head.tell("agent:b", LinkLost()) == [
        ("agent:a", GroupNews(lost)),
        ("agent:c", Reserve("g", 2, {1: CPU})),
    ]
    back = group(owner="o", nodes=("a", "c"), state="created")
    assert head.answer("c", "g", 2, 0.0) == [("agent:a", GroupNews(back))]


def test_a_node_that_is_lost_while_it_is_asked_fails_the_attempt() -> None:
    head = Head(a=1, b=1, c=1)
    head.make(group())
    assert head.tell("agent:b", LinkLost()) == [("agent:a", Release("g", (0,), ANEW))] + [
        ("agent:a", Reserve("g", 2, {0: CPU})),
        ("agent:c", Reserve("g", 2, {1: CPU})),
    ]


def test_a_node_that_says_hello_again_keeps_what_it_has_and_gives_back_what_is_not_its() -> None:
    head = Head(a=2, b=1)
    head.make(group())
    head.answer("a", "g", 1, 1.0)
    head.answer("b", "g", 1, 0.0)
    assert head.hello("a", g=(0,)) == []
    assert head.hello("a", g=(0, 1), stranger=(4,)) == [
        ("agent:a", Release("g", (1,), ANEW)),
        ("agent:a", Release("stranger", (4,), REMOVED)),
    ]
    assert head.state("g") == ("created", ("a", "b"))


def test_a_node_that_starts_anew_has_lost_its_bundles_and_its_owners_their_groups() -> None:
    head = Head(a=2, b=2)
    head.make(group("SPREAD", CPU, CPU, detached=True))
    head.make(group("SPREAD", CPU, group="h", target="a"), "b")
    for name, round_ in (("g", 1), ("h", 1)):
        for node in "ab":
            head.answer(node, name, round_, 1.0)
    assert head.state("h") == ("created", ("a",))
    assert head.hello("b", 2) == [
        ("agent:a", Release("h", (0,), REMOVED)),
        ("agent:b", Reserve("g", 2, {1: CPU})),
    ]
    assert head.state("g")[0] == "rescheduling"
    assert head.state("h")[0] == "removed"


def test_a_hello_behind_which_a_reservation_is_under_way_gives_that_up() -> None:
    """The node may get it after it has said what it has."""
    head = Head(a=1)
    head.make(group("PACK", CPU))
    assert head.hello("a") == [
        ("agent:a", Release("g", (0,), ANEW)),
        ("agent:a", Reserve("g", 2, {0: CPU})),
    ]


def test_a_group_goes_with_its_creator_unless_it_is_detached() -> None:
    head = Head(a=2, b=2)
    for name, detached in (("g", False), ("d", True)):
        head.make(group("PACK", CPU, group=name, detached=detached, target="a"))
        head.answer("a", name, 1, 1.0)
    head.ask(GroupQuery(3, "h", wait=True), "b", "p")
    assert head.tell("agent:b", OwnerGone("o")) == [], "another of that name, on another node"
    assert head.tell("agent:a", OwnerGone("o")) == [("agent:a", Release("g", (0,), REMOVED))]
    assert head.state("g")[0] == "removed"
    assert head.state("d")[0] == "created"


def test_a_group_goes_with_its_creator_s_node() -> None:
    head = Head(a=2, b=2)
    head.make(group("PACK", CPU, target="b"))
    head.answer("b", "g", 1, 1.0)
    assert head.tell("agent:a", LinkLost()) == [("agent:b", Release("g", (0,), REMOVED))]


def test_removal_in_the_middle_of_an_attempt_is_said_to_who_was_asked() -> None:
    head = Head(a=2, b=1)
    head.make(group())
    head.answer("a", "g", 1, 1.0)
    head.tell("agent:b", WatchGroup("g"))
    head.ask(GroupQuery(7, "g", wait=True), "b", "p")
    removed = group(owner="o", nodes=("", ""), state="removed")
    assert head.ask(RemoveGroup(2, "g")) == [
        ("agent:a", Release("g", (0,), REMOVED)),
        ("agent:b", Release("g", (1,), REMOVED)),
        ("agent:b", GroupNews(removed)),
        ("agent:b", Answered("p", GroupsReport(7, (removed,)))),
        ("agent:a", Answered("o", GroupsReport(2, (removed,)))),
    ]
    assert head.answer("b", "g", 1, 0.0) == []
    assert head.ask(RemoveGroup(3, "g")) == [("agent:a", Answered("o", GroupsReport(3, ())))]


def test_a_group_that_is_not_known_is_removed() -> None:
    head = Head(a=1)
    news = GroupNews(GroupFacts("x", (), "PACK", state="removed"))
    assert head.tell("agent:a", WatchGroup("x")) == [("agent:a", news)]
    assert head.ask(GroupQuery(1, "x", wait=True)) == [("agent:a", Answered("o", GroupsReport(1, ())))]


def test_names_are_found_in_their_namespace_and_can_be_had_once() -> None:
    head = Head(a=9)
    head.make(group("PACK", CPU, name="mine", namespace="x"))
    head.answer("a", "g", 1, 8.0)
    ((_, answered),) = head.ask(MakeGroup(2, group("PACK", CPU, group="h", name="mine", namespace="x")))
    assert isinstance(answered, Answered)
    assert isinstance(answered.answer, GroupsReport)
    assert "a placement group named 'mine' already" in answered.answer.refusal
    head.make(group("PACK", CPU, group="i", name="mine", namespace="y"))
    for namespace, expected in (("x", ["g"]), ("y", ["i"]), ("z", [])):
        ((_, answered),) = head.ask(GroupQuery(3, name="mine", namespace=namespace))
        assert isinstance(answered, Answered)
        assert isinstance(answered.answer, GroupsReport)
        assert [facts.group for facts in answered.answer.groups] == expected
    head.ask(RemoveGroup(4, "g"))
    ((_, answered),) = head.ask(GroupQuery(5))
    assert isinstance(answered, Answered)
    assert isinstance(answered.answer, GroupsReport)
    assert [(facts.group, facts.state) for facts in answered.answer.groups] == [
        ("i", "pending"),
        ("g", "removed"),
    ]


def test_what_makes_no_sense_is_refused() -> None:
    head = Head(a=9)
    for wrong in (
        group("SIDEWAYS", CPU),
        group("PACK", {"CPU": -1.0}),
        group("PACK", CPU, labels=((), ())),
    ):
        ((_, answered),) = head.ask(MakeGroup(1, wrong))
        assert isinstance(answered, Answered)
        assert isinstance(answered.answer, GroupsReport)
        assert answered.answer.refusal
    assert not head.core.groups.groups


class Crowded(Head):
    """Nodes whose CPUs are all in use, and a clock."""

    def __init__(self, **cpus: float) -> None:
        self.now = 0.0
        super().__init__(**cpus)
        for name in cpus:
            self.tell(f"agent:{name}", NodeReport(1, {"CPU": 0.0}))

    def tell(self, sender: str, message: Message) -> list[tuple[str, Message]]:
        out = self.core.receive(sender, message, self.now)
        self.core.check()
        return [(to, m) for to, m in out if not isinstance(m, WakeAt | View | NodeWelcome)]

    def later(self, seconds: float) -> list[tuple[str, Message]]:
        """Time passes, and the nodes go on saying that nothing is free."""
        self.now += seconds
        said = self.tell("timer", Tick())
        for name in self.cpus:
            said += self.tell(f"agent:{name}", NodeReport(1, {"CPU": 0.0}))
        return said


TWO = {"CPU": 2.0}
PATIENCE_S, WAIT_S = DEFAULTS.group_patience_s, DEFAULTS.group_wait_s


def test_a_group_that_has_long_waited_has_the_nodes_make_room() -> None:
    head = Crowded(a=2)
    assert head.make(group("PACK", TWO)) == []
    assert head.later(PATIENCE_S / 2) == []
    assert head.later(PATIENCE_S / 2) == [("agent:a", Reserve("g", 1, {0: TWO}, WAIT_S))]
    ((_, answered),) = head.ask(GroupQuery(1, "g"))
    assert "room is made for it on a" in str(answered)
    head.answer("a", "g", 1, 0.0)
    assert head.state("g") == ("created", ("a",))


def test_one_at_a_time_the_one_that_has_waited_for_longest() -> None:
    head = Crowded(a=2, b=2)
    head.make(group("PACK", TWO))
    head.later(PATIENCE_S / 2)
    head.make(group("PACK", TWO, group="h"))
    assert head.later(PATIENCE_S / 2) == [("agent:a", Reserve("g", 1, {0: TWO}, WAIT_S))]
    assert head.later(PATIENCE_S) == []
    assert head.answer("a", "g", 1, 0.0) == [("agent:b", Reserve("h", 1, {0: TWO}, WAIT_S))]


def test_one_that_cannot_come_holds_up_nobody() -> None:
    head = Crowded(a=2, b=1)
    head.tell("agent:a", NodeReport(1, {"CPU": 0.0}, lasting=CPU))
    head.make(group("PACK", TWO))
    head.make(group("PACK", CPU, group="h"))
    assert head.core.groups.groups["g"].since_s <= head.core.groups.groups["h"].since_s
    head.now = PATIENCE_S
    assert head.tell("timer", Tick()) == [("agent:a", Reserve("h", 1, {0: CPU}, WAIT_S))]


def test_what_was_waited_for_in_vain_rests_for_as_long_and_is_waited_for_twice_as_long() -> None:
    head = Crowded(a=2)
    head.make(group("PACK", TWO))
    head.later(PATIENCE_S)
    head.later(WAIT_S / 2)
    head.later(WAIT_S / 2)
    assert head.answer("a", "g", 1, 0.0, granted=False) == []
    assert head.later(WAIT_S / 2) == []
    assert head.later(WAIT_S / 2) == [("agent:a", Reserve("g", 2, {0: TWO}, 2 * WAIT_S))]


def test_the_others_give_back_what_they_have_made_when_one_could_not() -> None:
    head = Crowded(a=2, b=2)
    head.make(group("STRICT_SPREAD", TWO, TWO))
    head.later(PATIENCE_S)
    head.answer("a", "g", 1, 0.0)
    assert head.answer("b", "g", 1, 0.0, granted=False) == [("agent:a", Release("g", (0,), ANEW))]


def test_a_node_that_comes_with_all_the_room_ends_the_wait() -> None:
    head = Crowded(a=2)
    head.make(group("PACK", TWO))
    head.later(PATIENCE_S)
    head.cpus["b"] = 2.0
    assert head.hello("b") == [
        ("agent:a", Release("g", (0,), ANEW)),
        ("agent:b", Reserve("g", 2, {0: TWO})),
    ]


def test_the_death_of_a_node_that_makes_room_is_no_refusal() -> None:
    head = Crowded(a=2, b=2)
    head.make(group("PACK", TWO, detached=True))
    head.later(PATIENCE_S)
    assert head.tell("agent:a", LinkLost()) == [("agent:b", Reserve("g", 2, {0: TWO}, WAIT_S))]


def test_its_makers_death_gives_back_what_is_held() -> None:
    head = Crowded(a=2)
    head.make(group("PACK", TWO))
    head.later(PATIENCE_S)
    assert head.tell("agent:a", OwnerGone("o")) == [("agent:a", Release("g", (0,), REMOVED))]


def test_a_bundle_that_was_lost_is_waited_for_from_then_on() -> None:
    head = Head(a=2, b=2)
    head.make(group("STRICT_SPREAD", TWO, TWO))
    head.answer("a", "g", 1, 0.0)
    head.answer("b", "g", 1, 0.0)
    lost = head.core.receive("agent:b", LinkLost(), 100.0)
    assert not any(isinstance(message, Reserve) for _, message in lost)
    assert head.core.groups.groups["g"].since_s == 100.0
