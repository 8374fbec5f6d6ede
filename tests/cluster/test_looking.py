"""Commands that look at a cluster, from a machine that has no part in it."""

from __future__ import annotations

import json
import os
import signal

import pytest

from tests.cluster.conftest import PORT, of_cluster
from tests.cluster.hosts import Host
from tests.cluster.test_three_hosts import started_on
from tests.processes.scene import wait_until

pytestmark = pytest.mark.timeout(120)


def said(host: Host, head: Host, *words: str) -> tuple[int, str]:
    """A command, run there; its status and what it prints."""
    return host.run("-m", "distpool", *words, env=of_cluster(head))


def test_what_is_to_be_seen_from_a_third_machine(cluster: list[Host]) -> None:
    a, _, c = cluster
    child = started_on(c, a, "begun", "talk", str(c.folder / "go"))

    status, text = said(c, a, "top", "--once", "--interval", "0.2")
    assert status == 0, text
    assert text.count(" talk ") == 3, text
    assert "remote calls, each with CPU 1: 1 call waits, 3 sent to workers" in text

    status, text = said(c, a, "stack", "--node", "b")
    assert status == 0, text
    assert text.startswith("node b\n")
    assert text.count("in wait_for_file") == 2

    status, text = said(c, a, "why", "talk")
    assert status == 0, text
    assert "waits for a worker, and is the next" in text
    assert "of CPU 2 there, CPU 0 is free" in text
    assert "CPU 1 is with worker 1" in text

    status, text = said(c, a, "logs", "b/1")
    assert status == 0, text
    assert text == "first words\nto stderr\n"
    status, text = said(c, a, "logs", "Talker", "-n", "1")
    assert (status, text) == (0, "an actor's last words\n")
    status, text = said(c, a, "logs", "d")
    assert status == 1
    assert text == "distpool logs: there is no log of 'd'; `distpool logs` lists those that there are\n"

    status, text = said(c, a, "memory", "--address", f"{a.address}:{PORT}", "--node", "a")
    assert status == 0, text
    assert text.startswith("node a: ")

    trace = c.folder / "trace.json"
    status, text = said(c, a, "timeline", str(trace))
    assert status == 0, text
    assert any(event["name"] == "Talker.ready" for event in json.loads(trace.read_text()))

    following = c.start("-m", "distpool", "logs", "-f", "b/1", env=of_cluster(a))
    (c.folder / "go").touch()
    child.communicate(timeout=60)
    assert child.returncode == 0
    text, _ = following.communicate(timeout=60)
    assert following.returncode == 0, "the worker has ended, and with it its log"
    assert text == "first words\nto stderr\nlast words\n"


def test_a_node_that_does_not_answer_is_named(cluster: list[Host]) -> None:
    a, b, c = cluster
    (facts,) = b.folder.glob("*/node.json")
    agent = json.loads(facts.read_text())["pid"]
    os.kill(agent, signal.SIGSTOP)
    try:
        status, text = said(c, a, "stack")
        assert (status, text) == (0, "distpool stack: node b did not answer within 2 s, or has left\n")
        status, text = said(c, a, "logs", "-n", "5", "a")
        assert (status, text) == (0, "")
    finally:
        os.kill(agent, signal.SIGCONT)
    wait_until(lambda: said(c, a, "stack") == (0, ""), "it answers again")
