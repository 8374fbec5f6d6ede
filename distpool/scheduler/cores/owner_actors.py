"""What is particular about actors: their deaths and restarts, and the calls that several owners make of one.

An actor is a pool of one dedicated worker whose set-up runs the constructor; tasks are calls of its methods. In its
creator's process it is worked as any pool is. Another owner *borrows* it: a pool without a level, whose worker is told
to dial that owner too, so that calls go straight there and back::

    creator                                       borrower
       ◄───────────────── WantActor ──────────────── OpenPool(borrow)
       ── Serve ──► worker ── LeaseHello, ... ─────► READY: Execute ──► worker, as if it were its own
    WorkerDied
       ├── ActorDown ──────────────────────────────► calls sorted out as below; waits for the next LeaseHello
       └── the level stands: a new worker, SetupDone, Serve again

    a worker's death, with restarts left ──► UNAVAILABLE: the actor is constructed again
                      without             ──► DIED       ┐
    the constructor raises                ──► CONSTRUCTOR│ break_pool: every call that has no
    KillActor, EndActor                   ──► KILLED     │ outcome, or comes later, fails
    ActorExit                             ──► EXITED     ┘

**What becomes of a call whose worker died** is decided by what had begun. One that had not goes back into the line, in
its old place, and pays nothing. One that may have run is at most once: with no retries (left) it fails. One that
had ended, and whose answer died with the worker, runs again without paying if it may be repeated at all. Where
several calls run at once, all that have begun count as running: the slot shows one at most.

Not here: what a pool's end means for its workers (``owner_pools``).
"""

from __future__ import annotations

from distpool.scheduler.cores.owner_leasing import LINK_LOST, Leasing, is_borrowed
from distpool.scheduler.cores.owner_outcomes import Outcomes
from distpool.scheduler.cores.owner_pools import PoolLife
from distpool.scheduler.cores.tasks import Actor, Caller, Lease, LeaseState, Output, Pool
from distpool.scheduler.messages import (
    CALLER_SHIFT,
    NODES,
    ActorDown,
    ActorEnd,
    ActorRestarts,
    ActorUp,
    EndActor,
    KillWorker,
    LeaseHello,
    PoolBroken,
    Retire,
    Serve,
    WantActor,
    WorkerDied,
)

KILLED = "it was killed by kill()"
EXITED = "it has ended itself by exit_actor()"
CONSTRUCTOR = "its constructor raised an exception"
CLOSED = "its creator has no handle of it any more"
OWNER_DIED = "the process that had created it has ended"


class Actors:
    """A part of ``OwnerCore``: it shares what the core says (``out``)."""

    def __init__(self, out: Output, outcomes: Outcomes, leasing: Leasing, pool_life: PoolLife) -> None:
        self._out = out
        self._outcomes = outcomes
        self._leasing = leasing
        self._pool_life = pool_life
        self._pools = pool_life.pools
        self._early: dict[str, Pool] = {}  # leases of workers that have come too early: see ``hello``
        pool_life.on_drop = self._dropped

    # ------------------------------------------------------------------------------- beginning

    def opened(self, pool: Pool) -> None:
        """Ask a borrowed actor's creator for it."""
        borrow = _actor(pool).borrow
        if borrow is not None and pool.live:
            self._tell(borrow.lender.owner, WantActor(borrow.actor, pool.pool, borrow.me))

    def hello(self, pool: Pool, message: LeaseHello, now: float) -> None:
        """A worker has come. One that comes before we have heard of the former one's end must wait for that."""
        if pool.leases:
            self._drop_early(pool)
            _actor(pool).early, self._early[message.lease] = message, pool
        else:
            self._leasing.hello(pool, message, now)

    def greet(self, pool: Pool, now: float) -> None:
        """The former worker's end is known: one that has come too early has waited for that."""
        early = self._drop_early(pool)
        if early is not None and pool.live and not pool.leases:
            self._leasing.hello(pool, early, now)

    def _drop_early(self, pool: Pool) -> LeaseHello | None:
        actor = _actor(pool)
        early, actor.early = actor.early, None
        if early is not None:
            del self._early[early.lease]
        return early

    def early(self) -> list[str]:
        """The workers of actors of ours that wait for the news of the former one's end: we count on them."""
        return [name for name, pool in self._early.items() if not is_borrowed(pool)]

    def forget_early(self, lease: str) -> None:
        """The worker of this name is dead; it may be one that has come too early."""
        if (pool := self._early.get(lease)) is not None:
            self._drop_early(pool)

    def lose_early(self, lease: str) -> None:
        """Its link is lost: nothing can be sent to it when its time comes, so there must be another."""
        pool = self._early.get(lease)
        early = None if pool is None else self._drop_early(pool)
        if pool is None or early is None:
            return
        if (borrow := _actor(pool).borrow) is None:
            self._out.append((f"agent:{early.node}", KillWorker(lease, LINK_LOST)))
        elif pool.live:
            self._tell(borrow.lender.owner, WantActor(borrow.actor, pool.pool, None))
            self.opened(pool)

    def lose_early_on(self, node: str) -> None:
        """A node is lost, and nobody will tell of those there."""
        for pool in list(self._early.values()):
            early = _actor(pool).early
            if early is not None and early.node == node and not is_borrowed(pool):
                self._drop_early(pool)

    def up(self, lease: Lease) -> None:
        """The constructor is done."""
        pool = lease.pool
        self._out.append(("app", ActorUp(pool.pool, lease.pid, lease.node)))
        for caller in _actor(pool).callers.values():
            self._serve(lease, caller)

    def constructor_failed(self, pool: Pool, error: bytes) -> None:
        """What raises once would raise again, so no restart is spent on it."""
        self._pool_life.break_pool(pool, error, None, CONSTRUCTOR, ActorEnd.CONSTRUCTOR)

    # ---------------------------------------------------------------------------------- deaths

    def died(self, lease: Lease, message: WorkerDied) -> None:
        """The worker of an actor of ours is dead."""
        death, reason = (
            (message.death, "") if message.certain else (None, "its node does not know it any more")
        )
        running, begun = message.running, message.begun
        self._leasing.forget(lease, message.death.exit_code)
        self._down(lease, ActorDown(0, lease.lease, death, running, 0, message.certain, reason=reason), begun)

    def lost(self, lease: Lease, reason: str) -> None:
        """Its node is lost, or its link: nobody has seen what it ran."""
        pool, borrow = lease.pool, _actor(lease.pool).borrow
        down = ActorDown(0, lease.lease, None, certain=False, reason=reason)
        if borrow is None:
            self._leasing.forget(lease, 0)
            self._down(lease, down, ())
            return
        # Only we may have lost it: then its creator never speaks of it, so it is asked anew.
        _actor(pool).unexplained = lease.lease, dict(lease.offered)
        self._leasing.forget(lease, 0)
        self._sort_out(lease, down, ActorEnd.UNAVAILABLE)
        if pool.live:
            self._tell(borrow.lender.owner, WantActor(borrow.actor, pool.pool, None))
            self.opened(pool)

    def _down(self, lease: Lease, down: ActorDown, begun: tuple[int, ...]) -> None:
        """``down.running`` is still as the slot shows it."""
        pool, actor = lease.pool, _actor(lease.pool)
        live = pool.live  # or it had ended before, and this is only its worker's farewell
        ends = live and actor.restarts == 0
        for caller in actor.callers.values() if live else ():
            own = _for_caller(down, caller.index, begun, caller.pool)
            self._tell(
                caller.contact.owner, _renamed(own, lease.lease, caller, ActorEnd.DIED if ends else "")
            )
        if ends:
            actor.callers.clear()  # they know
        kind = ActorEnd.DIED if ends else ActorEnd.UNAVAILABLE
        self._sort_out(lease, _for_caller(down, 0, begun, pool.pool), kind)
        if ends:
            self._pool_life.break_pool(pool, None, down.death, down.reason, ActorEnd.DIED)
        elif live:
            actor.restarts -= actor.restarts > 0
            self._out.append(("app", ActorRestarts(pool.pool, down.death, down.reason)))

    def _sort_out(self, lease: Lease, down: ActorDown, kind: str) -> None:
        """Which calls go back into the line, and which fail with the worker."""
        one_by_one = _actor(lease.pool).terms.one_by_one
        back, failed = [], []
        for attempt, task in lease.offered.items():
            begun = attempt <= down.begun or attempt == down.running or not down.certain
            if task.cancel or not begun:
                back.append(attempt)
                continue
            pays = down.certain and (attempt == down.running or not one_by_one)
            if task.careful or (pays and not task.retries):
                failed.append(attempt)
                continue
            if pays and task.retries > 0:
                task.retries -= 1
            back.append(attempt)
        why = ActorDown(down.pool, down.lease, down.death, kind=kind, reason=down.reason)
        self._outcomes.fail_with_actor(lease, failed, why)
        self._outcomes.requeue(lease, back)

    # ------------------------------------------------------------------------------- ends on purpose

    def kill(self, pool: Pool, restart: bool) -> None:
        """The program wants it gone, or started again."""
        actor = _actor(pool)
        borrow = actor.borrow
        if not pool.live:
            return
        if borrow is not None:
            self._tell(borrow.lender.owner, EndActor(borrow.actor, restart))
        elif not restart:
            self._pool_life.break_pool(pool, None, None, KILLED, ActorEnd.KILLED)
        elif living := [lease for lease in pool.leases.values() if lease.lease != actor.killed]:
            for lease in living:
                self._leasing.kill(lease, KILLED)
                actor.killed = lease.lease
        else:
            self._kill_what_is_to_come(pool, actor)

    def _kill_what_is_to_come(self, pool: Pool, actor: Actor) -> None:
        """There is no worker, or one whose death will cost a restart: this kill is the next one's."""
        left = actor.restarts - 1 if pool.leases and actor.restarts > 0 else actor.restarts
        if left:
            actor.restarts -= actor.restarts > 0
            self._out.append(("app", ActorRestarts(pool.pool, None, KILLED)))
        else:
            self._pool_life.break_pool(pool, None, None, KILLED, ActorEnd.KILLED)

    def exited(self, lease: Lease) -> None:
        """The actor has ended itself; its exit handlers have as long as those of any retired worker."""
        pool = lease.pool
        if pool.live and not is_borrowed(pool):
            self._pool_life.break_pool(pool, None, None, EXITED, ActorEnd.EXITED, kill=False)
            self._leasing.retire_all(pool)

    def _dropped(self, pool: Pool) -> None:
        """A pool is not worked on any more: tell who shares it."""
        actor = pool.actor
        if actor is None:
            return
        self._drop_early(pool)
        if actor.borrow is not None:
            for lease in pool.leases.values():
                if lease.state < LeaseState.RETIRING:
                    self._out.append((lease.data, Retire()))
            self._tell(actor.borrow.lender.owner, WantActor(actor.borrow.actor, pool.pool, None))
        for caller in actor.callers.values():
            self._tell(caller.contact.owner, _end(pool, caller.pool))
        actor.callers.clear()

    # ------------------------------------------------------------------------- said by other owners

    def wanted(self, owner: str, message: WantActor) -> None:
        """Another owner wants to call an actor of ours, or does so no more."""
        pool = self._pools.get(message.actor)
        if message.contact is None:
            if pool is not None and pool.actor is not None:
                self._forget_caller(pool.actor, owner, message.pool)
        elif pool is None or pool.actor is None or not pool.live:
            self._tell(owner, _end(pool, message.pool))
        else:
            actor = pool.actor
            actor.callers_made += 1
            caller = Caller(actor.callers_made, message.contact, message.pool)
            actor.callers[f"{owner} {message.pool}"] = caller
            for lease in pool.leases.values():
                if lease.state is LeaseState.READY:
                    self._serve(lease, caller)

    def _forget_caller(self, actor: Actor, owner: str, pool: int) -> None:
        actor.callers.pop(f"{owner} {pool}", None)

    def _serve(self, lease: Lease, caller: Caller) -> None:
        contact = caller.contact
        process = contact.process
        if contact.node != lease.node:
            process = NODES | contact.store if contact.store else 0
        name = lent_name(lease.lease, caller.index)
        home = "" if contact.node == lease.node else contact.home
        serve = Serve(caller.index, name, caller.pool, contact.owner, contact.address, process, home)
        self._out.append((lease.data, serve))

    def down(self, owner: str, message: ActorDown, now: float) -> Pool | None:
        """A borrowed actor's worker is gone. Returns its pool, if its calls must be looked at again."""
        pool = self._pools.get(message.pool)
        if pool is None or not pool.live or not _is_of(pool, owner):
            return None
        if (lease := pool.leases.get(message.lease)) is not None:
            self._leasing.forget(lease, message.death.exit_code if message.death else 0)
            self._sort_out(lease, message, message.kind or ActorEnd.UNAVAILABLE)
        else:
            self._leasing.ended_unheard(message.lease, now)
            self._charge_late(_actor(pool), message)
        if message.kind:
            self._pool_life.break_pool(pool, message.error, message.death, message.reason, message.kind)
            return None
        self._out.append(("app", ActorRestarts(pool.pool, message.death, message.reason)))
        self.greet(pool, now)
        return pool

    @staticmethod
    def _charge_late(actor: Actor, down: ActorDown) -> None:
        """Its link was lost before the creator said of what it died: who has ended it pays now, and goes on once more.

        Or a call that ends each worker would do so for ever, if its caller always sees the link's loss first.
        """
        name, calls = actor.unexplained
        task = calls.get(down.running) if name == down.lease else None
        if task is None or task.payload is None:
            return
        actor.unexplained = "", {}
        if task.retries > 0:
            task.retries -= 1
        elif task.retries == 0:
            task.careful = True  # it fails with the next one

    def end(self, message: EndActor) -> None:
        """Another owner kills an actor of ours."""
        pool = self._pools.get(message.actor)
        if pool is not None and pool.actor is not None:
            self.kill(pool, message.restart)

    def owner_gone(self, owner: str) -> None:
        """Another owner has ended: it calls nothing of ours any more, and what was borrowed from it has no keeper."""
        for pool in list(self._pools.values()):
            if pool.actor is None:
                continue
            for name, caller in list(pool.actor.callers.items()):
                if caller.contact.owner == owner:
                    del pool.actor.callers[name]
            if pool.live and _is_of(pool, owner):
                self._pool_life.break_pool(pool, None, None, OWNER_DIED, ActorEnd.OWNER_DIED)

    def _tell(self, owner: str, message: WantActor | ActorDown | EndActor) -> None:
        self._out.append((f"peer:{owner}", message))


def lent_name(lease: str, index: int) -> str:
    """What a caller knows the worker as: NODE.INCARNATION.NUMBER with the caller's index, for it may come again."""
    start, _, number = lease.rpartition(".")
    return f"{start}~{index}.{number}"


def _actor(pool: Pool) -> Actor:
    assert pool.actor is not None
    return pool.actor


def _is_of(pool: Pool, owner: str) -> bool:
    """Whether it is borrowed from this owner."""
    return (
        pool.actor is not None and pool.actor.borrow is not None and pool.actor.borrow.lender.owner == owner
    )


def _for_caller(down: ActorDown, index: int, begun: tuple[int, ...], pool: int) -> ActorDown:
    """A death as it concerns the attempts of one caller."""
    running = down.running & ((1 << CALLER_SHIFT) - 1) if down.running >> CALLER_SHIFT == index else 0
    latest = begun[index] if index < len(begun) else 0
    return ActorDown(pool, down.lease, down.death, running, latest, down.certain, reason=down.reason)


def _renamed(down: ActorDown, lease: str, caller: Caller, kind: str) -> ActorDown:
    name = lent_name(lease, caller.index)
    return ActorDown(
        down.pool, name, down.death, down.running, down.begun, down.certain, kind, reason=down.reason
    )


def _end(pool: Pool | None, number: int) -> ActorDown:
    """What a caller, who knows it as ``number``, is told of an actor that has ended."""
    broken: PoolBroken | None = None if pool is None else pool.failure
    if broken is None:
        return ActorDown(number, "", None, kind=ActorEnd.CLOSED, reason=CLOSED)
    kind = broken.kind or ActorEnd.DIED
    return ActorDown(number, "", broken.death, kind=kind, error=broken.error, reason=broken.reason)
