"""Processes that use a queue are killed at any instant, and it goes on for the others."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from distpool import queues
from distpool.scheduler.shared.channel import Channel
from tests.shared.actor import wait_until

FORK = multiprocessing.get_context("fork")
SOON_S = 30.0
ROUNDS = 12


def small(name: str, ring_bytes: int = 4096, maxsize: int = 0) -> Any:
    """A queue with a ring so small that all that can happen in one happens often."""
    one = getattr(queues, name)()
    one._attach(Channel.create(maxsize, ring_bytes))
    return one


def start(target: Callable[..., None], *args: Any) -> Any:
    process = FORK.Process(target=target, args=args, daemon=True)
    process.start()
    return process


def kill(process: Any) -> None:
    os.kill(process.pid, signal.SIGKILL)
    process.join(SOON_S)
    assert process.exitcode in (0, -signal.SIGKILL)


def join(process: Any) -> None:
    process.join(SOON_S)
    assert process.exitcode == 0


def put_all(to: Any, items: list[Any]) -> None:
    for item in items:
        to.put(item)


def payload(writer: str, number: int) -> bytes:
    """Some of one record, some of parts: told by itself whether it is whole."""
    return f"{writer}{number}".encode() * (1, 3, 20, 400, 900)[number % 5]


def write(to: Any, writer: str, count: int) -> None:
    for number in range(count):
        to.put((writer, number, payload(writer, number)))


def read(source: Any, log: Path) -> None:
    """Note each item before the next is taken; so a dead reader has taken one more than it noted, at most."""
    with log.open("ab", buffering=0) as file:
        for writer, number, data in iter(source.get, None):
            whole = data == payload(writer, number)
            file.write(f"{writer} {number} {whole}\n".encode())


def noted(*logs: Path) -> Counter[tuple[str, int]]:
    found: Counter[tuple[str, int]] = Counter()
    for log in logs:
        for line in log.read_text().splitlines() if log.exists() else ():
            writer, number, whole = line.split()
            assert whole == "True"
            found[writer, int(number)] += 1
    return found


@pytest.mark.parametrize("maxsize", [0, 4], ids=["unbounded", "bounded"])
@pytest.mark.parametrize("name", ["Queue", "SimpleQueue"])
def test_killed_writers_and_readers_take_nothing_of_the_others(
    tmp_path: Path, name: str, maxsize: int
) -> None:
    chance = random.Random(f"{name} {maxsize}")
    for round_ in range(ROUNDS):
        one = small(name, maxsize=maxsize if name == "Queue" else 0)
        lives, dies = tmp_path / f"lives{round_}", tmp_path / f"dies{round_}"
        doomed = [start(write, one, "doomed", 100_000), start(read, one, dies)]
        staying = [start(write, one, "staying", 150)]
        reader = start(read, one, lives)
        for process in chance.sample(doomed, 2):
            threading.Event().wait(chance.random() * 0.05)  # the instant of death is what is tried here
            kill(process)
        for process in staying:
            join(process)
        one.put(None)
        join(reader)
        found = noted(lives, dies)
        assert set(found.values()) == {1}, round_
        missing = 150 - sum(writer == "staying" for writer, _ in found)
        # The dead reader had one in its hands.
        assert missing <= 1, round_
        if hasattr(one, "qsize"):
            assert one.qsize() <= 0


def test_a_reader_that_is_killed_while_it_waits_lets_the_next_one_in() -> None:
    one = queues.Queue()
    doomed = [start(one.get) for _ in range(3)]
    wait_until(lambda: one._handle._items._words[0] == 1, "one of them sleeps")
    for process in doomed:
        kill(process)
    one.put("for the living")
    assert one.get(timeout=5) == "for the living"


def stop_in_parts(to: Any, told: Any) -> None:
    """Die when some parts of an item are written, and the others have no room."""
    to.put(bytes(20_000))
    told.send(None)
    signal.pause()


def test_a_writer_that_is_killed_between_parts_is_passed_over() -> None:
    one = small("Queue")
    mine, theirs = FORK.Pipe()
    process = start(stop_in_parts, one, theirs)
    mine.recv()
    wait_until(lambda: not one.empty(), "some parts are there")
    kill(process)
    one.put("next")
    assert one.get(timeout=5) == "next"
    one.put(bytes(9000))
    assert one.get(timeout=5) == bytes(9000)
    assert one.qsize() == 0


def test_a_reader_that_waits_for_parts_of_a_dead_writer_goes_on() -> None:
    one = small("Queue")
    mine, theirs = FORK.Pipe()
    results = queues.Queue()
    process = start(stop_in_parts, one, theirs)
    mine.recv()
    os.kill(process.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED)
    reader = start(pass_one_on, one, results)
    wait_until(one.empty, "it has taken the parts that there are")
    kill(process)
    one.put("next")
    assert results.get(timeout=5) == "next"
    join(reader)


def pass_one_on(source: Any, to: Any) -> None:
    to.put(source.get())


def test_what_a_dead_process_held_back_takes_no_room_in_a_bounded_queue() -> None:
    one = small("Queue", maxsize=3)
    mine, theirs = FORK.Pipe()
    process = start(fill, one, theirs)
    assert mine.recv() == 3
    kill(process)
    got = 0
    while not one.empty():
        one.get(timeout=5)
        got += 1
    assert got < 3
    for number in range(3):
        one.put(number, timeout=5)
    assert one.full()
    assert [one.get(timeout=5) for _ in range(3)] == [0, 1, 2]


def fill(to: Any, told: Any) -> None:
    for _ in range(3):
        to.put(bytes(1900))
    told.send(to.qsize())
    signal.pause()


def test_tasks_of_a_dead_process_that_were_never_sent_are_not_waited_for() -> None:
    one = queues.JoinableQueue()
    one._attach(Channel.create(0, 4096))
    one._tally = queues.Tally.create(one._handle)
    mine, theirs = FORK.Pipe()
    process = start(fill, one, theirs)
    assert mine.recv() == 3
    kill(process)
    while not one.empty():
        one.get(timeout=5)
        one.task_done()
    joining = start(one.join)
    join(joining)


def test_a_stopped_reader_costs_the_others_nothing_but_its_item() -> None:
    one = queues.Queue()
    reader = start(one.get)
    one.put(1)
    join(reader)
    writer = start(put_all, one, list(range(100)))
    assert [one.get(timeout=5) for _ in range(100)] == list(range(100))
    join(writer)


def test_a_put_that_is_interrupted_between_parts_is_passed_over() -> None:
    one = small("SimpleQueue")
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(KeyboardInterrupt):
            one.put(bytes(20_000))
    finally:
        signal.signal(signal.SIGALRM, before)
    writer = start(put_all, one, ["next"])
    assert one.get() == "next"
    join(writer)
