"""Who keeps an exported array for whom: worlds under seeds, and the bugs planted there."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.simulation.mutations import Mutation, planted
from tests.simulation.seeds import SOAK, Seeds, expect_one_story, only_in_soak

from .mutations import MUTATIONS, hunt
from .mutations import SEEDS as HUNTED_SEEDS
from .world import run

SEEDS = Seeds(run, "tests.devices.world.run({seed}, print)", share=1 / 10)
SOAK_SEEDS = 10_000
#: Without the soak only bugs that show within so many seeds are hunted.
SAMPLE_SEEDS = 10


@pytest.mark.parametrize("seed", [300, 526, 930])
def test_what_worlds_have_found(seed: int) -> None:
    """An exporter that dies between a pin and a hold; one that ends without room under a reader; two that move."""
    SEEDS.well(seed)


def test_seeds() -> None:
    seen: Counter[str] = Counter()
    for world in SEEDS.in_time():
        seen += Counter(
            deaths=world.deaths,
            repairs=world.repairs,
            on_device=world.read_on_device,
            on_host=world.read_on_host,
        )
    assert all(seen[kind] for kind in ("deaths", "repairs", "on_device", "on_host")), (
        f"worlds in which nothing happens: {seen}"
    )


@only_in_soak
def test_many_seeds() -> None:
    SEEDS.many(SOAK_SEEDS)


def test_the_same_seed_tells_the_same_story() -> None:
    expect_one_story(run, lines=100)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_bug_can_be_planted(mutation: Mutation) -> None:
    with planted(mutation):
        pass


@pytest.mark.parametrize(
    "mutation", [m for m in MUTATIONS if SOAK or m.seed < SAMPLE_SEEDS], ids=lambda mutation: mutation.name
)
def test_a_bug_is_caught(mutation: Mutation) -> None:
    found = hunt(mutation, range(HUNTED_SEEDS) if SOAK else range(mutation.seed + SAMPLE_SEEDS))
    assert found is not None, f"{mutation.name} ({mutation.why}) survives"
