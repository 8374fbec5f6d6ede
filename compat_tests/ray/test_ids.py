"""Names of nodes, tasks, actors: what they are made of, and what they are turned into."""

import pytest

from compat_tests.ray.waiting import eventually

INIT = {"num_cpus": 2}


@pytest.mark.parametrize("name", ["NodeID", "WorkerID", "FunctionID", "ActorClassID", "ActorID"])
def test_there_and_back(ray, name):
    kind = getattr(ray, name)
    one, other = kind.from_random(), kind.from_random()
    assert one != other
    assert kind.from_hex(one.hex()) == one
    assert kind.from_binary(one.binary()) == one
    assert hash(kind.from_hex(one.hex())) == hash(one)
    assert len(one.binary()) == kind.size()
    assert one.hex() == one.binary().hex()
    assert name in repr(one)


@pytest.mark.parametrize("name", ["NodeID", "TaskID", "JobID", "ActorID", "PlacementGroupID"])
def test_the_one_that_is_none(ray, name):
    kind = getattr(ray, name)
    assert kind.nil().is_nil()
    assert kind.from_hex(kind.nil().hex()).is_nil()


def test_a_job_has_a_number(ray):
    assert ray.JobID.from_int(5).int() == 5
    assert not ray.JobID.from_int(5).is_nil()


def test_what_a_reference_and_a_context_tell(ray):
    @ray.remote
    def context():
        own = ray.get_runtime_context()
        return own.get_task_id(), own.get_node_id(), own.get_job_id()

    ref = context.remote()
    assert isinstance(ref.task_id(), ray.TaskID)
    assert isinstance(ref.job_id(), ray.JobID)
    task, node, job = ray.get(ref)
    assert ref.task_id().hex() == task
    assert ray.NodeID.from_hex(node).hex() == ray.get_runtime_context().get_node_id()
    assert ray.JobID.from_hex(job) == ref.job_id()


def test_what_idles_is_free(ray):
    @ray.remote
    def one():
        return 1

    assert ray.get([one.remote() for _ in range(8)]) == [1] * 8
    eventually(lambda: ray.available_resources().get("CPU") == 2, 5.0)
