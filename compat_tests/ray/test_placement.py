"""Placement groups: bundles of resources, reserved together."""

import pytest

from compat_tests.ray.waiting import call_until_it_raises, eventually

INIT = {"num_cpus": 4, "resources": {"pump": 2}}


@pytest.fixture
def group(ray):
    """Makes placement groups, and removes them with the test."""
    from ray.util.placement_group import placement_group, remove_placement_group

    made = []

    def make(*args, **kwargs):
        made.append(placement_group(*args, **kwargs))
        return made[-1]

    yield make
    for each in made:
        remove_placement_group(each)


@pytest.fixture
def inside(ray):
    """The strategy that puts a task or an actor into a group."""
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    return PlacementGroupSchedulingStrategy


@pytest.fixture
def ask(ray):
    @ray.remote(num_cpus=1)
    def ask():
        return ray.get_runtime_context().get_placement_group_id()

    return ask


@pytest.mark.parametrize("strategy", ["PACK", "SPREAD", "STRICT_PACK"])
def test_a_group_becomes_ready(ray, group, strategy):
    made = group([{"CPU": 1}, {"CPU": 1}], strategy=strategy)
    ray.get(made.ready(), timeout=20)
    assert made.wait(20) is True
    assert made.bundle_count == 2
    assert made.bundle_specs == [{"CPU": 1}, {"CPU": 1}]


def test_pack_is_the_default(ray, group):
    from ray.util.placement_group import placement_group_table

    made = group([{"CPU": 1}])
    assert made.wait(20)
    table = placement_group_table(made)
    assert table["strategy"] == "PACK"
    assert table["state"] == "CREATED"


def test_spreading_strictly_needs_as_many_nodes(ray, group):
    assert group([{"CPU": 1}, {"CPU": 1}], strategy="STRICT_SPREAD").wait(0.5) is False


def test_a_group_that_does_not_fit_waits(ray, group):
    made = group([{"CPU": 100}])
    assert made.wait(0.5) is False
    assert ray.wait([made.ready()], timeout=0.2)[0] == []


def test_a_group_takes_what_it_reserves(ray, group):
    assert group([{"CPU": 2}, {"CPU": 1, "pump": 2}]).wait(20)
    eventually(
        lambda: (ray.available_resources().get("CPU"), ray.available_resources().get("pump", 0)) == (1, 0)
    )


def test_a_removed_group_gives_it_back(ray, group):
    from ray.util.placement_group import placement_group_table, remove_placement_group

    made = group([{"CPU": 3}])
    assert made.wait(20)
    remove_placement_group(made)
    eventually(lambda: ray.available_resources().get("CPU") == 4)
    eventually(lambda: placement_group_table(made)["state"] == "REMOVED")


def test_a_task_inside(ray, group, inside, ask):
    made = group([{"CPU": 1}])
    strategy = inside(placement_group=made)
    assert ray.get(ask.options(scheduling_strategy=strategy).remote(), timeout=20) == made.id.hex()
    assert ray.get(ask.remote()) is None


def test_a_task_in_a_chosen_bundle(ray, group, inside, gate):
    @ray.remote(num_cpus=1)
    def stand(gate):
        gate.wait()
        return "through"

    made = group([{"CPU": 1}, {"CPU": 1}])
    first, second = (
        stand.options(
            scheduling_strategy=inside(placement_group=made, placement_group_bundle_index=0)
        ).remote(gate)
        for _ in range(2)
    )
    gate.arrived.wait_count(1)
    assert ray.wait([first, second], timeout=0.3)[0] == []
    assert len(gate.arrived.lines()) == 1
    gate.open()
    assert ray.get([first, second]) == ["through", "through"]


def test_an_actor_inside(ray, group, inside):
    @ray.remote(num_cpus=1)
    class Inside:
        def ask(self):
            return ray.get_runtime_context().get_placement_group_id()

    made = group([{"CPU": 1}])
    handle = Inside.options(scheduling_strategy=inside(placement_group=made)).remote()
    assert ray.get(handle.ask.remote(), timeout=20) == made.id.hex()


def test_the_current_group(ray, group, inside):
    from ray.util import get_current_placement_group

    @ray.remote(num_cpus=1)
    def current():
        found = get_current_placement_group()
        return found and found.id.hex()

    made = group([{"CPU": 1}])
    assert (
        ray.get(current.options(scheduling_strategy=inside(placement_group=made)).remote(), timeout=20)
        == made.id.hex()
    )
    assert ray.get(current.remote()) is None


def test_children_are_captured_when_asked_for(ray, group, inside, ask):
    @ray.remote(num_cpus=1)
    def parent():
        return ray.get(ask.remote())

    made = group([{"CPU": 2}])
    for capture, expected in ((True, made.id.hex()), (False, None)):
        strategy = inside(placement_group=made, placement_group_capture_child_tasks=capture)
        assert ray.get(parent.options(scheduling_strategy=strategy).remote(), timeout=20) == expected


def test_a_group_has_a_name(ray, group):
    from ray.util.placement_group import get_placement_group

    made = group([{"CPU": 1}], name="reserved")
    assert made.wait(20)
    assert get_placement_group("reserved").id == made.id
    with pytest.raises(ValueError, match="nobody"):
        get_placement_group("nobody")


def test_a_group_travels(ray, group, ask, inside):
    @ray.remote(num_cpus=0)
    def use(made):
        return ray.get(ask.options(scheduling_strategy=inside(placement_group=made)).remote())

    made = group([{"CPU": 1}])
    assert ray.get(use.remote(made), timeout=20) == made.id.hex()


def test_an_actor_ends_with_its_group(ray, group, inside):
    from ray.util.placement_group import remove_placement_group

    @ray.remote(num_cpus=1)
    class Inside:
        def ask(self):
            return True

    made = group([{"CPU": 1}])
    handle = Inside.options(scheduling_strategy=inside(placement_group=made)).remote()
    assert ray.get(handle.ask.remote(), timeout=20)
    remove_placement_group(made)
    with pytest.raises(ray.exceptions.RayActorError):
        call_until_it_raises(lambda: ray.get(handle.ask.remote()))


def test_a_task_that_does_not_fit_its_group(ray, group, inside, ask):
    made = group([{"CPU": 1}])
    with pytest.raises(ValueError):  # noqa: PT011, the text differs
        ask.options(num_cpus=3, scheduling_strategy=inside(placement_group=made)).remote()


def test_a_bundle_that_there_is_not(ray, group, inside, ask):
    made = group([{"CPU": 1}])
    with pytest.raises(ValueError):  # noqa: PT011, the text differs
        ask.options(scheduling_strategy=inside(placement_group=made, placement_group_bundle_index=5)).remote()


@pytest.mark.parametrize(
    ("bundles", "strategy"),
    [([], "PACK"), ([{}], "PACK"), ([{"CPU": 0}], "PACK"), ("text", "PACK"), ([{"CPU": 1}], "SOMEHOW")],
    ids=str,
)
def test_groups_that_make_no_sense(ray, group, bundles, strategy):
    with pytest.raises(ValueError):  # noqa: PT011, the text differs
        group(bundles, strategy=strategy)
