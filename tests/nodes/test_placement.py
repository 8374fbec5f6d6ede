"""Strategies and placement groups on two nodes and more, with real deaths."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import distpool
from distpool import cluster, exceptions
from distpool.scheduler import client
from distpool.scheduler.limits import DEFAULTS
from distpool.scheduler.node_identity import current_node
from distpool.scheduler.remote import placement
from distpool.scheduler.shells.joining import JoiningAgent
from distpool.tasks import RemoteFunction, remote
from distpool.util.placement_group import (
    PlacementGroup,
    PlacementGroupID,
    get_placement_group,
    placement_group_table,
    remove_placement_group,
)
from distpool.util.placement_group import placement_group as make_group
from distpool.util.scheduling_strategies import (
    DoesNotExist,
    In,
    NodeAffinitySchedulingStrategy,
    NodeLabelSchedulingStrategy,
    PlacementGroupSchedulingStrategy,
)
from tests.nodes import placing
from tests.nodes.conftest import everything, expect_gone
from tests.processes.harness import BOUND_S
from tests.processes.scene import wait_until

pytestmark = pytest.mark.timeout(120)

CPU = {"CPU": 1.0}


def task(function: Callable[..., Any], **options: Any) -> RemoteFunction:
    made = remote(function)
    assert isinstance(made, RemoteFunction)
    return made.options(**options)


def get(refs: Any) -> Any:
    return distpool.get(refs, timeout=BOUND_S)


def places_of(group: PlacementGroup) -> dict[int, str]:
    """On which node each bundle is, by name."""
    table = placement_group_table(group)["bundles_to_node_id"]
    return {index: cluster.node_name_of(node) for index, node in table.items()}


def in_group(group: PlacementGroup, bundle: int = -1) -> PlacementGroupSchedulingStrategy:
    return PlacementGroupSchedulingStrategy(group, bundle)


@pytest.fixture
def no_groups(engine: client.Session) -> Iterator[None]:
    """No group is left behind a test, and everything that was set aside is free again."""
    wait_until(lambda: cluster.available_resources().get("CPU") == cluster.cluster_resources()["CPU"], "idle")
    yield
    for facts in placement.find():
        placement.remove(facts.group)
    wait_until(lambda: cluster.available_resources().get("CPU") == cluster.cluster_resources()["CPU"], "idle")


# ----------------------------------------------------------------------------------- strategies


def test_spread_uses_both_nodes(no_groups: None, second_agent: JoiningAgent, tmp_path: Path) -> None:
    wait_until(lambda: "b" in {node["NodeName"] for node in cluster.nodes()}, "the cluster knows of it")
    time.sleep(2 * DEFAULTS.view_s)  # and so does the node that places them, which nobody can be asked
    spread = task(placing.meet, scheduling_strategy="SPREAD")
    refs = [spread.remote(str(tmp_path), str(number), 2) for number in range(2)]
    assert sorted(get(refs)) == sorted([current_node(), "b"])


def test_a_node_by_name(no_groups: None, second_agent: JoiningAgent) -> None:
    on_b = task(placing.where, scheduling_strategy=NodeAffinitySchedulingStrategy("b", soft=False))
    assert set(get([on_b.remote() for _ in range(10)])) == {"b"}
    soft = NodeAffinitySchedulingStrategy("gone", soft=True)
    assert get(task(placing.where, scheduling_strategy=soft).remote()) == current_node()
    hard = NodeAffinitySchedulingStrategy("gone", soft=False)
    with pytest.raises(exceptions.TaskUnschedulableError, match="node gone only, which is not there"):
        get(task(placing.where, scheduling_strategy=hard).remote())


def test_nodes_by_their_labels(no_groups: None, join: Callable[..., JoiningAgent]) -> None:
    join("b", resources={"CPU": 4.0}, labels={"zone": "east"})
    join("c", resources={"CPU": 4.0}, labels={"zone": "west", "spot": "yes"})
    east = NodeLabelSchedulingStrategy({"zone": In("east", "north")})
    assert get(task(placing.where, scheduling_strategy=east).remote()) == "b"
    assert get(task(placing.where, label_selector={"zone": "!east", "spot": "in(yes,maybe)"}).remote()) == "c"
    rather = NodeLabelSchedulingStrategy({}, soft={"zone": In("west")})
    assert get(task(placing.where, scheduling_strategy=rather).remote()) == "c"
    never = NodeLabelSchedulingStrategy({"zone": In("east"), "spot": In("yes")})
    with pytest.raises(exceptions.TaskUnschedulableError, match=r"zone is in \(east\).*b has .*zone=east"):
        get(task(placing.where, scheduling_strategy=never).remote())
    plain = NodeLabelSchedulingStrategy({"zone": DoesNotExist()})
    assert get(task(placing.where, scheduling_strategy=plain).remote()) == current_node()


# --------------------------------------------------------------------------------------- groups


def test_bundles_are_on_their_nodes_and_work_runs_where_they_are(
    no_groups: None, second_agent: JoiningAgent, tmp_path: Path
) -> None:
    group = make_group([CPU, CPU], strategy="STRICT_SPREAD", name="spread")
    assert get(group.ready()) == group
    assert group.wait(BOUND_S)
    table = placement_group_table(group)
    assert table["state"] == "CREATED"
    places = places_of(group)
    assert sorted(places.values()) == sorted([current_node(), "b"])
    for index, node in places.items():
        assert get(task(placing.where, scheduling_strategy=in_group(group, index)).remote()) == node
    anywhere = task(placing.meet, scheduling_strategy=in_group(group))
    refs = [anywhere.remote(str(tmp_path), str(number), 2) for number in range(2)]
    assert sorted(get(refs)) == sorted(places.values())
    assert get_placement_group("spread") == group
    assert get_placement_group("spread").bundle_specs == [CPU, CPU]


def test_a_target_is_taken_if_it_has_room(no_groups: None, second_agent: JoiningAgent) -> None:
    for name in ("b", current_node()):
        target = cluster.node_id_of(name)
        group = make_group([CPU, CPU], strategy="STRICT_PACK", _soft_target_node_id=target)
        assert group.wait(BOUND_S)
        assert set(places_of(group).values()) == {name}


def test_what_is_set_aside_is_for_nobody_else(no_groups: None, second_agent: JoiningAgent) -> None:
    before = cluster.available_resources()["CPU"]
    group = make_group([CPU, CPU], strategy="PACK")
    assert group.wait(BOUND_S)
    assert set(places_of(group).values()) < {current_node(), "b"}
    wait_until(lambda: cluster.available_resources()["CPU"] == before - 2, "two CPUs are set aside")
    remove_placement_group(group)
    wait_until(lambda: cluster.available_resources()["CPU"] == before, "they are free again")
    assert placement_group_table(group)["state"] == "REMOVED"
    assert not group.wait(BOUND_S)


def test_a_group_that_finds_no_room_waits_and_says_why(no_groups: None, second_agent: JoiningAgent) -> None:
    group = make_group([{"CPU": 1000}])
    assert not group.wait(0.05)
    assert not group.wait(0.05)
    table = placement_group_table(group)
    assert table["state"] == "PENDING"
    assert "no nodes have room for its bundles (PACK)" in table["stats"]["scheduling_state"]
    ready = group.ready()
    remove_placement_group(group)
    with pytest.raises(exceptions.TaskPlacementGroupRemoved, match="removed before it was placed"):
        get(ready)


def test_a_node_that_comes_makes_room(no_groups: None, join: Callable[..., JoiningAgent]) -> None:
    group = make_group([{"wheel": 1}, {"wheel": 1}], strategy="STRICT_PACK")
    asked = task(
        placing.where, num_cpus=0, resources={"wheel": 1}, scheduling_strategy=in_group(group)
    ).remote()
    assert not group.wait(0.05)
    join("b", resources={"CPU": 1.0, "wheel": 2.0})
    assert group.wait(BOUND_S)
    assert get(asked) == "b"


WHEEL: dict[str, Any] = {"num_cpus": 0, "resources": {"wheel": 1}}


def test_a_large_group_gets_its_room_though_small_tasks_keep_coming(
    no_groups: None, join: Callable[..., JoiningAgent]
) -> None:
    """Two always run, and others wait: the node is never empty unless it is made so."""
    join("b", resources={"CPU": 1.0, "wheel": 2.0})
    small = task(placing.turn, **WHEEL)
    refs = [small.remote() for _ in range(8)]

    def go_on() -> None:
        done, rest = distpool.wait(refs, timeout=BOUND_S)
        assert set(get(done)) == {"b"}
        refs[:] = [*rest, *(small.remote() for _ in done)]

    for _ in range(8):
        go_on()
    group = make_group([{"wheel": 1}, {"wheel": 1}], strategy="STRICT_PACK")
    created = group.ready()
    until_s = time.monotonic() + BOUND_S
    while not distpool.wait([created], timeout=0)[0]:
        assert time.monotonic() < until_s, placement_group_table(group)["stats"]["scheduling_state"]
        if distpool.wait(refs, timeout=0.05)[0]:
            go_on()
    assert get(task(placing.where, **WHEEL, scheduling_strategy=in_group(group)).remote()) == "b"
    remove_placement_group(group)
    assert set(get(refs)) == {"b"}


def test_room_that_is_made_is_given_back_when_the_group_is_removed(
    no_groups: None, join: Callable[..., JoiningAgent], tmp_path: Path
) -> None:
    join("b", resources={"CPU": 1.0, "wheel": 2.0})
    long = task(placing.wait_for_ever, **WHEEL).remote(str(tmp_path))
    wait_until(lambda: (tmp_path / "waits").exists(), "the task runs")
    group = make_group([{"wheel": 2}])
    wait_until(
        lambda: "room is made" in placement_group_table(group)["stats"]["scheduling_state"],
        "it is waited for",
    )
    small = task(placing.where, **WHEEL).remote()
    assert distpool.wait([small], timeout=0.3)[0] == [], "a wheel is free, and held"
    remove_placement_group(group)
    assert get(small) == "b"
    distpool.cancel(long)
    with pytest.raises(exceptions.TaskCancelledError):
        get(long)


def test_removal_ends_what_runs_and_fails_what_waits(
    no_groups: None, second_agent: JoiningAgent, tmp_path: Path
) -> None:
    group = make_group([CPU])
    assert group.wait(BOUND_S)
    waits = task(placing.wait_for_ever, scheduling_strategy=in_group(group), max_retries=-1)
    running = waits.remote(str(tmp_path))
    wait_until(lambda: (tmp_path / "waits").exists(), "the task runs")
    behind = task(placing.where, scheduling_strategy=in_group(group)).remote()
    remove_placement_group(group)
    for ref in (running, behind):
        with pytest.raises(exceptions.TaskPlacementGroupRemoved, match="was removed"):
            get(ref)
    with pytest.raises(exceptions.TaskPlacementGroupRemoved, match="was removed"):
        get(task(placing.where, scheduling_strategy=in_group(group)).remote())


def test_what_no_bundle_has_is_refused(no_groups: None) -> None:
    group = make_group([CPU])
    with pytest.raises(ValueError, match=r"asks for CPU 2, and no bundle of .* has that: CPU 1"):
        task(placing.where, num_cpus=2, scheduling_strategy=in_group(group)).remote()
    with pytest.raises(ValueError, match="the group has 1 bundles: give a number from 0 to 0"):
        task(placing.where, scheduling_strategy=in_group(group, 1)).remote()


def test_bundles_of_a_killed_node_are_placed_on_another(
    no_groups: None, join: Callable[..., JoiningAgent]
) -> None:
    agents = {node: join(node, resources={"CPU": 1.0, "wheel": 1.0}) for node in ("b", "c")}
    group = make_group([{"wheel": 1}])
    assert group.wait(BOUND_S)
    (node,) = places_of(group).values()
    (other,) = agents.keys() - {node}
    rolls = task(placing.where, num_cpus=0, resources={"wheel": 1}, scheduling_strategy=in_group(group, 0))
    assert get(rolls.remote()) == node
    pids = everything(agents[node])
    os.kill(agents[node].pid, signal.SIGKILL)
    wait_until(lambda: places_of(group) == {0: other}, "it is placed anew")
    assert group.wait(BOUND_S)
    assert get(rolls.remote()) == other
    expect_gone(agents[node], pids)


@pytest.mark.parametrize("node", ["here", "b"])
def test_a_group_ends_with_its_maker_unless_it_is_detached(
    no_groups: None, second_agent: JoiningAgent, node: str
) -> None:
    where = NodeAffinitySchedulingStrategy(current_node() if node == "here" else node, soft=False)
    makes = task(placing.make_group, num_cpus=0.5, scheduling_strategy=where, max_calls=1)
    ids = {lifetime: get(makes.remote(lifetime)) for lifetime in (None, "detached")}
    groups = {key: PlacementGroup(PlacementGroupID.from_hex(name)) for key, name in ids.items()}
    wait_until(
        lambda: placement_group_table(groups[None])["state"] == "REMOVED",
        "its worker is replaced, and it goes",
    )
    assert placement_group_table(groups["detached"])["state"] == "CREATED"


def test_the_table_of_all(no_groups: None) -> None:
    groups = [make_group([CPU], name=name) for name in ("one", "two")]
    with pytest.raises(ValueError, match="a placement group named 'two' already"):
        make_group([CPU], name="two")
    remove_placement_group(groups[0])
    table = placement_group_table()
    states = Counter(
        (row["name"], row["state"]) for key, row in table.items() if key in {g.id.hex() for g in groups}
    )
    assert states["one", "REMOVED"] == 1
    assert ("two", "REMOVED") not in states
    with pytest.raises(ValueError, match="there is no placement group named 'one'"):
        get_placement_group("one")
