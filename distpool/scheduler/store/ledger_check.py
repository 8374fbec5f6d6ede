"""The invariants of a Ledger, asserted by tests and the simulator; too slow for every change of a real one.

``check_entries`` is what must hold after each single write, in whatever instant a process is killed; ``check_ledger``
is what must hold besides whenever nobody is in the middle of a change.
"""

from __future__ import annotations

from distpool.scheduler.store import ledger_table as layout
from distpool.scheduler.store.blocks import GIVING, HOLE, LEFT, TAKEN, WARM
from distpool.scheduler.store.ledger import DEVICE, DISK, MEMORY, Ledger, State

_Extents = list[tuple[int, int, str]]  # of one tier: first block, end, whose


def check_ledger(ledger: Ledger) -> None:
    """Assert every invariant. Nobody is in the middle of a change, or died there since the last ``begin``."""
    words = ledger.words
    entries, holds, extents = check_entries(ledger)
    assert words[layout.OBJECTS] == len(entries), "objects are miscounted"
    for index in entries:
        at = ledger._entries + index * layout.ENTRY_WORDS
        is_written = words[at + layout.STATE] & 0xFF == State.WRITING
        assert words[at + layout.HOLDS] or is_written, f"nobody holds object {words[at + layout.ID]:#x}"
    _check_map(ledger._entry_map, entries, words[layout.OBJECTS_END], "entry")
    _check_map(ledger._hold_map, holds, words[layout.HOLDS_END], "hold")
    for tier in (MEMORY, DISK):
        _check_blocks(ledger, tier, extents[tier])


def check_entries(ledger: Ledger) -> tuple[set[int], set[int], tuple[_Extents, _Extents]]:
    """Assert what is right after each single write. Returns the entries, holds and extents that are in use."""
    words = ledger.words
    entries: set[int] = set()
    holds: set[int] = set()
    extents: tuple[_Extents, _Extents] = ([], [])
    for index in range(words[layout.OBJECTS_MAX]):
        at = ledger._entries + index * layout.ENTRY_WORDS
        if words[at + layout.ID]:
            assert index < words[layout.OBJECTS_END], f"entry {index} is beyond the end"
            entries.add(index)
            _check_entry(ledger, index, at, extents)
            holds |= _check_chain(ledger, index, at, holds)
    for tier in (MEMORY, DISK):
        end, owner = 0, "nobody"
        for first, last, who in sorted(extents[tier]):
            assert first >= end, f"{who} lies in blocks of {owner}"
            end, owner = last, who
        assert end <= ledger.blocks[tier].count, f"{owner} ends outside of its tier"
    return entries, holds, extents


def _check_entry(ledger: Ledger, index: int, at: int, extents: tuple[_Extents, _Extents]) -> None:
    words = ledger.words
    number, place, size = words[at + layout.ID], words[at + layout.PLACE], words[at + layout.SIZE]
    state, actor = words[at + layout.STATE] & 0xFF, words[at + layout.STATE] >> 8
    name = f"object {number:#x}"
    assert number & layout.INDEX == index, f"{name} is at another's place"
    assert 0 < number >> layout.INDEX_BITS <= words[layout.SERIAL], f"{name} has a number not yet given"
    has_actor = State(state) is not State.SEALED or place >> 56 == DEVICE
    assert (actor != 0) == has_actor, f"{name}: {State(state)!r} by process {actor}"
    _note_extent(ledger, extents, place, size, name)
    if (
        state == State.SPILLING and place != words[at + layout.TARGET]
    ):  # else its mover died between two words
        _note_extent(ledger, extents, words[at + layout.TARGET], size, f"the copy of {name}")
        whose = [words[hold + layout.COUNTS] & layout.LOW for hold in ledger._chain(at)
                 if words[hold + layout.WHO] == actor]  # fmt: skip
        assert whose, f"{name}: process {actor} moves it and does not hold it"
        assert whose[0], f"{name}: process {actor} moves it and has no reference to it"


def _note_extent(
    ledger: Ledger, extents: tuple[_Extents, _Extents], place: int, size: int, whose: str
) -> None:
    tier, first = place >> 56, place & layout.INDEX_OF_BLOCK
    extents[layout.BLOCKS_OF[tier]].append((first, first + ledger._block_count(size, tier), whose))


def _check_chain(ledger: Ledger, index: int, at: int, others: set[int]) -> set[int]:
    words = ledger.words
    name = f"object {words[at + layout.ID]:#x}"
    found: set[int] = set()
    whose: set[int] = set()
    for hold in ledger._chain(at):
        place = (hold - ledger._holds) // layout.HOLD_WORDS
        assert place not in found, f"the chain of {name} goes round"
        assert place not in others, f"{name} shares a hold with another"
        assert place < words[layout.HOLDS_END], f"hold {place} is beyond the end"
        found.add(place)
        who, counts = words[hold + layout.WHO], words[hold + layout.COUNTS]
        holder, via = who & layout.LOW, who >> 32
        assert words[hold + layout.OBJECT] == index, f"a hold of {name} names another"
        assert holder, f"a hold of {name} is nobody's"
        assert holder != via, f"{name} is in transit to its own maker"
        assert counts, f"process {holder} holds {name} for nothing"
        assert not (via and counts >> 32), f"{name} is mapped while it is in transit"
        assert who not in whose, f"process {holder} holds {name} twice"
        whose.add(who)
    return found


def _check_map(used: memoryview, expected: set[int], end: int, what: str) -> None:
    marked = {index for index, value in enumerate(bytes(used[:end])) if value}
    assert marked == expected, f"{what} map: {marked - expected} leaked, {expected - marked} in use and free"


def _check_blocks(ledger: Ledger, tier: int, extents: _Extents) -> None:
    blocks = ledger.blocks[tier]
    states = bytes(blocks._states[: blocks.used])
    assert set(states) <= {HOLE, WARM, TAKEN, GIVING, LEFT}, f"tier {tier}: an unknown state of a block"
    expected = bytearray(len(states))
    for first, end, who in extents:
        assert end <= len(states), f"{who} lies beyond the used part of tier {tier}"
        expected[first:end] = bytes([1]) * (end - first)
    for block, state in enumerate(states):
        wrong = "leaked" if state == TAKEN else "in use, and not taken"
        assert (state == TAKEN) == bool(expected[block]), f"tier {tier}, block {block}: {wrong}"
    assert blocks.taken == sum(expected), f"tier {tier}: the blocks that are taken are miscounted"
