"""ray.util.state: what a program may ask about tasks, actors and objects from outside."""

import os

import pytest

from compat_tests.ray.waiting import eventually

INIT = {"num_cpus": 4, "include_dashboard": True}


@pytest.fixture
def state(ray):
    import ray.util.state

    return ray.util.state


class Seen:
    """Of a module, because a class of a function is listed with the function's name."""

    def process(self):
        return os.getpid()


class Excluded(Seen):
    pass


class SummedUp(Seen):
    pass


def test_a_finished_task(ray, state):
    @ray.remote
    def a_finished_one():
        return 1

    ray.get([a_finished_one.remote() for _ in range(3)])
    filters = [("name", "=", "a_finished_one"), ("state", "=", "FINISHED")]
    tasks = eventually(lambda: found if len(found := state.list_tasks(filters=filters)) == 3 else [])
    assert {task.type for task in tasks} == {"NORMAL_TASK"}
    assert tasks[0]["name"] == tasks[0].name == "a_finished_one"


def test_a_running_task(ray, state, gate):
    @ray.remote
    def a_running_one(gate):
        gate.wait()

    ref = a_running_one.remote(gate)
    gate.arrived.wait_count(1)
    filters = [("name", "=", "a_running_one")]
    task = eventually(lambda: [t for t in state.list_tasks(filters=filters) if t.state == "RUNNING"])[0]
    assert task.task_id == ref.task_id().hex()
    gate.open()
    ray.get(ref)


def test_a_failed_task_says_why(ray, state):
    @ray.remote
    def a_failed_one():
        raise ValueError("the reason")

    with pytest.raises(ValueError, match="the reason"):
        ray.get(a_failed_one.remote())
    filters = [("name", "=", "a_failed_one"), ("state", "=", "FAILED")]
    (task,) = eventually(lambda: state.list_tasks(filters=filters, detail=True))
    assert task.error_type == "TASK_EXECUTION_EXCEPTION"
    assert "the reason" in task.error_message


def test_actors_and_their_states(ray, state):
    cls = ray.remote(Seen)
    alive, dead = cls.options(name="seen alive").remote(), cls.remote()
    pid = ray.get(alive.process.remote())
    ray.get(dead.process.remote())
    ray.kill(dead)
    filters = [("class_name", "=", "Seen")]
    eventually(lambda: sorted(a.state for a in state.list_actors(filters=filters)) == ["ALIVE", "DEAD"])
    (actor,) = state.list_actors(filters=[*filters, ("state", "=", "ALIVE")])
    assert (actor.name, actor.pid) == ("seen alive", pid)
    assert state.get_actor(alive._actor_id.hex()).state == "ALIVE"


def test_filters_may_exclude(ray, state):
    handle = ray.remote(Excluded).remote()
    ray.get(handle.process.remote())
    found = eventually(
        lambda: state.list_actors(filters=[("class_name", "!=", "Seen"), ("state", "=", "ALIVE")])
    )
    assert "Excluded" in {actor.class_name for actor in found}
    assert "Seen" not in {actor.class_name for actor in found}


def test_a_limit(ray, state):
    @ray.remote
    def many():
        return 1

    ray.get([many.remote() for _ in range(5)])
    eventually(lambda: len(state.list_tasks(filters=[("name", "=", "many")])) == 5)
    assert len(state.list_tasks(filters=[("name", "=", "many")], limit=2, raise_on_missing_output=False)) == 2


def test_objects(ray, state):
    ref = ray.put(bytes(1_000_000))
    (found,) = eventually(lambda: [o for o in state.list_objects() if o.object_id == ref.hex()])
    assert found.object_size >= 1_000_000


def test_nodes(ray, state):
    (node,) = state.list_nodes()
    assert node.state == "ALIVE"
    assert node.node_id == ray.nodes()[0]["NodeID"]
    assert node.resources_total["CPU"] == 4


def test_workers(ray, state):
    pid = ray.get(ray.remote(lambda: os.getpid()).remote())
    assert eventually(lambda: [w for w in state.list_workers(detail=True) if w.pid == pid])


def test_placement_groups(ray, state):
    from ray.util.placement_group import placement_group, remove_placement_group

    group = placement_group([{"CPU": 1}], name="listed")
    assert group.wait(20)
    (found,) = eventually(lambda: [g for g in state.list_placement_groups() if g.name == "listed"])
    assert found.placement_group_id == group.id.hex()
    assert found.state == "CREATED"
    remove_placement_group(group)


def test_a_summary_of_tasks(ray, state):
    @ray.remote
    def summed_up():
        return 1

    ray.get([summed_up.remote() for _ in range(4)])

    def counts():
        summary = state.summarize_tasks()["cluster"]["summary"]
        return summary.get("summed_up", {}).get("state_counts")

    eventually(lambda: counts() == {"FINISHED": 4})


def test_a_summary_of_actors(ray, state):
    handle = ray.remote(SummedUp).remote()
    ray.get(handle.process.remote())

    def counts():
        summary = state.summarize_actors()["cluster"]["summary"]
        return summary.get("SummedUp", {}).get("state_counts")

    eventually(lambda: counts() == {"ALIVE": 1})


def test_a_summary_of_objects(ray, state):
    ref = ray.put(bytes(1_000_000))
    cluster = eventually(lambda: state.summarize_objects()["cluster"])
    assert cluster["total_objects"] >= 1
    del ref


def test_an_actor_that_nobody_knows(state):
    assert state.get_actor("f" * 32) is None
