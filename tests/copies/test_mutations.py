"""The planted bugs are caught: around the seed where each shows, and all of them from the start in the soak."""

from __future__ import annotations

import os

import pytest

from tests.simulation.mutations import Mutation, hunt, planted

from .mutations import MUTATIONS, SEEDS
from .world import run

SOAK = bool(os.environ.get("DISTPOOL_SOAK"))
SAMPLE_SEEDS = 3


def test_there_are_enough_and_each_has_its_own_name() -> None:
    names = [mutation.name for mutation in MUTATIONS]
    assert len(names) == len(set(names)) >= 15


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_it_can_be_planted(mutation: Mutation) -> None:
    """The anchors are there: whoever changes the code keeps the planted bugs alive."""
    with planted(mutation):
        pass


@pytest.mark.timeout(600)
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_it_is_caught(mutation: Mutation) -> None:
    seeds = range(SEEDS) if SOAK else range(max(0, mutation.seed - 1), mutation.seed + SAMPLE_SEEDS)
    found = hunt(mutation, seeds, run)
    assert found is not None, f"{mutation.name} ({mutation.why}) survives {len(seeds)} seeds"
