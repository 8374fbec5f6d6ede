"""A monitor between threads and processes: who is woken, in which order, and what becomes of those who die."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from distpool.scheduler.shared import monitor, segment
from distpool.scheduler.shared.monitor import Monitor
from tests.shared.actor import BOUND_S, wait_until

READERS, WRITERS = 0, 1


@pytest.fixture
def shared() -> Monitor:
    place = segment.allocate(monitor.BYTES)
    Monitor.make(place)
    return Monitor(place)


@pytest.fixture
def children() -> Iterator[list[int]]:
    pids: list[int] = []
    yield pids
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def take_one(shared: Monitor) -> bool:
    if not shared.words[0]:
        return False
    shared.words[0] -= 1
    return True


def waiting(shared: Monitor, count: int, reason: int = READERS) -> None:
    def enough() -> bool:
        with shared:
            return shared.waiting(reason) == count

    wait_until(enough, f"{count} wait")


def waiting_child(shared: Monitor) -> int:
    pid = os.fork()
    if pid == 0:
        with shared:
            got = shared.wait_until(lambda: take_one(shared))
        os._exit(0 if got else 1)
    return pid


def test_it_asks_at_once_and_does_not_wait_if_it_may_not(shared: Monitor) -> None:
    with shared:
        assert shared.wait_until(lambda: "yes") == "yes"
        assert not shared.wait_until(lambda: False, block=False)
        assert not shared.wait_until(lambda: False, timeout=0)
        assert not shared.wait_until(lambda: False, timeout=-1)
        assert not shared.wait_until(lambda: False, timeout=0.02)
        assert shared.wake_all() == 0
    assert not shared.semaphore._is_zero()


def test_who_waits_longest_is_woken_first_and_only_for_its_reason(shared: Monitor) -> None:
    order: list[str] = []

    def wait(name: str, reason: int) -> None:
        with shared:
            at = shared.enlist(reason)
            assert at is not None
            if shared.wait_for_wake(at, BOUND_S):
                order.append(name)

    threads = []
    counts = {READERS: 0, WRITERS: 0}
    for name, reason in (("r1", READERS), ("w1", WRITERS), ("r2", READERS), ("r3", READERS)):
        threads.append(threading.Thread(target=wait, args=(name, reason)))
        threads[-1].start()
        counts[reason] += 1
        waiting(shared, counts[reason], reason)
    for expected in ("r1", "r2"):
        with shared:
            assert shared.wake(1, READERS) == 1
        wait_until(lambda expected=expected: order[-1:] == [expected], f"{expected} is woken")
    with shared:
        assert (shared.wake(5, WRITERS), shared.wake_all(READERS)) == (1, 1)
    for thread in threads:
        thread.join(BOUND_S)
    assert sorted(order[2:]) == ["r3", "w1"]


def test_a_wake_up_that_went_to_the_dead_is_passed_on(shared: Monitor, children: list[int]) -> None:
    first = waiting_child(shared)
    children.append(first)
    waiting(shared, 1)
    second = waiting_child(shared)
    waiting(shared, 2)
    os.kill(first, signal.SIGSTOP)  # so that it is woken, but does not wake
    with shared:
        shared.words[0] = 1
        assert shared.wake(1) == 1
    os.kill(first, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(second, 0)[1]) == 0


def test_a_waker_that_dies_before_it_wakes_costs_a_slice(shared: Monitor) -> None:
    pid = waiting_child(shared)
    waiting(shared, 1)
    with shared:
        shared.words[0] = 1  # and no wake-up
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_the_owner_hears_of_who_died_inside_and_of_who_died_waiting(
    shared: Monitor, children: list[int]
) -> None:
    inside: list[int] = []
    gone: list[tuple[int, int]] = []
    shared.on_death = inside.append
    shared.on_gone = lambda process, reason: gone.append((process >> 32, reason))
    dies = os.fork()
    if dies == 0:
        shared.acquire()
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(dies, 0)
    with shared:
        assert [process >> 32 for process in inside] == [dies]
    waits = waiting_child(shared)
    waiting(shared, 1)
    os.kill(waits, signal.SIGKILL)
    os.waitpid(waits, 0)
    with shared:
        assert not shared.wait_until(lambda: bool(gone) and None, timeout=0.3)
        assert gone == [(waits, READERS)]
        assert shared.waiting() == 0


def test_the_entries_of_the_dead_are_used_again_and_a_full_table_is_no_end() -> None:
    place = segment.allocate(monitor.bytes_for(2))
    Monitor.make(place)
    shared = Monitor(place, 2)
    for _ in range(3):
        pids = [waiting_child(shared) for _ in range(2)]
        waiting(shared, 2)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    pids = [waiting_child(shared) for _ in range(4)]  # two have no entry, and ask again and again
    waiting(shared, 2)
    with shared:
        assert shared.enlist() is None
        shared.words[0] = 4
        shared.wake(4)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids] == [0] * 4


def test_an_error_in_what_is_asked_leaves_nothing_behind(shared: Monitor) -> None:
    calls: list[int] = []

    def fails_later() -> bool:
        calls.append(1)
        if len(calls) > 1:
            raise KeyError("not now")
        return False

    with pytest.raises(KeyError), shared:
        shared.wait_until(fails_later)
    with shared:
        assert shared.waiting() == 0
