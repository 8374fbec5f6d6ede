"""What workers of several machines print comes out on the machine of their program, and passes no head."""

from __future__ import annotations

import json
import os
import re
import signal

import pytest

from tests.cluster.conftest import of_cluster
from tests.cluster.hosts import Host
from tests.cluster.test_head_dies import head_of
from tests.cluster.test_three_hosts import PROGRAM, started_on

pytestmark = pytest.mark.timeout(120)
COUNT = 1250  # lines of each of eight calls: 10,000


def check(text: str) -> None:
    """All of it is there, once, each worker's in order, before the results and under its name."""
    *lines, died, nodes_line = text.splitlines()
    assert died == "WorkerDied"
    nodes = json.loads(nodes_line)
    assert set(nodes) == {"a", "b"}
    by_call: dict[int, list[str]] = {}
    logged, last_words = [], []
    for line in lines:
        if logs := re.fullmatch(r"log call (\d)", line):
            logged.append(int(logs[1]))
            continue
        found = re.fullmatch(r"\(worker \d+, node (.)\) (?:call (\d) (.*)|last words)", line)
        assert found is not None, line
        if found[2] is None:
            last_words.append(line)
            continue
        assert found[1] == nodes[int(found[2])]
        by_call.setdefault(int(found[2]), []).append(found[3])
    expected = [*(f"line {number}" for number in range(COUNT)), "to stderr", "child"]
    assert by_call == dict.fromkeys(range(8), expected)
    assert sorted(logged) == list(range(8))
    assert len(last_words) == 1


def test_every_line_of_two_machines_comes_to_a_third(cluster: list[Host]) -> None:
    a, _, c = cluster
    c.reach_only(a)
    status, text = c.run(*PROGRAM, "prints", str(COUNT), env=of_cluster(a))
    assert status == 0, text
    check(text)


def test_they_need_no_head(cluster: list[Host]) -> None:
    """A program on a machine of the cluster, whose head does nothing meanwhile."""
    a, b, _ = cluster
    child = started_on(b, a, "begun", "prints", str(COUNT), str(b.folder / "go"))
    head = head_of(a)
    os.kill(head, signal.SIGSTOP)
    try:
        (b.folder / "go").touch()
        text, _ = child.communicate(timeout=60)
    finally:
        os.kill(head, signal.SIGCONT)
    assert child.returncode == 0, text
    check(text)
