"""Worlds under seeds, for DISTPOOL_SIM_SECONDS (10), beginning with those that failed once."""

from __future__ import annotations

import os
import time

import pytest

from .loop import Violation
from .regressions import REGRESSIONS
from .world import World, run

SECONDS = float(os.environ.get("DISTPOOL_SIM_SECONDS", "10"))
SOAK_SEEDS = 20_000


def expect_well(seed: int) -> World:
    try:
        return run(seed)
    except Violation as violation:
        pytest.fail(f"{violation}\nrepeat: python -m tests.simulation --seed {seed} --trace", pytrace=False)


@pytest.mark.parametrize(("seed", "oracle", "what"), REGRESSIONS)
def test_regression(seed: int, oracle: str, what: str) -> None:
    assert oracle
    assert what
    expect_well(seed)


@pytest.mark.timeout(SECONDS * 6 + 120)
def test_seeds() -> None:
    """As many as there is time for; always from the first, so that two runs agree on what they saw.

    It is this process's own time that counts: other tests that run beside it take no worlds away.
    """
    began = time.process_time()
    seeds, outcomes = 0, dict.fromkeys(("done", "error", "death", "cancelled"), 0)
    while time.process_time() - began < SECONDS or seeds < 20:
        world = expect_well(seeds)
        seeds += 1
        for outcome, count in world.ledger.outcomes.items():
            outcomes[outcome] = outcomes.get(outcome, 0) + count
    print(f"{seeds} worlds in {time.process_time() - began:.1f} s: {outcomes}")
    assert all(outcomes[kind] for kind in ("done", "error", "death", "cancelled")), (
        "worlds in which nothing happens"
    )


@pytest.mark.skipif(not os.environ.get("DISTPOOL_SOAK"), reason="soak")
def test_many_seeds() -> None:
    for seed in range(SOAK_SEEDS):
        expect_well(seed)


def test_the_same_seed_tells_the_same_story() -> None:
    stories: list[list[str]] = [[], []]
    for story in stories:
        run(3, story.append)
    assert stories[0] == stories[1]
    assert len(stories[0]) > 100
