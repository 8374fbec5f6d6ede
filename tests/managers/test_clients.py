"""Clients that die holding, waiting or taking; and those that only leave."""

import threading

import pytest

import distpool
from tests.managers.helpers import LIMIT_S, Caller, child, kill, wait_for_ever


@pytest.fixture
def manager():
    with distpool.get_context("fork").Manager() as made:
        yield made


def hold(say, lock, times=1):
    for _ in range(times):
        lock.acquire()
    wait_for_ever(say, "held")


def hold_by_with(say, lock):
    with lock:
        wait_for_ever(say, "held")


HOLDERS = {
    "Lock": (lambda manager: manager.Lock(), hold),
    "Lock by with": (lambda manager: manager.Lock(), hold_by_with),
    "RLock": (lambda manager: manager.RLock(), hold),
    "Semaphore by with": (lambda manager: manager.Semaphore(1), hold_by_with),
    "BoundedSemaphore": (lambda manager: manager.BoundedSemaphore(1), hold),
    "Condition": (lambda manager: manager.Condition(), hold),
    "Condition over a lock": (lambda manager: manager.Condition(manager.Lock()), hold),
}


@pytest.mark.parametrize("kind", HOLDERS)
def test_what_a_killed_client_held_is_free_again(manager, kind):
    make, hold_it = HOLDERS[kind]
    lock = make(manager)
    with child(hold_it, lock) as (process, hear):
        assert hear() == "held"
        assert not lock.acquire(False)
        kill(process.pid)
        assert lock.acquire(True, LIMIT_S)
    lock.release()
    if kind != "Semaphore by with":  # a plain semaphore takes any release
        with pytest.raises((RuntimeError, ValueError)):
            lock.release()


def test_an_rlock_is_freed_however_often_it_was_taken(manager):
    lock = manager.RLock()
    with child(hold, lock, 3) as (process, hear):
        assert hear() == "held"
        kill(process.pid)
        assert lock.acquire(True, LIMIT_S)


def test_the_units_of_a_killed_client_come_back_and_no_others(manager):
    units = manager.BoundedSemaphore(3)
    assert units.acquire()
    with child(hold, units, 2) as (process, hear):
        assert hear() == "held"
        assert not units.acquire(False)
        kill(process.pid)
        assert units.acquire(True, LIMIT_S)
        assert units.acquire(True, LIMIT_S)
        assert not units.acquire(False)


def test_a_bare_acquire_of_a_semaphore_is_tied_to_nobody(manager):
    signal, other = manager.Semaphore(1), manager.Lock()
    with child(lambda say, *both: (both[0].acquire(), hold(say, both[1])), signal, other) as (process, hear):
        assert hear() == "held"
        kill(process.pid)
        assert other.acquire(True, LIMIT_S)  # so the death has been seen
        assert not signal.acquire(False)
        signal.release()
        assert signal.acquire(False)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_client_that_ends_as_it_should_has_left_its_lock_to_others(manager, method):
    """As in the standard library: one process may acquire, and another release."""
    lock = manager.Lock()
    process = distpool.get_context(method).Process(target=lock.acquire)
    process.start()
    process.join(LIMIT_S)
    assert process.exitcode == 0
    assert not lock.acquire(False)
    lock.release()
    assert lock.acquire(False)


def test_a_thread_that_ends_gives_nothing_back(manager):
    lock = manager.Lock()
    assert Caller(lock.acquire).outcome() is None
    assert not lock.acquire(False)
    lock.release()


def test_a_client_killed_while_it_waits_for_a_lock_does_not_get_it(manager):
    lock = manager.Lock()
    assert lock.acquire()

    def wait(say):
        say("waiting")
        lock.acquire()

    with child(wait) as (process, hear):
        assert hear() == "waiting"
        kill(process.pid)
        lock.release()
        assert lock.acquire(True, LIMIT_S)


def test_an_item_taken_for_a_killed_client_is_the_next_one_again(manager):
    queue = manager.Queue()

    def take(say):
        say("taking")
        queue.get()

    with child(take) as (process, hear):
        assert hear() == "taking"
        kill(process.pid)
        queue.put("first")
        queue.put("second")
        assert [queue.get(True, LIMIT_S), queue.get(True, LIMIT_S)] == ["first", "second"]


def test_a_barrier_breaks_when_one_dies_in_it(manager):
    barrier, lock = manager.Barrier(3), manager.Lock()

    def meet(say):
        say("meeting")
        barrier.wait()

    with child(meet) as (process, hear):
        assert hear() == "meeting"
        caller = Caller(barrier.wait)
        waiting = threading.Event()
        while barrier.n_waiting < 2:
            assert not waiting.wait(0.01)
        kill(process.pid)
        assert isinstance(caller.outcome(), threading.BrokenBarrierError)
    assert lock.acquire(False)
