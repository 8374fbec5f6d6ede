"""Worlds of nodes that move objects, under seeds: some each time, many in the soak."""

from __future__ import annotations

import os
from collections import Counter

import pytest

from tests.simulation.loop import Violation

from .world import World, run

SEEDS = 25
SOAK_SEEDS = 3_000


def expect_well(seed: int) -> World:
    try:
        return run(seed)
    except Violation as violation:
        pytest.fail(f"{violation}\nrepeat: python -m tests.copies {seed}", pytrace=False)


@pytest.mark.timeout(120)
def test_seeds() -> None:
    seen: Counter[str] = Counter()
    for seed in range(SEEDS):
        seen += Counter(expect_well(seed).counts)
    assert all(seen[kind] for kind in ("fetched", "refused", "lost", "relayed", "deaths", "cuts")), seen


@pytest.mark.timeout(3600)
@pytest.mark.skipif(not os.environ.get("DISTPOOL_SOAK"), reason="soak")
def test_many_seeds() -> None:
    for seed in range(SOAK_SEEDS):
        expect_well(seed)


def test_the_same_seed_tells_the_same_story() -> None:
    stories: list[list[str]] = [[], []]
    for story in stories:
        run(3, story.append)
    assert stories[0] == stories[1]
    assert len(stories[0]) > 50
