"""Shared things used from a process that believes to be on another node, and so has none of their memory."""

from __future__ import annotations

import pickle
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent import futures
from multiprocessing.connection import Connection
from typing import Any

import pytest

from distpool import synchronize
from distpool.errors import HolderDied, SharedElsewhere, SharedGone
from distpool.scheduler.shared import remote, sync_server
from tests.shared.actor import BOUND_S, Actor, wait_until

NOTICED_S = 3.0


@pytest.fixture(autouse=True)
def several_threads() -> Iterator[None]:
    """As in any process that has a session: without, nothing is served."""
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    yield
    over.set()
    thread.join()


@pytest.fixture
def things() -> dict[str, Any]:
    return {
        "lock": synchronize.Lock(),
        "rlock": synchronize.RLock(),
        "semaphore": synchronize.Semaphore(2),
        "bounded": synchronize.BoundedSemaphore(2),
        "condition": synchronize.Condition(),
        "event": synchronize.Event(),
        "barrier": synchronize.Barrier(2, timeout=BOUND_S),
    }


@pytest.fixture
def guest(things: dict[str, Any]) -> Iterator[Actor]:
    with Actor("elsewhere", **things) as actor:
        actor.call("1")
        yield actor


def test_what_arrives_is_of_the_same_class_and_knows_the_way_home(
    guest: Actor, things: dict[str, Any]
) -> None:
    for name, thing in things.items():
        kind = type(thing).__name__
        assert guest.call(f"isinstance({name}, __import__('distpool.synchronize').synchronize.{kind})")
        assert type(guest.call(name)) is type(thing)  # back home it is the memory again
    assert guest.call("repr(lock)") == "<Lock(owner=None)>"
    assert guest.call("repr(semaphore)") == "<Semaphore(value=2)>"
    assert guest.call("repr(condition)") == "<Condition(<RLock(None, 0)>, 0)>"


def test_locks(guest: Actor, things: dict[str, Any]) -> None:
    lock, rlock = things["lock"], things["rlock"]
    assert guest.call("lock.acquire()") is True
    assert lock.acquire(False) is False
    waits = guest.start("lock.acquire(True, 10)", "other")
    guest.call("lock.release()")
    assert waits.result(BOUND_S) is True
    lock.release()
    with pytest.raises(ValueError, match="too many times"):
        guest.call("lock.release()")
    assert guest.call("rlock.acquire() and rlock.acquire()") is True
    assert guest.call("rlock.acquire(False)", "other") is False
    with pytest.raises(AssertionError):
        guest.call("rlock.release()", "other")
    guest.call("rlock.release()")
    assert rlock.acquire(False) is False
    guest.call("rlock.release()")
    assert rlock.acquire(False) is True


def test_semaphores(guest: Actor, things: dict[str, Any]) -> None:
    assert guest.call("[semaphore.acquire(block=False) for _ in range(3)]") == [True, True, False]
    assert things["semaphore"].get_value() == 0
    waits = guest.start("semaphore.acquire(timeout=10)", "other")
    things["semaphore"].release()
    assert waits.result(BOUND_S) is True
    with pytest.raises(ValueError, match="too many times"):
        guest.call("bounded.release()")


def test_conditions_events_and_barriers(guest: Actor, things: dict[str, Any]) -> None:
    condition, event, barrier = things["condition"], things["event"], things["barrier"]
    waits = guest.start("condition.acquire() and condition.wait(10)")
    wait_until(lambda: condition._waiting() == 1, "it waits")
    with condition:
        condition.notify_all()
    assert waits.result(BOUND_S) is True
    guest.call("condition.release()")
    waits = guest.start("event.wait()")
    event.set()
    assert waits.result(BOUND_S) is True
    assert guest.call("event.is_set()") is True
    waits = guest.start("barrier.wait()")
    assert {barrier.wait(), waits.result(BOUND_S)} == {0, 1}
    assert guest.call("(barrier.parties, barrier.n_waiting, barrier.broken)") == (2, 0, False)
    with pytest.raises(threading.BrokenBarrierError):
        guest.call("barrier.wait(0.01)")
    assert barrier.broken


def test_what_a_guest_holds_is_free_when_it_dies(guest: Actor, things: dict[str, Any]) -> None:
    guest.call("[lock.acquire(), rlock.acquire(), bounded.acquire(), semaphore.__enter__()]")
    guest.start("barrier.wait()", "other")
    wait_until(lambda: things["barrier"].n_waiting == 1, "it waits")
    guest.kill()
    for name in ("lock", "rlock"):
        with pytest.warns(HolderDied, match=f"process {guest.pid} died"):
            assert things[name].acquire(timeout=NOTICED_S)
    wait_until(
        lambda: things["bounded"].get_value() == things["semaphore"].get_value() == 2, "units come back"
    )


def test_what_a_guest_s_thread_holds_stays_held_when_that_ends(guest: Actor, things: dict[str, Any]) -> None:
    in_thread = "[t := threading.Thread(target=lock.acquire), t.start(), t.join()] and 1"
    assert guest.call(in_thread) == 1
    assert things["lock"].acquire(timeout=0.1) is False
    guest.call("lock.release()")
    assert things["lock"].acquire(False) is True


def test_a_guest_that_dies_waiting_is_not_waited_for(guest: Actor, things: dict[str, Any]) -> None:
    condition = things["condition"]
    guest.start("condition.acquire() and condition.wait()")
    wait_until(lambda: condition._waiting() == 1, "it waits")
    guest.kill()
    wait_until(lambda: condition._waiting() == 0, "it is gone")
    assert condition.acquire(timeout=NOTICED_S)


def test_a_guest_is_warned_too(things: dict[str, Any], guest: Actor) -> None:
    with Actor(lock=things["lock"]) as holder:
        holder.call("lock.acquire()")
        holder.kill()
        catch = "[w := __import__('warnings'), w.simplefilter('error')] and lock.acquire()"
        with pytest.raises(HolderDied, match=f"process {holder.pid} died"):
            guest.call(catch)
    assert things["lock"].acquire(timeout=NOTICED_S)


def test_ctrl_c_ends_a_guest_s_wait_and_nothing_more(guest: Actor, things: dict[str, Any]) -> None:
    guest.call("lock.acquire()")
    waits = guest.start("semaphore.acquire() and event.wait()")
    wait_until(lambda: things["semaphore"].get_value() == 1, "it begins to wait")
    while not waits.done():
        guest.send_signal(signal.SIGINT)
        futures.wait([waits], 0.1)
    assert isinstance(waits.exception(), KeyboardInterrupt)
    assert things["lock"].acquire(False) is False  # the same thread holds it still
    guest.call("lock.release()")
    assert things["lock"].acquire(timeout=NOTICED_S) is True


def test_if_home_dies_its_guests_are_told_at_once() -> None:
    make = "[t := __import__('threading'), t.Thread(target=t.Event().wait, daemon=True).start()]"
    with Actor() as home:
        home.call(f"{make} and 1")
        home.call("globals().update(s=__import__('distpool.synchronize').synchronize)")
        home.call("globals().update(lock=s.Lock(), event=s.Event())")
        pickled = home.call("__import__('pickle').dumps((lock, event))")
        with Actor("elsewhere", pickled=pickled) as guest:
            guest.call("globals().update(both=__import__('pickle').loads(pickled))")
            assert guest.call("both[0].acquire()") is True
            waits = guest.start("both[1].wait()", "other")
            home.kill()
            began_s = time.monotonic()
            with pytest.raises(SharedGone, match=f"process {home.pid} of the node"):
                waits.result(NOTICED_S)
            with pytest.raises(SharedGone, match=f"process {home.pid} of the node"):
                guest.call("both[0].release()")
            assert time.monotonic() - began_s < NOTICED_S


def test_a_process_without_a_session_serves_nobody_and_its_guests_are_told() -> None:
    with Actor() as home:
        alone = "import pickle, sys; from distpool.synchronize import Lock; print(pickle.dumps(Lock()).hex())"
        ran = f"__import__('subprocess').check_output([__import__('sys').executable, '-c', {alone!r}])"
        pickled = bytes.fromhex(home.call(ran).decode().strip())
    with Actor("elsewhere", pickled=pickled) as guest, pytest.raises(SharedElsewhere, match="had no session"):
        guest.call("__import__('pickle').loads(pickled).acquire()")


def test_who_does_not_have_the_key_is_not_served(things: dict[str, Any]) -> None:
    pickle.dumps(things["lock"])
    address = sync_server.address_for_pickle()
    assert address is not None
    with pytest.raises((OSError, EOFError, Exception), match="digest"):
        remote.dial((address[0], b"another key", address[2]))
    silent = socket.socket(socket.AF_UNIX)
    silent.connect(f"\0{address[0]}")  # says nothing, and holds up nobody
    with remote.dial(address) as served:
        assert isinstance(served, Connection)
    silent.close()


@pytest.mark.parametrize("operation", ["_release_all", "__reduce__", "place", "__init__", "nothing"])
def test_only_operations_can_be_asked_for(things: dict[str, Any], operation: str) -> None:
    where = things["lock"].__reduce__()[1][1]
    address = sync_server.address_for_pickle()
    assert address is not None
    with remote.dial(address) as served:
        served.send_bytes(
            remote._encode(sync_server.Request(0, ("Lock", list(where), []), operation, [], {}))
        )
        answer = remote._decode(served.recv_bytes())
    assert answer.error is not None
    assert answer.error[0] == "builtins.TypeError"
