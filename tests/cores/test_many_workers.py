"""OwnerCore with many workers: what one message costs does not grow with them, and all of them are used."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import pytest

from distpool.scheduler.messages import Done, Execute, Recall, Results, Submit

from .test_owner import Owner, task


def calls_in(owner: Owner, sender: str, message: Any) -> tuple[int, list[tuple[str, Any]]]:
    """How many functions the core calls to take in this message, and what it says."""
    calls = 0

    def count(_frame: FrameType, event: str, _argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        out = owner.core.receive(sender, message, owner.now)
    finally:
        sys.setprofile(None)
    return calls, out


def staffed(workers: int) -> Owner:
    return Owner(workers).with_workers(*(f"w{n}" for n in range(workers)))


def costs(workers: int) -> dict[str, int]:
    """Calls for a task with all workers idle, with all but one busy, with all full, and for the answers to them."""
    owner = staffed(workers)
    costs = {}
    costs["idle"], [(to, execute)] = calls_in(owner, "app", Submit(1, [task(0)]))
    costs["answer, all idle"], _ = calls_in(owner, to, Results([execute.first], ["x"], busy_s=0.1))
    keys = iter(range(1, 10**6))
    offers = [calls_in(owner, "app", Submit(1, [task(next(keys))]))[1][0] for _ in range(workers - 1)]
    assert len({to for to, _ in offers}) == workers - 1
    costs["one idle"], [(to, execute)] = calls_in(owner, "app", Submit(1, [task(next(keys))]))
    costs["full"], out = calls_in(owner, "app", Submit(1, [task(next(keys))]))
    assert out == []
    costs["answer, all busy"], out = calls_in(owner, to, Results([execute.first], ["x"], busy_s=0.1))
    assert [type(message) for _, message in out] == [Done, Execute]
    to, execute = offers[0]
    costs["answer, nothing left"], out = calls_in(owner, to, Results([execute.first], ["x"], busy_s=0.1))
    assert [type(message) for _, message in out] == [Done]
    return costs


def test_what_a_message_costs_does_not_grow_with_the_workers() -> None:
    few, many = costs(4), costs(400)
    assert few == many


def test_a_backlog_is_offered_as_the_shares_grow() -> None:
    owner = staffed(2)
    owner("worker:w0", Results([], [], busy_s=0.0))
    owner.core.pools[1].mean_s = 1e-5
    owner.core.leases["w1"].stalled = True
    held = []
    for key in range(40):
        owner("app", Submit(1, [task(key)]))
        held.append(len(owner.core.leases["w0"].offered))
    assert held == sorted(held)
    assert len(owner.core.leases["w1"].offered) == 1
    assert held[-1] == 20


def test_idle_workers_recall_from_different_ones() -> None:
    owner = staffed(4)
    owner.core.pools[1].mean_s = 1e-5
    owner("app", Submit(1, [task(key) for key in range(40)]))
    recalls = []
    for name in ("w0", "w1"):
        attempts = list(owner.core.leases[name].offered)
        out = owner(f"worker:{name}", Results(attempts, attempts, busy_s=1e-4))
        recalls += [to for to, message in out if isinstance(message, Recall)]
    assert sorted(recalls) == ["control:w2", "control:w3"]


def test_the_worker_that_was_at_work_last_is_the_next_to_get_a_task() -> None:
    owner = staffed(3)
    [(to, execute)] = owner("app", Submit(1, [task(0)]))
    owner(to, Results([execute.first], ["x"], busy_s=0.1))
    assert [address for address, _ in owner("app", Submit(1, [task(1)]))] == [to]


@pytest.mark.parametrize("workers", [1, 2, 7, 64])
def test_any_number_of_workers_gets_through_any_number_of_tasks(workers: int) -> None:
    owner = staffed(workers)
    todo = owner("app", Submit(1, [task(key) for key in range(500)]))
    done = 0
    while todo:
        to, message = todo.pop(0)
        if isinstance(message, Execute):
            count = len(message.payloads)
            attempts = [*range(message.first, message.first + count)]
            todo += owner(to, Results(attempts, message.payloads, busy_s=1e-4 * count))
        elif isinstance(message, Done):
            done += len(message.tasks)
    assert done == 500
