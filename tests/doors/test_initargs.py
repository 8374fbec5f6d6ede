"""What an initializer is given: queues, locks, pipes and values, as multiprocessing's own children are."""

import gc
import logging
import multiprocessing
import os
import time
import weakref
from concurrent.futures.process import BrokenProcessPool

import pytest

from distpool.scheduler.shells.lending import LENDER, as_if_spawning
from tests.doors import bodies

SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def shared():
    """One of each, and the reading end of the pipe."""
    reader, writer = SPAWN.Pipe(duplex=False)
    queue = SPAWN.Queue()
    with reader, writer:
        yield queue, SPAWN.Lock(), SPAWN.Value("i", 0), writer, reader
    queue.close()
    queue.join_thread()


def wait_until(condition, timeout_s=10.0):
    """The engine's thread may be about to let go."""
    until = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.001)


def test_queues_locks_values_and_pipes_reach_each_worker_and_its_successors(in_processes, make_pool, shared):
    *given, reader = shared
    queue, _, value, _ = given
    pool = make_pool(2, bodies.keep, tuple(given), maxtasksperchild=5)
    assert pool.map(bodies.use_kept, range(20), 1) == list(range(20))
    assert sorted(queue.get(timeout=30) for _ in range(20)) == list(range(20))
    piped = []
    while len(piped) < 20:
        assert reader.poll(30)
        piped.append(reader.recv())
    assert sorted(piped) == list(range(20))
    assert value.value == 20


@pytest.mark.parametrize("door", ["Pool", "ProcessPoolExecutor"])
def test_what_was_given_is_let_go_with_the_pool_at_once(on_native, door):
    held_before = set(LENDER._held)
    queue = SPAWN.Queue()
    alive = weakref.ref(queue)
    made = getattr(on_native, door)(1, initializer=bodies.remember, initargs=("queue", queue))
    assert list(made.map(bodies.square, [3])) == [9]
    assert set(LENDER._held) > held_before
    if door == "Pool":
        made.close()
        made.join()
    else:
        made.shutdown()
    gc.disable()  # the point is that nothing has to be collected
    try:
        del made, queue
        wait_until(lambda: alive() is None)
    finally:
        gc.enable()
    gc.collect()
    assert set(LENDER._held) <= held_before


def test_a_lock_of_the_fork_context_is_refused_with_the_remedy(on_native, make_pool):
    with pytest.raises(RuntimeError, match="fork context") as raised:
        make_pool(1, bodies.remember, ("lock", multiprocessing.get_context("fork").Lock()))
    assert "get_context('spawn')" in "".join(raised.value.__notes__)


def test_a_descriptor_is_lent_as_long_as_its_borrower_lives():
    class Borrower:
        pass

    borrower = Borrower()
    reading, writing = os.pipe()
    lent = LENDER.lend(writing, borrower)
    os.close(writing)
    for _ in range(2):  # again and again
        copy = lent.detach()
        os.write(copy, b"x")
        os.close(copy)
    assert os.read(reading, 2) == b"xx"
    del borrower
    with pytest.raises(OSError, match="is gone"):
        lent.detach()
    assert os.read(reading, 1) == b""  # no copy of the other end is left
    os.close(reading)


def test_only_this_thread_and_only_now_seems_to_be_spawning():
    lock = SPAWN.Lock()
    with as_if_spawning(lock):
        with as_if_spawning(lock):
            pass
        assert multiprocessing.reduction.ForkingPickler.dumps(lock)
    with pytest.raises(RuntimeError, match="through inheritance"):
        multiprocessing.reduction.ForkingPickler.dumps(lock)


def test_an_executor_logs_in_the_worker_why_its_initializer_failed(library, make_executor, tmp_path):
    log = tmp_path / "log"
    logger = logging.getLogger("concurrent.futures")
    before = logger.handlers[:], logger.propagate
    executor = make_executor(1, initializer=bodies.fail_after_opening_log, initargs=(log,))
    try:
        with pytest.raises(BrokenProcessPool):
            executor.submit(bodies.square, 3).result(30)
    finally:
        for handler in set(logger.handlers) - set(before[0]):
            logger.removeHandler(handler)
            handler.close()
        logger.propagate = before[1]
    text = log.read_text()
    assert text.startswith("Exception in initializer:\nTraceback ")
    assert "ValueError: error in initializer" in text
