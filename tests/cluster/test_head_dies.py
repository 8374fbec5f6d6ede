"""The head of a cluster is killed, alone or with its machine: all goes on, and nothing is lost or done twice."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.cluster.conftest import PORT, SECRET, facts_of, of_cluster, start
from tests.cluster.hosts import Host
from tests.processes.scene import wait_until

pytestmark = pytest.mark.timeout(120)


def head_of(host: Host) -> int:
    """The pid of the head there, 0 if there is none."""
    for pid in host.pids():
        try:
            if b"head_process" in Path(f"/proc/{pid}/cmdline").read_bytes():
                return pid
        except OSError:
            continue  # it has just ended
    return 0


def kill_head(host: Host) -> None:
    """And wait for the next one."""
    pid = head_of(host)
    assert pid
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: head_of(host) not in (0, pid), "it is started again", 10.0)


def begun(host: Host, env: dict[str, str]) -> subprocess.Popen[str]:
    """A program that keeps the cluster busy."""
    child = host.start("-m", "tests.cluster.enduring", f"{host.folder}/end", env=env)
    assert child.stdout is not None
    line = child.stdout.readline()
    assert line == "begun\n", line + child.communicate()[0]
    return child


def end_well(host: Host, child: subprocess.Popen[str]) -> dict[str, dict[str, float]]:
    """It goes on, and has done all of its steps, each once."""
    Path(f"{host.folder}/end").touch()
    text, _ = child.communicate(timeout=60)
    assert child.returncode == 0, text
    assert text.count("\n") == 1, "nothing of ours is printed: " + text
    facts = facts_of(text)
    parts: dict[str, dict[str, float]] = {name: facts[name] for name in ("tasks", "calls", "count")}  # type: ignore[misc]
    for name, part in parts.items():
        assert not part["error"], f"{name}: {part['error']}"
    assert facts["found"] == parts["calls"]["done"] + 1, "it is the same actor, which did each call once"
    assert facts["kept"] == parts["count"]["done"]
    return parts


def test_the_head_alone_is_killed_again_and_again(cluster: list[Host]) -> None:
    a, b, c = cluster
    child = begun(c, of_cluster(a))
    for _ in range(3):
        kill_head(a)
    parts = end_well(c, child)
    assert parts["tasks"]["longest_s"] < 2.0, "tasks need no head"
    assert parts["calls"]["longest_s"] < 2.0, "nor do actors"
    status, text = b.run("-m", "distpool", "status")
    assert (status, text) == (0, "2 nodes; the head is on a\nCPUs: 0 of 4 in use\n")
    log = "".join(file.read_text() for file in a.folder.glob("*/log"))
    assert log.count("the head has ended (-9), and is started again") == 3


def test_the_machine_of_the_head_is_lost_and_comes_back(three: list[Host]) -> None:
    """Programs whose way is by another node go on; the head goes on with its journal, where it was."""
    a, b, c = three
    start(a, "--head")
    start(b, "--address", f"{a.address}:{PORT}", "--port", "9000")
    home = {"DISTPOOL_ADDRESS": f"{b.address}:9000", "DISTPOOL_SECRET": SECRET}
    child = begun(c, home)
    a.kill()
    text = start(a, "--head")
    assert "It goes on with what an earlier head has left" in text
    end_well(c, child)
    status, text = b.run("-m", "distpool", "status")
    assert status == 0
    assert text.startswith("2 nodes; the head is on a"), text


def test_what_was_kept_is_there_when_the_cluster_is_started_again(three: list[Host]) -> None:
    a, _, c = three
    journal = str(a.folder) + "-state/kept.journal"
    Path(journal).parent.mkdir()
    keep = "from distpool import kv; kv.put('a/x', b'1'); kv.put('a/y', b'2', namespace='other')"
    show = "from distpool import kv; print(kv.get('a/x'), kv.keys('a/'), kv.keys(namespace='other'))"
    start(a, "--head", "--journal", journal)
    assert c.run("-c", keep, env=of_cluster(a)) == (0, "")
    assert a.run("-m", "distpool", "stop")[0] == 0
    start(a, "--head", "--journal", journal)
    assert c.run("-c", show, env=of_cluster(a)) == (0, "b'1' ['a/x'] ['a/y']\n")


def test_a_head_that_stays_away_is_not_waited_for_for_ever(three: list[Host]) -> None:
    a, b, _ = three
    start(a, "--head")
    start(b, "--address", f"{a.address}:{PORT}", "--head-away", "1")
    (log,) = b.folder.glob("*/log")
    with log.open() as reader:  # it goes with the node
        a.kill()
        wait_until(lambda: b.pids() == [], "nobody serves a cluster that is gone", 20.0)
        assert f"the head at tcp://{a.address}:{PORT} has been away for 1 s" in reader.read()
    assert list(b.folder.iterdir()) == []
