"""A manager that dies, and one whose maker dies."""

import os
import pickle
import subprocess
import sys
import threading
import time
from multiprocessing import shared_memory

import pytest

import distpool
from distpool.errors import ManagerDied
from distpool.managers import BaseManager, SharedMemoryManager
from tests.managers.helpers import LIMIT_S, Caller, child, has_ended, kill

STANDARD_ERRORS = (EOFError, ConnectionResetError, ConnectionRefusedError, BrokenPipeError, FileNotFoundError)
AT_ONCE_S = 2.0


class Served:
    """An object of the server."""

    def pid(self):
        return os.getpid()

    def leave_a_child(self):
        """Fork a child that outlives the server; returns its pid."""
        pid = os.fork()
        if pid == 0:
            threading.Event().wait()
        return pid

    def die(self):
        os._exit(7)

    def fail(self):
        raise FileNotFoundError(2, "no such thing", "of mine")


class ServedManager(BaseManager):
    pass


ServedManager.register("Served", Served)


@pytest.fixture
def manager():
    made = distpool.get_context("fork").Manager()
    yield made
    made.shutdown()


@pytest.fixture
def served():
    with ServedManager(ctx=distpool.get_context("fork")) as made:
        yield made


CALLS = {
    "a method": lambda manager, shared, queue: shared["a"],
    "another method": lambda manager, shared, queue: queue.get(),
    "a new object": lambda manager, shared, queue: manager.list(),
    "a copy of the proxy": lambda manager, shared, queue: pickle.loads(pickle.dumps(shared)),
    "of a thread": lambda manager, shared, queue: raise_(Caller(lambda: shared["a"]).outcome()),
}


def raise_(error):
    raise error


@pytest.mark.parametrize("call", CALLS)
def test_every_call_to_a_dead_manager_fails_at_once_and_says_how_it_died(manager, call):
    shared, queue = manager.dict(a=1), manager.Queue()
    pid = manager._process.pid
    kill(pid)
    started = time.monotonic()
    with pytest.raises(ManagerDied, match=rf"manager with pid {pid}, .* was killed by SIGKILL") as caught:
        CALLS[call](manager, shared, queue)
    assert time.monotonic() - started < AT_ONCE_S
    assert all(isinstance(caught.value, error) for error in STANDARD_ERRORS)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (type(copy), str(copy)) == (ManagerDied, str(caught.value))


WAITS = {
    "Queue.get": lambda manager: manager.Queue().get,
    "Event.wait": lambda manager: manager.Event().wait,
    "Barrier.wait": lambda manager: manager.Barrier(2).wait,
}


@pytest.mark.parametrize("wait", WAITS)
def test_a_manager_is_killed_while_a_proxy_waits(manager, wait):
    caller = Caller(WAITS[wait](manager))
    manager.list()  # the server has had time to take the call
    kill(manager._process.pid)
    assert isinstance(caller.outcome(), ManagerDied)


def test_a_manager_is_killed_while_a_proxy_waits_in_a_condition(manager):
    condition, holding = manager.Condition(), threading.Event()

    def wait():
        with condition:
            holding.set()
            condition.wait()

    caller = Caller(wait)
    assert holding.wait(LIMIT_S)
    with condition:  # it waits now, since it has let go of the lock
        pass
    kill(manager._process.pid)
    assert isinstance(caller.outcome(), ManagerDied)


def test_a_manager_dies_of_the_call_itself(served):
    with pytest.raises(ManagerDied, match="has ended with exit status 7"):
        served.Served().die()


def test_another_process_is_told_which_manager_died(manager):
    def use(say, shared):
        say(shared["a"])
        try:
            while True:
                shared["a"]
        except ManagerDied as error:
            say(str(error))

    with child(use, manager.dict(a=1)) as (_, hear):
        assert hear() == 1
        pid = manager._process.pid
        kill(pid)
        assert f"the manager with pid {pid}, at " in hear()


def test_a_manager_that_was_shut_down_is_not_called_dead_of_something(manager):
    shared = manager.dict()
    manager.shutdown()
    with pytest.raises(ManagerDied, match="has been shut down"):
        shared["a"]


def test_an_error_of_the_object_itself_comes_out_as_it_is(served):
    thing = served.Served()
    with pytest.raises(FileNotFoundError, match="no such thing") as caught:
        thing.fail()
    assert not isinstance(caught.value, ManagerDied)
    assert thing.pid() == served._process.pid


def test_a_child_of_the_server_does_not_keep_it_looking_alive(served):
    thing = served.Served()
    orphan = thing.leave_a_child()
    try:
        kill(served._process.pid)
        assert isinstance(Caller(thing.pid).outcome(), ManagerDied)
        assert isinstance(Caller(served.Served).outcome(), ManagerDied)
    finally:
        kill(orphan)


MAKER = """
import sys, distpool
from distpool.managers import SharedMemoryManager
if __name__ == "__main__":
    context = distpool.get_context(sys.argv[1])
    manager, segments = context.Manager(), SharedMemoryManager(ctx=context)
    segments.start()
    print(manager._process.pid, segments._process.pid, segments.SharedMemory(100).name, flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_managers_end_with_their_maker_when_that_is_killed(method, tmp_path):
    script = tmp_path / "maker.py"
    script.write_text(MAKER)
    maker = subprocess.Popen(
        [sys.executable, str(script), method],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # the resource tracker tells of what nobody took care of
        text=True,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )
    with maker:
        first, second, name = maker.stdout.readline().split()
        kill(maker.pid)
    assert has_ended(int(first), LIMIT_S)
    assert has_ended(int(second), LIMIT_S)
    with pytest.raises(FileNotFoundError):
        shared_memory.SharedMemory(name)


def test_segments_of_shared_memory_go_with_their_manager():
    with SharedMemoryManager(ctx=distpool.get_context("fork")) as manager:
        name = manager.SharedMemory(100).name
        assert list(manager.ShareableList([1, 2])) == [1, 2]
    with pytest.raises(FileNotFoundError):
        shared_memory.SharedMemory(name)
