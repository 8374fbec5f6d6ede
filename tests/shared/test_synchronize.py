"""Each primitive as the standard library has it, and what a death does to it."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
import warnings
from concurrent import futures
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from distpool import synchronize
from distpool.errors import HolderDied, SharedGone
from tests.shared.actor import BOUND_S, Actor, wait_until

SPAWN = multiprocessing.get_context("spawn")
NAMES = ["Lock", "RLock", "Semaphore", "BoundedSemaphore", "Condition", "Event"]
#: Within this a death is noticed, on a machine that does other things as well. It takes 0.05 s.
NOTICED_S = 3.0


@pytest.fixture(params=["original", "distpool"])
def library(request: pytest.FixtureRequest) -> Any:
    return SPAWN if request.param == "original" else synchronize


def elsewhere(work: Any) -> Any:
    """In a thread of its own."""
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(work).result(BOUND_S)


# -------------------------------------------------------------------------------- as the standard library's


def test_how_they_look(library: Any) -> None:
    lock, rlock = library.Lock(), library.RLock()
    assert repr(lock) == "<Lock(owner=None)>"
    assert repr(rlock) == "<RLock(None, 0)>"
    with lock, rlock, rlock:
        assert repr(lock) == "<Lock(owner=MainProcess)>"
        assert repr(rlock) == "<RLock(MainProcess, 2)>"
        assert elsewhere(lambda: repr(lock)) == "<Lock(owner=SomeOtherThread)>"
        assert elsewhere(lambda: repr(rlock)) == "<RLock(SomeOtherThread, nonzero)>"
    assert repr(library.Semaphore(3)) == "<Semaphore(value=3)>"
    assert repr(library.BoundedSemaphore(3)) == "<BoundedSemaphore(value=3, maxvalue=3)>"
    assert repr(library.Condition()) == "<Condition(<RLock(None, 0)>, 0)>"
    event = library.Event()
    assert repr(event) == f"<Event at {id(event):#x} unset>"
    event.set()
    assert repr(event) == f"<Event at {id(event):#x} set>"


@pytest.mark.parametrize("name", ["Lock", "RLock", "Semaphore", "BoundedSemaphore"])
def test_how_they_are_acquired(library: Any, name: str) -> None:
    thing = getattr(library, name)()
    assert thing.acquire(True, None) is True
    for args in ((False,), (False, None), (False, 5), (True, 0.01), (True, -1), (True, 0)):
        assert elsewhere(lambda args=args: thing.acquire(*args)) is False
    assert elsewhere(lambda: thing.acquire(timeout=0.01)) is False
    assert thing.release() is None
    with thing as value:
        assert value is True
    assert elsewhere(lambda: thing.acquire(block=False)) is True


@pytest.mark.parametrize(
    ("name", "error"), [("Lock", ValueError), ("RLock", AssertionError), ("BoundedSemaphore", ValueError)]
)
def test_one_too_many_releases(library: Any, name: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        getattr(library, name)().release()


def test_a_stranger_cannot_release_a_recursive_lock_but_any_thread_a_plain_one(library: Any) -> None:
    lock, rlock = library.Lock(), library.RLock()
    lock.acquire()
    rlock.acquire()
    elsewhere(lock.release)
    with pytest.raises(AssertionError):
        elsewhere(rlock.release)
    rlock.release()


def test_semaphores_count(library: Any) -> None:
    semaphore = library.Semaphore(0)
    semaphore.release()
    semaphore.release()
    assert semaphore.get_value() == 2
    assert [semaphore.acquire(False) for _ in range(3)] == [True, True, False]
    with pytest.raises(OSError, match=r"Invalid argument|cannot start with -1 units"):
        library.Semaphore(-1)


def test_conditions_need_their_lock(library: Any) -> None:
    for lock in (library.RLock(), library.Lock()):
        condition = library.Condition(lock)
        with pytest.raises(AssertionError, match=r"must acquire\(\) condition before using wait\(\)"):
            condition.wait(0)
        with pytest.raises(AssertionError, match="lock is not owned"):
            condition.notify()
        with condition:
            assert condition.wait(0.01) is False
            assert condition.wait_for(lambda: 0, 0.01) == 0
            assert condition.wait_for(lambda: 7, -1) == 7
            condition.notify_all()


def test_events(library: Any) -> None:
    event = library.Event()
    assert event.wait(0.01) is False
    assert event.wait(-1) is False
    event.set()
    assert event.is_set() is True
    assert event.wait() is True
    event.clear()
    assert event.is_set() is False


def test_barriers(library: Any) -> None:
    acted: list[int] = []
    barrier = library.Barrier(3, lambda: acted.append(1))
    with ThreadPoolExecutor(3) as threads:
        for round_number in range(1, 6):
            waits = [threads.submit(barrier.wait, 10) for _ in range(3)]
            assert sorted(wait.result() for wait in waits) == [0, 1, 2]
            assert len(acted) == round_number
        assert (barrier.parties, barrier.n_waiting, barrier.broken) == (3, 0, False)
        waiting = threads.submit(barrier.wait)
        wait_until(lambda: barrier.n_waiting == 1, "it waits")
        barrier.reset()
        with pytest.raises(threading.BrokenBarrierError):
            waiting.result(BOUND_S)
        assert not barrier.broken
        with pytest.raises(threading.BrokenBarrierError):
            barrier.wait(0.01)
        assert barrier.broken
        with pytest.raises(threading.BrokenBarrierError):
            barrier.wait()
        barrier.reset()
        assert not barrier.broken
        barrier.abort()
        assert barrier.broken


def test_an_action_that_fails_breaks_the_barrier(library: Any) -> None:
    barrier = library.Barrier(2, lambda: 1 / 0)
    with ThreadPoolExecutor(2) as threads:
        waits = [threads.submit(barrier.wait) for _ in range(2)]
        errors = {type(wait.exception(BOUND_S)) for wait in waits}
    assert errors == {ZeroDivisionError, threading.BrokenBarrierError}


# --------------------------------------------------------------------------------------- what ours do besides


def test_a_condition_over_another_library_s_lock_is_refused() -> None:
    with pytest.raises(TypeError, match=r"not over a _thread\.lock"):
        synchronize.Condition(threading.Lock())


def test_locks_say_whether_they_are_locked() -> None:
    for lock in (synchronize.Lock(), synchronize.RLock(), synchronize.Semaphore()):
        assert not lock.locked()
        with lock:
            assert lock.locked()


class MyLock(synchronize.Lock):
    """A user's own."""


@pytest.mark.parametrize("name", NAMES)
def test_they_travel_by_pickle_to_whoever_can_see_them(name: str) -> None:
    thing = getattr(synchronize, name)()
    again = pickle.loads(pickle.dumps({"in": [thing]}))["in"][0]
    assert type(again) is type(thing)
    with Actor(thing=thing) as actor:
        assert actor.call("type(thing).__name__") == name
        if name == "Event":
            actor.call("thing.set()")
            assert thing.is_set()
            assert again.is_set()
        else:
            assert actor.call("thing.acquire()") is True
            assert elsewhere(lambda: thing.acquire(False)) is False
            actor.call("thing.release()")
            assert again.acquire(False)
            again.release()


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_they_go_to_children_of_every_start_method(method: str) -> None:
    lock, semaphore = synchronize.Lock(), synchronize.Semaphore(0)
    with lock:
        child = multiprocessing.get_context(method).Process(target=find_it_locked, args=(lock, semaphore))
        child.start()
        assert semaphore.acquire(timeout=BOUND_S)
    child.join(BOUND_S)
    assert child.exitcode == 0


def find_it_locked(lock: Any, semaphore: Any) -> None:
    assert not lock.acquire(False)
    semaphore.release()


def test_a_user_s_subclass_travels_as_itself() -> None:
    assert type(pickle.loads(pickle.dumps(MyLock()))) is MyLock


def test_a_thing_whose_maker_is_gone_says_so() -> None:
    with Actor(synchronize=None) as actor:
        pickled = actor.call(
            "__import__('pickle').dumps(__import__('distpool.synchronize').synchronize.Lock())"
        )
        actor.kill()
    with pytest.raises(SharedGone, match=f"no process that had it is left.*{actor.pid}"):
        pickle.loads(pickled)


# ------------------------------------------------------------------------------------------------- deaths


@pytest.mark.parametrize("name", ["Lock", "RLock"])
def test_a_lock_is_free_when_its_holder_dies_and_the_next_is_warned_once(name: str) -> None:
    lock = getattr(synchronize, name)()
    with Actor(lock=lock) as actor, Actor(lock=lock) as other:
        assert actor.call("lock.acquire()")
        waits = other.start("lock.acquire()")
        actor.kill()
        assert waits.result(NOTICED_S)
        other.kill()
        with pytest.warns(HolderDied, match=f"process {other.pid} died while it held this {name}"):
            assert lock.acquire(timeout=NOTICED_S)
    lock.release()
    with lock:
        pass


def test_a_warning_that_is_an_error_leaves_the_lock_free() -> None:
    lock = synchronize.Lock()
    with Actor(lock=lock) as actor:
        actor.call("lock.acquire()")
        actor.kill()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(HolderDied):
            lock.acquire()
        assert lock.acquire(False)


def test_units_taken_by_with_or_of_a_bounded_semaphore_come_back_and_others_do_not() -> None:
    plain, bounded = synchronize.Semaphore(3), synchronize.BoundedSemaphore(2)
    with Actor(plain=plain, bounded=bounded) as actor:
        actor.call("[plain.__enter__(), plain.acquire(), bounded.acquire(), bounded.__enter__()]")
        assert (plain.get_value(), bounded.get_value()) == (1, 0)
        actor.kill()
    assert bounded.acquire(timeout=NOTICED_S)
    assert bounded.get_value() == 1
    plain.acquire()
    assert plain.acquire(timeout=NOTICED_S)
    assert not plain.acquire(timeout=0.2)
    bounded.release()
    bounded.release()
    bounded.release()  # the two that came back might still be released by somebody
    with pytest.raises(ValueError, match="too many"):
        bounded.release()


def test_deaths_at_any_instant_lose_no_unit() -> None:
    semaphore = synchronize.BoundedSemaphore(2)
    paused = threading.Event()
    for number in range(6):
        with Actor(semaphore=semaphore) as actor:
            actor.start("[semaphore.acquire() and semaphore.release() for _ in range(10**7)]", "a")
            actor.start(
                "[semaphore.__enter__() and semaphore.__exit__(None, None, None) for _ in range(10**7)]", "b"
            )
            assert actor.call("1", "c") == 1
            paused.wait(0.01 + number * 0.007)
            actor.kill()
    assert semaphore.acquire(timeout=NOTICED_S)
    assert semaphore.acquire(timeout=NOTICED_S)
    assert not semaphore.acquire(timeout=0.2)


def test_a_notification_does_not_go_to_the_dead() -> None:
    condition = synchronize.Condition()
    with Actor(condition=condition) as first, Actor(condition=condition) as second:
        first.start("condition.acquire() and condition.wait()")
        wait_until(lambda: condition._waiting() == 1, "the first waits")
        woken = second.start("condition.acquire() and condition.wait()")
        wait_until(lambda: condition._waiting() == 2, "the second waits")
        first.kill()
        with condition:
            condition.notify()
        assert woken.result(NOTICED_S)


def test_one_who_dies_in_a_condition_leaves_its_lock_free() -> None:
    condition = synchronize.Condition()
    with Actor(condition=condition) as actor:
        actor.call("condition.acquire()")
        actor.kill()
        with pytest.warns(HolderDied):
            assert condition.acquire(timeout=NOTICED_S)
    condition.release()


def test_an_event_wakes_the_living() -> None:
    event = synchronize.Event()
    with Actor(event=event) as first, Actor(event=event) as second:
        first.start("event.wait()")
        woken = second.start("event.wait()")
        wait_until(lambda: event._monitor.waiting() == 2, "both wait")
        first.kill()
        event.set()
        event.clear()
        assert woken.result(NOTICED_S)


def test_a_party_that_dies_breaks_the_barrier_and_is_named() -> None:
    barrier = synchronize.Barrier(3)
    with Actor(barrier=barrier) as first, Actor(barrier=barrier) as second:
        first.start("barrier.wait()")
        waits = second.start("barrier.wait()")
        wait_until(lambda: barrier.n_waiting == 2, "both wait")
        first.kill()
        with pytest.raises(threading.BrokenBarrierError, match=f"process {first.pid} died"):
            waits.result(NOTICED_S)
    with pytest.raises(threading.BrokenBarrierError):
        barrier.wait()
    barrier.reset()
    assert not barrier.broken


def test_who_acts_for_all_at_a_barrier_may_die_as_well() -> None:
    barrier = synchronize.Barrier(2, signal.pause)
    with Actor(barrier=barrier) as first, Actor(barrier=barrier) as second:
        waits = first.start("barrier.wait()")
        wait_until(lambda: barrier.n_waiting == 1, "one waits")
        second.start("barrier.wait()")
        wait_until(lambda: barrier.n_waiting == 2, "the other acts")
        second.kill()
        with pytest.raises(threading.BrokenBarrierError, match=f"process {second.pid} died"):
            waits.result(NOTICED_S)


@pytest.mark.parametrize(
    "waits",
    ["event.wait()", "lock.acquire()", "semaphore.acquire()", "condition.acquire() and condition.wait()"],
)
def test_ctrl_c_ends_a_wait(waits: str) -> None:
    lock, semaphore, event = synchronize.Lock(), synchronize.Semaphore(0), synchronize.Event()
    condition, began = synchronize.Condition(), synchronize.Event()
    lock.acquire()
    with Actor(lock=lock, semaphore=semaphore, event=event, condition=condition, began=began) as actor:
        answer = actor.start(f"began.set() or {waits}")
        assert began.wait(BOUND_S)
        with ThreadPoolExecutor(1) as threads:

            def interrupt() -> None:
                while not answer.done():
                    actor.send_signal(signal.SIGINT)
                    futures.wait([answer], 0.02)

            done = threads.submit(interrupt)
            assert isinstance(answer.exception(BOUND_S), KeyboardInterrupt)
            done.result(BOUND_S)
        semaphore.release()
        lock.release()
        assert semaphore.acquire(False)
        assert lock.acquire(False)


def test_two_hundred_wait_and_all_are_woken() -> None:
    condition, event = synchronize.Condition(), synchronize.Event()
    woken: list[int] = []

    def wait(number: int) -> None:
        with condition:
            condition.wait()
            woken.append(number)
        event.wait()

    threads = [threading.Thread(target=wait, args=(number,)) for number in range(200)]
    for thread in threads:
        thread.start()
    wait_until(lambda: condition._waiting() == 200, "all wait")
    with condition:
        condition.notify(50)
    wait_until(lambda: len(woken) == 50, "50 are woken")
    with condition:
        condition.notify_all()
    event.set()
    for thread in threads:
        thread.join(BOUND_S)
        assert not thread.is_alive()
    assert sorted(woken) == list(range(200))


def test_a_child_that_is_forked_uses_what_it_inherits() -> None:
    semaphore, lock = synchronize.Semaphore(0), synchronize.Lock()
    with lock:
        pid = os.fork()
        if pid == 0:
            semaphore.release()
            got = lock.acquire(timeout=BOUND_S)
            os._exit(0 if got else 1)
        assert semaphore.acquire(timeout=BOUND_S)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    with pytest.warns(HolderDied):
        assert lock.acquire(timeout=NOTICED_S)


def test_a_semaphore_is_looked_at_as_the_standard_one_is() -> None:
    semaphore = synchronize.BoundedSemaphore(2)
    looked_at = [(semaphore._semlock._get_value(), semaphore._semlock._is_zero())]
    for _ in range(2):
        semaphore._semlock.acquire()
        looked_at.append((semaphore._semlock._get_value(), semaphore._semlock._is_zero()))
    semaphore._semlock.release()
    assert looked_at == [(2, False), (1, False), (0, True)]
    assert semaphore.get_value() == 1
