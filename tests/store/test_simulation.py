"""Worlds under seeds, for a sixth of DISTPOOL_SIM_SECONDS (10), beginning with those that failed once."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.simulation.seeds import SECONDS, Seeds, expect_one_story, only_in_soak

from .regressions import REGRESSIONS
from .world import run

SEEDS = Seeds(run, "python -m tests.store --seed {seed} --trace", share=1 / 6)
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
        seen += Counter(
            deaths=world.deaths, repairs=world.repairs, full=world.full, spills=world.memory.ledger.spills
        )
    assert all(seen[kind] for kind in ("deaths", "repairs", "full", "spills")), (
        f"worlds in which nothing happens: {seen}"
    )


@only_in_soak
def test_many_seeds() -> None:
    SEEDS.many(SOAK_SEEDS)


def test_the_same_seed_tells_the_same_story() -> None:
    expect_one_story(run, lines=100)
