"""What a process can say of its own pools and of the tasks in them, if somebody in the cluster asks.

::

    Inquire "load", "why" ──► Outlook ── read off the OwnerCore, in a step ──► OwnerView
    Inquire "stacks" ───────► a program's threads (workers are asked themselves) ──► Stack

Nothing is kept for it and nothing noted; what is told is bounded, and so is how many tasks are looked through. What
calls are called, and which of them wait outside of the core, those know that have made them (``inquiries.Knowledge``).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from distpool.scheduler.cores.owner import OwnerCore
from distpool.scheduler.cores.owner_leasing import is_borrowed
from distpool.scheduler.cores.tasks import Lease, LeaseState, Pool, Task
from distpool.scheduler.messages import Inquire
from distpool.scheduler.messages.insights import Ended, LeaseView, Needed, OwnerView, PoolView, Waiting, pack
from distpool.scheduler.shells import stacks
from distpool.scheduler.shells.inquiries import Knowledge

POOLS_MAX = 200
LEASES_MAX = 64
#: Tasks that are told of, and looked through: the look takes some 50 ns for each, and nothing else happens meanwhile.
TASKS_TOLD_MAX = 20
TASKS_SEEN_MAX = 200_000

_STATES = {
    LeaseState.SETTING_UP: "setting up",
    LeaseState.READY: "ready",
    LeaseState.RETIRING: "retiring",
    LeaseState.LOST: "lost",
}


class Outlook:
    """One owner's. ``done_on`` says how many tasks a lease's worker has answered."""

    def __init__(
        self, core: OwnerCore, inbox: Iterable[Any], done_on: Callable[[str], int], knowledge: Knowledge
    ) -> None:
        self._core = core
        self._inbox = inbox
        self._done_on = done_on
        self._knowledge = knowledge
        self._names: dict[tuple[int, int], str] = {}  # of functions, while one question is answered

    def answer(self, question: Inquire, say: Callable[[bytes], None]) -> None:
        """In a step."""
        core = self._core
        if question.topic == "stacks":
            say(b"" if core.worker else pack(stacks.own_stack(core.node, 0)))
            return
        about = question.about if question.topic == "why" else None
        say(pack(self._view(about)))
        self._names.clear()

    def _view(self, about: str | None) -> OwnerView:
        core = self._core
        waiting: list[Waiting] = []
        ended: list[Ended] = []
        more, cut = 0, False
        if about:
            waiting, more, cut = self._find(about)
            ended = self._knowledge.ended(about)[:TASKS_TOLD_MAX]
        names = self._knowledge.names_of_pools()
        pools = [
            self._pool(pool, *names.get(pool.pool, ("", "")))
            for pool in itertools.islice(core.pools.values(), POOLS_MAX)
        ]
        return OwnerView(
            core.owner,
            core.pid,
            core.node,
            core.worker,
            tuple(pools),
            tuple(waiting),
            tuple(ended),
            more,
            cut or len(core.pools) > POOLS_MAX,
        )

    # ----------------------------------------------------------------------------------------- pools

    def _pool(self, pool: Pool, name: str, actor: str) -> PoolView:
        if pool.actor is not None:
            kind = "borrowed" if is_borrowed(pool) else "actor"
        else:
            kind = "pool" if pool.dedicated else "shared"
        failure = getattr(pool.failure, "reason", "") or ""
        leases = [self._lease(lease) for lease in itertools.islice(pool.leases.values(), LEASES_MAX)]
        return PoolView(
            pool.pool,
            kind,
            name,
            dict(pool.resources),
            pool.strategy,
            pool.size,
            pool.pending,
            pool.resting,
            sum(len(lease.offered) for lease in pool.leases.values()),
            pool.ready,
            pool.staying,
            sum(self._done_on(lease) for lease in pool.leases),
            dict(pool.wanted),
            pool.setup_failures,
            pool.mean_s,
            failure,
            tuple(leases),
            max(0, len(pool.leases) - LEASES_MAX),
            actor,
        )

    def _lease(self, lease: Lease) -> LeaseView:
        oldest = next(iter(lease.offered.values()), None)  # it is the one that runs, if any does
        running = "" if oldest is None else self._name(oldest)
        return LeaseView(
            lease.lease, lease.pid, lease.node, _STATES[lease.state], len(lease.offered), running
        )

    def _name(self, task: Task) -> str:
        key = task.pool, task.function
        if task.token.raw or key not in self._names:  # calls of one function may be called differently there
            self._names[key] = self._knowledge.name_of(task)
        return self._names[key]

    # ----------------------------------------------------------------------------------------- tasks

    def _find(self, about: str) -> tuple[list[Waiting], int, bool]:
        """The tasks that are meant, how many more there are, and whether some were not looked at."""
        found: list[Waiting] = []
        is_meant = self._knowledge.matcher(about)
        more = seen = 0
        for task, state, before, lease, attempt, needs, needs_more in self._all():
            seen += 1
            if seen > TASKS_SEEN_MAX:
                return found, more, True
            name = self._name(task)
            if not is_meant(task, name):
                continue
            if len(found) == TASKS_TOLD_MAX:
                more += 1
                continue
            number = self._knowledge.id_of(task)
            found.append(Waiting(number, name, state, task.pool, before, lease, attempt, needs, needs_more))
        return found, more, False

    def _all(self) -> Iterator[tuple[Any, str, int, str, int, tuple[Needed, ...], int]]:
        for task, state, before, needs, needs_more in self._knowledge.waiting_outside():
            yield task, state, before, "", 0, needs, needs_more
        for task in list(self._inbox):
            if type(task) is Task:
                yield task, "arriving", 0, "", 0, (), 0
        for task in self._core.outcomes.resting:
            yield task, "resting", 0, "", 0, (), 0
        for pool in self._core.pools.values():
            for lease in pool.leases.values():
                for before, (attempt, task) in enumerate(lease.offered.items()):
                    yield task, "offered", before, lease.lease, attempt, (), 0
            for before, task in enumerate(pool.queue):
                if not task.cancel:
                    yield task, "queued", before, "", 0, (), 0
