"""An actor in its creator's core: order, deaths, restarts, ends. Message in, messages out."""

from __future__ import annotations

import pytest

from distpool.scheduler.cores.owner_actors import KILLED as KILLED_BY_KILL
from distpool.scheduler.messages import (
    ActorEnd,
    ActorExit,
    ActorRestarts,
    ActorTerms,
    ActorUp,
    CancelTasks,
    ClosePool,
    Done,
    DropPool,
    Execute,
    Failed,
    Interrupt,
    KillActor,
    KillWorker,
    LeaseHello,
    LeaseRefused,
    NodeLost,
    PoolBroken,
    PoolDropped,
    PoolGone,
    Recall,
    Recalled,
    Results,
    Retire,
    Setup,
    SetupDone,
    Tick,
    WantLeases,
)
from tests.actors.cores import ACTOR, EXITED, KILLED, Owner, call, of, offered


def actor(restarts: int = 0, **terms: object) -> Owner:
    owner = Owner()
    owner.opens(restarts, **terms)
    owner.comes("n.1.1")
    return owner


def failures(out: list[tuple[str, object]]) -> dict[int, str]:
    return {failed.task.key: failed.kind or failed.reason for failed in of(out, Failed)}


def test_an_actor_is_one_dedicated_worker_that_constructs_it() -> None:
    owner = Owner()
    assert owner.opens() == [("agent:n", WantLeases(ACTOR, 1, True, {}, once=True))]
    said = owner("worker:n.1.1", LeaseHello("n.1.1", ACTOR, "n", "host", 100))
    assert of(said, Setup) == [Setup(b"setup", self_contained=True, actor=ActorTerms())]
    assert of(owner("worker:n.1.1", SetupDone()), ActorUp) == [ActorUp(ACTOR, 100, "n")]


def test_calls_are_sent_at_once_and_in_order_however_long_they_take() -> None:
    owner = actor()
    assert offered(owner.calls(*map(call, range(100))), "n.1.1") == list(range(100))
    owner("worker:n.1.1", Results([1], [None], busy_s=10.0))
    assert offered(owner.calls(call(100), call(101)), "n.1.1") == [100, 101]


def test_calls_come_in_one_line_also_if_some_may_be_repeated() -> None:
    owner = actor()
    said = owner.calls(call(1), call(2, retries=1), call(3), call(4, retries=-1), call(5))
    assert offered(said, "n.1.1") == [1, 2, 3, 4, 5]
    assert not any(execute.careful for execute in of(said, Execute)), "no answer waits in a mailbox"


def test_nothing_is_taken_back_from_a_silent_actor_and_held_answers_are_asked_for_once() -> None:
    owner = actor()
    owner.calls(call(1), call(2), call(3))
    owner.now = 1.0
    assert owner("timer", Tick()) == [("control:n.1.1", Recall(0))]
    owner("control:n.1.1", Results([1], ["one"]))
    owner("control:n.1.1", Recalled((), 2))
    owner.now = 2.0
    assert owner("timer", Tick()) == [("control:n.1.1", Recall(0))], "it was heard of meanwhile"
    owner("control:n.1.1", Recalled((), 2))
    owner.now = 3.0
    assert owner("timer", Tick()) == []


def test_several_at_a_time_hold_no_answers_back() -> None:
    owner = actor(concurrency=4)
    owner.calls(call(1), call(2), call(3))
    owner.now = 1.0
    assert owner("timer", Tick()) == []


@pytest.mark.parametrize("death", [KILLED, EXITED])
def test_a_death_is_the_running_calls_affair_and_the_others_are_sent_again(death: object) -> None:
    owner = actor(restarts=1)
    owner.calls(call(1), call(2), call(3))
    owner("worker:n.1.1", Results([1], ["one"]))
    said = owner.dies("n.1.1", running=2, begun=(2,), death=death)  # type: ignore[arg-type]
    assert failures(said) == {2: ActorEnd.UNAVAILABLE}
    assert of(said, Failed)[0].death == death
    assert of(said, ActorRestarts) == [ActorRestarts(ACTOR, death, "")]
    assert offered(owner.comes("n.1.2"), "n.1.2") == [3]


@pytest.mark.parametrize(("restarts", "starts"), [(-1, 50), (2, 5), (0, 3)])
def test_deaths_before_the_first_word_are_restarts_once_there_were_too_many(
    restarts: int, starts: int
) -> None:
    """Nothing of it has run, so some are free; an actor that may come again without end always does."""
    owner = Owner()
    owner.opens(restarts)
    owner.calls(call(1, retries=-1))
    for number in range(1, starts):
        assert not of(owner.dies(f"n.1.{number}"), PoolBroken)
    last = owner.dies(f"n.1.{starts}")
    if restarts < 0:
        assert offered(owner.comes("n.1.100"), "n.1.100") == [1]
    else:
        assert [broken.kind for broken in of(last, PoolBroken)] == [ActorEnd.DIED]
        assert failures(last) == {1: ActorEnd.DIED}


def test_a_call_with_retries_comes_again_in_its_old_place_and_pays() -> None:
    owner = actor(restarts=-1)
    owner.calls(call(1, retries=1), call(2, retries=1))
    owner.dies("n.1.1", running=1, begun=(1,))
    assert offered(owner.comes("n.1.2"), "n.1.2") == [1, 2]
    said = owner.dies("n.1.2", running=3, begun=(3,))
    assert failures(said) == {1: ActorEnd.UNAVAILABLE}, "that was its only retry"
    assert offered(owner.comes("n.1.3"), "n.1.3") == [2]


def test_retries_without_end_have_none() -> None:
    owner = actor(restarts=-1)
    owner.calls(call(1, retries=-1))
    for number in range(2, 30):
        assert failures(owner.dies(f"n.1.{number - 1}", running=number - 1, begun=(number - 1,))) == {}
        assert offered(owner.comes(f"n.1.{number}"), f"n.1.{number}") == [1]


def test_what_has_ended_and_was_not_answered_is_never_run_twice_at_most_once() -> None:
    owner = actor(restarts=1)
    owner.calls(call(1), call(2, retries=1), call(3), call(4))
    said = owner.dies("n.1.1", running=3, begun=(3,))  # the answers of 1 and 2 died with it
    assert failures(said) == {1: ActorEnd.UNAVAILABLE, 3: ActorEnd.UNAVAILABLE}
    assert offered(owner.comes("n.1.2"), "n.1.2") == [2, 4]
    assert failures(owner.dies("n.1.2", running=5, begun=(5,))) == {2: ActorEnd.DIED, 4: ActorEnd.DIED}, (
        "the retry of 2 is left, but the actor has no restart any more"
    )


def test_without_restarts_every_call_fails_and_so_does_every_later_one() -> None:
    owner = actor()
    owner.calls(call(1), call(2))
    said = owner.dies("n.1.1", running=1, begun=(1,))
    assert failures(said) == {1: ActorEnd.DIED, 2: ActorEnd.DIED}
    assert of(said, PoolBroken) == [PoolBroken(ACTOR, None, KILLED, "", ActorEnd.DIED)]
    assert failures(owner.calls(call(3))) == {3: ActorEnd.DIED}
    said = owner("worker:n.1.2", LeaseHello("n.1.2", ACTOR, "n", "host", 101))
    assert said == [("worker:n.1.2", Retire())], "the replacement that crossed this constructs nothing"


def test_a_constructor_that_raises_ends_the_actor_whatever_restarts_it_has() -> None:
    owner = Owner()
    owner.opens(restarts=5)
    owner.calls(call(1))
    owner("worker:n.1.1", LeaseHello("n.1.1", ACTOR, "n", "host", 100))
    said = owner("worker:n.1.1", SetupDone(b"error"))
    assert failures(said) == {1: ActorEnd.CONSTRUCTOR}
    assert of(said, Failed)[0].error == b"error"
    assert failures(owner.calls(call(2))) == {2: ActorEnd.CONSTRUCTOR}


def test_a_death_in_the_constructor_uses_up_a_restart() -> None:
    owner = Owner()
    owner.opens(restarts=1)
    owner.calls(call(1))
    owner("worker:n.1.1", LeaseHello("n.1.1", ACTOR, "n", "host", 100))
    assert failures(owner.dies("n.1.1")) == {}
    owner("worker:n.1.2", LeaseHello("n.1.2", ACTOR, "n", "host", 100))
    assert failures(owner.dies("n.1.2")) == {1: ActorEnd.DIED}


def test_an_exit_on_purpose_is_no_death() -> None:
    owner = actor(restarts=5)
    owner.calls(call(1), call(2), call(3))
    owner("worker:n.1.1", Results([1], ["one"]))
    said = owner("worker:n.1.1", ActorExit(2))
    assert failures(said) == {2: ActorEnd.EXITED, 3: ActorEnd.EXITED}
    assert of(said, DropPool) == [DropPool(ACTOR, False)], "its exit handlers have their time"
    assert of(owner.dies("n.1.1"), ActorRestarts) == []
    assert failures(owner.calls(call(4))) == {4: ActorEnd.EXITED}
    assert of(owner("agent:n", PoolDropped(ACTOR)), PoolGone) == [PoolGone(ACTOR)]


def test_kill_ends_it_and_kill_with_restart_is_a_death() -> None:
    owner = actor(restarts=1)
    owner.calls(call(1))
    assert of(owner("app", KillActor(ACTOR, True)), KillWorker)[0].lease == "n.1.1"
    assert failures(owner.dies("n.1.1", running=1, begun=(1,))) == {1: ActorEnd.UNAVAILABLE}
    owner.comes("n.1.2")
    owner.calls(call(2))
    said = owner("app", KillActor(ACTOR, False))
    assert failures(said) == {2: ActorEnd.KILLED}
    assert of(said, DropPool) == [DropPool(ACTOR, True)]
    assert owner("app", KillActor(ACTOR, False)) == [], "once is enough"


def test_kill_with_restart_before_there_is_a_worker_spends_a_restart_all_the_same() -> None:
    """Or what a program that kills twice gets would depend on how fast the first worker came."""
    owner = Owner()
    owner.opens(restarts=1)
    assert owner("app", KillActor(ACTOR, True)) == [("app", ActorRestarts(ACTOR, None, KILLED_BY_KILL))]
    owner.calls(call(1))
    assert offered(owner.comes("n.1.1"), "n.1.1") == [1]
    assert of(owner("app", KillActor(ACTOR, True)), KillWorker)[0].lease == "n.1.1"
    assert of(owner.dies("n.1.1"), PoolBroken)[0].kind == ActorEnd.DIED


def test_kill_with_restart_before_there_is_a_worker_ends_what_has_no_restart() -> None:
    owner = Owner()
    owner.opens(restarts=0)
    owner.calls(call(1))
    assert failures(owner("app", KillActor(ACTOR, True))) == {1: ActorEnd.KILLED}
    endless = Owner()
    endless.opens(restarts=-1)
    for _ in range(3):
        assert of(endless("app", KillActor(ACTOR, True)), ActorRestarts), "it comes back without end"


def test_two_kills_with_restart_in_a_row_are_two_though_the_first_death_is_yet_to_be_told() -> None:
    owner = actor(restarts=1)
    kill = KillActor(ACTOR, restart=True)
    assert of(owner("app", kill), KillWorker)
    assert [broken.kind for broken in of(owner("app", kill), PoolBroken)] == [ActorEnd.KILLED]
    owner = actor(restarts=2)
    owner("app", kill)
    assert not of(owner("app", kill), PoolBroken)
    assert not of(owner.dies("n.1.1"), PoolBroken)
    owner.comes("n.1.2")
    assert [broken.kind for broken in of(owner.dies("n.1.2"), PoolBroken)] == [ActorEnd.DIED]


def test_a_cancelled_call_is_taken_back_or_interrupted_and_the_actor_is_spared() -> None:
    owner = actor()
    running, waiting = call(1), call(2)
    owner.calls(running, waiting)
    said = owner("app", CancelTasks([running, waiting], True))
    assert [said for _, said in said] == [Recall(0, (1, 2)), Interrupt(1), Interrupt(2)]
    assert failures(owner("control:n.1.1", Recalled((2,), 1))) == {2: "cancelled"}
    owner.now = 100.0
    assert of(owner("timer", Tick()), KillWorker) == []
    assert failures(owner("worker:n.1.1", Results([], [], [(1, b"KeyboardInterrupt")]))) == {1: "cancelled"}


def test_with_force_what_does_not_listen_is_killed() -> None:
    owner = actor()
    running = call(1)
    owner.calls(running)
    owner("app", CancelTasks([running], True, force=True))
    owner.now = 100.0
    assert of(owner("timer", Tick()), KillWorker)[0].only == 1


def test_a_cancel_does_not_keep_new_calls_from_an_actor_that_runs_long_ones() -> None:
    owner = actor(concurrency=10)
    waiting = call(2)
    owner.calls(call(1), waiting)
    owner("app", CancelTasks([waiting], False))
    owner("control:n.1.1", Recalled((2,), 0))
    assert offered(owner.calls(call(3)), "n.1.1") == [3]


def test_as_many_calls_as_may_run_are_always_there() -> None:
    owner = actor(concurrency=5000)
    assert len(offered(owner.calls(*map(call, range(20_000))), "n.1.1")) == 10_000
    said = owner("worker:n.1.1", Results(list(range(1, 5001)), [None] * 5000))
    assert len(offered(said, "n.1.1")) == 5000


def test_where_several_run_all_that_had_begun_pay() -> None:
    owner = actor(restarts=1, concurrency=3)
    owner.calls(call(1), call(2, retries=1), call(3, retries=-1), call(4), call(5, retries=1))
    said = owner.dies("n.1.1", running=0, begun=(3,))
    assert failures(said) == {1: ActorEnd.UNAVAILABLE}
    assert offered(owner.comes("n.1.2"), "n.1.2") == [2, 3, 4, 5]
    said = owner.dies("n.1.2", running=0, begun=(6,))
    assert failures(said) == dict.fromkeys((2, 3, 4, 5), ActorEnd.DIED)


def test_a_lost_node_is_a_death_that_nobody_saw() -> None:
    owner = actor(restarts=1)
    owner.calls(call(1), call(2, retries=1))
    said = owner("agent:n", NodeLost("n"))
    assert failures(said) == {1: ActorEnd.UNAVAILABLE}, "it may have run"
    assert len(of(said, ActorRestarts)) == 1


def test_what_no_node_has_is_said() -> None:
    owner = Owner()
    owner.opens()
    owner.calls(call(1))
    assert failures(owner("agent:n", LeaseRefused(ACTOR, "no node has that"))) == {1: ActorEnd.REFUSED}


def test_a_closed_actor_finishes_what_it_has_and_still_comes_back_for_it() -> None:
    owner = actor(restarts=1)
    owner.calls(call(1, retries=1))
    assert owner("app", ClosePool(ACTOR)) == []
    owner.dies("n.1.1", running=1, begun=(1,))
    assert offered(owner.comes("n.1.2"), "n.1.2") == [1]
    said = owner("worker:n.1.2", Results([2], ["one"]))
    assert len(of(said, Done)) == 1
    assert of(said, DropPool) == [DropPool(ACTOR, False)]
    assert of(said, Retire) == [Retire()]


def test_a_late_answer_of_a_dead_worker_is_nobodys() -> None:
    owner = actor(restarts=1)
    owner.calls(call(1, retries=1))
    owner.dies("n.1.1", running=1, begun=(1,))
    owner.comes("n.1.2")
    assert of(owner("worker:n.1.1", Results([1], ["late"])), Done) == []
    assert len(of(owner("worker:n.1.2", Results([2], ["right"])), Done)) == 1
