"""``python -m tests.simulation --seed N [--trace]``, ``--seeds A:B [--jobs J]``: see ``command``."""

from __future__ import annotations

import sys

from .command import main
from .world import World, run


def describe(world: World) -> str:
    return (
        f"{world.loop.now:.0f} simulated s, {world.loop.events_run} events, {world.plan}\n"
        f"outcomes: {world.ledger.outcomes}"
    )


if __name__ == "__main__":
    sys.exit(main("python -m tests.simulation", run, describe))
