"""NodeCore: message in, messages out. Leases, levels, deaths, farewells."""

from __future__ import annotations

import msgspec
import pytest

from distpool.scheduler.cores.node import NodeCore
from distpool.scheduler.limits import DEFAULTS
from distpool.scheduler.messages import (
    DRIVER,
    AgentWelcome,
    Attach,
    Death,
    DropPool,
    Exited,
    Fork,
    Forked,
    KillWorker,
    LeaseRefused,
    LinkLost,
    Message,
    OwnerBye,
    OwnerHello,
    PoolDropped,
    Results,
    ReturnLease,
    Signal,
    Tick,
    WakeAt,
    WantLeases,
    WorkerDied,
    WorkerHello,
)

OWNER = "owner:o"
#: No heartbeats, so that a test's wake-ups are its own.
LIMITS = msgspec.structs.replace(DEFAULTS, heartbeat_s=float("inf"), workers_max=8)
KILLED = Death(pid=0, host="host", signal=9, exit_code=-9)
LEFT = Death(pid=0, host="host", signal=0, exit_code=0)


class Node:
    """A core, its invariants checked after every step; wake-ups are kept apart."""

    def __init__(self, total: dict[str, float] | None = None, name: str = "n") -> None:
        self.core = NodeCore(name, "host", 1, "ipc://n", total or {"CPU": 2.0}, LIMITS)
        self.now = 0.0
        self.wake_s: list[float] = []
        self.tell("timer", Tick())

    def tell(self, sender: str, message: Message) -> list[tuple[str, Message]]:
        out = self.core.receive(sender, message, self.now)
        self.core.check()
        self.wake_s += [m.at_s for _, m in out if isinstance(m, WakeAt)]
        return [(to, m) for to, m in out if not isinstance(m, WakeAt) and to != "head"]

    def hello(self, owner: str = "o", incarnation: int = 1, **more: object) -> list[tuple[str, Message]]:
        return self.tell(f"owner:{owner}", OwnerHello(owner, 7, incarnation, f"ipc://{owner}", **more))

    def want(self, count: int, pool: int = 1, owner: str = "o", **shape: object) -> list[tuple[str, Message]]:
        dedicated, resources = shape.pop("dedicated", True), shape.pop("resources", {})
        return self.tell(f"owner:{owner}", WantLeases(pool, count, dedicated, resources, **shape))

    def start(self, worker: int) -> None:
        assert self.tell("nursery", Forked(worker, 100 + worker)) == []
        assert self.tell(f"process:{worker}", WorkerHello(worker, 100 + worker)) == []

    def tick(self, now: float) -> list[tuple[str, Message]]:
        self.now = now
        return self.tell("timer", Tick())


def fork(worker: int, slot: int, pool: int = 1, owner: str = "o", process: int = DRIVER) -> tuple[str, Fork]:
    attach = Attach(f"n.1.{worker}", pool, owner, f"ipc://{owner}", True, process)
    return "nursery", Fork(worker, slot, attach)


def died(worker: int, death: Death = KILLED, pool: int = 1, running: int = 0, **more: object) -> WorkerDied:
    return WorkerDied(f"n.1.{worker}", pool, death, running, **more)


def because(death: Death, reason: str) -> Death:
    return msgspec.structs.replace(death, reason=reason)


def test_an_owner_is_welcomed_with_what_the_node_has() -> None:
    assert Node().hello() == [(OWNER, AgentWelcome("n", 1, "host", 2.0, {"CPU": 2.0}))]


def test_dedicated_leases_cost_no_cpu_and_each_is_a_fresh_fork_that_knows_whom_to_serve() -> None:
    node = Node()
    node.hello()
    assert node.want(3) == [fork(1, 0), fork(2, 1), fork(3, 2)]


def test_saying_the_same_level_again_changes_nothing() -> None:
    node = Node()
    node.hello()
    node.want(1)
    assert node.want(1) == []


def test_a_raised_level_forks_what_is_missing_and_a_lowered_one_takes_nothing_away() -> None:
    node = Node()
    node.hello()
    node.want(1)
    assert node.want(2) == [fork(2, 1)]
    assert node.want(1) == []


def test_a_dead_worker_is_reported_with_what_it_left_and_replaced_because_the_level_stands() -> None:
    node = Node()
    node.hello()
    node.want(1)
    node.start(1)
    left = (Results([41], ["x"]),)
    assert node.tell("nursery", Exited(1, KILLED, running=42, answers=left)) == [
        (OWNER, died(1, running=42, answers=left)),
        fork(2, 0),
    ]


def test_a_returned_lease_counts_no_more_and_its_clean_exit_is_reported_too() -> None:
    node = Node()
    node.hello()
    node.want(1)
    node.start(1)
    assert node.tell(OWNER, ReturnLease("n.1.1")) == [fork(2, 1)]
    assert node.tell("nursery", Exited(1, LEFT)) == [(OWNER, died(1, LEFT))]


def test_a_returned_worker_that_does_not_exit_is_killed_after_the_grace() -> None:
    node = Node()
    node.hello()
    node.want(1)
    node.start(1)
    node.want(0)
    node.now = 3.0
    assert node.tell(OWNER, ReturnLease("n.1.1")) == []
    assert 8.0 in node.wake_s
    assert node.tick(7.9) == []
    assert node.tick(8.0) == [("nursery", Signal(1, 9))]
    reason = "it did not exit within 5 s of being retired"
    assert node.tell("nursery", Exited(1, KILLED)) == [(OWNER, died(1, because(KILLED, reason)))]


def test_a_killed_worker_is_replaced_once_it_is_dead_and_its_death_says_why() -> None:
    node = Node()
    node.hello()
    node.want(1)
    node.start(1)
    assert node.tell(OWNER, KillWorker("n.1.1", "cancelled")) == [("nursery", Signal(1, 9))]
    assert node.tell(OWNER, KillWorker("n.1.1", "again")) == []
    assert node.tell("nursery", Exited(1, KILLED)) == [
        (OWNER, died(1, because(KILLED, "cancelled"))),
        fork(2, 0),
    ]


def test_a_worker_that_exits_before_our_kill_reaches_it_died_of_its_own() -> None:
    node = Node()
    node.hello()
    node.want(1)
    node.start(1)
    node.tell(OWNER, KillWorker("n.1.1", "cancelled"))
    assert node.tell("nursery", Exited(1, LEFT))[0] == (OWNER, died(1, LEFT))


def test_one_owner_cannot_kill_or_return_anothers_worker() -> None:
    node = Node()
    node.hello()
    node.hello("p")
    node.want(1)
    node.start(1)
    assert node.tell("owner:p", KillWorker("n.1.1", "spite")) == []
    assert node.tell("owner:p", ReturnLease("n.1.1")) == []


def test_a_terminated_pool_is_dropped_when_its_last_worker_is_reaped() -> None:
    node = Node()
    node.hello()
    node.want(2)
    node.start(1)
    assert node.tell(OWNER, DropPool(1, kill=True)) == [("nursery", Signal(1, 9)), ("nursery", Signal(2, 9))]
    reason = "its pool was terminated"
    assert node.tell("nursery", Exited(2, KILLED)) == [(OWNER, died(2, because(KILLED, reason)))]
    assert node.tell("nursery", Exited(1, KILLED)) == [
        (OWNER, died(1, because(KILLED, reason))),
        (OWNER, PoolDropped(1)),
    ]


def test_a_closed_pools_workers_may_leave_by_themselves_but_not_take_for_ever() -> None:
    node = Node()
    node.hello()
    node.want(2)
    node.start(1)
    node.start(2)
    assert node.tell(OWNER, DropPool(1, kill=False)) == []
    assert node.tell("nursery", Exited(1, LEFT)) == [(OWNER, died(1, LEFT))]
    assert node.tick(5.0) == [("nursery", Signal(2, 9))]
    assert node.tell("nursery", Exited(2, KILLED))[-1] == (OWNER, PoolDropped(1))


def test_a_closed_pools_worker_that_has_not_said_hello_is_not_waited_for() -> None:
    node = Node()
    node.hello()
    node.want(1)
    assert node.tell(OWNER, DropPool(1, kill=False)) == [("nursery", Signal(1, 9))]


def test_terminate_after_close_kills_what_is_still_leaving() -> None:
    node = Node()
    node.hello()
    node.want(1)
    node.start(1)
    node.tell(OWNER, DropPool(1, kill=False))
    assert node.tell(OWNER, DropPool(1, kill=True)) == [("nursery", Signal(1, 9))]


def test_a_pool_that_never_had_workers_here_is_dropped_at_once() -> None:
    node = Node()
    node.hello()
    assert node.tell(OWNER, DropPool(9, kill=False)) == [(OWNER, PoolDropped(9))]
    node.want(0, pool=8)
    assert node.tell(OWNER, DropPool(8, kill=True)) == [(OWNER, PoolDropped(8))]


def test_a_worker_that_never_says_hello_is_killed() -> None:
    node = Node()
    node.hello()
    node.want(1)
    assert node.tick(29.9) == []
    assert node.tick(30.0) == [("nursery", Signal(1, 9))]


def test_workers_that_die_at_birth_are_forked_again_ever_more_slowly() -> None:
    node = Node()
    node.hello()
    node.want(1)
    for worker in (1, 2):
        assert node.tell("nursery", Exited(worker, KILLED)) == [(OWNER, died(worker)), fork(worker + 1, 0)]
    assert node.tell("nursery", Exited(3, KILLED)) == [(OWNER, died(3))]
    assert node.tick(0.09) == []
    assert node.tick(0.1) == [fork(4, 0)]
    assert node.tell("nursery", Exited(4, KILLED)) == [(OWNER, died(4))]
    assert node.tick(0.29) == []
    assert node.wake_s[-1] == pytest.approx(0.3)
    assert node.tick(node.wake_s[-1]) == [fork(5, 0)]
    node.start(5)
    assert node.tell("nursery", Exited(5, KILLED)) == [(OWNER, died(5)), fork(6, 0)]


@pytest.mark.parametrize("farewell", [OwnerBye(), LinkLost()])
def test_all_that_a_gone_owner_had_is_killed_and_nothing_is_told_to_it(farewell: Message) -> None:
    node = Node()
    node.hello()
    node.want(1)
    node.want(1, pool=2)
    assert node.tell(OWNER, farewell) == [("nursery", Signal(1, 9)), ("nursery", Signal(2, 9))]
    assert node.tell("nursery", Exited(1, KILLED)) == []
    assert node.tell("nursery", Exited(2, KILLED)) == []
    assert node.want(3) == []
    node.tick(60.0)
    assert not node.core.owners
    assert not node.core.workers
    assert not node.core.deadlines.at_s


def test_an_owner_that_is_a_worker_dies_with_it() -> None:
    node = Node()
    node.hello()
    node.want(1)
    node.start(1)
    node.hello("nested", node="n", worker=1)
    assert node.want(1, owner="nested") == [fork(2, 1, owner="nested", process=1)]
    assert node.tell("nursery", Exited(1, KILLED)) == [
        ("nursery", Signal(2, 9)),
        (OWNER, died(1)),
        fork(3, 0),
    ]
    node.tell("nursery", Exited(2, KILLED))
    assert set(node.core.owners) == {"o"}
    assert node.hello("nested", 2, node="n", worker=1) == []


def test_a_worker_whose_own_link_was_lost_first_takes_what_it_owned_with_it() -> None:
    node = Node()
    node.hello()
    node.want(1)
    node.start(1)
    node.hello("nested", node="n", worker=1)
    node.want(1, owner="nested")
    assert node.tell("owner:nested", LinkLost()) == [("nursery", Signal(2, 9))]
    node.want(0)
    assert node.tell("nursery", Exited(1, KILLED)) == [(OWNER, died(1))]
    assert node.tell("nursery", Exited(2, KILLED)) == []
    assert set(node.core.owners) == {"o"}


def test_a_lost_owner_that_comes_back_is_told_what_became_of_its_leases() -> None:
    node = Node()
    node.hello()
    node.want(2)
    node.start(1)
    node.start(2)
    node.tell(OWNER, LinkLost())
    assert node.tell("nursery", Exited(1, KILLED, running=5)) == []
    back = node.hello(incarnation=2, held=("n.1.1", "n.1.2"))
    gone = because(KILLED, "its owner is gone")
    assert back == [
        (OWNER, AgentWelcome("n", 1, "host", 2.0, {"CPU": 2.0})),
        (OWNER, died(1, gone, running=5)),
    ]
    assert node.want(2) == [fork(3, 0), fork(4, 2)]
    assert node.tell("nursery", Exited(2, KILLED, running=6)) == [(OWNER, died(2, gone, running=6))]


def test_an_owner_back_on_a_new_link_keeps_what_it_holds_loses_the_rest_and_learns_what_is_unknown() -> None:
    node = Node()
    node.hello()
    node.want(2)
    node.start(1)
    node.start(2)
    back = node.hello(incarnation=2, held=("n.1.2", "n.1.77", "other.1.1"))
    unknown = Death(0, "host", 0, 0, reason="its node does not know it any more")
    assert back[1:] == [
        ("nursery", Signal(1, 9)),
        (OWNER, WorkerDied("n.1.77", 0, unknown, 0, certain=False)),
    ]
    assert node.want(2) == [fork(3, 2)]


def test_a_late_hello_of_an_earlier_link_changes_nothing() -> None:
    node = Node()
    node.hello(incarnation=2)
    node.want(1)
    assert node.hello(incarnation=1) == []
    assert node.hello(incarnation=2) == []


def test_slots_are_used_again_lowest_first() -> None:
    node = Node()
    node.hello()
    node.want(3)
    node.want(0)
    for worker in (3, 1):
        node.start(worker)
        node.tell("nursery", Exited(worker, LEFT))
    assert node.want(3) == [fork(4, 0), fork(5, 2)]


def test_more_workers_than_a_node_may_run_are_refused_by_number() -> None:
    node = Node()
    node.hello()
    reason = "9 workers were asked for, and a node runs at most 8; ask for fewer"
    assert node.want(9) == [(OWNER, LeaseRefused(1, reason))]


def test_a_second_pool_waits_for_slots_and_gets_them() -> None:
    node = Node()
    node.hello()
    node.want(8)
    assert node.want(1, pool=2) == []
    node.want(7)
    node.start(1)
    assert node.tell("nursery", Exited(1, LEFT)) == [(OWNER, died(1, LEFT)), fork(9, 0, pool=2)]


def test_a_death_said_twice_is_told_once() -> None:
    node = Node()
    node.hello()
    node.want(1)
    node.start(1)
    node.want(0)
    assert node.tell("nursery", Exited(1, KILLED)) == [(OWNER, died(1))]
    assert node.tell("nursery", Exited(1, KILLED)) == []
