"""Surveys: a question of one owner that everybody may answer; head and node, message in, messages out."""

from __future__ import annotations

import pytest

from distpool.scheduler.cores import node_surveys
from distpool.scheduler.limits import DEFAULTS
from distpool.scheduler.messages import (
    Answered,
    Asked,
    Exited,
    Inquire,
    Inquired,
    LinkLost,
    Message,
    NodeAnswers,
    NodeHello,
    OwnerBye,
    Survey,
    Surveyed,
    Tick,
    WorkerFacts,
)

from .test_head import A, B, Head
from .test_node import KILLED, Node


class Talkative(Node):
    """A node whose words to its head are not left out."""

    def tell(self, sender: str, message: Message) -> list[tuple[str, Message]]:
        out = self.core.receive(sender, message, self.now)
        self.core.check()
        return [(to, m) for to, m in out if isinstance(m, Inquire | NodeAnswers)]


def two_owners(workers: int = 0) -> Talkative:
    node = Talkative()
    node.hello("o")
    node.hello("p")
    if workers:
        node.want(workers)
        for number in range(1, workers + 1):
            node.start(number)
    return node


QUESTION = Inquire(5, "tasks")


def facts(number: int) -> WorkerFacts:
    return WorkerFacts(number, 100 + number, f"n.1.{number}", "o")


def test_every_owner_of_a_node_is_asked_and_the_answers_go_together() -> None:
    node = two_owners()
    assert node.tell("head", QUESTION) == [("owner:o", QUESTION), ("owner:p", QUESTION)]
    assert node.tell("owner:p", Inquired(5, b"of p")) == []
    assert node.tell("owner:o", Inquired(5, b"of o")) == [
        ("head", NodeAnswers(5, "n", (b"of p", b"of o"), (), (), "tasks"))
    ]
    assert node.tell("owner:o", Inquired(5, b"once more")) == []


def test_with_workers_those_are_asked_too() -> None:
    node = two_owners(2)
    question = Inquire(5, "timeline", True)
    asked = ["owner:o", "owner:p", "process:1", "process:2"]
    assert node.tell("head", question) == [(who, question) for who in asked]
    for who in asked[:3]:
        assert node.tell(who, Inquired(5, who.encode())) == []
    (whole,) = node.tell("process:2", Inquired(5, b""))
    answers = (b"owner:o", b"owner:p", b"process:1")  # who has nothing to say adds nothing
    assert whole == ("head", NodeAnswers(5, "n", answers, (), (facts(1), facts(2)), "timeline"))


def test_who_does_not_answer_in_time_is_named() -> None:
    node = two_owners()
    node.tell("head", QUESTION)
    node.tell("owner:o", Inquired(5, b"of o"))
    assert node.tick(node.core.limits.survey_s - 0.01) == []
    assert node.tick(node.core.limits.survey_s) == [
        ("head", NodeAnswers(5, "n", (b"of o",), ("owner:p",), (), "tasks"))
    ]
    assert node.tell("owner:p", Inquired(5, b"too late")) == []


@pytest.mark.parametrize("word", [OwnerBye(), LinkLost()])
def test_who_has_ended_is_not_waited_for(word: Message) -> None:
    node = two_owners()
    node.tell("head", QUESTION)
    node.tell("owner:o", Inquired(5, b"of o"))
    assert node.tell("owner:p", word) == [("head", NodeAnswers(5, "n", (b"of o",), (), (), "tasks"))]
    assert node.tell("head", Inquire(6, "tasks")) == [("owner:o", Inquire(6, "tasks"))]


def test_a_worker_that_dies_is_not_waited_for() -> None:
    node = two_owners(1)
    node.tell("head", Inquire(5, "timeline", True))
    node.tell("owner:o", Inquired(5, b""))
    node.tell("owner:p", Inquired(5, b""))
    (whole,) = node.tell("nursery", Exited(1, KILLED))
    assert whole == ("head", NodeAnswers(5, "n", (), (), (), "timeline"))


def test_answers_that_are_too_big_together_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_surveys, "ANSWERS_BYTES_MAX", 10)
    node = Talkative()
    for name in "opq":
        node.hello(name)
    node.tell("head", QUESTION)
    node.tell("owner:o", Inquired(5, b"123456"))
    node.tell("owner:p", Inquired(5, b"123456"))
    (whole,) = node.tell("owner:q", Inquired(5, b""))
    assert whole == ("head", NodeAnswers(5, "n", (b"123456",), ("owner:p",), (), "tasks"))


def test_a_node_without_owners_answers_at_once() -> None:
    assert Talkative().tell("head", QUESTION) == [("head", NodeAnswers(5, "n", (), (), (), "tasks"))]


# -------------------------------------------------------------------------------------------- the head


def asked(topic: str = "tasks") -> Asked:
    return Asked("o", Survey(7, topic))


def answers(node: str, number: int = 1) -> NodeAnswers:
    return NodeAnswers(number, node, (node.encode(),), ())


def test_the_head_asks_every_node() -> None:
    head = Head()
    head.join(A, B)
    question = Inquire(1, "tasks")
    assert head.tell("agent:a", asked()) == [("agent:a", question), ("agent:b", question)]
    assert head.tell("agent:b", answers("b")) == []
    assert head.tell("agent:a", answers("a")) == [
        ("agent:a", Answered("o", Surveyed(7, (answers("b"), answers("a")))))
    ]


def test_two_surveys_do_not_meet() -> None:
    head = Head()
    head.join(A)
    head.tell("agent:a", asked("tasks"))
    head.tell("agent:a", asked("actors"))
    assert head.tell("agent:a", answers("a", 2)) == [
        ("agent:a", Answered("o", Surveyed(7, (answers("a", 2),))))
    ]
    assert head.tell("agent:a", answers("a", 1)) == [
        ("agent:a", Answered("o", Surveyed(7, (answers("a", 1),))))
    ]


def test_a_node_that_leaves_meanwhile_is_named() -> None:
    head = Head()
    head.join(A, B)
    head.tell("agent:a", asked())
    head.tell("agent:a", answers("a"))
    said = head.tell("agent:b", LinkLost())
    assert ("agent:a", Answered("o", Surveyed(7, (answers("a"),), ("b",)))) in said


def test_a_node_that_is_stopped_is_named() -> None:
    head = Head()
    head.join(A, B)
    head.tell("agent:a", asked())
    head.tell("agent:a", answers("a"))
    head.now = 2 * DEFAULTS.survey_s
    assert head.tell("timer", Tick()) == [("agent:a", Answered("o", Surveyed(7, (answers("a"),), ("b",))))]
    assert head.tell("agent:b", answers("b")) == []


def test_a_survey_goes_with_the_node_of_who_has_asked() -> None:
    head = Head()
    head.join(A, B)
    head.tell("agent:b", asked())
    head.tell("agent:b", LinkLost())
    assert head.tell("agent:a", answers("a")) == []
    head.tell("agent:b", NodeHello(2, B))
