"""Planted bugs: each is a small patch of a real core that some oracle must catch within ``SEEDS`` seeds.

A mutation replaces one place in the source of one method (the anchor is asserted to be there exactly once) and runs the
worlds with the patched method. So the list also tells what the simulator can see; a bug that survives is a hole in it.
``tests/simulation/test_mutations.py`` runs them by name.
"""

from __future__ import annotations

import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from distpool.scheduler.cores import (
    ahead,
    deadlines,
    head,
    head_groups,
    head_jobs,
    head_keys,
    load_ranks,
    node_granting,
    node_groups,
    node_head,
    node_holding,
    node_jobs,
    node_lending,
    node_owners,
    node_pressure,
    node_processes,
    owner,
    owner_idling,
    owner_leasing,
    owner_limits,
    owner_offers,
    owner_outcomes,
    owner_pools,
)

from .loop import Violation
from .world import run

SEEDS = 500


@dataclass(frozen=True)
class Mutation:
    """``anchor`` in the source of ``target`` (a method or function of ``module``) becomes ``replacement``."""

    name: str
    module: ModuleType
    target: str  # "Class.method" or "function"
    anchor: str
    replacement: str
    why: str  # what a person would see
    oracle: str  # which caught it first when this was written, ...
    seed: int  # ... and on which seed: the sample looks around there


# fmt: off
MUTATIONS = (
    Mutation(
        "count_who_is_on_the_way_out", owner_leasing, "Leasing.ask",
        'have = pool.counted',
        'have = len(pool.leases)',
        "while a worker takes long to exit, others come and go in its place",
        "workers_are_used", 127,
    ),
    Mutation(
        "forget_who_works_off", owner_leasing, "Leasing.ask",
        'pool.size + pool.working_off',
        'pool.size',
        "a pool made smaller is short of workers while one that is to go is in a long task",
        "check", 16,
    ),
    Mutation(
        "forget_who_works_off_elsewhere", owner_leasing, "Leasing.retire_surplus",
        'if not lease.offered:',
        'if True:',
        "the same where that one is on another node",
        "check", 423,
    ),
    Mutation(
        "drain_in_secret", owner_leasing, "Leasing.leave",
        'if self.home:',
        'if False:',
        "while the head is away an owner is sent to a node that drains, and from there, as fast as messages go",
        "nobody_goes_to_and_fro", 130,
    ),
    Mutation(
        "want_what_was_dropped", owner_leasing, "Leasing._want",
        'if not pool.live:',
        'if False:',
        "a pool that is gone gets workers and turns them away, for ever",
        "dropped_is_dropped", 43,
    ),
    Mutation(
        "look_at_the_dead", owner_leasing, "Leasing.forget",
        'self.timed.pop(lease.lease, None)',
        'pass',
        "a worker that is gone is remembered for as long as its task might have run",
        "check", 2,
    ),
    Mutation(
        "replace_the_surplus", owner_leasing, "Leasing.retire_surplus",
        'if not lease.offered:',
        'if False:',
        "two nodes make workers for one place in turns, for ever",
        "workers_are_used", 103,
    ),
    Mutation(
        "wait_for_stolen_work", owner, "OwnerCore._after_work",
        'self.idling.rest(lease, now)',
        'may_get_some or self.idling.rest(lease, now)',
        "a worker that waits for what another gives back is kept for ever when that one dies",
        "check", 0,
    ),
    Mutation(
        "never_reclaim", node_lending, "Lending._owe",
        'if not lease.pool.dedicated:',
        'if False:',
        "a worker that had lent what it takes does without for as long as it has work",
        "check", 0,
    ),
    Mutation(
        "drop_the_attempt_check", owner_outcomes, "Outcomes.take",
        '                continue  # a late answer names an attempt that this worker no longer has\n',
        '                task = next(iter(offered.values()), None)\n'
        '                if task is None:\n'
        '                    continue\n'
        '                del offered[task.attempt]\n',
        "a late answer is taken for another task's",
        "right_value", 20,
    ),
    Mutation(
        "keep_for_ever", owner_outcomes, "Outcomes.take",
        'task.lease = task.payload = task.keep = None',
        'task.lease = task.payload = None',
        "arguments of finished calls are never let go",
        "arguments_let_go", 1,
    ),
    Mutation(
        "let_go_too_early", owner_outcomes, "Outcomes._unoffer",
        'task.lease = None',
        'task.lease = task.keep = None',
        "a call that is repeated has lost its arguments",
        "arguments_kept", 1,
    ),
    Mutation(
        "charge_the_wrong_task", owner, "OwnerCore._on_worker_died",
        '        unstarted = [attempt for attempt in lease.offered if attempt != message.running]\n'
        '        self.outcomes.requeue(lease, unstarted)\n'
        '        self.outcomes.charge(lease, message.running, message.death, now)\n',
        '        running = max(lease.offered, default=0)\n'
        '        self.outcomes.requeue(lease, [attempt for attempt in lease.offered if attempt != running])\n'
        '        self.outcomes.charge(lease, running, message.death, now)\n',
        "a task that never ran fails with WorkerDied",
        "only_the_running_task_pays", 1,
    ),
    Mutation(
        "charge_all_offered", owner, "OwnerCore._on_worker_died",
        'self.outcomes.requeue(lease, unstarted)',
        '[self.outcomes.charge(lease, attempt, message.death) for attempt in unstarted]',
        "one crash fails its neighbours",
        "only_the_running_task_pays", 1,
    ),
    Mutation(
        "charge_nobody", owner_outcomes, "Outcomes.charge",
        'task.retries -= 1',
        'pass',
        "a poison task kills workers for ever",
        "retries_bounded", 3,
    ),
    Mutation(
        "repeat_the_careful", owner_outcomes, "Outcomes.charge",
        'task.retries > 0 and death.signal',
        'death.signal',
        "a retries=0 task runs twice",
        "never_repeated", 2,
    ),
    Mutation(
        "retry_an_exit", owner_outcomes, "Outcomes.charge",
        'task.retries > 0 and death.signal',
        'task.retries > 0',
        "os._exit in a task is tried again",
        "exit_fails_at_once", 1,
    ),
    Mutation(
        "ignore_the_mailbox", owner, "OwnerCore._on_worker_died",
        'for answers in message.answers:',
        'for answers in ():',
        "a recorded answer is lost",
        "recorded_answers_kept", 2,
    ),
    Mutation(
        "forget_the_unstarted", owner, "OwnerCore._on_worker_died",
        'self.outcomes.requeue(lease, unstarted)',
        '[self.outcomes._unoffer(lease, lease.offered.pop(attempt)) for attempt in unstarted]',
        "calls behind a crash never end",
        "told_before_gone", 1,
    ),
    Mutation(
        "requeue_twice", owner_outcomes, "Outcomes.requeue",
        'lease.pool.queue.extendleft(reversed(keep))',
        'lease.pool.queue.extendleft(reversed(keep + keep))',
        "a call is delivered twice",
        "check", 1,
    ),
    Mutation(
        "lose_the_recalled", owner, "OwnerCore._on_recalled",
        'count = self.outcomes.requeue(lease, message.attempts)\n',
        'lost = [lease.offered.pop(attempt) for attempt in message.attempts if attempt in lease.offered]\n'
        '        count = len([self.outcomes._unoffer(lease, task) for task in lost])\n'
        '        pool.ranks.update(lease)\n',
        "a recalled call never ends",
        "told_before_gone", 1,
    ),
    Mutation(
        "recall_only_once", owner_offers, "Offers.recalled",
        'if lease.recalling:',
        'if False:',
        "work hides behind a long task",
        "no_idle_worker_beside_work", 14,
    ),
    Mutation(
        "skip_a_recall", owner_offers, "Offers.recall",
        'self._out.append((lease.control, Recall(count)))',
        'pass',
        "an idle worker beside a full one",
        "no_idle_worker_beside_work", 2,
    ),
    Mutation(
        "deliver_the_cancelled", owner_outcomes, "Outcomes.cancel",
        'was, task.cancel = task.cancel, wanted',
        'was = task.cancel',
        "a cancelled call is run and delivered all the same",
        "check", 0,
    ),
    Mutation(
        "forget_to_kill", owner, "OwnerCore._on_tick",
        'if lease is not None and attempt in lease.offered:',
        'if False:',
        "cancel() of a task deaf to KeyboardInterrupt has no effect",
        "cancel_in_time", 59,
    ),
    Mutation(
        "forget_a_tick", owner, "OwnerCore._on_tick",
        'self.alarm.rang()',
        'pass',
        "no deadline after the first is kept",
        "cancel_in_time", 21,
    ),
    Mutation(
        "overdue_untold", owner_limits, "TimeLimits._end",
        'self._outcomes.overdue(lease, task, now)',
        'pass',
        "task_timeout has no effect",
        "overdue_told", 2,
    ),
    Mutation(
        "cut_short", owner_limits, "TimeLimits.seen",
        'if rest_s <= 0.0:',
        'if True:',
        "a task is ended before its time is up",
        "time_not_cut", 2,
    ),
    Mutation(
        "watch_one_worker", owner_offers, "Offers._watch",
        'if not lease.look_s or at_s < lease.look_s:',
        'if not self.watched:',
        "a task that hangs on the second worker hangs for ever",
        "overdue_told", 13,
    ),
    Mutation(
        "overdue_left_running", owner_outcomes, "Outcomes.overdue",
        'self._kill_later(lease, task.attempt, now)',
        'pass',
        "an overdue task deaf to KeyboardInterrupt keeps its worker",
        "overdue_ends", 16,
    ),
    Mutation(
        "overdue_told_twice", owner_outcomes, "Outcomes._cancelled",
        'if task.cancel is Cancel.OVERDUE:',
        'if False:',
        "an overdue call gets two outcomes",
        "exactly_once", 2,
    ),
    Mutation(
        "overdue_tried_again", owner_outcomes, "Outcomes.charge",
        '        if task.cancel:\n'
        '            self._cancelled(task)\n'
        '        elif',
        '        if',
        "a task that hangs is run again, and hangs again",
        "check", 1,
    ),
    Mutation(
        "worn_out_stays", owner, "OwnerCore._on_worn_out",
        'self.leasing.retire(lease)',
        'pass',
        "a worker that is too big is not replaced",
        "worn_replaced", 21,
    ),
    Mutation(
        "worn_out_forgets", owner, "OwnerCore._on_worn_out",
        'self.outcomes.requeue(lease, message.attempts)',
        'pass',
        "calls behind the one that made a worker too big never end",
        "workers_replaced", 202,
    ),
    Mutation(
        "tasks_have_a_grace", owner_leasing, "Leasing.give_back",
        'if not lease.offered and not lease.returned:',
        'if not lease.returned:',
        "making a pool smaller kills tasks that take long",
        "retiring_ends_no_task", 165,
    ),
    Mutation(
        "never_given_back", owner_leasing, "Leasing.give_back",
        'self._out.append((f"agent:{lease.node}", ReturnLease(lease.lease)))',
        'pass',
        "a worker whose exit handlers hang is not ended",
        "retire_in_time", 15,
    ),
    Mutation(
        "max_tasks_uncounted", owner_offers, "Offers._offer",
        'lease.tasks_left -= len(functions)',
        'pass',
        "maxtasksperchild has no effect",
        "max_tasks_kept", 1,
    ),
    Mutation(
        "idle_for_ever", owner, "OwnerCore._on_tick",
        '        for lease in self.idling.due(now):\n'
        '            self.leasing.retire(lease)\n',
        '',
        "a shared worker that has nothing to do keeps what others wait for",
        "everything_ends", 48,
    ),
    Mutation(
        "never_retire", owner, "OwnerCore._after_work",
        'if lease.tasks_left == 0:',
        'if False:',
        "a worker that is used up stays, and its pool waits",
        "check", 1,
    ),
    Mutation(
        "functions_not_sent", owner_offers, "Offers._offer",
        'blobs[function] = task.blob',
        'pass',
        "a worker does not know its function",
        "functions_known", 1,
    ),
    Mutation(
        "mixed_batches", owner_offers, "Offers._offer",
        '                if functions:\n'
        '                    break\n',
        '',
        "tasks that may not be repeated travel as careless ones",
        "careful_marked", 1,
    ),
    Mutation(
        "terminate_forgets_the_offered", owner_outcomes, "Outcomes.fail_all",
        'for task in lease.offered.values():',
        'for task in ():',
        "terminate() leaves calls without an outcome",
        "check", 1,
    ),
    Mutation(
        "reuse_an_incarnation", owner, "OwnerCore.hello",
        'self.incarnation += 1',
        'self.incarnation = 1',
        "an owner that comes back is not heard",
        "everything_ends", 19,
    ),
    Mutation(
        "drop_said_once", owner_pools, "PoolLife.say_again",
        'if node in pool.dropping:',
        'if False:',
        "join() hangs after a lost link",
        "pools_go", 0,
    ),
    Mutation(
        "gone_too_early", owner_pools, "PoolLife._drop",
        '{node for node in pool.wanted if node in self._leasing.agents}',
        'set()',
        "join() returns while workers live",
        "terminated_means_gone", 1,
    ),
    Mutation(
        "never_break", owner_pools, "PoolLife.setup_failed",
        'pool.setup_failures < attempts',
        'True',
        "a failing initializer is tried for ever",
        "everything_ends", 21,
    ),
    Mutation(
        "failed_setup_stays", owner, "OwnerCore._on_setup_done",
        '            if pool.state is not PoolState.BROKEN:\n'
        '                self.leasing.retire(lease)\n',
        '',
        "a worker without its set-up blocks its pool",
        "pools_go", 4,
    ),
    Mutation(
        "offer_before_set_up", owner_leasing, "Leasing.hello",
        'pool.staying += 1',
        'pool.staying = pool.staying + 1 + bool(pool.ranks.rank(lease))',
        "tasks run before the initializer",
        "check", 0,
    ),
    Mutation(
        "forget_the_surplus", owner_pools, "PoolLife.resize",
        'self._leasing.retire_surplus(lease)',
        'pass',
        "a pool made smaller stays as it was",
        "size_respected", 290,
    ),
    Mutation(
        "levels_said_once", owner_leasing, "Leasing.say_again",
        'if node in pool.wanted:',
        'if False:',
        "after a lost link nobody replaces workers",
        "everything_ends", 6,
    ),
    Mutation(
        "ranks_not_kept", load_ranks, "LoadRanks.update",
        'lease.rank = rank',
        'pass',
        "an idle worker is taken for a busy one",
        "check", 1,
    ),
    Mutation(
        "never_spread_again", owner_offers, "Offers.take_in",
        'return nobody_waits or',
        'return not pool.offered or',
        "new tasks pass idle workers by",
        "check", 1,
    ),
    Mutation(
        "unfair_share", ahead, "fair_level",
        '-(-(pending + offered) // leases)',
        '(pending + offered) // leases',
        "the last tasks are never offered",
        "check", 1,
    ),
    Mutation(
        "heavy_bytes_forgotten", owner_outcomes, "Outcomes._unoffer",
        'lease.heavy_bytes -= task.size',
        'pass',
        "big arguments throttle a worker for ever",
        "check", 1,
    ),
    Mutation(
        "grant_twice", node_granting, "Granting._grant_one",
        'if fits(pool.need, without(core.free, reserved)) and core.processes.start(\n'
        '            pool, core.free, core.free_gpus, now\n'
        '        ):\n',
        'if fits(pool.need, without(core.free, reserved)) and core.processes.start(\n'
        '            pool, core.free, core.free_gpus, now\n'
        '        ) and core.processes.start(pool, core.free, core.free_gpus, now):\n',
        "a pool of n has n + 1 workers",
        "check", 2,
    ),
    Mutation(
        "forget_a_returned_lease", node_processes, "Processes.give_back",
        'lease.returned = True',
        'pass',
        "a retired worker is not replaced",
        "workers_replaced", 21,
    ),
    Mutation(
        "leak_a_slot", node_processes, "Processes._exited",
        'heapq.heappush(self.free_slots, worker.slot)',
        'pass',
        "no slots after 4,096 workers",
        "check", 0,
    ),
    Mutation(
        "leak_resources", node_processes, "Processes._end_lease",
        'add(lease.purse, lease.need if lease.charged else devices.keeps(lease.need))',
        'pass',
        "CPUs vanish with each lease",
        "check", 2,
    ),
    Mutation(
        "oversubscribe", node_processes, "Processes.start",
        'subtract(purse, lease.need)',
        'pass',
        "more leases than CPUs",
        "check", 2,
    ),
    Mutation(
        "share_a_whole_device", node_processes, "Processes.start",
        'subtract(free_gpus, gpus)',
        'pass',
        "two tasks have the same GPU, and its memory does not suffice",
        "check", 3,
    ),
    Mutation(
        "wait_for_a_device_and_keep_cpus", node_granting, "Granting._grant_one",
        'add(reserved, pool.need if self._has_devices(pool, reserved) else devices.keeps(pool.need))',
        'add(reserved, pool.need)',
        "a task with a GPU waits for its children, and those for who waits for that GPU",
        "everything_ends", 22,
    ),
    Mutation(
        "never_wake_who_rests", owner_outcomes, "Outcomes.rested",
        '            _line_up_again(pool, task)\n',
        '',
        "a task whose worker had taken too much memory is lost",
        "no_idle_worker_beside_work", 6,
    ),
    Mutation(
        "oversleep_a_rest", owner_outcomes, "Outcomes._rest",
        'self._alarm.ask(now + rest_s)',
        'pass',
        "a task that is to run again for want of memory waits until something else happens",
        "no_idle_worker_beside_work", 156,
    ),
    Mutation(
        "close_over_who_rests", owner_pools, "PoolLife.drop_if_done",
        ' or pool.resting',
        '',
        "a closed pool loses a task that was to run again",
        "check", 99,
    ),
    Mutation(
        "ignore_blocked", node_lending, "Lending.block",
        'if lease.blocked == blocked or lease.worker.lingers:',
        'if True:',
        "nested tasks deadlock on one CPU",
        "everything_ends", 22,
    ),
    Mutation(
        "terminate_without_kill", node_owners, "OwnerLinks._drop",
        'core.processes.kill(lease.worker, "its pool was terminated")',
        'pass',
        "terminate() leaves workers",
        "pools_go", 1,
    ),
    Mutation(
        "dropped_too_early", node_owners, "OwnerLinks._drop",
        'self.settle(pool)',
        'core.send(f"owner:{owner.name}", PoolDropped(number))',
        "join() returns while workers live",
        "terminated_means_gone", 1,
    ),
    Mutation(
        "orphans_live_on", node_owners, "OwnerLinks.end",
        'core.processes.kill(lease.worker, "its owner is gone")',
        'pass',
        "workers outlive their driver",
        "nothing_left", 21,
    ),
    Mutation(
        "deaths_untold", node_processes, "Processes._exited",
        'self._tell_death(lease, death, exited)',
        'pass',
        "a call on a dead worker never ends",
        "no_idle_worker_beside_work", 1,
    ),
    Mutation(
        "slot_unread", node_processes, "Processes._tell_death",
        'exited.running, exited.answers, True',
        '0, exited.answers, True',
        "nobody is charged, and retries=0 runs twice",
        "exit_fails_at_once", 1,
    ),
    Mutation(
        "mailbox_unread", node_processes, "Processes._tell_death",
        'exited.running, exited.answers, True',
        'exited.running, (), True',
        "a recorded answer is lost",
        "recorded_answers_kept", 2,
    ),
    Mutation(
        "birth_unwatched", node_processes, "Processes.start",
        'core.deadlines.set(("worker", number), now + core.limits.worker_start_s)',
        'pass',
        "a worker that hangs at its start is waited for without end",
        "check", 0,
    ),
    Mutation(
        "late_unpunished", node_processes, "Processes.late",
        'self.kill(worker, f"it did not start within {limits.worker_start_s:g} s")',
        'pass',
        "a worker that hangs at its start is never replaced",
        "check", 26,
    ),
    Mutation(
        "exit_handlers_unbounded", node_processes, "Processes.late",
        'self.kill(worker, f"it did not exit within {limits.retire_grace_s:g} s of being retired")',
        'pass',
        "a hanging exit handler holds join() up",
        "check", 9,
    ),
    Mutation(
        "wake_asked_once", deadlines, "Deadlines.due",
        'self._asked_s = math.inf',
        'pass',
        "no deadline after the first is kept",
        "nothing_left", 10,
    ),
    Mutation(
        "head_spreads_no_view", head, "HeadCore._hello",
        'self._spread(now)',
        'pass',
        "work that fits another node is refused",
        "views_are_whole", 0,
    ),
    Mutation(
        "point_to_one_too_many", node_granting, "Granting.point_to",
        'pool.elsewhere += count',
        'pass',
        "leases are granted here and elsewhere",
        "pointed_once", 9,
    ),
    Mutation(
        "keep_what_others_refused", head_groups, "Groups._give_up",
        'for node in sorted(set(plan.values()) - {but}):',
        'for node in ():',
        "a node sets resources aside for a placement group that another had no room for, for ever",
        "bundles_agree", 249,
    ),
    Mutation(
        "outlive_the_maker", head_groups, "Groups.owner_gone",
        'and not group.facts.detached',
        'and group.facts.detached',
        "what a dead driver has set aside is never given back",
        "check", 46,
    ),
    Mutation(
        "believe_in_a_lost_node", head_groups, "Groups.node_gone",
        'self._lose(group, node, ())',
        'pass',
        "work in bundles of a lost node waits for ever",
        "check", 125,
    ),
    Mutation(
        "go_on_in_a_removed_group", node_groups, "NodeGroups._release",
        'core.processes.kill(lease.worker, reason)',
        'pass',
        "workers of a removed placement group go on",
        "bundles_not_oversubscribed", 17,
    ),
    Mutation(
        "forget_who_watches", node_groups, "NodeGroups.watch_again",
        'self._core.send("head", WatchGroup(group))',
        'pass',
        "after the head was replaced nobody hears where a placement group is",
        "everything_ends", 24,
    ),
    Mutation(
        "hold_nothing", node_holding, "Holding.fill",
        'spare = without(core.free, reserved)',
        'spare = {}',
        "small tasks take for ever what a large placement group waits for",
        "groups_do_not_starve", 32,
    ),
    Mutation(
        "press_nobody_for_a_group", node_pressure, "Pressure.tell",
        'count += 1',
        'pass',
        "the same, since nobody gives back a worker that has work",
        "groups_do_not_starve", 29,
    ),
    Mutation(
        "calm_here_is_calm_everywhere", owner_idling, "Idling.press",
        'self.forget(node)',
        'self.pressed.clear()',
        "workers of one node are not given back since on another nobody waits",
        "groups_do_not_starve", 73,
    ),
    Mutation(
        "make_room_for_two", head_groups, "Groups._make_room",
        'if any(group.held for group in self.groups.values()):',
        'if False:',
        "two large groups each hold half of what they need",
        "check", 73,
    ),
    Mutation(
        "hold_for_who_is_gone", node_holding, "Holding.release",
        'self.drop()',
        'pass',
        "room that was made for a group that was removed is never given back",
        "bundles_agree", 73,
    ),
    Mutation(
        "wait_on_what_is_free_only", head_groups, "Groups._make_room",
        'plan_for(group, self.rooms.to_come())',
        'plan_for(group, self.rooms.free())',
        "nobody makes room, since none is there",
        "groups_do_not_starve", 29,
    ),
    Mutation(
        "answer_before_it_is_kept", head_keys, "Keys._change",
        'self._record(Record(KEYS, key, _encode((question.value, *claimant))))',
        'pass',
        "a head that has died knows nothing of what it had acknowledged",
        "writes_are_kept", 2,
    ),
    Mutation(
        "keep_what_is_gone", head_keys, "Keys._forget",
        'self._record(Record(KEYS, key, None))',
        'pass',
        "names that were given up come back with the next head",
        "check", 20,
    ),
    Mutation(
        "do_it_twice", head_keys, "Keys._once",
        'if told is None:',
        'if True:',
        "who asks again since the answer was lost is told that another was faster",
        "writes_are_kept", 3,
    ),
    Mutation(
        "forget_what_was_said", head_keys, "Keys._once",
        'self._record(Record(ANSWERS, _name(claimant, question.request), _encode(told)))',
        'pass',
        "the same, if it was the head that died",
        "writes_are_kept", 3,
    ),
    Mutation(
        "remember_for_ever", head_keys, "Keys.owner_gone",
        'self._forget_answer(claimant, request)',
        'pass',
        "the head grows with every program that has ever asked it something",
        "nothing_left", 2,
    ),
    Mutation(
        "forget_with_the_link", head_keys, "Keys.node_lost",
        'if told.named:',
        'if True:',
        "who has changed a key is told that it has not, where its node's link to the head was lost meanwhile",
        "writes_are_kept", 20,
    ),
    Mutation(
        "names_of_the_dead", head, "HeadCore._hello",
        'self.keys.node_gone(name, but=frozenset(hello.claimants) if same else frozenset())',
        'pass',
        "the name of an actor whose program ended while the head was away is taken for ever",
        "nothing_left", 9,
    ),
    Mutation(
        "names_of_the_living", node_head, "HeadLink.introduce",
        'tuple(sorted(self.claimants))',
        '()',
        "named actors are not found any more when the head has died",
        "names_are_kept", 2,
    ),
    Mutation(
        "members_are_strangers", head, "HeadCore._hello",
        'self._record(Record(NODES, name, _encode((incarnation, facts))))',
        'pass',
        "the first node that comes back to a new head learns that all others are lost",
        "check", 2,
    ),
    Mutation(
        "count_from_one_again", head, "HeadCore.restore",
        'self.version = (self.epoch - 1) * VIEWS_MAX',
        'pass',
        "what a new head says of the nodes is taken for old news",
        "views_are_heard", 105,
    ),
    Mutation(
        "a_group_is_forgotten", head_groups, "Groups._changed",
        'self._keep(group)',
        'pass',
        "a placement group's bundles are released when the head has died",
        "calls_end", 356,
    ),
    Mutation(
        "begin_work_on_leaving", node_granting, "Granting._place",
        'if core.draining.on:',
        'if False:',
        "a node that was told to go goes on taking work",
        "who_leaves_begins_nothing", 16,
    ),
    Mutation(
        "forget_jobs", head_jobs, "Jobs._set",
        'self._record(Record(JOBS, job.spec.job, msgspec.msgpack.encode(job)))',
        'pass',
        "a job that was taken is not known any more once the head has died",
        "runs_once", 2,
    ),
    Mutation(
        "begin_a_job_again", node_jobs, "NodeJobs.from_head",
        'if spec.job not in self.known:',
        'if True:',
        "a head that says again what may not have been heard has a job run twice",
        "runs_once", 27,
    ),
    Mutation(
        "say_the_end_of_a_job_once", node_jobs, "NodeJobs.say_all",
        'self._say(says)',
        'pass',
        "a job that has ended while the head was away is shown as running, for ever",
        "jobs_end", 7,
    ),
    Mutation(
        "order_a_job_once", head_jobs, "Jobs.node_says_hello",
        'job.state == PENDING:',
        'False:',
        "a job whose order was lost with the head is never begun",
        "jobs_end", 209,
    ),
    Mutation(
        "let_the_lost_come_back", head_jobs, "Jobs.heard",
        'and job.state not in FINAL',
        '',
        "a job that was said to have failed with its node ends well",
        "ends_right", 29,
    ),
    Mutation(
        "keep_jobs_of_lost_nodes", head, "HeadCore._remove",
        'self.jobs.node_gone(node.facts.node, f"node {node.facts.node} was lost, or has ended")',
        'pass',
        "a job is running for ever on a node that is gone",
        "check", 52,
    ),
    Mutation(
        "remember_what_was_noted", node_jobs, "NodeJobs.from_head",
        'del self.known[job]',
        'pass',
        "a node says the ends of all its jobs again and again",
        "nothing_left", 2,
    ),
)
# fmt: on


def method_of(mutation: Mutation) -> tuple[Any, str, Any]:
    """Where the patched thing lives, its name there, and it."""
    holder: Any = mutation.module
    *path, name = mutation.target.split(".")
    for part in path:
        holder = getattr(holder, part)
    return holder, name, getattr(holder, name)


@contextmanager
def planted(mutation: Mutation) -> Iterator[None]:
    """The core with this bug in it."""
    holder, name, original = method_of(mutation)
    source = inspect.getsource(original)
    count = source.count(mutation.anchor)
    assert count == 1, f"{mutation.name}: the anchor occurs {count} times in {mutation.target}; write it anew"
    text = textwrap.dedent(source.replace(mutation.anchor, mutation.replacement))
    names: dict[str, Any] = {}
    exec(compile(text, f"<{mutation.name}>", "exec"), vars(mutation.module), names)
    setattr(holder, name, names[name])
    importers = [] if "." in mutation.target else _importers(name, original)
    for module in importers:
        setattr(module, name, names[name])
    try:
        yield
    finally:
        setattr(holder, name, original)
        for module in importers:
            setattr(module, name, original)


def _importers(name: str, original: Any) -> list[ModuleType]:
    """Modules of the engine that have imported a mutated function by name."""
    modules = [module for key, module in sys.modules.items() if key.startswith("distpool.scheduler")]
    return [module for module in modules if vars(module).get(name) is original]


def hunt(
    mutation: Mutation, seeds: range = range(SEEDS), run: Callable[[int], Any] = run
) -> tuple[int, Violation] | None:
    """The first seed on which an oracle catches the bug, in the worlds of ``run``."""
    with planted(mutation):
        for seed in seeds:
            try:
                run(seed)
            except Violation as violation:
                return seed, violation
    return None


def main(
    mutations: Sequence[Mutation] = MUTATIONS,
    seeds: range = range(SEEDS),
    run: Callable[[int], Any] = run,
) -> int:
    """``python -m tests.simulation.mutations [NAME...]``: where each planted bug is caught, and by what."""
    wanted = set(sys.argv[1:])
    missed = 0
    for mutation in mutations:
        if wanted and mutation.name not in wanted:
            continue
        found = hunt(mutation, seeds, run)
        if found is None:
            missed += 1
            print(f"{mutation.name}: NOT CAUGHT", flush=True)
        else:
            print(f"{mutation.name}: seed {found[0]}, {str(found[1])[:150]}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
