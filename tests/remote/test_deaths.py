"""Owners, borrowers and drivers that die of real signals, or are left by those who started them."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

import distpool
from compat_tests.ray.waiting import Gate, has_ended
from distpool.exceptions import ObjectLostError, OwnerDiedError
from distpool.scheduler.remote.here import here
from tests.processes.scene import wait_until
from tests.remote import bodies
from tests.remote.bodies import Keeper
from tests.remote.test_passing_on import BIG, get

#: An owner's end is told by its link, so at once.
TOLD_WITHIN_S = 1.0


def kill(keeper: Any) -> None:
    pid = get(keeper.process.remote())
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: has_ended(pid), "it is dead")


def test_an_owner_dies_with_what_it_was_to_make(gate: Gate) -> None:
    keeper = Keeper.remote()
    (ref,) = get(keeper.start.remote(gate, 7))
    gate.arrived.wait_count(1)
    began_s = time.monotonic()
    kill(keeper)
    with pytest.raises(OwnerDiedError):
        get(ref)
    assert time.monotonic() - began_s < TOLD_WITHIN_S


@pytest.mark.parametrize("value", ["small", bytearray(BIG)], ids=["small", "big"])
def test_what_it_had_made_lives_on(value: Any) -> None:
    keeper = Keeper.remote()
    (ref,) = get(keeper.finish.remote(value))
    kill(keeper)
    assert get(ref) == value
    assert get(bodies.open_list.remote([ref])) == [value]


def test_somebody_gets_the_reference_after_its_owner_has_died(gate: Gate) -> None:
    keeper = Keeper.remote()
    refs = get(keeper.start.remote(gate, 7))
    gate.arrived.wait_count(1)
    kill(keeper)
    with pytest.raises(OwnerDiedError):
        get(bodies.open_list.remote(refs))


def test_a_borrower_dies(gate: Gate) -> None:
    """Who owns a value neither waits for those who wait for it, nor keeps it for them."""
    keeper = Keeper.remote()
    ref = bodies.make_behind.remote(gate, bytearray(BIG))
    waits = keeper.follow_for_ever.remote([ref])
    serving = here().following._serving
    wait_until(lambda: serving.owes, "it has subscribed")
    distpool.kill(keeper)
    with pytest.raises(distpool.exceptions.RayActorError):
        get(waits)
    wait_until(lambda: not serving.owes, "nobody waits any more")
    gate.open()
    assert get(ref) == bytearray(BIG)


def test_values_are_sent_to_one_who_dies_again_and_again() -> None:
    """However its death and the data on its way to it meet: nothing stays in the store."""
    for _ in range(10):
        keeper = Keeper.remote()
        pid = get(keeper.process.remote())
        refs = [bodies.make.remote(bytearray(BIG + number)) for number in range(3)]
        waits = keeper.follow_for_ever.remote(refs)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(distpool.exceptions.RayActorError):
            get(waits)
        assert [len(value) for value in get(refs)] == [BIG, BIG + 1, BIG + 2]


def test_a_child_that_nobody_waits_for(gate: Gate, tmp_path: Path) -> None:
    path = tmp_path / "out"
    get(bodies.fire_and_forget.remote(str(path), gate))
    gate.arrived.wait_count(1)
    gate.open()
    wait_until(path.exists, "the child has run")


def test_a_fork_of_the_driver(gate: Gate) -> None:
    """What is there can be had in the child; what is pending never will be there, and says so."""
    there, pending = distpool.put([1, 2]), bodies.make_behind.remote(gate, 7)
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            answer = repr(distpool.get(there))
            for wait in (
                lambda: distpool.get(pending),
                lambda: distpool.wait([pending, there], num_returns=2),
            ):
                try:
                    answer += f" {wait()[1]}"
                except ObjectLostError as error:
                    answer += " lost" if "parent" in str(error) else str(error)
            os.write(writer, answer.encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as file:
        assert file.read() == "[1, 2] lost []"
    os.waitpid(pid, 0)
    gate.open()
    assert get(pending) == 7


def test_a_fork_that_uses_remote_calls_itself() -> None:
    there = distpool.put(3)
    pid = os.fork()
    if not pid:
        status = 1
        try:
            with open("/dev/null", "w") as quiet:
                os.dup2(quiet.fileno(), 2)
            if distpool.get(bodies.plus_one.remote(there), timeout=20) == 4:
                status = 0
            distpool.shutdown()
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert get(bodies.plus_one.remote(there)) == 4
