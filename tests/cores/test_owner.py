"""OwnerCore: message in, messages out, by value. The states are drawn in ARCHITECTURE.md."""

from __future__ import annotations

import weakref
from typing import Any

from distpool.scheduler.cores.head_groups import NOT_PLACED
from distpool.scheduler.cores.owner import OwnerCore
from distpool.scheduler.cores.tasks import Task, TimeLimit
from distpool.scheduler.limits import Limits
from distpool.scheduler.messages import (
    AgentWelcome,
    CancelTasks,
    ClosePool,
    ClusterLost,
    Death,
    Done,
    DropPool,
    Execute,
    Failed,
    Interrupt,
    KillWorker,
    LeaseElsewhere,
    LeaseHello,
    LeaseRefused,
    LookAt,
    NodeLost,
    OpenPool,
    PoolBroken,
    PoolDropped,
    PoolGone,
    PoolReady,
    Recall,
    Recalled,
    ResizePool,
    Results,
    Retire,
    ReturnLease,
    Seen,
    Setup,
    SetupDone,
    Submit,
    TerminatePool,
    Tick,
    WakeAt,
    WantLeases,
    WorkerDied,
    WorkerGone,
    WorkerUp,
    WornOut,
)

KILLED = Death(100, "host", 9, -9)
EXITED = Death(100, "host", 0, 3)
LEFT = Death(100, "host", 0, 0)


class Owner:
    """A core with its clock, checked after every step."""

    def __init__(self, size: int = 2, **pool: Any) -> None:
        self.core = OwnerCore("o", "ipc://o", 1, Limits())
        self.now = 0.0
        self("agent:n", AgentWelcome("n", 10, "host", 2.0, {}))
        self("app", OpenPool(1, size, b"setup", **pool))

    def __call__(self, sender: str, message: Any) -> list[tuple[str, Any]]:
        out = self.core.receive(sender, message, self.now)
        self.core.check()
        return [(to, m) for to, m in out if not isinstance(m, WakeAt)]

    def with_workers(self, *leases: str) -> Owner:
        for lease in leases:
            self("worker:" + lease, LeaseHello(lease, 1, "n", "host", 100))
            self("worker:" + lease, SetupDone())
        return self


def task(key: int, retries: int = 2, payload: Any = None, limit_s: float | None = None) -> Task:
    limit = None if limit_s is None else TimeLimit(limit_s, "f")
    return Task(1, "token", key, 7, b"f", [key] if payload is None else payload, 64, retries, limit=limit)


def execute(first: int, *keys: int, blobs: bool = True, careful: bool = False, received: int = 0) -> Execute:
    return Execute(
        first, [7] * len(keys), [[key] for key in keys], {7: b"f"} if blobs else {}, (), careful, received
    )


def test_a_worker_whose_death_is_told_before_its_first_word_is_turned_away() -> None:
    owner = Owner(1, dedicated=True)
    owner("agent:n", WorkerDied("n.1.1", 1, KILLED, 0))
    hello = LeaseHello("n.1.1", 1, "n", "host", 100)
    assert owner("worker:n.1.1", hello) == [("worker:n.1.1", Retire())]
    owner.with_workers("n.1.2")
    assert list(owner.core.leases) == ["n.1.2"]


def test_workers_whose_bundle_moves_to_another_node_are_no_failures_of_the_set_up() -> None:
    owner = Owner(1, dedicated=True, setup_attempts=2)
    moved = Death(100, "host", 9, -9, reason=NOT_PLACED)
    for number in range(5):
        said = owner("agent:n", WorkerDied(f"n.1.{number}", 1, moved, 0))
        assert not any(isinstance(message, PoolBroken) for _, message in said)
    owner("agent:n", WorkerDied("n.1.6", 1, KILLED, 0))
    said = owner("agent:n", WorkerDied("n.1.7", 1, KILLED, 0))
    assert any(isinstance(message, PoolBroken) for _, message in said)


def test_what_has_died_unheard_is_remembered_for_as_long_as_a_silent_node_is_given() -> None:
    owner = Owner(1, dedicated=True, setup_attempts=10)
    limits = owner.core.limits
    for number in range(1, 4):
        owner.now += limits.node_silent_s / 2
        owner("agent:n", WorkerDied(f"n.1.{number}", 1, KILLED, 0))
    assert list(owner.core.leasing.unheard) == ["n.1.2", "n.1.3"]


def test_a_pool_asks_for_its_leases_and_sets_each_worker_up() -> None:
    core = OwnerCore("o", "ipc://o", 1, Limits())
    assert core.receive("app", OpenPool(1, 2, b"setup"), 0.0) == []
    assert core.receive("agent:n", AgentWelcome("n", 10, "host", 2.0, {}), 0.0) == [
        ("agent:n", WantLeases(1, 2, True, {}))
    ]
    assert core.receive("worker:a", LeaseHello("a", 1, "n", "host", 5), 0.0) == [
        ("worker:a", Setup(b"setup")),
        ("app", WorkerUp(1, "a", 5, "n")),
    ]
    assert core.receive("worker:a", SetupDone(), 0.0) == []
    core.receive("worker:b", LeaseHello("b", 1, "n", "host", 6), 0.0)
    assert core.receive("worker:b", SetupDone(), 0.0) == [("app", PoolReady(1))]


def test_n_tasks_meet_on_n_idle_workers_and_their_results_come_back() -> None:
    owner = Owner().with_workers("a", "b")
    one, two = task(1), task(2)
    assert owner("app", Submit(1, [one, two])) == [("worker:b", execute(1, 1)), ("worker:a", execute(2, 2))]
    assert owner("worker:b", Results([1], ["x"], busy_s=0.1)) == [("app", Done([one], ["x"]))]
    assert owner("worker:a", Results([2], ["y"], busy_s=0.1)) == [("app", Done([two], ["y"]))]


def test_tasks_wait_for_a_worker() -> None:
    owner = Owner(1)
    assert owner("app", Submit(1, [task(1)])) == []
    owner("worker:a", LeaseHello("a", 1, "n", "host", 5))
    assert owner("worker:a", SetupDone()) == [("app", PoolReady(1)), ("worker:a", execute(1, 1))]


def test_a_function_travels_once() -> None:
    owner = Owner(1).with_workers("a")
    owner("app", Submit(1, [task(1)]))
    owner("worker:a", Results([1], [None], busy_s=0.1))
    assert owner("app", Submit(1, [task(2)])) == [("worker:a", execute(2, 2, blobs=False, received=1))]


def test_short_tasks_lie_ahead_in_numbers_and_long_ones_do_not() -> None:
    owner = Owner(1).with_workers("a")
    owner("app", Submit(1, [task(1)]))
    owner("worker:a", Results([1], [None], busy_s=1e-5))
    [(_, many)] = owner("app", Submit(1, [task(n) for n in range(5000)]))
    assert 1000 < len(many.functions) <= 4096
    owner = Owner(1).with_workers("a")
    owner("app", Submit(1, [task(1)]))
    owner("worker:a", Results([1], [None], busy_s=1.0))
    [(_, one)] = owner("app", Submit(1, [task(n) for n in range(50)]))
    assert len(one.functions) == 1


def test_a_late_answer_names_an_attempt_that_nobody_has() -> None:
    owner = Owner(1).with_workers("a")
    owner("app", Submit(1, [task(1)]))
    owner("worker:a", Results([1], ["x"], busy_s=0.1))
    assert owner("worker:a", Results([1], ["again"])) == []
    assert owner("worker:gone", Results([1], ["from nowhere"])) == []


def test_of_the_answers_in_a_message_only_those_count_whose_attempts_are_there() -> None:
    owner = Owner(1).with_workers("a")
    one = task(1)
    owner("app", Submit(1, [one]))
    assert owner("worker:a", Results([1, 99, 98], [b"mine", b"late", "plain"], [(97, b"error")])) == [
        ("app", Done([one], [b"mine"])),
    ]


def test_what_a_dead_worker_had_under_way_goes_with_it() -> None:
    owner = Owner(1).with_workers("a")
    one = task(1, retries=0)
    owner("app", Submit(1, [one]))
    owner("worker:a", Results([1], [b"x"]))
    left = WorkerDied("a", 1, KILLED, running=0, answers=(Results([1], [b"x"]),))
    assert owner("agent:n", left) == [("app", WorkerGone(1, "a", 100, -9))]
    assert owner("worker:a", Results([1], [b"x"])) == []


def test_the_answer_of_a_cancelled_task_counts_for_nobody() -> None:
    owner = Owner(2).with_workers("a", "b")
    one, two = task(1), task(2)
    owner("app", Submit(1, [one, two]))
    owner("app", CancelTasks([one, two], running=True))
    assert owner("worker:b", Results([1], [b"x"])) == [
        ("app", Failed(one, reason="cancelled")),
    ]
    assert owner("worker:a", Results([], [], [(2, b"KeyboardInterrupt")])) == [
        ("app", Failed(two, reason="cancelled")),
    ]


def test_what_a_task_keeps_is_let_go_when_it_is_done_and_not_before() -> None:
    owner = Owner(1).with_workers("a")
    tasks = [Task(1, "token", key, 7, b"f", [key], 64, 1, keep=object()) for key in range(3)]
    owner("app", Submit(1, tasks))
    owner("agent:n", WorkerDied("a", 1, KILLED, running=1))
    owner.with_workers("b")
    assert all(task.keep is not None for task in tasks)
    assert owner("worker:b", Results([tasks[0].attempt], ["x"], busy_s=0.1))[0] == (
        "app",
        Done(tasks[:1], ["x"]),
    )
    owner("app", CancelTasks([tasks[2]], running=False))
    assert [task.keep is None for task in tasks] == [True, False, True]
    owner("app", TerminatePool(1))
    assert tasks[1].keep is None


def test_only_the_running_task_is_charged_and_the_rest_is_sent_again() -> None:
    owner = Owner(1).with_workers("a")
    running, behind = task(1, retries=1), task(2, retries=0)
    owner("app", Submit(1, [running]))
    owner("app", Submit(1, [behind]))
    assert owner("agent:n", WorkerDied("a", 1, KILLED, running=1)) == [("app", WorkerGone(1, "a", 100, -9))]
    assert running.retries == 0
    assert behind.attempt == 2
    owner.with_workers("b")
    assert running.lease is not None
    assert running.attempt == 3


def test_what_ends_one_worker_after_the_other_does_not_keep_the_others_waiting() -> None:
    owner = Owner(1).with_workers("a")
    deadly, other = task(1, retries=1000), task(2)
    owner("app", Submit(1, [deadly]))
    owner("agent:n", WorkerDied("a", 1, KILLED, running=1))
    owner("app", Submit(1, [other]))
    assert [one.key for one in owner.core.pools[1].queue] == [1, 2], "once may have been bad luck"
    owner.with_workers("b")
    owner("agent:n", WorkerDied("b", 1, KILLED, running=deadly.attempt))
    assert [one.key for one in owner.core.pools[1].queue] == [2, 1]


def test_a_task_whose_retries_are_spent_fails_with_the_death() -> None:
    owner = Owner(1).with_workers("a")
    doomed = task(1, retries=0)
    owner("app", Submit(1, [doomed]))
    assert owner("agent:n", WorkerDied("a", 1, KILLED, running=1)) == [
        ("app", WorkerGone(1, "a", 100, -9)),
        ("app", Failed(doomed, None, KILLED, arguments=[1])),
    ]


def test_a_task_that_ends_its_own_process_fails_at_once() -> None:
    owner = Owner(1).with_workers("a")
    doomed = task(1, retries=5)
    owner("app", Submit(1, [doomed]))
    out = owner("agent:n", WorkerDied("a", 1, EXITED, running=1))
    assert ("app", Failed(doomed, None, EXITED, arguments=[1])) in out


def test_an_answer_left_in_the_mailbox_is_neither_lost_nor_repeated() -> None:
    owner = Owner(1).with_workers("a")
    one = task(1, retries=0)
    assert owner("app", Submit(1, [one])) == [("worker:a", execute(1, 1, careful=True))]
    out = owner("agent:n", WorkerDied("a", 1, KILLED, running=0, answers=(Results([1], ["x"]),)))
    assert out == [("app", Done([one], ["x"])), ("app", WorkerGone(1, "a", 100, -9))]


def test_careful_and_repeatable_tasks_do_not_share_a_batch() -> None:
    owner = Owner(1).with_workers("a")
    owner("app", Submit(1, [task(1)]))
    owner("worker:a", Results([1], [None], busy_s=1e-5))
    out = owner("app", Submit(1, [task(2), task(3, retries=0), task(4)]))
    assert out == [("worker:a", execute(2, 2, blobs=False, received=1))]


def test_a_lease_that_its_node_does_not_know_repeats_only_what_may_be_repeated() -> None:
    owner = Owner(1).with_workers("a")
    safe, unsafe = task(1), task(2, retries=0)
    owner("app", Submit(1, [safe]))
    owner("app", Submit(1, [unsafe]))
    out = owner("agent:n", WorkerDied("a", 0, KILLED, running=0, certain=False))
    assert [type(m) for _, m in out] == [WorkerGone, Failed]
    assert out[1][1].task is unsafe
    assert safe.lease is None
    assert safe.retries == 2


def test_work_behind_a_long_task_is_recalled_and_runs_elsewhere() -> None:
    owner = Owner(2).with_workers("a")
    tasks = [task(n) for n in range(2)]
    assert owner("app", Submit(1, tasks)) == [("worker:a", execute(1, 0, 1))]
    owner.with_workers("b")
    owner.now = 0.02
    out = owner("timer", Tick())
    assert out == [] or out == [("control:a", Recall(2))]
    out = owner("control:a", Recalled((2,), running=1))
    assert out == [("worker:b", Execute(3, [7], [[1]], {7: b"f"}))]


def test_an_idle_worker_gets_half_of_what_the_fullest_has_not_started() -> None:
    owner = Owner(2).with_workers("a")
    owner("app", Submit(1, [task(0)]))
    owner("worker:a", Results([1], [None], busy_s=1e-5))
    owner("app", Submit(1, [task(n) for n in range(10)]))
    owner("worker:b", LeaseHello("b", 1, "n", "host", 100))
    assert ("control:a", Recall(5)) in owner("worker:b", SetupDone())


def test_recalled_tasks_keep_their_order() -> None:
    owner = Owner(1).with_workers("a")
    owner("app", Submit(1, [task(0)]))
    owner("worker:a", Results([1], [None], busy_s=1e-5))
    owner("app", Submit(1, [task(n) for n in range(4)]))
    owner("control:a", Recalled((5, 4, 3), running=2))
    assert [pending.key for pending in owner.core.pools[1].queue] == [1, 2, 3]


def test_cancelling_a_pending_task_is_immediate() -> None:
    owner = Owner(1)
    one, two = task(1), task(2)
    owner("app", Submit(1, [one, two]))
    assert owner("app", CancelTasks([one], running=False)) == [("app", Failed(one, reason="cancelled"))]
    owner("worker:a", LeaseHello("a", 1, "n", "host", 5))
    assert ("worker:a", execute(1, 2)) in owner("worker:a", SetupDone())


def test_cancelling_what_runs_interrupts_it_then_kills_its_worker() -> None:
    owner = Owner(1).with_workers("a")
    one = task(1)
    owner("app", Submit(1, [one]))
    assert owner("app", CancelTasks([one], running=True)) == [
        ("control:a", Recall(0, (1,))),
        ("control:a", Interrupt(1)),
    ]
    owner("control:a", Recalled((), running=1))
    owner.now = 1.0
    [(to, kill)] = owner("timer", Tick())
    assert to == "agent:n"
    assert isinstance(kill, KillWorker)
    assert ("app", Failed(one, reason="cancelled")) in owner("agent:n", WorkerDied("a", 1, KILLED, running=1))


def test_a_result_that_crosses_its_cancellation_is_not_delivered() -> None:
    owner = Owner(1).with_workers("a")
    one = task(1)
    owner("app", Submit(1, [one]))
    owner("app", CancelTasks([one], running=True))
    assert owner("worker:a", Results([1], ["late"])) == [("app", Failed(one, reason="cancelled"))]


def test_taking_back_leaves_running_work_alone() -> None:
    owner = Owner(1).with_workers("a")
    one = task(1)
    owner("app", Submit(1, [one]))
    assert owner("app", CancelTasks([one], running=False)) == [("control:a", Recall(0, (1,)))]
    owner("control:a", Recalled((), running=1))
    assert owner("worker:a", Results([1], ["x"])) == [("app", Done([one], ["x"]))]


def test_a_worker_retires_after_its_number_of_tasks() -> None:
    owner = Owner(1, max_tasks=1).with_workers("a")
    assert owner("app", Submit(1, [task(1), task(2)])) == [("worker:a", execute(1, 1))]
    out = owner("worker:a", Results([1], [None]))
    assert out[1:] == [("worker:a", Retire()), ("agent:n", ReturnLease("a"))]
    owner("worker:b", LeaseHello("b", 1, "n", "host", 5))
    assert owner("worker:b", SetupDone())[-1] == ("worker:b", execute(2, 2))


def test_an_initializer_that_fails_again_and_again_breaks_the_pool() -> None:
    owner = Owner(1, setup_attempts=2)
    one = task(1)
    owner("app", Submit(1, [one]))
    owner("worker:a", LeaseHello("a", 1, "n", "host", 5))
    assert owner("worker:a", SetupDone(b"boom")) == [("worker:a", Retire()), ("agent:n", ReturnLease("a"))]
    owner("agent:n", WorkerDied("a", 1, LEFT, running=0))
    owner("worker:b", LeaseHello("b", 1, "n", "host", 5))
    out = owner("worker:b", SetupDone(b"boom"))
    assert out[:2] == [
        ("app", PoolBroken(1, b"boom", None, "its workers fail in their set-up")),
        ("app", Failed(one, b"boom", None, "its workers fail in their set-up")),
    ]
    later = task(2)
    assert owner("app", Submit(1, [later])) == [
        ("app", Failed(later, b"boom", None, "its workers fail in their set-up"))
    ]


def test_workers_that_die_before_their_first_word_break_the_pool() -> None:
    owner = Owner(1, setup_attempts=2)
    assert owner("agent:n", WorkerDied("a", 1, KILLED, running=0)) == []
    out = owner("agent:n", WorkerDied("b", 1, KILLED, running=0))
    assert out[0] == ("app", PoolBroken(1, None, KILLED, "its workers fail in their set-up"))


def test_workers_that_die_in_their_set_up_beside_a_ready_one_are_bad_luck() -> None:
    owner = Owner(2, setup_attempts=1).with_workers("a")
    for n in range(9):
        assert owner("agent:n", WorkerDied(f"b{n}", 1, KILLED, running=0)) == []
    assert isinstance(owner("agent:n", WorkerDied("b9", 1, KILLED, running=0))[0][1], PoolBroken)


def test_a_closed_pool_finishes_then_goes() -> None:
    owner = Owner(1).with_workers("a")
    one = task(1)
    owner("app", Submit(1, [one]))
    assert owner("app", ClosePool(1)) == []
    assert owner("worker:a", Results([1], ["x"])) == [
        ("app", Done([one], ["x"])),
        ("agent:n", DropPool(1, kill=False)),
        ("worker:a", Retire()),
    ]
    owner("agent:n", WorkerDied("a", 1, LEFT, running=0))
    assert owner("agent:n", PoolDropped(1)) == [("app", PoolGone(1))]
    assert not owner.core.pools
    assert not owner.core.leases


def test_a_closed_pool_whose_worker_dies_gets_another_for_what_is_left() -> None:
    owner = Owner(1).with_workers("a")
    one = task(1)
    owner("app", Submit(1, [one]))
    owner("app", ClosePool(1))
    owner("agent:n", WorkerDied("a", 1, KILLED, running=1))
    owner("worker:b", LeaseHello("b", 1, "n", "host", 5))
    assert ("worker:b", execute(2, 1)) in owner("worker:b", SetupDone())


def test_a_closed_pool_gives_a_dead_workers_tasks_to_one_that_is_idle() -> None:
    owner = Owner(2).with_workers("a", "b")
    one = task(1)
    [(to, _)] = owner("app", Submit(1, [one]))
    owner("app", ClosePool(1))
    dead, idle = ("a", "b") if to == "worker:a" else ("b", "a")
    assert (f"worker:{idle}", execute(2, 1)) in owner("agent:n", WorkerDied(dead, 1, KILLED, running=1))


def test_terminate_fails_everything_and_kills() -> None:
    owner = Owner(1).with_workers("a")
    one, two = task(1), task(2)
    owner("app", Submit(1, [one]))
    owner("app", Submit(1, [two]))
    assert owner("app", TerminatePool(1)) == [
        ("app", Failed(one, reason="cancelled")),
        ("app", Failed(two, reason="cancelled")),
        ("agent:n", DropPool(1, kill=True)),
    ]
    assert owner("worker:a", Results([1], ["late"])) == []


def test_what_a_terminated_task_needs_is_kept_until_its_worker_is_dead() -> None:
    owner = Owner().with_workers("n.1.1")
    running, pending = (Task(1, None, key, 7, b"f", b"args", 4, 2, keep=_Kept()) for key in range(2))
    alive = [weakref.ref(running.keep), weakref.ref(pending.keep)]
    owner("app", Submit(1, [running]))
    owner("worker:n.1.1", Results([], []))
    owner("app", TerminatePool(1))
    assert running.keep is None
    assert alive[0]() is not None, "the worker may be reading it"
    owner("agent:n", WorkerDied("n.1.1", 1, KILLED, 1))
    assert alive[0]() is None
    owner("app", Submit(1, [pending]))
    assert alive[1]() is None, "no worker ever had it"


class _Kept:
    """What can be watched."""


def test_a_pool_that_is_closing_can_still_be_terminated() -> None:
    owner = Owner(1).with_workers("a")
    owner("app", ClosePool(1))
    assert owner("app", TerminatePool(1)) == [("agent:n", DropPool(1, kill=True))]


def test_resizing_retires_the_surplus_and_asks_for_what_is_missing() -> None:
    owner = Owner(2).with_workers("a", "b")
    assert owner("app", ResizePool(1, 1)) == [
        ("agent:n", WantLeases(1, 1, True, {})),
        ("worker:a", Retire()),
        ("agent:n", ReturnLease("a")),
    ]
    assert owner("app", ResizePool(1, 3)) == [("agent:n", WantLeases(1, 3, True, {}))]


def test_what_works_is_given_back_when_its_tasks_are_done() -> None:
    """Its agent would give it a grace, and then kill it; until then it counts there, beside those that stay."""
    owner = Owner(2).with_workers("a", "b")
    owner("app", Submit(1, [task(1), task(2)]))
    assert owner("app", ResizePool(1, 1)) == [
        ("agent:n", WantLeases(1, 1, True, {})),
        ("agent:n", WantLeases(1, 2, True, {})),
        ("worker:a", Retire()),
    ]
    said = owner("worker:a", Results([2], ["x"]))
    assert said[-2:] == [("agent:n", WantLeases(1, 1, True, {})), ("agent:n", ReturnLease("a"))]
    assert owner("agent:n", WorkerDied("a", 1, LEFT, 0)) == [("app", WorkerGone(1, "a", 100, 0))]


def test_workers_in_their_set_up_go_before_those_that_work() -> None:
    owner = Owner(2).with_workers("a")
    owner("worker:b", LeaseHello("b", 1, "n", "host", 100))
    owner("app", Submit(1, [task(1)]))
    assert owner("app", ResizePool(1, 1)) == [
        ("agent:n", WantLeases(1, 1, True, {})),
        ("app", PoolReady(1)),
    ]
    assert owner("worker:b", SetupDone())[-2:] == [("worker:b", Retire()), ("agent:n", ReturnLease("b"))]


# ------------------------------------------------------------------------------- limited tasks


def test_a_worker_is_looked_at_when_something_there_may_be_overdue_and_not_before() -> None:
    owner = Owner(1).with_workers("a")
    owner("app", Submit(1, [task(1), task(2, limit_s=2.0)]))
    owner.now = 1.9
    assert ("agent:n", LookAt("a")) not in owner("timer", Tick())
    owner.now = 2.0
    assert ("agent:n", LookAt("a")) in owner("timer", Tick())
    assert owner("agent:n", Seen("a", running=1, for_s=2.0)) == [], "the one without a limit runs"
    owner("worker:a", Results([1], ["x"]))
    owner.now = 4.0
    assert ("agent:n", LookAt("a")) in owner("timer", Tick())
    assert owner("agent:n", Seen("a", running=2, for_s=1.5)) == [], "it has half a second left"
    owner.now = 4.4
    assert owner("timer", Tick()) == []
    owner.now = 4.5
    assert owner("timer", Tick()) == [("agent:n", LookAt("a"))]


def test_a_worker_that_is_gone_is_looked_at_no_more() -> None:
    owner = Owner(1).with_workers("a")
    owner("app", Submit(1, [task(1, limit_s=3600.0)]))
    owner("agent:n", WorkerDied("a", 1, KILLED, 1))
    assert not owner.core.leasing.timed


def test_a_look_that_is_not_answered_is_repeated() -> None:
    owner = Owner(1).with_workers("a")
    owner("app", Submit(1, [task(1, limit_s=2.0)]))
    owner.now = 2.0
    assert owner("timer", Tick()) == [("agent:n", LookAt("a"))]
    owner.now = 2.5
    assert owner("timer", Tick()) == [("agent:n", LookAt("a"))]
    owner("worker:a", Results([1], ["x"]))
    owner.now = 3.0
    assert owner("timer", Tick()) == [], "nothing is there any more"


def test_an_overdue_task_is_told_at_once_and_its_worker_killed_after_the_grace() -> None:
    owner = Owner(1).with_workers("a")
    one, two = task(1, limit_s=2.0), task(2)
    owner("app", Submit(1, [one, two]))
    owner.now = 2.0
    owner("timer", Tick())
    told = [("app", Failed(one, overdue=True)), ("control:a", Interrupt(1))]
    assert owner("agent:n", Seen("a", running=1, for_s=2.0)) == told
    assert one.payload is not None, "its worker may be reading it"
    owner("control:a", Recalled((2,), running=1))
    owner.now = 3.0
    [(to, kill)] = [(to, m) for to, m in owner("timer", Tick()) if isinstance(m, KillWorker)]
    assert (to, kill.only) == ("agent:n", 1)
    assert [m for _, m in owner("agent:n", WorkerDied("a", 1, KILLED, running=1))] == [
        WorkerGone(1, "a", 100, -9)
    ], "told once, never run again"
    assert one.payload is None
    owner.with_workers("b")
    assert (two.lease is not None, one.attempt) == (True, 1), "the other one runs there, and it alone"


def test_what_an_overdue_task_returns_counts_for_nobody() -> None:
    owner = Owner(1).with_workers("a")
    one = task(1, limit_s=2.0)
    owner("app", Submit(1, [one]))
    owner.now = 2.0
    owner("timer", Tick())
    owner("agent:n", Seen("a", running=1, for_s=2.0))
    assert owner("worker:a", Results([1], ["late"])) == []
    assert one.payload is None
    owner.now = 9.0
    assert owner("timer", Tick()) == []


def test_a_kill_that_met_another_attempt_charges_nobody() -> None:
    owner = Owner(1).with_workers("a")
    one, two = task(1, limit_s=2.0), task(2, retries=1)
    owner("app", Submit(1, [one, two]))
    owner.now = 2.0
    owner("timer", Tick())
    owner("agent:n", Seen("a", running=1, for_s=2.0))
    killed = Death(100, "host", 9, -9, reason="its task ran for longer than its time-out and did not stop")
    owner("agent:n", WorkerDied("a", 1, killed, running=2))
    assert (two.retries, two.lease) == (1, None), "it waits for another worker, uncharged"


def test_a_pool_closes_when_the_worker_is_rid_of_what_is_overdue() -> None:
    owner = Owner(1).with_workers("a")
    owner("app", Submit(1, [task(1, limit_s=2.0)]))
    owner("app", ClosePool(1))
    owner.now = 2.0
    owner("timer", Tick())
    owner("agent:n", Seen("a", running=1, for_s=2.0))
    assert ("agent:n", DropPool(1, False)) in owner("worker:a", Results([], [], [(1, b"interrupted")]))


def test_terminate_tells_nobody_twice() -> None:
    owner = Owner(1).with_workers("a")
    owner("app", Submit(1, [task(1, limit_s=2.0)]))
    owner.now = 2.0
    owner("timer", Tick())
    owner("agent:n", Seen("a", running=1, for_s=2.0))
    assert owner("app", TerminatePool(1)) == [("agent:n", DropPool(1, True))]


def test_a_worker_that_is_too_big_is_replaced_and_what_it_had_runs_elsewhere() -> None:
    owner = Owner(2, memory_bytes_max=1000)
    assert ("worker:a", Setup(b"setup", 1000)) in owner("worker:a", LeaseHello("a", 1, "n", "host", 100))
    owner("worker:a", SetupDone())
    owner("app", Submit(1, [task(1), task(2)]))
    owner("worker:a", Results([1], ["x"]))
    assert owner("worker:a", WornOut((2,))) == [("worker:a", Retire()), ("agent:n", ReturnLease("a"))]
    owner("worker:b", LeaseHello("b", 1, "n", "host", 101))
    [(to, again)] = owner("worker:b", SetupDone())
    assert to == "worker:b"
    assert again.payloads == [[2]]


def test_a_lost_node_repeats_its_tasks_uncharged_on_the_next_one() -> None:
    owner = Owner(1).with_workers("a")
    one = task(1)
    owner("app", Submit(1, [one]))
    assert owner("links", NodeLost("n", "its agent died")) == [("app", WorkerGone(1, "a", 100, 0))]
    assert one.retries == 2
    assert owner("agent:m", AgentWelcome("m", 11, "host", 2.0, {})) == [
        ("agent:m", WantLeases(1, 1, True, {}))
    ]


def test_a_cluster_lost_for_good_breaks_every_pool() -> None:
    owner = Owner(1)
    one = task(1)
    owner("app", Submit(1, [one]))
    out = owner("links", ClusterLost("no agent"))
    assert out[:2] == [
        ("app", PoolBroken(1, None, None, "no agent")),
        ("app", Failed(one, None, None, "no agent")),
    ]
    assert out[-1] == ("app", PoolGone(1))


def test_a_cluster_lost_for_good_ends_each_pool_once() -> None:
    owner = Owner(1).with_workers("a")
    owner("app", OpenPool(2, 1, b"setup"))
    owner("app", ClosePool(2))
    owner("app", OpenPool(3, 1, b"setup"))
    owner("app", TerminatePool(3))
    owner("links", NodeLost("n", "its agent died"))
    out = owner("links", ClusterLost("no agent"))
    assert [type(m) for _, m in out] == [PoolBroken, PoolGone, PoolBroken, PoolGone]
    assert set(owner.core.pools) == {1}


def test_leases_are_asked_for_where_the_agent_points() -> None:
    owner = Owner(3)
    out = owner("agent:n", LeaseElsewhere(1, 2, "m", "tcp://m", 3))
    assert out[0] == ("agent:n", WantLeases(1, 1, True, {}))
    assert owner("agent:m", AgentWelcome("m", 11, "host", 2.0, {})) == [
        ("agent:m", WantLeases(1, 2, True, {}, spilled=True))
    ]


def test_a_refused_pool_is_broken_with_the_reason() -> None:
    owner = Owner(1)
    assert owner("agent:n", LeaseRefused(1, "no GPU anywhere"))[0] == (
        "app",
        PoolBroken(1, None, None, "no GPU anywhere", "unschedulable"),
    )


def test_a_shared_pool_wants_no_more_leases_than_it_has_tasks_for() -> None:
    owner = Owner(8, dedicated=False)
    assert owner("app", Submit(1, [task(1)])) == [("agent:n", WantLeases(1, 1, False, {}))]
    out = owner("app", Submit(1, [task(n) for n in range(20)]))
    assert out == [("agent:n", WantLeases(1, 8, False, {}))]
