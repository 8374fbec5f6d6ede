"""Opening and closing, over and over: what a pool took it gives back, and a session too. The conftest counts."""

from __future__ import annotations

import gc
import os
import warnings

import pytest

from distpool.futures import ProcessPoolExecutor
from distpool.pool import Pool
from distpool.scheduler import client
from tests.processes import bodies, harness
from tests.processes.scene import check_core, count, run, wait_until

pytestmark = pytest.mark.usefixtures("engine")


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.timeout(7200 if count(0, 1) else 120)
def test_pools_that_are_opened_and_closed() -> None:
    before = _descriptors()
    for turn in range(count(20, 1000)):
        pool = Pool(2)
        assert pool.map(bodies.square, range(5)) == [0, 1, 4, 9, 16]
        if turn % 2:
            pool.close()
        else:
            pool.terminate()
        pool.join()
        with ProcessPoolExecutor(1) as executor:
            assert executor.submit(bodies.square, turn).result() == turn * turn
        assert _descriptors() <= before + 2
    assert not client.session().core.pools
    check_core()


@pytest.mark.timeout(7200 if count(0, 1) else 120)
def test_sessions_that_are_opened_and_closed() -> None:
    code = f"""
import os
import distpool
from distpool.scheduler import client

def cycle():
    with distpool.Pool(1) as pool:
        assert pool.apply(abs, (-1,)) == 1
    client.shutdown()

def held():
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[1])
    return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task")), pages

cycle(); cycle()
fds, threads, pages = held()
for _ in range({count(10, 1000)}):
    cycle()
fds_now, threads_now, pages_now = held()
assert (fds_now, threads_now) == (fds, threads), (fds_now, fds, threads_now, threads)
assert (pages_now - pages) * 4096 < 20 << 20, f"memory grew by {{(pages_now - pages) * 4096}} bytes"
print("done")
"""
    assert run(code, within_s=count(60, 6000)) == "done\n"


def test_a_pool_that_is_forgotten_goes_by_itself() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        pool = Pool(2)
        assert pool.apply(bodies.square, (3,)) == 9
        del pool
        gc.collect()
    wait_until(lambda: not client.session().core.pools, "the engine has dropped it")


def test_an_executor_that_is_forgotten_finishes_its_work_and_goes() -> None:
    executor = ProcessPoolExecutor(2)
    futures = [executor.submit(bodies.slow_square, n) for n in range(20)]
    del executor
    gc.collect()
    assert [future.result(20.0) for future in futures] == [n * n for n in range(20)]
    del futures
    wait_until(lambda: not client.session().core.pools, "the engine has dropped it")


def test_large_arguments_and_results_are_given_back() -> None:
    block = os.urandom(1 << 20)
    with Pool(2) as pool:
        for _ in range(5):
            assert pool.map(bodies.same, [block] * 8) == [block] * 8
    pool.join()


def test_a_task_that_leaves_things_behind() -> None:
    """Temp files and children of a task are its own; but the session's end takes the children along."""
    code = """
import distpool, os
with distpool.Pool(2) as pool:
    pool.map(os.system, ["sleep 1000 &"] * 4)
"""
    run(code)


def test_leaving_without_closing_anything() -> None:
    code = """
import distpool, time
from distpool.futures import ProcessPoolExecutor
pool = distpool.Pool(2)
pool.apply(abs, (1,))
unfinished = pool.map_async(time.sleep, [100] * 4)
unused = distpool.Pool(1)
print("done", flush=True)
"""
    assert run(code, within_s=10.0, env={"PYTHONWARNINGS": "ignore"}) == "done\n"


def test_workers_whose_link_is_lost_leave_though_their_owner_lives() -> None:
    """They would wait for work for ever, and their owner for them. Neither can the next ones dial it."""
    session = harness.Session()
    try:
        workers = [lease.pid for lease in session.lease(2)]
        session.workers.close(linger=0)
        assert not harness.survivors(workers, within_s=5.0)
    finally:
        session.close()
