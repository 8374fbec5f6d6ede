"""What cannot be sent is named with its path, and a class may be told how its instances are."""

import io
import pickle
import threading

import pytest

from distpool.scheduler.serialize import Exporter, loads
from distpool.util import deregister_serializer, inspect_serializability, register_serializer

LOCK, OTHER = threading.Lock(), threading.Lock()


class Connection:
    def __init__(self):
        self.lock = LOCK
        self.name = "c"


class Job:
    def __init__(self):
        self.connection = Connection()
        self.also = [1, {"k": (OTHER,)}]


def uses_a_global():
    return LOCK


def there_and_back(value):
    return loads(Exporter(snapshot=False).dumps(value))


def inspect(value, **options):
    out = io.StringIO()
    ok, failures = inspect_serializability(value, print_file=out, **options)
    return ok, {"".join(each.steps): each for each in failures}, out.getvalue()


@pytest.mark.parametrize("value", [3, [1, "a"], uses_a_global, Connection, lambda x: x])
def test_what_can_be_sent_has_no_failures(value):
    ok, failures, text = inspect(value, name="it")
    assert (ok, failures, text) == (True, {}, "it can be pickled\n")


def test_the_path_leads_to_the_culprit():
    job = Job()
    ok, failures, text = inspect(job)
    assert not ok
    assert set(failures) == {"Job.connection.lock", "Job.also[1]['k']"}
    failure = failures["Job.connection.lock"]
    assert (failure.obj, failure.parent, failure.name) == (LOCK, job.connection, "lock")
    assert "cannot pickle '_thread.lock' object" in text
    assert "Job.connection.lock: <unlocked _thread.lock object" in text


def test_depth_is_how_far_it_goes():
    paths = [set(inspect(Job(), depth=depth)[1]) for depth in (0, 1, 2, 4)]
    assert paths == [
        {"Job"},
        {"Job.connection", "Job.also"},
        {"Job.connection.lock", "Job.also[1]"},
        {"Job.connection.lock", "Job.also[1]['k'][0]"},
    ]


def test_a_closure_and_a_class_made_here():
    lock = threading.Lock()

    def inner():
        return lock

    assert set(inspect(inner, name="inner")[1]) == {"inner.<closure>.lock"}

    class Local:
        held = lock

    assert set(inspect(Local, name="Local")[1]) == {"Local.held"}


def test_circles_end():
    job = Job()
    job.connection.job = job
    job.also = None
    assert set(inspect(job, depth=9)[1]) == {"Job.connection.lock"}


def test_the_whole_thing_itself():
    ok, failures, _ = inspect(LOCK, name="lock")
    assert not ok
    assert failures["lock"].parent is None
    assert repr(failures["lock"]).startswith("FailTuple(lock [path=lock, obj=<unlocked")


def test_it_prints_to_the_screen_by_default(capsys):
    inspect_serializability(LOCK, name="mine")
    assert capsys.readouterr().out.startswith("mine cannot be pickled: TypeError")


class Handle:
    def __init__(self, path):
        self.path = path
        self.lock = LOCK


@pytest.fixture
def _registered():
    register_serializer(Handle, serializer=lambda handle: handle.path, deserializer=Handle)
    yield
    deregister_serializer(Handle)


@pytest.mark.usefixtures("_registered")
def test_a_registered_class_is_sent_as_it_was_told():
    found = there_and_back({"h": [Handle("/a")]})["h"][0]
    assert type(found) is Handle
    assert found.path == "/a"


@pytest.mark.usefixtures("_registered")
def test_the_last_registration_counts_and_subclasses_are_not_concerned():
    register_serializer(Handle, serializer=lambda handle: handle.path, deserializer=lambda path: path * 2)
    assert there_and_back(Handle("/a")) == "/a/a"

    class Special(Handle):
        pass

    with pytest.raises(TypeError, match="cannot pickle"):
        there_and_back(Special("/a"))


def test_after_deregistering_it_is_as_before():
    register_serializer(Handle, serializer=lambda handle: 0, deserializer=lambda zero: None)
    deregister_serializer(Handle)
    deregister_serializer(Handle)
    with pytest.raises(TypeError, match=r"cannot pickle '_thread\.lock' object"):
        there_and_back(Handle("/a"))
    assert pickle.loads(pickle.dumps(Handle)) is Handle


def test_what_a_class_was_pickled_by_before_comes_back():
    lock = type(memoryview(b"x"))
    before = there_and_back(memoryview(b"xy"))
    register_serializer(lock, serializer=bytes, deserializer=lambda data: data * 2)
    assert there_and_back(memoryview(b"xy")) == b"xyxy"
    deregister_serializer(lock)
    assert there_and_back(memoryview(b"xy")) == before


@pytest.mark.parametrize("kind", [int, str, dict, type(None), type])
def test_types_that_pickle_treats_by_itself_are_refused(kind):
    with pytest.raises(TypeError, match="cannot be changed"):
        register_serializer(kind, serializer=str, deserializer=str)


def test_it_takes_a_class_and_two_functions():
    with pytest.raises(TypeError, match="takes a class"):
        register_serializer(3, serializer=str, deserializer=str)
    with pytest.raises(TypeError, match="are functions"):
        register_serializer(Handle, serializer=str, deserializer=3)
