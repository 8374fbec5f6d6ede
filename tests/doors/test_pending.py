"""The table of an executor's pending calls: its memory goes when it runs empty, and never a call with it."""

import gc
import random
import threading
import time
import weakref

from distpool import executor_work
from tests.doors import bodies

CALLS = 8000


def test_a_big_table_is_let_go_when_it_runs_empty(ours, make_executor, tmp_path):
    executor = make_executor(1)
    first = executor.submit(bodies.wait_for_file, tmp_path / "go")
    work = executor._work
    futures = [executor.submit(bodies.square, n) for n in range(CALLS)]
    assert len(work.pending) == CALLS + 1
    assert work.pending.__sizeof__() > executor_work.TABLE_BYTES_KEPT
    bodies.touch(tmp_path / "go")
    assert [future.result(30) for future in futures] == [n * n for n in range(CALLS)]
    assert first.done()
    assert not work.pending
    assert work.pending.__sizeof__() < 1000


def test_a_big_table_is_let_go_when_all_was_cancelled(ours, make_executor, tmp_path):
    executor = make_executor(1)
    first = executor.submit(bodies.wait_for_file, tmp_path / "go")
    work = executor._work
    futures = [executor.submit(bodies.square, n) for n in range(CALLS)]
    assert all(future.cancel() for future in futures)
    bodies.touch(tmp_path / "go")
    first.result(30)
    assert work.pending.__sizeof__() < 1000
    assert executor.submit(bodies.square, 3).result(30) == 9


def test_a_small_table_stays(ours, make_executor):
    executor = make_executor(1)
    assert executor.submit(bodies.square, 2).result(30) == 4
    table = executor._work.pending
    assert executor.submit(bodies.square, 3).result(30) == 9
    assert executor._work.pending is table


def test_a_call_that_comes_while_the_table_is_let_go(ours, make_executor, monkeypatch):
    monkeypatch.setattr(executor_work, "TABLE_BYTES_KEPT", -1)
    executor = make_executor(1)
    executor.submit(abs, 1).result(30)
    work = executor._work

    class AnotherThreadIsFirst:
        def __enter__(self):
            work.pending["its call"] = None

        def __exit__(self, *_):
            pass

    work.entering, entering = AnotherThreadIsFirst(), work.entering
    work.ran_empty()
    work.entering = entering
    assert list(work.pending) == ["its call"]
    work.settled("its call")
    assert not work.pending


def test_no_call_is_lost_when_the_table_is_let_go_at_every_turn(ours, make_executor, monkeypatch):
    """Threads submit, and take their results, so that the table runs empty at whatever instant."""
    monkeypatch.setattr(executor_work, "TABLE_BYTES_KEPT", -1)
    executor = make_executor(2)
    executor.submit(abs, 1).result(30)
    work = executor._work
    missing = []

    def submit_and_wait(seed):
        chance = random.Random(seed)
        for _ in range(150):
            futures = [executor.submit(bodies.square, n) for n in range(chance.randrange(1, 4))]
            for future in futures:
                if future not in work.pending and not future.done():
                    missing.append(future)
            assert [future.result(30) for future in futures] == [n * n for n in range(len(futures))]

    threads = [threading.Thread(target=submit_and_wait, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not missing
    assert not work.pending


def test_a_finalizer_may_submit_in_the_middle_of_a_submit(ours, make_executor):
    executor = make_executor(2)
    submitted = []

    class Garbage:
        def __init__(self):
            self.me = self

        def __del__(self):
            submitted.append(executor.submit(bodies.square, 5))

    executor.submit(abs, 1).result(30)
    threshold = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for _ in range(50):
            Garbage()
            executor.submit(bodies.square, 4).result(30)
    finally:
        gc.set_threshold(*threshold)
    until_s = time.monotonic() + 30
    while len(submitted) < 50 and time.monotonic() < until_s:
        gc.collect()  # does nothing while another thread collects, which may have found most of them
        time.sleep(0.01)
    assert [future.result(30) for future in submitted] == [25] * 50


def test_a_settled_future_is_kept_by_nobody(ours, make_executor):
    executor = make_executor(1)
    future = executor.submit(bodies.square, 3)
    assert future.result(30) == 9
    gone = weakref.ref(future)
    executor.submit(bodies.square, 4).result(30)  # its batch has been delivered
    del future
    gc.collect()
    assert gone() is None
