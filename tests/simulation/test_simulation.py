"""Worlds under seeds, for DISTPOOL_SIM_SECONDS (10), beginning with those that failed once."""

from __future__ import annotations

from collections import Counter

import pytest

from .loop import Loop
from .regressions import REGRESSIONS
from .seeds import SECONDS, Seeds, expect_one_story, only_in_soak
from .world import run

SEEDS = Seeds(run, "python -m tests.simulation --seed {seed} --trace")
SOAK_SEEDS = 20_000


@pytest.mark.parametrize(("seed", "oracle", "what"), REGRESSIONS)
def test_regression(seed: int, oracle: str, what: str) -> None:
    assert oracle
    assert what
    SEEDS.well(seed)


@pytest.mark.timeout(SECONDS * 6 + 120)
def test_seeds() -> None:
    seen: Counter[str] = Counter()
    for world in SEEDS.in_time():
        seen += world.ledger.outcomes
    assert all(seen[kind] for kind in ("done", "error", "death", "cancelled")), (
        f"worlds in which nothing happens: {seen}"
    )


@only_in_soak
def test_many_seeds() -> None:
    SEEDS.many(SOAK_SEEDS)


def test_the_same_seed_tells_the_same_story() -> None:
    expect_one_story(run, lines=100)


def test_what_is_left_of_a_task_takes_as_long_as_its_node_is_fast() -> None:
    """A node that was slow for a while is itself again, and so is all that began there meanwhile."""
    loop, ended = Loop(0), []

    def end() -> None:
        ended.append(loop.now)

    task, other = loop.after(602.0, end), loop.after(2.0, end)
    loop.run_until(2.0)
    loop.stretch(task, 1 / 16)
    loop.stretch(other, 16.0)  # that is over
    loop.run_until(1000.0)
    assert ended == [2.0, 2.0 + 600.0 / 16]
