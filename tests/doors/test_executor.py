"""ProcessPoolExecutor, beside concurrent.futures.ProcessPoolExecutor."""

import asyncio
import concurrent.futures
import gc
import itertools
import os
import signal
import threading
import time
import traceback
import weakref
from concurrent.futures.process import BrokenProcessPool

import pytest

from tests.doors import bodies

pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")


@pytest.fixture
def two(make_executor):
    return make_executor(2)


# ------------------------------------------------------------------------------------- submit


def test_submit(two):
    future = two.submit(bodies.echo, 1, "a", k=[2], fn=3, self=4)
    assert isinstance(future, concurrent.futures.Future)
    assert future.result() == future.result(timeout=0) == ((1, "a"), {"k": [2], "fn": 3, "self": 4})
    assert (future.done(), future.running(), future.cancelled()) == (True, False, False)
    assert future.exception() is None
    assert future.cancel() is False
    assert f"{future!r}".endswith(" state=finished returned tuple>")
    with pytest.raises(TypeError):
        two.submit(fn=bodies.square, x=1)
    with pytest.raises(TypeError):
        two.submit()


def test_exception(two):
    future = two.submit(bodies.fail, 7)
    error = future.exception(30)
    assert type(error) is ValueError
    assert type(error.__cause__) is concurrent.futures.process._RemoteTraceback
    assert "raise ValueError(x)  # the line that shows" in str(error.__cause__)
    with pytest.raises(ValueError, match="7") as raised:
        future.result()
    assert "the line that shows" in "".join(traceback.format_exception(raised.value))
    assert repr(future).endswith(" state=finished raised ValueError>")
    odd = two.submit(bodies.fail_odd, 1, 2).exception(30)
    assert (odd.first, odd.second) == (1, 2)


def test_time_out(two, tmp_path):
    future = two.submit(bodies.wait_for_file, tmp_path / "go")
    for wait in (future.result, future.exception):
        for timeout in (0, 0.01, -1):
            with pytest.raises(concurrent.futures.TimeoutError):
                wait(timeout=timeout)
    bodies.touch(tmp_path / "go")
    assert future.result(30) == tmp_path / "go"


def test_argument_or_result_that_cannot_be_pickled(two):
    for future in (two.submit(bodies.nothing, bodies.CannotPickle()), two.submit(bodies.make_cannot_pickle)):
        with pytest.raises(RuntimeError, match="no way out"):
            future.result(30)
    assert two.submit(bodies.square, 3).result(30) == 9


def test_running_is_seen(two, tmp_path):
    future = two.submit(bodies.touch_and_wait, tmp_path / "started", tmp_path / "go")
    bodies.wait_for_file(tmp_path / "started")
    assert future.running()
    assert not future.done()
    assert " state=running" in repr(future)
    bodies.touch(tmp_path / "go")
    future.result(30)
    assert not future.running()


def test_callbacks(two):
    called = []
    future = two.submit(bodies.square, 3)
    for _ in range(2):
        future.add_done_callback(called.append)
    future.result()
    two.submit(bodies.square, 3).result()
    done = threading.Event()
    future.add_done_callback(lambda _: done.set())
    assert done.wait(30)
    late = two.submit(bodies.square, 4)
    event = threading.Event()
    late.add_done_callback(lambda _: event.set())
    assert event.wait(30)
    assert called[:1] == [future]


def test_callback_that_raises_is_logged(two, caplog):
    future = two.submit(bodies.square, 3)
    event = threading.Event()
    future.add_done_callback(lambda _: 1 / 0)
    future.add_done_callback(lambda _: event.set())
    assert event.wait(30)
    assert any("exception calling callback" in record.message for record in caplog.records)
    assert two.submit(bodies.square, 3).result(30) == 9


# --------------------------------------------------------------- what others do with futures


def test_wait(two, tmp_path):
    waiting = two.submit(bodies.wait_for_file, tmp_path / "go")
    quick = two.submit(bodies.square, 3)
    done, rest = concurrent.futures.wait([quick, waiting], timeout=30, return_when="FIRST_COMPLETED")
    assert (done, rest) == ({quick}, {waiting})
    failing = two.submit(bodies.fail, 1)
    done, rest = concurrent.futures.wait([failing, waiting], timeout=30, return_when="FIRST_EXCEPTION")
    assert (done, rest) == ({failing}, {waiting})
    assert concurrent.futures.wait([waiting], timeout=0.01).not_done == {waiting}
    bodies.touch(tmp_path / "go")
    assert concurrent.futures.wait([quick, waiting], timeout=30).not_done == set()


def test_wait_for_all_never_returns_early(two):
    for _ in range(30):
        futures = [two.submit(bodies.square, i) for i in range(50)]
        done, rest = concurrent.futures.wait(futures, timeout=30)
        assert (len(done), len(rest)) == (50, 0)


def test_as_completed(two, tmp_path):
    waiting = two.submit(bodies.wait_for_file, tmp_path / "go")
    others = {two.submit(bodies.square, i) for i in range(20)}
    seen = []
    for future in concurrent.futures.as_completed([waiting, *others], timeout=30):
        seen.append(future)
        if len(seen) == 20:
            bodies.touch(tmp_path / "go")
    assert set(seen) == others | {waiting}
    assert seen[-1] is waiting


def test_asyncio(two):
    async def main():
        loop = asyncio.get_running_loop()
        results = await asyncio.gather(*(loop.run_in_executor(two, bodies.square, i) for i in range(20)))
        wrapped = await asyncio.wrap_future(two.submit(bodies.square, 5))
        with pytest.raises(ValueError, match="7"):
            await asyncio.wrap_future(two.submit(bodies.fail, 7))
        return results, wrapped

    assert asyncio.run(main()) == ([i * i for i in range(20)], 25)


def test_a_future_set_by_hand(ours):
    from distpool.futures import Future, InvalidStateError

    future = Future()
    assert future.set_running_or_notify_cancel()
    threading.Timer(0, future.set_result, [5]).start()
    assert future.result(30) == 5
    with pytest.raises(InvalidStateError, match="FINISHED"):
        future.set_result(6)
    with pytest.raises(InvalidStateError):
        future.set_exception(ValueError())
    other = Future()
    assert other.cancel()
    assert not other.set_running_or_notify_cancel()
    with pytest.raises(concurrent.futures.CancelledError):
        other.result()
    with pytest.raises(concurrent.futures.TimeoutError):
        Future().exception(0.01)


# ---------------------------------------------------------------------------------------- map


@pytest.mark.parametrize("chunksize", [1, 3, 100])
def test_map(two, chunksize):
    assert list(two.map(bodies.square, range(20), chunksize=chunksize)) == [x * x for x in range(20)]
    assert list(two.map(bodies.add, [1, 2, 3], (i for i in range(5)), chunksize=chunksize)) == [1, 3, 5]
    assert list(two.map(bodies.add, itertools.repeat(2, 4), range(9), chunksize=chunksize)) == [2, 3, 4, 5]
    assert list(two.map(bodies.square, {1: 1, 2: 2}, chunksize=chunksize)) == [1, 4]
    assert list(two.map(bodies.square, iter([3]), chunksize=chunksize)) == [9]
    assert list(two.map(bodies.square, [], chunksize=chunksize)) == []


def test_map_raises_at_its_place(two):
    results = two.map(bodies.fail_at, range(6))
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="3"):
        next(results)
    with pytest.raises(StopIteration):
        next(results)


def test_map_time_out(two, tmp_path):
    results = two.map(bodies.wait_for_file, [tmp_path / "go"] * 2, timeout=0.05)
    with pytest.raises(concurrent.futures.TimeoutError):
        list(results)
    bodies.touch(tmp_path / "go")


def test_map_of_an_iterable_that_raises(two):
    with pytest.raises(bodies.Odd):
        two.map(bodies.square, bodies.unhappy(10, 4))
    with pytest.raises(bodies.Odd):
        two.map(bodies.square, bodies.Unhappy(10, 4))


def test_map_refuses(two):
    with pytest.raises(ValueError, match="chunksize must be >= 1"):
        two.map(bodies.square, [1], chunksize=0)
    with pytest.raises(TypeError):
        two.map(bodies.square, 5)


def test_map_keeps_no_reference_to_what_it_gave(two):
    for iterable in ([1, 2, 3], iter([1, 2, 3])):
        for result in two.map(bodies.make_object, iterable):
            reference = weakref.ref(result)
            del result
            gc.collect()
            assert reference() is None


def test_map_that_nobody_takes_is_run(two, library, tmp_path):
    for number, make in enumerate([list, iter]):
        path = tmp_path / str(number)
        executor = library.ProcessPoolExecutor(2)
        executor.map(bodies.add_line, itertools.repeat(path, 1000) if make is iter else [path] * 1000)
        executor.shutdown()
        assert len(path.read_text().splitlines()) == 1000


def test_buffersize(ours, two):
    read = 0

    def source():
        nonlocal read
        while read < 100:
            yield read
            read += 1

    results = two.map(bodies.square, source(), buffersize=5)
    assert read < 5
    assert next(results) == 0
    assert read <= 7
    assert list(results) == [x * x for x in range(1, 100)]
    with pytest.raises(TypeError, match="buffersize must be an integer or None"):
        two.map(bodies.square, [], buffersize="5")
    with pytest.raises(ValueError, match="buffersize must be None or > 0"):
        two.map(bodies.square, [], buffersize=0)


def test_endless_map_starts_at_once(ours, make_executor):
    read = 0

    def source():
        nonlocal read
        while True:
            yield read
            read += 1

    with ours.ProcessPoolExecutor(2) as executor:
        results = executor.map(bodies.square, source())
        assert [next(results) for _ in range(3000)] == [x * x for x in range(3000)]
    assert read < 20_000
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        list(results)


def test_iterables_are_read_by_the_program_itself(ours, two):
    threads = set()

    def source():
        for i in range(2000):
            threads.add(threading.current_thread())
            yield i

    assert len(list(two.map(bodies.square, source()))) == 2000
    assert threads == {threading.current_thread()}


# ----------------------------------------------------------------------------------- cancelling


def test_cancel_what_waits(make_executor, tmp_path):
    executor = make_executor(1)
    running = executor.submit(bodies.touch_and_wait, tmp_path / "started", tmp_path / "go")
    bodies.wait_for_file(tmp_path / "started")
    waiting = [executor.submit(bodies.add_line, tmp_path / "lines") for _ in range(20)]
    called = []
    waiting[-1].add_done_callback(called.append)
    assert waiting[-1].cancel()
    assert waiting[-1].cancel()
    assert waiting[-1].cancelled()
    assert waiting[-1].done()
    assert called == [waiting[-1]]
    for wait in (waiting[-1].result, waiting[-1].exception):
        with pytest.raises(concurrent.futures.CancelledError):
            wait(30)
    bodies.touch(tmp_path / "go")
    assert running.result(30) == tmp_path / "go"
    concurrent.futures.wait(waiting, timeout=30)
    executor.shutdown()
    assert len((tmp_path / "lines").read_text().splitlines()) == 19


def test_cancel_what_runs(ours, make_executor, tmp_path):
    executor = make_executor(2)
    running = executor.submit(bodies.touch_and_wait, tmp_path / "started", tmp_path / "go")
    bodies.wait_for_file(tmp_path / "started")
    other = executor.submit(bodies.square, 3)
    assert running.cancel()
    assert running.cancelled()
    assert other.result(30) == 9
    bodies.touch(tmp_path / "go")
    assert executor.submit(bodies.square, 4).result(30) == 16


def test_shutdown_cancels_futures(make_executor, tmp_path):
    executor = make_executor(2)
    first = [
        executor.submit(bodies.touch_and_wait, tmp_path / f"started{i}", tmp_path / "go") for i in range(2)
    ]
    for i in range(2):
        bodies.wait_for_file(tmp_path / f"started{i}")
    rest = [executor.submit(bodies.square, i) for i in range(100)]
    threading.Timer(0.05, bodies.touch, [tmp_path / "go"]).start()
    executor.shutdown(cancel_futures=True)
    assert [future.result(0) for future in first] == [tmp_path / "go"] * 2
    assert all(future.done() for future in rest)
    assert sum(future.cancelled() for future in rest) > 90


def test_generator_of_map_that_is_closed_cancels(make_executor, tmp_path):
    executor = make_executor(1)
    results = executor.map(bodies.wait_for_file, [tmp_path / "go"] * 500)
    threading.Timer(0.05, bodies.touch, [tmp_path / "go"]).start()
    next(results)
    results.close()
    started = time.monotonic()
    executor.shutdown()
    assert time.monotonic() - started < 30


# ------------------------------------------------------------------------------ making and ending


@pytest.mark.parametrize(
    ("arguments", "kind", "text"),
    [
        ({"max_workers": 0}, ValueError, "max_workers must be greater than 0"),
        ({"max_workers": -1}, ValueError, "max_workers must be greater than 0"),
        ({"max_workers": "2"}, TypeError, "not supported between"),
        ({"initializer": 1}, TypeError, "initializer must be a callable"),
        ({"max_tasks_per_child": "1"}, TypeError, "max_tasks_per_child must be an integer"),
        ({"max_tasks_per_child": 0}, ValueError, "max_tasks_per_child must be >= 1"),
        (
            {"max_tasks_per_child": 1, "mp_context": "fork"},
            ValueError,
            "max_tasks_per_child is incompatible with the 'fork' multiprocessing start method",
        ),
    ],
)
def test_what_an_executor_refuses(library, arguments, kind, text):
    if "mp_context" in arguments:
        arguments = arguments | {"mp_context": library.get_context("fork")}
    with pytest.raises(kind, match=text):
        library.ProcessPoolExecutor(**arguments)


def test_after_shutdown(library):
    executor = library.ProcessPoolExecutor(1)
    future = executor.submit(bodies.square, 3)
    executor.shutdown()
    executor.shutdown(wait=False)
    assert future.result(0) == 9
    for call in (lambda: executor.submit(bodies.square, 3), lambda: executor.map(bodies.square, [1])):
        with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
            call()


def test_shutdown_without_waiting_finishes_the_work(library):
    executor = library.ProcessPoolExecutor(2)
    futures = [executor.submit(bodies.square, i) for i in range(100)]
    manager = executor._executor_manager_thread
    executor.shutdown(wait=False)
    assert [future.result(30) for future in futures] == [i * i for i in range(100)]
    manager.join()


def test_dropped_executor_finishes_its_work(library):
    executor = library.ProcessPoolExecutor(2)
    futures = [executor.submit(bodies.square, i) for i in range(100)]
    manager = executor._executor_manager_thread
    del executor
    gc.collect()
    assert [future.result(30) for future in futures] == [i * i for i in range(100)]
    manager.join()


def test_futures_hold_no_executor(library):
    executor = library.ProcessPoolExecutor(1)
    future = executor.submit(bodies.square, 3)
    reference = weakref.ref(executor)
    del executor
    gc.collect()
    assert reference() is None
    assert future.result(30) == 9


def test_nothing_starts_before_the_first_call(library):
    executor = library.ProcessPoolExecutor(2)
    assert executor._processes == {}
    assert executor._max_workers == 2
    executor.shutdown()


def test_initializer(make_executor):
    executor = make_executor(1, initializer=bodies.remember, initargs=("key", 6))
    assert executor.submit(bodies.recall, "key").result(30) == 6


def test_initializer_that_fails(make_executor, caplog):
    executor = make_executor(1, initializer=bodies.fail_set_up)
    future = executor.submit(bodies.square, 3)
    with pytest.raises(BrokenProcessPool):
        future.result(30)
    with pytest.raises(BrokenProcessPool, match="not usable anymore"):
        executor.submit(bodies.square, 3)
    assert executor._broken


def test_processes(make_executor, library):
    executor = make_executor(3, mp_context=library.get_context("fork"))
    executor.submit(bodies.square, 3)
    processes = executor._processes
    assert len(processes) == 3
    assert all(pid == process.pid for pid, process in processes.items())
    executor.shutdown()
    for process in processes.values():
        process.join(30)
        assert not process.is_alive()
    assert executor._processes is None


def test_workers_come_as_they_are_needed(ours, make_executor, tmp_path):
    executor = make_executor(3, mp_context=ours.get_context("spawn"))
    for i in range(3):
        assert executor.submit(bodies.square, i).result(30) == i * i
    assert len(executor._processes) == 1
    futures = [executor.submit(bodies.wait_for_file, tmp_path / "go") for _ in range(2)]
    assert len(executor._processes) == 2
    futures += [executor.submit(bodies.wait_for_file, tmp_path / "go") for _ in range(9)]
    assert len(executor._processes) == 3
    bodies.touch(tmp_path / "go")
    assert {future.result(30) for future in futures} == {tmp_path / "go"}


def test_ending_the_workers_by_hand_ends_it_all(library, make_executor, tmp_path):
    executor = make_executor(2)
    future = executor.submit(bodies.wait_for_file, tmp_path / "go")
    for process in list(executor._processes.values()):
        process.terminate()
    with pytest.raises(BrokenProcessPool):
        future.result(30)
    with pytest.raises(BrokenProcessPool):
        executor.submit(bodies.square, 3)
    bodies.touch(tmp_path / "go")


@pytest.mark.parametrize("method", ["kill_workers", "terminate_workers"])
def test_force_shutdown(ours, method, tmp_path):
    executor = ours.ProcessPoolExecutor(2)
    futures = [executor.submit(bodies.wait_for_file, tmp_path / "go") for _ in range(20)]
    workers = executor._processes
    getattr(executor, method)()
    for future in futures:
        with pytest.raises(BrokenProcessPool):
            future.result(30)
    for worker in workers.values():
        worker.join(30)
    with pytest.raises(RuntimeError):
        executor.submit(bodies.square, 3)
    bodies.touch(tmp_path / "go")


def test_ctrl_c_in_a_with_block_ends_what_runs(ours, tmp_path):
    with pytest.raises(KeyboardInterrupt), ours.ProcessPoolExecutor(1) as executor:  # noqa: PT012
        futures = [executor.submit(bodies.wait_for_file, tmp_path / "go") for _ in range(10)]
        threading.Timer(1, bodies.touch, [tmp_path / "go"]).start()
        raise KeyboardInterrupt
    assert all(future.cancelled() for future in futures)


@pytest.mark.parametrize("of_known_length", [True, False])
def test_ctrl_c_in_map_ends_what_runs(on_native, make_executor, tmp_path, of_known_length):
    """Nobody can ask for its results any more, and the terminal interrupts only the program itself."""
    executor = make_executor(1)

    def press():
        bodies.wait_for_file(tmp_path / "started")
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    starts = [tmp_path / "started"] * 3
    results = executor.map(
        bodies.touch_and_wait, starts if of_known_length else iter(starts), itertools.repeat(tmp_path / "go")
    )
    with pytest.raises(KeyboardInterrupt):
        next(results)
    thread.join()
    assert executor.submit(bodies.square, 3).result(10) == 9
    assert list(results) == []
