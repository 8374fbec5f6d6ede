"""Queues: small items within a process, between two, there and back; and arrays of a megabyte."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.adapters import NamesAdapter
from benchmarks.model import Metric, Row, Session, Target

TITLE = "Queues"

_STDLIB = "stdlib-names"
_ARRAY_NUMBERS = 131_072  # of 8 bytes
# What takes milliseconds is too short to time once.
_SHORT_REPEATS = 5


def context(session: Session) -> Any:
    """What makes the queues that are measured, and the processes that use them."""
    adapter = session.open()
    assert isinstance(adapter, NamesAdapter)
    return adapter.names.get_context("fork")


def _put_and_get(session: Session, name: str) -> Mapping[str, float]:
    """Put one, get it, in one process; the best of a few."""
    queue = getattr(context(session), name)()
    best_s = float("inf")
    for _ in range(_SHORT_REPEATS):
        start = time.perf_counter()
        for number in range(session.count):
            queue.put(number)
            if queue.get() != number:
                raise AssertionError("wrong item")
        best_s = min(best_s, time.perf_counter() - start)
    return {"rate": session.count / best_s}


def _put_and_get_arrays(session: Session, name: str) -> Mapping[str, float]:
    """The same with arrays of a megabyte."""
    import numpy

    queue = getattr(context(session), name)()
    array = numpy.arange(_ARRAY_NUMBERS, dtype=numpy.float64)
    best_s = float("inf")
    for _ in range(_SHORT_REPEATS):
        start = time.perf_counter()
        for _ in range(session.count):
            queue.put(array)
            got = queue.get()
        best_s = min(best_s, time.perf_counter() - start)
        assert numpy.array_equal(got, array), "wrong array"
    return {"rate": session.count / best_s}


def _stream(session: Session, name: str) -> Mapping[str, float]:
    """Another process writes as fast as it can."""
    made = context(session)
    queue = getattr(made, name)()
    process = made.Process(target=_write, args=(queue, session.count))
    process.start()
    assert queue.get() == 0, "wrong item"
    start = time.perf_counter()
    for number in range(1, session.count):
        if queue.get() != number:
            raise AssertionError("wrong item")
    seconds = time.perf_counter() - start
    process.join()
    return {"rate": session.count / seconds}


def _round_trips(session: Session, name: str) -> Mapping[str, float]:
    """An item to another process, and its answer back."""
    made = context(session)
    there, back = getattr(made, name)(), getattr(made, name)()
    process = made.Process(target=_echo, args=(there, back))
    process.start()
    there.put(0)
    assert back.get() == 0, "wrong answer"
    start = time.perf_counter()
    for number in range(1, session.count):
        there.put(number)
        if back.get() != number:
            raise AssertionError("wrong answer")
    seconds = time.perf_counter() - start
    there.put(None)
    process.join()
    return {"rate": session.count / seconds}


def _write(queue: Any, count: int) -> None:
    for number in range(count):
        queue.put(number)


def _echo(there: Any, back: Any) -> None:
    for item in iter(there.get, None):
        back.put(item)


def _row(
    key: str,
    title: str,
    name: str,
    measure: Callable[[Session, str], Mapping[str, float]],
    count: int,
    at_least: float,
    needs: tuple[str, ...] = (),
) -> Row:
    targets = (Target(f"{at_least:g}x stdlib", (_STDLIB,), at_least=at_least),)
    return Row(
        key=key,
        metrics=(Metric("rate", title, "items/s", "higher", targets),),
        ours="distpool-names",
        peers=(_STDLIB,),
        count=count,
        measure=lambda session: measure(session, name),
        needs=needs,
    )


ROWS = (
    _row("queue-small", "Queue put + get, small", "Queue", _put_and_get, 5_000, 1.0),
    _row("queue-arrays", "Queue put + get, 1 MB arrays", "Queue", _put_and_get_arrays, 40, 5.0, ("numpy",)),
    _row("queue-stream", "Queue, small items from another process", "Queue", _stream, 20_000, 1.0),
    _row("queue-round-trip", "Queue, there and back", "Queue", _round_trips, 2_000, 1.0),
    _row("simple-queue-small", "SimpleQueue put + get, small", "SimpleQueue", _put_and_get, 5_000, 1.0),
    _row(
        "simple-queue-stream",
        "SimpleQueue, small items from another process",
        "SimpleQueue",
        _stream,
        20_000,
        1.0,
    ),
)
