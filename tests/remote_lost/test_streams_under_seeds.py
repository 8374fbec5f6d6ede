"""What calls have yielded, lost and made again under seeds, and planted bugs that must be caught."""

from __future__ import annotations

import os

import pytest

from distpool.scheduler.remote import generators, lineage
from tests.simulation.mutations import Mutation, hunt

from .streams_world import run

SEEDS = 10_000 if os.environ.get("DISTPOOL_SOAK") else 60

# fmt: off
MUTATIONS = (
    Mutation(
        "make_all_of_it_again", lineage, "Lineage._make_again",
        'self._lost_of(origin.streamed)',
        'set(origin.streamed)',
        "a generator's values are put again though they are there",
        "only_what_is_lost", 0,
    ),
    Mutation(
        "one_run_for_each", lineage, "Lineage._make_again",
        'self._lost_of(origin.streamed)',
        'set()',
        "a node that is lost with many values of a generator takes all its retries",
        "one_run_for_all", 0,
    ),
    Mutation(
        "forget_what_is_lost_meanwhile", lineage, "Lineage._made",
        'if origin.later:',
        'if False:',
        "get() of a value that is lost while others are made again never returns",
        "asked_is_answered", 0,
    ),
    Mutation(
        "for_ever", lineage, "Lineage._make_again",
        'origin.left -= counts',
        'pass',
        "a call is repeated more often than it may be",
        "bounded", 0,
    ),
    Mutation(
        "lose_its_place", generators, "StreamAgain.item",
        'self.arriving = index',
        'pass',
        "the second time that a value is lost another one takes its place",
        "only_what_is_lost", 0,
    ),
    Mutation(
        "take_the_place_of_what_is_there", lineage, "Lineage.remember",
        'if isinstance(stream, Stream):',
        'if True:',
        "what is made again is not given to who has the reference",
        "one_run_for_all", 0,
    ),
)
# fmt: on


def test_seeds() -> None:
    again = 0
    for seed in range(SEEDS):
        again += run(seed).lineage.remade
    assert again > SEEDS / 2, "worlds in which nothing is lost"


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_planted_bug_is_caught(mutation: Mutation) -> None:
    found = hunt(mutation, range(400), run)
    assert found is not None, f"{mutation.name} ({mutation.why}) survives"
    assert found[1].oracle == mutation.oracle
