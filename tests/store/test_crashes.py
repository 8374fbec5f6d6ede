"""Each operation, cut off after each single write: the next ``begin`` repairs, and what was there is there still.

A scene prepares a ledger and names one operation of process ``P``. It is run once for each write it makes, with a fuse
that kills at that write; then the entries and chains must be right as they are, and everything after ``begin``. Then
P is mended, and the bystanders, and all that they hold, are what they were.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from distpool.scheduler.store.ledger import DEVICE, DISK, DRIVER, MEMORY, Facts, Ledger, Shape
from distpool.scheduler.store.ledger_check import check_entries, check_ledger

from .crashing import Fuse, Killed, fused

SHAPE = Shape(blocks=(12, 8), block_bytes=(10, 20), objects_max=10, holds_max=20)
P, OTHER, OWNER = 1, 2, 3
WRITES_MAX = 200

Scene = Callable[[Ledger], Callable[[], object]]


def put(ledger: Ledger, process: int, *, holder: int = 0, size: int = 15) -> int:
    new = ledger.allocate(process, size, MEMORY, holder=holder)
    assert new is not None
    ledger.seal(new.id)
    return new.id


def allocate(ledger: Ledger) -> Callable[[], object]:
    return lambda: ledger.allocate(P, 35, MEMORY, label=b"here")


def allocate_in_a_gap(ledger: Ledger) -> Callable[[], object]:
    gone = put(ledger, P)
    put(ledger, P)
    ledger.drop(gone, P)
    return lambda: ledger.allocate(P, 10, MEMORY, holder=OWNER)


def allocate_without_room(ledger: Ledger) -> Callable[[], object]:
    return lambda: ledger.allocate(P, 1000, MEMORY)


def seal(ledger: Ledger) -> Callable[[], object]:
    new = ledger.allocate(P, 10, MEMORY)
    assert new is not None
    return lambda: ledger.seal(new.id)


def seal_for_the_dead(ledger: Ledger) -> Callable[[], object]:
    new = ledger.allocate(P, 10, MEMORY, holder=9)
    assert new is not None
    ledger.mend(9)
    return lambda: ledger.seal(new.id)


def discard(ledger: Ledger) -> Callable[[], object]:
    new = ledger.allocate(P, 10, MEMORY, holder=OWNER)
    assert new is not None
    return lambda: ledger.discard(new.id)


def discard_under_a_mover(ledger: Ledger) -> Callable[[], object]:
    number = put(ledger, P, holder=OWNER)
    ledger.start_spilling(number, OTHER)
    return lambda: ledger.discard(number)


def pin(ledger: Ledger) -> Callable[[], object]:
    number = put(ledger, OTHER)
    return lambda: ledger.pin(number, P)


def unpin(ledger: Ledger) -> Callable[[], object]:
    number = put(ledger, OTHER)
    ledger.pin(number, P)
    ledger.hold(number, OWNER)
    return lambda: ledger.unpin(number, P)


def hold(ledger: Ledger) -> Callable[[], object]:
    number = put(ledger, P)
    return lambda: ledger.hold(number, P)


def drop_the_last(ledger: Ledger) -> Callable[[], object]:
    number = put(ledger, P)
    return lambda: ledger.drop(number, P)


def drop_from_the_middle(ledger: Ledger) -> Callable[[], object]:
    number = put(ledger, OTHER)
    ledger.hold(number, P)
    ledger.hold(number, OWNER)
    return lambda: ledger.drop(number, P)


def claim(ledger: Ledger) -> Callable[[], object]:
    number = put(ledger, OTHER, holder=P)
    return lambda: ledger.claim(number, P)


def claim_what_one_has(ledger: Ledger) -> Callable[[], object]:
    number = put(ledger, OTHER, holder=P)
    ledger.hold(number, P)
    return lambda: ledger.claim(number, P, via=OTHER)


def claim_one_of_two(ledger: Ledger) -> Callable[[], object]:
    number = put(ledger, OTHER)
    ledger.hand(number, OTHER, P)
    ledger.hand(number, OTHER, P)
    return lambda: ledger.claim(number, P)


def hand(ledger: Ledger) -> Callable[[], object]:
    number = put(ledger, P)
    return lambda: ledger.hand(number, P, OWNER)


def hand_again(ledger: Ledger) -> Callable[[], object]:
    number = put(ledger, P)
    ledger.hand(number, P, OWNER)
    return lambda: ledger.hand(number, P, OWNER)


def take_back(ledger: Ledger) -> Callable[[], object]:
    number = put(ledger, P, holder=OWNER)
    return lambda: ledger.take_back(number, P, OWNER)


def take_back_what_was_handed(ledger: Ledger) -> Callable[[], object]:
    number = put(ledger, P)
    ledger.hand(number, P, OWNER)
    return lambda: ledger.take_back(number, P, OWNER)


def forget_transit(ledger: Ledger) -> Callable[[], object]:
    for _ in range(2):
        put(ledger, 8, holder=P, size=5)
    return lambda: ledger.forget_transit(P, 8)


def mend(ledger: Ledger) -> Callable[[], object]:
    ledger.allocate(8, 10, MEMORY, holder=OTHER)
    moved = put(ledger, 8, size=5)
    ledger.start_spilling(moved, 8)
    kept = put(ledger, OTHER, size=5)
    ledger.pin(kept, 8)
    return lambda: ledger.mend(8, {OTHER, OWNER, P})


def start_spilling(ledger: Ledger) -> Callable[[], object]:
    number = put(ledger, OTHER)
    return lambda: ledger.start_spilling(number, P)


def finish_spilling(ledger: Ledger) -> Callable[[], object]:
    number = put(ledger, OTHER)
    ledger.start_spilling(number, P)
    return lambda: ledger.finish_spilling(number, P)


def finish_spilling_what_was_dropped(ledger: Ledger) -> Callable[[], object]:
    number = put(ledger, OTHER)
    ledger.start_spilling(number, P)
    ledger.drop(number, OTHER)
    return lambda: ledger.finish_spilling(number, P)


def finish_spilling_under_a_reader(ledger: Ledger) -> Callable[[], object]:
    number = put(ledger, OTHER)
    ledger.start_spilling(number, P)
    ledger.pin(number, OTHER)
    return lambda: ledger.finish_spilling(number, P)


def abandon_spilling(ledger: Ledger) -> Callable[[], object]:
    number = put(ledger, OTHER)
    ledger.start_spilling(number, P)
    return lambda: ledger.abandon_spilling(number, P)


def export(ledger: Ledger, process: int, *, holder: int = 0) -> int:
    new = ledger.allocate(process, 35, DEVICE, holder=holder)
    assert new is not None
    ledger.seal_on_device(new.id)
    return new.id


def seal_on_device(ledger: Ledger) -> Callable[[], object]:
    new = ledger.allocate(P, 35, DEVICE, holder=OWNER)
    assert new is not None
    return lambda: ledger.seal_on_device(new.id)


def want(ledger: Ledger) -> Callable[[], object]:
    number = export(ledger, 8)
    return lambda: ledger.want(number, refused=True)


def start_bringing(ledger: Ledger) -> Callable[[], object]:
    number = export(ledger, P, holder=OWNER)
    ledger.want(number)
    return lambda: ledger.start_spilling(number, P, MEMORY)


def finish_bringing(ledger: Ledger) -> Callable[[], object]:
    number = export(ledger, P)
    ledger.start_spilling(number, P, MEMORY)
    return lambda: ledger.finish_spilling(number, P)


def finish_bringing_under_a_reader(ledger: Ledger) -> Callable[[], object]:
    number = export(ledger, P)
    ledger.start_spilling(number, P, DISK)
    ledger.pin(number, P)
    return lambda: ledger.finish_spilling(number, P)


def give_up(ledger: Ledger) -> Callable[[], object]:
    number = export(ledger, P, holder=8)
    ledger.hold(number, P)
    return lambda: ledger.give_up(number)


def mend_an_exporter(ledger: Ledger) -> Callable[[], object]:
    export(ledger, 8)
    ledger.start_spilling(export(ledger, 8), 8, MEMORY)
    ledger.pin(export(ledger, 8), P)
    return lambda: ledger.mend(8, {OTHER, OWNER, P})


def start_giving(ledger: Ledger) -> Callable[[], object]:
    ledger.drop(put(ledger, P), P)
    first, count = ledger.blocks[MEMORY].warm_runs()[0]
    return lambda: ledger.blocks[MEMORY].start_giving(first, count)


def end_giving(ledger: Ledger) -> Callable[[], object]:
    start_giving(ledger)()
    first = bytes(ledger.blocks[MEMORY]._states).index(3)
    return lambda: ledger.blocks[MEMORY].end_giving(first, 2)


SCENES: list[Scene] = [
    allocate, allocate_in_a_gap, allocate_without_room, seal, seal_for_the_dead, discard, discard_under_a_mover,
    pin, unpin, hold, drop_the_last, drop_from_the_middle, claim, claim_what_one_has, claim_one_of_two, hand,
    hand_again, take_back, take_back_what_was_handed,
    forget_transit, mend, start_spilling, finish_spilling, finish_spilling_what_was_dropped,
    finish_spilling_under_a_reader, abandon_spilling, seal_on_device, want, start_bringing, finish_bringing,
    finish_bringing_under_a_reader, give_up, mend_an_exporter, start_giving, end_giving,
]  # fmt: skip


def stage(scene: Scene) -> tuple[Ledger, list[int], Callable[[], object]]:
    """A ledger in which bystanders have something, and the scene's own preparations are made."""
    ledger = Ledger.create(memoryview(bytearray(SHAPE.bytes)), SHAPE)
    bystanders = [put(ledger, OTHER, size=5), put(ledger, DRIVER, size=25)]
    ledger.pin(bystanders[0], OWNER)
    operation = scene(ledger)
    check_ledger(ledger)
    return ledger, bystanders, operation


def of(ledger: Ledger, numbers: list[int]) -> list[Facts]:
    return [facts for facts in ledger.facts() if facts.id in numbers]


def others(ledger: Ledger) -> list[tuple[int, list[tuple[int, ...]]]]:
    """What everybody but P, and who was dead before, holds: that is not for P to change."""
    found = []
    for facts in ledger.facts():
        mine = [tuple(hold) for hold in facts.holds if not {hold.holder, hold.via} & {P, 8}]
        if mine:
            found.append((facts.id, sorted(mine)))
    return sorted(found)


def run_with_fuse(ledger: Ledger, operation: Callable[[], object], writes: int) -> bool:
    """Whether the operation's process lived to the end of it."""
    with fused(ledger, Fuse(writes)):
        try:
            ledger.begin()
            operation()
            ledger.end()
        except Killed:
            return False
    return True


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_death_after_each_write(scene: Scene) -> None:
    for writes in range(WRITES_MAX):
        ledger, bystanders, operation = stage(scene)
        before, theirs = of(ledger, bystanders), others(ledger)
        survived = run_with_fuse(ledger, operation, writes)
        check_entries(ledger)
        assert ledger.begin() == (survived or writes == 0), "a death before the first write is none here"
        ledger.end()
        check_ledger(ledger)
        assert of(ledger, bystanders) == before
        _end(ledger, theirs, whole=scene is discard_under_a_mover)
        if survived:
            return
    raise AssertionError("no operation has so many writes")


def _end(ledger: Ledger, theirs: list[tuple[int, list[tuple[int, ...]]]], *, whole: bool) -> None:
    """P is dead and mended: what the others held they hold, and when they let go nothing is left."""
    ledger.mend(P, {OTHER, OWNER})
    check_ledger(ledger)
    if not whole:
        assert others(ledger) == theirs
    for process in (8, OTHER, OWNER, DRIVER):
        for via in (P, 8, OTHER):
            ledger.forget_transit(process, via)
        ledger.mend(process)
    check_ledger(ledger)
    assert ledger.facts() == []
    assert [ledger.blocks[tier].taken for tier in (MEMORY, DISK)] == [0, 0]


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_death_in_the_repair_of_a_death(scene: Scene) -> None:
    """Whoever comes next dies too, at each write of its repair; the third finds everything in order."""
    for writes in range(1, WRITES_MAX, 2):
        for later in range(WRITES_MAX):
            ledger, bystanders, operation = stage(scene)
            before = of(ledger, bystanders)
            if run_with_fuse(ledger, operation, writes):
                return
            done = run_with_fuse(ledger, lambda: None, later)
            check_entries(ledger)
            ledger.begin()
            ledger.end()
            check_ledger(ledger)
            assert of(ledger, bystanders) == before
            if done:
                break
