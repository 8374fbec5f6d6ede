"""Worlds under seeds, as tests look at them: as many as there is time for, and what is said of one that fails."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import pytest

from .loop import Violation

#: CPU seconds for the worlds of the engine's cores; the other simulators take a share of as much again.
SECONDS = float(os.environ.get("DISTPOOL_SIM_SECONDS", "10"))
SOAK = bool(os.environ.get("DISTPOOL_SOAK"))
#: So many worlds, however slow the machine.
LEAST = 20

only_in_soak = pytest.mark.skipif(not SOAK, reason="soak")

_World = TypeVar("_World", covariant=True)


class Run(Protocol[_World]):
    """A simulator's ``run``: the world of this seed, to its end; a ``Violation`` if an oracle objects."""

    def __call__(self, seed: int, /) -> _World: ...


class Told(Protocol):
    """The same, telling what happens line by line."""

    def __call__(self, seed: int, tell: object, /) -> object: ...


@dataclass(frozen=True)
class Seeds(Generic[_World]):
    """One simulator's seeds. ``repeat`` is the command that shows one of them, with ``{seed}`` in it."""

    run: Run[_World]
    repeat: str
    share: float = 1.0

    def well(self, seed: int) -> _World:
        """The world of this seed; the test fails if an oracle objects."""
        try:
            return self.run(seed)
        except Violation as violation:
            pytest.fail(f"{violation}\nrepeat: {self.repeat.format(seed=seed)}", pytrace=False)

    def in_time(self) -> Iterator[_World]:
        """As many as there is time for; always from the first, so that two runs agree on what they saw.

        It is this process's own time that counts: other tests that run beside it take no worlds away.
        """
        began, seed = time.process_time(), 0
        while time.process_time() - began < SECONDS * self.share or seed < LEAST:
            yield self.well(seed)
            seed += 1
        print(f"{seed} worlds in {time.process_time() - began:.1f} s")

    def many(self, count: int) -> None:
        """The soak's."""
        for seed in range(count):
            self.well(seed)


def expect_one_story(run: Told, seed: int = 3, lines: int = 50) -> None:
    """The same seed tells the same story, and it is one."""
    stories: list[list[str]] = [[], []]
    for story in stories:
        run(seed, story.append)
    assert stories[0] == stories[1]
    assert len(stories[0]) > lines
