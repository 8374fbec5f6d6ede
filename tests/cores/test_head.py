"""HeadCore: nodes, views and keys; message in, messages out."""

from __future__ import annotations

import msgspec

from distpool.scheduler.cores.head import HeadCore
from distpool.scheduler.limits import DEFAULTS
from distpool.scheduler.messages import (
    Answered,
    Asked,
    FactsQuery,
    FactsReport,
    HeadQuestion,
    KeyAnswer,
    KeyDelete,
    KeyGet,
    KeyList,
    KeyPut,
    KeysReport,
    LinkLost,
    Message,
    NodeBye,
    NodeFacts,
    NodeHello,
    NodeReport,
    NodeWelcome,
    OwnerGone,
    Tick,
    View,
    WakeAt,
)

A = NodeFacts("a", "tcp://a", {"CPU": 4.0}, {"CPU": 4.0})
B = NodeFacts("b", "tcp://b", {"CPU": 4.0}, {"CPU": 4.0})


class Head:
    def __init__(self) -> None:
        self.core = HeadCore(DEFAULTS)
        self.now = 0.0

    def tell(self, sender: str, message: Message) -> list[tuple[str, Message]]:
        out = self.core.receive(sender, message, self.now)
        self.core.check()
        return [(to, m) for to, m in out if not isinstance(m, WakeAt)]

    def join(self, *nodes: NodeFacts) -> None:
        for node in nodes:
            self.tell(f"agent:{node.node}", NodeHello(1, node))


def free(facts: NodeFacts, cpus: float) -> NodeFacts:
    return msgspec.structs.replace(facts, available={"CPU": cpus})


def test_a_node_that_joins_is_welcomed_and_everybody_sees_it() -> None:
    head = Head()
    assert head.tell("agent:a", NodeHello(1, A)) == [
        ("agent:a", NodeWelcome(1, True)),
        ("agent:a", View(1, (A,))),
    ]
    assert head.tell("agent:b", NodeHello(1, B)) == [
        ("agent:b", NodeWelcome(1, True)),
        ("agent:a", View(2, (A, B))),
        ("agent:b", View(2, (A, B))),
    ]


def test_a_report_is_spread_only_if_it_would_change_a_decision_and_not_at_once_each_time() -> None:
    head = Head()
    head.join(A)
    head.now = 1.0
    assert head.tell("agent:a", NodeReport(1, {"CPU": 3.9})) == []
    assert head.tell("agent:a", NodeReport(1, {"CPU": 2.0})) == [("agent:a", View(2, (free(A, 2.0),)))]
    head.now = 1.1
    assert head.tell("agent:a", NodeReport(1, {"CPU": 0.0})) == []
    head.now = 1.5
    assert head.tell("timer", Tick()) == [("agent:a", View(3, (free(A, 0.0),)))]


def test_a_change_that_was_undone_before_its_turn_is_not_spread() -> None:
    head = Head()
    head.join(A)
    head.now = 0.1
    head.tell("agent:a", NodeReport(1, {"CPU": 0.0}))
    head.tell("agent:a", NodeReport(1, {"CPU": 4.0}))
    head.now = 0.6
    assert head.tell("timer", Tick()) == []


def test_a_silent_node_is_dropped_and_its_late_report_is_turned_away() -> None:
    head = Head()
    head.join(A, B)
    head.now = 9.0
    head.tell("agent:b", NodeReport(1, {"CPU": 4.0}))
    head.now = 10.0
    assert head.tell("timer", Tick()) == [("agent:b", View(3, (B,)))]
    ((to, turned_away),) = head.tell("agent:a", NodeReport(1, {"CPU": 4.0}))
    assert to == "agent:a"
    assert turned_away == NodeWelcome(1, False, "not known here", again=True)


def test_a_rejoin_replaces_and_a_late_word_of_the_earlier_life_does_not() -> None:
    head = Head()
    head.join(A)
    assert head.tell("agent:a", NodeHello(2, A))[0] == ("agent:a", NodeWelcome(2, True))
    ((_, stale),) = head.tell("agent:a", NodeHello(1, A))
    assert isinstance(stale, NodeWelcome)
    assert not stale.accepted
    ((_, stale),) = head.tell("agent:a", NodeReport(1, {"CPU": 0.0}))
    assert isinstance(stale, NodeWelcome)
    assert not stale.accepted
    assert head.core.nodes["a"].facts == A


def test_two_living_nodes_cannot_share_a_name() -> None:
    head = Head()
    head.join(A)
    other = msgspec.structs.replace(A, address="tcp://elsewhere")
    reason = "a node named a is alive at tcp://a; give this one another name"
    assert head.tell("agent:a", NodeHello(9, other)) == [("agent:a", NodeWelcome(9, False, reason))]


def test_a_node_that_says_goodbye_or_loses_its_link_is_gone() -> None:
    head = Head()
    head.join(A, B)
    assert head.tell("agent:a", NodeBye(1)) == [("agent:b", View(3, (B,)))]
    assert head.tell("agent:b", LinkLost()) == []
    assert not head.core.nodes
    assert not head.core.deadlines.at_s


def ask(head: Head, node: str, owner: str, question: HeadQuestion) -> Message:
    """What an owner on this node is answered."""
    ((to, message),) = head.tell(f"agent:{node}", Asked(owner, question))
    assert to == f"agent:{node}"
    assert isinstance(message, Answered)
    assert message.owner == owner
    return message.answer


def test_keys_are_put_kept_and_deleted() -> None:
    head = Head()
    head.join(A)
    assert ask(head, "a", "o", KeyGet(1, "k")) == KeyAnswer(1, None)
    assert ask(head, "a", "o", KeyPut(2, "k", b"1")) == KeyAnswer(2, None, True)
    assert ask(head, "a", "p", KeyPut(3, "k", b"2", overwrite=False)) == KeyAnswer(3, b"1", False)
    assert ask(head, "a", "p", KeyGet(4, "k")) == KeyAnswer(4, b"1")
    assert ask(head, "a", "p", KeyDelete(5, "k")) == KeyAnswer(5, None, True)
    assert ask(head, "a", "p", KeyDelete(6, "k")) == KeyAnswer(6, None, False)


def test_keys_are_listed_by_their_beginning() -> None:
    head = Head()
    head.join(A)
    for request, key in enumerate(("b/2", "a/1", "b/1"), 1):
        ask(head, "a", "o", KeyPut(request, key, b""))
    assert ask(head, "a", "o", KeyList(4, "b/")) == KeysReport(4, ("b/1", "b/2"))
    assert ask(head, "a", "o", KeyList(5, "")) == KeysReport(5, ("a/1", "b/1", "b/2"))
    assert ask(head, "a", "o", KeyList(6, "c")) == KeysReport(6, ())


def test_a_key_goes_with_its_owner_and_no_other() -> None:
    head = Head()
    head.join(A, B)
    ask(head, "a", "o", KeyPut(1, "mine", b"", owner="o"))
    ask(head, "a", "o", KeyPut(2, "for ever", b""))
    ask(head, "b", "o", KeyPut(1, "of another node's", b"", owner="o"))
    assert head.tell("agent:a", OwnerGone("p")) == []
    assert head.tell("agent:a", OwnerGone("o")) == []
    assert set(head.core.keys.values) == {"for ever", "of another node's"}
    head.tell("agent:b", LinkLost())
    assert set(head.core.keys.values) == {"for ever"}


def test_who_overwrites_or_deletes_a_key_ends_its_owner_s_claim() -> None:
    head = Head()
    head.join(A)
    for request, key in enumerate(("kept", "handed on", "deleted")):
        ask(head, "a", "o", KeyPut(request, key, b"o", owner="o"))
    ask(head, "a", "p", KeyPut(1, "kept", b"p"))
    ask(head, "a", "p", KeyPut(2, "handed on", b"p", owner="p"))
    ask(head, "a", "p", KeyDelete(3, "deleted"))
    assert ask(head, "a", "p", KeyPut(4, "deleted", b"p", overwrite=False)) == KeyAnswer(4, None, True)
    head.tell("agent:a", OwnerGone("o"))
    assert head.core.keys.values == {"kept": b"p", "handed on": b"p", "deleted": b"p"}
    head.tell("agent:a", OwnerGone("p"))
    assert set(head.core.keys.values) == {"kept", "deleted"}


def test_a_refused_put_claims_nothing() -> None:
    head = Head()
    head.join(A)
    ask(head, "a", "o", KeyPut(1, "k", b"o", owner="o"))
    assert ask(head, "a", "p", KeyPut(2, "k", b"p", False, "p")) == KeyAnswer(2, b"o", False)
    head.tell("agent:a", OwnerGone("p"))
    assert ask(head, "a", "p", KeyGet(3, "k")) == KeyAnswer(3, b"o")


def test_the_keys_of_a_node_s_earlier_life_are_gone() -> None:
    head = Head()
    head.join(A)
    ask(head, "a", "o", KeyPut(1, "k", b"", owner="o"))
    head.tell("agent:a", NodeHello(1, A, claimants=("o",)))
    assert ask(head, "a", "o", KeyGet(2, "k")) == KeyAnswer(2, b"")
    head.tell("agent:a", NodeHello(2, A))
    assert ask(head, "a", "o", KeyGet(3, "k")) == KeyAnswer(3, None)


def test_facts_tell_what_is_free_now_and_who_has_left() -> None:
    head = Head()
    head.join(A, B)
    head.tell("agent:a", NodeReport(1, {"CPU": 3.9}))
    head.tell("agent:b", NodeBye(1))
    facts = free(A, 3.9)
    assert ask(head, "a", "o", FactsQuery(7)) == FactsReport(7, "", (facts,), (B,))


def test_a_node_that_is_taken_for_dead_is_not_answered() -> None:
    assert Head().tell("agent:a", Asked("o", KeyPut(1, "k", b"", owner="o"))) == []
