"""The order of what came by two streams, how much may go, and how the lines of several workers stand on one page."""

from __future__ import annotations

import random

import msgspec
import pytest

from distpool.scheduler.cores.printing import (
    STDERR,
    STDOUT,
    Coverage,
    Cut,
    Meter,
    Order,
    Page,
    Piece,
    interleave,
)
from distpool.scheduler.limits import DEFAULTS

OUT, ERR = STDOUT, STDERR
LIMITS = msgspec.structs.replace(DEFAULTS, prints_burst_bytes=1000, prints_bytes_s=100)


@pytest.mark.parametrize(
    ("start", "cuts", "end", "expected"),
    [
        ((3, 4), [], (3, 4), []),
        ((0, 0), [], (5, 0), [(OUT, 0, 5)]),
        ((0, 0), [], (5, 6), [(OUT, 0, 5), (ERR, 0, 6)]),
        ((0, 0), [(2, 0), (2, 6)], (5, 6), [(OUT, 0, 2), (ERR, 0, 6), (OUT, 2, 5)]),
        ((0, 0), [(1, 0), (2, 0), (3, 0)], (5, 0), [(OUT, 0, 5)]),
        ((2, 6), [(1, 3), (2, 4)], (5, 8), [(OUT, 2, 5), (ERR, 6, 8)]),
        ((0, 0), [(9, 9)], (5, 6), [(OUT, 0, 5), (ERR, 0, 6)]),
    ],
)
def test_pieces_follow_the_cuts(start: Cut, cuts: list[Cut], end: Cut, expected: list[Piece]) -> None:
    assert list(interleave(start, cuts, end)) == expected


def test_whoever_cuts_at_each_change_of_stream_has_the_true_order_whenever_he_looks() -> None:
    rng = random.Random(1)
    for _ in range(200):
        ends, cuts, truth, found, looked = [0, 0], list[Cut](), list[int](), list[int](), (0, 0)
        last = 0
        for _ in range(rng.randint(1, 12)):
            stream = rng.choice((OUT, ERR))
            if stream != last:
                cuts.append((ends[0], ends[1]))
                last = stream
            size = rng.randint(1, 5)
            truth += [stream] * size
            ends[stream - 1] += size
            if rng.random() < 0.3:
                now = ends[0], ends[1]
                found += [one for one, a, z in interleave(looked, cuts, now) for _ in range(z - a)]
                looked = now
        found += [one for one, a, z in interleave(looked, cuts, (ends[0], ends[1])) for _ in range(z - a)]
        assert found == truth


def test_two_files_are_one_whose_offsets_stay() -> None:
    order = Order()
    order.see(3, 2)
    assert list(order.pieces(0)) == [(0, (OUT, 0, 3)), (3, (ERR, 0, 2))]
    order.see(3, 2)
    order.see(4, 2)
    order.see(7, 2)
    order.see(7, 5)
    order.see(0, 0)
    assert order.size == 12
    assert list(order.pieces(4)) == [(4, (ERR, 1, 2)), (5, (OUT, 3, 7)), (9, (ERR, 2, 5))]
    assert list(order.pieces(12)) == []


def test_an_order_is_bounded_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Order, "CUTS_MAX", 64)
    order = Order()
    for number in range(1, 1000):
        order.see(number * 2, number)
    assert len(order._cuts) <= 64
    pieces = [piece for _, piece in order.pieces(0)]
    for stream, end in ((OUT, 1998), (ERR, 999)):
        assert [at for one, first, last in pieces if one == stream for at in range(first, last)] == list(
            range(end)
        )


def test_a_burst_goes_and_then_so_much_a_second() -> None:
    meter = Meter(LIMITS)
    assert meter.allow(0.0) == 1000
    meter.spend(600)
    assert meter.allow(0.0) == 400
    meter.spend(400)
    meter.close()
    assert meter.allow(0.5) == 0, "not before a second's worth may go"
    assert meter.allow(1.0) == 100
    meter.spend(50)
    assert meter.allow(1.0) == 50, "it is open again"
    assert meter.allow(1000.0) == 1000, "no more than a burst is saved up"


def test_who_prints_less_than_that_may_always_print() -> None:
    meter = Meter(LIMITS)
    for second in range(100):
        assert meter.allow(float(second)) >= 100
        meter.spend(100)


def test_lines_behind_a_prefix() -> None:
    page = Page()
    assert page.set("a", b"(a) ", b"one\n\ntwo\n") == b"(a) one\n(a) \n(a) two\n"
    assert page.set("a", b"(a) ", b"") == b""
    assert page.set("b", b"(b) ", b"three\n") == b"(b) three\n"


def test_a_line_in_parts_is_one_line_unless_others_come_between() -> None:
    page = Page()
    assert page.set("a", b"(a) ", b"beg") == b"(a) beg"
    assert page.set("a", b"(a) ", b"un\nan") == b"un\n(a) an"
    assert page.set("b", b"(b) ", b"x\n") == b"\n(b) x\n"
    assert page.set("a", b"(a) ", b"other\n") == b"(a) other\n"


def test_without_prefixes_nothing_is_added() -> None:
    page = Page()
    text = [page.set(who, b"", data) for who, data in [("a", b"x"), ("b", b"y\nz"), ("a", b"\n")]]
    assert b"".join(text) == b"xy\nz\n"
    assert page.set("a", b"", b"x") + page.set("b", b"(b) ", b"y") == b"x\n(b) y"
    assert page.set("a", b"", b"x\n") == b"\nx\n", "it would stand behind another's prefix"


def test_what_was_seen_is_new_once() -> None:
    rng = random.Random(2)
    for _ in range(300):
        seen, truth = Coverage(), set[int]()
        for _ in range(10):
            start = rng.randint(0, 30)
            end = start + rng.randint(0, 8)
            new = [at for first, last in seen.add(start, end) for at in range(first, last)]
            assert new == [at for at in range(start, end) if at not in truth]
            truth |= set(range(start, end))
            assert seen.end == max(truth, default=-1) + 1
