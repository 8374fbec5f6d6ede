"""Queues of one node, used from another: the same methods, by the server of their home."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from typing import Any

import numpy
import pytest

from distpool import queues
from distpool.errors import SharedElsewhere, SharedGone
from tests.shared.actor import Actor, wait_until


@pytest.fixture
def things() -> dict[str, Any]:
    return {
        "q": queues.Queue(),
        "bounded": queues.Queue(2),
        "tasks": queues.JoinableQueue(),
        "simple": queues.SimpleQueue(),
    }


@pytest.fixture
def actor(things: dict[str, Any]) -> Iterator[Actor]:
    # The actor's threads are there before the things are pickled, so they are served.
    with Actor("elsewhere", ones=numpy.ones) as actor:
        actor.tell("things", things)
        yield actor


def test_items_go_both_ways_in_order(things: dict[str, Any], actor: Actor) -> None:
    for name in ("q", "tasks", "simple"):
        for number in range(5):
            things[name].put(number)
        assert actor.call(f"[{name}.get() for _ in range(5)]") == [0, 1, 2, 3, 4]
        actor.call(f"[{name}.put(n) for n in range(5)]")
        assert [things[name].get() for _ in range(5)] == [0, 1, 2, 3, 4]
        assert actor.call(f"{name}.empty()")


def test_big_arrays_and_functions_go_both_ways(things: dict[str, Any], actor: Actor) -> None:
    array, q = numpy.arange(3_000_000.0), things["q"]  # larger than the ring
    q.put(array)
    q.put(lambda x: x + 1)
    assert actor.call("(a := q.get()).flags.writeable and float(a.sum())") == array.sum()
    assert actor.call("q.get()(41)") == 42
    actor.call("q.put(ones(3_000_000))")
    assert q.get(timeout=20).sum() == 3_000_000


def test_limits_and_times_are_the_same(things: dict[str, Any], actor: Actor) -> None:
    bounded = things["bounded"]
    actor.call("[bounded.put(n) for n in range(2)]")
    assert actor.call("(bounded.full(), bounded.qsize(), bounded.empty())") == (True, 2, False)
    for late in ("bounded.put_nowait(3)", "bounded.put(3, timeout=0.05)"):
        with pytest.raises(queue.Full):
            actor.call(late)
    waiting = actor.start("bounded.put(2)")
    assert [bounded.get(timeout=20) for _ in range(3)] == [0, 1, 2]
    waiting.result(20)
    for late in ("bounded.get_nowait()", "bounded.get(timeout=0.05)"):
        with pytest.raises(queue.Empty):
            actor.call(late)
    waiting = actor.start("bounded.get()")
    bounded.put("late")
    assert waiting.result(20) == "late"


def test_tasks_are_done_from_there(things: dict[str, Any], actor: Actor) -> None:
    tasks = things["tasks"]
    tasks.put(1)
    joining = actor.start("tasks.join()", "other")
    assert actor.call("tasks.get()") == 1
    assert not joining.done()
    actor.call("tasks.task_done()")
    joining.result(20)
    tasks.join()
    with pytest.raises(ValueError, match="too many times"):
        actor.call("tasks.task_done()")


def test_a_process_that_dies_while_it_waits_there_takes_nothing(things: dict[str, Any]) -> None:
    with Actor("elsewhere") as actor:
        actor.tell("things", things)
        actor.call("q.empty()")
        actor.start("q.get()", "other")
        q = things["q"]
        wait_until(lambda: q._handle._items._words[0] == 1, "it waits")
        actor.kill()
        line = q._handle._items.line
        wait_until(lambda: line.acquire(False), "the server's thread has noticed, and left the line")
        line.release()
        q.put("for the living")
        assert q.get(timeout=20) == "for the living"


def test_there_is_no_descriptor_there(actor: Actor) -> None:
    with pytest.raises(SharedElsewhere, match=r"call its get\(\)"):
        actor.call("q._reader.fileno()")


def test_a_queue_whose_home_has_died_says_so() -> None:
    with Actor("home", Queue=queues.Queue) as home:
        one = home.call("globals().setdefault('kept', Queue())")
        one.put(1)
        assert one.get() == 1
        home.kill()
        with pytest.raises(SharedGone):
            one.put(2)
        with pytest.raises(SharedGone):
            one.get()
