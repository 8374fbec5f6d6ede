"""Planted bugs of references: each must be caught by some oracle within ``SEEDS`` worlds.

See ``tests.simulation.mutations``, where they are planted.
"""

from __future__ import annotations

import sys

from distpool.scheduler.remote import following, refs, serving
from tests.simulation.mutations import SEEDS, Mutation, main

from .world import run

# fmt: off
MUTATIONS = (
    Mutation(
        "hand_over_what_is_pending_now", following, "Following.subscribe_for",
        'self._serving.serve(ref, subscriber)',
        'contact is None and not ref.settled and self._serving.serve(ref, subscriber)',
        "a value that came while the answer was written never reaches the caller",
        "nothing_lost", 184,
    ),
    Mutation(
        "everything_is_safe", following, "Following.begin_safe",
        'if not names:',
        'if True:',
        "what an actor keeps of its arguments is lost when its caller lets go of it",
        "nothing_lost", 23,
    ),
    Mutation(
        "pass_on_as_it_came", refs, "passed_on",
        'if not kept.refs or kept.is_final:',
        'if True:',
        "whoever gets a value later takes the references in it for pending, and their owner has forgotten them",
        "nothing_lost", 17,
    ),
    Mutation(
        "ask_only_the_owner", following, "Following._ask_next",
        'ref, via = asked.ref(), asked.via',
        'ref, via = asked.ref(), None',
        "a reference that was passed on is lost when its owner had finished it",
        "nothing_lost", 79,
    ),
    Mutation(
        "wait_for_the_dead", following, "Following._lose",
        'ref.reject(0, died)',
        'pass',
        "waiting for what a dead process was to make never ends",
        "calls_end", 36,
    ),
    Mutation(
        "do_not_serve_instead", following, "Following._serve_instead",
        'handed.asked.get(name) == owner and',
        'False and',
        "a worker never answers, whose reference's owner has forgotten it",
        "nothing_left", 0,
    ),
    Mutation(
        "forget_what_came_early", following, "Following._arrived",
        'self._keep(name, message, value)',
        'pass',
        "a value that overtakes the answer with its reference is lost",
        "nothing_lost", 42,
    ),
    Mutation(
        "keep_what_came_early", following, "Following._let_go_of_old",
        'self._early.pop(name, None)',
        'pass',
        "values that nobody has a reference to stay for ever",
        "comes_to_rest", 0,
    ),
    Mutation(
        "leave_with_the_dead", serving, "Serving.lose",
        'self._shell.store.forget_handed(process)',
        'pass',
        "data that was sent to a process as it died stays in the store",
        "no_holds_left", 66,
    ),
    Mutation(
        "serve_the_last_one_only", serving, "Serving.serve",
        'known[1][subscriber.owner] = subscriber',
        'known[1].clear() or known[1].update({subscriber.owner: subscriber})',
        "only one of several processes that wait for a value gets it",
        "nothing_left", 0,
    ),
    Mutation(
        "send_to_one_of_them", serving, "Serving._publish",
        'self.send_value(ref, subscriber)',
        'self._shell.contacts and self.send_value(ref, list(subscribers.values())[0])',
        "a value goes to the wrong process",
        "calls_end", 0,
    ),
    Mutation(
        "wait_in_a_circle", following, "Following._bound_second",
        'late.reject(0, Failure(reason=refs.GONE, kind="lost"))',
        'pass',
        "processes that have all forgotten an object wait for each other",
        "nothing_left", 236,
    ),
)
# fmt: on


if __name__ == "__main__":
    sys.exit(main(MUTATIONS, range(SEEDS), run))  # python -m tests.references.mutations [NAME...]
