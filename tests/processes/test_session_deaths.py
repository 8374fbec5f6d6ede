"""kill -9 of driver, agent and nursery, each alone and all at once, in sessions that work.

A driver's end is the end of its session: within five seconds nothing is left. The other two are replaced, and the
driver's pool goes on: whatever ran is run again.
"""

from __future__ import annotations

import fcntl
import os
import re
import signal
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.processes.harness import parent_of
from tests.processes.scene import Driver, driver, run, session_directories, wait_until

WORK = """
import os, sys
import distpool
from tests.processes import bodies

with distpool.Pool(2) as pool:
    pool.map(bodies.square, range(100))
    {extra}
    print("pids", os.getpid(), *pool.map(bodies.pid_of_worker, range(50)), flush=True)
    while True:
        values = pool.map(bodies.slow_square, range(200), chunksize=1)
        assert values == [n * n for n in range(200)], values
        print("round", flush=True)
"""
CHILD = "pool.apply(os.system, ('sleep 1000 &',))"
#: One that has left the session of the kernel too: found by whoever of agent and nursery it is orphaned to.
DAEMON = "pool.apply(os.system, ('setsid sleep 1000 &',))"


class Family:
    """Who is who in a driver's session."""

    def __init__(self, it: Driver) -> None:
        match = re.search(r"pids (.*)\n", it.read_until("round\n"))
        assert match is not None
        pids = [int(word) for word in match[1].split()]
        self.driver = pids[0]
        self.nursery = parent_of(pids[1])
        self.agent = parent_of(self.nursery)
        self.workers = [
            pid for pid in it.left() if _parent(pid) == self.nursery
        ]  # some may not have had a task
        assert parent_of(self.agent) == self.driver

    def kill(self, *names: str) -> None:
        """SIGKILL to each; stopped first, so that none sees another's death before its own."""
        pids = []
        for name in names:
            who = getattr(self, name)
            pids += who if isinstance(who, list) else [who]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        for pid in pids:
            with suppress(ProcessLookupError):  # whoever sees the first one's death may have been faster
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def at_work(request: pytest.FixtureRequest) -> Iterator[Driver]:
    with driver(WORK.format(extra=getattr(request, "param", "pass"))) as it:
        yield it


@pytest.mark.parametrize(
    ("at_work", "victims"),
    [
        (f"{CHILD}; {DAEMON}", ["driver"]),
        (f"{CHILD}; {DAEMON}", ["driver", "agent"]),
        (f"{CHILD}; {DAEMON}", ["driver", "nursery"]),
        (CHILD, ["driver", "agent", "nursery"]),
    ],
    indirect=["at_work"],
    ids=["driver", "driver+agent", "driver+nursery", "driver+agent+nursery"],
)
def test_a_killed_driver_leaves_nothing(victims: list[str], at_work: Driver, own_tmpdir: str) -> None:
    family = Family(at_work)
    family.kill(*victims)
    at_work.expect_nothing_left(within_s=5.0)
    wait_until(lambda: not _dead_sessions(own_tmpdir), "its directory goes", 5.0)


def test_when_all_are_killed_at_once_the_next_start_removes_the_directory(
    at_work: Driver, own_tmpdir: str
) -> None:
    Family(at_work).kill("driver", "agent", "nursery", "workers")
    at_work.expect_nothing_left(within_s=5.0)
    # A process that is dying has no memory any more a moment before it has no files any more, and no lock.
    wait_until(lambda: len(_dead_sessions(own_tmpdir)) == 1, "its directory is nobody's", 5.0)
    run("import distpool; distpool.Pool(1).apply(abs, (1,))")
    assert not _dead_sessions(own_tmpdir)


@pytest.mark.parametrize(
    "victims",
    [["agent"], ["nursery"], ["agent", "nursery"], ["agent", "nursery", "workers"]],
    ids="+".join,
)
@pytest.mark.parametrize("at_work", [CHILD], indirect=True, ids=["with a child"])
def test_a_pool_outlives_its_agent_and_nursery(victims: list[str], at_work: Driver, own_tmpdir: str) -> None:
    family = Family(at_work)
    family.kill(*victims)
    for _ in range(3):
        at_work.read_until("round\n", within_s=20.0)
    assert not _dead_sessions(own_tmpdir)
    os.kill(family.driver, signal.SIGKILL)
    at_work.expect_nothing_left(within_s=5.0)
    wait_until(lambda: not _dead_sessions(own_tmpdir), "its directories go", 5.0)


def test_a_pool_outlives_them_one_after_the_other(at_work: Driver) -> None:
    family = Family(at_work)
    for victim in ("nursery", "agent", "nursery"):
        family.kill(victim)
        at_work.read_until("round\n", within_s=20.0)
        left = at_work.left()
        family.agent = next(pid for pid in left if parent_of(pid) == family.driver)
        wait_until(
            lambda: [pid for pid in at_work.left() if _parent(pid) == family.agent], "there is a nursery"
        )
        family.nursery = next(pid for pid in at_work.left() if _parent(pid) == family.agent)
    family.kill("driver")
    at_work.expect_nothing_left(within_s=5.0)


def test_an_agent_that_always_dies_is_given_up_with_the_reason() -> None:
    code = """
import os, signal
import distpool
from distpool.scheduler import client
from tests.processes import bodies
from tests.processes.scene import wait_until

pool = distpool.Pool(1)
session = client.session()
try:
    while True:
        assert pool.apply(bodies.square, (2,)) == 4
        process = session.cluster._process
        if process is not None:
            try:
                os.kill(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
except Exception as error:
    print(type(error).__name__, error, flush=True)
"""
    with driver(code) as it:
        text = it.finish()
        assert re.search(r"its agent died \d times within 60 s", text), text
        it.expect_nothing_left()


@pytest.mark.parametrize("asked", [False, True])
def test_a_driver_that_is_killed_while_its_agent_starts(own_tmpdir: str, asked: bool) -> None:
    code = f"""
import os, signal
import distpool
from distpool.scheduler.shells.launching import AgentProcess

def die(agent):
    if {asked}:
        os.write(agent._ask, agent._request)
    os.kill(os.getpid(), signal.SIGKILL)

AgentProcess.first_word = die
distpool.Pool(1).apply(abs, (-1,))
"""
    before = session_directories(own_tmpdir)
    with driver(code) as it:
        assert it.finish() == ""
        it.expect_nothing_left()
    wait_until(lambda: session_directories(own_tmpdir) == before, "the directory goes", 5.0)


def _parent(pid: int) -> int:
    try:
        return parent_of(pid)
    except OSError:
        return 0


def _dead_sessions(folder: str) -> list[str]:
    """The session directories that no living process holds."""
    return [name for name in session_directories(folder) if not _held(f"{folder}/{name}/lock")]


def _held(path: str) -> bool:
    try:
        fd = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
