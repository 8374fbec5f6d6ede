"""Where the records of the state API come from: every owner of the cluster, what it does, and has done of late."""

import os
import signal
import threading
from collections import Counter
from pathlib import Path

import pytest

import distpool
from distpool.scheduler.messages import Done, Failed, Inquire
from distpool.scheduler.remote import records
from distpool.scheduler.remote.records import About, Records
from distpool.scheduler.shells.inquiries import Inquiries
from distpool.util import state
from tests.processes.scene import wait_until
from tests.ray_util.bodies import Worker, after

in_a_session = pytest.mark.usefixtures("session")


def states_of(name, *filters):
    return Counter(task.state for task in state.list_tasks(filters=[("name", "=", name), *filters]))


def all_stopped(pid):
    threads = Path(f"/proc/{pid}/task").iterdir()
    return all(thread.joinpath("stat").read_text().rpartition(")")[2].split()[0] == "T" for thread in threads)


@distpool.remote
def waits(path):
    return distpool.get(after.options(name="inner").remote(path, os.getpid()))


@in_a_session
def test_calls_of_a_worker_are_told_too(tmp_path):
    ref = waits.remote(tmp_path / "go")
    wait_until(lambda: states_of("inner") == {"RUNNING": 1}, "the inner call runs")
    (outer,) = state.list_tasks(filters=[("name", "=", "waits"), ("state", "=", "RUNNING")])
    (inner,) = state.list_tasks(filters=[("name", "=", "inner")])
    assert outer.task_id == ref.task_id()
    assert outer.worker_pid != inner.worker_pid
    assert {outer.worker_id, inner.worker_id} <= {worker.worker_id for worker in state.list_workers()}
    (tmp_path / "go").touch()
    assert distpool.get(ref, timeout=60) == outer.worker_pid
    wait_until(lambda: states_of("waits")["FINISHED"] == 1, "the outer call is told as finished")


@in_a_session
def test_calls_that_wait(tmp_path):
    first = after.options(name="first", num_cpus=4).remote(tmp_path / "go", 1)
    second = after.options(name="second", num_cpus=3).remote(tmp_path / "go", 2)
    third = after.options(name="third").remote(tmp_path / "go", first)
    wait_until(lambda: states_of("first") == {"RUNNING": 1}, "the first runs")
    assert states_of("second") == {"PENDING_NODE_ASSIGNMENT": 1}
    assert states_of("third") == {"PENDING_ARGS_AVAIL": 1}
    distpool.cancel(third)
    wait_until(lambda: states_of("third") == {"FAILED": 1}, "the third is told as failed")
    (cancelled,) = state.list_tasks(filters=[("name", "=", "third")])
    assert cancelled.error_type == "TASK_CANCELLED"
    (tmp_path / "go").touch()
    assert distpool.get([first, second], timeout=60) == [1, 2]


@in_a_session
def test_calls_that_run_side_by_side_in_an_actor(tmp_path):
    actor = Worker.options(max_concurrency=2).remote()
    refs = [actor.after.remote(tmp_path / "go", number) for number in range(3)]
    wait_until(
        lambda: (
            states_of("Worker.after", ("actor_id", "=", actor._actor_id.hex()))
            == {"RUNNING": 2, "SUBMITTED_TO_WORKER": 1}
        ),
        "two run and one waits for them",
    )
    (tmp_path / "go").touch()
    assert distpool.get(refs, timeout=60) == [0, 1, 2]


@in_a_session
def test_an_owner_that_is_stopped_is_left_out_and_named(tmp_path):
    ref = waits.remote(tmp_path / "go")
    wait_until(lambda: states_of("inner")["RUNNING"], "the inner call runs")
    (outer,) = state.list_tasks(filters=[("name", "=", "waits"), ("state", "=", "RUNNING")])
    os.kill(outer.worker_pid, signal.SIGSTOP)
    try:
        wait_until(lambda: all_stopped(outer.worker_pid), "each of its threads has stopped")
        with pytest.warns(
            RuntimeWarning, match=rf"partial: owner:{outer.worker_pid}-\w+ .* has not answered"
        ):
            told = state.list_tasks(filters=[("name", "=", "waits")])
        assert outer.task_id in {task.task_id for task in told}
        assert not state.list_tasks(
            filters=[("name", "=", "inner"), ("state", "=", "RUNNING")], raise_on_missing_output=False
        )
    finally:
        os.kill(outer.worker_pid, signal.SIGCONT)
    (tmp_path / "go").touch()
    distpool.get(ref, timeout=60)


@in_a_session
def test_the_life_of_an_actor():
    actor = Worker.options(max_restarts=1, max_task_retries=2, name="of the state").remote()
    pid = distpool.get(actor.pid.remote(), timeout=60)
    name = actor._actor_id.hex()
    told = state.get_actor(name)
    assert (told.class_name, told.state, told.name, told.pid, told.num_restarts) == (
        "Worker", "ALIVE", "of the state", pid, 0,
    )  # fmt: skip
    distpool.wait([actor.die.options(max_task_retries=0).remote()], timeout=60)
    distpool.get(actor.pid.remote(), timeout=60)
    wait_until(lambda: state.get_actor(name).state == "ALIVE", "it is alive again")
    assert state.get_actor(name).num_restarts == 1
    del actor
    wait_until(lambda: state.get_actor(name).state == "DEAD", "it has ended with its last handle")


@in_a_session
def test_references_of_another_process():
    @distpool.remote
    class Keeper:
        def put(self):
            self.ref = distpool.put(bytes(1_000_000))
            return self.ref.hex()

    keeper = Keeper.remote()
    name = distpool.get(keeper.put.remote(), timeout=60)
    (told,) = state.get_objects(name)
    assert told.type == "WORKER"
    assert told.object_size >= 1_000_000


@in_a_session
def test_the_job_and_the_nodes():
    (node,) = state.list_nodes()
    (job,) = state.list_jobs()
    assert (job.driver_node_id, job.status) == (node.node_id, "RUNNING")
    assert node.is_head_node
    assert job.job_id == distpool.get_runtime_context().get_job_id()


@in_a_session
def test_from_within_a_task():
    @distpool.remote
    def look():
        return [
            task.name for task in state.list_tasks(filters=[("state", "=", "RUNNING"), ("name", "=", "look")])
        ]

    assert distpool.get(look.remote(), timeout=60) == ["look"]


# ------------------------------------------------------------------------------- what is kept, and for how long


class Shell:
    def __init__(self):
        self.inbox, self.deliveries = [], []
        self.on_outcome = None


class Session:
    """As much of one as records need."""

    def __init__(self):
        self.shell = Shell()
        self.inquiries = Inquiries(None)
        outcomes = type("Outcomes", (), {"resting": []})
        self.core = type("Core", (), {"owner": "o", "node": "n", "pools": {}, "outcomes": outcomes})
        self.remote = type("Remote", (), {"waiting": {}})


class Token:
    raw = True

    def __init__(self, number, name="f"):
        self.number = number
        self.maker = type("Plan", (), {"about": About(name, name)})


class Call:
    def __init__(self, token):
        self.token = token


def told(kept):
    said = []
    kept.answer(Inquire(1, "tasks"), said.append)
    return records.decode(said[0])


def test_the_latest_that_have_ended_are_kept():
    kept = Records(Session())
    for first in range(0, 3 * records.ENDED_MAX, 1000):
        kept.note(
            Done([Call(Token(number)) for number in range(first, first + 1000)], [None] * 1000), "worker:l"
        )
    numbers = [task.number for task in told(kept).tasks]
    assert numbers == list(range(2 * records.ENDED_MAX, 3 * records.ENDED_MAX))


def test_errors_that_are_too_big_are_not_kept():
    kept = Records(Session())
    kept.note(Failed(Call(Token(1)), error=bytes(records.ERROR_BYTES_MAX + 1)), "worker:l")
    (task,) = told(kept).tasks
    assert "too big" in task.error


def test_calls_of_pools_are_none_of_its_business():
    kept = Records(Session())
    token = Token(1)
    token.raw = False
    kept.note(Done([Call(token)], [None]), "worker:l")
    kept.note(Failed(Call(token), reason="cancelled"), "")
    assert told(kept).tasks == []


def test_nothing_of_what_a_call_was_is_kept_alive():
    import weakref

    kept = Records(Session())
    token = Token(1)
    gone = weakref.ref(token)
    kept.note(Done([Call(token)], [None]), "worker:l")
    kept.note(Failed(Call(token), reason="x"), "worker:l")
    del token
    assert gone() is None


def test_threads_that_ask_at_once(session):
    found, errors = [], []

    def ask():
        try:
            found.append(len(state.list_nodes()))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (found, errors) == ([1] * 8, [])
