"""The ring of records: a writer or a reader may stop at any write, and what others see is right."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from distpool.scheduler.shared.items import Incoming, Pieces
from distpool.scheduler.shared.ring import CONTINUES, MORE, STATE_WORDS, USER, Ring

UNITS = 32


class Stopped(Exception):
    """Stands in for a SIGKILL."""


class Budget:
    """How many writes are left before the process dies."""

    def __init__(self) -> None:
        self.left = 1 << 30
        self.spent = 0

    def spend(self) -> None:
        if self.left == 0:
            raise Stopped
        self.left -= 1
        self.spent += 1


class Counted:
    """A memoryview of which each single write is counted, and none is done any more once the budget is spent."""

    def __init__(self, view: Any, budget: Budget) -> None:
        self._view = view
        self._budget = budget

    def __len__(self) -> int:
        return len(self._view)

    def __getitem__(self, key: Any) -> Any:
        return self._view[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        self._budget.spend()
        self._view[key] = value


class Pair:
    """A ring in memory of its own, and the handles of a process that may die and of one that lives."""

    def __init__(self, units: int = UNITS, position: int = 0) -> None:
        memory = memoryview(bytearray((STATE_WORDS + units) * 8))
        words = memory.cast("Q")
        words[0] = words[8] = position
        self.budget = Budget()
        self.mortal = Ring(Counted(words, self.budget), Counted(memory, self.budget))
        self.living = Ring(words, memory)
        self.view = memory

    def drain(self) -> list[bytes]:
        return list(iter(self.take, None))

    def take(self) -> bytes | None:
        """As a queue reads: whole items only, and parts without a beginning are passed over."""
        return take(self.living, self.view)


def take(ring: Ring, view: Any) -> bytes | None:
    parts: list[bytes] | None = None
    while (data := ring.read()) is None:
        record = ring.look()
        if record is None:
            return None
        at, size, flags = record
        if not flags & CONTINUES:
            parts = []
        if parts is not None:
            parts.append(bytes(view[at : at + size]))
        ring.drop(at, size, flags)
        if not flags & MORE and parts is not None:
            return b"".join(parts)
    return data


def write_parts(ring: Ring, view: Any, data: bytes, part_bytes: int = 24) -> bool:
    for start in range(0, len(data), part_bytes):
        part = data[start : start + part_bytes]
        at = ring.reserve(len(part))
        if at < 0:
            return False
        view[at : at + len(part)] = part
        flags = USER | (CONTINUES if start else 0) | (MORE if start + part_bytes < len(data) else 0)
        ring.commit(at, len(part), flags)
    return True


def count_writes(prepare: Callable[[], Pair], act: Callable[[Pair], object]) -> int:
    pair = prepare()
    act(pair)
    return pair.budget.spent


def deaths(prepare: Callable[[], Pair], act: Callable[[Pair], object]) -> Iterator[tuple[int, Pair]]:
    """The same once for each single write at which the mortal can die."""
    writes = count_writes(prepare, act)
    assert writes > 0
    for allowed in range(writes):
        pair = prepare()
        pair.budget.left = allowed
        with pytest.raises(Stopped):
            act(pair)
        yield allowed, pair


def filled(*items: bytes) -> Callable[[], Pair]:
    def prepare() -> Pair:
        pair = Pair()
        for item in items:
            assert pair.living.write(item)
        return pair

    return prepare


def near_the_end() -> Pair:
    """The next record must begin at the start again."""
    pair = Pair()
    for size in (96, 64):
        assert pair.living.write(bytes(size))
        assert pair.take() == bytes(size)
    assert pair.living.write(b"kept")
    return pair


def test_what_is_written_is_read_in_order_and_counted() -> None:
    pair = Pair()
    assert pair.take() is None
    assert [pair.living.write(data) for data in (b"", b"one", b"12345678", b"123456789")] == [True] * 4
    assert (pair.living.items(), pair.living.written(), pair.living.is_empty()) == (4, 4, False)
    assert pair.drain() == [b"", b"one", b"12345678", b"123456789"]
    assert (pair.living.items(), pair.living.written(), pair.living.is_empty()) == (0, 4, True)


def test_there_is_room_for_all_bytes_and_not_for_one_more() -> None:
    pair = Pair()
    assert pair.living.write(bytes(UNITS * 8 - 8))
    assert not pair.living.write(b"")
    assert pair.drain() == [bytes(UNITS * 8 - 8)]


def test_an_item_of_half_the_ring_has_room_wherever_an_empty_ring_stands() -> None:
    for before in range(UNITS):
        pair = Pair()
        if before:
            assert pair.living.write(bytes(before * 8 - 8))
            pair.drain()
        item = bytes(pair.living.item_bytes_max)
        assert pair.living.write(item), before
        assert pair.drain() == [item]


def test_a_ring_that_is_not_a_power_of_two_is_refused() -> None:
    memory = memoryview(bytearray((STATE_WORDS + 31) * 8))
    with pytest.raises(ValueError, match="power of two"):
        Ring(memory.cast("Q"), memory)


@pytest.mark.parametrize("prepare", [Pair, filled(b"kept"), near_the_end])
def test_a_writer_dies_at_any_write(prepare: Callable[[], Pair]) -> None:
    kept = prepare().drain()
    for allowed, pair in deaths(prepare, lambda pair: pair.mortal.write(b"x" * 60)):
        assert pair.living.items() == len(kept), allowed
        assert pair.living.write(b"next"), allowed
        assert pair.drain() == [*kept, b"next"], allowed


@pytest.mark.parametrize("prepare", [filled(b"first", b"second"), filled(b"only"), near_the_end])
def test_a_reader_dies_at_any_write(prepare: Callable[[], Pair]) -> None:
    items = prepare().drain()
    for allowed, pair in deaths(prepare, lambda pair: take(pair.mortal, pair.view)):
        assert pair.drain() == items, allowed  # it had taken nothing


def test_a_reader_dies_after_a_skip() -> None:
    def prepare() -> Pair:
        pair = near_the_end()
        assert pair.living.write(b"x" * 60)
        assert pair.take() == b"kept"
        return pair

    for _, pair in deaths(prepare, lambda pair: take(pair.mortal, pair.view)):
        assert pair.drain() == [b"x" * 60]


def test_a_writer_of_parts_dies_at_any_write_and_what_it_wrote_is_passed_over() -> None:
    def act(pair: Pair) -> None:
        assert write_parts(pair.mortal, Counted(pair.view, pair.budget), b"p" * 100)

    for allowed, pair in deaths(filled(b"before"), act):
        assert write_parts(pair.living, pair.view, b"q" * 30), allowed
        assert pair.living.items() == 2, allowed
        assert pair.drain() == [b"before", b"q" * 30], allowed
        assert pair.living.items() == 0, allowed


def test_a_reader_of_parts_dies_at_any_write_and_the_rest_is_passed_over() -> None:
    def prepare() -> Pair:
        pair = Pair()
        assert write_parts(pair.living, pair.view, b"p" * 100)
        assert pair.living.write(b"after")
        return pair

    outcomes = []
    for allowed, pair in deaths(prepare, lambda pair: take(pair.mortal, pair.view)):
        outcomes.append(pair.drain())
        assert outcomes[-1] in ([b"p" * 100, b"after"], [b"after"]), allowed
        assert pair.living.items() == 0, allowed
    assert outcomes[0] == [b"p" * 100, b"after"]
    assert outcomes[-1] == [b"after"]


@pytest.mark.parametrize("seed", range(20))
def test_any_sequence_of_items_and_deaths(seed: int) -> None:
    chance = random.Random(seed)
    pair = Pair(64, position=(1 << 24) - 64 * seed)  # soon they begin at 0 again
    expected: list[bytes] = []
    for number in range(400):
        data = bytes([number % 256]) * chance.choice((0, 1, 7, 8, 9, 40, 100))
        pair.budget.left = chance.choice((0, 1, 2, 3, 1 << 30))
        if chance.random() < 0.55:
            try:
                if pair.mortal.write(data):
                    expected.append(data)
            except Stopped:
                pass
        else:
            try:
                taken = take(pair.mortal, pair.view)
                assert taken == (expected.pop(0) if expected else None)
            except Stopped:
                pass
        assert pair.living.items() == len(expected)
    assert pair.drain() == expected


@pytest.mark.parametrize("part_bytes", [1, 3, 16, 17, 1000])
def test_pieces_arrive_whole_however_they_are_cut(part_bytes: int) -> None:
    table = b"".join(n.to_bytes(8, "little") for n in (9, 3, 9, 40, 5))
    pieces = Pieces([table, b"somewhat\n", bytearray(range(40)), memoryview(b"hello")])
    incoming = Incoming()
    left = pieces.size
    while left:
        part = memoryview(bytearray(min(left, part_bytes)))
        pieces.fill(part)
        incoming.take(part)
        left -= len(part)
    assert incoming.parts() == [b"somewhat\n", bytes(range(40)), b"hello"]


def test_pieces_in_one_record_arrive_whole() -> None:
    big = bytes(range(256)) * 2000
    table = b"".join(n.to_bytes(8, "little") for n in (3, 3, 3, len(big), 0))
    pieces = Pieces([table, b"abc", big])
    record = memoryview(bytearray(pieces.size))
    pieces.fill(record)
    assert Incoming.whole(record).parts() == [b"abc", big, b""]
