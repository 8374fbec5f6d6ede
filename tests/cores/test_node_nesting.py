"""NodeCore: tasks that wait for tasks that they have started, in more than one line."""

from __future__ import annotations

from distpool.scheduler.messages import Blocked, LeaseRefused
from tests.cores.test_node_resources import CPU, Node, forks, nest


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
    assert node.core.lending() == 1
    grandchild = nest(node, 2)
    node.want("o", 0, CPU)
    node.tell("owner:o", Blocked("n.1.1", False))
    node.tell(f"owner:{grandchild}", Blocked("n.1.2", True))
    assert node.core.leases["n.1.2"].charged, "there is one loan, and it is not given back yet"
    node.leaves(1)
    assert not node.core.leases["n.1.2"].charged
