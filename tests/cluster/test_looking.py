"""Commands that look at a cluster, from a machine that has no part in it."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Sequence

import pytest

from tests.cluster.conftest import PORT, of_cluster
from tests.cluster.hosts import Host
from tests.cluster.test_three_hosts import started_on
from tests.processes.scene import wait_until

pytestmark = pytest.mark.timeout(240)


def said(host: Host, head: Host, *words: str) -> tuple[int, str]:
    """A command, run there; its status and what it prints."""
    return host.run("-m", "distpool", *words, env=of_cluster(head))


def shown(host: Host, head: Host, *words: str, has: Sequence[str]) -> str:
    """What a command prints, once it has all of this: on a machine that is busy somebody may answer too late."""
    last: list[str] = []

    def is_there() -> bool:
        status, text = said(host, head, *words)
        last[:] = [f"{status}: {text}"]
        return status == 0 and all(part in text for part in has)

    try:
        wait_until(is_there, "", 60.0)
    except AssertionError:
        raise AssertionError(f"not all of {has} in {last[0]}") from None
    return last[0]


def test_what_is_to_be_seen_from_a_third_machine(cluster: list[Host]) -> None:
    a, _, c = cluster
    child = started_on(c, a, "begun", "talk", str(c.folder / "go"), DISTPOOL_PRINTS="off")

    counts = "remote calls, each with CPU 1: 1 call waits, 3 sent to workers"
    text = shown(c, a, "top", "--once", "--interval", "0.2", has=[counts, "b/2"])
    assert text.count(" talk ") == 3, text
    text = shown(c, a, "stack", "--node", "b", has=["node b\n", "in wait_for_file", "worker 2"])
    assert "node a" not in text
    why = ["waits for a worker, and is the next", "of CPU 2 there, CPU 0 is free", "CPU 1 is with worker 1"]
    shown(c, a, "why", "talk", has=why)
    shown(c, a, "memory", "--address", f"{a.address}:{PORT}", "--node", "a", has=["node a: ", "worker"])
    trace = c.folder / "trace.json"
    shown(c, a, "timeline", str(trace), has=["1 call in"])
    assert any(event["name"] == "Talker.ready" for event in json.loads(trace.read_text()))

    shown(c, a, "logs", "b/1", has=["first words\nto stderr\n"])
    assert "first words" not in shown(c, a, "logs", "Talker", "-n", "1", has=["an actor's last words\n"])
    status, text = said(c, a, "logs", "d")
    assert status == 1
    assert text == "distpool logs: there is no log of 'd'; `distpool logs` lists those that there are\n"
    following = c.start("-m", "distpool", "logs", "-f", "b/1", env=of_cluster(a))
    assert following.stdout is not None
    assert following.stdout.readline() == "first words\n"
    (c.folder / "go").touch()
    child.communicate(timeout=60)
    assert child.returncode == 0
    text = following.stdout.read()
    assert following.wait(60) == 0, "the worker has ended, and with it its log"
    following.stdout.close()
    assert text.startswith("to stderr\nlast words\n"), "perhaps it has run the fourth call, too"


def test_a_node_that_does_not_answer_is_named(cluster: list[Host]) -> None:
    a, b, c = cluster
    (facts,) = b.folder.glob("*/node.json")
    agent = json.loads(facts.read_text())["pid"]
    os.kill(agent, signal.SIGSTOP)
    try:
        shown(c, a, "stack", has=["distpool stack: node b did not answer within 2 s, or has left\n"])
        shown(c, a, "logs", "-n", "5", "a", has=[])
    finally:
        os.kill(agent, signal.SIGCONT)
    wait_until(lambda: said(c, a, "stack") == (0, ""), "it answers again", 60.0)
