"""Surveys: a question of one owner that everybody may answer; head and node, message in, messages out."""

from __future__ import annotations

import pytest

from distpool.scheduler.cores import head_surveys, node_surveys
from distpool.scheduler.cores.node_head import ASKERS_MAX
from distpool.scheduler.limits import DEFAULTS
from distpool.scheduler.messages import (
    Answered,
    Asked,
    Blocked,
    Exited,
    FactsQuery,
    FactsReport,
    Forked,
    Inquire,
    Inquired,
    KillWorker,
    LinkLost,
    Message,
    NodeAnswers,
    NodeHello,
    NodeWelcome,
    OwnerBye,
    ReturnLease,
    Survey,
    Surveyed,
    Tick,
    Wanted,
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


def facts(number: int, **more: object) -> WorkerFacts:
    return WorkerFacts(number, 100 + number, f"n.1.{number}", "o", **{"pool": 1, **more})


def whole_of(
    answers: tuple[bytes, ...] = (),
    missing: tuple[str, ...] = (),
    workers: tuple[WorkerFacts, ...] = (),
    topic: str = "tasks",
    **more: object,
) -> tuple[str, NodeAnswers]:
    """What the node says to its head."""
    fields = {"free": {"CPU": 2.0}, "total": {"CPU": 2.0}, **more}
    return "head", NodeAnswers(5, "n", answers, missing, workers, topic, **fields)


def test_every_owner_of_a_node_is_asked_and_the_answers_go_together() -> None:
    node = two_owners()
    assert node.tell("head", QUESTION) == [("owner:o", QUESTION), ("owner:p", QUESTION)]
    assert node.tell("owner:p", Inquired(5, b"of p")) == []
    assert node.tell("owner:o", Inquired(5, b"of o")) == [whole_of((b"of p", b"of o"))]
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
    assert whole == whole_of(answers, (), (facts(1), facts(2)), "timeline")


def test_who_does_not_answer_in_time_is_named() -> None:
    node = two_owners()
    node.tell("head", QUESTION)
    node.tell("owner:o", Inquired(5, b"of o"))
    assert node.tick(node.core.limits.survey_s - 0.01) == []
    assert node.tick(node.core.limits.survey_s) == [whole_of((b"of o",), ("owner:p",))]
    assert node.tell("owner:p", Inquired(5, b"too late")) == []


@pytest.mark.parametrize("word", [OwnerBye(), LinkLost()])
def test_who_has_ended_is_not_waited_for(word: Message) -> None:
    node = two_owners()
    node.tell("head", QUESTION)
    node.tell("owner:o", Inquired(5, b"of o"))
    assert node.tell("owner:p", word) == [whole_of((b"of o",))]
    assert node.tell("head", Inquire(6, "tasks")) == [("owner:o", Inquire(6, "tasks"))]


def test_a_worker_that_dies_is_not_waited_for() -> None:
    node = two_owners(1)
    node.tell("head", Inquire(5, "timeline", True))
    node.tell("owner:o", Inquired(5, b""))
    node.tell("owner:p", Inquired(5, b""))
    (whole,) = node.tell("nursery", Exited(1, KILLED))
    assert whole == whole_of(topic="timeline")


def test_every_worker_that_there_is_has_answered_or_is_named() -> None:
    """Those that are being forked, one that starts meanwhile, one that retires, one that is killed."""
    node = two_owners(3)
    node.want(8)
    node.tell("nursery", Forked(5, 105))
    node.tell("owner:o", ReturnLease("n.1.2"))
    node.tell("owner:o", KillWorker("n.1.3", "because"))
    question = Inquire(5, "stacks", True, owners=False)
    assert node.tell("head", question) == [("process:1", question)]
    node.start(5)
    ((_, whole),) = node.tell("process:1", Inquired(5, b"of 1"))
    assert isinstance(whole, NodeAnswers)
    assert whole.answers == (b"of 1",)
    assert {(one.worker, one.pid, one.why) for one in whole.unasked} == {
        (2, 102, "is on its way out"),
        (3, 103, "is being killed"),
        *((number, 0, "is starting") for number in (4, 6, 7, 8)),
        (5, 105, "has started just now"),
    }
    assert {1, *(one.worker for one in whole.unasked)} == node.core.workers.keys()


def test_answers_that_are_too_big_together_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_surveys, "ANSWERS_BYTES_MAX", 10)
    node = Talkative()
    for name in "opq":
        node.hello(name)
    node.tell("head", QUESTION)
    node.tell("owner:o", Inquired(5, b"123456"))
    node.tell("owner:p", Inquired(5, b"123456"))
    (whole,) = node.tell("owner:q", Inquired(5, b""))
    assert whole == whole_of((b"123456",), ("owner:p",))


def test_owners_of_other_nodes_are_asked_there_and_programs_without_a_node_at_home() -> None:
    node = two_owners()
    node.hello("elsewhere", node="m")
    node.hello("program", node="program-x", guest=True)
    assert [who for who, _ in node.tell("head", QUESTION)] == ["owner:o", "owner:p", "owner:program"]


def test_some_workers_only_and_no_owners() -> None:
    node = two_owners(2)
    question = Inquire(5, "stacks", True, False, (2,))
    assert node.tell("head", question) == [("process:2", question)]
    (whole,) = node.tell("process:2", Inquired(5, b"of 2"))
    assert whole == whole_of((b"of 2",), (), (facts(1), facts(2)), "stacks")


def test_the_node_alone_answers_at_once_with_what_it_is_asked_about() -> None:
    node = two_owners(1)
    question = Inquire(5, "logs", owners=False, about="[1,0,10]")
    assert node.tell("head", question) == [whole_of((), (), (facts(1),), "logs", about="[1,0,10]")]


def test_a_node_tells_what_its_workers_have_taken_and_who_wants_more() -> None:
    node = two_owners()
    node.want(2, resources={"CPU": 1.5})
    node.start(1)
    node.tell("owner:o", Blocked("n.1.1", True))
    node.want(1, pool=2, resources={"CPU": 2.0}, owner="p")
    (whole,) = node.tell("head", Inquire(5, "why", owners=False))
    taken = {"need": {"CPU": 1.5}, "blocked": True, "charged": False}
    wanted = (Wanted("p", 2, 1, {"CPU": 2.0}),)
    assert whole == whole_of((), (), (facts(1, **taken),), "why", wanted=wanted, free={"CPU": 0.5})


def test_a_command_asks_by_a_node_and_gets_its_answer_though_it_is_no_owner() -> None:
    node = Talkative()
    question = FactsQuery(3)
    node.core.receive("head", NodeWelcome(1, True), 0.0)
    said = node.core.receive("asker:here/x", question, 0.0)
    assert ("head", Asked("?here/x", question, 3)) in said
    report = FactsReport(3, "n", (), ())
    assert node.core.receive("head", Answered("?here/x", report), 0.0) == [("asker:here/x", report)]
    assert node.core.receive("head", Answered("?here/x", report), 0.0) == []


def test_commands_that_have_gone_are_forgotten() -> None:
    node = Talkative()
    for number in range(3 * ASKERS_MAX):
        node.core.receive(f"asker:here/{number}", FactsQuery(1), 0.0)
    assert len(node.core.head.asked) == ASKERS_MAX


def test_a_node_without_owners_answers_at_once() -> None:
    assert Talkative().tell("head", QUESTION) == [whole_of()]


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


def test_one_node_only() -> None:
    head = Head()
    head.join(A, B)
    question = Inquire(1, "logs", False, False, (), "x")
    survey = Survey(7, "logs", owners=False, node="b", about="x")
    assert head.tell("agent:a", Asked("o", survey)) == [("agent:b", question)]
    assert head.tell("agent:b", answers("b")) == [("agent:a", Answered("o", Surveyed(7, (answers("b"),))))]


def test_a_node_that_is_not_there_is_refused() -> None:
    head = Head()
    head.join(A, B)
    ((_, answered),) = head.tell("agent:a", Asked("o", Survey(7, "logs", node="d")))
    assert answered == Answered("o", Surveyed(7, (), (), "there is no node d; there are: a, b"))


def test_more_surveys_than_a_head_holds_are_refused() -> None:
    head = Head()
    head.join(A)
    for _ in range(head_surveys.OPEN_MAX):
        head.tell("agent:a", asked())
    ((_, answered),) = head.tell("agent:a", asked())
    assert "surveys are under way" in answered.answer.refusal


def test_a_node_whose_answer_would_be_too_much_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_surveys, "ANSWERS_BYTES_MAX", 10)
    head = Head()
    head.join(A, B)
    head.tell("agent:a", asked())
    head.tell("agent:b", NodeAnswers(1, "b", (b"123456",), (), own=b"12345"))
    ((_, answered),) = head.tell("agent:a", answers("a"))
    assert answered == Answered("o", Surveyed(7, (answers("a"),), ("b",)))


def test_a_survey_goes_with_the_node_of_who_has_asked() -> None:
    head = Head()
    head.join(A, B)
    head.tell("agent:b", asked())
    head.tell("agent:b", LinkLost())
    assert head.tell("agent:a", answers("a")) == []
    head.tell("agent:b", NodeHello(2, B))
