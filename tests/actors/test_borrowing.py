"""An actor that several owners call: what its creator and a borrower say to each other, and to its worker."""

from __future__ import annotations

from typing import Any

from distpool.scheduler.messages import (
    ActorDown,
    ActorEnd,
    ActorExit,
    ActorRestarts,
    ActorUp,
    ClosePool,
    EndActor,
    Failed,
    KillActor,
    KillWorker,
    LeaseHello,
    LinkLost,
    NodeLost,
    PoolGone,
    Results,
    Retire,
    ReturnLease,
    Serve,
    SetupDone,
    TerminatePool,
    WantActor,
    WantLeases,
)
from tests.actors.cores import ACTOR, KILLED, Owner, call, of, offered

FIRST = "n.1~1.1"  # what the first borrower knows the first worker as


class Pair:
    """A creator and a borrower, and the link between them, on which messages wait until they are passed on."""

    def __init__(self, restarts: int = 0, **terms: Any) -> None:
        self.creator, self.borrower = Owner(), Owner("borrower")
        self.between: list[tuple[Owner, Any]] = []
        self.creator.opens(restarts, **terms)
        self.say(self.borrower, self.borrower.borrows(self.creator, **terms))

    def say(self, speaker: Owner, said: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
        """Put on the link what goes there; returns the rest."""
        other = self.creator if speaker is self.borrower else self.borrower
        self.between += [(other, message) for to, message in said if to == f"peer:{other.name}"]
        return [(to, message) for to, message in said if not to.startswith("peer:")]

    def pass_on(self) -> list[tuple[str, Any]]:
        """Deliver what is on the link; returns what that causes elsewhere."""
        caused: list[tuple[str, Any]] = []
        while self.between:
            to, message = self.between.pop(0)
            sender = self.borrower if to is self.creator else self.creator
            caused += self.say(to, to(f"peer:{sender.name}", message))
        return caused

    def comes(self, lease: str) -> Serve:
        """A worker comes to the creator, which tells it to serve the borrower."""
        (serve,) = of(self.creator.comes(lease), Serve)
        assert isinstance(serve, Serve)
        return serve

    def reaches(self, lease: str) -> list[tuple[str, Any]]:
        """It has dialled the borrower."""
        self.borrower(f"worker:{lease}", LeaseHello(lease, ACTOR, "n", "host", 100))
        return self.borrower(f"worker:{lease}", SetupDone())


def ready(restarts: int = 0, **terms: Any) -> Pair:
    pair = Pair(restarts, **terms)
    pair.pass_on()
    pair.comes("n.1.1")
    pair.reaches(FIRST)
    return pair


def failures(out: list[tuple[str, Any]]) -> dict[int, str]:
    return {failed.task.key: failed.kind or failed.reason for failed in of(out, Failed)}


def test_a_borrower_asks_no_agent_and_is_served_by_the_actors_own_worker() -> None:
    pair = Pair()
    assert pair.between == [(pair.creator, WantActor(ACTOR, ACTOR, pair.borrower.contact))]
    assert of(pair.pass_on(), WantLeases) == []
    assert pair.comes("n.1.1") == Serve(1, FIRST, ACTOR, "borrower", "ipc://borrower", 7)
    pair.borrower.calls(call(1), call(2))
    said = pair.reaches(FIRST)
    assert of(said, ActorUp) == [ActorUp(ACTOR, 100, "n")]
    assert offered(said, FIRST) == [1, 2]


def test_one_that_asks_when_the_actor_is_up_is_served_at_once() -> None:
    pair = Pair()
    pair.creator.comes("n.1.1")
    assert of(pair.pass_on(), Serve) == [Serve(1, FIRST, ACTOR, "borrower", "ipc://borrower", 7)]


def test_a_borrower_on_another_node_has_no_part_in_the_store() -> None:
    pair = Pair()
    pair.pass_on()
    (serve,) = of(pair.creator.comes("other.1.1", node="other") or [], Serve) or [None]
    assert serve is None, "no agent of that node is known, so its worker is turned away"
    pair.creator("agent:other", _welcome("other"))
    (serve,) = of(pair.creator.comes("other.1.1", node="other"), Serve)
    assert serve.process == 0


def _welcome(node: str) -> Any:
    from distpool.scheduler.messages import AgentWelcome

    return AgentWelcome(node, 11, "host2", 2.0, {})


def test_a_death_is_sorted_out_by_each_caller_for_its_own_calls() -> None:
    pair = ready(restarts=1)
    pair.creator.calls(call(1), call(2))
    pair.borrower.calls(call(11), call(12), call(13, retries=1))
    running = 1 << 48 | 2  # of the borrower, whose first call has ended unanswered
    said = pair.say(pair.creator, pair.creator.dies("n.1.1", running=running, begun=(1, 2)))
    assert failures(said) == {1: ActorEnd.UNAVAILABLE}, "it has ended, and its answer is lost"
    said = pair.pass_on()
    assert failures(said) == {11: ActorEnd.UNAVAILABLE, 12: ActorEnd.UNAVAILABLE}
    assert of(said, ActorRestarts) == [ActorRestarts(ACTOR, KILLED, "")]
    assert pair.comes("n.1.2").lease == "n.1~1.2"
    assert offered(pair.reaches("n.1~1.2"), "n.1~1.2") == [13]


def test_a_new_worker_that_overtakes_the_old_ones_death_waits_for_it() -> None:
    pair = ready(restarts=1)
    pair.borrower.calls(call(1, retries=1), call(2))
    pair.say(pair.creator, pair.creator.dies("n.1.1", running=1 << 48 | 1, begun=(0, 1)))
    pair.comes("n.1.2")
    second = "n.1~1.2"
    assert pair.borrower(f"worker:{second}", LeaseHello(second, ACTOR, "n", "host", 101)) == []
    pair.pass_on()
    assert offered(pair.borrower(f"worker:{second}", SetupDone()), second) == [1, 2]


def test_without_restarts_it_has_died_for_all() -> None:
    pair = ready()
    pair.borrower.calls(call(1), call(2))
    pair.say(pair.creator, pair.creator.dies("n.1.1", running=0, begun=()))
    assert failures(pair.pass_on()) == {1: ActorEnd.DIED, 2: ActorEnd.DIED}
    assert failures(pair.borrower.calls(call(3))) == {3: ActorEnd.DIED}


def test_a_borrower_that_comes_too_late_is_told_why() -> None:
    pair = Pair()
    pair.creator("worker:n.1.1", LeaseHello("n.1.1", ACTOR, "n", "host", 100))
    pair.creator("worker:n.1.1", SetupDone(b"error"))
    pair.borrower.calls(call(1))
    said = pair.pass_on()
    assert failures(said) == {1: ActorEnd.CONSTRUCTOR}
    assert of(said, Failed)[0].error == b"error"


def test_a_constructor_that_raises_ends_it_for_those_who_wait() -> None:
    pair = Pair()
    pair.pass_on()
    pair.borrower.calls(call(1))
    pair.creator("worker:n.1.1", LeaseHello("n.1.1", ACTOR, "n", "host", 100))
    pair.say(pair.creator, pair.creator("worker:n.1.1", SetupDone(b"error")))
    assert failures(pair.pass_on()) == {1: ActorEnd.CONSTRUCTOR}


def test_an_exit_and_a_kill_are_told_as_what_they_are() -> None:
    for end, kind in ((ActorExit(0), ActorEnd.EXITED), (KillActor(ACTOR, False), ActorEnd.KILLED)):
        pair = ready()
        pair.borrower.calls(call(1))
        sender = "worker:n.1.1" if isinstance(end, ActorExit) else "app"
        pair.say(pair.creator, pair.creator(sender, end))
        assert failures(pair.pass_on()) == {1: kind}


def test_a_borrower_may_kill_it() -> None:
    pair = ready(restarts=1)
    pair.say(pair.borrower, pair.borrower("app", KillActor(ACTOR, True)))
    assert pair.between == [(pair.creator, EndActor(ACTOR, True))]
    assert len(of(pair.pass_on(), KillWorker)) == 1
    pair.say(pair.borrower, pair.borrower("app", KillActor(ACTOR, False)))
    pair.pass_on()
    assert failures(pair.borrower.calls(call(1))) == {1: ActorEnd.KILLED}


def test_a_borrower_that_wants_no_more_lets_the_worker_go_and_asks_no_agent() -> None:
    pair = ready()
    pair.borrower.calls(call(1))
    assert pair.borrower("app", ClosePool(ACTOR)) == []
    said = pair.say(pair.borrower, pair.borrower(f"worker:{FIRST}", Results([1], ["one"])))
    assert (f"worker:{FIRST}", Retire()) in said
    assert of(said, PoolGone) == [PoolGone(ACTOR)]
    assert of(said, ReturnLease) == []
    assert pair.between == [(pair.creator, WantActor(ACTOR, ACTOR, None))]
    pair.pass_on()
    assert pair.creator.core.pools[ACTOR].actor.callers == {}  # type: ignore[union-attr]
    pair.say(pair.creator, pair.creator.dies("n.1.1"))
    assert pair.between == [], "it is told no more"


def test_one_that_borrows_again_is_another_caller() -> None:
    pair = ready()
    pair.say(pair.borrower, pair.borrower("app", TerminatePool(ACTOR)))
    pair.say(pair.borrower, pair.borrower.borrows(pair.creator))
    (serve,) = of(pair.pass_on(), Serve)
    assert (serve.caller, serve.lease) == (2, "n.1~2.1"), "the first one's link may not be gone yet"


def test_the_creators_end_is_the_actors_and_a_borrowers_end_is_not() -> None:
    pair = ready()
    pair.borrower.calls(call(1))
    said = pair.borrower("peer:creator", LinkLost())
    assert failures(said) == {1: ActorEnd.OWNER_DIED}
    assert of(said, KillWorker) == []
    pair = ready()
    assert pair.creator("peer:borrower", LinkLost()) == []
    assert pair.creator.core.pools[ACTOR].actor.callers == {}  # type: ignore[union-attr]
    assert offered(pair.creator.calls(call(1)), "n.1.1") == [1]


def test_a_stranger_cannot_speak_for_the_creator() -> None:
    pair = ready()
    pair.borrower.calls(call(1))
    assert pair.borrower("peer:stranger", ActorDown(ACTOR, FIRST, KILLED, kind=ActorEnd.DIED)) == []
    assert pair.borrower("peer:stranger", LinkLost()) == []


def test_a_lost_link_to_the_worker_is_made_anew() -> None:
    pair = ready()
    pair.borrower.calls(call(1), call(2, retries=1))
    said = pair.say(pair.borrower, pair.borrower(f"worker:{FIRST}", LinkLost()))
    assert failures(said) == {1: ActorEnd.UNAVAILABLE}, "it may have run"
    (serve,) = of(pair.pass_on(), Serve)
    assert serve.lease == "n.1~2.1"
    assert offered(pair.reaches(serve.lease), serve.lease) == [2]


def test_a_node_that_only_the_borrower_has_lost_is_no_end_of_the_actor() -> None:
    pair = ready()
    pair.borrower.calls(call(1), call(2, retries=1))
    said = pair.say(pair.borrower, pair.borrower("links", NodeLost("n", "silent")))
    assert failures(said) == {1: ActorEnd.UNAVAILABLE}, "it may have run"
    (serve,) = of(pair.pass_on(), Serve)
    assert offered(pair.reaches(serve.lease), serve.lease) == [2], (
        "its creator speaks of no end, so it was asked"
    )


def test_a_first_word_that_comes_after_the_news_of_its_end_counts_no_more() -> None:
    pair = ready(restarts=-1)
    pair.borrower.calls(call(1, retries=1))
    pair.say(pair.creator, pair.creator.dies("n.1.1"))
    pair.comes("n.1.2")
    pair.say(pair.creator, pair.creator.dies("n.1.2"))
    pair.pass_on()
    hello = LeaseHello("n.1~1.2", ACTOR, "n", "host", 100)
    assert pair.borrower("worker:n.1~1.2", hello) == [("worker:n.1~1.2", Retire())]
    lease = pair.comes("n.1.3").lease
    assert offered(pair.reaches(lease), lease) == [1]


def test_an_agent_is_not_asked_for_what_is_borrowed() -> None:
    pair = ready()
    assert pair.borrower.core.hello().held == ()
    assert pair.creator.core.hello().held == ("n.1.1",)


def test_a_borrower_that_loses_the_node_waits_for_the_creators_word() -> None:
    pair = ready(restarts=1)
    pair.borrower.calls(call(1), call(2, retries=1))
    assert failures(pair.borrower("agent:n", NodeLost("n"))) == {1: ActorEnd.UNAVAILABLE}
    pair.borrower("peer:creator", ActorDown(ACTOR, FIRST, None, certain=False, reason="lost"))
    assert offered(pair.reaches("n.1~1.2"), "n.1~1.2") == [2]
