"""The block map: each rule, and any sequence of operations beside a naive map."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from distpool.scheduler.store.blocks import GIVING, HOLE, LEFT, TAKEN, WARM, Blocks

COUNT = 12


def blocks_of(count: int = COUNT) -> Blocks:
    return Blocks(memoryview(bytearray(count)), memoryview(bytearray(16)).cast("Q"))


def test_the_first_are_holes() -> None:
    blocks = blocks_of()
    assert blocks.take(3) == (0, True)
    assert blocks.take(1) == (3, True)
    assert (blocks.taken, blocks.used) == (4, 4)


def test_what_was_freed_is_warm_and_taken_first() -> None:
    blocks = blocks_of()
    blocks.take(2)
    blocks.take(3)
    blocks.take(2)
    blocks.free(2, 3)
    assert blocks.take(2) == (2, False)
    assert blocks.take(2) == (7, True), "one warm block is left, which is too little"
    assert blocks.take(1) == (4, False)


def test_warm_ones_come_before_lower_holes() -> None:
    blocks = blocks_of()
    for _ in range(6):
        blocks.take(1)
    blocks.free(0, 1)
    assert blocks.start_giving(0, 1)
    blocks.end_giving(0, 1)
    blocks.free(4, 1)
    assert blocks.take(1) == (4, False)
    assert blocks.take(1) == (0, True)


def test_warm_ones_and_holes_beside_each_other_are_one_run() -> None:
    blocks = blocks_of(4)
    blocks.take(2)
    blocks.free(0, 2)
    assert blocks.take(4) == (0, True)


def test_full() -> None:
    blocks = blocks_of(4)
    assert blocks.take(5) is None
    assert blocks.take(4) == (0, True)
    assert blocks.take(1) is None
    blocks.free(0, 1)
    blocks.free(2, 1)
    assert blocks.take(2) is None, "two free blocks, and not in a row"
    assert blocks.taken == 2


def test_none_at_all() -> None:
    assert blocks_of(0).take(1) is None
    assert blocks_of(0).warm_runs() == []


def test_what_is_left_behind_must_be_reserved_and_is_given_back() -> None:
    blocks = blocks_of()
    blocks.take(3)
    blocks.leave(0, 3)
    assert blocks.taken == 0
    assert blocks.warm_runs() == [(0, 3)]
    assert blocks.take(2) == (0, True)
    assert blocks.start_giving(2, 1)


def test_giving_back() -> None:
    blocks = blocks_of()
    blocks.take(5)
    blocks.free(0, 2)
    blocks.free(4, 1)
    assert blocks.warm_runs() == [(0, 2), (4, 1)]
    assert blocks.start_giving(0, 2)
    assert not blocks.start_giving(1, 1), "they are being given back already"
    assert not blocks.start_giving(3, 2), "one of them is taken"
    assert blocks.take(2) == (4, True), "nobody gets them meanwhile"
    blocks.end_giving(0, 2)
    assert blocks.warm_runs() == []
    assert blocks.take(2) == (0, True)


def test_the_used_part_shrinks_when_its_end_is_given_back() -> None:
    blocks = blocks_of()
    blocks.take(3)
    blocks.free(0, 3)
    blocks.start_giving(0, 3)
    blocks.end_giving(0, 3)
    assert blocks.used == 0
    assert blocks.warm_runs() == []


def test_who_gave_back_is_dead() -> None:
    blocks = blocks_of()
    blocks.take(3)
    blocks.free(0, 3)
    blocks.start_giving(0, 2)
    blocks.forget_giving()
    assert blocks.warm_runs() == [(0, 3)]
    assert blocks.take(3) == (0, True)


def test_rebuild() -> None:
    blocks = blocks_of()
    blocks.take(6)
    blocks.free(4, 1)
    blocks.free(0, 1)
    blocks.start_giving(0, 1)
    blocks.rebuild([(1, 2), (7, 2)])
    assert (blocks.taken, blocks.used) == (4, 9)
    assert bytes(blocks._states[:9]) == bytes([GIVING, TAKEN, TAKEN, LEFT, WARM, LEFT, HOLE, TAKEN, TAKEN])


class BlocksBesideAList(RuleBasedStateMachine):
    """A list of words, and for each taken run who has it."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = blocks_of()
        self.naive = ["hole"] * COUNT
        self.runs: list[tuple[int, int]] = []
        self.giving: list[tuple[int, int]] = []

    @rule(count=st.integers(1, 5))
    def take(self, count: int) -> None:
        taken = self.blocks.take(count)
        rows = [range(first, first + count) for first in range(COUNT - count + 1)]
        possible = [row for row in rows if all(self.naive[b] in ("hole", "warm", "left") for b in row)]
        if taken is None:
            assert not possible
            return
        first, has_holes = taken
        row = range(first, first + count)
        assert row in possible
        assert has_holes >= any(self.naive[block] != "warm" for block in row)
        for block in row:
            self.naive[block] = "taken"
        self.runs.append((first, count))

    @precondition(lambda self: self.runs)
    @rule(which=st.integers(0), written=st.booleans())
    def give_up(self, which: int, written: bool) -> None:
        first, count = self.runs.pop(which % len(self.runs))
        (self.blocks.free if written else self.blocks.leave)(first, count)
        self.naive[first : first + count] = ["warm" if written else "left"] * count

    @rule(which=st.integers(0))
    def start_giving(self, which: int) -> None:
        runs = self.blocks.warm_runs()
        if runs:
            first, count = runs[which % len(runs)]
            assert self.blocks.start_giving(first, count)
            self.naive[first : first + count] = ["giving"] * count
            self.giving.append((first, count))

    @rule(first=st.integers(0, COUNT - 1), count=st.integers(1, 4))
    def start_giving_anything(self, first: int, count: int) -> None:
        row = self.naive[first : first + count]
        if first + count <= self.blocks.used and not set(row) <= {"warm", "left"}:
            assert not self.blocks.start_giving(first, count)

    @precondition(lambda self: self.giving)
    @rule(which=st.integers(0))
    def end_giving(self, which: int) -> None:
        first, count = self.giving.pop(which % len(self.giving))
        self.blocks.end_giving(first, count)
        self.naive[first : first + count] = ["hole"] * count

    @rule(lost=st.integers(0))
    def rebuild(self, lost: int) -> None:
        """Somebody died: perhaps with what one of the runs was for."""
        if self.runs and lost % 2:
            first, count = self.runs.pop(lost % len(self.runs))
            self.naive[first : first + count] = ["left"] * count
        self.blocks.rebuild(self.runs)

    @invariant()
    def agree(self) -> None:
        names = {HOLE: "hole", WARM: "warm", TAKEN: "taken", GIVING: "giving", LEFT: "left"}
        used = self.blocks.used
        assert [names[state] for state in bytes(self.blocks._states[:used])] == self.naive[:used]
        assert set(self.naive[used:]) <= {"hole"}
        assert self.blocks.taken == self.naive.count("taken")
        runs = self.blocks.warm_runs()
        assert sum(count for _, count in runs) == self.naive.count("warm") + self.naive.count("left")


TestBlocksBesideAList = BlocksBesideAList.TestCase
TestBlocksBesideAList.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
