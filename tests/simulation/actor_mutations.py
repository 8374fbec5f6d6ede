"""Planted bugs of actors, as in ``mutations``: each must be caught in the worlds that have actors."""

from __future__ import annotations

from distpool.scheduler.cores import owner, owner_actors, owner_outcomes, owner_pools

from .mutations import Mutation

# fmt: off
ACTOR_MUTATIONS = (
    Mutation(
        "run_twice_at_most_once", owner_actors, "Actors._sort_out",
        'if task.careful or (pays and not task.retries):',
        'if pays and not task.retries:',
        "a call that has ended runs again, though it may not be repeated",
        "actor_at_most_once", 8,
    ),
    Mutation(
        "forget_what_had_begun", owner_actors, "_for_caller",
        'latest = begun[index] if index < len(begun) else 0',
        'latest = 0',
        "a call whose answer died with the worker counts as not begun",
        "actor_at_most_once", 8,
    ),
    Mutation(
        "charge_no_call", owner_actors, "Actors._sort_out",
        'task.retries -= 1',
        'pass',
        "a call that kills its actor is repeated for ever",
        "actor_retries_bounded", 11,
    ),
    Mutation(
        "fail_what_had_not_begun", owner_actors, "Actors._sort_out",
        'begun = attempt <= down.begun or attempt == down.running or not down.certain',
        'begun = True',
        "a death fails every call in the line",
        "actor_ends_with_cause", 8,
    ),
    Mutation(
        "charge_another_callers_call", owner_actors, "_for_caller",
        'if down.running >> CALLER_SHIFT == index else 0',
        'if True else 0',
        "a death under one caller's call is laid at another's door",
        "actor_ends_with_cause", 215,
    ),
    Mutation(
        "restart_without_end", owner_actors, "Actors._down",
        'actor.restarts -= actor.restarts > 0',
        'pass',
        "an actor with one restart comes back again and again",
        "actor_restarts_bounded", 14,
    ),
    Mutation(
        "give_up_what_comes_back_always", owner_pools, "PoolLife.setup_failed",
        'if death is not None and pool.actor is not None and pool.actor.restarts:',
        'if False:',
        "three deaths before the first word end an actor that may come again without end",
        "actor_ends_with_cause", 498,
    ),
    Mutation(
        "serve_callers_once", owner_actors, "Actors.up",
        'for caller in _actor(pool).callers.values():',
        'for caller in ():',
        "after a restart only the creator can call",
        "calls_end", 8,
    ),
    Mutation(
        "tell_callers_nothing", owner_actors, "Actors._down",
        'for caller in actor.callers.values() if live else ():',
        'for caller in ():',
        "callers wait for an actor that has died",
        "calls_end", 8,
    ),
    Mutation(
        "end_in_silence", owner_actors, "Actors._dropped",
        'for caller in actor.callers.values():',
        'for caller in ():',
        "callers wait for an actor that was killed",
        "calls_end", 173,
    ),
    Mutation(
        "outlive_the_creator", owner_actors, "Actors.owner_gone",
        'if pool.live and _is_of(pool, owner):',
        'if False:',
        "callers wait for an actor whose creator is dead",
        "calls_end", 37,
    ),
    Mutation(
        "hold_what_is_borrowed", owner, "OwnerCore.hello",
        'if not is_borrowed(lease.pool)',
        'if True',
        "an agent denies another owner's worker, and the actor counts as dead",
        "actor_ends_with_cause", 79,
    ),
    Mutation(
        "kill_for_a_cancel", owner_outcomes, "Outcomes.cancel",
        'if message.running and (pool.actor is None or message.force):',
        'if message.running:',
        "an actor is killed because a call of it was cancelled",
        "actor_spared", 8,
    ),
    Mutation(
        "construct_what_was_killed", owner_actors, "Actors.kill",
        'self._pool_life.break_pool(pool, None, None, KILLED, ActorEnd.KILLED)',
        'self._leasing.retire_all(pool)',
        "a killed actor comes back",
        "actor_stays_dead", 241,
    ),
    Mutation(
        "mix_up_the_line", owner_outcomes, "Outcomes.requeue",
        'for attempt in sorted(attempts)',
        'for attempt in sorted(attempts, reverse=True)',
        "after a restart calls run in another order",
        "actor_in_order", 8,
    ),
    Mutation(
        "greet_the_dead", owner, "OwnerCore._on_lease_hello",
        'or message.lease in self.leasing.unheard',
        'or False',
        "a worker whose first word comes after the news of its death is waited for",
        "check", 11,
    ),
    Mutation(
        "leave_it_to_the_creator", owner_actors, "Actors.lost",
        'if pool.live:',
        'if False:',
        "a caller that has lost the link to an actor waits for a word that its creator has no reason to say",
        "no_idle_actor_beside_calls", 220,
    ),
)
# fmt: on
