"""What runs in the workers of ``test_placement``; by reference, so it is imported there."""

from __future__ import annotations

import time
from pathlib import Path

from distpool.scheduler.node_identity import current_node
from distpool.util.placement_group import get_current_placement_group, placement_group


def where() -> str:
    return current_node()


def meet(folder: str, name: str, count: int) -> str:
    """Where this ran, once so many run at the same time."""
    Path(folder, name).touch()
    until_s = time.monotonic() + 20.0
    while len(list(Path(folder).iterdir())) < count:
        if time.monotonic() > until_s:
            raise TimeoutError(f"{name} has met nobody")
        time.sleep(0.005)
    return current_node()


def turn() -> str:
    """A small task."""
    time.sleep(0.02)
    return current_node()


def wait_for_ever(folder: str) -> None:
    Path(folder, "waits").touch()
    while True:
        time.sleep(0.1)


def make_group(lifetime: str | None) -> str:
    group = placement_group([{"CPU": 1}], lifetime=lifetime)
    assert group.wait(20)
    return group.id.hex()


def own_group() -> str:
    group = get_current_placement_group()
    return "" if group is None else group.id.hex()
