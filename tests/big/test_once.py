"""What is moved once: one array in a thousand tasks. And what is shared: memory by readers, descriptors by nobody."""

from __future__ import annotations

from typing import Any

import pytest

from distpool.scheduler.serialize import STORED_BYTES_MIN
from tests.big import bodies, sharing, storage
from tests.big.programs import MB, heard, run
from tests.processes.scene import count

SIZE = 32 * MB


@pytest.mark.parametrize("way", sharing.WAYS)
def test_one_array_in_a_thousand_tasks_is_moved_once(session: Any, way: str) -> None:
    array = bodies.pattern(1, SIZE)
    before = storage.usage().memory
    with storage.Watch() as watch:
        assert sharing.WAYS[way](array, 1000) == [True] * 1000
    assert SIZE <= watch.moved <= 1.1 * SIZE, "moved once"
    assert watch.peak <= before + 1.2 * SIZE, "and there is one of it"


def test_closures_over_big_arrays_do_not_pile_up() -> None:
    said = heard(run("many_closures", 60, 2 * MB))
    assert said["peak"] <= 12 * 2 * MB, said


@pytest.mark.parametrize("size", [65_536, 300_000])
def test_a_thousand_live_arrays_cost_no_descriptors(size: int) -> None:
    number = count(1000, 10_000)
    said = heard(run("many_live_arrays", number, size, within_s=count(60, 600), store_memory="4GB"))
    assert said["objects"] >= (number if size >= STORED_BYTES_MIN else 0), said
    assert said["results"] <= said["before"] + 3, said
    assert said["gets"] <= said["before"] + 3, said
    assert said["worker_last"] <= said["worker_first"] + 3, said


def test_readers_share_the_memory() -> None:
    size = count(32 * MB, 1 << 30)
    said = heard(
        run("many_readers", count(4, 8), size, within_s=count(60, 300), store_memory=f"{2 * size // MB}MB")
    )
    assert all(private <= size // 10 for private in said["private"]), said
    assert said["more"] <= MB, said
