"""A HeadCore that ends at any moment, and another that begins with its journal."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from distpool.scheduler.cores.head import GONE_MAX, VIEWS_MAX, HeadCore
from distpool.scheduler.limits import DEFAULTS
from distpool.scheduler.messages import (
    Answered,
    Asked,
    GroupFacts,
    GroupQuery,
    GroupsReport,
    HeadQuestion,
    KeyAnswer,
    KeyDelete,
    KeyGet,
    KeyPut,
    KeySwap,
    LinkLost,
    MakeGroup,
    Message,
    NodeBye,
    NodeFacts,
    NodeHello,
    NodeReport,
    NodeWelcome,
    OwnerGone,
    Record,
    Release,
    Reserve,
    Reserved,
    Tick,
    View,
    WakeAt,
)
from distpool.scheduler.shells.journal import MemoryJournal

A = NodeFacts("a", "tcp://a", {"CPU": 4.0}, {"CPU": 4.0})
B = NodeFacts("b", "tcp://b", {"CPU": 4.0}, {"CPU": 4.0})


class Cluster:
    """A head with a journal, which can be killed."""

    def __init__(self) -> None:
        self.now = 0.0
        self.journal = MemoryJournal()
        self.restart()

    def restart(self) -> None:
        self.core = HeadCore(DEFAULTS)
        self.core.restore(self.journal.load(), self.now)
        self.core.check()

    def tell(self, sender: str, message: Message) -> list[tuple[str, Message]]:
        out = self.core.receive(sender, message, self.now)
        self.core.check()
        self.journal.keep(m for _, m in out if isinstance(m, Record))
        return [(to, m) for to, m in out if not isinstance(m, WakeAt | Record)]

    def hello(self, facts: NodeFacts, incarnation: int = 1, **more: object) -> list[tuple[str, Message]]:
        return self.tell(f"agent:{facts.node}", NodeHello(incarnation, facts, **more))  # type: ignore[arg-type]

    def ask(self, node: str, owner: str, question: HeadQuestion, settled: int = 0) -> Message:
        answers = [
            m
            for _, m in self.tell(f"agent:{node}", Asked(owner, question, settled))
            if isinstance(m, Answered)
        ]
        (answered,) = answers
        return answered.answer


def cluster(*nodes: NodeFacts) -> Cluster:
    made = Cluster()
    for node in nodes:
        made.hello(node)
    return made


def test_nodes_are_known_again_and_shown_as_they_were_until_they_come() -> None:
    heads = cluster(A, B)
    heads.restart()
    assert heads.hello(B, epoch=1) == [
        ("agent:b", NodeWelcome(1, True, epoch=2)),
        ("agent:b", View(VIEWS_MAX + 1, (A, B))),  # nothing is said to a, which is not there yet
    ]
    assert ("agent:a", NodeWelcome(1, True, epoch=2)) in heads.hello(A, epoch=1)


def test_a_node_that_does_not_come_again_is_lost_in_time() -> None:
    heads = cluster(A, B)
    heads.restart()
    heads.hello(A, epoch=1)
    heads.now = 9.0
    heads.tell("agent:a", NodeReport(1, {"CPU": 4.0}))
    heads.now = 10.0
    ((to, view),) = heads.tell("timer", Tick())
    assert to == "agent:a"
    assert isinstance(view, View)
    assert view.nodes == (A,)
    heads.restart()
    assert list(heads.core.nodes) == ["a"]
    assert list(heads.core.gone) == [B]


def test_who_is_awaited_is_told_to_say_hello_again() -> None:
    heads = cluster(A)
    heads.restart()
    ((to, welcome),) = heads.tell("agent:a", NodeReport(1, {"CPU": 1.0}))
    assert (to, welcome) == ("agent:a", NodeWelcome(1, False, "not known here", again=True))
    assert heads.tell("agent:a", Asked("o", KeyGet(1, "k"))) == []


@pytest.mark.parametrize("gone", [False, True])
def test_an_earlier_start_of_a_node_is_refused_by_a_later_head_too(gone: bool) -> None:
    heads = cluster(A)
    heads.hello(A, 2)
    if gone:
        heads.tell("agent:a", NodeBye(2))
    heads.restart()
    ((_, welcome),) = heads.hello(A, 1)
    reason = "a later start of node a has joined already"
    assert welcome == NodeWelcome(1, False, reason, epoch=2, latest=2)


def test_a_head_with_an_old_journal_takes_nobody_in() -> None:
    heads = cluster(A)
    ((_, welcome),) = heads.hello(A, epoch=7)
    assert isinstance(welcome, NodeWelcome)
    assert not welcome.accepted
    assert "has known start 7 of this cluster's head, and this is start 1" in welcome.reason


def test_the_head_s_own_node_under_another_name() -> None:
    """It was killed with its head, and is named by chance: it does not wait for itself."""
    heads = cluster(A, B)
    heads.restart()
    again = NodeFacts("a2", A.address, A.total, A.available)
    heads.hello(again)
    assert list(heads.core.nodes) == ["b", "a2"]


def test_a_node_that_was_started_elsewhere_meanwhile() -> None:
    heads = cluster(A, B)
    heads.restart()
    there = NodeFacts("b", "tcp://elsewhere", B.total, B.available)
    assert ("agent:b", NodeWelcome(2, True, epoch=2)) in heads.hello(there, 2)
    ((_, welcome),) = heads.hello(B, 1)
    assert isinstance(welcome, NodeWelcome)
    assert not welcome.accepted


def test_keys_are_there_again_and_those_of_owners_that_have_ended_are_not() -> None:
    heads = cluster(A)
    for request, key in enumerate(("lives", "has ended")):
        heads.ask("a", key, KeyPut(request, key, b"1", owner=key))
    heads.ask("a", "o", KeyPut(2, "nobody's", b"2"))
    heads.restart()
    heads.hello(A, claimants=("lives", "o"))
    assert heads.core.keys.values == {"lives": b"1", "nobody's": b"2"}
    heads.restart()
    heads.hello(A, 2)
    assert heads.core.keys.values == {"nobody's": b"2"}
    heads.restart()
    assert heads.core.keys.values == {"nobody's": b"2"}


@pytest.mark.parametrize(
    ("question", "answer", "left"),
    [
        (KeyPut(1, "k", b"1", overwrite=False), KeyAnswer(1, None, True), b"1"),
        (KeySwap(1, "k", None, b"1"), KeyAnswer(1, None, True), b"1"),
        (KeySwap(1, "there", b"0", b"1"), KeyAnswer(1, None, True), b"1"),
        (KeyDelete(1, "there"), KeyAnswer(1, None, True), None),
        (KeySwap(1, "there", b"2", b"1"), KeyAnswer(1, b"0", False), b"0"),
    ],
)
def test_what_is_asked_again_since_its_answer_was_lost_is_not_done_again(
    question: KeyPut | KeySwap | KeyDelete, answer: KeyAnswer, left: bytes | None
) -> None:
    heads = cluster(A)
    heads.ask("a", "p", KeyPut(1, "there", b"0"))
    assert heads.ask("a", "o", question) == answer
    heads.restart()
    heads.hello(A, claimants=("o",))
    assert heads.ask("a", "o", question) == answer
    assert heads.core.keys.values.get(question.key) == left


def lost(heads: Cluster) -> None:
    """The link to a is, and only the head has seen it."""
    heads.tell("agent:a", LinkLost())
    assert not heads.core.nodes.keys() & {"a"}


@pytest.mark.parametrize("restart", [False, True])
def test_a_node_that_was_taken_for_lost_asks_again_and_nothing_is_done_twice(restart: bool) -> None:
    heads = cluster(A, B)
    swap = KeySwap(1, "k", None, b"1")
    assert heads.ask("a", "o", swap) == KeyAnswer(1, None, True)
    lost(heads)
    assert heads.ask("b", "o", KeySwap(1, "k", b"1", b"2")) == KeyAnswer(1, None, True)
    if restart:
        heads.restart()
        heads.hello(B)
    heads.hello(A, claimants=("o",))
    assert heads.ask("a", "o", swap) == KeyAnswer(1, None, True), "it was told that it had not done it"
    assert heads.core.keys.values == {"k": b"2"}


def test_a_name_that_was_lost_with_its_node_is_had_again_or_not_as_others_have_taken_it() -> None:
    heads = cluster(A, B)
    mine, taken = KeyPut(1, "mine", b"o", False, "o"), KeyPut(2, "taken", b"o", False, "o")
    for put in (mine, taken):
        assert heads.ask("a", "o", put) == KeyAnswer(put.request, None, True)
    lost(heads)
    heads.ask("b", "p", KeyPut(1, "taken", b"p", False, "p"))
    heads.hello(A, claimants=("o",))
    assert heads.ask("a", "o", mine) == KeyAnswer(1, None, True)
    assert heads.ask("a", "o", taken) == KeyAnswer(2, b"p")
    assert heads.core.keys.values == {"mine": b"o", "taken": b"p"}


def forgotten_among_the_lost(heads: Cluster) -> None:
    lost(heads)
    for number in range(GONE_MAX):
        heads.hello(NodeFacts(f"n{number}", f"tcp://n{number}", {}, {}))
        heads.tell(f"agent:n{number}", LinkLost())


@pytest.mark.parametrize(
    "ends",
    [
        lambda heads: heads.tell("agent:a", NodeBye(1)),
        lambda heads: (lost(heads), heads.hello(A, incarnation=2, claimants=("o",))),
        lambda heads: (lost(heads), heads.hello(A, claimants=("p",))),
        lambda heads: (heads.restart(), heads.hello(msgspec.structs.replace(B, address=A.address))),
        forgotten_among_the_lost,
    ],
    ids=["it leaves", "it starts again", "who asked has ended", "another has its place", "it does not come"],
)
def test_an_answer_is_not_kept_for_who_will_not_ask(ends: Callable[[Cluster], object]) -> None:
    heads = cluster(A)
    heads.ask("a", "o", KeySwap(1, "k", None, b"1"))
    ends(heads)
    assert heads.core.keys.answers == {}
    heads.restart()
    assert heads.core.keys.answers == {}
    assert heads.core.keys.values == {"k": b"1"}


def test_an_answer_is_remembered_until_it_has_come_and_no_longer() -> None:
    heads = cluster(A)
    heads.ask("a", "o", KeyPut(1, "k", b"1"))
    heads.ask("a", "o", KeyPut(2, "k", b"2"), settled=1)
    assert list(heads.core.keys.answers["a", "o"]) == [1, 2]
    heads.ask("a", "o", KeyPut(3, "k", b"3"), settled=3)
    heads.restart()
    assert list(heads.core.keys.answers["a", "o"]) == [3]
    heads.hello(A, claimants=("o",))
    heads.tell("agent:a", OwnerGone("o"))
    heads.restart()
    assert heads.core.keys.answers == {}
    assert heads.core.keys.values == {"k": b"3"}


def test_what_is_too_much_is_refused_and_said() -> None:
    heads = cluster(A)
    most = DEFAULTS.keys_bytes_max
    assert heads.ask("a", "o", KeyPut(1, "k", bytes(most - 1))) == KeyAnswer(1, None, True)
    refused = heads.ask("a", "o", KeyPut(2, "l", b"1"))
    assert isinstance(refused, KeyAnswer)
    assert not refused.changed
    assert f"keeps {most} bytes under 1 keys, and at most {most}" in refused.refusal
    assert heads.ask("a", "o", KeyPut(3, "k", b"1")) == KeyAnswer(3, None, True)
    assert heads.ask("a", "o", KeyPut(4, "l", b"1")) == KeyAnswer(4, None, True)


CPU = {"CPU": 1.0}
GROUP = GroupFacts("g", (CPU, CPU), "STRICT_SPREAD", detached=True)


def placed() -> Cluster:
    """A group with a bundle on a, and one on b."""
    heads = cluster(A, B)
    heads.ask("a", "o", MakeGroup(1, GROUP))
    for node in "ab":
        heads.tell(f"agent:{node}", Reserved("g", 1, True, {"CPU": 3.0}))
    return heads


def state(heads: Cluster) -> tuple[str, tuple[str, ...]]:
    report = heads.ask("a", "o", GroupQuery(9, "g"))
    assert isinstance(report, GroupsReport)
    return report.groups[0].state, report.groups[0].nodes


def test_a_group_is_where_it_was() -> None:
    heads = placed()
    heads.restart()
    for facts in (A, B):
        assert not [
            m
            for _, m in heads.hello(facts, bundles={"g": ((0,) if facts is A else (1,))})
            if isinstance(m, Release)
        ]
    assert state(heads) == ("created", ("a", "b"))


def test_a_bundle_that_was_lost_with_the_head_is_placed_anew() -> None:
    heads = placed()
    heads.restart()
    heads.hello(A, bundles={"g": (0,)})
    assert ("agent:b", Reserve("g", 1, {1: CPU})) in heads.hello(B)
    assert state(heads) == ("rescheduling", ("a", ""))


def test_a_reservation_that_was_under_way_is_given_back_and_made_again() -> None:
    heads = cluster(A, B)
    heads.ask("a", "o", MakeGroup(1, GROUP))
    heads.tell("agent:a", Reserved("g", 1, True, {"CPU": 3.0}))
    heads.restart()
    assert ("agent:a", Release("g", (0,), "its placement group is being placed anew")) in heads.hello(
        A, bundles={"g": (0,)}
    )
    assert heads.tell("agent:b", Reserved("g", 1, True, {"CPU": 3.0})) == [], "said to the head before"
    said = heads.hello(B, bundles={"g": (1,)})
    assert [to for to, m in said if isinstance(m, Reserve)] == ["agent:a", "agent:b"]


def test_a_group_whose_maker_has_ended_meanwhile_goes() -> None:
    heads = cluster(A)
    heads.ask("a", "o", MakeGroup(1, GroupFacts("g", (CPU,), "PACK")))
    heads.restart()
    heads.hello(A, claimants=("o",))
    assert list(heads.core.groups.groups) == ["g"]
    heads.restart()
    heads.hello(A)
    assert heads.core.groups.groups == {}
