"""The ledger, rule by rule. Memory has 8 blocks of 10 bytes, the disk 6 of 20."""

from __future__ import annotations

import pytest

from distpool.scheduler.store.ledger import (
    DEVICE,
    DISK,
    DRIVER,
    LABEL_BYTES_MAX,
    MEMORY,
    Extent,
    Hold,
    Ledger,
    LedgerFull,
    ObjectGone,
    Shape,
    State,
)
from distpool.scheduler.store.ledger_check import check_ledger
from distpool.scheduler.store.ledger_table import NO_ROOM, REFUSED, WANTED

SHAPE = Shape(blocks=(8, 6), block_bytes=(10, 20), objects_max=6, holds_max=10)


def new_ledger(shape: Shape = SHAPE) -> Ledger:
    return Ledger.create(memoryview(bytearray(shape.bytes)), shape)


def put(ledger: Ledger, process: int = 1, size: int = 10, *, holder: int = 0, tier: int = MEMORY) -> int:
    """A sealed object."""
    new = ledger.allocate(process, size, tier, holder=holder)
    assert new is not None
    ledger.seal(new.id)
    return new.id


def holds(ledger: Ledger, number: int) -> list[Hold]:
    return sorted(next(facts.holds for facts in ledger.facts() if facts.id == number))


# ------------------------------------------------------------------------------ making and dropping


def test_an_object_is_written_sealed_and_dropped() -> None:
    ledger = new_ledger()
    new = ledger.allocate(1, 25, MEMORY, label=b"script.py:12")
    assert new is not None
    assert (new.extent, new.has_holes) == (Extent(MEMORY, 0, 25), True)
    (facts,) = ledger.facts()
    assert facts == (new.id, State.WRITING, new.extent, "script.py:12", (Hold(1, 0, 1, 0),))
    ledger.seal(new.id)
    assert ledger.facts()[0].state is State.SEALED
    assert (ledger.objects, ledger.puts, ledger.put_bytes, ledger.blocks[MEMORY].taken) == (1, 1, 25, 3)
    ledger.drop(new.id, 1)
    assert (ledger.objects, ledger.puts, ledger.blocks[MEMORY].taken) == (0, 1, 0)
    check_ledger(ledger)


def test_an_object_without_bytes_has_a_block() -> None:
    ledger = new_ledger()
    number = put(ledger, size=0)
    assert ledger.locate(number) == Extent(MEMORY, 0, 0)
    assert ledger.blocks[MEMORY].taken == 1


def test_what_is_gone_is_gone_though_another_has_its_place() -> None:
    ledger = new_ledger()
    first = put(ledger)
    ledger.drop(first, 1)
    second = put(ledger)
    assert second != first
    assert ledger.exists(second)
    assert not ledger.exists(first)
    for of_an_object in (ledger.seal, ledger.discard, ledger.locate):
        with pytest.raises(ObjectGone):
            of_an_object(first)
    for of_a_process in (ledger.pin, ledger.unpin, ledger.hold, ledger.drop, ledger.claim):
        with pytest.raises(ObjectGone):
            of_a_process(first, 1)
    for number in (0, 1, -5):
        with pytest.raises(ObjectGone):
            ledger.locate(number)


def test_a_label_that_is_too_long_is_cut() -> None:
    ledger = new_ledger()
    ledger.allocate(1, 10, MEMORY, label=b"x" * 100)
    assert ledger.facts()[0].label == "x" * LABEL_BYTES_MAX


def test_no_room_in_a_tier() -> None:
    ledger = new_ledger()
    put(ledger, size=60)
    assert ledger.allocate(1, 30, MEMORY) is None
    assert ledger.allocate(1, 30, DISK) is not None
    check_ledger(ledger)


def test_no_room_in_the_ledger_changes_nothing() -> None:
    ledger = new_ledger()
    numbers = [put(ledger) for _ in range(6)]
    with pytest.raises(LedgerFull):
        ledger.allocate(1, 10, MEMORY)
    ledger.drop(numbers.pop(), 1)
    for process in range(2, 7):
        ledger.hold(numbers[0], process)
    for operation in (ledger.hold, ledger.pin, ledger.start_spilling):
        with pytest.raises(LedgerFull):
            operation(numbers[0], 9)
    with pytest.raises(LedgerFull):
        ledger.allocate(1, 10, MEMORY)
    check_ledger(ledger)
    assert ledger.blocks[DISK].taken == 0
    assert {facts.state for facts in ledger.facts()} == {State.SEALED}


def test_discard_takes_all_holds_along() -> None:
    ledger = new_ledger()
    new = ledger.allocate(1, 25, MEMORY, holder=2)
    assert new is not None
    ledger.discard(new.id)
    assert ledger.facts() == []
    check_ledger(ledger)


def test_nobody_believes_that_what_was_never_written_has_pages() -> None:
    ledger = new_ledger()
    for end in (ledger.discard, lambda _number: ledger.mend(1)):
        new = ledger.allocate(1, 25, MEMORY)
        assert new is not None
        assert new.has_holes
        end(new.id)
    ledger.drop(put(ledger, size=25), 1)
    new = ledger.allocate(1, 25, MEMORY)
    assert new is not None
    assert not new.has_holes


# ---------------------------------------------------------------------------------------- holds


def test_it_lives_as_long_as_anybody_holds_it() -> None:
    ledger = new_ledger()
    number = put(ledger)
    ledger.hold(number, 1)
    ledger.hold(number, 2)
    ledger.pin(number, 3)
    ledger.drop(number, 1)
    ledger.drop(number, 1)
    ledger.drop(number, 2)
    assert holds(ledger, number) == [Hold(3, 0, 0, 1)]
    ledger.unpin(number, 3)
    assert not ledger.exists(number)


def test_a_view_outlives_its_reference_and_the_other_way_round() -> None:
    ledger = new_ledger()
    number = put(ledger)
    ledger.pin(number, 1)
    ledger.drop(number, 1)
    assert holds(ledger, number) == [Hold(1, 0, 0, 1)]
    ledger.hold(number, 1)
    ledger.unpin(number, 1)
    assert holds(ledger, number) == [Hold(1, 0, 1, 0)]


def test_nobody_lets_go_of_what_he_does_not_have() -> None:
    ledger = new_ledger()
    number = put(ledger)
    for operation in (ledger.drop, ledger.unpin):
        with pytest.raises(ObjectGone):
            operation(number, 2)
    with pytest.raises(ObjectGone):
        ledger.unpin(number, 1)
    ledger.pin(number, 2)
    with pytest.raises(ObjectGone):
        ledger.drop(number, 2)
    assert holds(ledger, number) == [Hold(1, 0, 1, 0), Hold(2, 0, 0, 1)]


# --------------------------------------------------------------------------------------- transit


def test_what_is_taken_back_was_never_sent() -> None:
    ledger = new_ledger()
    result, mine = put(ledger, holder=DRIVER), put(ledger)
    ledger.hand(mine, 1, DRIVER)
    ledger.hand(mine, 1, DRIVER)
    ledger.take_back(mine, 1, DRIVER)
    assert sorted(holds(ledger, mine)) == sorted([Hold(1, 0, 1, 0), Hold(DRIVER, 1, 1, 0)])
    ledger.take_back(mine, 1, DRIVER)
    assert holds(ledger, mine) == [Hold(1, 0, 1, 0)]
    with pytest.raises(ObjectGone):
        ledger.take_back(mine, 1, DRIVER)
    ledger.take_back(result, 1, DRIVER)
    assert not ledger.exists(result)


def test_a_result_is_in_transit_until_it_is_claimed() -> None:
    ledger = new_ledger()
    number = put(ledger, holder=DRIVER)
    assert holds(ledger, number) == [Hold(DRIVER, 1, 1, 0)]
    with pytest.raises(ObjectGone):
        ledger.claim(number, 2)
    ledger.claim(number, DRIVER)
    assert holds(ledger, number) == [Hold(DRIVER, 0, 1, 0)]
    with pytest.raises(ObjectGone):
        ledger.claim(number, DRIVER)
    ledger.mend(1)
    ledger.forget_transit(DRIVER, 1)
    assert ledger.exists(number)


def test_what_one_puts_for_oneself_is_not_in_transit() -> None:
    ledger = new_ledger()
    assert holds(ledger, put(ledger, 3, holder=3)) == [Hold(3, 0, 1, 0)]


def test_a_claim_joins_what_one_has_already() -> None:
    ledger = new_ledger()
    number = put(ledger, holder=2)
    ledger.hold(number, 2)
    ledger.claim(number, 2)
    assert holds(ledger, number) == [Hold(2, 0, 2, 0)]


def test_a_claim_works_in_a_full_ledger() -> None:
    ledger = new_ledger(SHAPE._replace(holds_max=1))
    number = put(ledger, holder=2)
    ledger.claim(number, 2)
    assert holds(ledger, number) == [Hold(2, 0, 1, 0)]


def test_the_same_object_may_be_on_its_way_from_several() -> None:
    ledger = new_ledger()
    number = put(ledger)
    ledger.hold(number, 2)
    ledger.hand(number, 1, DRIVER)
    ledger.hand(number, 2, DRIVER)
    ledger.hand(number, 2, DRIVER)
    assert holds(ledger, number)[2:] == [Hold(DRIVER, 1, 1, 0), Hold(DRIVER, 2, 2, 0)]
    ledger.claim(number, DRIVER, via=1)
    ledger.claim(number, DRIVER, via=2)
    assert holds(ledger, number)[2:] == [Hold(DRIVER, 0, 2, 0), Hold(DRIVER, 2, 1, 0)]
    ledger.forget_transit(DRIVER, 2)
    with pytest.raises(ObjectGone):
        ledger.claim(number, DRIVER, via=2)
    assert holds(ledger, number)[2:] == [Hold(DRIVER, 0, 2, 0)]


def test_forget_transit_is_of_one_owner_and_one_worker() -> None:
    ledger = new_ledger()
    mine, others, from_another = put(ledger, 1, holder=7), put(ledger, 1, holder=8), put(ledger, 2, holder=7)
    ledger.forget_transit(7, 1)
    assert [ledger.exists(number) for number in (mine, others, from_another)] == [False, True, True]


def test_mend_leaves_to_its_owner_what_a_dead_worker_had_sent() -> None:
    ledger = new_ledger()
    number = put(ledger, 1, holder=7)
    ledger.mend(1, living={7})
    ledger.claim(number, 7)


def test_mend_ends_what_was_on_its_way_to_the_dead() -> None:
    ledger = new_ledger()
    sent_before, sent_after = put(ledger, 1, holder=7), 0
    ledger.mend(7, living={1})
    assert not ledger.exists(sent_before)
    sent_after = put(ledger, 1, holder=7)  # it had not heard of it
    to_the_driver = put(ledger, 1, holder=DRIVER)
    ledger.mend(1, living=set())
    assert not ledger.exists(sent_after)
    assert ledger.exists(to_the_driver), "the driver is no worker, and lives"


def test_whoever_it_was_for_died_while_it_was_written() -> None:
    ledger = new_ledger()
    new = ledger.allocate(1, 10, MEMORY, holder=7)
    assert new is not None
    ledger.mend(7)
    check_ledger(ledger)
    assert ledger.exists(new.id), "never under its writer"
    ledger.seal(new.id)
    assert not ledger.exists(new.id)


# ---------------------------------------------------------------------------------------- deaths


def test_mend_ends_all_holds_of_a_process_and_what_it_was_writing() -> None:
    ledger = new_ledger()
    shared, mine = put(ledger, 1), put(ledger, 2)
    ledger.pin(shared, 2)
    ledger.allocate(2, 10, MEMORY)
    of_another = ledger.allocate(3, 10, MEMORY)
    assert of_another is not None
    ledger.mend(2)
    check_ledger(ledger)
    assert holds(ledger, shared) == [Hold(1, 0, 1, 0)]
    assert not ledger.exists(mine)
    assert {facts.id for facts in ledger.facts()} == {shared, of_another.id}


def test_mend_all_but_one() -> None:
    ledger = new_ledger()
    mine, shared, theirs = put(ledger, 1), put(ledger, 2), put(ledger, 2)
    for_me = put(ledger, 2, holder=1)
    ledger.hold(shared, 1)
    ledger.allocate(3, 10, MEMORY)
    ledger.start_spilling(shared, 2)
    ledger.mend_all_but(1)
    check_ledger(ledger)
    assert {facts.id for facts in ledger.facts()} == {mine, shared}
    assert not ledger.exists(theirs)
    assert not ledger.exists(for_me)
    assert {facts.state for facts in ledger.facts()} == {State.SEALED}


# --------------------------------------------------------------------------------------- spilling


def test_the_coldest_is_sealed_unpinned_in_memory_and_longest_unused() -> None:
    ledger = new_ledger()
    assert ledger.coldest() == 0
    first, second, third = (put(ledger) for _ in range(3))
    ledger.allocate(1, 10, MEMORY)
    put(ledger, tier=DISK)
    ledger.pin(first, 1)
    ledger.unpin(first, 1)
    ledger.pin(second, 1)
    assert ledger.coldest() == third
    ledger.start_spilling(third, 1)
    assert ledger.coldest() == first
    ledger.pin(first, 1)
    assert ledger.coldest() == 0


def test_an_object_moves_to_the_disk() -> None:
    ledger = new_ledger()
    number = put(ledger, size=35)
    target = ledger.start_spilling(number, 2)
    assert target is not None
    assert (target.id, target.extent) == (number, Extent(DISK, 0, 35))
    assert holds(ledger, number) == [Hold(1, 0, 1, 0), Hold(2, 0, 1, 0)]
    assert ledger.locate(number).tier == MEMORY
    check_ledger(ledger)
    assert ledger.finish_spilling(number, 2)
    check_ledger(ledger)
    assert ledger.locate(number) == target.extent
    assert holds(ledger, number) == [Hold(1, 0, 1, 0)]
    assert (ledger.blocks[MEMORY].taken, ledger.blocks[DISK].taken, ledger.spills) == (0, 2, 1)


def test_it_stays_if_a_reader_comes_meanwhile() -> None:
    ledger = new_ledger()
    number = put(ledger)
    ledger.start_spilling(number, 2)
    extent = ledger.pin(number, 3)
    assert not ledger.finish_spilling(number, 2)
    check_ledger(ledger)
    assert ledger.locate(number) == extent
    assert (ledger.blocks[DISK].taken, ledger.spills) == (0, 0)


def test_it_moves_if_the_reader_is_gone_again() -> None:
    ledger = new_ledger()
    number = put(ledger)
    ledger.start_spilling(number, 2)
    ledger.pin(number, 3)
    ledger.unpin(number, 3)
    assert ledger.finish_spilling(number, 2)


def test_everybody_drops_it_while_it_moves() -> None:
    ledger = new_ledger()
    number = put(ledger)
    ledger.start_spilling(number, 2)
    ledger.drop(number, 1)
    assert ledger.exists(number), "never under its mover"
    assert ledger.finish_spilling(number, 2)
    assert not ledger.exists(number)
    check_ledger(ledger)


@pytest.mark.parametrize("end", ["abandon", "die"])
def test_it_stays_if_it_could_not_be_copied(end: str) -> None:
    ledger = new_ledger()
    number = put(ledger)
    ledger.start_spilling(number, 2)
    if end == "abandon":
        ledger.abandon_spilling(number, 2)
    else:
        ledger.mend(2)
    check_ledger(ledger)
    assert ledger.facts()[0].state is State.SEALED
    assert (ledger.locate(number).tier, ledger.blocks[DISK].taken) == (MEMORY, 0)
    target = ledger.start_spilling(number, 2)
    assert target is not None
    assert target.has_holes, "perhaps it was never reserved"


def test_its_maker_gives_it_up_while_it_moves() -> None:
    """A put of several objects fails at the second while another process moves the first."""
    for mover in (1, 2):
        ledger = new_ledger()
        number = put(ledger, 1, holder=7)
        ledger.start_spilling(number, mover)
        ledger.discard(number)
        check_ledger(ledger)
        assert ledger.blocks[DISK].taken == 1, "never under its mover"
        ledger.finish_spilling(number, mover)
        assert not ledger.exists(number)
        check_ledger(ledger)


def test_no_room_on_the_disk_to_move_to() -> None:
    ledger = new_ledger()
    number = put(ledger)
    put(ledger, size=120, tier=DISK)
    assert ledger.start_spilling(number, 2) is None
    assert ledger.facts()[0].state is State.SEALED
    check_ledger(ledger)


# -------------------------------------------------------------------------------------- on a device


def export(ledger: Ledger, process: int = 1, size: int = 35, *, holder: int = 0) -> int:
    """An object whose bytes are in a device's memory."""
    new = ledger.allocate(process, size, DEVICE, holder=holder)
    assert new is not None
    assert new.extent == Extent(DEVICE, new.extent.offset, size)
    ledger.seal_on_device(new.id)
    return new.id


def test_what_is_exported_takes_one_block_of_memory() -> None:
    ledger = new_ledger()
    number = export(ledger)
    check_ledger(ledger)
    assert (ledger.exporter(number), ledger.is_on_device(number), ledger.locate(number).bytes) == (
        1,
        True,
        35,
    )
    assert (ledger.blocks[MEMORY].taken, ledger.blocks[DISK].taken, ledger.coldest()) == (1, 0, 0)
    ledger.drop(number, 1)
    assert (ledger.objects, ledger.blocks[MEMORY].taken) == (0, 0)


def test_it_is_held_as_any_other_is() -> None:
    ledger = new_ledger()
    number = export(ledger, holder=DRIVER)
    ledger.claim(number, DRIVER)
    ledger.hold(number, 3)
    ledger.mend(DRIVER)
    assert ledger.exists(number)
    ledger.drop(number, 3)
    assert not ledger.exists(number)


def test_it_goes_with_its_exporter_whoever_needs_it() -> None:
    ledger = new_ledger()
    still, moving, other = export(ledger), export(ledger), export(ledger, 2)
    ledger.pin(still, 3)
    ledger.start_spilling(moving, 1, DISK)
    ledger.mend(1)
    check_ledger(ledger)
    assert [ledger.exists(number) for number in (still, moving, other)] == [False, False, True]
    assert (ledger.blocks[MEMORY].taken, ledger.blocks[DISK].taken) == (1, 0)


def test_an_importer_that_dies_does_not_keep_it() -> None:
    ledger = new_ledger()
    number = export(ledger)
    ledger.pin(number, 2)
    ledger.drop(number, 1)
    assert ledger.exists(number), "never under who reads the device"
    ledger.mend(2)
    assert not ledger.exists(number)


@pytest.mark.parametrize("tier", [MEMORY, DISK])
def test_it_is_brought_here_when_somebody_wants_it(tier: int) -> None:
    ledger = new_ledger()
    number = export(ledger, holder=DRIVER)
    assert ledger.wish(number) == 0
    assert not ledger.want(number)
    assert ledger.wish(number) == WANTED
    target = ledger.start_spilling(number, 1, tier)
    assert target is not None
    assert (target.extent.tier, target.extent.bytes, ledger.exporter(number)) == (tier, 35, 1)
    check_ledger(ledger)
    assert ledger.finish_spilling(number, 1)
    check_ledger(ledger)
    assert (ledger.locate(number), ledger.exporter(number)) == (target.extent, 0)
    assert ledger.want(number)
    ledger.mend(1)
    assert ledger.exists(number), "from here on it is as any other"


def test_it_is_not_moved_under_who_reads_the_device_and_stays_wanted() -> None:
    ledger = new_ledger()
    number = export(ledger)
    ledger.want(number, refused=True)
    ledger.start_spilling(number, 1, MEMORY)
    ledger.pin(number, 2)
    assert not ledger.finish_spilling(number, 1)
    check_ledger(ledger)
    assert (ledger.exporter(number), ledger.wish(number)) == (1, WANTED)
    ledger.unpin(number, 2)
    ledger.start_spilling(number, 1, MEMORY)
    assert ledger.finish_spilling(number, 1)


def test_who_waits_is_told_that_there_is_no_room_and_may_ask_again() -> None:
    ledger = new_ledger()
    number = export(ledger)
    ledger.want(number, refused=True)
    assert ledger.wish(number) == WANTED | REFUSED
    ledger.want(number)
    assert ledger.wish(number) == WANTED | REFUSED, "that somebody else is not permitted remains"
    ledger.no_room(number)
    assert ledger.wish(number) == NO_ROOM
    ledger.want(number)
    assert ledger.wish(number) == WANTED


def test_an_exporter_that_ends_gives_up_what_nobody_reads() -> None:
    ledger = new_ledger()
    number = export(ledger, holder=DRIVER)
    ledger.pin(number, 2)
    assert not ledger.give_up(number)
    ledger.unpin(number, 2)
    assert ledger.give_up(number)
    check_ledger(ledger)
    assert not ledger.exists(number)


def test_its_maker_gives_up_what_is_on_a_device() -> None:
    ledger = new_ledger()
    new = ledger.allocate(1, 35, DEVICE)
    assert new is not None
    ledger.discard(new.id)
    check_ledger(ledger)
    assert ledger.blocks[MEMORY].taken == 0


# ----------------------------------------------------------------------------------------- repair


def test_begin_tells_whether_somebody_died_here() -> None:
    ledger = new_ledger()
    assert ledger.begin()
    ledger.end()
    assert ledger.begin()
    assert not ledger.begin()
    ledger.end()
    assert ledger.begin()


def test_a_ledger_is_known_by_its_first_word() -> None:
    with pytest.raises(ValueError, match="not a ledger"):
        Ledger(memoryview(bytearray(SHAPE.bytes)))
    ledger = new_ledger()
    number = put(ledger)
    assert Ledger(ledger._bytes).exists(number)


def test_a_ledger_has_room_for_so_many_objects_at_most() -> None:
    with pytest.raises(ValueError, match="at most"):
        Ledger.create(memoryview(bytearray(100)), SHAPE._replace(objects_max=1 << 20))
