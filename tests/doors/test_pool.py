"""Pool, beside multiprocessing.Pool."""

import gc
import itertools
import multiprocessing
import pickle
import threading
import time
import traceback
import warnings
from concurrent.futures import CancelledError

import pytest

from tests.doors import bodies
from tests.processes.scene import wait_until

pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")


@pytest.fixture
def two(make_pool):
    return make_pool(2)


# ------------------------------------------------------------------------------------ values


def test_apply(two):
    assert two.apply(bodies.echo, (1, "a"), {"k": [2]}) == ((1, "a"), {"k": [2]})
    assert two.apply_async(bodies.echo, [1, 2]).get() == ((1, 2), {})
    assert two.apply(bodies.echo) == ((), {})


@pytest.mark.parametrize("chunksize", [None, 1, 2, 7, 1000])
@pytest.mark.parametrize("count", [0, 1, 2, 17, 100])
def test_map(two, count, chunksize):
    items = list(range(count))
    assert two.map(bodies.square, items, chunksize) == [x * x for x in items]
    assert two.starmap(bodies.add, zip(items, items, strict=True), chunksize) == [2 * x for x in items]
    assert two.map_async(bodies.square, iter(items), chunksize).get() == [x * x for x in items]
    assert two.map(bodies.square, set(items), chunksize) == [x * x for x in set(items)]


@pytest.mark.parametrize("chunksize", [0, -1])
def test_map_in_chunks_of_nothing(two, chunksize):
    assert two.map(bodies.square, [1, 2, 3], chunksize) == [None, None, None]


@pytest.mark.parametrize("chunksize", [1, 3, 100])
@pytest.mark.parametrize("make", [list, tuple, iter, dict.fromkeys])
def test_imap(two, make, chunksize):
    items = list(range(20))
    expected = [x * x for x in items]
    assert list(two.imap(bodies.square, make(items), chunksize)) == expected
    assert sorted(two.imap_unordered(bodies.square, make(items), chunksize)) == expected


def test_imap_of_nothing(two):
    for method in (two.imap, two.imap_unordered):
        for empty in ([], iter([])):
            iterator = method(bodies.square, empty)
            for _ in range(2):
                with pytest.raises(StopIteration):
                    next(iterator)
            assert iter(iterator) is iterator


def test_imap_next(two):
    iterator = two.imap(bodies.square, range(3))
    assert [iterator.next(), iterator.next(timeout=30), next(iterator)] == [0, 1, 4]
    with pytest.raises(StopIteration):
        iterator.next(timeout=0.01)


def test_more_than_a_window(two):
    count = 12_000
    assert two.map(bodies.square, range(count), 1) == [x * x for x in range(count)]
    assert list(two.imap(bodies.square, iter(range(count)))) == [x * x for x in range(count)]
    assert sorted(two.imap_unordered(bodies.square, range(count))) == [x * x for x in range(count)]


def test_async_result(two):
    result = two.apply_async(bodies.square, (3,))
    result.wait(30)
    assert result.ready()
    assert result.successful()
    assert (result.get(), result.get(timeout=0)) == (9, 9)


def test_not_yet(two, tmp_path):
    result = two.apply_async(bodies.wait_for_file, (tmp_path / "go",))
    assert not result.ready()
    with pytest.raises(ValueError, match="not ready"):
        result.successful()
    with pytest.raises(multiprocessing.TimeoutError):
        result.get(timeout=0.01)
    with pytest.raises(multiprocessing.TimeoutError):
        result.get(timeout=-1)
    assert result.wait(0.01) is None
    iterator = two.imap(bodies.wait_for_file, [tmp_path / "go"])
    with pytest.raises(multiprocessing.TimeoutError):
        iterator.next(timeout=0.01)
    bodies.touch(tmp_path / "go")
    assert result.get(30) == iterator.next(30) == tmp_path / "go"


def test_eight_threads_wait_at_once(two, tmp_path):
    result = two.apply_async(bodies.wait_for_file, (tmp_path / "go",))
    got = []
    threads = [threading.Thread(target=lambda: got.append(result.get(30))) for _ in range(8)]
    for thread in threads:
        thread.start()
    bodies.touch(tmp_path / "go")
    for thread in threads:
        thread.join(30)
    assert got == [tmp_path / "go"] * 8


# ---------------------------------------------------------------------------------- callbacks


def test_callbacks(two):
    values, errors = [], []
    two.apply_async(bodies.square, (3,), callback=values.append, error_callback=errors.append).wait()
    two.map_async(bodies.square, [1, 2], callback=values.append, error_callback=errors.append).wait()
    two.starmap_async(bodies.add, [(1, 2)], callback=values.append, error_callback=errors.append).wait()
    assert (values, errors) == ([9, [1, 4], [3]], [])
    two.apply_async(bodies.fail, (3,), callback=values.append, error_callback=errors.append).wait()
    two.map_async(bodies.fail, [1], callback=values.append, error_callback=errors.append).wait()
    assert len(values) == 3
    assert [repr(error) for error in errors] == ["ValueError(3)", "ValueError(1)"]


def test_callback_may_use_the_pool(two):
    done = threading.Event()

    def again(value):
        two.apply_async(bodies.square, (value,), callback=lambda _: done.set())

    two.apply_async(bodies.square, (3,), callback=again)
    assert done.wait(30)


def test_callback_that_raises_stops_nothing(ours, two, monkeypatch):
    shown = []
    monkeypatch.setattr(threading, "excepthook", shown.append)
    assert two.apply_async(bodies.square, (3,), callback=lambda _: 1 / 0).get(30) == 9
    assert shown[0].exc_type is ZeroDivisionError
    assert two.apply(bodies.square, (4,)) == 16


# --------------------------------------------------------------------------------- exceptions


def test_exception(library, two):
    with pytest.raises(ValueError, match="7") as raised:
        two.apply(bodies.fail, (7,))
    assert type(raised.value) is ValueError
    cause = raised.value.__cause__
    assert type(cause) is multiprocessing.pool.RemoteTraceback
    assert "raise ValueError(x)  # the line that shows" in str(cause)
    assert "the line that shows" in "".join(traceback.format_exception(raised.value))
    result = two.apply_async(bodies.fail, (7,))
    result.wait()
    assert not result.successful()


def test_first_error_wins_in_a_map(two):
    for chunksize in (None, 1, 2):
        with pytest.raises(ValueError, match="3"):
            two.map(bodies.fail_at, range(10), chunksize)


def test_error_at_its_place_in_an_imap(two):
    iterator = two.imap(bodies.fail_at, range(6))
    got = []
    while True:
        try:
            got.append(next(iterator))
        except ValueError as error:
            got.append(repr(error))
        except StopIteration:
            break
    assert got == [0, 1, 2, "ValueError(3)", 4, 5]


@pytest.mark.parametrize("chunksize", [None, 1, 2])
def test_map_of_an_iterable_that_raises(library, two, chunksize):
    # The standard library waits for ever for the rest of one that has a length and fails after a chunk.
    for iterable in (bodies.unhappy(10, 4), bodies.Unhappy(10, 4) if library.ours else bodies.Unhappy(1, 0)):
        with pytest.raises(bodies.Odd) as raised:
            two.map(bodies.square, iterable, chunksize)
        assert raised.value.__cause__ is None


@pytest.mark.parametrize(("chunksize", "before"), [(1, 4), (2, 4), (3, 3)])
def test_imap_of_an_iterable_that_raises(two, chunksize, before):
    iterator = two.imap(bodies.square, bodies.unhappy(10, 4), chunksize)
    assert [next(iterator) for _ in range(before)] == [x * x for x in range(before)]
    with pytest.raises(bodies.Odd) as raised:
        next(iterator)
    assert raised.value.__cause__ is None
    with pytest.raises(StopIteration):
        next(iterator)
    iterator = two.imap_unordered(bodies.square, bodies.unhappy(10, 0), chunksize)
    with pytest.raises(bodies.Odd):
        next(iterator)


def test_imap_of_what_cannot_be_iterated(two):
    iterator = two.imap(bodies.square, 5)
    with pytest.raises(TypeError, match="'int' object is not iterable"):
        next(iterator)


def test_result_that_cannot_be_pickled(library, two):
    with pytest.raises(multiprocessing.pool.MaybeEncodingError) as raised:
        two.apply_async(bodies.make_cannot_pickle).get(30)
    assert "no way out" in raised.value.exc
    assert "CannotPickle object" in raised.value.value
    assert str(raised.value).startswith("Error sending result: ")


def test_argument_that_cannot_be_pickled(two):
    errors = []
    result = two.apply_async(bodies.nothing, (bodies.CannotPickle(),), error_callback=errors.append)
    with pytest.raises(RuntimeError, match="no way out"):
        result.get(30)
    assert len(errors) == 1
    for chunksize in (1, 2):
        with pytest.raises(RuntimeError, match="no way out"):
            two.map(bodies.nothing, [1, bodies.CannotPickle(), 2], chunksize)
    iterator = two.imap(bodies.square, [1, bodies.CannotPickle(), 2])
    assert next(iterator) == 1
    with pytest.raises(RuntimeError, match="no way out"):
        next(iterator)
    assert next(iterator) == 4
    assert two.apply(bodies.square, (2,)) == 4


def test_arguments_of_the_wrong_kind(two):
    with pytest.raises(TypeError):
        two.apply_async(bodies.square, 5).get(30)
    with pytest.raises(TypeError):
        two.apply_async(bodies.square, (1, 2, 3)).get(30)
    with pytest.raises(TypeError):
        two.starmap(bodies.add, [1, 2], 1)
    with pytest.raises(TypeError):
        two.map(bodies.square, 5)


def test_system_exit_of_a_call_fails_that_call(ours, two):
    with pytest.raises(SystemExit):
        two.apply_async(exit, (3,)).get(30)
    assert two.apply(bodies.square, (2,)) == 4


# --------------------------------------------------------------------------- making and ending


@pytest.mark.parametrize(
    ("arguments", "kind", "text"),
    [
        ({"processes": 0}, ValueError, "Number of processes must be at least 1"),
        ({"processes": -1}, ValueError, "Number of processes must be at least 1"),
        ({"processes": "2"}, TypeError, "not supported between"),
        ({"maxtasksperchild": 0}, ValueError, "maxtasksperchild must be a positive int or None"),
        ({"maxtasksperchild": 0.5}, ValueError, "maxtasksperchild must be a positive int or None"),
        ({"maxtasksperchild": "12"}, ValueError, "maxtasksperchild must be a positive int or None"),
        ({"initializer": 1}, TypeError, "initializer must be a callable"),
    ],
)
def test_what_a_pool_refuses(library, arguments, kind, text):
    with pytest.raises(kind, match=text):
        library.Pool(**arguments)


@pytest.mark.parametrize("retries", [-1, "many", 1.5])
def test_retries_must_be_a_whole_number(ours, retries, monkeypatch):
    with pytest.raises(ValueError, match="retries must be a whole number"):
        ours.Pool(1, retries=retries)
    monkeypatch.setenv("DISTPOOL_RETRIES", str(retries))
    with pytest.raises(ValueError, match="DISTPOOL_RETRIES must be a whole number"):
        ours.Pool(1)


def test_closed_pool(library, make_pool):
    pool = make_pool(1)
    result = pool.map_async(bodies.square, range(3))
    with pytest.raises(ValueError, match="Pool is still running"):
        pool.join()
    pool.close()
    pool.close()
    for method, arguments in [
        (pool.apply, (bodies.square, (1,))),
        (pool.apply_async, (bodies.square, (1,))),
        (pool.map, (bodies.square, [1])),
        (pool.starmap_async, (bodies.add, [(1, 2)])),
        (pool.imap, (bodies.square, [1])),
        (pool.imap_unordered, (bodies.square, [1], 2)),
        (pool.__enter__, ()),
    ]:
        with pytest.raises(ValueError, match="Pool not running"):
            method(*arguments)
    pool.join()
    assert result.get(0) == [0, 1, 4]


def test_chunksize_of_imap(two):
    for method in (two.imap, two.imap_unordered):
        with pytest.raises(ValueError, match=r"Chunksize must be 1\+, not 0"):
            method(bodies.square, [1], 0)


def test_with_terminates(library, tmp_path):
    with library.Pool(1) as pool:
        started = pool.apply_async(bodies.touch_and_wait, (tmp_path / "started", tmp_path / "go"))
        bodies.wait_for_file(tmp_path / "started")
        waiting = pool.map_async(bodies.square, range(10_000), 1)
    pool.join()
    bodies.touch(tmp_path / "go")  # for nobody any more
    if library.ours:  # the standard library leaves these waiting for ever
        for result in (started, waiting):
            with pytest.raises(CancelledError):
                result.get(30)
    with pytest.raises(ValueError, match="Pool not running"):
        pool.map_async(bodies.square, [1])


def test_join_needs_nobody_to_take_results(make_pool):
    pool = make_pool(2)
    iterator = pool.imap(bodies.square, iter(range(12_000)))
    pool.close()
    pool.join()
    assert list(iterator) == [x * x for x in range(12_000)]


def test_join_returns_after_the_last_callback(make_pool):
    pool = make_pool(2)
    seen = []
    for i in range(200):
        pool.apply_async(bodies.square, (i,), callback=seen.append)
    pool.close()
    pool.join()
    assert sorted(seen) == [i * i for i in range(200)]


def test_unclosed_pool_warns(library):
    pool = library.Pool(1)
    pool.terminate()
    pool.join()
    pool._state = multiprocessing.pool.RUN
    with pytest.warns(ResourceWarning, match="unclosed running multiprocessing pool"):  # noqa: PT031
        del pool
        gc.collect()


def test_dropped_pool_ends_its_workers(ours):
    pool = ours.Pool(2)
    assert pool.map(bodies.square, [1, 2]) == [1, 4]
    workers = pool._pool
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        del pool
        gc.collect()
    for worker in workers:
        worker.join(30)
        assert not worker.is_alive()


def test_pool_is_not_kept_by_its_results(two):
    result = two.apply_async(bodies.square, (1,))
    iterator = two.imap(bodies.square, iter([1]))
    assert [result.get(30), next(iterator)] == [1, 1]
    # The standard one wakes the waiter first and lets go of the pool after that.
    until = time.monotonic() + 30
    while (result._pool, iterator._pool) != (None, None) and time.monotonic() < until:
        time.sleep(0.001)
    assert (result._pool, iterator._pool) == (None, None)


def test_repr_and_pickle(library, two):
    name = "multiprocessing.pool" if not library.ours else "distpool.pool"
    assert repr(two) == f"<{name}.Pool state=RUN pool_size=2>"
    with pytest.raises(
        NotImplementedError, match="pool objects cannot be passed between processes or pickled"
    ):
        pickle.dumps(two)


# ------------------------------------------------------------------------------------- workers


def test_initializer(make_pool):
    pool = make_pool(1, bodies.remember, ("key", 5))
    assert pool.apply(bodies.recall, ("key",)) == 5


def test_initializer_that_fails_breaks_the_pool(ours, make_pool):
    from concurrent.futures.process import BrokenProcessPool

    pool = make_pool(1, bodies.fail_set_up)
    result = pool.apply_async(bodies.square, (1,))
    with pytest.raises(BrokenProcessPool, match="error in initializer") as raised:
        result.get(30)
    assert isinstance(raised.value.__cause__, ValueError)
    with pytest.raises(BrokenProcessPool, match="error in initializer"):
        pool.map(bodies.square, [1, 2])


def test_worker_names(library, make_pool):
    for method, name in [("fork", "ForkPoolWorker-"), ("spawn", "SpawnPoolWorker-")]:
        pool = make_pool(1, context=library.get_context(method))
        assert any(found.startswith(name) for found in pool.apply(bodies.name_of_worker))
        assert pool._pool[0].name.startswith(name)


def test_look_inside(make_pool):
    pool = make_pool(3)
    assert pool._processes == len(pool._pool) == 3
    assert len({worker.pid for worker in pool._pool}) == 3
    for worker in pool._pool:
        assert isinstance(worker.pid, int)
        assert worker.is_alive()
        assert worker.exitcode is None


def test_maxtasksperchild(library, make_pool):
    pool = make_pool(2, maxtasksperchild=3)
    before = sorted(worker.pid for worker in pool._pool)
    assert pool.map(bodies.square, range(30), 1) == [x * x for x in range(30)]
    pool._repopulate_pool()
    # One that has done its three may still be on its way out. (The standard pool may be given a third for good: its
    # own thread makes up for the dead at the same time.)
    wait_until(lambda: len(pool._pool) == 2 or not library.ours, "there are two again")
    after = sorted(worker.pid for worker in pool._pool)
    assert len(after) >= 2
    assert after != before


# ------------------------------------------------------------------------------ only distpool


def test_endless_generators_start_at_once_and_are_not_read_ahead(ours, two):
    read = itertools.count()
    for method in (two.imap, two.imap_unordered):
        for chunksize in (1, 10):
            iterator = method(bodies.square, (next(read) for _ in itertools.count()), chunksize)
            assert len([next(iterator) for _ in range(100)]) == 100
    assert next(read) < 4 * 10 * 6000


def test_slow_taker_holds_the_reader_back(ours, two):
    read = 0

    def source():
        nonlocal read
        while True:
            read += 1
            yield read

    iterator = two.imap(bodies.large, (1 << 20 for _ in source()))
    for _ in range(150):
        assert len(next(iterator)) == 1 << 20
    assert read < 150 + 300  # 64 MiB, or what was unknown at first; not thousands


def test_a_waiting_generator_delays_nothing(ours, two, tmp_path):
    def source():
        yield 3
        bodies.wait_for_file(tmp_path / "go")
        yield 4

    iterator = two.imap(bodies.square, source())
    assert next(iterator) == 9
    bodies.touch(tmp_path / "go")
    assert next(iterator) == 16


def test_dead_worker_costs_its_call_alone(on_local, make_pool):
    from distpool.errors import WorkerDied

    pool = make_pool(2, retries=1)
    results = [pool.apply_async(bodies.square, (i,)) for i in range(50)]
    bad = pool.apply_async(kill_worker, ("bad",))
    with pytest.raises(WorkerDied, match="SIGKILL") as raised:
        bad.get(30)
    assert raised.value.death.signal == 9
    assert kills["bad"] == 2
    assert [result.get(30) for result in results] == [i * i for i in range(50)]
    assert pool.apply(bodies.square, (3,)) == 9


kills = {}


def kill_worker(name):
    from distpool.engines.local import WorkerKilled

    kills[name] = kills.get(name, 0) + 1
    raise WorkerKilled
