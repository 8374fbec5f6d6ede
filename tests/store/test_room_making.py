"""Room for what comes from elsewhere: at once where there is some, else beside the caller while others are spilled."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from distpool.errors import StoreFull
from distpool.scheduler.messages import AGENT
from distpool.scheduler.shells.room_making import RoomMaking
from distpool.scheduler.store import files
from distpool.scheduler.store.putting import Incoming, Putting
from distpool.scheduler.store.store import ObjectStore

MB = 1 << 20


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ObjectStore]:
    space = {
        "DISTPOOL_STORE_MEMORY": "8M",
        "DISTPOOL_SPILL_LIMIT": "32M",
        "DISTPOOL_SPILL_DIR": str(tmp_path),
    }
    made = files.create({**os.environ, **space})
    assert made is not None
    store = ObjectStore(made, AGENT)
    yield store
    store.close()


def ask(room: RoomMaking, size: int) -> list[Any]:
    got: list[Any] = []
    room.ask(size, "a copy", 1.0, lambda made, now: got.append((made, now)))
    return got


def test_what_fits_has_room_at_once(store: ObjectStore) -> None:
    ((incoming, now),) = ask(RoomMaking(store), MB)
    assert isinstance(incoming, Incoming)
    assert now == 1.0
    incoming.discard()


def test_nobody_waits_for_the_disk_but_who_has_asked(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is slow: it writes when the test says so."""
    go, spill = threading.Event(), Putting._spill
    threads = []

    def slow(self: Putting, victim: Any) -> None:
        threads.append(threading.current_thread().name)
        assert go.wait(20)
        spill(self, victim)

    monkeypatch.setattr(Putting, "_spill", slow)
    held = [store.put([[bytes(3 * MB)]]) for _ in range(2)]
    room = RoomMaking(store)
    got = ask(room, 6 * MB)
    assert got == [], "it has come back, and there is nothing yet"
    ((small, _),) = ask(room, MB)
    assert isinstance(small, Incoming), "others go on"
    go.set()
    assert select.select([room.fd], [], [], 20)[0]
    room.settle(2.0)
    ((incoming, now),) = got
    assert isinstance(incoming, Incoming)
    assert now == 2.0
    assert set(threads) == {"room"}
    for one in (small, incoming):
        one.discard()
    held.clear()


def test_what_fits_nowhere_is_said(store: ObjectStore) -> None:
    room = RoomMaking(store)
    got = ask(room, 64 * MB)
    if not got:
        assert select.select([room.fd], [], [], 20)[0]
        room.settle(2.0)
    ((error, _),) = got
    assert isinstance(error, StoreFull)
