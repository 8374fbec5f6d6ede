"""NodeCore: who gets which resources, in which order, here or elsewhere; and its dealings with the head."""

from __future__ import annotations

import msgspec
import pytest

from distpool.scheduler.cores.node import NodeCore
from distpool.scheduler.limits import DEFAULTS
from distpool.scheduler.messages import (
    Answered,
    Asked,
    Blocked,
    Death,
    Exited,
    FactsQuery,
    FactsReport,
    Fork,
    HeadUp,
    KeyAnswer,
    KeyGet,
    KeyPut,
    LeaseElsewhere,
    LeaseRefused,
    LinkLost,
    Message,
    NodeFacts,
    NodeHello,
    NodeLost,
    NodeReport,
    NodeWelcome,
    OwnerBye,
    OwnerGone,
    OwnerHello,
    Pressed,
    Reclaim,
    Tick,
    View,
    WakeAt,
    WantLeases,
    WorkerHello,
)

LEFT = Death(pid=0, host="host", signal=0, exit_code=0)
CPU = {"CPU": 1.0}


class Node:
    def __init__(self, total: dict[str, float], *, has_port: bool = False, **limits: object) -> None:
        self.limits = msgspec.structs.replace(DEFAULTS, heartbeat_s=float("inf"), **limits)
        self.core = NodeCore("n", "host", 1, "ipc://n", total, self.limits, has_port=has_port)
        self.now = 0.0
        self.tell("timer", Tick())

    def tell(self, sender: str, message: Message) -> list[tuple[str, Message]]:
        out = self.core.receive(sender, message, self.now)
        self.core.check()
        return [(to, m) for to, m in out if not isinstance(m, WakeAt)]

    def hello(self, *owners: str) -> None:
        for owner in owners:
            self.tell(f"owner:{owner}", OwnerHello(owner, 7, 1, f"ipc://{owner}"))

    def want(
        self, owner: str, count: int, resources: dict[str, float], pool: int = 1, *, spilled: bool = False
    ) -> list[tuple[str, Message]]:
        return self.tell(f"owner:{owner}", WantLeases(pool, count, False, resources, spilled))

    def leaves(self, worker: int) -> list[tuple[str, Message]]:
        return self.tell("nursery", Exited(worker, LEFT))

    def starts(self, *workers: int) -> None:
        for worker in workers:
            self.tell(f"process:{worker}", WorkerHello(worker, 100 + worker))

    def view(self, *nodes: NodeFacts, version: int = 1) -> list[tuple[str, Message]]:
        mine = NodeFacts("n", "ipc://n", {}, {})
        return self.tell("head", View(version, (mine, *nodes)))


def forks(out: list[tuple[str, Message]]) -> list[tuple[str, int]]:
    """(owner, pool) of every fork in what was sent."""
    return [(m.attach.owner, m.attach.pool) for _, m in out if isinstance(m, Fork) and m.attach]


def facts(node: str, cpus: float, free: float | None = None, **more: float) -> NodeFacts:
    total = {"CPU": cpus, **more}
    return NodeFacts(node, f"tcp://{node}", total, {**total, "CPU": cpus if free is None else free})


def test_no_more_is_granted_than_there_is_and_the_rest_follows_when_it_is_free() -> None:
    node = Node({"CPU": 2})
    node.hello("o")
    assert forks(node.want("o", 3, CPU)) == [("o", 1)] * 2
    node.starts(1, 2)
    node.want("o", 2, CPU)
    assert forks(node.leaves(1)) == [("o", 1)]


def test_fractions_add_up_exactly() -> None:
    node = Node({"CPU": 1})
    node.hello("o")
    assert len(forks(node.want("o", 11, {"CPU": 0.1}))) == 10
    assert node.core.free == {"CPU": 0}


def test_owners_take_turns() -> None:
    node = Node({"CPU": 4})
    node.hello("a", "b", "c")
    node.want("a", 4, CPU)
    node.starts(1, 2, 3, 4)
    node.want("b", 2, CPU)
    node.want("a", 8, CPU)
    node.want("c", 1, CPU)
    served = [forks(node.leaves(worker))[0][0] for worker in (1, 2, 3, 4)]
    assert served == ["b", "a", "c", "b"]


def test_a_big_request_is_not_starved_by_small_ones_behind_it() -> None:
    node = Node({"CPU": 2})
    node.hello("a", "b")
    node.want("a", 2, CPU)
    node.starts(1, 2)
    node.want("b", 1, {"CPU": 2})
    node.want("a", 3, CPU)
    assert forks(node.leaves(1)) == []
    assert forks(node.leaves(2)) == [("b", 1)]


def test_what_an_earlier_request_does_not_need_goes_to_later_ones() -> None:
    node = Node({"CPU": 1, "GPU": 1})
    node.hello("a", "b")
    node.want("a", 1, CPU)
    node.want("a", 2, CPU)
    assert forks(node.want("b", 1, {"GPU": 1})) == [("b", 1)]


def test_a_node_without_room_points_to_one_with_room_for_as_many_as_fit_there() -> None:
    node = Node({"CPU": 1})
    node.hello("o")
    node.view(facts("big", 8, free=2), facts("busy", 8, free=0), facts("small", 1))
    assert node.want("o", 6, CPU)[1:] == [
        ("owner:o", LeaseElsewhere(1, 2, "big", "tcp://big", 6)),
        ("owner:o", LeaseElsewhere(1, 1, "small", "tcp://small", 4)),
    ]
    # The owner moves those three; what is left waits here.
    assert node.want("o", 3, CPU) == []
    assert len(node.core.hungry) == 1


def test_a_request_that_was_sent_on_already_waits_here() -> None:
    node = Node({"CPU": 1})
    node.hello("o")
    node.view(facts("big", 8))
    assert forks(node.want("o", 2, CPU, spilled=True)) == [("o", 1)]
    assert node.want("o", 2, CPU, spilled=True) == []


def test_what_this_node_never_has_is_asked_of_one_that_has_even_if_that_is_busy() -> None:
    node = Node({"CPU": 1})
    node.hello("o")
    node.view(NodeFacts("g", "tcp://g", {"CPU": 1, "GPU": 1}, {"CPU": 0, "GPU": 0}))
    assert node.want("o", 2, {"GPU": 1}) == [("owner:o", LeaseElsewhere(1, 2, "g", "tcp://g", 2))]


def test_what_nobody_has_is_refused_by_name() -> None:
    node = Node({"CPU": 1})
    node.hello("o")
    node.view(facts("m", 4))
    reason = "each worker asks for CPU 8, and no node has that: n has CPU 1; m has CPU 4; ask for less, or add a node"
    assert node.want("o", 1, {"CPU": 8}) == [("owner:o", LeaseRefused(1, reason))]
    assert not node.core.hungry


def test_where_others_may_join_what_nobody_has_is_waited_for_before_it_is_refused() -> None:
    node = Node({"CPU": 2.0}, has_port=True)
    node.hello("o")
    node.tell("head", View(1, (), ()))
    assert node.want("o", 1, {"GPU": 1.0}) == []
    node.now += node.limits.join_patience_s - 0.1
    assert node.want("o", 2, {"GPU": 1.0}) == [], "and who asks for more does not begin anew"
    node.now += 0.2
    ((to, refused),) = node.tell("timer", Tick())
    assert to == "owner:o"
    assert isinstance(refused, LeaseRefused)
    assert "each worker asks for GPU 1, and no node has that" in refused.reason


def test_a_node_that_joins_in_time_gets_it() -> None:
    node = Node({"CPU": 2.0}, has_port=True)
    node.hello("o")
    node.tell("head", View(1, (), ()))
    assert node.want("o", 1, {"GPU": 1.0}) == []
    node.now += 1.0
    other = NodeFacts("m", "tcp://m", {"GPU": 1.0}, {"GPU": 1.0}, {}, "host")
    said = node.tell("head", View(2, (other,), ()))
    assert [(m.node, m.count) for _, m in said if isinstance(m, LeaseElsewhere)] == [("m", 1)]


def test_nothing_is_refused_before_the_head_has_told_who_there_is() -> None:
    node = Node({"CPU": 1})
    node.hello("o")
    assert node.want("o", 1, {"GPU": 1}) == []
    assert node.view(facts("g", 1, GPU=1)) == [("owner:o", LeaseElsewhere(1, 1, "g", "tcp://g", 1))]


def test_a_head_that_stays_silent_is_not_waited_for_for_ever() -> None:
    node = Node({"CPU": 1})
    node.hello("o")
    node.want("o", 1, {"GPU": 1})
    node.now = 10.0
    (told,) = node.tell("timer", Tick())
    assert told[0] == "owner:o"
    assert isinstance(told[1], LeaseRefused)


@pytest.mark.parametrize("amount", [-1.0, float("nan"), float("inf")])
def test_amounts_that_make_no_sense_are_refused(amount: float) -> None:
    node = Node({"CPU": 1})
    node.hello("o")
    ((to, refused),) = node.want("o", 1, {"CPU": amount})
    assert to == "owner:o"
    assert isinstance(refused, LeaseRefused)
    assert "CPU" in refused.reason


# ------------------------------------------------------------------------------- waiting parents


def nest(node: Node, worker: int) -> str:
    """The worker's own owner."""
    name = f"w{worker}"
    node.tell(f"owner:{name}", OwnerHello(name, 100 + worker, 1, f"ipc://{name}", node="n", worker=worker))
    return name


def test_a_worker_that_waits_for_its_children_lends_them_its_cpu() -> None:
    node = Node({"CPU": 1})
    node.hello("o")
    node.want("o", 1, CPU)
    node.starts(1)
    child = nest(node, 1)
    assert node.want(child, 1, CPU) == [("owner:o", Pressed(True))]
    assert forks(node.tell(f"owner:{child}", Blocked("n.1.1", True))) == [(child, 1)]


def test_a_worker_that_waits_no_more_is_the_first_to_get_a_cpu_again() -> None:
    node = Node({"CPU": 1})
    node.hello("o", "other")
    node.want("o", 1, CPU)
    node.starts(1)
    child = nest(node, 1)
    node.want(child, 1, CPU)
    node.tell(f"owner:{child}", Blocked("n.1.1", True))
    node.starts(2)
    node.want("other", 1, CPU)
    node.want(child, 0, CPU)
    node.tell(f"owner:{child}", Blocked("n.1.1", False))
    assert forks(node.leaves(2)) == []
    assert node.core.leases["n.1.1"].charged
    node.want("o", 0, CPU)
    assert forks(node.leaves(1)) == [("other", 1)]


def tick(node: Node, later_s: float) -> list[tuple[str, Message]]:
    node.now += later_s
    return node.tell("timer", Tick())


def test_one_that_goes_on_without_what_it_takes_is_reclaimed_after_a_turn_until_it_is_paid() -> None:
    node = Node({"CPU": 1})
    node.hello("o")
    node.want("o", 1, CPU)
    node.starts(1)
    child = nest(node, 1)
    node.want(child, 1, CPU)
    node.tell(f"owner:{child}", Blocked("n.1.1", True))
    node.starts(2)
    node.tell(f"owner:{child}", Blocked("n.1.1", False))
    turn_s = DEFAULTS.turn_s
    reclaim = ("owner:o", Reclaim("n.1.1"))
    assert reclaim not in tick(node, turn_s / 2)
    assert reclaim in tick(node, turn_s)
    assert reclaim in tick(node, turn_s)
    node.want(child, 0, CPU)
    node.leaves(2)
    assert node.core.leases["n.1.1"].charged
    assert reclaim not in tick(node, turn_s)


def test_chains_of_waiting_workers_are_bounded_and_the_error_names_the_chain() -> None:
    node = Node({"CPU": 1}, nested_workers_per_cpu_max=2)
    node.hello("o")
    owner = "o"
    for worker in (1, 2):
        assert forks(node.want(owner, 1, CPU)) == [(owner, 1)] or worker > 1
        node.starts(worker)
        child = nest(node, worker)
        node.want(child, 1, CPU)
        assert forks(node.tell(f"owner:{child}", Blocked(f"n.1.{worker}", True))) == [(child, 1)]
        owner = child
    node.starts(3)
    deepest = nest(node, 3)
    node.want(deepest, 1, CPU)
    said = node.tell(f"owner:{deepest}", Blocked("n.1.3", True))
    ((to, refused),) = [(to, message) for to, message in said if not isinstance(message, Pressed)]
    assert to == "owner:w3"
    assert refused == LeaseRefused(
        1,
        "tasks wait for tasks that they started, 2 workers at once on this node, and no more may. "
        "Where a task returns the references of what it started instead of waiting for it, it takes no worker "
        "meanwhile. The chain: "
        "w3 <- w2 (lease n.1.3, pid 103) <- w1 (lease n.1.2, pid 102) <- o (lease n.1.1, pid 101)",
    )


def test_the_death_of_a_waiting_worker_gives_back_nothing_twice() -> None:
    node = Node({"CPU": 1})
    node.hello("o")
    node.want("o", 1, CPU)
    node.starts(1)
    node.want("o", 0, CPU)
    node.tell("owner:o", Blocked("n.1.1", True))
    node.leaves(1)
    assert node.core.free == node.core.total


# -------------------------------------------------------------------------------------- the head


def test_the_first_tick_introduces_the_node() -> None:
    core = NodeCore("n", "host", 1, "ipc://n", {"CPU": 2}, DEFAULTS, {"zone": "a"}, incarnation=4)
    mine = NodeFacts("n", "ipc://n", {"CPU": 2.0}, {"CPU": 2.0}, {"zone": "a"}, "host")
    assert core.receive("timer", Tick(), 0.0) == [("head", NodeHello(4, mine)), ("timer", WakeAt(2.0))]


def test_changed_resources_are_reported_soon_but_many_changes_once() -> None:
    node = Node({"CPU": 4})
    node.hello("o")
    node.tell("head", NodeWelcome(1, True))
    node.now = 0.2
    assert node.want("o", 1, CPU)[-1] == ("head", NodeReport(1, {"CPU": 3.0}, 0))
    assert forks(node.want("o", 2, CPU)) == [("o", 1)]
    assert forks(node.want("o", 6, CPU)) == [("o", 1)] * 2
    node.now = 0.3001
    assert node.tell("timer", Tick()) == [("head", NodeReport(1, {"CPU": 0.0}, 2))]


def test_a_node_that_the_head_lost_introduces_itself_again() -> None:
    node = Node({"CPU": 4})
    node.tell("head", NodeWelcome(1, True))
    mine = NodeFacts("n", "ipc://n", {"CPU": 4.0}, {"CPU": 4.0}, host="host")
    not_known = NodeWelcome(1, False, "not known", again=True)
    assert node.tell("head", not_known) == [("head", NodeHello(1, mine))]
    assert node.tell("head", not_known) == [], "each report of a long silence is answered like that"
    assert node.core.head.refusal == ""
    assert node.tell("head", NodeWelcome(1, False, "name taken")) == []
    assert node.core.head.refusal == "name taken"
    assert node.tell("head", LinkLost()) == [("head", NodeHello(1, mine))]


def test_a_node_whose_clock_has_gone_back_begins_as_the_next_start_of_its_name() -> None:
    node = Node({"CPU": 4})
    mine = NodeFacts("n", "ipc://n", {"CPU": 4.0}, {"CPU": 4.0}, host="host")
    later = NodeWelcome(1, False, "a later start of node n has joined already", latest=7)
    assert node.tell("head", later) == [("head", NodeHello(8, mine))]
    assert node.core.head.refusal == ""
    assert node.tell("head", later) == [], "that is not meant for this one any more"
    node.tell("head", NodeWelcome(8, True))
    assert node.core.incarnation == 8
    assert node.tell("head", NodeWelcome(8, False, "one has begun since", latest=9)) == []
    assert node.core.head.refusal == "one has begun since", "who has joined before is the earlier one"


def test_an_old_view_is_ignored() -> None:
    node = Node({"CPU": 1})
    node.view(facts("a", 1), version=5)
    node.view(version=4)
    assert set(node.core.head.others) == {"a"}


# ----------------------------------------------------------------------- what owners ask the head


def test_what_an_owner_asks_the_head_goes_there_and_the_answer_comes_back() -> None:
    node = Node({"CPU": 1})
    node.hello("o")
    node.tell("head", NodeWelcome(1, True))
    assert node.tell("owner:o", KeyGet(7, "k")) == [("head", Asked("o", KeyGet(7, "k"), 7))]
    assert node.tell("head", Answered("o", KeyAnswer(7, b"1"))) == [("owner:o", KeyAnswer(7, b"1"))]
    assert node.tell("head", Answered("o", KeyAnswer(7, b"1"))) == [], "it has its answer"


def test_what_the_head_has_not_answered_is_asked_again_when_it_is_back() -> None:
    node = Node({"CPU": 1})
    node.hello("o", "p")
    assert node.tell("owner:o", FactsQuery(1)) == [], "the head has not taken us in yet"
    asked = ("head", Asked("o", FactsQuery(1), 1))
    assert node.tell("head", NodeWelcome(1, True)) == [asked]
    node.tell("owner:p", FactsQuery(1))
    node.tell("owner:p", OwnerBye())
    node.tell("head", LinkLost())
    assert node.tell("head", NodeWelcome(1, True)) == [asked]
    assert node.tell("head", NodeWelcome(1, True)) == []
    node.tell("owner:o", LinkLost())
    assert node.tell("head", Answered("o", FactsReport(1, "", (), ()))) == []
    assert not node.core.head.asked


def test_the_head_is_told_of_the_end_of_an_owner_in_whose_name_it_keeps_something() -> None:
    node = Node({"CPU": 1})
    node.hello("o", "p", "q")
    node.tell("head", NodeWelcome(1, True))
    node.tell("owner:o", KeyPut(1, "k", b"", owner="o"))
    node.tell("owner:p", KeyPut(1, "l", b"", owner="q"))
    assert node.tell("owner:p", OwnerBye()) == [("head", OwnerGone("p"))], "it remembers what that was told"
    gone = [("head", OwnerGone("o"))]
    assert node.tell("owner:o", LinkLost()) == gone
    assert node.tell("owner:q", OwnerBye()) == [("head", OwnerGone("q"))]
    node.hello("r")
    put = KeyPut(1, "m", b"", owner="o")
    assert node.tell("owner:r", put) == [("head", Asked("r", put, 1)), *gone], "it has ended before"


OTHER = NodeFacts("m", "tcp://m", CPU, CPU)


def test_a_head_that_is_up_again_is_told_whose_things_it_has_kept_and_what_was_not_answered() -> None:
    node = Node({"CPU": 1})
    node.hello("o", "p", "q")
    node.tell("head", NodeWelcome(1, True, epoch=4))
    node.tell("head", View(3_000_000_001, (OTHER,)))
    node.tell("owner:o", KeyPut(5, "k", b"", owner="o"))
    node.tell("owner:p", KeyPut(1, "l", b"", owner="p"))
    node.tell("owner:p", OwnerBye())
    ((to, hello),) = node.tell("head", HeadUp())
    assert isinstance(hello, NodeHello)
    assert (to, hello.claimants, hello.epoch) == ("head", ("o",), 4)
    node.tell("owner:q", KeyGet(2, "k"))
    assert node.tell("head", NodeWelcome(1, True, epoch=5)) == [
        ("head", Asked("o", KeyPut(5, "k", b"", owner="o"), 5)),
        ("head", Asked("q", KeyGet(2, "k"), 2)),
    ]


def test_the_first_view_of_a_head_that_is_up_again_tells_who_was_lost_meanwhile() -> None:
    node = Node({"CPU": 1})
    node.hello("o")
    node.tell("head", NodeWelcome(1, True, epoch=1))
    node.tell("head", View(1, (OTHER,)))
    node.core.owners["o"].pointed.add(OTHER.node)
    node.tell("head", HeadUp())
    node.tell("head", NodeWelcome(1, True, epoch=2))
    ((to, lost),) = node.tell("head", View(1_000_000_001, ()))
    assert to == "owner:o"
    assert isinstance(lost, NodeLost)


def test_a_worker_s_keys_go_with_the_worker() -> None:
    node = Node({"CPU": 1})
    node.hello("o")
    node.tell("head", NodeWelcome(1, True))
    node.want("o", 1, CPU)
    node.starts(1)
    name = nest(node, 1)
    node.tell(f"owner:{name}", KeyPut(1, "k", b"", owner=name))
    assert ("head", OwnerGone(name)) in node.leaves(1)
