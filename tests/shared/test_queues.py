"""Queues, with the standard library's as the oracle: one body, run on both."""

from __future__ import annotations

import copy
import multiprocessing
import multiprocessing.queues
import pickle
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import wait
from typing import Any

import numpy
import pytest

from distpool import queues
from distpool.scheduler.shared import channel
from tests.shared.actor import wait_until

FORK = multiprocessing.get_context("fork")
SPAWN = multiprocessing.get_context("spawn")
SOON_S = 30.0

Kind = Callable[..., Any]


@pytest.fixture(params=["standard", "ours"])
def module(request: pytest.FixtureRequest) -> Any:
    return multiprocessing.queues if request.param == "standard" else queues


@pytest.fixture
def make(module: Any) -> Iterator[Callable[..., Any]]:
    """Makes queues by the name of their class, and closes them at the end."""
    made: list[Any] = []

    def make(name: str, *args: Any, ctx: Any = FORK) -> Any:
        made.append(getattr(module, name)(*args, ctx=ctx))
        return made[-1]

    yield make
    for one in made:
        one.close()
        if hasattr(one, "join_thread"):
            one.cancel_join_thread()


def start(target: Callable[..., None], *args: Any, ctx: Any = FORK) -> Any:
    process = ctx.Process(target=target, args=args, daemon=True)
    process.start()
    return process


def join(process: Any) -> None:
    process.join(SOON_S)
    assert process.exitcode == 0


# --------------------------------------------------------------------------------------- as the standard library


def put_all(to: Any, items: list[Any]) -> None:
    for item in items:
        to.put(item)


def echo(source: Any, to: Any) -> None:
    for item in iter(source.get, None):
        to.put(item)


VALUES = [
    0,
    -1,
    2**70,
    "text",
    "x" * 10_000,
    b"",
    1.5,
    True,
    (1, [2, {"three": {4}}]),
    Exception,
    len,
    "last",
]


@pytest.mark.parametrize("ctx", [FORK, SPAWN], ids=["fork", "spawn"])
@pytest.mark.parametrize("name", ["Queue", "JoinableQueue", "SimpleQueue"])
def test_values_go_to_another_process_and_come_back_in_order(make: Kind, name: str, ctx: Any) -> None:
    there, back = make(name, ctx=ctx), make(name, ctx=ctx)
    process = start(echo, there, back, ctx=ctx)
    for value in VALUES:
        there.put(value)
    assert [back.get() for _ in VALUES] == VALUES
    there.put(None)
    join(process)


def test_arrays_arrive_equal_writable_and_apart(make: Kind) -> None:
    one = make("Queue")
    sent = {"big": numpy.arange(200_000.0).reshape(400, 500), "small": numpy.arange(5), "again": None}
    sent["again"] = sent["big"]
    one.put(sent)
    got = one.get(timeout=SOON_S)
    assert numpy.array_equal(got["big"], sent["big"])
    assert numpy.array_equal(got["small"], sent["small"])
    assert got["again"] is got["big"]
    got["big"][0, 0] = 7.0
    assert sent["big"][0, 0] == 0.0


def test_arrays_of_every_layout_arrive_writable(make: Kind) -> None:
    frozen = [numpy.arange(10.0), numpy.arange(100_000.0)]
    for array in frozen:
        array.flags.writeable = False
    square = numpy.arange(90_000.0).reshape(300, 300)
    one = make("Queue")
    for array in (*frozen, square, square.T, square[::2, ::3], numpy.zeros((0, 5)), frozen[1][::-1]):
        one.put([array])
        (got,) = one.get()
        assert numpy.array_equal(got, array)
        assert got.flags.writeable


@pytest.mark.parametrize("name", ["Queue", "SimpleQueue"])
def test_an_item_larger_than_any_buffer_passes(make: Kind, name: str) -> None:
    one = make(name)
    item = bytes(range(256)) * (160 << 10)  # 40 MiB
    process = start(put_all, one, [item, "after"])
    assert one.get() == item
    assert one.get() == "after"
    join(process)


def test_a_bounded_queue_is_full_in_time(make: Kind) -> None:
    one = make("Queue", 2)
    assert (one.empty(), one.full(), one.qsize()) == (True, False, 0)
    one.put(1)
    one.put_nowait(2)
    assert (one.full(), one.qsize()) == (True, 2)
    for args in ((3, False), (3, True, 0.0), (3, True, 0.05), (3, False, 5.0)):
        started = time.monotonic()
        with pytest.raises(queue.Full):
            one.put(*args)
        assert time.monotonic() - started < 4
    assert one.get() == 1
    assert not one.full()
    one.put(3, True, SOON_S)
    assert [one.get(), one.get()] == [2, 3]


def test_an_empty_queue_is_empty_in_time(make: Kind) -> None:
    one = make("Queue")
    for args in ((False,), (True, 0.0), (True, 0.05), (False, 5.0)):
        started = time.monotonic()
        with pytest.raises(queue.Empty):
            one.get(*args)
        assert time.monotonic() - started < 4
    with pytest.raises(queue.Empty):
        one.get_nowait()


def test_one_who_waits_for_room_is_let_in_by_a_reader(make: Kind) -> None:
    one = make("Queue", 1)
    one.put(0)
    process = start(put_all, one, [1, 2, 3])
    assert [one.get(timeout=SOON_S) for _ in range(4)] == [0, 1, 2, 3]
    join(process)


def test_an_unbounded_queue_never_waits_for_room(make: Kind) -> None:
    one = make("Queue")
    items = [bytes([n]) * 1_000_000 for n in range(60)]
    for item in items:
        one.put(item)
    assert one.qsize() == 60
    assert [one.get() for _ in items] == items


def test_what_was_put_is_there_after_its_process_has_ended(make: Kind) -> None:
    one = make("Queue")
    items = [bytes([n]) * 1_000_000 for n in range(40)]
    process = start(put_all, one, items)
    assert [one.get(timeout=SOON_S) for _ in items] == items
    join(process)


def put_and_leave(to: Any) -> None:
    to.put(bytes(60 << 20))
    to.close()
    to.cancel_join_thread()


def test_a_process_that_cancelled_join_thread_ends_with_items_left(make: Kind) -> None:
    join(start(put_and_leave, make("Queue")))


def test_a_closed_queue_says_so(make: Kind) -> None:
    for name in ("Queue", "JoinableQueue"):
        unused, used = make(name), make(name)
        used.put(1)
        for one in (unused, used):
            one.close()
            one.close()
            one.join_thread()
            with pytest.raises(ValueError, match=r"Queue .* is closed"):
                one.put(1)
            with pytest.raises(ValueError, match=r"Queue .* is closed"):
                one.get()
        assert unused.empty()
        with pytest.raises(OSError, match="handle is closed"):
            used.empty()


def test_a_closed_simple_queue_says_so(make: Kind) -> None:
    one = make("SimpleQueue")
    one.close()
    one.close()
    for use in (one.empty, one.get, lambda: one.put(1)):
        with pytest.raises(OSError, match="handle is closed"):
            use()


class Unpicklable:
    def __reduce__(self) -> Any:
        raise AttributeError("never")


def test_what_cannot_be_pickled_is_reported_and_takes_no_room(
    module: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    reported = []

    class Reports(module.Queue):  # type: ignore[misc]
        @staticmethod
        def _on_queue_feeder_error(e: Exception, obj: Any) -> None:
            reported.append((type(e), type(obj)))

    one = Reports(1, ctx=FORK)
    one.put(Unpicklable())
    one.put("good", timeout=SOON_S)
    assert one.get(timeout=SOON_S) == "good"
    assert reported == [(AttributeError, Unpicklable)]
    plain = module.Queue(ctx=FORK)
    plain.put(Unpicklable())
    plain.put("good")
    assert plain.get(timeout=SOON_S) == "good"
    assert "AttributeError: never" in capsys.readouterr().err
    simple = module.SimpleQueue(ctx=FORK)
    with pytest.raises(AttributeError, match="never"):
        simple.put(Unpicklable())
    for queue_ in (one, plain):
        queue_.close()
        queue_.join_thread()
    simple.close()


def do_tasks(tasks: Any) -> None:
    for _ in iter(tasks.get, None):
        tasks.task_done()
    tasks.task_done()


def test_join_waits_until_all_tasks_are_done(make: Kind) -> None:
    tasks = make("JoinableQueue")
    tasks.join()  # there are none
    processes = [start(do_tasks, tasks) for _ in range(2)]
    for number in range(100):
        tasks.put(number)
    tasks.join()
    for _ in processes:
        tasks.put(None)
    tasks.join()
    for process in processes:
        join(process)
    with pytest.raises(ValueError, match="task_done\\(\\) called too many times"):
        tasks.task_done()


def test_many_writers_and_readers_lose_nothing_and_keep_each_writers_order(make: Kind) -> None:
    source, results = make("Queue"), make("Queue")
    writers = [start(put_all, source, [(w, n) for n in range(300)]) for w in range(3)]
    readers = [start(echo, source, results) for _ in range(3)]
    got = [results.get(timeout=SOON_S) for _ in range(900)]
    assert sorted(got) == [(w, n) for w in range(3) for n in range(300)]
    for process in writers:
        join(process)
    for _ in readers:
        source.put(None)
    for process in readers:
        join(process)


def test_one_readers_items_are_in_each_writers_order(make: Kind) -> None:
    one = make("Queue")
    size = [10, 200_000]
    writers = [start(put_all, one, [(w, n, bytes(size[n % 2])) for n in range(100)]) for w in range(3)]
    got = [one.get(timeout=SOON_S)[:2] for _ in range(300)]
    for w in range(3):
        assert [n for writer, n in got if writer == w] == list(range(100))
    for process in writers:
        join(process)


def test_threads_of_one_process_share_a_queue(make: Kind) -> None:
    one = make("Queue", 3)
    writers = [threading.Thread(target=put_all, args=(one, list(range(200)))) for _ in range(3)]
    got: list[int] = []
    for writer in writers:
        writer.start()
    while len(got) < 600:
        got.append(one.get(timeout=SOON_S))
    for writer in writers:
        writer.join()
    assert sorted(got) == sorted(list(range(200)) * 3)


def test_a_child_that_is_forked_while_items_are_held_back_does_not_send_them_again(make: Kind) -> None:
    one = make("Queue")
    items = [bytes([n]) * 1_000_000 for n in range(40)]
    for item in items:
        one.put(item)
    child = start(put_all, one, [b"child"])
    got = [one.get(timeout=SOON_S) for _ in range(41)]
    assert [item for item in got if item != b"child"] == items
    join(child)
    assert one.empty()


def test_an_interrupted_wait_leaves_the_queue_usable(make: Kind) -> None:
    import signal

    one = make("Queue")
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(KeyboardInterrupt):
            one.get()
    finally:
        signal.signal(signal.SIGALRM, before)
    one.put(1)
    assert one.get(timeout=SOON_S) == 1


@pytest.mark.parametrize("name", ["Queue", "SimpleQueue"])
def test_several_queues_can_be_waited_for_by_their_readers(make: Kind, name: str) -> None:
    one, other = make(name), make(name)
    readers = [one._reader, other._reader]
    assert wait(readers, 0.01) == []
    assert not one._reader.poll()
    for number in range(3):
        process = start(put_all, other, [number, number])
        assert wait(readers, SOON_S) == [other._reader]
        assert other._reader.poll(SOON_S)
        assert other.get() == number
        assert wait(readers, SOON_S) == [other._reader]
        assert other.get() == number
        assert wait(readers, 0.01) == []
        join(process)
    one.put(1)
    other.put(2)
    wait_until(lambda: len(wait(readers, SOON_S)) == 2, "both are readable")
    assert (one._reader.recv(), other._reader.recv()) == (1, 2)


def wait_and_get(source: Any, to: Any) -> None:
    assert wait([source._reader], SOON_S) == [source._reader]
    to.put(source.get())


def test_a_child_waits_by_its_own_reader(make: Kind) -> None:
    one, back = make("Queue"), make("Queue")
    assert wait([one._reader], 0) == []
    process = start(wait_and_get, one, back)
    one.put(1)
    assert back.get(timeout=SOON_S) == 1
    assert wait([one._reader], 0) == []
    join(process)


# -------------------------------------------------------------------------------------------- beyond it


def test_the_copy_is_complete_when_put_returns() -> None:
    one = queues.Queue()
    array, value = numpy.zeros(100_000), [1]
    for _ in range(30):  # more than there is room for
        one.put((array, value))
        array += 1
        value[0] += 1
    assert [(got[0][0], got[1]) for got in (one.get() for _ in range(30))] == [
        (n, [n + 1]) for n in range(30)
    ]


def test_functions_and_classes_without_a_name_are_sent_by_value() -> None:
    class Local:
        def __init__(self, value: int) -> None:
            self.value = value

    one = queues.Queue()
    factor = 3
    one.put(lambda x: x * factor)
    one.put(Local(5))
    one.put([Local(6), numpy.arange(100_000)])
    assert one.get()(14) == 42
    got = one.get()
    assert (got.value, type(got)) == (5, Local)
    assert one.get()[0].value == 6


MAIN = """
import sys
from distpool import Pool, get_context
from distpool.queues import Queue

class Thing:
    def __init__(self, value):
        self.value = value

def in_task(source, to):
    thing = source.get()
    to.put(type(thing)(thing.value + 1))

def main():
    there, back = Queue(), Queue()
    with Pool(1) as pool:
        there.put(Thing(1))
        pool.apply(in_task, (there, back))
    thing = back.get()
    print(type(thing) is Thing, thing.value)
    for method in ("fork", "spawn"):
        there.put(Thing(10))
        process = get_context(method).Process(target=in_task, args=(there, back))
        process.start()
        thing = back.get()
        process.join()
        print(type(thing) is Thing, thing.value)

if __name__ == "__main__":
    main()
"""


def test_objects_of_main_go_to_tasks_and_to_children_and_come_home(tmp_path: Any) -> None:
    (tmp_path / "program.py").write_text(MAIN)
    done = subprocess.run(
        [sys.executable, tmp_path / "program.py"],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PYTHONPATH": ":".join(filter(None, sys.path)), "PATH": "/usr/bin:/bin"},
    )
    assert (done.stdout, done.stderr) == ("True 2\nTrue 11\nTrue 11\n", "")


EARLY = """
import distpool

class Thing:
    pass

def in_task(source):
    try:
        source.get()
    except AttributeError as error:
        return "import Pool" in error.__notes__[0]

if __name__ == "__main__":
    queue = distpool.Queue()
    queue.put(Thing())
    with distpool.Pool(1) as pool:
        print(pool.apply(in_task, (queue,)))
    queue.put(Thing())
    print(type(queue.get()) is Thing)
"""


def test_who_fills_a_queue_before_any_pool_is_known_is_told_what_to_do(tmp_path: Any) -> None:
    (tmp_path / "program.py").write_text(EARLY)
    done = subprocess.run(
        [sys.executable, tmp_path / "program.py"],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PYTHONPATH": ":".join(filter(None, sys.path)), "PATH": "/usr/bin:/bin"},
    )
    assert (done.stdout, done.stderr) == ("True\nTrue\n", "")


def test_a_queue_is_pickled_anywhere_and_stays_the_same() -> None:
    for one in (queues.Queue(3), queues.JoinableQueue(), queues.SimpleQueue()):
        other = pickle.loads(pickle.dumps({"queue": one}))["queue"]
        assert type(other) is type(one)
        other.put(1)
        assert one.get() == 1
    outer = queues.Queue()
    outer.put(one)
    outer.get().put("through a queue")
    assert one.get() == "through a queue"


def test_items_left_in_the_process_are_written_before_it_ends(tmp_path: Any) -> None:
    program = """
import os, sys
from distpool.queues import Queue
one = Queue()
reading, writing = os.pipe()
if os.fork() == 0:
    os.close(writing)
    os.read(reading, 1)                     # until the parent ends
    print(sum(one.get()[0] for _ in range(50)), flush=True)
    os._exit(0)
os.close(reading)
for number in range(50):
    one.put(bytes([number]) * 1_000_000)
assert one._feeder.waiting
os.close(writing)
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PYTHONPATH": ":".join(filter(None, sys.path))},
    )
    assert (done.stdout, done.stderr) == (f"{sum(range(50))}\n", "")


def test_memory_that_a_crowd_of_items_took_is_given_back() -> None:
    one = queues.Queue()
    for _ in range(14):
        one.put(bytes(1 << 20))
    taken = blocks(one)
    assert taken > 12 << 20
    for _ in range(14):
        one.get()
    assert blocks(one) < 6 << 20
    one.put("still right")
    assert one.get() == "still right"


def test_a_queue_that_is_read_as_fast_as_it_is_written_stays_small() -> None:
    one = queues.Queue()
    for _ in range(100):
        one.put(bytes(300_000))
        one.get()
    assert blocks(one) < 1 << 20


def blocks(one: Any) -> int:
    import os

    return os.fstat(one._channel.place.segment.fd).st_blocks * 512


def test_on_processors_that_reorder_writes_readers_and_writers_exclude_each_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(channel, "_KEEPS_ORDER", False)
    there, back = queues.Queue(), queues.SimpleQueue()
    process = start(echo, there, back)
    items = [n if n % 3 else bytes(n * 100) for n in range(300)]
    for item in items:
        there.put(item)
    assert [back.get() for _ in items] == items
    there.put(None)
    join(process)


def test_a_queue_that_only_a_child_keeps_reaches_it() -> None:
    results = queues.Queue()
    children = [start(answer_by, queues.Queue(), results, ctx=SPAWN) for _ in range(2)]
    assert [results.get(timeout=SOON_S) for _ in children] == ["by it"] * 2
    for child in children:
        join(child)


def answer_by(only_here: Any, results: Any) -> None:
    only_here.put("by it")
    results.put(only_here.get())


@pytest.mark.parametrize("name", ["Queue", "JoinableQueue", "SimpleQueue"])
def test_ours_are_instances_of_the_standard_classes_and_can_be_subclassed_as_they_can(name: str) -> None:
    class Named(getattr(queues, name)):  # type: ignore[misc]
        def __init__(self, label: str) -> None:
            super().__init__(ctx=FORK)
            self.label = label

        def __getstate__(self) -> Any:
            return super().__getstate__(), self.label

        def __setstate__(self, state: Any) -> None:
            inner, self.label = state
            super().__setstate__(inner)

    one = Named("a label")
    assert isinstance(one, getattr(multiprocessing.queues, name))
    assert getattr(queues, name)[int]
    copied = copy.copy(one)
    copied.put(1)
    assert (one.get(), copied.label) == (1, "a label")
