"""``worker_state=``: made once in each worker, seen by its tasks, closed when the worker ends in good order."""

import contextlib
import os
import threading
from concurrent.futures.process import BrokenProcessPool

import pytest

import distpool
from distpool.errors import NoWorkerState


class Model:
    """Leaves a line in a file when it is made, and one when it is closed."""

    def __init__(self, log):
        self.log = log
        self.uses = 0
        note(log, "made")

    def close(self):
        note(self.log, "closed")


@contextlib.contextmanager
def opened(log):
    note(log, "entered")
    yield {"log": log}
    note(log, "left")


def note(log, word):
    with open(log, "a") as file:
        file.write(f"{word} {os.getpid()}\n")


def words(log):
    return [line.split()[0] for line in log.read_text().splitlines()]


def use(_):
    state = distpool.worker_state()
    state.uses += 1
    return os.getpid(), state.uses


def ask_in_a_thread():
    seen = []
    thread = threading.Thread(target=lambda: seen.append(distpool.worker_state()))
    thread.start()
    thread.join()
    return seen


def prepare(value):
    global prepared
    prepared = value


def what_was_prepared():
    return prepared * 2


def refuse():
    raise OSError("no such model")


def end_process():
    os._exit(3)


def test_it_is_made_once_in_each_worker(ours, make_pool, tmp_path):
    log = tmp_path / "log"
    pool = make_pool(2, worker_state=lambda: Model(log))
    answers = pool.map(use, range(40), chunksize=1)
    assert 1 <= len(words(log)) <= 2
    assert max(uses for _, uses in answers) > 2


def test_an_executor_has_it_too(ours, make_executor, tmp_path):
    log = tmp_path / "log"
    executor = make_executor(1, worker_state=lambda: Model(log))
    assert [uses for _, uses in executor.map(use, range(5))] == [1, 2, 3, 4, 5]
    assert words(log)[0] == "made"


def test_it_is_made_after_the_initializer(on_native, make_pool):
    pool = make_pool(1, prepare, (21,), worker_state=what_was_prepared)
    assert pool.apply(distpool.worker_state) == 42


def test_threads_of_a_task_see_it(on_native, make_pool):
    assert make_pool(1, worker_state=lambda: "here").apply(ask_in_a_thread) == ["here"]


def test_a_replaced_worker_makes_its_own_and_the_old_one_closes_its(on_native, make_pool, tmp_path):
    log = tmp_path / "log"
    pool = make_pool(1, maxtasksperchild=2, worker_state=lambda: Model(log))
    answers = pool.map(use, range(4), chunksize=1)
    assert [uses for _, uses in answers] == [1, 2, 1, 2]
    pool.close()
    pool.join()
    assert words(log).count("made") == words(log).count("closed") >= 2


def test_a_worker_that_died_is_replaced_with_a_state(on_native, make_pool):
    pool = make_pool(1, retries=0, worker_state=lambda: "there")
    with pytest.raises(distpool.errors.WorkerDied):
        pool.apply(end_process)
    assert pool.apply(distpool.worker_state) == "there"


def test_a_context_manager_is_entered_and_left(on_native, make_executor, tmp_path):
    log = tmp_path / "log"
    executor = make_executor(1, worker_state=lambda: opened(log))
    assert executor.submit(distpool.worker_state).result() == {"log": log}
    assert words(log) == ["entered"]
    executor.shutdown()
    assert words(log) == ["entered", "left"]


def test_its_exception_breaks_the_pool(ours, make_pool):
    pool = make_pool(1, worker_state=refuse)
    with pytest.raises(distpool.errors.PoolBroken, match="no such model"):
        pool.apply(use, (1,))


def test_its_exception_breaks_the_executor(ours, make_executor):
    executor = make_executor(1, worker_state=refuse)
    with pytest.raises(BrokenProcessPool, match="no such model"):
        executor.submit(use, 1).result()


def test_where_there_is_none_the_remedy_is_named(ours, make_pool):
    with pytest.raises(NoWorkerState, match="worker_state=") as raised:
        make_pool(1).apply(distpool.worker_state)
    assert isinstance(raised.value, RuntimeError)
    assert isinstance(raised.value, LookupError)
    with pytest.raises(NoWorkerState):
        distpool.worker_state()


@pytest.mark.parametrize("wrong", [3, ("a", "b")])
def test_what_cannot_be_called_is_refused(library, ours, wrong):
    with pytest.raises(TypeError, match=r"worker_state must be a function.*functools\.partial"):
        library.Pool(1, worker_state=wrong)
    with pytest.raises(TypeError, match="worker_state must be a function"):
        library.ProcessPoolExecutor(1, worker_state=wrong)
