"""OwnerCore: shared workers without work, and those whose turn is over because others wait."""

from __future__ import annotations

from distpool.scheduler.limits import Limits
from distpool.scheduler.messages import (
    AgentWelcome,
    CancelTasks,
    Consumed,
    DropPool,
    Execute,
    Failed,
    Interrupt,
    KillWorker,
    LeaseHello,
    Leaving,
    Pressed,
    Read,
    Recall,
    Reclaim,
    Results,
    Retire,
    ReturnLease,
    SetupDone,
    Submit,
    TerminatePool,
    Tick,
    WantLeases,
    Yielded,
    Yields,
)
from tests.cores.test_owner import Owner, execute, task

LIMITS = Limits()


def shared() -> Owner:
    return Owner(size=8, dedicated=False)


def working(owner: Owner, lease: str, first: int) -> None:
    """A worker that has come for one task, and has done it."""
    owner("app", Submit(1, [task(first)]))
    owner("worker:" + lease, LeaseHello(lease, 1, "n", "host", 100))
    owner("worker:" + lease, SetupDone())
    owner("worker:" + lease, Results([first], ["x"], busy_s=0.001))


def test_one_that_has_done_its_work_is_kept_for_more() -> None:
    owner = shared()
    working(owner, "a", 1)
    owner.now = LIMITS.linger_s / 2
    assert owner("timer", Tick()) == []
    assert owner("app", Submit(1, [task(2)])) == [("worker:a", execute(2, 2, blobs=False, received=1))]


def test_an_owner_that_is_to_end_keeps_none() -> None:
    owner = shared()
    owner.now = 0.1
    working(owner, "a", 1)
    owner("app", Leaving())
    assert Retire() in [said for to, said in owner("timer", Tick()) if to == "worker:a"]
    working(owner, "b", 2)
    assert Retire() in [said for to, said in owner("timer", Tick()) if to == "worker:b"], (
        "nor one that rests later"
    )


def test_and_is_given_back_when_none_comes() -> None:
    owner = shared()
    working(owner, "a", 1)
    owner.now = LIMITS.linger_s
    assert owner("timer", Tick()) == [
        ("agent:n", WantLeases(1, 0, False, {})),
        ("worker:a", Retire()),
        ("agent:n", ReturnLease("a")),
    ]


def test_a_pool_may_have_them_kept_for_longer_unless_others_wait() -> None:
    owner = Owner(size=8, dedicated=False, linger_s=60.0)
    working(owner, "a", 1)
    owner.now = 59.0
    assert owner("timer", Tick()) == []
    owner("agent:n", Pressed(True))
    assert ("worker:a", Retire()) in owner("timer", Tick())


def test_soon_where_others_wait() -> None:
    owner = shared()
    working(owner, "a", 1)
    owner("agent:n", Pressed(True))
    owner.now = LIMITS.linger_pressed_s
    assert ("worker:a", Retire()) in owner("timer", Tick())


def test_but_not_for_the_sake_of_its_own_pool() -> None:
    owner = shared()
    working(owner, "a", 1)
    owner("agent:n", Pressed(True, but=1))
    owner.now = LIMITS.linger_pressed_s
    assert owner("timer", Tick()) == []


def test_an_idle_worker_is_enough_for_one_task() -> None:
    owner = shared()
    working(owner, "a", 1)
    said = owner("app", Submit(1, [task(2)]))
    assert [to for to, _ in said] == ["worker:a"]
    assert ("agent:n", WantLeases(1, 4, False, {})) in owner("app", Submit(1, [task(3), task(4)]))


def test_what_is_wanted_without_need_is_not_wanted_any_more() -> None:
    owner = shared()
    owner("app", Submit(1, [task(1), task(2), task(3)]))
    owner("worker:a", LeaseHello("a", 1, "n", "host", 100))
    owner("worker:a", SetupDone())
    owner("worker:a", Results([1, 2], ["x", "x"], busy_s=0.001))
    said = owner("worker:a", Results([3], ["x"], busy_s=0.001))
    assert ("agent:n", WantLeases(1, 1, False, {})) in said


def test_one_that_waits_for_another_to_give_back_what_it_holds_is_kept_no_longer() -> None:
    """The other may die before it answers."""
    owner = shared()
    working(owner, "a", 1)
    owner("app", Submit(1, [task(key) for key in range(2, 9)]))
    owner("worker:b", LeaseHello("b", 1, "n", "host", 101))
    said = owner("worker:b", SetupDone())
    assert any(isinstance(message, Recall) for _, message in said)
    owner("agent:n", Pressed(True))
    owner.now = LIMITS.linger_pressed_s
    assert ("worker:b", Retire()) in owner("timer", Tick())


def test_one_that_is_reclaimed_finishes_what_it_has_and_goes() -> None:
    owner = shared()
    working(owner, "a", 1)
    owner("app", Submit(1, [task(key) for key in range(2, 2000)]))
    attempts = sorted(owner.core.leases["a"].offered)
    said = owner("agent:n", Reclaim("a"))
    assert ("worker:a", Retire()) in said
    assert owner.core.pools[1].wanted["n"] > 0
    said = owner("worker:a", Results(attempts, ["x"] * len(attempts), busy_s=0.1))
    assert ("agent:n", ReturnLease("a")) in said
    assert not any(isinstance(message, Execute) for _, message in said)


def test_a_busy_worker_goes_when_its_turn_is_over() -> None:
    owner = shared()
    working(owner, "a", 1)
    owner("app", Submit(1, [task(key) for key in range(2, 2000)]))
    owner("agent:n", Pressed(True))
    owner.now = LIMITS.turn_s
    attempts = sorted(owner.core.leases["a"].offered)
    said = owner("worker:a", Results(attempts, ["x"] * len(attempts), busy_s=0.1))
    assert ("worker:a", Retire()) in said
    assert ("agent:n", ReturnLease("a")) in said
    assert not any(isinstance(message, Execute) for _, message in said)
    assert owner.core.pools[1].wanted["n"] > 0


def test_what_a_task_yields_reaches_the_program_while_it_runs() -> None:
    owner = Owner(1).with_workers("a")
    made = task(1)
    owner("app", Submit(1, [made]))
    assert owner("worker:a", Yielded(1, 0, "v")) == [("app", Yields(made, 0, "v", None))]
    assert owner("app", Read(made, 1)) == [("control:a", Consumed(1, 1))]
    owner("worker:a", Results([1], [1]))
    assert owner("worker:a", Yielded(1, 1, "late")) == []
    assert owner("app", Read(made, 2)) == []


def test_what_a_cancelled_task_yields_is_nobodys() -> None:
    owner = Owner(1).with_workers("a")
    made = task(1)
    owner("app", Submit(1, [made]))
    owner("app", CancelTasks([made], running=True))
    assert owner("worker:a", Yielded(1, 0, "v")) == []


def test_by_force_a_worker_is_killed_without_a_word_to_it() -> None:
    owner = Owner(1).with_workers("a")
    made = task(1)
    owner("app", Submit(1, [made]))
    said = owner("app", CancelTasks([made], running=True, force=True))
    assert said == [("control:a", Recall(0, (1,)))]
    killed = [message for to, message in owner("timer", Tick()) if to == "agent:n"]
    assert [(type(message), message.only) for message in killed] == [(KillWorker, 1)]


def test_what_it_has_called_may_be_spared() -> None:
    owner = Owner(1).with_workers("a")
    made = task(1)
    owner("app", Submit(1, [made]))
    said = owner("app", CancelTasks([made], running=True, recursive=False))
    assert ("control:a", Interrupt(1, recursive=False)) in said
    assert not any(isinstance(message, Failed) for _, message in said)


def test_a_level_of_a_dropped_pool_is_never_said_again() -> None:
    """Its agents would bring it back to life, and fork workers that are turned away for ever."""
    owner = shared()
    working(owner, "a", 1)
    working(owner, "b", 2)
    assert ("agent:n", DropPool(1, kill=True)) in owner("app", TerminatePool(1))
    owner.now = LIMITS.linger_s
    said = owner("timer", Tick()) + owner("agent:n", Reclaim("b"))
    assert not any(isinstance(message, WantLeases) for _, message in said)


def test_that_others_wait_on_one_node_is_not_taken_back_by_another() -> None:
    owner = shared()
    working(owner, "a", 1)
    owner("agent:m", AgentWelcome("m", 10, "host", 2.0, {}))
    owner("agent:n", Pressed(True))
    owner("agent:m", Pressed(False))
    owner.now = LIMITS.linger_pressed_s
    assert ("worker:a", Retire()) in owner("timer", Tick())


def test_and_ends_with_the_link_to_that_node() -> None:
    owner = shared()
    working(owner, "a", 1)
    owner("agent:n", Pressed(True))
    owner("agent:n", AgentWelcome("n", 10, "host", 2.0, {}))
    owner.now = LIMITS.linger_pressed_s
    assert ("worker:a", Retire()) not in owner("timer", Tick())
