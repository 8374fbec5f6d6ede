"""Worlds of references under seeds: a few hundred each time, many in the soak."""

from __future__ import annotations

import os
from collections import Counter

import pytest

from tests.simulation.loop import Violation

from .world import World, run

SEEDS = 200
SOAK_SEEDS = 20_000
#: Objects lost as ``world`` excuses them, in so many worlds.
EXCUSED_MAX = 20


def expect_well(seed: int, *, excuses: bool = False) -> World:
    try:
        return run(seed, excuses=excuses)
    except Violation as violation:
        pytest.fail(f"{violation}\nrepeat: python -m tests.references {seed}", pytrace=False)


@pytest.mark.parametrize(
    ("seed", "what"),
    [
        (2341, "its owner brings a reference back to a process that has forgotten it too"),
        (2468, "an owner and a borrower wait for each other"),
        (6134, "who has passed a reference on is still asking himself"),
    ],
)
def test_regression(seed: int, what: str) -> None:
    assert what
    expect_well(seed)


@pytest.mark.timeout(120)
def test_seeds() -> None:
    seen: Counter[str] = Counter()
    for seed in range(SEEDS):
        world = expect_well(seed)
        seen += Counter(
            values=world.program.looked,
            losses=world.program.lost,
            deaths=len(world.crashed),
            processes=world.made,
            quiet=not world.crashed,
        )
    assert all(seen[kind] for kind in ("values", "losses", "deaths", "processes", "quiet")), seen


@pytest.mark.skipif(not os.environ.get("DISTPOOL_SOAK"), reason="soak")
def test_many_seeds() -> None:
    assert (
        sum([expect_well(seed, excuses=True).program.forgotten for seed in range(SOAK_SEEDS)]) <= EXCUSED_MAX
    )


def test_the_same_seed_tells_the_same_story() -> None:
    stories: list[list[str]] = [[], []]
    for story in stories:
        run(3, story.append)
    assert stories[0] == stories[1]
    assert len(stories[0]) > 50
