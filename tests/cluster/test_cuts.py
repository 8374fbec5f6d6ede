"""Lines that are cut for a while, with results on their way: each future completes once."""

from __future__ import annotations

import time

import pytest

from tests.cluster.conftest import facts_of, of_cluster
from tests.cluster.hosts import Host
from tests.cluster.test_three_hosts import PROGRAM, started_on
from tests.processes.scene import SOAK, wait_until

pytestmark = pytest.mark.timeout(180)
#: The longer one is beyond the ten seconds after which a silent node is lost.
SECONDS = [5, *([20] if SOAK else [])]


@pytest.mark.parametrize("seconds", SECONDS)
def test_the_programs_own_line_is_cut_for_a_while(cluster: list[Host], seconds: int) -> None:
    a, _, c = cluster
    child = started_on(c, a, "begun", "long", "60", "0.2")
    c.unplug()
    time.sleep(seconds)
    c.plug_in()
    text, _ = child.communicate(timeout=90)
    assert child.returncode == 0, text
    assert facts_of(text)["answers"] == [1] * 60


@pytest.mark.parametrize("seconds", SECONDS)
def test_a_nodes_line_to_the_head_is_cut_for_a_while(cluster: list[Host], seconds: int) -> None:
    """After ten seconds it counts as lost: its work is done elsewhere, and what it says later counts no more."""
    a, b, c = cluster
    child = started_on(c, a, "begun", "long", "60", "0.2")
    b.unplug()
    time.sleep(seconds)
    b.plug_in()
    text, _ = child.communicate(timeout=90)
    assert child.returncode == 0, text
    assert facts_of(text)["answers"] == [1] * 60, "each future completes once"
    wait_until(
        lambda: c.run("-m", "distpool", "status", env=of_cluster(a))[1].startswith("2 nodes"),
        "it is back",
        60.0,
    )
    status, text = c.run(*PROGRAM, "spread", "200", env=of_cluster(a))
    assert status == 0, text
    assert set(facts_of(text)["nodes"]) == {"a", "b"}  # type: ignore[call-overload]
