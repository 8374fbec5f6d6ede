"""What must hold after each change of the ledger, and in the end. Each oracle has a name, which a Violation carries.

::

    check                   the ledger's own invariants (ledger_check.py)
    never_under_a_reader    what a living process has mapped is there, pinned, and where it mapped it
    never_under_a_writer    what a living process is writing or moving is still its own to write
    contents                what lies there is what was put
    kept                    what somebody needs is never gone
    claimed_once            what was claimed is no longer in transit
    nobody_elses_pages      no view is made of a mapping that was written to
    reserved_before_written, one_writer, no_surprises, everything_ends, nothing_left, all_room_again
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from distpool.scheduler.store import ledger_table as layout
from distpool.scheduler.store.ledger import DEVICE, DISK, MEMORY, State
from distpool.scheduler.store.ledger_check import check_ledger
from tests.simulation.loop import Violation

if TYPE_CHECKING:
    from .machine import Memory


class Oracles:
    """They look at the shared memory itself, and at what processes do to it."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.contents: dict[int, bytes] = {}  # of every object that somebody was told of
        self.ticket_bytes = 0  # what is written of an object that is on a device

    def torn(self, check: Callable[[], object]) -> None:
        """Somebody died in the middle of a change: entries and chains must be right even so."""
        try:
            check()
        except AssertionError as error:
            raise Violation("check", f"after a death: {error}") from error

    def changed(self) -> None:
        """A change is complete."""
        memory = self.memory
        try:
            check_ledger(memory.ledger)
        except AssertionError as error:
            raise Violation("check", str(error)) from error
        places: dict[tuple[int, int, int], int] = {}
        targets: dict[tuple[int, int, int], int] = {}
        words = memory.ledger.words
        for at in memory.ledger._objects():
            extent = memory.ledger._extent(at)
            tier, offset, size = extent
            state, actor = words[at + layout.STATE] & 0xFF, words[at + layout.STATE] >> 8
            places[extent] = at
            if state == State.WRITING:
                targets[(MEMORY, offset, self.ticket_bytes) if tier == DEVICE else extent] = actor
            elif tier != DEVICE:
                self._check_content(words[at + layout.ID], *extent)
            if state == State.SPILLING:
                goes, first = (
                    words[at + layout.TARGET] >> 56,
                    words[at + layout.TARGET] & layout.INDEX_OF_BLOCK,
                )
                targets[goes, first * memory.shape.block_bytes[goes], size] = actor
        self._check_uses(places, targets)

    def _check_content(self, number: int, tier: int, offset: int, size: int) -> None:
        expected = self.contents.get(number)
        if expected is not None and self.memory.content[tier][offset : offset + size] != expected:
            raise Violation("contents", f"object {number:#x} in tier {tier} is not what was put")

    def _check_uses(
        self, places: dict[tuple[int, int, int], int], targets: dict[tuple[int, int, int], int]
    ) -> None:
        memory = self.memory
        words = memory.ledger.words
        for use in memory.readers():
            at = places.get((use.tier, use.offset, use.bytes), 0)
            whose = [
                words[hold + layout.COUNTS] >> 32
                for hold in (memory.ledger._chain(at) if at else ())
                if words[hold + layout.WHO] == use.process.number
            ]
            if not any(whose):
                raise Violation(
                    "never_under_a_reader",
                    f"what {use.process.name} has mapped is {'not pinned' if at else 'gone, or elsewhere'}",
                )
        for use in memory.writers():
            if targets.get((use.tier, use.offset, use.bytes)) != use.process.number:
                raise Violation(
                    "never_under_a_writer", f"what {use.process.name} is writing is no longer its own"
                )

    def claimed(self, numbers: Sequence[int], process: int, via: int) -> None:
        """What a process has claimed is no longer in transit to it."""
        for facts in self.memory.ledger.facts():
            if facts.id in numbers and any((hold.holder, hold.via) == (process, via) for hold in facts.holds):
                raise Violation("claimed_once", f"object {facts.id:#x} was claimed, and is still in transit")

    def same(self, number: int, view: object) -> None:
        """What a process sees of an object that it has mapped."""
        if bytes(view) != self.contents[number]:  # type: ignore[call-overload]
            raise Violation("contents", f"a view of object {number:#x} shows something else")

    def end(self) -> None:
        """Everybody has let go of everything, and everybody but the driver is dead and mended."""
        ledger = self.memory.ledger
        self.changed()
        if facts := ledger.facts():
            raise Violation("nothing_left", f"{len(facts)} objects, such as {facts[0]}")
        for tier in (MEMORY, DISK):
            blocks = ledger.blocks[tier]
            if blocks.taken or blocks.used or self.memory.reserved[tier]:
                reserved = len(self.memory.reserved[tier])
                story = f"tier {tier}: {blocks.taken} blocks taken, {blocks.used} used, {reserved} reserved"
                raise Violation("nothing_left", story)
