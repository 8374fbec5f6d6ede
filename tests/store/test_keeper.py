"""What becomes of the pages of free blocks: a few stay while something comes and goes, and none after that."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from distpool.scheduler.messages import DRIVER
from distpool.scheduler.store import files
from distpool.scheduler.store.keeper import Keeper
from distpool.scheduler.store.ledger import DEVICE
from distpool.scheduler.store.store import ObjectStore
from tests.store.beside import unwatched

MIB = 1 << 20


@pytest.fixture
def driver() -> Iterator[ObjectStore]:
    made = files.create({**os.environ, "DISTPOOL_STORE_MEMORY": "32M", "DISTPOOL_SPILL_LIMIT": "8M"})
    assert made is not None
    store = ObjectStore(made, DRIVER)
    yield store
    store.close()


def keeper_of(driver: ObjectStore, **options: int) -> Keeper:
    """The agent's, of the same store; its end is the driver's."""
    return Keeper(unwatched(ObjectStore(driver.files, 0)), **options)


def pages_mib(store: ObjectStore) -> float:
    return os.fstat(store.files.memory_fd).st_blocks * 512 / MIB


def put_and_drop(store: ObjectStore, size_mib: int) -> None:
    held = store.put([[b"x" * (size_mib * MIB)]])
    del held
    store.drain()


def test_nothing_stays_when_nothing_changes(driver: ObjectStore) -> None:
    keeper = keeper_of(driver, warm_bytes_max=4 * MIB)
    put_and_drop(driver, 16)
    keeper.tick(())
    assert pages_mib(driver) == 16
    keeper.tick(())
    assert pages_mib(driver) == 0


def test_what_is_used_again_and_again_stays(driver: ObjectStore) -> None:
    keeper = keeper_of(driver, warm_bytes_max=4 * MIB)
    for _ in range(30):
        put_and_drop(driver, 2)
        keeper.tick(())
        held = driver.put([[b"x" * MIB]])
        keeper.tick(())
        del held
        driver.drain()
        assert pages_mib(driver) == 2


def test_what_is_on_a_device_is_reported_as_that(driver: ObjectStore) -> None:
    with driver.lock:
        new = driver.ledger.allocate(DRIVER, 5 * MIB, DEVICE, label=b"here.py:1")
        assert new is not None
        driver.ledger.seal_on_device(new.id)
    (stored,) = keeper_of(driver).report("a", {}).objects
    assert (stored.bytes, stored.on_disk, stored.state) == (5 * MIB, False, "on a GPU")
