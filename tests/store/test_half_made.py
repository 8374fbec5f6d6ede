"""A result that could not be made whole: its owner will never hear of it, so nothing of it is left on its way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pickle import PickleBuffer
from typing import Any

import pytest

from distpool.errors import StoreFull
from distpool.scheduler.serialize import stored
from distpool.scheduler.store import files
from distpool.scheduler.store.ledger import DRIVER, Hold
from distpool.scheduler.store.store import ObjectStore

WORKER = 1
MB = 1 << 20


@pytest.fixture
def worker() -> Iterator[ObjectStore]:
    """A worker's store, which its pickling uses."""
    made = files.create({"DISTPOOL_STORE_MEMORY": "8MB", "DISTPOOL_SPILL_LIMIT": "4MB"})
    assert made is not None
    store = ObjectStore(made, WORKER)
    before = stored.current()
    stored.use(store)
    yield store
    stored.use(before)
    store.close()


class Reference:
    """Of a value that lies in the store: what pickling must know of it."""

    def __init__(self, held: Any) -> None:
        self.held = held
        self.blob = stored.pack_struct("<BBII2Q", stored.MARK, 0, 1, 0, *held.ids, MB) + b"inner"

    @staticmethod
    def describe(refs: Sequence[Any], pending: list[Any]) -> bytes:
        return b"names"


def reference_to(held: Any) -> Reference:
    return Reference(held)


@pytest.mark.parametrize("raised", [StoreFull, KeyboardInterrupt, None])
def test_what_was_handed_on_is_taken_back(
    worker: ObjectStore, raised: type[BaseException] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = worker.put([[b"x" * MB]])
    large = PickleBuffer(bytearray(2 * MB if raised is None else 64 * MB))
    if raised is KeyboardInterrupt:

        def interrupted(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(worker, "put", interrupted)
    carried = [reference_to(mine)]
    if raised is None:
        stored.pack([b"inner"], [large], [], holder=DRIVER, carried=carried)
        assert [len(facts.holds) for facts in worker.ledger.facts()] == [2, 1]
        return
    with pytest.raises(stored.Refused if raised is StoreFull else raised):
        stored.pack([b"inner"], [large], [], holder=DRIVER, carried=carried)
    [facts] = worker.ledger.facts()
    assert facts.holds == (Hold(WORKER, 0, 1, 0),)


def test_what_was_put_is_taken_back_if_the_blob_cannot_be_made(
    worker: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_memory(*_: object) -> bytes:
        raise MemoryError

    monkeypatch.setattr(stored, "join", without_memory)
    with pytest.raises(stored.Refused):
        stored.pack([b"inner"], [PickleBuffer(bytearray(MB))], [], holder=DRIVER)
    assert worker.ledger.facts() == []


def test_of_several_all_are_handed_on_or_none(worker: ObjectStore) -> None:
    mine = worker.put([[b"x" * MB]])
    with pytest.raises(Exception, match="nobody has held it"):
        worker.hand([*mine.ids, 12345], DRIVER)
    [facts] = worker.ledger.facts()
    assert facts.holds == (Hold(WORKER, 0, 1, 0),)
