"""NodeCore: who is told that others wait, and retired workers that stay for what they have called."""

from __future__ import annotations

from distpool.scheduler.messages import DropPool, Lingers, LinkLost, OwnerHello, Pressed, ReturnLease, Tick
from tests.cores.test_node_resources import CPU, Node, forks, nest


def pressed(said: list) -> list:
    return [(to, message) for to, message in said if isinstance(message, Pressed)]


def test_who_has_what_another_owner_waits_for_is_told_once() -> None:
    node = Node({"CPU": 1})
    node.hello("o", "other")
    node.want("o", 1, CPU)
    node.starts(1)
    assert pressed(node.want("other", 1, CPU)) == [("owner:o", Pressed(True))]
    assert pressed(node.want("other", 2, CPU)) == []
    assert pressed(node.want("other", 0, CPU)) == [("owner:o", Pressed(False))]


def test_an_owner_that_only_wants_more_itself_is_not_pressed() -> None:
    node = Node({"CPU": 1})
    node.hello("o")
    assert pressed(node.want("o", 8, CPU)) == []


def test_another_pool_of_the_same_owner_is() -> None:
    node = Node({"CPU": 1})
    node.hello("o")
    node.want("o", 1, CPU, pool=1)
    assert pressed(node.want("o", 1, CPU, pool=2)) == [("owner:o", Pressed(True, but=2))]


def test_a_lease_that_is_got_while_others_wait_comes_with_the_news() -> None:
    node = Node({"CPU": 1})
    node.hello("o", "other")
    node.want("o", 1, CPU)
    node.starts(1)
    node.want("other", 1, CPU)
    node.hello("third")
    node.want("third", 1, CPU)
    node.want("o", 0, CPU)
    said = node.leaves(1)
    assert forks(said) == [("other", 1)]
    assert pressed(said) == [("owner:other", Pressed(True))]


def test_dedicated_workers_are_their_pools() -> None:
    node = Node({"CPU": 1})
    node.hello("o", "other")
    from distpool.scheduler.messages import WantLeases

    node.tell("owner:o", WantLeases(1, 1, True, CPU))
    assert pressed(node.want("other", 1, CPU)) == []


def test_who_comes_back_is_told_again() -> None:
    node = Node({"CPU": 1})
    node.hello("o", "other")
    node.want("o", 1, CPU)
    node.starts(1)
    node.want("other", 1, CPU)
    said = node.tell("owner:o", OwnerHello("o", 7, 2, "ipc://o", held=("n.1.1",)))
    assert pressed(said) == [("owner:o", Pressed(True))]


def test_a_retired_worker_that_lingers_costs_nothing_and_is_not_late() -> None:
    node = Node({"CPU": 1})
    node.hello("o")
    node.want("o", 1, CPU)
    node.starts(1)
    child = nest(node, 1)
    node.want("o", 0, CPU)
    node.tell("owner:o", ReturnLease("n.1.1"))
    assert node.core.free["CPU"] == 0
    node.tell(f"owner:{child}", Lingers())
    assert node.core.free["CPU"] == 10_000
    node.now = 1_000.0
    assert node.tell("timer", Tick()) == []
    node.leaves(1)
    assert node.core.free["CPU"] == 10_000


def test_it_may_say_so_before_its_owner_gives_it_back() -> None:
    node = Node({"CPU": 1})
    node.hello("o")
    node.want("o", 1, CPU)
    node.starts(1)
    child = nest(node, 1)
    node.tell(f"owner:{child}", Lingers())
    node.want("o", 0, CPU)
    node.tell("owner:o", ReturnLease("n.1.1"))
    node.now = 1_000.0
    assert node.tell("timer", Tick()) == []


def test_its_owners_end_is_its_end() -> None:
    node = Node({"CPU": 1})
    node.hello("o")
    node.want("o", 1, CPU)
    node.starts(1)
    child = nest(node, 1)
    node.tell(f"owner:{child}", Lingers())
    said = node.tell("owner:o", LinkLost())
    assert [to for to, _ in said] == ["nursery"]
    node.leaves(1)
    assert node.core.leases == {}


def test_a_dropped_pool_waits_for_one_that_lingers() -> None:
    node = Node({"CPU": 1})
    node.hello("o")
    node.want("o", 1, CPU)
    node.starts(1)
    child = nest(node, 1)
    node.tell("owner:o", DropPool(1, kill=False))
    node.tell(f"owner:{child}", Lingers())
    assert "PoolDropped" in str(node.leaves(1))
