"""What needs processes: errors that really came from workers, numbers of other processes, actors' names."""

import threading

import pytest

import distpool
from distpool import exceptions
from distpool.util import list_named_actors, metrics_sharing, register_serializer, serialization
from tests.processes.scene import wait_until
from tests.ray_util import raised
from tests.ray_util.bodies import Recorder, Worker, fail, fail_inside, record, use

pytestmark = pytest.mark.usefixtures("session")


@pytest.mark.parametrize("kind", ["value", "keyword only", "slotted", "base", "os", "own group", "frozen"])
def test_what_a_task_raises_is_raised_by_get(kind):
    original = raised.MAKERS[kind]()
    for ref, name in (
        (fail.remote(kind), "fail"),
        (fail_inside.remote(kind), "fail_inside"),
        (use.remote(fail.remote(kind)), "use"),
    ):
        with pytest.raises(type(original)) as info:
            distpool.get(ref, timeout=60)
        error = info.value
        assert isinstance(error, exceptions.RayTaskError)
        assert error.task_name == name
        assert type(error.cause) is type(original)
        assert str(error).startswith(f"distpool::{name}()\n")
        assert "raise raised.MAKERS[kind]()" in str(error)
    assert "one of its arguments" in str(error)


def test_the_numbers_of_all_processes_come_together():
    pids = set(distpool.get([record.remote([1, 2], [number]) for number in range(8)], timeout=60))

    def here():
        return {each.name: each.values for each in metrics_sharing.collect()}

    wait_until(lambda: here().get("rows") == {("a",): 24.0}, "all counts are here", 20)
    wait_until(lambda: here().get("lengths") == {(): [2, 6, 0, 28.0]}, "all sizes are here", 20)
    processes = {tags[-1].rpartition(":")[2] for tags in here()["length"]}
    assert processes == {str(pid) for pid in pids}


def test_what_a_worker_counted_last_is_there_when_it_has_ended():
    recorder = Recorder.remote()
    distpool.get(recorder.record.remote(), timeout=60)
    distpool.wait([recorder.__ray_terminate__.remote()], timeout=60)

    def here():
        return {each.name: each.values for each in metrics_sharing.collect()}

    wait_until(lambda: here().get("last words") == {(): 1.0}, "it has told", 20)


def test_actors_with_names_are_listed():
    before = set(list_named_actors())
    first, second = (
        Worker.options(name="first").remote(),
        Worker.options(name="second", namespace="other").remote(),
    )
    distpool.get([first.pid.remote(), second.pid.remote()], timeout=60)
    assert set(list_named_actors()) - before == {"first"}
    everywhere = [(each["name"], each["namespace"]) for each in list_named_actors(all_namespaces=True)]
    assert ("second", "other") in everywhere
    assert "first" in [name for name, _ in everywhere]
    distpool.kill(first)
    wait_until(lambda: "first" not in list_named_actors(), "its name is free", 20)


class Handle:
    def __init__(self, path):
        self.path = path
        self.lock = threading.Lock()


def test_a_registered_class_goes_to_tasks():
    @distpool.remote
    def path_of(handle):
        return handle.path, type(handle.lock).__name__

    register_serializer(Handle, serializer=lambda handle: handle.path, deserializer=Handle)
    try:
        assert distpool.get(path_of.remote(Handle("/a")), timeout=60) == ("/a", "lock")
        assert distpool.get(distpool.put([Handle("/b")]), timeout=60)[0].path == "/b"
    finally:
        serialization.deregister_serializer(Handle)
    with pytest.raises(TypeError, match="cannot pickle"):
        distpool.put(Handle("/a"))
