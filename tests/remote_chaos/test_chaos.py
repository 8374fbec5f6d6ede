"""Workers and actors die all the time, and every result is right in the end, with nothing left behind."""

from __future__ import annotations

import gc
import os
import random
from pathlib import Path

import pytest

from tests.processes.scene import SOAK, SOAK_SHARE, check_core, wait_until
from tests.remote_chaos.chaos import Chaos, Killer, left_over

pytestmark = pytest.mark.usefixtures("engine")

#: How long it goes on, how many calls are in flight meanwhile, and how often somebody is killed.
FOR_S, IN_FLIGHT, KILL_EVERY_S = (60.0 * SOAK_SHARE, 10_000, 0.5) if SOAK else (3.0, 400, 0.25)
#: No result takes longer, however busy the machine is.
ANSWER_S = 600.0 if SOAK else 60.0


@pytest.mark.timeout(3600 if SOAK else 200)
def test_every_result_is_right_whoever_dies(tmp_path: Path) -> None:
    chance = random.Random(int(os.environ.get("DISTPOOL_CHAOS_SEED", "20")))
    chaos = Chaos(chance, tmp_path, IN_FLIGHT)
    with Killer(chance, KILL_EVERY_S) as killer:
        chaos.run(FOR_S, ANSWER_S)
        check_core()
    chaos.finish(ANSWER_S)
    print(f"{killer.kills} kills, {sum(chaos.done.values())} calls, {chaos.lost} lost as they may")
    assert killer.kills >= FOR_S / KILL_EVERY_S / 3
    del chaos
    gc.collect()
    left: dict[str, object] = {}

    def nothing_left() -> bool:
        left.clear()
        left.update(left_over())
        return not left

    try:
        wait_until(nothing_left, "", 15.0)
    except AssertionError:
        raise AssertionError(f"left behind: {left}") from None
