"""What a process can say of its own pools and of the tasks in them, if somebody in the cluster asks.

::

    Inquire "load", "why" ──► Outlook ── read off the OwnerCore, in a step ──► OwnerView
    Inquire "activity" ─────► the same, its calls by name and state, what has failed ──► OwnerActivity
    Inquire "stacks" ───────► a program's threads (workers are asked themselves) ──► Stack

Nothing is kept for it and nothing noted; what is told is bounded, and so is how many tasks are looked through. What
calls are called, and which of them wait outside of the core, those know that have made them (``inquiries.Knowledge``).
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from distpool.scheduler.cores.owner import OwnerCore
from distpool.scheduler.cores.owner_leasing import is_borrowed
from distpool.scheduler.cores.tasks import Lease, LeaseState, Pool, Task
from distpool.scheduler.messages import Inquire
from distpool.scheduler.messages.insights import Ended, LeaseView, Needed, OwnerView, PoolView, Waiting, pack
from distpool.scheduler.shells import stacks
from distpool.scheduler.shells.inquiries import Knowledge
from distpool.scheduler.shells.mishaps import Mishaps

POOLS_MAX = 200
LEASES_MAX = 64
#: Tasks that are told of, and looked through: the look takes some 50 ns for each, and nothing else happens meanwhile.
TASKS_TOLD_MAX = 20
TASKS_SEEN_MAX = 200_000
#: Of a queue, or of what lies with a worker, so many are looked at to see what calls are called; ...
NAMES_SEEN_MAX, NAMES_SEEN_ON_LEASE_MAX = 1_000, 50
#: ... of an owner's all, so many.
NAMES_SEEN_IN_ALL_MAX = 10_000

_STATES = {
    LeaseState.SETTING_UP: "setting up",
    LeaseState.READY: "ready",
    LeaseState.RETIRING: "retiring",
    LeaseState.LOST: "lost",
}


class Outlook:
    """One owner's. ``done_on`` says how many tasks a lease's worker has answered."""

    def __init__(
        self,
        core: OwnerCore,
        inbox: Iterable[Any],
        done_on: Callable[[str], int],
        knowledge: Knowledge,
        mishaps: Mishaps,
    ) -> None:
        self._core = core
        self._mishaps = mishaps
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
        view = self._view(about)
        say(pack(view if question.topic != "activity" else self._activity(view, question.about)))
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
        told = list(core.pools.values())
        if len(told) > POOLS_MAX:  # a thousand actors, say: those that have something to do come first
            told = sorted(told, key=lambda pool: not (pool.pending or pool.offered))[:POOLS_MAX]
        pools = [self._pool(pool, *names.get(pool.pool, ("", ""))) for pool in told]
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

    # -------------------------------------------------------------------------------------- activity

    def _activity(self, view: OwnerView, about: str) -> Any:
        from distpool.scheduler.messages.activity import CallStates, OwnerActivity, wanted

        asker = wanted(about).asker
        counts = [Counter[str](), Counter[str](), Counter[str]()]  # waiting, queued, offered
        guessed: set[str] = set()
        seen = 0

        def count(state: int, tasks: Iterable[Any], there: int, most: int) -> None:
            """What these are called; of more than ``most`` the first stand for all."""
            nonlocal seen
            looked = list(itertools.islice(tasks, min(most, NAMES_SEEN_IN_ALL_MAX - seen)))
            seen += len(looked)
            names = Counter(map(self._name, looked))
            for name, number in names.items():
                if there > len(looked):
                    guessed.add(name)
                    number = round(number * there / len(looked))
                counts[state][name] += number

        core = self._core
        arriving = [task for task in list(self._inbox) if type(task) is Task]
        count(1, arriving, len(arriving), NAMES_SEEN_MAX)
        count(1, core.outcomes.resting, len(core.outcomes.resting), NAMES_SEEN_MAX)
        for pool in core.pools.values():
            pending = pool.pending
            if pending:
                alive = (task for task in pool.queue if not task.cancel)
                count(1, alive, pending, NAMES_SEEN_MAX)
            if pool.offered:
                for lease in pool.leases.values():
                    count(2, lease.offered.values(), len(lease.offered), NAMES_SEEN_ON_LEASE_MAX)
        outside = itertools.islice(self._knowledge.waiting_outside(), NAMES_SEEN_IN_ALL_MAX)
        waiting = [task for task, *_ in outside]
        count(0, waiting, len(waiting), NAMES_SEEN_IN_ALL_MAX)
        names = dict.fromkeys(itertools.chain(*counts))
        outside_, queued, offered = counts
        calls = [
            CallStates(name, outside_[name], queued[name], offered[name], name in guessed) for name in names
        ]
        return OwnerActivity(view, tuple(calls), self._mishaps.count, self._mishaps.tell(asker))

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
