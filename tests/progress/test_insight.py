"""Where the workers' time and data went, as it is known after a run."""

import os
import signal
import time

import pytest

from distpool import engines
from distpool.engines.local import LocalEngine
from distpool.futures import ProcessPoolExecutor
from distpool.pool import Pool
from distpool.scheduler.messages import Death, Results, SetupDone
from distpool.scheduler.shells.accounts import KEPT_MAX, Account, Accounts, PoolAccounts
from tests.progress import bodies


def test_a_run_is_accounted_for():
    began_s = time.monotonic()
    with Pool(2, initializer=bodies.nap) as pool:
        pool.map(bodies.slow, range(200), chunksize=10)
        insight = pool.insight()
        lasted_s = time.monotonic() - began_s
    total = insight.total
    assert len(insight.workers) == 2
    assert (total.tasks, total.items) == (20, 200)
    assert 1.0 <= total.work_s < 2 * lasted_s
    for worker in insight.workers:
        assert worker.pid > 0
        assert not worker.gone
        assert worker.setup_s >= 0.2
        assert 0.0 < worker.start_s < lasted_s
        assert worker.start_s + worker.setup_s + worker.wait_s + worker.work_s == pytest.approx(
            lasted_s, abs=0.5
        )
        assert worker.peak_bytes > 1 << 20
    assert total.work_s == pytest.approx(sum(worker.work_s for worker in insight.workers))
    assert total.peak_bytes == max(worker.peak_bytes for worker in insight.workers)


@pytest.mark.parametrize(("method", "chunksize"), [("map", None), ("map", 1), ("imap", 1), ("imap", 7)])
@pytest.mark.parametrize("progress", [False, {"file": open(os.devnull, "w")}])  # noqa: SIM115
def test_items_are_counted_at_any_chunk_size(method, chunksize, progress):
    with Pool(2) as pool:
        list(getattr(pool, method)(bodies.slow, range(60), chunksize, progress=progress))
        list(getattr(pool, method)(abs, range(60), chunksize, progress=progress))
        assert pool.insight().total.items == 120


def test_data_in_messages_is_weighed():
    with Pool(1) as pool:
        pool.map(len, [b"x" * 8192] * 20, chunksize=1)
        sent = pool.insight().total
        assert 20 * 8192 < sent.bytes_in < 20 * 8192 + 20000
        assert sent.bytes_out < 4000
        pool.map(bodies.kilobytes, [8] * 20, chunksize=1)
        assert 20 * 8192 < pool.insight().total.bytes_out - sent.bytes_out < 20 * 8192 + 20000


def test_it_is_there_after_the_end_and_stands_still():
    pool = Pool(2)
    pool.map(bodies.slow, range(10), chunksize=1)
    pool.close()
    pool.join()
    insight = pool.insight()
    assert insight == pool.insight()
    assert all(worker.gone and worker.peak_bytes > 1 << 20 for worker in insight.workers)
    assert insight.total.items == 10


def test_executors_too_before_their_first_call_and_after_their_end():
    executor = ProcessPoolExecutor(2)
    assert executor.insight().workers == ()
    with executor:
        list(executor.map(bodies.slow, range(20)))
    assert executor.insight().total.tasks == 20


def test_replaced_workers_have_their_own_lines():
    with ProcessPoolExecutor(1, max_tasks_per_child=5) as executor:
        list(executor.map(bodies.slow, range(15)))
    workers = executor.insight().workers
    assert [worker.tasks for worker in workers][:3] == [5, 5, 5]
    assert len({worker.pid for worker in workers}) == len(workers)


def test_a_worker_that_is_killed_has_done_what_it_answered():
    with Pool(1) as pool:
        pool.map(bodies.slow, range(5), chunksize=1)
        os.kill(pool.insight().workers[0].pid, signal.SIGKILL)
        pool.map(bodies.slow, range(5), chunksize=1)
        first, second = pool.insight().workers
    assert (first.gone, first.tasks, second.gone, second.tasks) == (True, 5, False, 5)
    assert second.start_s < 5.0, "its time counts from the death of the one before it"


def test_the_table():
    with Pool(1) as pool:
        pool.map(bodies.slow, range(12), chunksize=4)
        heading, worker, total = str(pool.insight()).splitlines()
    assert heading.split() == (
        [
            "worker",
            "pid",
            "start",
            "set-up",
            "wait",
            "work",
            "tasks",
            "items",
            "data",
            "in",
            "data",
            "out",
            "peak",
            "memory",
        ]
    )
    assert worker.split()[0] == "1"
    assert total.split()[0] == "total"
    assert len(heading) == len(worker) == len(total)
    assert "  3     12  " in total


def test_a_pool_of_threads_counts_nothing():
    engine = LocalEngine()
    with engines.use(engine), Pool(1) as pool:
        pool.map(abs, range(5))
        assert str(pool.insight()).splitlines()[-1].split()[0] == "total"
    engine.shutdown()


def test_many_workers_are_kept_in_one():
    pool = PoolAccounts()
    for number in range(KEPT_MAX + 50):
        account = Account()
        account.add(SetupDone())
        account.add(Results([1, 2], [0, 0], busy_s=0.5, more_items=3))
        pool.up(f"n.{number}", 1000 + number, "n", account)
        pool.gone(f"n.{number}")
    earlier, *latest = pool.workers("n")
    assert (earlier.pid, earlier.tasks, earlier.items, earlier.work_s) == (0, 100, 250, 25.0)
    assert [worker.pid for worker in latest] == list(range(1050, 1000 + KEPT_MAX + 50))


def test_both_links_of_a_worker_are_one_account():
    accounts = Accounts()
    accounts.open(b"d:n.1", "n.1")
    accounts.open(b"c:n.1", "n.1")
    assert accounts.of_link[b"d:n.1"] is accounts.of_link[b"c:n.1"]
    accounts.died("n.1", Death(7, "h", 9, -9, peak_rss_bytes=5))
    assert accounts.of_link[b"d:n.1"].peak_bytes == 5
    accounts.forget("n.1")
    assert not accounts.of_link
    assert accounts.take("n.1").peak_bytes == 5
    assert accounts.take("n.1").peak_bytes == 0
