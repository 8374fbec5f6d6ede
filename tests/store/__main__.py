"""``python -m tests.store --seed N [--trace]``, ``--seeds A:B [--jobs J]``: see ``tests.simulation.command``."""

from __future__ import annotations

import sys

from tests.simulation.command import main

from .world import World, run


def describe(world: World) -> str:
    spills = world.memory.ledger.spills
    return (
        f"{world.steps} steps, {world.plan}\n"
        f"{world.deaths} deaths, {world.repairs} repairs, {world.full} times full, {spills} spills"
    )


if __name__ == "__main__":
    sys.exit(main("python -m tests.store", run, describe))
