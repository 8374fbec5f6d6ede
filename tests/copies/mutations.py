"""Planted bugs of objects that move between nodes: each must be caught by some oracle within ``SEEDS`` worlds.

See ``tests.simulation.mutations``, where they are planted.
"""

from __future__ import annotations

import sys

from distpool.scheduler.cores import copies, copies_sources
from distpool.scheduler.shells import downloads, mover, source_links, uploads
from tests.simulation.mutations import Mutation, main

from .world import run

SEEDS = 200

# fmt: off
MUTATIONS = (
    Mutation(
        "release_what_is_needed", copies, "Copies._settle",
        'needed = known.is_needed and not known.lost',
        'needed = known.is_needed and not known.lost and not known.copy',
        "whoever is sent the object's number asks its node, which has let go of it since a copy was elsewhere",
        "check", 0,
    ),
    Mutation(
        "forget_a_request", copies, "Copies._from_shell",
        'for asked in list(known.waiting):\n                    asked.missing',
        'for asked in known.waiting[:1]:\n                    asked.missing',
        "of two tasks that need the same object, one waits for ever",
        "check", 0,
    ),
    Mutation(
        "keep_what_the_dead_had", copies, "Copies._process_gone",
        'known.refs.pop(process, None)',
        'pass',
        "what a killed worker referred to stays in other nodes' stores",
        "no_objects_left", 1,
    ),
    Mutation(
        "hear_the_dead", copies, "Copies._from_process",
        'if process in self._dead and',
        'if False and',
        "what a killed worker had said last is heard after its death, and never undone",
        "nothing_left", 1,
    ),
    Mutation(
        "wait_for_a_hand_for_ever", copies, "Copies._pass",
        'if count < 0 or',
        'if',
        "what was claimed of a process that died before it could say so is kept for ever",
        "check", 0,
    ),
    Mutation(
        "hand_over_and_forget", copies, "Copies._from_process",
        'self._pass(known, holder, process, -1 if back else 1, now)',
        'pass',
        "an object goes while it is on its way from one process to another",
        "nothing_lost", 10,
    ),
    Mutation(
        "expect_no_newcomers", copies_sources, "Sources.is_unheard",
        'return store > self.newest',
        'return False',
        "what a node has made that has just joined is lost for those who have yet to hear of it",
        "no_objects_left", 6,
    ),
    Mutation(
        "keep_copies", copies, "Copies._tick",
        'self._out.append(("shell", Discard(known.copy)))',
        'pass',
        "copies fill the store",
        "no_objects_left", 0,
    ),
    Mutation(
        "take_once_only", copies, "Copies.unheard",
        'return [*takes, *([SourceRelease(left)] if left else [])]',
        'return []',
        "what was taken as a link was lost stays at its source for as long as its maker lives",
        "no_objects_left", 0,
    ),
    Mutation(
        "hold_twice", uploads, "Uploads._keep",
        'ledger.drop(number, holder)  # once is enough',
        'pass',
        "what two processes of a node were sent is never let go of",
        "no_objects_left", 0,
    ),
    Mutation(
        "keep_the_old_links", uploads, "Uploads._greet",
        'self._forget(other)',
        'pass',
        "uploads to a link that was lost hold their objects for ever",
        "no_objects_left", 0,
    ),
    Mutation(
        "keep_for_the_gone", uploads, "Uploads.node_gone",
        'self._store.ledger.mend(NODES | store)',
        'pass',
        "what a node had needed stays after it is gone",
        "no_objects_left", 3,
    ),
    Mutation(
        "serve_strangers", uploads, "Uploads._greet",
        'if not self._is_there(store):',
        'if False:',
        "what a node needs that was taken for dead is kept after its end",
        "no_objects_left", 100,
    ),
    Mutation(
        "never_dial_again", source_links, "SourceLinks._link_again",
        'self._link_to(store)',
        'pass',
        "what a node has let go of while a link was lost is kept for it for ever",
        "no_objects_left", 30,
    ),
    Mutation(
        "forget_the_clock", mover, "Mover.tick",
        'wake_s = [self._core_s, ',
        'wake_s = [math.inf, ',
        "a copy is not let go of, as somebody else had the agent look at the clock first",
        "no_objects_left", 0,
    ),
    Mutation(
        "ask_for_all_again", downloads, "Downloads._pull_from",
        'done = 0 if download.incoming is None else download.incoming.done_bytes',
        'done = 0',
        "a pull that is taken up again never ends",
        "comes_to_rest", 0,
    ),
    Mutation(
        "forget_no_transit", mover, "Mover.process_gone",
        'self._unclaimed.sender_gone(process, 0, now + self._limits.transit_s)',
        'pass',
        "what a worker had made as it was killed stays in the store",
        "no_objects_left", 16,
    ),
    Mutation(
        "forget_who_waited_for_room", downloads, "Downloads._has_room",
        'elif waited:',
        'elif False:',
        "what was spilled for, and has room by now, never comes",
        "comes_to_rest", 3,
    ),
)
# fmt: on


if __name__ == "__main__":
    sys.exit(main(MUTATIONS, range(SEEDS), run))  # python -m tests.copies.mutations [NAME...]
