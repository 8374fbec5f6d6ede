"""The planted bugs are caught: a sample as time allows, all of them in the soak."""

from __future__ import annotations

import os

import pytest

from tests.simulation.mutations import Mutation, planted

from .mutations import MUTATIONS, SEEDS, hunt

SOAK = bool(os.environ.get("DISTPOOL_SOAK"))
#: Without the soak only bugs that show within so many seeds are hunted; the others are left to it.
SAMPLE_SEEDS = 10


def test_there_are_enough_and_each_has_its_own_name() -> None:
    names = [mutation.name for mutation in MUTATIONS]
    assert len(names) == len(set(names)) >= 25


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_it_can_be_planted(mutation: Mutation) -> None:
    """The anchors are there: whoever changes the store keeps the planted bugs alive."""
    with planted(mutation):
        pass


@pytest.mark.parametrize(
    "mutation", [m for m in MUTATIONS if SOAK or m.seed < SAMPLE_SEEDS], ids=lambda mutation: mutation.name
)
def test_it_is_caught(mutation: Mutation) -> None:
    found = hunt(mutation, range(SEEDS) if SOAK else range(mutation.seed + SAMPLE_SEEDS))
    assert found is not None, f"{mutation.name} ({mutation.why}) survives"
