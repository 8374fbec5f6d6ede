"""How much work lies ahead on a worker: a policy, as functions without state.

Assumptions. A round trip between owner and worker costs about a tenth of a millisecond, so short tasks must lie
ahead in numbers, or the worker starves. A task that is long must have little behind it: what is
offered and not started can be recalled, but that costs a round trip too. What a task will take is guessed from the
mean of those that the pool has finished.
"""

from __future__ import annotations

from distpool.scheduler.limits import Limits


def tasks_ahead(mean_s: float, limits: Limits) -> int:
    """How many tasks, the running one included, may lie with a worker whose tasks take ``mean_s`` (0: unknown)."""
    if mean_s <= 0.0:
        return limits.ahead_tasks_unknown
    if mean_s >= limits.ahead_s:
        return 1
    return min(1 + int(limits.ahead_s / mean_s), limits.ahead_tasks_max)


def calls_ahead(concurrency: int, limits: Limits) -> int:
    """How many calls may lie with an actor. Nobody else can take them, so their length does not matter.

    Half of them are done before more is sent, and that half must keep it busy.
    """
    return max(2 * concurrency, limits.ahead_tasks_max)


def updated_mean_s(mean_s: float, busy_s: float, count: int) -> float:
    """Fold ``count`` tasks that took ``busy_s`` in all into the running mean; about the last 16 tasks count."""
    batch_mean_s = busy_s / count
    if mean_s <= 0.0:
        return max(batch_mean_s, 1e-9)
    weight = min(1.0, count / 16)
    return max(mean_s + (batch_mean_s - mean_s) * weight, 1e-9)


def silence_s(mean_s: float, limits: Limits) -> float:
    """A worker that has been silent for this long is taken to run something longer than usual.

    It may have held back results for company meanwhile, which is no silence.
    """
    return limits.hold_results_s + max(limits.silent_s, limits.silent_factor * mean_s)


def fair_level(pending: int, offered: int, leases: int) -> int:
    """How many tasks each of ``leases`` workers would hold if all work were spread evenly, rounded up."""
    return -(-(pending + offered) // leases)
