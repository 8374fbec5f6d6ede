"""Mappings come to rest and serve again, if nobody has written to them; with real memory, in one process or two."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator

import pytest

from distpool.scheduler.store import files, views
from distpool.scheduler.store.copying import address_of
from distpool.scheduler.store.keeper import Keeper
from distpool.scheduler.store.ledger import DRIVER, MEMORY
from distpool.scheduler.store.store import ObjectStore
from tests.store.beside import unwatched

SIZE = 1 << 20
WORKER = 1


@pytest.fixture
def stores() -> Iterator[tuple[ObjectStore, ObjectStore]]:
    """A driver's and a worker's view of one store."""
    made = files.create({"DISTPOOL_STORE_MEMORY": "32MB", "DISTPOOL_SPILL_LIMIT": "8MB"})
    assert made is not None
    driver, worker = ObjectStore(made, DRIVER), unwatched(ObjectStore(made, WORKER))
    yield driver, worker
    driver.close()


@pytest.fixture
def sees_pages(stores: tuple[ObjectStore, ObjectStore]) -> None:
    """Skip where the kernel does not tell which pages were written to."""
    mapping = stores[0].tiers[MEMORY].map_private(0, SIZE)
    if not stores[0].views.pristine.is_pristine(mapping):
        pytest.skip("no PAGEMAP_SCAN in this kernel")


def content(key: int, size: int = SIZE) -> bytes:
    return bytes([key]) * size


def look(reader: ObjectStore, number: int, key: int, size: int = SIZE) -> int:
    """Read an object, let go of it, and say where it was mapped."""
    [view] = reader.map([number])
    assert bytes(view) == content(key, size)
    place = address_of(view)
    view.release()
    reader.drain()
    return place


def test_the_next_object_at_a_place_is_seen_through_the_same_mapping(
    stores: tuple[ObjectStore, ObjectStore], sees_pages: None
) -> None:
    driver, worker = stores
    places = set()
    for key in range(5):
        held = driver.put([[content(key)]])
        places.add(look(worker, held.ids[0], key))
        del held
        driver.drain()
    assert len(places) == 1


@pytest.mark.parametrize("where", [0, SIZE // 2, SIZE - 1])
def test_never_again_if_a_byte_was_written(stores: tuple[ObjectStore, ObjectStore], where: int) -> None:
    driver, worker = stores
    for key in range(1, 6):
        held = driver.put([[content(key)]])
        [view] = worker.map(held.ids)
        assert bytes(view) == content(key)
        view[where] = 0
        assert bytes(driver.map(held.ids)[0]) == content(key), "what is stored is untouched"
        del view, held
        worker.drain()
        driver.drain()
    assert driver.ledger.facts() == []


def test_also_if_the_pages_were_given_back_meanwhile(
    stores: tuple[ObjectStore, ObjectStore], sees_pages: None
) -> None:
    driver, worker = stores
    keeper = Keeper(unwatched(ObjectStore(driver.files, 0)), warm_bytes_max=0)
    places = set()
    for key in range(1, 4):
        held = driver.put([[content(key)]])
        places.add(look(worker, held.ids[0], key))
        del held
        driver.drain()
        for _ in range(3):
            keeper.tick(())
        assert os.fstat(driver.files.memory_fd).st_blocks == 0, "a mapping at rest keeps no pages"
    assert len(places) == 1


def test_at_rest_it_is_no_pin(stores: tuple[ObjectStore, ObjectStore]) -> None:
    driver, worker = stores
    held = driver.put([[content(1)]])
    look(worker, held.ids[0], 1)
    assert [hold.holder for hold in driver.ledger.facts()[0].holds] == [DRIVER]
    del held
    driver.drain()
    assert driver.ledger.facts() == []


def test_two_views_of_one_object_are_two(stores: tuple[ObjectStore, ObjectStore]) -> None:
    driver, worker = stores
    held = driver.put([[content(1)]])
    for _ in range(3):
        one, other = worker.map(held.ids * 2)
        one[0] = 9
        assert other[0] == 1
        del one, other
        worker.drain()


def test_a_view_of_a_view_keeps_what_it_shows(stores: tuple[ObjectStore, ObjectStore]) -> None:
    driver, worker = stores
    held = driver.put([[content(1)]])
    part = memoryview(worker.map(held.ids)[0])[4096:8192].cast("Q")
    del held
    for key in range(2, 6):
        other = driver.put([[content(key)]])
        look(worker, other.ids[0], key)
        del other
    gc.collect()
    assert bytes(part) == content(1, 4096)
    part.release()
    worker.drain()
    driver.drain()
    assert driver.ledger.facts() == []


def test_few_rest(
    stores: tuple[ObjectStore, ObjectStore], sees_pages: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So many, and so large; the others are unmapped."""
    monkeypatch.setattr(views, "RESTING_MAX", 3)
    driver, worker = stores
    sizes = [(4 + n) << 16 for n in range(8)]
    held = driver.put([[content(n, size)] for n, size in enumerate(sizes)])
    for n, (number, size) in enumerate(zip(held.ids, sizes, strict=True)):
        look(worker, number, n, size)
    assert [extent.bytes for extent in worker.views._resting] == sizes[-3:]
    large = driver.put([[content(1, driver.tiers[MEMORY].size // 2)]])
    look(worker, large.ids[0], 1, driver.tiers[MEMORY].size // 2)
    assert [extent.bytes for extent in worker.views._resting] == sizes[-3:]


def test_more_than_a_process_may_map_is_copied(
    stores: tuple[ObjectStore, ObjectStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "MAPPINGS_MAX", 2)
    driver, worker = stores
    held = driver.put([[content(key)] for key in range(4)])
    seen = worker.map(held.ids)
    worker.drain()
    assert len(worker.views.numbers) == 2
    assert [bytes(view) for view in seen] == [content(key) for key in range(4)]
    del held
    driver.drain()
    assert len(driver.ledger.facts()) == 2
    assert [bytes(view) for view in seen] == [content(key) for key in range(4)]
