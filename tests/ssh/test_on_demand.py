"""Hosts of a list that have a node when work waits for one; and jobs of a cluster's file."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.cluster.hosts import Host
from tests.processes.scene import wait_until
from tests.ssh.sshd import Network
from tests.ssh.test_up import nodes_of

pytestmark = pytest.mark.timeout(120)

ASKS = """
import time, distpool, sys
from distpool.scheduler.node_identity import current_node
@distpool.remote(num_cpus=3)
def where():
    return current_node()
print(distpool.get(where.remote()), sys.argv[1:])
"""


def on_demand(net: Network, *, first_idle_s: float) -> str:
    """A file with ``a`` for the head, and two hosts on demand, of which the first does not answer."""
    more = (
        f"autoscaling: {{idle_timeout_minutes: {first_idle_s / 60:.4f}, "
        "node_types: {big: {resources: {CPU: 3}, max_nodes: 2}}}"
    )
    path = Path(net.file(net.hosts[0], name="demand", more=more))
    lines = "  - {host: 10.77.0.2, name: dead, ssh_port: 2222, num_cpus: 4, on_demand: true}\n"
    lines += "  - {host: 10.77.0.2, name: small, num_cpus: 2, on_demand: true}\n"
    lines += "  - {host: 10.77.0.3, name: c, num_cpus: 4, on_demand: true}\n"
    path.write_text(path.read_text() + lines)
    return str(path)


def test_a_job_has_a_node_started_which_leaves_when_nothing_needs_it(net: Network, tmp_path: Path) -> None:
    a, b, c = net.hosts
    file = on_demand(net, first_idle_s=1.0)
    status, said = net.distpool("up", file)
    assert status == 0, said
    try:
        assert (nodes_of(b), nodes_of(c)) == ([], [])
        (tmp_path / "asks.py").write_text(ASKS)
        status, said = net.distpool("submit", file, str(tmp_path / "asks.py"), "--flag", "3")
        assert status == 0, said
        assert "['--flag', '3']" in said
        assert len(nodes_of(a)) == 1
        assert nodes_of(b) == [], "one of its names does not answer, and the other is too small"
        wait_until(lambda: not nodes_of(c), "it leaves when it has been idle", 60)
        status, said = net.distpool("jobs", file)
        assert status == 0, said
        assert "succeeded" in said
    finally:
        status, said = net.distpool("down", file)
    assert status == 1, "one does not answer"
    assert "1 of 4 hosts failed: dead" in said
    assert ended(net.hosts)


def ended(hosts: list[Host]) -> bool:
    until_s = time.monotonic() + 10
    while any(nodes_of(host) for host in hosts) and time.monotonic() < until_s:
        time.sleep(0.05)
    return not any(nodes_of(host) for host in hosts)
