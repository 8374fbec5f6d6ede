"""Planted bugs: each is a small patch of the real store that some oracle must catch within ``SEEDS`` seeds.

``python -m tests.store.mutations [NAME...] [--count N]``: where each is caught first, or in how many of N seeds.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial

from distpool.scheduler.store import access, blocks, keeper, ledger, ledger_holds, ledger_places, views
from tests.simulation.loop import Violation
from tests.simulation.mutations import Mutation, planted
from tests.simulation.mutations import hunt as hunt_in

from . import owners
from .world import run

SEEDS = 500

# fmt: off
MUTATIONS = (
    Mutation(
        "forget_a_pin", ledger_holds, "Holds.pin",
        'self._count(at, number & INDEX, process, 1 << 32)', 'pass',
        "an array changes under the eyes of its user",
        "never_under_a_reader", 0,
    ),
    Mutation(
        "free_under_a_view", ledger_holds, "Holds._count",
        'if not counts:', 'if not counts & LOW:',
        "an array dies with the last reference, though it is still seen",
        "never_under_a_reader", 0,
    ),
    Mutation(
        "free_under_a_writer", ledger_holds, "Holds._remove_if_free",
        ' and words[at + STATE] & 0xFF != State.WRITING', '',
        "a worker whose owner dies writes into somebody else's object",
        "never_under_a_writer", 14,
    ),
    Mutation(
        "spill_under_a_reader", ledger_places, "Places.finish_spilling",
        ' and not self._pins(at)', '',
        "an array changes when memory becomes short",
        "never_under_a_reader", 1,
    ),
    Mutation(
        "move_what_nobody_holds", ledger_places, "Places.start_spilling",
        'self._count(at, number & INDEX, process, 1)', 'pass',
        "an object is freed while it is moved, and the copy lands in another",
        "check", 1,
    ),
    Mutation(
        "discard_under_a_mover", ledger_places, "Places.discard",
        'if words[at + STATE] & 0xFF != State.SPILLING:', 'if True:',
        "a put that fails frees what another process is moving",
        "check", 1,
    ),
    Mutation(
        "hold_on_after_moving", ledger_places, "Places.finish_spilling",
        'self._count(at, number & INDEX, process, -1)', 'pass',
        "whatever was spilled stays for as long as its mover lives",
        "nothing_left", 1,
    ),
    Mutation(
        "mend_forgets_transit", ledger, "Ledger.mend",
        'if holder == process or orphaned:', 'if words[hold + WHO] == process or orphaned:',
        "results for a dead owner stay for ever",
        "nothing_left", 1,
    ),
    Mutation(
        "mend_forgets_orphans", ledger, "Ledger.mend",
        'if holder == process or orphaned:', 'if holder == process:',
        "what a worker puts for an owner that is dead already stays for ever",
        "nothing_left", 1,
    ),
    Mutation(
        "mend_drops_all_transit", ledger, "Ledger.mend",
        'if holder == process or orphaned:', 'if holder == process or via == process:',
        "a result that was sent is gone with its worker",
        "kept", 151,
    ),
    Mutation(
        "mend_leaves_the_unwritten", ledger, "Ledger.mend",
        'if actor == process and state == State.WRITING:', 'if False:',
        "kill -9 in the middle of a write loses that memory for ever",
        "nothing_left", 1,
    ),
    Mutation(
        "mend_removes_what_others_write", ledger, "Ledger.mend",
        'if actor == process and state == State.WRITING:', 'if state == State.WRITING:',
        "one worker's death destroys what another is writing",
        "never_under_a_writer", 0,
    ),
    Mutation(
        "mend_leaves_the_moved", ledger, "Ledger.mend",
        'if actor == process:', 'if False:',
        "what a dead process was moving can never be moved again",
        "check", 4,
    ),
    Mutation(
        "claim_nothing", ledger_holds, "Holds.claim",
        'words[hold + WHO] = process  #', 'pass  #',
        "a result is gone when the worker that made it dies",
        "claimed_once", 0,
    ),
    Mutation(
        "claim_without_unlinking", ledger_holds, "Holds.claim",
        'words[hold + WHO] = process  #', 'self._add_hold(at, number & INDEX, process, 0, 1)  #',
        "a result that was dropped stays until its worker dies",
        "claimed_once", 0,
    ),
    Mutation(
        "forget_what_was_claimed", ledger_holds, "Holds.forget_transit",
        'if self.words[hold + WHO] == who:', 'if self.words[hold + WHO] & LOW == process:',
        "a worker's death takes the results that its owner has",
        "never_under_a_reader", 0,
    ),
    Mutation(
        "forget_no_transit", ledger_holds, "Holds.forget_transit",
        'self._unlink(at, hold)', 'pass',
        "a result that died with its worker stays for ever",
        "nothing_left", 3,
    ),
    Mutation(
        "forget_before_reading", owners, "Owner._mourn",
        '        while worker.sent:\n'
        '            self._read(worker)\n'
        '        self.store.forget_transit(worker.number)\n',
        '        self.store.forget_transit(worker.number)\n'
        '        while worker.sent:\n'
        '            self._read(worker)\n',
        "a result that came just before its worker's death is gone",
        "kept", 151,
    ),
    Mutation(
        "seal_for_the_dead", ledger_places, "Places.seal",
        'self._remove_if_free(at)', 'pass',
        "a result whose owner died while it was written stays for ever",
        "check", 65,
    ),
    Mutation(
        "lose_the_chain", ledger_holds, "Holds._unlink",
        'words[before + NEXT] = words[hold + NEXT]', 'words[before + NEXT] = 0',
        "when one process lets go, so does another",
        "check", 1,
    ),
    Mutation(
        "never_repair", ledger, "Ledger.begin",
        'self.repair()', 'pass',
        "a death in the middle of a change loses memory",
        "check", 3,
    ),
    Mutation(
        "repair_forgets_the_copy", ledger, "Ledger.repair",
        'self._note_extent(extents, words[at + TARGET], size)', 'pass',
        "two processes write to one place on the disk",
        "check", 3,
    ),
    Mutation(
        "repair_forgets_the_unheld", ledger, "Ledger.repair",
        'self._remove_if_free(at)', 'pass',
        "who dies while letting go of an object keeps it for ever",
        "check", 50,
    ),
    Mutation(
        "exist_too_early", ledger_places, "Places.allocate",
        'words[at + SIZE] = size\n', 'words[at + ID] = number\n        words[at + SIZE] = size\n',
        "who dies while it makes an object leaves one of another's size and place",
        "check", 10,
    ),
    Mutation(
        "link_too_early", ledger_holds, "Holds._add_hold",
        'words[hold + NEXT] = words[at + HOLDS]\n',
        'words[hold + NEXT] = words[at + HOLDS]\n        words[at + HOLDS] = place + 1\n',
        "who dies while it takes hold of an object makes another hold it",
        "check", 71,
    ),
    Mutation(
        "believe_in_pages", ledger_holds, "Holds._remove",
        'blocks.leave if state == State.WRITING else blocks.free', 'blocks.free',
        "after a death somebody writes to memory that was never reserved",
        "reserved_before_written", 0,
    ),
    Mutation(
        "believe_in_holes", blocks, "Blocks.take",
        'holes = True', 'pass',
        "what was never reserved is written to: SIGBUS when memory is short",
        "reserved_before_written", 0,
    ),
    Mutation(
        "take_what_is_given_back", blocks, "Blocks.take",
        'free = data.translate(_ANY_FREE)', 'free = data.translate(_ANY_FREE).replace(bytes([GIVING]), bytes([WARM]))',
        "pages vanish under a writer",
        "check", 1,
    ),
    Mutation(
        "give_back_what_is_taken", blocks, "Blocks.start_giving",
        'return False', 'pass',
        "pages vanish under their user",
        "check", 0,
    ),
    Mutation(
        "given_back_and_warm", blocks, "Blocks.end_giving",
        'bytes([HOLE]) * count', 'bytes([WARM]) * count',
        "pages that were given back count as there",
        "reserved_before_written", 0,
    ),
    Mutation(
        "keep_what_the_dead_left", blocks, "Blocks.warm_runs",
        '.translate(_AS_WARM)', '',
        "memory that a dead process was writing is never given back",
        "nothing_left", 3,
    ),
    Mutation(
        "give_back_without_asking", keeper, "Keeper._give_back",
        'if not blocks.start_giving(start, length):', 'if False:',
        "pages vanish under a writer",
        "reserved_before_written", 0,
    ),
    Mutation(
        "drop_twice", access, "Held.__del__",
        '(REFERENCE, self.ids)', '(REFERENCE, self.ids * 2)',
        "an object is gone though somebody holds it",
        "check", 1,
    ),
    Mutation(
        "unpin_twice", views, "Views._unseen",
        '(PIN, (seen.number,))', '(PIN, (seen.number, seen.number))',
        "of two views the second changes when the first is dropped",
        "never_under_a_reader", 0,
    ),
    Mutation(
        "rest_though_written", views, "Views.settle",
        ' and self.pristine.is_pristine(mapping)', '',
        "an array has pages of the one that lay at its place before",
        "nobody_elses_pages", 10,
    ),
    Mutation(
        "rest_while_seen", views, "Views._view",
        'self._resting.pop(extent, None)', 'self._resting.get(extent)',
        "two arrays share their pages",
        "nobody_elses_pages", 86,
    ),
    Mutation(
        "pin_at_rest", views, "Views._unseen",
        'self._access.let_go((PIN, (seen.number,)))', 'pass',
        "what was once read stays for as long as its reader",
        "nothing_left", 0,
    ),
)
# fmt: on


hunt = partial(hunt_in, run=run)


def count(mutation: Mutation, seeds: range) -> dict[str, int]:
    """In how many worlds each oracle catches it."""
    found: dict[str, int] = {}
    with planted(mutation):
        for seed in seeds:
            try:
                run(seed)
            except Violation as violation:
                found[violation.oracle] = found.get(violation.oracle, 0) + 1
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.store.mutations", description=__doc__)
    parser.add_argument("names", nargs="*", help="only these")
    parser.add_argument(
        "--count", type=int, default=0, help="in how many of so many seeds, and by which oracle"
    )
    options = parser.parse_args()
    missed = 0
    for mutation in MUTATIONS:
        if options.names and mutation.name not in options.names:
            continue
        if options.count:
            found = count(mutation, range(options.count))
            print(f"{mutation.name}: {sum(found.values())} of {options.count}, {found}", flush=True)
            continue
        first = hunt(mutation)
        missed += first is None
        story = "NOT CAUGHT" if first is None else f"seed {first[0]}, {str(first[1])[:150]}"
        print(f"{mutation.name}: {story}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
