"""A real agent, nursery and workers: leases, deaths, and what is left when any of them is killed (nothing)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import zmq

from distpool.scheduler.messages import (
    AgentWelcome,
    DropPool,
    KillWorker,
    OwnerBye,
    OwnerHello,
    PoolDropped,
    Results,
    WantLeases,
    WorkerDied,
    encode,
)
from distpool.scheduler.shells import processes
from distpool.scheduler.shells.agent_request import EMBEDDED
from distpool.scheduler.shells.links import dealer
from tests.processes.harness import BOUND_S, ROOT, STUB, Session, alive, survivors

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs pidfds and /proc")


@pytest.fixture
def session() -> Iterator[Session]:
    session = Session(worker_main=STUB)
    yield session
    session.close()
    assert not os.path.exists(session.directory)


def test_an_owner_is_welcomed_and_its_workers_are_children_of_one_clean_parent(session: Session) -> None:
    welcome = session.expect(AgentWelcome)
    assert (welcome.node, welcome.pid) == (session.ready["node"], session.agent.pid)
    leases = session.lease(3)
    assert len({lease.pid for lease in leases}) == 3
    nursery = session.nursery_pid
    assert sorted(processes.descendants(nursery)) == sorted(lease.pid for lease in leases)
    assert len(os.listdir(f"/proc/{nursery}/task")) == 1


def test_a_killed_worker_is_reported_with_what_it_was_running_and_replaced(session: Session) -> None:
    (lease,) = session.lease()
    session.ask(lease, "slot 5 4")
    os.kill(lease.pid, signal.SIGKILL)
    died = session.expect(WorkerDied)
    assert (died.lease, died.pool, died.running) == (lease.lease, 1, 5)
    assert (died.death.pid, died.death.signal, died.death.exit_code, died.death.reason) == (
        lease.pid,
        9,
        -9,
        "",
    )
    assert died.death.peak_rss_bytes > 1_000_000
    replacement = session.next_hello()
    assert replacement.pid != lease.pid
    assert session.ask(replacement, "read-slot") == "0 0"


def test_a_worker_between_two_attempts_runs_nothing(session: Session) -> None:
    (lease,) = session.lease()
    session.ask(lease, "slot 5 5")
    os.kill(lease.pid, signal.SIGSEGV)
    died = session.expect(WorkerDied)
    assert (died.running, died.death.signal, died.death.exit_code) == (0, 11, -11)


def test_a_worker_that_exits_is_reported_with_its_status(session: Session) -> None:
    (lease,) = session.lease()
    session.tell(lease, "exit 3")
    death = session.expect(WorkerDied).death
    assert (death.signal, death.exit_code) == (0, 3)


def test_an_error_in_a_worker_is_printed_and_its_status_is_one(tmp_path: Path) -> None:
    errors = tmp_path / "stderr"
    session = Session(stderr=str(errors), worker_main=STUB)
    try:
        (lease,) = session.lease()
        session.tell(lease, "raise")
        death = session.expect(WorkerDied).death
        assert (death.signal, death.exit_code) == (0, 1)
        assert "LookupError: no such thing" in errors.read_text()
    finally:
        session.close()


def test_answers_and_last_words_of_the_dead_are_told_and_their_files_removed(session: Session) -> None:
    (lease,) = session.lease()
    session.ask(lease, "answers")
    session.ask(lease, "fault")
    os.kill(lease.pid, signal.SIGKILL)
    died = session.expect(WorkerDied)
    assert died.answers == (Results([7], ["seven"]),)
    assert died.death.last_words.splitlines() == [f"line {n}" for n in range(20)]
    assert not [name for name in os.listdir(session.directory) if name.startswith("worker-1.")]


def test_kill_worker_and_drop_pool(session: Session) -> None:
    first, second = session.lease(2)
    session.say(KillWorker(first.lease, "because"))
    assert session.expect(WorkerDied).death.reason == "because"
    third = session.next_hello()
    session.say(DropPool(1, kill=True))
    assert session.expect(PoolDropped) == PoolDropped(1)
    assert not survivors([second.pid, third.pid], within_s=0.0)


def test_what_a_dead_workers_task_started_lives_until_the_session_ends(session: Session) -> None:
    (lease,) = session.lease()
    orphan = int(session.ask(lease, "spawn"))
    os.kill(lease.pid, signal.SIGKILL)
    session.expect(WorkerDied)
    assert alive(orphan)
    session.say(OwnerBye())
    assert not survivors([orphan], within_s=5.0)


def test_a_goodbye_ends_everything_in_order(session: Session) -> None:
    session.lease(2)
    pids = session.everything()
    assert len(pids) == 4
    session.say(OwnerBye())
    assert session.agent.wait(BOUND_S) == 0
    assert not survivors(pids, within_s=5.0)
    assert not os.path.exists(session.directory)


def test_when_the_agent_is_killed_the_nursery_ends_the_session(session: Session) -> None:
    (lease,) = session.lease()
    pids = [*session.everything(), int(session.ask(lease, "spawn"))]
    session.agent.kill()
    assert not survivors(pids, within_s=5.0)
    assert not os.path.exists(session.directory)


def test_when_the_nursery_is_killed_its_workers_are_reported_and_another_takes_over(session: Session) -> None:
    leases = session.lease(2)
    session.ask(leases[0], "slot 9 8")
    nursery = session.nursery_pid
    os.kill(nursery, signal.SIGKILL)
    deaths = {died.lease: died for died in (session.expect(WorkerDied), session.expect(WorkerDied))}
    assert {lease.lease for lease in leases} == set(deaths)
    assert [deaths[lease.lease].running for lease in leases] == [9, 0]
    for died in deaths.values():
        assert died.death.reason == "the process that it was forked from ended (killed by signal 9)"
    replacements = [session.next_hello(), session.next_hello()]
    assert not survivors([lease.pid for lease in leases], within_s=0.0)
    assert session.nursery_pid != nursery
    assert session.ask(replacements[0], "read-slot") == "0 0"
    os.kill(replacements[0].pid, signal.SIGKILL)
    assert session.expect(WorkerDied).death.signal == 9


def test_nurseries_that_die_too_often_end_the_session_with_a_word(tmp_path: Path) -> None:
    errors = tmp_path / "stderr"
    few = msgspec.structs.replace(EMBEDDED, agent_restarts_max=1, heartbeat_s=1e9, node_silent_s=1e9)
    limits = msgspec.to_builtins(few)  # JSON has no infinity
    session = Session(stderr=str(errors), worker_main="tests.processes.two_threaded:main", limits=limits)
    try:
        session.say(WantLeases(1, 1, True, {}))
        assert session.agent.wait(BOUND_S) == 1
    finally:
        session.close()
    assert "the nursery has more than one thread, so it cannot fork safely" in errors.read_text()
    assert "the parent of the workers died 2 times" in errors.read_text()
    assert not os.path.exists(session.directory)


def test_the_death_of_another_owner_ends_its_workers_only(session: Session) -> None:
    (mine,) = session.lease()
    other = subprocess.Popen(["sleep", "1000"])
    with dealer(session.context, f"ipc://{session.directory}/agent", b"o:other") as link:
        link.send(encode(OwnerHello("other", other.pid, 1, session.address)))
        link.send(encode(WantLeases(1, 1, True, {})))
        theirs = session.next_hello()
    other.kill()
    other.wait()
    assert not survivors([theirs.pid], within_s=5.0)
    assert alive(mine.pid)


def test_who_comes_while_another_dies_is_not_taken_for_that_one(session: Session) -> None:
    """The agent learns all in one turn: goodbye, death, and hello of the next, whose descriptor has the same number."""
    session.lease()
    before: tuple[subprocess.Popen[bytes], zmq.Socket[bytes]] | None = None
    for number in range(12):
        process = subprocess.Popen(["sleep", "1000"])
        name = f"another{number}"
        link = dealer(session.context, f"ipc://{session.directory}/agent", f"o:{name}".encode())
        if before is not None:
            os.kill(session.agent.pid, signal.SIGSTOP)
            before[1].send(encode(OwnerBye()))
            before[0].kill()
            before[0].wait()
        link.send(encode(OwnerHello(name, process.pid, 1, session.address)))
        link.send(encode(WantLeases(1, 1, True, {})))
        os.kill(session.agent.pid, signal.SIGCONT)
        theirs = session.next_hello()
        link.send(encode(KillWorker(theirs.lease, "to see that it is heard")))
        session.next_hello()  # the level stands: another one
        if before is not None:
            before[1].close(linger=0)
        before = process, link
    assert before is not None
    before[0].kill()
    before[0].wait()
    before[1].close(linger=0)


@pytest.mark.parametrize("victims", [["driver"], ["agent"], ["driver", "agent"], ["driver", "nursery"]])
def test_kill_9_of_driver_agent_nursery_leaves_nothing(victims: list[str]) -> None:
    _kill_and_look(["stub"], victims)


def test_kill_9_of_all_three_at_one_instant_leaves_nothing() -> None:
    """The workers find that nobody is above them, and end what is left: themselves."""
    _kill_and_look([], ["driver", "agent", "nursery"])


def _kill_and_look(arguments: list[str], victims: list[str]) -> None:
    driver = subprocess.Popen(
        [sys.executable, "-m", "tests.processes.driver", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": ROOT},
    )
    assert driver.stdin is not None
    assert driver.stdout is not None
    try:
        who = json.loads(driver.stdout.readline())
        doomed = [who["agent"], who["nursery"], *who["workers"]] + [who["orphan"]] * bool(who["orphan"])
        for number in (
            signal.SIGSTOP,
            signal.SIGKILL,
        ):  # stopped first, so that none can react to another's death
            for victim in victims:
                os.kill(who[victim], number)
        assert not survivors(doomed, within_s=5.0)
        assert not os.path.exists(who["directory"])
    finally:
        driver.kill()
        driver.wait()
        driver.stdin.close()
        driver.stdout.close()
