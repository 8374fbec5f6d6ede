"""The ledger beside a naive model: any sequence of operations by a few processes, deaths and torn changes too.

The model is a dict of objects, each with a dict of holds. It knows nothing of blocks, chains or maps: those are for
``check_ledger`` to judge.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from distpool.scheduler.store.ledger import (
    DEVICE,
    DISK,
    DRIVER,
    MEMORY,
    Ledger,
    LedgerFull,
    ObjectGone,
    Shape,
    State,
)
from distpool.scheduler.store.ledger_check import check_entries, check_ledger
from distpool.scheduler.store.ledger_table import WANTED

from .crashing import Fuse, Killed, fused

SHAPE = Shape(blocks=(10, 8), block_bytes=(10, 20), objects_max=6, holds_max=14)
PROCESSES = (1, 2, 3, DRIVER)

processes = st.sampled_from(PROCESSES)
which = st.integers(0, 9)
tiers = st.sampled_from((MEMORY, DISK, DEVICE))


@dataclass
class Model:
    """One object: ``holds`` is (holder, via) -> [references, pins]."""

    size: int
    tier: int
    state: State = State.WRITING
    actor: int = 0  # who writes or moves it, or has exported it
    goes: int = DISK  # where it is moved to
    holds: dict[tuple[int, int], list[int]] = field(default_factory=dict)

    def pins(self) -> int:
        return sum(pins for _, pins in self.holds.values())


class LedgerBesideADict(RuleBasedStateMachine):
    """Each rule does the same to both, and expects the same of both."""

    @initialize()
    def create(self) -> None:
        self.ledger = Ledger.create(memoryview(bytearray(SHAPE.bytes)), SHAPE)
        self.objects: dict[int, Model] = {}
        self.gone: list[int] = []

    # ------------------------------------------------------------------------------------ helpers

    def pick(self, index: int) -> int:
        numbers = [*self.objects, *self.gone[-2:]]
        return numbers[index % len(numbers)] if numbers else 0

    def expect_gone(self, operation: Callable[[], object]) -> None:
        try:
            operation()
        except ObjectGone:
            return
        raise AssertionError("it should be gone, or not held")

    def add(self, number: int, who: tuple[int, int], references: int, pins: int) -> None:
        counts = self.objects[number].holds.setdefault(who, [0, 0])
        counts[0] += references
        counts[1] += pins
        if counts == [0, 0]:
            del self.objects[number].holds[who]
        self.sweep()

    def sweep(self) -> None:
        """What nobody holds is gone, unless it is being written."""
        for number, model in list(self.objects.items()):
            if not model.holds and model.state is not State.WRITING:
                del self.objects[number]
                self.gone.append(number)

    def is_full(self, number: int, who: tuple[int, int]) -> bool:
        used = sum(len(model.holds) for model in self.objects.values())
        return used >= SHAPE.holds_max and who not in self.objects[number].holds

    # -------------------------------------------------------------------------------------- rules

    @rule(process=processes, size=st.integers(0, 45), tier=tiers, holder=processes)
    def allocate(self, process: int, size: int, tier: int, holder: int) -> None:
        try:
            new = self.ledger.allocate(process, size, tier, holder=holder)
        except LedgerFull:
            used = sum(len(model.holds) for model in self.objects.values())
            assert len(self.objects) == SHAPE.objects_max or used == SHAPE.holds_max
            return
        if new is None:
            return
        assert new.id not in self.objects
        assert new.id not in self.gone
        assert (new.extent.tier, new.extent.bytes) == (tier, size)
        self.objects[new.id] = Model(size, tier, actor=process)
        self.add(new.id, (process, 0) if holder == process else (holder, process), 1, 0)

    @rule(index=which)
    def seal(self, index: int) -> None:
        number = self.pick(index)
        model = self.objects.get(number)
        if model is None:
            self.expect_gone(lambda: self.ledger.seal(number))
        elif model.state is State.WRITING:
            model.state = State.SEALED
            if model.tier == DEVICE:
                self.ledger.seal_on_device(number)
            else:
                self.ledger.seal(number)
                model.actor = 0
            self.sweep()

    @rule(index=which)
    def discard(self, index: int) -> None:
        number = self.pick(index)
        model = self.objects.get(number)
        if model is None:
            self.expect_gone(lambda: self.ledger.discard(number))
        elif model.state is State.SPILLING:
            self.ledger.discard(number)
            model.holds = {(model.actor, 0): [1, 0]}
        else:
            self.ledger.discard(number)
            model.holds, model.state = {}, State.SEALED
            self.sweep()

    @rule(index=which, process=processes, pins=st.booleans())
    def more(self, index: int, process: int, pins: bool) -> None:
        number = self.pick(index)
        operation = self.ledger.pin if pins else self.ledger.hold
        if number not in self.objects:
            self.expect_gone(lambda: operation(number, process))
            return
        try:
            operation(number, process)
        except LedgerFull:
            assert self.is_full(number, (process, 0))
            return
        self.add(number, (process, 0), not pins, pins)

    @rule(index=which, process=processes, pins=st.booleans())
    def less(self, index: int, process: int, pins: bool) -> None:
        number = self.pick(index)
        operation = self.ledger.unpin if pins else self.ledger.drop
        model = self.objects.get(number)
        moves = model is not None and model.state is State.SPILLING and model.actor == process
        if model is None or not model.holds.get((process, 0), [0, 0])[pins]:
            self.expect_gone(lambda: operation(number, process))
        elif not (moves and not pins and model.holds[process, 0][0] == 1):  # that one is the move's
            operation(number, process)
            self.add(number, (process, 0), -(not pins), -pins)

    @rule(index=which, process=processes, holder=processes)
    def hand(self, index: int, process: int, holder: int) -> None:
        number = self.pick(index)
        if number not in self.objects:
            self.expect_gone(lambda: self.ledger.hand(number, process, holder))
        elif holder != process:
            try:
                self.ledger.hand(number, process, holder)
            except LedgerFull:
                assert self.is_full(number, (holder, process))
                return
            self.add(number, (holder, process), 1, 0)

    @rule(index=which, process=processes, holder=processes)
    def take_back(self, index: int, process: int, holder: int) -> None:
        number = self.pick(index)
        model = self.objects.get(number)
        if model is None or process == holder or (holder, process) not in model.holds:
            if process != holder:
                self.expect_gone(lambda: self.ledger.take_back(number, process, holder))
            return
        self.ledger.take_back(number, process, holder)
        self.add(number, (holder, process), -1, 0)

    @rule(index=which, process=processes, via=processes)
    def claim(self, index: int, process: int, via: int) -> None:
        number = self.pick(index)
        model = self.objects.get(number)
        if model is None or (process, via) not in model.holds:
            self.expect_gone(lambda: self.ledger.claim(number, process, via))
            return
        try:
            self.ledger.claim(number, process, via)
        except LedgerFull:
            assert self.is_full(number, (process, 0))
            assert model.holds[process, via][0] > 1, "the one hold would have become the other"
            return
        self.add(number, (process, 0), 1, 0)
        self.add(number, (process, via), -1, 0)

    @rule(process=processes, via=processes)
    def forget_transit(self, process: int, via: int) -> None:
        self.ledger.forget_transit(process, via)
        if process != via:
            for model in self.objects.values():
                model.holds.pop((process, via), None)
        self.sweep()

    @rule(process=st.sampled_from((1, 2, 3)), dead=st.sets(st.sampled_from((1, 2, 3))))
    def mend(self, process: int, dead: set[int]) -> None:
        living = {1, 2, 3} - dead
        self.ledger.mend(process, living)
        self._mended(process, living)

    def _mended(self, process: int, living: set[int]) -> None:
        for model in self.objects.values():
            if model.actor == process:
                if model.state is State.WRITING or model.tier == DEVICE:
                    model.holds = {}
                model.state, model.actor = State.SEALED, 0
            for holder, via in list(model.holds):
                orphaned = via == process and holder != DRIVER and holder not in living
                if holder == process or orphaned:
                    del model.holds[holder, via]
        self.sweep()

    @rule(process=processes)
    def start_spilling(self, process: int) -> None:
        number = self.ledger.coldest()
        cold = [n for n, model in self.objects.items()
                if model.state is State.SEALED and model.tier == MEMORY and not model.pins()]  # fmt: skip
        assert (number in cold) if cold else not number
        if not number:
            return
        try:
            target = self.ledger.start_spilling(number, process)
        except LedgerFull:
            assert self.is_full(number, (process, 0))
            return
        if target is not None:
            model = self.objects[number]
            model.state, model.actor, model.goes = State.SPILLING, process, DISK
            self.add(number, (process, 0), 1, 0)

    @rule(index=which, refused=st.booleans())
    def want(self, index: int, refused: bool) -> None:
        number = self.pick(index)
        model = self.objects.get(number)
        if model is None:
            self.expect_gone(lambda: self.ledger.want(number, refused=refused))
        else:
            assert self.ledger.want(number, refused=refused) == (model.tier != DEVICE)
            is_idle = model.tier == DEVICE and model.state is State.SEALED
            assert bool(self.ledger.wish(number) & WANTED) == is_idle

    @rule(index=which)
    def give_up(self, index: int) -> None:
        number = self.pick(index)
        model = self.objects.get(number)
        if model is not None and model.tier == DEVICE and model.state is State.SEALED:
            assert self.ledger.give_up(number) == (not model.pins())
            if not model.pins():
                model.holds = {}
                self.sweep()

    @rule(index=which, tier=st.sampled_from((MEMORY, DISK)))
    def bring(self, index: int, tier: int) -> None:
        number = self.pick(index)
        model = self.objects.get(number)
        if model is None or model.tier != DEVICE or model.state is not State.SEALED:
            return
        try:
            target = self.ledger.start_spilling(number, model.actor, tier)
        except LedgerFull:
            assert self.is_full(number, (model.actor, 0))
            return
        if target is not None:
            assert (target.extent.tier, target.extent.bytes) == (tier, model.size)
            model.state, model.goes = State.SPILLING, tier
            self.add(number, (model.actor, 0), 1, 0)

    @precondition(lambda self: any(model.state is State.SPILLING for model in self.objects.values()))
    @rule(index=which, copied=st.booleans())
    def end_spilling(self, index: int, copied: bool) -> None:
        moving = [n for n, model in self.objects.items() if model.state is State.SPILLING]
        number = moving[index % len(moving)]
        model = self.objects[number]
        process = model.actor
        if copied:
            moved = self.ledger.finish_spilling(number, process)
            assert moved == (not model.pins())
            model.tier = model.goes if moved else model.tier
        else:
            self.ledger.abandon_spilling(number, process)
        model.state = State.SEALED
        model.actor = model.actor if model.tier == DEVICE else 0
        self.add(number, (process, 0), -1, 0)

    @rule(process=st.sampled_from((1, 2, 3)), index=which, writes=st.integers(0, 12), what=st.integers(0, 3))
    def die_in_a_change(self, process: int, index: int, writes: int, what: int) -> None:
        """Whatever the change was about: when the dead is mended only the holds of others count."""
        number = self.pick(index)
        operations: list[Callable[[], object]] = [
            lambda: self.ledger.allocate(process, 15, MEMORY),
            lambda: self.ledger.pin(number, process),
            lambda: self.ledger.unpin(number, process),
            lambda: self.ledger.hold(number, process),
        ]
        with fused(self.ledger, Fuse(writes)):
            try:
                self.ledger.begin()
                operations[what]()
            except (Killed, ObjectGone, LedgerFull):
                pass
        check_entries(self.ledger)
        self.ledger.begin()
        self.ledger.end()
        self.ledger.mend(process, {1, 2, 3})
        self._mended(process, {1, 2, 3})

    # --------------------------------------------------------------------------------- invariants

    @invariant()
    def agree(self) -> None:
        check_ledger(self.ledger)
        found = {facts.id: facts for facts in self.ledger.facts()}
        assert set(found) == set(self.objects)
        assert self.ledger.objects == len(self.objects)
        for number, model in self.objects.items():
            facts = found[number]
            assert facts.state is model.state
            assert (facts.extent.tier, facts.extent.bytes) == (model.tier, model.size)
            assert self.ledger.exporter(number) == (model.actor if model.tier == DEVICE else 0)
            holds = {(hold.holder, hold.via): [hold.references, hold.pins] for hold in facts.holds}
            assert holds == model.holds


TestLedgerBesideADict = LedgerBesideADict.TestCase
TestLedgerBesideADict.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
