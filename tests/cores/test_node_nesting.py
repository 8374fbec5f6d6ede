"""NodeCore: tasks that wait for tasks that they have started, in more than one line."""

from __future__ import annotations

from distpool.scheduler.limits import DEFAULTS
from distpool.scheduler.messages import Blocked, LeaseRefused, MemoryScarce
from tests.cores.test_node_resources import CPU, Node, forks, nest, tick


def test_the_deepest_that_is_waited_for_comes_first() -> None:
    node = Node({"CPU": 1})
    node.hello("o")
    node.want("o", 1, CPU)
    node.starts(1)
    node.want("o", 8, CPU)  # the driver has waited longer
    child = nest(node, 1)
    node.want(child, 1, CPU)
    assert forks(node.tell(f"owner:{child}", Blocked("n.1.1", True))) == [(child, 1)]


def test_who_does_not_wait_has_no_precedence() -> None:
    node = Node({"CPU": 2})
    node.hello("o")
    node.want("o", 2, CPU)
    node.starts(1, 2)
    node.want("o", 3, CPU)
    child = nest(node, 1)  # say, an actor that submits tasks and goes on
    node.want(child, 1, CPU)
    node.want("o", 2, CPU)
    node.want("o", 3, CPU)
    assert forks(node.leaves(2)) == [(child, 1)]  # its turn: the driver wanted last
    node.want(child, 0, CPU)


def test_with_all_loans_given_a_task_waits_while_another_runs() -> None:
    node = Node({"CPU": 2}, nested_workers_per_cpu_max=1)
    node.hello("o")
    node.want("o", 2, CPU)
    node.starts(1, 2)
    owners = {}
    for worker in (1, 2):
        owners[worker] = nest(node, worker)
        node.want(owners[worker], 1, CPU)
        assert forks(node.tell(f"owner:{owners[worker]}", Blocked(f"n.1.{worker}", True))) == [
            (owners[worker], 1)
        ]
    node.starts(3, 4)
    third = nest(node, 3)
    node.want(third, 1, CPU)
    said = node.tell(f"owner:{third}", Blocked("n.1.3", True))
    assert not any(isinstance(message, LeaseRefused) for _, message in said), "the fourth still runs"
    node.want(owners[2], 0, CPU)
    assert forks(node.leaves(4)) == [(third, 1)], "what that had is free"


def test_and_lends_its_own_when_another_loan_has_ended() -> None:
    node = Node({"CPU": 1}, nested_workers_per_cpu_max=1)
    node.hello("o", "other")
    node.want("o", 1, CPU)
    node.starts(1)
    child = nest(node, 1)
    node.want(child, 1, CPU)
    node.tell(f"owner:{child}", Blocked("n.1.1", True))
    node.starts(2)
    assert node.core.lending.count() == 1
    grandchild = nest(node, 2)
    node.want("o", 0, CPU)
    node.tell("owner:o", Blocked("n.1.1", False))
    node.tell(f"owner:{grandchild}", Blocked("n.1.2", True))
    assert node.core.leases["n.1.2"].charged, "there is one loan, and it is not given back yet"
    node.leaves(1)
    assert not node.core.leases["n.1.2"].charged


SCARCE, PLENTY = MemoryScarce(True, 1000 << 20, 100 << 20), MemoryScarce(False, 0, 0)


def waiting_for_a_child(node: Node) -> str:
    """On a node of one CPU: a task waits for one that it has started, which nobody runs. Returns its owner."""
    node.hello("o")
    node.want("o", 1, CPU)
    node.starts(1)
    child = nest(node, 1)
    node.want(child, 1, CPU)
    return child


def test_while_memory_is_scarce_nothing_is_lent_and_afterwards_it_is() -> None:
    node = Node({"CPU": 1})
    child = waiting_for_a_child(node)
    node.tell("memory", SCARCE)
    assert node.tell(f"owner:{child}", Blocked("n.1.1", True)) == []
    assert node.core.leases["n.1.1"].charged
    assert forks(node.tell("memory", PLENTY)) == [(child, 1)]


def test_where_it_stays_scarce_the_error_says_so() -> None:
    node = Node({"CPU": 1})
    child = waiting_for_a_child(node)
    node.tell("memory", SCARCE)
    node.tell(f"owner:{child}", Blocked("n.1.1", True))
    assert tick(node, DEFAULTS.node_silent_s / 2) == []
    ((to, refused),) = [
        (to, said) for to, said in tick(node, DEFAULTS.node_silent_s) if isinstance(said, LeaseRefused)
    ]
    assert to == f"owner:{child}"
    assert refused.reason == (
        "tasks wait for tasks that they started, 1 at once on this node, and for more there is no memory: "
        "100 MiB of 1,000 MiB are left. Where a task returns the references of what it started instead of waiting for "
        "it, it takes no worker meanwhile. The chain: w1 <- o (lease n.1.1, pid 101)"
    )


def test_a_long_chain_is_named_by_its_ends() -> None:
    node = Node({"CPU": 1}, nested_workers_per_cpu_max=20)
    node.hello("o")
    owner = "o"
    said = []
    for worker in range(1, 22):
        node.want(owner, 1, CPU)
        node.starts(worker)
        owner = nest(node, worker)
        node.want(owner, 1, CPU)
        said = node.tell(f"owner:{owner}", Blocked(f"n.1.{worker}", True))
    (reason,) = [message.reason for _, message in said if isinstance(message, LeaseRefused)]
    assert " w21 <- w20 (lease n.1.21, pid 121) <- w19" in reason
    assert "<- (14 more) <-" in reason
    assert reason.endswith("<- w1 (lease n.1.2, pid 102) <- o (lease n.1.1, pid 101)")
    assert len(reason) < 700


def test_what_was_lent_before_stays_lent_while_memory_is_scarce() -> None:
    node = Node({"CPU": 1})
    child = waiting_for_a_child(node)
    assert forks(node.tell(f"owner:{child}", Blocked("n.1.1", True))) == [(child, 1)]
    node.tell("memory", SCARCE)
    node.starts(2)
    assert not node.core.leases["n.1.1"].charged
