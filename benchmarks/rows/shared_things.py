"""Locks, values, managers and processes: what they cost when nobody else wants them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from benchmarks.adapters import NamesAdapter
from benchmarks.model import Metric, Row, Session, Target

TITLE = "Locks, values, managers, processes"

_WARM = 1_000


def names(session: Session) -> Any:
    """The module that is measured."""
    adapter = session.open()
    assert isinstance(adapter, NamesAdapter)
    return adapter.names


def measure_lock(session: Session) -> Mapping[str, float]:
    """Nobody else wants it: a loop of `with lock: pass`, and one of `acquire`, `release`."""
    lock = names(session).Lock()
    for _ in range(_WARM):
        with lock:
            pass
    start = time.perf_counter()
    for _ in range(session.count):
        with lock:
            pass
    between = time.perf_counter()
    for _ in range(session.count):
        lock.acquire()
        lock.release()
    end = time.perf_counter()
    return {"with": session.count / (between - start), "pair": session.count / (end - between)}


def measure_value(session: Session) -> Mapping[str, float]:
    """`value.value += 1` with its lock held around it."""
    value = names(session).Value("i", 0)
    lock = value.get_lock()
    start = time.perf_counter()
    for _ in range(session.count):
        with lock:
            value.value += 1
    seconds = time.perf_counter() - start
    assert value.value == session.count, "wrong result"
    return {"rate": session.count / seconds}


def measure_manager(session: Session) -> Mapping[str, float]:
    """Set and get one key of a manager's dict."""
    with names(session).Manager() as manager:
        shared = manager.dict()
        shared["key"] = 0
        start = time.perf_counter()
        for number in range(session.count):
            shared["key"] = number
            assert shared["key"] == number, "wrong result"
        return {"rate": session.count / (time.perf_counter() - start)}


def nothing() -> None:
    """What the processes run."""


def measure_process(session: Session) -> Mapping[str, float]:
    """Start a process and join it, one after the other, with the library's default way of starting."""
    return _starts(session, names(session))


def measure_forkserver(session: Session) -> Mapping[str, float]:
    """The same with the fork server."""
    return _starts(session, names(session).get_context("forkserver"))


def _starts(session: Session, module: Any) -> Mapping[str, float]:
    def one() -> None:
        process = module.Process(target=nothing)
        process.start()
        process.join()
        assert process.exitcode == 0, "wrong result"

    one()  # the fork server has started, modules are loaded
    start = time.perf_counter()
    for _ in range(session.count):
        one()
    return {"rate": session.count / (time.perf_counter() - start)}


def _row(
    key: str, count: int, measure: Any, *metrics: Metric, instead: Mapping[str, Any] | None = None
) -> Row:
    return Row(
        key=key,
        metrics=metrics,
        ours="distpool-names",
        peers=("stdlib-names",),
        count=count,
        measure=measure,
        instead=instead or {},
    )


def _metric(key: str, title: str, unit: str, at_least: float, than: str = "stdlib") -> Metric:
    target = Target(f"{at_least:g}x {than}", ("stdlib-names",), at_least=at_least)
    return Metric(key, title, unit, "higher", (target,))


ROWS = (
    _row(
        "lock",
        500_000,
        measure_lock,
        _metric("with", "uncontended Lock, `with lock:`", "locks/s", 0.5),
        _metric("pair", "uncontended Lock, acquire() and release()", "locks/s", 0.5),
    ),
    _row("value", 200_000, measure_value, _metric("rate", "Value += 1 under its lock", "increments/s", 0.5)),
    _row("manager", 10_000, measure_manager, _metric("rate", "Manager().dict, set and get", "pairs/s", 1.0)),
    _row(
        "process",
        100,
        measure_process,
        _metric("rate", "Process, start to join", "processes/s", 1.0, "stdlib forkserver"),
        instead={"stdlib-names": measure_forkserver},
    ),
)
