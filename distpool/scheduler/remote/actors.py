"""An actor as a process knows it: who reaches it how, its calls in their order, and how long it lives.

::

    creator: create(spec) ─► Link ─► NativeActor, opened          handles ─► ActorRef ─► Link
                               │                                              │ pickled: where it is to be had
    another process: an ActorRef arrives ─► Link ─► NativeActor, borrowed at once: its creator knows of us

**Order.** Calls of one process begin in the order in which they were made. One whose arguments are still pending holds
up those behind it (``_line``), unless the actor runs several calls at once: those may need each other.

**Life.** A Link goes with the last ActorRef of its process. A borrower then tells the creator; the creator, once it
has no Link's handle itself and no borrower, closes the actor, which finishes what it was given. Where a reference may
be on its way at that moment (it was ever passed on), the creator waits for ``TRANSIT_S`` first. Arguments on their way
are kept by their call.

Handles, names and options are the front door's (``distpool.actors``).
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from distpool.errors import ClusterError, Failure
from distpool.scheduler.cores.tasks import Task
from distpool.scheduler.messages import ActorEnd, ActorRestarts, KeyDelete
from distpool.scheduler.remote import refs, submitting
from distpool.scheduler.remote.actor_pools import (
    ActorSpec,
    Event,
    Lent,
    NativeActor,
    borrow_actor,
    open_actor,
)
from distpool.scheduler.remote.here import here
from distpool.scheduler.remote.plans import Plan
from distpool.scheduler.remote.refs import ObjectRef

if TYPE_CHECKING:
    from distpool.scheduler.session import Session

#: How long a reference to an actor may be on its way, with nobody to answer for it.
TRANSIT_S = 2.0


class ActorRef(ObjectRef):
    """A reference that is ready, with a failure, when its actor has ended. Its ``maker`` is the actor's Link."""

    __slots__ = ()

    is_actor = True

    @property
    def link(self) -> Link:
        """How this process reaches the actor."""
        link: Link = self.maker
        return link

    def describe_actor(self) -> bytes:
        """Where others find it."""
        link = self.link
        link.travelled = True
        return msgspec.msgpack.encode((link.actor.lent, link.name, link.detached))


refs.travels(ActorRef)


class Link:
    """One actor, in one process. ``number`` is its reference's, ``base`` None where this process has created it."""

    def __init__(self, base: str | None, number: int, name: str) -> None:
        self.base, self.number = base, number
        self.name = name  # of its class, for errors
        self.native: NativeActor | None = None
        self.ended: Failure | None = None  # why it takes no calls any more
        self.detached = False  # it lives without handles; who has borrowed it gives it back all the same
        self.abandoned = False  # whoever has a handle of it here is about to end
        self.travelled = False  # whether a reference has left this process
        self.on_event_too: Callable[[Event], None] | None = None
        self.reconstructions = 0
        self.key = ""  # its name in the head, if it was given one by this process
        self._ref: weakref.ref[ActorRef] | None = None
        self._line: deque[Turn] = deque()  # calls that wait for arguments, and those behind them
        self._lock = threading.RLock()

    @property
    def actor(self) -> NativeActor:
        """It is opened by whoever has made the Link."""
        assert self.native is not None
        return self.native

    @property
    def actor_id(self) -> str:
        """32 hexadecimal digits, the same in every process."""
        base = (self.base or refs.base()).replace("-", "")
        return f"{base[-16:]:0>16}{self.number:016x}"

    @property
    def side_by_side(self) -> bool:
        """Whether several of its calls may run at once."""
        return self.native is not None and not self.native.terms.one_by_one

    def turns(self) -> list[Turn]:
        """Calls that wait for arguments, and those behind them."""
        with self._lock:
            return [turn for turn in self._line if not turn.cancelled]

    def handle(self) -> ActorRef | None:
        """The reference of this process, if there is one."""
        return None if self._ref is None else self._ref()

    def new_handle(self) -> ActorRef:
        """A reference, the only one of this process; the Link is let go of with it."""
        ref = ActorRef(self)
        ref.base, ref.number = self.base, self.number
        self._ref = weakref.ref(ref)
        weakref.finalize(ref, _let_go, self).atexit = False
        if self.ended is not None:
            ref.reject(0, self.ended)
        return ref

    def on_event(self, event: Event) -> None:
        """On the thread that delivers."""
        if isinstance(event, ActorRestarts):
            self.reconstructions += 1
        elif isinstance(event, Failure):
            self.ended = event
            own = OWN.pop(self.number, None) if self.base is None else None
            adopted = ADOPTED.pop((self.base, self.number), None)
            if own is self or adopted is self:
                self.actor.session.remote.records.actor_ended(self)
            if (ref := self.handle()) is not None:
                ref.reject(0, event)
        if self.on_event_too is not None:
            self.on_event_too(event)

    # -------------------------------------------------------------------------------------- calls

    def call(
        self, plan: Plan, method: str, group: str, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Any:
        """Call a method. Returns as ``submitting.call`` does, and raises what that does."""
        actor = self.actor
        number, blob = actor.method(method, group)
        if plan.simple and not kwargs and not self._line and submitting.all_plain(args):
            ref = ObjectRef(plan)
            ref.task = task = Task(
                actor.number,
                ref,
                submitting.made_by(),
                number,
                blob,
                list(args),
                64,
                plan.retries,
                self.handle(),
            )
            actor.leading.submit(task)
            return ref
        return Called(self, plan, actor, number, blob, self.handle(), args, kwargs).submit()

    def in_line(self, call: Called, task: Task, results: Sequence[ObjectRef]) -> None:
        """A call's turn comes when its arguments are there, and those of all before it."""
        pending = [ref for ref in call.needed if not ref.settled]
        with self._lock:
            if not pending and not self._line:
                call.offer(task)
                return
            self._line.append(Turn(call, task, results))
        for ref in pending:
            ref.watch(self._move)
        self._move(None)

    def _move(self, _ref: ObjectRef | None) -> None:
        with self._lock:
            while self._line:
                turn = self._line[0]
                needed = turn.call.needed
                failed = any(ref.settled and ref.failure is not None for ref in needed)
                if not (failed or turn.cancelled or all(ref.settled for ref in needed)):
                    return
                self._line.popleft()
                if not turn.cancelled:
                    turn.call.offer(turn.task)

    def cancel_waiting(self, ref: ObjectRef) -> bool:
        """Take back a call that has not been offered yet. Returns whether there was one."""
        with self._lock:
            turn = next((turn for turn in self._line if ref in turn.results), None)
            if turn is None:
                return False
            turn.cancelled = True
        submitting.reject(turn.task, Failure(cancelled=True))
        self._move(None)
        return True


@dataclass(slots=True)
class Turn:
    """A call's place in the line. What the call is made with lives as long as it can be made again; this does not."""

    call: Called
    task: Task
    results: Sequence[ObjectRef]
    cancelled: bool = False


class Called(submitting.Call):
    """A call of a method that is not of the simplest kind: it may have to wait for its turn."""

    def __init__(self, link: Link, *args: Any) -> None:
        super().__init__(*args)
        self._link = link

    def start_waiting(self, task: Task, results: Sequence[ObjectRef]) -> None:
        """See ``submitting.Call``. Where calls run side by side they have no order, and hold up nobody."""
        if self._link.side_by_side:
            super().start_waiting(task, results)
        else:
            self._link.in_line(self, task, results)


#: One reference at a time, so that there is one Link for an actor. Reentrant: what is allocated may run a ``__del__``.
_arriving = threading.RLock()
#: Actors that others have created and this process, the driver, has taken over: see ``adopting``.
ADOPTED: dict[tuple[str | None, int], Link] = {}
#: Actors that this process has created and that have not ended, by the number of their reference.
OWN: dict[int, Link] = {}


def _let_go(link: Link) -> None:
    """In a weakref callback, perhaps within anything: only noted."""
    native = link.native
    if native is None or native.closed or link.ended is not None:
        return
    if native.is_borrowed or not link.detached:  # that it lives without handles is its owner's affair
        session = native.session
        native.leading.tell(lambda: session.shell.deliveries.append(lambda: _without_handle(link, native)))


def _without_handle(link: Link, native: NativeActor) -> None:
    """A borrowed actor is given back; one of our own ends, at once or when nobody borrows it."""
    if _is_wanted_or_over(link, native):
        return
    if link.base is not None or not link.travelled:
        _close(link, native)
    else:
        remote = native.session.remote
        remote.later(TRANSIT_S, lambda: _close_if_unused(link, native))


def leave_to_others() -> None:
    """This process is an actor that ends: what it has created goes on for others who call it, not for its own handles.

    In a delivery. Those handles are in the actor's attributes, most likely, and would go with it.
    """
    for link in list(OWN.values()):
        native = link.native
        if native is not None and not link.detached:
            link.abandoned = True
            _without_handle(link, native)


def _is_wanted_or_over(link: Link, native: NativeActor) -> bool:
    wanted = link.handle() is not None and not link.abandoned
    return wanted or native.closed or link.ended is not None


def _close_if_unused(link: Link, native: NativeActor) -> None:
    if _is_wanted_or_over(link, native):
        return
    if native.is_called_by_others:
        native.session.remote.later(TRANSIT_S, lambda: _close_if_unused(link, native))
    else:
        _close(link, native)


def _close(link: Link, native: NativeActor) -> None:
    own = OWN.pop(link.number, None) if link.base is None else None
    if own is link:
        forget_name(native.session, link.key)  # first: whoever hears of its end may take the name
    if link.abandoned and not native.is_needed:
        native.terminate()  # or it would be waited for until there is a place for it
    else:
        native.close()
    if own is link:
        native.session.remote.records.actor_ended(link)


def forget_name(session: Session, key: str) -> None:
    """An actor has ended: have the head forget its name, "" if it had none. In a delivery."""
    try:
        if key:
            session.begin_ask(KeyDelete(0, key))
    except ClusterError:
        pass  # the session has ended as well, and with it what was in this process's name


def create(make_spec: Callable[[Link], ActorSpec], name: str, *, detached: bool = False) -> ActorRef:
    """Create an actor of this process's. Raises what pickling its class or its arguments raises."""
    link = Link(None, refs.next_number(), name)
    link.detached = detached
    link.native = open_actor(here().session, make_spec(link))
    OWN[link.number] = link
    return link.new_handle()


def _arrive(base: str | None, number: int, where: bytes, came: list[ObjectRef]) -> ActorRef:
    """See ``refs.arrive_actor``."""
    lent, name, detached = _decode(where)
    with _arriving:
        return _find_or_borrow(base, number, lent, name, detached, came)


def _find_or_borrow(
    base: str | None, number: int, lent: Lent, name: str, detached: bool, came: list[ObjectRef]
) -> ActorRef:
    adopted = ADOPTED.get((base, number))
    if base is None or adopted is not None:
        own = adopted or OWN.get(number)
        if own is None:
            own = Link(None, number, name)
            own.ended = Failure(kind=ActorEnd.CLOSED, reason="it had ended before")
        return own.handle() or own.new_handle()
    known = refs.BORROWED.get((base, number))
    if isinstance(known, ActorRef):
        return known
    link = Link(base, number, name)
    link.detached = detached
    link.travelled = True
    link.native = borrow_actor(here().session, lent, link.on_event)
    ref = link.new_handle()
    ref.contact = lent.creator
    refs.borrow(ref)
    came.append(ref)
    return ref


def of_another(base: str, number: int, name: str, lent: Lent, *, detached: bool = False) -> ActorRef:
    """A reference to an actor of another process, where one knows it without having got a reference."""
    where = msgspec.msgpack.encode((lent, name, detached))
    ref = refs.arrive(msgspec.msgpack.encode(([base], [None], [(0, number, refs.ACTOR, where)])))[0]
    assert isinstance(ref, ActorRef)
    return ref


_decode = msgspec.msgpack.Decoder(tuple[Lent, str, bool]).decode
refs.arrive_actor.append(_arrive)
