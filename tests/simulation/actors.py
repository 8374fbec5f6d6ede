"""Actors of a world: who creates, borrows, calls, kills and closes them, and the oracles for what is told of them.

Calls are not the ledger's jobs: what a death means for them is another thing. A call's right answer names it. The
worker's part is in ``actor_worker``. Each oracle has a name, as in ``ledger``.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from distpool.scheduler.cores.tasks import Task
from distpool.scheduler.messages import (
    ActorEnd,
    ActorTerms,
    Borrow,
    CancelTasks,
    Contact,
    Failed,
    KillActor,
    OpenPool,
    Submit,
)

from .ledger import PoolBook
from .loop import Violation

if TYPE_CHECKING:
    from .owner import OwnerShell
    from .plan import Plan
    from .program import Program
    from .worker import Worker
    from .world import World

#: Kinds of calls. ``crash`` dies of a signal each time, ``crash_once`` the first time, ``exit`` calls os._exit once.
KINDS = ("plain", "raise", "crash", "crash_once", "exit", "deaf", "leave")
#: What was under way to a worker when something happened has arrived after so long.
PATIENCE_S = 3.0
#: An actor may be idle for this long while there are calls of it.
IDLE_S = 1.5
#: Retries without end.
ENDLESS = -1


@dataclass(slots=True, eq=False)
class ActorCall:
    """One call, as its caller knows it (``Task.token``)."""

    number: int
    actor: ActorBook
    caller: PoolBook
    order: int  # among this caller's
    kind: str
    duration_s: float
    retries: int
    task: Any = None
    starts: int = 0
    finishes: int = 0
    lost_answers: int = 0  # times that it had ended, and its answer died with the worker
    outcome: str = ""
    cancelled: bool = False

    @property
    def settled(self) -> bool:
        return bool(self.outcome)

    def __repr__(self) -> str:
        return f"#{self.number} ({self.kind}) of {self.caller.owner}'s pool {self.caller.number}"


@dataclass(slots=True, eq=False)
class ActorBook:
    """An actor, as the world knows it."""

    pool: PoolBook
    terms: ActorTerms
    restarts: int
    constructed: int = 0  # set-ups that have begun
    deaths: int = 0  # of workers that had come for it
    instances: set[Worker] = field(default_factory=set)
    killed_s: float = 0.0  # for good, by the program
    left: bool = False  # it has called exit_actor
    kills: int = 0  # after which it may come back; one that meets no worker spends a restart as a death does
    callers: list[PoolBook] = field(default_factory=list)
    calls: list[ActorCall] = field(default_factory=list)


def add(plan: Plan, chance: Any) -> None:
    """By a chance of its own, so that the worlds without are what they were before there were actors."""
    plan.actors = chance.random() < 0.25
    if plan.actors:
        plan.owners = max(2, plan.owners)  # one creates, another borrows


class Actors:
    """All actors of one world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.chance = world.actor_chance
        self.books: list[ActorBook] = []
        self.calls: list[ActorCall] = []
        self.idle_since: dict[Worker, float] = {}
        self.fault_chance = random.Random(f"faults of actors {world.loop.seed}")

    # --------------------------------------------------------------------------------- programs

    def write(self, programs: list[Program]) -> None:
        """Schedule what these drivers do with actors."""
        if not self.world.plan.actors:
            return
        for _ in range(self.chance.randint(1, 3)):
            creator = self.chance.choice(programs)
            self.world.loop.after(self.chance.uniform(0.0, 4.0), self._create, creator, programs)
        if self.world.plan.kills and self.chance.random() < 0.2:
            self.world.loop.after(self.chance.uniform(2.0, 8.0), self._creator_dies)
        if self.world.plan.cuts:
            for _ in range(self.fault_chance.randint(0, 3)):
                self.world.loop.after(self.fault_chance.uniform(1.0, 10.0), self._cut)

    def _create(self, program: Program, programs: list[Program]) -> None:
        if not program.shell.alive:
            return
        chance = self.chance
        terms = ActorTerms(chance.choice((1, 1, 1, 3)))
        restarts = chance.choice((0, 1, 3, ENDLESS, ENDLESS))
        pool = self._open(program, dedicated=True)
        book = ActorBook(pool, terms, restarts, callers=[pool])
        pool.actor = book
        self.books.append(book)
        program.shell.tell(
            OpenPool(pool.number, 1, b"setup %f" % 0.0, actor=terms, restarts=restarts, self_contained=True)
        )
        self._plan_calls(program, book, pool)
        for other in programs:
            if other is not program and chance.random() < 0.8:
                self.world.loop.after(chance.uniform(0.0, 3.0), self._borrow, other, program, book)
        if chance.random() < 0.3:
            restart = chance.random() < 0.7
            self.world.loop.after(chance.uniform(0.5, 8.0), self._kill, program, book, pool, restart)
        if chance.random() < 0.3:
            self.world.loop.after(chance.uniform(4.0, 11.0), program.close, pool)

    def _creator_dies(self) -> None:
        lent = [book for book in self.books if len(book.callers) > 1]
        owners = {shell.owner: shell for shell in self.world.drivers if shell.alive}
        if lent and len(owners) > 1 and (shell := owners.get(lent[0].pool.owner)) is not None:
            self.world.last_fault_s = self.world.loop.now
            shell.die()

    def _cut(self) -> None:
        """A caller and an actor on another machine lose the link between them, and nothing else."""
        lent = [
            end
            for shell in self.world.drivers
            for end in shell.links.values()
            if end.label.startswith("worker:") and "~" in end.label and not end.cut
            if end.process.machine != end.peer.process.machine
        ]
        if lent and not self.world.quiet:
            end = self.fault_chance.choice(lent)
            self.world.strike(f"the link {end.process.name} - {end.label} is cut")
            self.world.uncertain()
            self.world.network.cut(end, both=True, detect_s=0.3)

    def slow_s(self) -> float:
        """How long the first word to another caller may take, beyond what any word takes."""
        return self.fault_chance.choice((0.0, 0.01)) if self.world.plan.kills else 0.0

    def serves(self, worker: Worker) -> None:
        """A worker has said its first word to another caller; now and then that was its last."""
        plan = self.world.plan
        if plan.kills and not self.world.quiet and self.fault_chance.random() < 0.3:
            self.world.strike(f"SIGKILL {worker.name}, which has begun to serve a caller")
            self.world.kills += 1
            worker.die(9)

    def _open(self, program: Program, *, dedicated: bool) -> PoolBook:
        pool = PoolBook(program.shell.owner, len(program.pools) + 1, 1, dedicated, {}, 0.0)
        program.pools[pool.number] = pool
        self.world.books[pool.owner, pool.number] = pool
        return pool

    def _borrow(self, program: Program, creator: Program, book: ActorBook) -> None:
        if not program.shell.alive or not creator.shell.alive:
            return
        pool = self._open(program, dedicated=False)
        pool.actor = book
        book.callers.append(pool)
        borrow = Borrow(_contact(creator.shell), book.pool.number, _contact(program.shell))
        program.shell.watch_owner(creator.shell)
        program.shell.tell(OpenPool(pool.number, 1, b"setup %f" % 0.0, actor=book.terms, borrow=borrow))
        self._plan_calls(program, book, pool)
        if self.chance.random() < 0.4:
            self.world.loop.after(self.chance.uniform(1.0, 6.0), program.close, pool)

    def _plan_calls(self, program: Program, book: ActorBook, pool: PoolBook) -> None:
        chance = self.chance
        for _ in range(chance.randint(1, 5)):
            self.world.loop.after(chance.uniform(0.0, 6.0), self._call, program, book, pool)
        for _ in range(chance.choice((0, 0, 1, 2))):
            self.world.loop.after(chance.uniform(0.0, 8.0), self._cancel, program, pool)

    def _call(self, program: Program, book: ActorBook, pool: PoolBook) -> None:
        """One submit of some calls."""
        if not program.shell.alive or pool.state not in ("open", "broken"):
            return
        chance = self.chance
        length_s = chance.choice((0.0, 1e-5, 1e-3, 0.02))
        calls = []
        for _ in range(chance.choice((1, 3, 30, 150))):
            kind = chance.choices(KINDS, weights=(600, 10, 1, 6, 2, 1, 0.3))[0]
            call = ActorCall(
                len(self.calls),
                book,
                pool,
                sum(other.caller is pool for other in book.calls),
                kind,
                8.0 if kind == "deaf" else length_s,
                chance.choice((0, 1, 1) if kind == "crash" else (0, 0, 1, ENDLESS)),
            )
            payload = [call.number, kind, call.duration_s, None]
            call.task = Task(
                pool.number, call, call.number, 1, b"function 1", payload, 20, call.retries, call
            )
            self.calls.append(call)
            book.calls.append(call)
            calls.append(call)
        program.shell.tell(Submit(pool.number, [call.task for call in calls]))

    def _cancel(self, program: Program, pool: PoolBook) -> None:
        calls = [call for call in self.calls if call.caller is pool and not call.settled]
        if program.shell.alive and calls:
            some = self.chance.sample(calls, self.chance.randint(1, len(calls)))
            for call in some:
                call.cancelled = True
            program.shell.tell(CancelTasks([call.task for call in some], self.chance.random() < 0.6))

    def _kill(self, program: Program, book: ActorBook, pool: PoolBook, restart: bool) -> None:
        if program.shell.alive and pool.state in ("open", "closed"):
            book.killed_s = book.killed_s or (0.0 if restart else self.world.loop.now)
            book.kills += restart
            program.shell.tell(KillActor(pool.number, restart))

    # ----------------------------------------------------------------------- what workers do

    def constructs(self, book: ActorBook, worker: Worker) -> None:
        """A worker has been told to construct it."""
        lossless = not self.world.ledger.anything_lost
        book.constructed += 1
        book.instances = {other for other in book.instances if other.alive}
        if book.instances and lossless:
            raise Violation(
                "actor_is_one", f"{worker.name} constructs an actor that lives in {book.instances}"
            )
        if 0 <= book.restarts < book.constructed - 1:
            raise Violation(
                "actor_restarts_bounded", f"an actor with {book.restarts} restarts: no. {book.constructed}"
            )
        if book.killed_s and self.world.loop.now > book.killed_s + PATIENCE_S:
            raise Violation(
                "actor_stays_dead", f"{worker.name} constructs what was killed at {book.killed_s:.2f} s"
            )
        book.instances.add(worker)

    def worker_died(self, worker: Worker) -> None:
        """One that was to construct it counts too: whether it has begun to, its owner cannot know."""
        lease = worker.lease
        pool = None if lease is None else self.world.books.get((lease.owner, lease.pool))
        if pool is not None and pool.actor is not None:
            pool.actor.deaths += 1

    def begins(self, call: ActorCall, worker: Worker) -> None:
        """A worker runs this call from here on."""
        call.starts += 1
        if call.outcome == "forgotten":
            return
        if call.starts > 1 and not call.retries:
            raise Violation(
                "actor_at_most_once", f"call {call.number} (retries=0) begins again on {worker.name}"
            )
        lossless = not self.world.ledger.anything_lost
        bound = 1 + call.retries + call.lost_answers
        if call.retries > 0 and call.starts > bound and lossless:
            raise Violation(
                "actor_retries_bounded", f"call {call.number} begins for the {call.starts}th time"
            )
        if not call.settled and call.task.keep is None:
            raise Violation(
                "actor_arguments_kept", f"call {call.number} begins, and its arguments were let go"
            )
        if call.starts == 1:
            for other in call.actor.calls:
                earlier = other.caller is call.caller and other.order < call.order
                if earlier and not (other.starts or other.settled or other.cancelled):
                    raise Violation(
                        "actor_in_order", f"call {call.number} begins before {other.number} of its caller"
                    )

    def sample(self) -> None:
        """No actor is idle beyond a bound while calls of it have no outcome, unless something has just struck."""
        now, idle_since = self.world.loop.now, {}
        for book in self.books:
            waiting = [
                call for call in book.calls if not call.outcome and call.caller.state in ("open", "closed")
            ]
            for worker in book.instances if waiting else ():
                if worker.actor is None or not worker.actor.is_idle:
                    continue
                since = idle_since[worker] = self.idle_since.get(worker, now)
                if now - max(since, self.world.last_fault_s + PATIENCE_S) > IDLE_S:
                    raise Violation(
                        "no_idle_actor_beside_calls",
                        f"{worker.name} is idle since {since:.2f} s, and {len(waiting)} calls wait: {waiting[0]}, ...",
                    )
        self.idle_since = idle_since

    # ---------------------------------------------------------------------- what programs are told

    def done(self, call: ActorCall, value: Any) -> None:
        self._settle(call, "done")
        if value != [call.number, "answer"]:
            raise Violation("actor_right_value", f"call {call.number} got {value!r}")
        if not call.finishes:
            raise Violation("actor_right_value", f"call {call.number} is done, and has never ended anywhere")

    def failed(self, call: ActorCall, failed: Failed) -> None:
        kind = failed.kind or ("error" if failed.error is not None else failed.reason)
        self._settle(call, kind)
        book, ledger = call.actor, self.world.ledger
        ended = call.caller.state in ("closed", "terminated", "gone")
        spent = book.restarts >= 0 and book.deaths + book.kills > book.restarts
        match kind:
            case "error":
                right = call.kind == "raise" or call.cancelled
            case "cancelled":
                right = call.cancelled or ended
            case ActorEnd.UNAVAILABLE:
                right = bool(call.starts) or ledger.anything_lost
            case ActorEnd.DIED:
                right = spent
            case ActorEnd.KILLED:
                right = bool(book.killed_s) or (book.kills > 0 and spent)
            case ActorEnd.EXITED:
                right = book.left
            case ActorEnd.CLOSED:
                right = book.pool.state in ("closed", "terminated", "gone", "broken")
            case ActorEnd.OWNER_DIED:
                right = ledger.anything_lost or not self._lives(book.pool.owner)
            case ActorEnd.REFUSED:
                right = self.world.kills >= 3
            case _:
                right = ended
        unlucky = (
            kind == ActorEnd.DIED and self.world.kills >= 3 and book.restarts != ENDLESS
        )  # before its first word
        if not right and not unlucky:
            raise Violation("actor_ends_with_cause", f"call {call.number} ({call.kind}) failed: {failed!r}")

    def _lives(self, owner: str) -> bool:
        return any(shell.owner == owner and shell.alive for shell in self.world.drivers)

    def _settle(self, call: ActorCall, outcome: str) -> None:
        if call.outcome:
            raise Violation(
                "actor_told_once", f"call {call.number} is told {outcome}, after it was told {call.outcome}"
            )
        if call.task.keep is not None:
            raise Violation(
                "actor_arguments_let_go", f"call {call.number} is {outcome}, its arguments are kept"
            )
        call.outcome = outcome

    def owner_gone(self, owner: str) -> None:
        """Nobody asks for the calls of a dead driver."""
        for call in self.calls:
            if call.caller.owner == owner and not call.outcome:
                call.outcome = "forgotten"

    @property
    def open_calls(self) -> list[ActorCall]:
        """Calls without an outcome."""
        return [call for call in self.calls if not call.outcome]


def _contact(shell: OwnerShell) -> Contact:
    return Contact(shell.owner, shell.core.address, shell.machine, 1)
