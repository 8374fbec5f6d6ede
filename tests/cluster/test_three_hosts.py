"""A cluster of several machines: programs use it from anywhere, and machines may go."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.cluster.conftest import PORT, SECRET, facts_of, of_cluster, start
from tests.cluster.hosts import Host
from tests.processes.scene import wait_until

pytestmark = pytest.mark.timeout(120)
PROGRAM = ("-m", "tests.cluster.program")


def started_on(host: Host, head: Host, word: str, *words: str, **more: str) -> subprocess.Popen[str]:
    """A program that uses the cluster, once it has said this word; with ``more`` in its environment."""
    child = host.start(*PROGRAM, *words, env={**of_cluster(head), **more})
    assert child.stdout is not None
    assert child.stdout.readline() == f"{word}\n"
    return child


def test_a_program_on_a_third_machine_runs_on_both(cluster: list[Host]) -> None:
    a, _, c = cluster
    status, text = c.run(*PROGRAM, "spread", "200", env=of_cluster(a))
    assert status == 0, text
    facts = facts_of(text)
    assert facts["workers"] == 4
    assert set(facts["nodes"]) == {"a", "b"}  # type: ignore[call-overload]
    assert text.count("\n") == 1, "nothing of ours is printed"


def test_one_program_after_the_other_runs_on_both(cluster: list[Host]) -> None:
    a, _, c = cluster
    status, text = c.run(*PROGRAM, "spread", "100", "3", env=of_cluster(a))
    assert status == 0, text
    assert [set(json.loads(line)["nodes"]) for line in text.splitlines()] == [{"a", "b"}] * 3


def test_tasks_and_actors_do_too(cluster: list[Host]) -> None:
    a, _, c = cluster
    status, text = c.run(*PROGRAM, "remote", env=of_cluster(a))
    assert status == 0, text
    assert facts_of(text) == {
        "sum": 10,
        "tree": 8,
        "calls": [1_000_001.0, 1_000_002.0, 1_000_003.0],
        "cpus": 4.0,
        "address": True,
    }


def test_on_a_machine_of_the_cluster_nothing_need_be_said(cluster: list[Host]) -> None:
    _, b, _ = cluster
    status, text = b.run(*PROGRAM, "remote", env={"AUTO": "1"})
    assert status == 0, text
    assert facts_of(text)["cpus"] == 4.0


def test_a_program_that_reaches_one_host_only(cluster: list[Host]) -> None:
    """As a laptop behind a firewall: it dials one port of one host, and nobody dials it."""
    a, b, c = cluster
    c.reach_only(a)
    status, text = c.run(*PROGRAM, "spread", "200", env=of_cluster(a))
    assert status == 0, text
    assert set(facts_of(text)["nodes"]) == {"a", "b"}  # type: ignore[call-overload]
    status, text = c.run("-m", "distpool", "nodes", "--address", f"{b.address}:{PORT}", env=of_cluster(a))
    assert status == 1
    assert f"{b.address}:{PORT}" in text


def test_a_machine_is_lost_in_the_middle(cluster: list[Host]) -> None:
    a, b, c = cluster
    child = started_on(c, a, "begun", "long", "80", "0.1")
    b.kill()
    text, _ = child.communicate(timeout=60)
    assert child.returncode == 0, text
    facts = facts_of(text)
    assert facts["answers"] == [1] * 80, "each future completes once"
    assert facts["nodes"]["a"] > 40  # type: ignore[index]
    assert 0 < facts["nodes"]["b"] < 40, "some had been done there"  # type: ignore[index]


def test_a_big_array_crosses_a_line_once(cluster: list[Host]) -> None:
    a, _, c = cluster
    c.reach_only(a)
    status, text = c.run(*PROGRAM, "objects", env=of_cluster(a))
    assert status == 0, text
    facts = facts_of(text)
    assert (facts["sums"], facts["map"]) == (True, True)
    assert 2.0 <= facts["sent_arrays"] < 2.5, "one was put, and the function has brought one along"  # type: ignore[operator]
    assert facts["received_mib"] == 0
    assert facts["passed_on_mib"] == 0, "results stay where they are made"
    assert (facts["value"], facts["nested"]) == (8.0, 1.0)


def test_workers_and_programs_on_different_machines_have_to_do_with_each_other(cluster: list[Host]) -> None:
    """Handles of actors, and references to what is not ready, passed on to wherever."""
    a, _, c = cluster
    c.reach_only(a)
    status, text = c.run(*PROGRAM, "peers", env=of_cluster(a))
    assert status == 0, text
    assert facts_of(text) == {
        "actor": "b",
        "by_others": [1, 2, 3, 4],
        "here": 5,
        "by_name": 11,
        "pending": 14,
        "started_there": [3, 3, 3, 3],
        "passed_on": 5,
        "death": "WorkerCrashedError",
    }


def test_what_only_the_programs_machine_has_goes_with_it(cluster: list[Host], tmp_path: Path) -> None:
    a, _, c = cluster
    status, text = c.run(*PROGRAM, "modules", str(tmp_path), env=of_cluster(a))
    assert status == 0, text
    assert facts_of(text) == {
        "pool": [0, 1, 4, 9],
        "remote": [9, 9],
        "working_dir": ["to be read"] * 2,
    }


def test_a_machine_with_an_actor_and_an_owner_is_lost(cluster: list[Host]) -> None:
    a, b, c = cluster
    child = started_on(c, a, "begun", "callers")
    b.kill()
    text, _ = child.communicate(timeout=60)
    assert child.returncode == 0, text
    assert facts_of(text) == {"calling": "ActorDiedError", "waiting": "OwnerDiedError"}


def test_a_machine_is_stopped_in_the_middle_and_comes_back(cluster: list[Host]) -> None:
    """It takes nothing new, and ends what it has begun: so nothing is run again, which nothing may be here."""
    a, b, c = cluster
    child = c.start(*PROGRAM, "long", "100", "0.1", env={**of_cluster(a), "DISTPOOL_RETRIES": "0"})
    assert child.stdout is not None
    assert child.stdout.readline() == "begun\n"
    assert b.run("-m", "distpool", "stop") == (0, "Node b has ended.\n")
    assert b.pids() == []
    start(b, "--address", f"{a.address}:{PORT}")
    text, _ = child.communicate(timeout=60)
    assert child.returncode == 0, text
    facts = facts_of(text)
    assert facts["answers"] == [1] * 100
    assert facts["nodes"]["b"] > 0  # type: ignore[index]
    assert a.run("-m", "distpool", "status")[1].startswith("2 nodes")


def test_what_lies_on_a_machine_that_is_stopped_is_kept_by_who_needs_it(three: list[Host]) -> None:
    a, b, c = three
    start(a, "--head")
    start(b, "--address", f"{a.address}:{PORT}", "--resources", '{"only_here": 1}')
    gone = c.folder / "gone"
    child = started_on(c, a, "begun", "keep", str(gone))
    assert b.run("-m", "distpool", "stop") == (0, "Node b has ended.\n")
    gone.touch()
    text, _ = child.communicate(timeout=60)
    assert child.returncode == 0, text
    assert facts_of(text) == {"sum": 499_999_500_000}


def test_a_program_is_killed_and_its_workers_end(cluster: list[Host]) -> None:
    a, b, c = cluster
    before = len(a.pids()) + len(b.pids())
    child = started_on(c, a, "begun", "long", "1000", "1")
    assert len(a.pids()) + len(b.pids()) > before
    c.kill()
    child.communicate()
    wait_until(lambda: len(a.pids()) + len(b.pids()) <= before, "its workers end", 20.0)
    status, text = c.run(*PROGRAM, "spread", "20", env=of_cluster(a))
    assert status == 0, text


def test_a_program_that_is_killed_while_it_does_nothing(cluster: list[Host]) -> None:
    a, b, c = cluster
    before = len(a.pids()) + len(b.pids())
    child = started_on(c, a, "idle", "idle")
    wait_until(lambda: len(a.pids()) + len(b.pids()) == before + 4, "its workers are there")
    c.kill()
    child.communicate()
    wait_until(lambda: len(a.pids()) + len(b.pids()) == before, "its workers end", 10.0)


def test_the_machine_that_a_program_is_linked_to_is_lost(cluster: list[Host]) -> None:
    a, _, c = cluster
    child = started_on(c, a, "begun", "long", "1000", "0.1")
    a.kill()
    text, _ = child.communicate(timeout=30)
    assert child.returncode == 1
    assert "the link to the cluster was lost" in text.splitlines()[-1]


def test_nodes_come_are_listed_and_go(three: list[Host]) -> None:
    a, b, c = three
    text = start(a, "--head")
    assert f"DISTPOOL_SECRET={SECRET} distpool start --address {a.address}:{PORT}" in text
    start(b, "--address", f"{a.address}:{PORT}", "--resources", '{"license": 3}')
    status, text = a.run("-m", "distpool", "nodes")
    assert status == 0, text
    assert [line.split()[0] for line in text.splitlines()] == ["NODE", "a", "b"]
    assert "license 0/3" in text
    status, text = c.run("-m", "distpool", "status", env=of_cluster(a))
    assert (status, text) == (0, "2 nodes; the head is on a\nCPUs: 0 of 4 in use\n")
    status, text = b.run("-m", "distpool", "stop")
    assert (status, text) == (0, "Node b has ended.\n")
    assert b.pids() == []
    assert list(b.folder.iterdir()) == []
    wait_until(
        lambda: a.run("-m", "distpool", "status")[1].startswith("1 node, 1 lost"), "it is missed", 20.0
    )
    status, text = a.run("-m", "distpool", "stop")
    assert (status, text) == (0, "Node a has ended.\n")
    assert a.pids() == []
    assert list(a.folder.iterdir()) == []


def test_the_head_is_stopped_and_the_others_end(cluster: list[Host]) -> None:
    a, b, _ = cluster
    status, text = a.run("-m", "distpool", "stop")
    assert (status, text) == (0, "Node a has ended.\n")
    wait_until(lambda: b.pids() == [], "nobody serves a cluster that is ended", 20.0)
    assert list(b.folder.iterdir()) == []
    assert not list(Path(f"{a.folder}-state").rglob("head*"))


def test_how_long_a_silent_machine_is_waited_for_can_be_said(three: list[Host]) -> None:
    a, b, _ = three
    start(a, "--head", "--node-silent", "1.5")
    start(b, "--address", f"{a.address}:{PORT}", "--node-silent", "1.5")
    words = ("noticed", str(a.folder), "b", "SIGSTOP", "1", *map(str, b.pids()))
    status, text = a.run("-m", "benchmarks.cluster.program", *words, env=of_cluster(a))
    assert status == 0, text
    (seconds,) = facts_of(text)["seconds"]  # type: ignore[misc]
    assert 1.0 < seconds < 4.0
