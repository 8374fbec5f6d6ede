"""Worlds of references under seeds: a few hundred each time, many in the soak."""

from __future__ import annotations

from collections import Counter
from functools import partial

import pytest

from tests.simulation.seeds import SECONDS, Seeds, expect_one_story, only_in_soak

from .world import run

_REPEAT = "python -m tests.references {seed}"
SEEDS = Seeds(run, _REPEAT, share=1 / 10)
EXCUSING_SEEDS = Seeds(partial(run, excuses=True), _REPEAT)
SOAK_SEEDS = 20_000
#: Objects lost as ``world`` excuses them, in so many worlds.
EXCUSED_MAX = 20


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
    SEEDS.well(seed)


@pytest.mark.timeout(SECONDS * 6 + 120)
def test_seeds() -> None:
    seen: Counter[str] = Counter()
    for world in SEEDS.in_time():
        seen += Counter(
            values=world.program.looked,
            losses=world.program.lost,
            deaths=len(world.crashed),
            processes=world.made,
            quiet=not world.crashed,
        )
    assert all(seen[kind] for kind in ("values", "losses", "deaths", "processes", "quiet")), (
        f"worlds in which nothing happens: {seen}"
    )


@only_in_soak
def test_many_seeds() -> None:
    forgotten = sum(EXCUSING_SEEDS.well(seed).program.forgotten for seed in range(SOAK_SEEDS))
    assert forgotten <= EXCUSED_MAX


def test_the_same_seed_tells_the_same_story() -> None:
    expect_one_story(run)
