"""Processes that die in the middle of big things: nothing is left of it, nobody else notices, the store survives."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.big import bodies, programs
from tests.big.programs import MB, heard, run
from tests.processes import scene
from tests.processes.scene import SOAK, count, session_directories

pytestmark = pytest.mark.timeout(3600 if SOAK else 120)


@pytest.mark.parametrize("seed", range(count(1, 20)))
def test_workers_that_die_while_they_answer(seed: int) -> None:
    size = count(40, 200) * MB
    text = run(
        "deaths_while_answering", size, count(8, 100), seed, within_s=count(60, 1200), store_memory="1GB"
    )
    assert heard(text)["died"] > 0


@pytest.mark.parametrize("seed", range(count(1, 20)))
def test_workers_that_die_while_they_answer_into_a_full_store(seed: int) -> None:
    """So that some die while they move others' objects to the disk."""
    text = run(
        "deaths_while_answering", 8 * MB, count(12, 300), seed, within_s=count(60, 1200), store_memory="12MB"
    )
    assert heard(text)["died"] > 0


@pytest.mark.parametrize("seed", range(count(1, 20)))
def test_workers_that_die_while_they_read(seed: int) -> None:
    assert run(
        "deaths_while_reading", 16 * MB, count(10, 200), seed, within_s=count(60, 1200), store_memory="200MB"
    )


@pytest.mark.parametrize("turn", range(count(2, 100)))
def test_a_driver_that_is_killed(
    make_pool: Callable[..., Any], tmp_path: Path, own_tmpdir: str, turn: int
) -> None:
    """At a random instant; a session beside it goes on as if nothing had happened."""
    pool = make_pool(1)
    array = bodies.pattern(1, 4 * MB)
    sessions = session_directories(own_tmpdir)
    chance = random.Random(turn)
    code = programs.source("busy_driver", 8 * MB, str(tmp_path))
    with scene.driver(code, env=programs.settings(store_memory="24MB", spill_limit="200MB")) as it:
        it.read_until("ready")
        calls = [pool.apply_async(bodies.check_pair, (array, 1)) for _ in range(20)]
        calls[chance.randrange(20)].wait(20.0)  # some instant
        os.kill(it.process.pid, signal.SIGKILL)
        assert [call.get(20.0) for call in calls] == [True] * 20
        it.expect_nothing_left()
    assert session_directories(own_tmpdir) == sessions
    assert os.listdir(os.environ["DISTPOOL_SPILL_DIR"]) == []
    assert bodies.is_pattern(pool.apply(bodies.same, (array,)), 1)


def test_random_puts_gets_drops_and_kills_from_eight_processes() -> None:
    """The store is small, so that much of it lies on the disk."""
    steps, kills = count(600, 10_000), count(10, 400)
    text = run("random_life", steps, kills, count(1, 2), within_s=count(80, 3000), store_memory="24MB")
    said = heard(text)
    assert said["steps"] >= steps
    assert said["killed"] > kills // 2
    assert said["spills"] > 0
