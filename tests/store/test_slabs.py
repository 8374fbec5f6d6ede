"""Payloads of some kilobytes: each reads back as it was written while it is kept, wherever slabs begin anew."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Iterator
from pickle import PickleBuffer

import pytest

from distpool.errors import StoreError
from distpool.scheduler.store import files
from distpool.scheduler.store.ledger import DRIVER, MEMORY
from distpool.scheduler.store.slabs import SLAB_BYTES
from distpool.scheduler.store.store import ObjectStore
from tests.store.beside import unwatched

WORKER = 1


@pytest.fixture
def stores() -> Iterator[tuple[ObjectStore, ObjectStore]]:
    """A driver's and a worker's view of one store."""
    made = files.create({"DISTPOOL_STORE_MEMORY": "64MB", "DISTPOOL_SPILL_LIMIT": "8MB"})
    assert made is not None
    driver, worker = ObjectStore(made, DRIVER), unwatched(ObjectStore(made, WORKER))
    yield driver, worker
    driver.close()


def test_each_reads_back_while_it_is_kept(stores: tuple[ObjectStore, ObjectStore]) -> None:
    driver, worker = stores
    chance = random.Random(3)
    kept = []
    for _ in range(2000):
        data = os.urandom(chance.randrange(1, SLAB_BYTES // 8))
        put = driver.put_brief([data[:7], data[7:]], len(data))
        assert put is not None
        kept.append((put, data))
        chance.shuffle(kept)
        while kept and chance.random() < 0.55:
            (spot, _), expected = kept.pop()
            assert worker.read_brief(spot) == expected
    for (spot, _), expected in kept:
        assert worker.read_brief(spot) == expected


def test_pieces_are_any_contiguous_buffers(stores: tuple[ObjectStore, ObjectStore]) -> None:
    driver, worker = stores
    numbers = memoryview(bytes(range(240))).cast("Q", (5, 6))
    pieces = [b"ab", bytearray(b"cd"), PickleBuffer(numbers), numbers]
    put = driver.put_brief(pieces, 4 + 2 * 240)
    assert put is not None
    assert worker.read_brief(put[0]) == b"abcd" + bytes(range(240)) * 2


def test_one_slab_serves_one_after_the_other(stores: tuple[ObjectStore, ObjectStore]) -> None:
    driver, worker = stores
    slabs = set()
    for turn in range(300):
        data = bytes([turn % 256]) * 100_000
        put = driver.put_brief([data], len(data))
        assert put is not None
        assert worker.read_brief(put[0]) == data
        slabs.add(put[0].slab)
        del put
    assert len(slabs) == 1
    assert driver.ledger.puts == 1


def test_threads_do_not_share_one(stores: tuple[ObjectStore, ObjectStore]) -> None:
    driver, worker = stores
    wrong = []

    def work(number: int) -> None:
        for turn in range(200):
            data = bytes([number, turn]) * 20_000
            put = driver.put_brief([data], len(data))
            if put is None or worker.read_brief(put[0]) != data:
                wrong.append((number, turn))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_slab_stays_where_it_is_when_memory_is_short(stores: tuple[ObjectStore, ObjectStore]) -> None:
    driver, worker = stores
    put = driver.put_brief([b"x" * 50_000], 50_000)
    assert put is not None
    others = [driver.put([[bytes(30 << 20)]]), driver.put([[bytes(32 << 20)]])]
    assert worker.read_brief(put[0]) == b"x" * 50_000
    del others


def test_without_room_there_is_none(stores: tuple[ObjectStore, ObjectStore]) -> None:
    driver, _ = stores
    everything = driver.ledger.blocks[MEMORY].count * driver.ledger.block_bytes[MEMORY]
    held = driver.put([[bytes(everything)]])
    views = driver.map(held.ids)  # so that it cannot be moved
    assert driver.put_brief([b"x" * 50_000], 50_000) is None
    views.clear()


def test_the_payloads_of_the_dead_are_gone(stores: tuple[ObjectStore, ObjectStore]) -> None:
    driver, worker = stores
    put = worker.put_brief([b"x" * 50_000], 50_000)
    assert put is not None
    with driver.lock:
        driver.ledger.mend(WORKER)
    with pytest.raises(StoreError, match="dead"):
        driver.read_brief(put[0])
    assert not driver.ledger.facts()


def test_nothing_is_left_of_a_store_that_is_closed() -> None:
    made = files.create({"DISTPOOL_STORE_MEMORY": "64MB"})
    assert made is not None
    driver = ObjectStore(made, DRIVER)
    assert driver.put_brief([b"x" * 50_000], 50_000) is not None
    driver.close()
    with pytest.raises(StoreError, match="ended"):
        driver.put_brief([b"x" * 50_000], 50_000)
