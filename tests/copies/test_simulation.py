"""Worlds of nodes that move objects, under seeds: some each time, many in the soak."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.simulation.seeds import SECONDS, Seeds, expect_one_story, only_in_soak

from .world import run

SEEDS = Seeds(run, "python -m tests.copies {seed}", share=1 / 20)
SOAK_SEEDS = 3_000


@pytest.mark.timeout(SECONDS * 6 + 120)
def test_seeds() -> None:
    seen: Counter[str] = Counter()
    for world in SEEDS.in_time():
        seen += Counter(world.counts)
    assert all(
        seen[kind] for kind in ("fetched", "refused", "lost", "relayed", "roomless", "deaths", "cuts")
    ), f"worlds in which nothing happens: {seen}"


@pytest.mark.timeout(3600)
@only_in_soak
def test_many_seeds() -> None:
    SEEDS.many(SOAK_SEEDS)


def test_the_same_seed_tells_the_same_story() -> None:
    expect_one_story(run)
