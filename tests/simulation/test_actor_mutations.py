"""The planted bugs of actors are caught: a sample as time allows, all of them in the soak."""

from __future__ import annotations

import os

import pytest

from .actor_mutations import ACTOR_MUTATIONS
from .mutations import Mutation, hunt, planted

SOAK = bool(os.environ.get("DISTPOOL_SOAK"))
#: Without the soak only bugs that show within so many seeds are hunted, from a little before where they first did.
SAMPLE_SEEDS = 15


def test_there_are_enough_and_each_has_its_own_name() -> None:
    names = [mutation.name for mutation in ACTOR_MUTATIONS]
    assert len(names) == len(set(names)) >= 10


@pytest.mark.parametrize("mutation", ACTOR_MUTATIONS, ids=lambda mutation: mutation.name)
def test_it_can_be_planted(mutation: Mutation) -> None:
    with planted(mutation):
        pass


@pytest.mark.parametrize(
    "mutation",
    [mutation for mutation in ACTOR_MUTATIONS if SOAK or mutation.seed < SAMPLE_SEEDS],
    ids=lambda mutation: mutation.name,
)
def test_it_is_caught(mutation: Mutation) -> None:
    seeds = range(500) if SOAK else range(max(0, mutation.seed - 1), mutation.seed + SAMPLE_SEEDS)
    found = hunt(mutation, seeds)
    assert found is not None, f"{mutation.name} ({mutation.why}) survives {len(seeds)} seeds"
