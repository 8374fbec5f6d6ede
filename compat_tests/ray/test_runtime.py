"""What a program may ask about itself and about the cluster."""

import json
import os
import signal

import pytest

from compat_tests.ray.waiting import eventually

INIT = {"num_cpus": 4, "num_gpus": 2, "resources": {"pump": 3}, "namespace": "home"}


def test_nodes(ray):
    (node,) = ray.nodes()
    assert node["Alive"] is True
    assert node["Resources"]["CPU"] == 4
    assert node["Resources"]["pump"] == 3
    assert int(node["NodeID"], 16) > 0


def test_cluster_resources(ray):
    resources = ray.cluster_resources()
    assert resources["CPU"] == 4
    assert resources["GPU"] == 2
    assert resources["pump"] == 3
    assert resources["memory"] > 0
    assert resources["object_store_memory"] > 0


def test_available_resources_follow_what_runs(ray, gate):
    @ray.remote(num_cpus=3, resources={"pump": 2})
    def stand(gate):
        gate.wait()

    ref = stand.remote(gate)
    eventually(
        lambda: (ray.available_resources().get("CPU"), ray.available_resources().get("pump")) == (1, 1)
    )
    gate.open()
    ray.get(ref)
    eventually(
        lambda: (ray.available_resources().get("CPU"), ray.available_resources().get("pump")) == (4, 3)
    )


def test_an_actors_resources_are_taken_until_it_ends(ray):
    @ray.remote(num_cpus=2)
    class Holder:
        def ready(self):
            return True

    holder = Holder.remote()
    ray.get(holder.ready.remote())
    eventually(lambda: ray.available_resources().get("CPU") == 2)
    ray.kill(holder)
    eventually(lambda: ray.available_resources().get("CPU") == 4)


def test_fractions_of_resources(ray, gate):
    @ray.remote(num_cpus=0.5)
    def stand(gate):
        gate.wait()

    refs = [stand.remote(gate) for _ in range(8)]
    gate.arrived.wait_count(8)
    gate.open()
    ray.get(refs)


def test_gpus_are_assigned(ray, gate):
    @ray.remote(num_gpus=1)
    def mine(gate):
        gate.wait()
        return ray.get_gpu_ids(), os.environ["CUDA_VISIBLE_DEVICES"]

    refs = [mine.remote(gate) for _ in range(2)]
    gate.arrived.wait_count(2)
    gate.open()
    (first, first_visible), (second, second_visible) = ray.get(refs)
    assert sorted(int(gpu) for gpu in first + second) == [0, 1]
    assert sorted([first_visible, second_visible]) == ["0", "1"]


def test_the_driver_has_no_gpu(ray):
    assert ray.get_gpu_ids() == []


def test_the_drivers_context(ray):
    context = ray.get_runtime_context()
    assert int(context.get_job_id(), 16) > 0
    assert context.get_node_id() == ray.nodes()[0]["NodeID"]
    assert int(context.get_worker_id(), 16) > 0
    assert context.get_task_id() is None
    assert context.get_actor_id() is None
    assert context.namespace == "home"


def test_a_tasks_context(ray):
    @ray.remote
    def ask():
        context = ray.get_runtime_context()
        return {
            "job": context.get_job_id(),
            "node": context.get_node_id(),
            "worker": context.get_worker_id(),
            "task": context.get_task_id(),
            "actor": context.get_actor_id(),
            "resources": context.get_assigned_resources(),
            "namespace": context.namespace,
        }

    first, second = ray.get([ask.remote(), ask.options(num_cpus=2, resources={"pump": 1}).remote()])
    driver = ray.get_runtime_context()
    assert first["job"] == second["job"] == driver.get_job_id()
    assert first["node"] == driver.get_node_id()
    assert first["worker"] != driver.get_worker_id()
    assert first["task"] != second["task"]
    assert first["actor"] is None
    assert first["resources"] == {"CPU": 1}
    assert second["resources"] == {"CPU": 2, "pump": 1}
    assert first["namespace"] == "home"


def test_an_actors_context(ray):
    @ray.remote(num_cpus=1)
    class Asking:
        def __init__(self):
            self.at_start = ray.get_runtime_context().get_actor_id()

        def ask(self):
            context = ray.get_runtime_context()
            return (
                self.at_start,
                context.get_actor_id(),
                context.get_task_id(),
                context.get_assigned_resources(),
            )

    handle = Asking.remote()
    at_start, actor, task, resources = ray.get(handle.ask.remote())
    assert at_start == actor == handle._actor_id.hex()
    assert int(task, 16) > 0
    assert resources == {"CPU": 1}


def test_the_functions_name(ray):
    @ray.remote
    def ask():
        return ray.get_runtime_context().get_task_function_name()

    assert ray.get(ask.remote()).endswith("ask")


def test_a_reference_knows_its_task(ray):
    @ray.remote
    def ask(*_values):
        return ray.get_runtime_context().get_task_id()

    first = ask.remote()
    refs = [first, ask.remote(first), *[ask.remote(number) for number in range(50)]]
    assert ray.get(refs) == [ref.task_id().hex() for ref in refs]


def test_the_reference_of_an_actors_call_knows_its_task_whoever_calls(ray):
    @ray.remote
    class Asked:
        def ask(self):
            return ray.get_runtime_context().get_task_id()

    @ray.remote
    def ask_it(asked):
        refs = [asked.ask.remote() for _ in range(20)]
        return ray.get(refs) == [ref.task_id().hex() for ref in refs]

    asked = Asked.remote()
    refs = [asked.ask.remote() for _ in range(20)]
    assert ray.get(refs) == [ref.task_id().hex() for ref in refs]
    assert ray.get(ask_it.remote(asked))


def test_a_call_that_is_made_again_is_the_same_task(ray, tmp_path):
    @ray.remote(max_retries=1)
    def ask():
        with open(tmp_path / "tasks", "a+") as file:
            file.write(ray.get_runtime_context().get_task_id() + "\n")
            file.seek(0)
            first = len(file.readlines()) == 1
        if first:
            os.kill(os.getpid(), signal.SIGKILL)

    ref = ask.remote()
    ray.get(ref)
    assert (tmp_path / "tasks").read_text().split() == [ref.task_id().hex()] * 2


def test_the_timeline_is_a_trace_of_events(ray, tmp_path):
    @ray.remote
    def recorded():
        return 1

    ray.get([recorded.remote() for _ in range(3)])
    events = eventually(lambda: [event for event in ray.timeline() if "recorded" in event["name"]])
    assert all({"name", "ph", "ts", "pid", "tid"} <= event.keys() for event in events)
    assert ray.timeline(filename=str(tmp_path / "trace.json")) is None
    assert any("recorded" in event["name"] for event in json.loads((tmp_path / "trace.json").read_text()))


def test_the_address_of_this_node(ray):
    from ray.util import get_node_ip_address

    assert get_node_ip_address().count(".") == 3


def test_a_task_by_node_affinity(ray):
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = ray.nodes()[0]["NodeID"]

    @ray.remote
    def where():
        return ray.get_runtime_context().get_node_id()

    strategy = NodeAffinitySchedulingStrategy(node_id=here, soft=False)
    assert ray.get(where.options(scheduling_strategy=strategy).remote()) == here


def test_affinity_to_a_node_that_is_not_there(ray):
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    @ray.remote
    def where():
        return ray.get_runtime_context().get_node_id()

    here = ray.nodes()[0]["NodeID"]
    nowhere = ("0" if here[0] != "0" else "1") + here[1:]
    hard = NodeAffinitySchedulingStrategy(node_id=nowhere, soft=False)
    soft = NodeAffinitySchedulingStrategy(node_id=nowhere, soft=True)
    with pytest.raises(ray.exceptions.TaskUnschedulableError):
        ray.get(where.options(scheduling_strategy=hard).remote(), timeout=20)
    assert ray.get(where.options(scheduling_strategy=soft).remote()) == here


@pytest.mark.parametrize("strategy", ["DEFAULT", "SPREAD"])
def test_strategies_by_name(ray, strategy):
    @ray.remote(scheduling_strategy=strategy)
    def one():
        return 1

    assert ray.get([one.remote() for _ in range(4)]) == [1] * 4


def test_whether_a_library_is_at_work(ray):
    assert ray.is_initialized() is True


def test_a_worker_starts_as_many_threads_of_openmp_as_it_has_cpus(ray, monkeypatch):
    def threads():
        return os.environ.get("OMP_NUM_THREADS")

    task, actor = ray.remote(threads), ray.remote(type("Teller", (), {"threads": lambda self: threads()}))
    asked = [{}, {"num_cpus": 2}, {"num_cpus": 0.5}, {"runtime_env": {"env_vars": {"OMP_NUM_THREADS": "7"}}}]
    assert ray.get([task.options(**options).remote() for options in asked]) == ["1", "2", "1", "7"]
    for options, wanted in zip(asked, ["1", "2", "1", "7"], strict=True):
        assert ray.get(actor.options(**options).remote().threads.remote()) == wanted


@pytest.mark.filterwarnings("ignore")
def test_the_older_names_of_what_a_program_may_ask(ray):
    @ray.remote
    class Teller:
        def tell(self):
            context = ray.get_runtime_context()
            older = [context.job_id, context.node_id, context.task_id, context.actor_id]
            newer = [
                context.get_job_id(),
                context.get_node_id(),
                context.get_task_id(),
                context.get_actor_id(),
            ]
            return [one.hex() for one in older], newer

    older, newer = ray.get(Teller.remote().tell.remote())
    assert older == newer
