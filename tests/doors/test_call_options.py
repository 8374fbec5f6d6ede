"""``task_timeout=``, ``retries=``, ``errors=`` and their kin at the front doors, on each engine of ours."""

import time

import pytest

import distpool
from distpool.call_options import memory_bytes
from distpool.engines.local import WorkerKilled
from tests.doors import bodies

pytestmark = pytest.mark.usefixtures("ours")


@pytest.fixture
def two(make_pool):
    return make_pool(2)


def nap(task_s):
    time.sleep(task_s)
    return task_s


def shown(results):
    """Values as they are, exceptions by their type."""
    return [type(x) if isinstance(x, BaseException) else x for x in results]


EXPECTED = [0, 1, 4, ValueError, 16]


def test_errors_in_the_places_of_results(two):
    for chunksize in (None, 1, 3):
        results = two.map(square_but, range(5), chunksize, errors="return")
        assert shown(results) == EXPECTED
        assert str(results[3]) == "three"
    assert shown(two.starmap(square_but, zip(range(5)), errors="return")) == EXPECTED
    assert shown(two.map_async(square_but, range(5), errors="return").get()) == EXPECTED
    assert shown(two.starmap_async(square_but, zip(range(5)), errors="return").get()) == EXPECTED
    assert shown(two.imap(square_but, range(5), 2, errors="return")) == EXPECTED
    assert sorted(map(str, shown(two.imap_unordered(square_but, range(5), errors="return")))) == sorted(
        map(str, EXPECTED)
    )


def test_they_are_raised_otherwise(two):
    with pytest.raises(ValueError, match="three"):
        two.map(square_but, range(5), errors="raise")
    results = two.imap(square_but, range(5))
    assert [next(results) for _ in range(3)] == [0, 1, 4]
    with pytest.raises(ValueError, match="three"):
        next(results)
    assert next(results) == 16


def square_but(x):
    if x == 3:
        raise ValueError("three")
    return x * x


def test_an_executors_map(make_executor):
    executor = make_executor(2)
    for chunksize in (1, 2):
        results = executor.map(square_but, range(5), chunksize=chunksize, errors="return")
        assert shown(results) == EXPECTED
    assert shown(executor.map(square_but, iter(range(5)), buffersize=2, errors="return")) == EXPECTED
    with pytest.raises(ValueError, match="three"):
        list(executor.map(square_but, range(5)))


def test_callbacks_get_the_list_with_its_errors(two):
    heard = []
    two.map_async(square_but, range(5), callback=heard.append, errors="return").wait(20)
    assert [shown(results) for results in heard] == [EXPECTED]


def test_time_limits(two, make_executor):
    results = two.map(nap, [0, 30, 0.01], task_timeout=0.3, errors="return")
    assert shown(results) == [0, distpool.TimeoutError, 0.01]
    assert "nap" in str(results[1])
    assert "0.3 s" in str(results[1])
    with pytest.raises(distpool.TimeoutError):
        two.apply_async(nap, (30,), task_timeout=0.2).get(20)
    results = two.imap(nap, [0, 30, 0.01], task_timeout=0.3)
    assert next(results) == 0
    with pytest.raises(distpool.TimeoutError):
        next(results)
    assert next(results) == 0.01
    executor = make_executor(1)
    assert shown(executor.map(nap, [30, 0.01], task_timeout=0.3, errors="return")) == [
        distpool.TimeoutError,
        0.01,
    ]


def test_with_a_time_limit_the_first_failure_ends_a_map(two, tmp_path):
    began_s = time.monotonic()
    with pytest.raises(ValueError, match="three"):
        two.map(nap_or_fail, [0.7] + [3] * 3 + [0.7] * 50, task_timeout=20)
    assert time.monotonic() - began_s < 8.0, "the others would take 18 s"


def nap_or_fail(x):
    if x == 3:
        raise ValueError("three")
    return nap(x)


def test_errors_of_the_whole_pool_are_nobodys_results(make_pool):
    pool = make_pool(1)
    result = pool.map_async(nap, [0.05, 0.05, 30, 30], errors="return")
    pool.terminate()
    with pytest.raises(distpool.errors.TaskCancelled):
        result.get(20)
    broken = make_pool(1, bodies.fail_set_up)
    with pytest.raises(distpool.errors.PoolBroken):
        broken.map(nap, [0.05], errors="return")


def test_an_iterable_that_fails_is_nobodys_result(two):
    def items():
        yield 0
        raise LookupError("no more")

    results = two.imap(nap, items(), errors="return")
    assert next(results) == 0
    with pytest.raises(LookupError):
        next(results)


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_retries_of_one_map(library, make_pool, tmp_path, retries):
    path = str(tmp_path / "runs")
    pool = make_pool(1, retries=2)
    [error] = pool.map(die_after_noting, [(path, library.backend)], retries=retries, errors="return")
    assert isinstance(error, distpool.errors.WorkerDied)
    assert len((tmp_path / "runs").read_text().split()) == retries + 1
    with pytest.raises(distpool.errors.WorkerDied):
        pool.apply_async(die_after_noting, ((path, library.backend),), retries=0).get(20)
    assert len((tmp_path / "runs").read_text().split()) == retries + 2


def die_after_noting(how):
    path, backend = how
    bodies.add_line(path, "run")
    if backend == "local":
        raise WorkerKilled
    import os
    import signal

    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"task_timeout": 0}, ValueError, "above 0 seconds"),
        ({"task_timeout": -1.5}, ValueError, "above 0 seconds"),
        ({"task_timeout": float("nan")}, ValueError, "above 0 seconds"),
        ({"task_timeout": "2"}, TypeError, "number of seconds"),
        ({"task_timeout": True}, TypeError, "number of seconds"),
        ({"errors": "ignore"}, ValueError, "'raise' or 'return'"),
        ({"retries": -1}, ValueError, "at least 0"),
        ({"retries": 1.5}, ValueError, "whole number"),
    ],
)
def test_what_options_may_not_be(two, make_executor, options, error, words):
    methods = [two.map, two.starmap, two.map_async, two.starmap_async, two.imap, two.imap_unordered]
    for method in [*methods, make_executor(1).map]:
        with pytest.raises(error, match=words) as caught:
            method(abs, [1], **options)
        assert "\n" not in str(caught.value)
    if "errors" not in options:
        with pytest.raises(error, match=words):
            two.apply_async(abs, (1,), **options)


@pytest.mark.parametrize("memory", [0, -1, "", "much", "5X", "-2G", "1.2.3M"])
def test_what_memory_may_not_be(library, memory):
    for kind in (library.Pool, library.ProcessPoolExecutor):
        with pytest.raises(ValueError, match="'500MB' or '2G'"):
            kind(1, max_worker_memory=memory)


@pytest.mark.parametrize("memory", [True, 1.5, [1]])
def test_what_memory_is_not_at_all(library, memory):
    for kind in (library.Pool, library.ProcessPoolExecutor):
        with pytest.raises(TypeError, match="'500MB' or '2G'"):
            kind(1, max_worker_memory=memory)


def test_how_memory_is_said():
    told = {
        "500MB": 500e6,
        "2G": 2e9,
        "2GiB": 2 << 30,
        "1.5 gib": 3 << 29,
        "100k": 1e5,
        "77": 77,
        " 1 T ": 1e12,
        "9B": 9,
    }
    assert {text: memory_bytes(text) for text in told} == told
    assert memory_bytes(1234) == 1234
    assert memory_bytes(None) is None


def test_a_wrong_option_of_a_pool_opens_none(library):
    for kind in (library.Pool, library.ProcessPoolExecutor):
        with pytest.raises(ValueError, match="above 0 seconds"):
            kind(1, task_timeout=0)


def test_submit_passes_everything_on(make_executor):
    """These are the function's own arguments there."""
    executor = make_executor(1)
    given = {"task_timeout": 1, "retries": 0, "errors": "return"}
    assert executor.submit(bodies.echo, **given).result(20) == ((), given)


def test_resize(two, make_executor):
    two.resize(3)
    assert two.map(bodies.square, range(20)) == [x * x for x in range(20)]
    two.resize(1)
    assert two.map(bodies.square, range(20), chunksize=1) == [x * x for x in range(20)]
    executor = make_executor(2)
    executor.resize(1)
    assert list(executor.map(bodies.square, range(20))) == [x * x for x in range(20)]
    for size, error in ((0, ValueError), (-2, ValueError), ("2", TypeError), (True, TypeError)):
        for resize in (two.resize, executor.resize):
            with pytest.raises(error, match="worker"):
                resize(size)
