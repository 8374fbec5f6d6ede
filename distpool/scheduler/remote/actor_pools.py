"""Actors on the engine: one that this process has created, and one that it has got a handle of.

::

    open_actor(session, ActorSpec) ──► NativeActor.call(promise, key, method, payload) ──► Task ──► its worker, directly
                                           │ lent: where others find it
                                           ▼
    borrow_actor(session, Lent) ─────► NativeActor, the same; its worker answers here directly too

To the core an actor is a pool (``cores.owner_actors``). Events are told to ``on_event`` by the thread that delivers:
that it is up, that it starts again, or a Failure, with its kind of ``ActorEnd``, once it has ended for good.

What it is not: handles, names, references among arguments, and what Ray raises; those are the front door's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from distpool.engines.protocol import PoolSpec, Promise
from distpool.errors import Failure
from distpool.scheduler.cores.tasks import Task
from distpool.scheduler.messages import (
    ActorRestarts,
    ActorTerms,
    ActorUp,
    Borrow,
    CancelTasks,
    Contact,
    KillActor,
    Local,
    OpenPool,
    PoolBroken,
    Strategy,
)
from distpool.scheduler.native_pool import NativePool
from distpool.scheduler.serialize import PLAIN_TYPES, is_plain
from distpool.scheduler.session import Session
from distpool.scheduler.shells.actor_calls import construct, method_blob
from distpool.scheduler.shells.preparation import make_setup

__all__ = ["ActorSpec", "Event", "Lent", "NativeActor", "borrow_actor", "open_actor"]

#: What is told of an actor: it is up, it starts again, or it has ended.
Event = ActorUp | ActorRestarts | Failure


@dataclass(frozen=True)
class ActorSpec:
    """What an actor is. ``payload`` are its constructor's arguments: a list of plain values, or as of a call.

    ``restarts`` is how often it is constructed again after its worker has died (-1: without end). ``terms`` say how
    many calls run at once. ``setup``, with its arguments, runs before the class is loaded. ``keep`` must live as long
    as the actor may be constructed.
    """

    cls: type[Any]
    payload: Any = field(default_factory=list)
    terms: ActorTerms = field(default_factory=ActorTerms)
    restarts: int = 0
    resources: Mapping[str, float] = field(default_factory=dict)
    strategy: Strategy = Strategy()  # noqa: RUF009  # it is frozen
    setup: tuple[Callable[..., Any], Any] | None = None
    name: str = "Actor-%d"
    on_event: Callable[[Event], None] | None = None
    keep: Any = None


class Lent(msgspec.Struct, frozen=True):
    """Where an actor is to be had: its creator, its number there, and how many of its calls run at once."""

    creator: Contact
    number: int
    terms: ActorTerms


class NativeActor(NativePool):
    """An actor, as its core sees it: a pool of one worker, which this process has or has borrowed."""

    def __init__(self, session: Session, number: int, spec: ActorSpec, lent: Lent | None = None) -> None:
        pool = PoolSpec(size=1, name=spec.name, resources=spec.resources, self_contained=True)
        super().__init__(session, number, pool, 1)
        self.actor_spec = spec
        self.pid = 0  # of its worker; 0: it has none at the moment
        self.node = ""
        self._lent = lent
        self._methods: dict[tuple[str, str], tuple[int, bytes]] = {}

    def opening(self) -> OpenPool:
        """See ``NativePool``."""
        spec = self.actor_spec
        if self._lent is not None:
            borrow = Borrow(self._lent.creator, self._lent.number, self._session.contact)
            return OpenPool(self.number, 1, b"", actor=self._lent.terms, borrow=borrow, self_contained=True)
        keep: list[Any] = [spec.keep]
        blob = self.exporter.dumps(spec.cls, label=spec.cls.__qualname__, keep=keep)
        first = spec.setup
        if first is not None and callable(first[1]):  # made only now: see ``PoolSpec.arguments``
            first = first[0], first[1](self.exporter.dumps)
        start = (first, blob, spec.payload)
        setup, kept = make_setup(self.exporter, spec.name, construct, start)
        self.setup_keep = (keep, kept)
        return OpenPool(
            self.number,
            1,
            setup,
            resources=dict(spec.resources),
            strategy=spec.strategy,
            self_contained=True,
            actor=spec.terms,
            restarts=spec.restarts,
        )

    @property
    def lent(self) -> Lent:
        """Where other processes find it. Waits until this process can be found at all."""
        if self._lent is not None:
            return self._lent
        return Lent(self._session.contact, self.number, self.actor_spec.terms)

    # ------------------------------------------------------------------------------------- calls

    def call(
        self,
        promise: Promise,
        key: int,
        method: str,
        payload: Any,
        *,
        retries: int = 0,
        group: str = "",
        keep: Any = None,
        size: int = 64,
    ) -> Task:
        """Call a method; calls run, or at least begin, in the order in which they are made.

        Args:
            promise: gets the outcome, under ``key``.
            key: the caller's own.
            method: its name.
            payload: a list of plain arguments; or as ``payload_of`` makes it, or ``remote_calls`` describes it.
            retries: how often it may be run again after the actor's death; -1: without end.
            group: the concurrency group that it is counted in, "" for the rest.
            keep: must live until the call is done.
            size: what the payload weighs, in bytes.
        """
        number, blob = self.method(method, group)
        task = Task(self.number, promise, key, number, blob, payload, size, retries, keep)
        self.leading.submit(task)
        return task

    @property
    def terms(self) -> ActorTerms:
        """How many of its calls run at once."""
        return self.actor_spec.terms

    @property
    def session(self) -> Session:
        """Whose it is."""
        return self._session

    @property
    def is_borrowed(self) -> bool:
        """Whether another process has created it."""
        return self._lent is not None

    @property
    def is_called_by_others(self) -> bool:
        """Whether other processes have handles of it, as far as this one, its creator, knows."""
        pool = self._session.core.pools.get(self.number)
        return pool is not None and pool.actor is not None and bool(pool.actor.callers)

    @property
    def is_needed(self) -> bool:
        """Whether it has a worker, or calls to answer, as far as its creator knows."""
        pool = self._session.core.pools.get(self.number)
        return pool is not None and bool(pool.leases or pool.pending or pool.offered or pool.resting)

    def method(self, method: str, group: str) -> tuple[int, bytes]:
        """What names a method to the actor's worker."""
        return self._methods.get((method, group)) or self._add_method(method, group)

    def _add_method(self, method: str, group: str) -> tuple[int, bytes]:
        added = len(self._methods) + 1, method_blob(method, group)
        return self._methods.setdefault((method, group), added)

    def payload_of(self, args: Sequence[Any], kwargs: Mapping[str, Any], keep: list[Any]) -> Any:
        """Arguments for ``call``, copied; ``keep`` gets what must live until the call is done."""
        if not kwargs and all(type(value) in PLAIN_TYPES and is_plain(value) for value in args):
            return list(args)
        return self.exporter.dumps((tuple(args), dict(kwargs)), keep=keep, brief=True)

    def cancel_calls(self, tasks: Sequence[Task], *, running: bool = True) -> None:
        """Take back calls that have not begun; with ``running`` interrupt the others. Never kills the actor."""
        self.leading.tell(CancelTasks(list(tasks), running))

    # -------------------------------------------------------------------------------------- life

    def kill(self, *, restart: bool = False) -> None:
        """SIGKILL its worker, at once; with ``restart`` it comes back if it has a restart left, else it has ended."""
        self.leading.tell(KillActor(self.number, restart))

    def on_event(self, event: Local) -> None:
        """See ``NativePool``."""
        super().on_event(event)
        told: Event
        match event:
            case ActorUp():
                self.pid, self.node = event.pid, event.node
                told = event
            case ActorRestarts():
                self.pid = 0
                told = event
            case PoolBroken():
                self.pid = 0
                assert self.failure is not None
                told = self.failure
            case _:
                return
        if self.actor_spec.on_event is not None:
            self.actor_spec.on_event(told)


def open_actor(session: Session, spec: ActorSpec) -> NativeActor:
    """Create an actor; returns at once. Raises what pickling the class or the arguments raises."""
    return session.open(lambda number: NativeActor(session, number, spec))


def borrow_actor(
    session: Session, lent: Lent, on_event: Callable[[Event], None] | None = None
) -> NativeActor:
    """Call an actor that another process has created; ``close`` it when nobody here calls it any more."""
    session.leading.tell(lambda: session.shell.watch_owner(lent.creator))
    spec = ActorSpec(object, terms=lent.terms, on_event=on_event)
    return session.open(lambda number: NativeActor(session, number, spec, lent))
