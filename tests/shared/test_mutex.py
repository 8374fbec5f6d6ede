"""The mutex between real processes that are killed at any instant: nobody is inside with another, nor waits long."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from distpool.scheduler.shared import identity, mutex, segment, semaphores
from distpool.scheduler.shared.mutex import Mutex
from tests.shared.actor import BOUND_S

#: Within this a death is noticed, on a machine that does other things as well. It takes 0.04 s.
MENDED_S = 2.0


def make(kind: int = semaphores.SEMAPHORE) -> Mutex:
    place = segment.allocate(mutex.BYTES)
    Mutex.make(place)
    return Mutex(place, kind)


def in_child(work: Callable[[], object]) -> int:
    pid = os.fork()
    if pid == 0:
        code = 3
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return pid


def killed(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


def ended(pid: int) -> None:
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.fixture(params=[semaphores.SEMAPHORE, semaphores.RECURSIVE], ids=["any thread", "recursive"])
def lock(request: pytest.FixtureRequest) -> Mutex:
    return make(request.param)


def test_it_is_taken_by_one_at_a_time_and_given_back(lock: Mutex) -> None:
    with lock:
        ended(in_child(lambda: ended_if(not lock.acquire(False) and not lock.acquire(True, 0.05))))
    assert lock.acquire(timeout=0)
    lock.release()


def ended_if(true: bool) -> None:
    assert true


def test_what_is_not_held_cannot_be_released() -> None:
    with pytest.raises(ValueError, match="released too many times"):
        make().release()
    with pytest.raises(AssertionError, match="not owned"):
        make(semaphores.RECURSIVE).release()


def test_a_thread_may_take_a_recursive_one_again_and_another_may_not() -> None:
    lock = make(semaphores.RECURSIVE)
    got: list[bool] = []
    with lock, lock:
        thread = threading.Thread(target=lambda: got.append(lock.acquire(False)))
        thread.start()
        thread.join()
    assert got == [False]
    assert lock.place.words[0] == identity.NOBODY


@pytest.mark.parametrize("steps", ["holding", "taken, not told", "released, not told"])
def test_who_waits_gets_it_when_its_holder_dies(lock: Mutex, steps: str) -> None:
    told: list[int] = []
    lock._tell = told.append  # type: ignore[method-assign]

    def die() -> None:
        lock.acquire()
        if steps != "holding":  # as it is before the holder's word is written, and after it is wiped
            lock.place.words[0] = identity.NOBODY
        os.kill(os.getpid(), signal.SIGKILL)

    pid = in_child(die)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # a zombie is dead enough
    began_s = time.monotonic()
    assert lock.acquire(timeout=BOUND_S)
    assert time.monotonic() - began_s < MENDED_S
    os.waitpid(pid, 0)
    assert [identity.pid_of(word) for word in told] == ([pid] if steps == "holding" else [])
    lock.release()
    with lock:
        assert len(told) <= 1
    assert lock.acquire(False)


def test_a_death_that_a_mender_could_not_finish_is_finished_by_the_next(lock: Mutex) -> None:
    def die() -> None:
        lock.acquire()
        lock.place.words[mutex._GENERATION] |= mutex._CLOSING
        os.kill(os.getpid(), signal.SIGKILL)

    os.waitpid(in_child(die), 0)
    assert lock.acquire(timeout=BOUND_S)
    lock.release()


def test_an_idle_handle_follows_many_deaths(lock: Mutex) -> None:
    idle = Mutex(lock.place, lock.kind)
    for _ in range(mutex.GENERATIONS + 1):
        os.waitpid(in_child(lambda: lock.acquire() and os.kill(os.getpid(), signal.SIGKILL)), 0)
        assert lock.acquire(timeout=BOUND_S)
        lock.release()
    for _ in range(3):
        assert idle.acquire(False)
        assert not in_other_thread(lock)
        idle.release()


def in_other_thread(lock: Mutex) -> bool:
    got: list[bool] = []

    def attempt() -> None:
        got.append(lock.acquire(False))
        if got[0]:
            lock.release()

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    return got[0]


def test_a_forked_child_does_not_hold_what_its_parent_holds(lock: Mutex) -> None:
    with lock:
        ended(in_child(lambda: ended_if(not lock.acquire(False))))
        ended(in_child(lambda: ended_if(not lock.semaphore._is_mine())))
    assert lock.acquire(False)


def test_an_idle_process_can_release_what_another_took_after_a_death() -> None:
    lock = make()
    idle = Mutex(lock.place, lock.kind)
    os.waitpid(in_child(lambda: lock.acquire() and os.kill(os.getpid(), signal.SIGKILL)), 0)
    assert lock.acquire(timeout=BOUND_S)
    idle.release()
    assert not idle.semaphore._is_mine()
    assert lock.acquire(False)
    idle.release()
    with pytest.raises(ValueError, match="too many times"):
        idle.release()


@pytest.fixture
def children() -> Iterator[list[int]]:
    pids: list[int] = []
    yield pids
    for pid in pids:
        killed(pid)


def test_nobody_is_inside_with_another_however_they_are_killed(children: list[int]) -> None:
    place = segment.allocate(64)
    words = place.words  # a count, who is inside, and whether there ever were two
    lock = make()

    def go_in_and_out() -> None:
        while True:
            with lock:
                count, words[1] = words[0], os.getpid()
                words[0] = count + 1
                if words[1] != os.getpid():
                    words[2] = 1

    chance = random.Random(9)
    children += [in_child(go_in_and_out) for _ in range(3)]
    kills, until_s = 0, time.monotonic() + 2.5
    paused = threading.Event()
    while time.monotonic() < until_s or kills < 21:  # as many on a machine that others keep busy
        paused.wait(chance.random() * 0.02)
        index = chance.randrange(len(children))
        killed(children[index])
        children[index] = in_child(go_in_and_out)
        kills += 1
    assert words[2] == 0
    before = words[0]
    with lock:
        assert words[0] > kills
    until_s = time.monotonic() + BOUND_S
    while words[0] == before:  # they still go in and out
        assert time.monotonic() < until_s
        paused.wait(0.005)


def test_an_interrupted_wait_has_taken_nothing(lock: Mutex) -> None:
    class Interrupt(BaseException):
        pass

    def interrupt(number: int, frame: object) -> None:
        raise Interrupt

    said, say = os.pipe()
    pid = in_child(lambda: lock.acquire() and os.write(say, b"x") and signal.pause())
    os.read(said, 1)
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for number in range(50):
            signal.setitimer(signal.ITIMER_REAL, 0.001 + number * 1e-5)
            with pytest.raises(Interrupt):
                lock.acquire()
        assert identity.pid_of(lock.place.words[0]) == pid
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        killed(pid)
        os.close(said)
        os.close(say)
    assert lock.acquire(True, BOUND_S)
    lock.release()
