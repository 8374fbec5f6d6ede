"""A borrower that is killed leaves nothing with the owner: neither its wait for a value, nor its hold on an actor.

It has dialled its owner and said what it wants; nobody says that it wants it no more. Only a link of the owner's own
tells of its end.
"""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

import distpool
from distpool.exceptions import WorkerCrashedError
from distpool.scheduler import client
from tests.processes.scene import wait_until
from tests.remote_chaos import bodies
from tests.remote_chaos.chaos import left_over

pytestmark = [pytest.mark.usefixtures("engine"), pytest.mark.timeout(60)]


def test_an_actor_whose_borrower_was_killed_ends_with_its_last_handle() -> None:
    actor = bodies.Scaler.remote(2)
    with pytest.raises(WorkerCrashedError, match="SIGKILL"):
        distpool.get(bodies.asks_and_dies.remote(actor))
    pids = left_over()["open actors"]
    assert len(pids) == 1
    del actor
    gc.collect()
    wait_until(lambda: not left_over(), "the actor ends", 10.0)


def test_who_waited_for_a_value_and_was_killed_is_waited_for_no_more(tmp_path: Path) -> None:
    go = tmp_path / "go"
    pending = bodies.when.remote(str(go))
    following = client.session().remote.following
    with pytest.raises(WorkerCrashedError, match="SIGKILL"):
        distpool.get(bodies.waits_and_dies.remote([pending]))
    wait_until(lambda: not following.owes, "nobody waits for it", 10.0)
    assert not pending.settled
    other = bodies.add_up_inner.remote([pending])
    wait_until(lambda: following.owes, "somebody else waits for it")
    go.touch()
    assert distpool.get([pending, other], timeout=20) == [1, 1]
    del pending, other
    gc.collect()
    wait_until(lambda: not left_over(), "all of it goes", 10.0)
