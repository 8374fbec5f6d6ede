"""Values that other processes make and this one waits for: how they come here, and what happens if they do not.

::

    this process                                        the owner
    a pending reference arrives ──── Subscribe ───────► knows it: see ``serving``
                                ◄── Subscribed ──────
    it is ready: fulfil, reject ◄───── Value ─────────
                                ◄── Subscribed(unknown), or the link to it is lost:
          the one who has passed the reference on is asked, who had to keep it; if he cannot help, it fails

A finished value travels with its reference, so only what is pending is followed, and nobody has to say that he does so
no more: a value that comes for a reference which is gone is let go of after a while.

**A pending reference is safe** with whoever has subscribed. Until then it lives by who has sent it: a call's arguments
are kept until it is answered, so a worker answers when its subscriptions are acknowledged (``wait_safe``). Who passes
one on in an answer subscribes for the receiver, and lets the answer go when that is acknowledged (``hand_over``).

**The owner may have forgotten** what its receiver still takes for pending: its own need ended with the value, which it
has sent to those who had subscribed by then. One of these is who has passed the reference on, and he is asked next. He
has the value, or it is on its way to him. If all have forgotten it meanwhile they may wait for each other in a circle;
so that takes ``SECOND_S`` at most.

Two owners' messages keep their order (``shells.peers``), so a value comes before the word that there is nothing to
wait for. All but ``follow``, ``wait_safe`` and ``hand_over`` runs on the thread that delivers.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from distpool import worker_hooks
from distpool.engines.protocol import Promise
from distpool.errors import Failure
from distpool.scheduler.messages import (
    Adopt,
    Adopted,
    CancelMade,
    Contact,
    Named,
    Recover,
    Subscribe,
    Subscribed,
    Value,
)
from distpool.scheduler.remote import refs
from distpool.scheduler.remote.refs import ObjectRef, pack_failure, unpack_failure
from distpool.scheduler.remote.serving import Name, Serving, name_of
from distpool.scheduler.serialize import stored
from distpool.scheduler.serialize.kept import Kept

if TYPE_CHECKING:
    from distpool.scheduler.session import Session

#: A value may overtake the answer that brings its reference. It is kept for so long, with so many others at most.
EARLY_S = 60.0
EARLY_MAX = 100_000
#: Who is not the owner of an object answers for it within this time, or it is lost.
SECOND_S = 60.0


class Safe(Promise):
    """Ready when all of ``names`` are with their owners, for the owner ``whose``; then calls ``then``."""

    def __init__(self, whose: str, names: set[Name], then: Callable[[], None] | None = None) -> None:
        self.whose = whose
        self.names = names
        self.then = then

    def strike(self, names: Iterable[Name]) -> bool:
        """These are; returns whether that was all."""
        self.names.difference_update(names)
        if self.names:
            return False
        if not self.settled:
            self.settle()
            if self.then is not None:
                self.then()
        return True


@dataclass(eq=False)
class _HandedOver:
    """Who was asked, in the name of ``subscriber``, for which references."""

    subscriber: Contact
    refs: dict[Name, ObjectRef]
    asked: dict[Name, str]  # the owner
    safe: Safe


@dataclass(slots=True)
class _Asked:
    """A reference whose subscription was not acknowledged yet. ``via`` may be asked next."""

    ref: weakref.ref[ObjectRef]
    whom: Contact
    via: Contact | None
    expected: bool  # others see to it that it is safe


class Following:
    """A session's share in the values of others, and theirs in its own."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._shell = session.shell
        self._leading = session.leading
        self._serving = Serving(session, self)
        self._new: deque[ObjectRef] = deque()  # arrived, and not subscribed to yet
        self._asked: dict[Name, _Asked] = {}
        self._lock = threading.RLock()  # for that, and whether any of them is unsafe
        self._safes: list[Safe] = []  # for this owner's own references
        self._handed: list[_HandedOver] = []
        self._early: dict[
            Name, tuple[float, Value | None, Any]
        ] = {}  # without a reference: when, with its data
        self._looks_for_old = False
        self._shell.on_peer = self._hear
        self._shell.base = refs.base

    @property
    def owes(self) -> bool:
        """Whether others wait for values of this process."""
        return self._serving.owes or bool(self._handed)

    def send_value(self, ref: ObjectRef, receiver: Contact) -> None:
        """Send a value that is ready to one who has asked for just that; in a delivery."""
        self._serving.send_value(ref, receiver)

    def end(self, failure: Failure) -> None:
        """The session has ended, and no value will come any more. Any thread."""
        for ref in refs.followed(None):
            ref.reject(0, failure)
        for safe in [*self._safes, *(handed.safe for handed in list(self._handed))]:
            safe.settle()

    # --------------------------------------------------------------------------------- following

    def follow(self, ref: ObjectRef, expected: bool, via: Contact | None) -> None:
        """A pending reference has arrived. Any thread.

        ``expected``: whoever has sent it has subscribed for this process. ``via`` is that one, if not its owner.
        """
        name = name_of(ref)
        early = self._early.pop(name, None)
        if early is not None and early[1] is not None:
            _settle(ref, early[1], early[2])
            return
        contact = ref.contact
        if (
            contact is not None and contact.owner == self._me
        ):  # we were asked for it, and have forgotten it since
            contact = ref.contact = via
        if contact is None or contact.owner == self._me:
            ref.reject(0, Failure(reason=refs.GONE, kind="lost"))
            return
        if ref.base is None:  # our own, which we have forgotten
            self._bound_second(ref)
        with self._lock:
            self._asked[name] = _Asked(weakref.ref(ref), contact, via, expected)
            if not expected:
                worker_hooks.unsafe = True
        self._new.append(ref)
        self._leading.tell(self._subscribe)

    def came_back(self, ref: ObjectRef) -> None:
        """A pending reference of our own was sent to us, as was announced: see ``_answer``. Any thread."""
        self._early.pop(name_of(ref), None)

    def _subscribe(self) -> None:
        """In a step: ask for all that is new, with one message for each owner."""
        wanted: dict[tuple[str, str], tuple[Contact, str, list[int]]] = {}
        while self._new:
            ref = self._new.popleft()
            base, number = name_of(ref)
            asked = self._asked.get((base, number))
            if asked is not None:
                wanted.setdefault((base, asked.whom.owner), (asked.whom, base, []))[2].append(number)
        me = self._shell.contact()
        for contact, base, numbers in wanted.values():
            self._shell.watch_owner(contact)
            self._shell.say_to_owner(contact, Subscribe(base, numbers, me))

    def wait_safe(self) -> None:
        """Before a task is answered: wait until what it has kept does not need its arguments any more."""
        safe = self.begin_safe()
        if safe is not None:
            self._session.wait(safe)

    def begin_safe(self) -> Safe | None:
        """The same, without waiting; None: all is safe."""
        with self._lock:
            names = {
                name
                for name, asked in self._asked.items()
                if not asked.expected and (ref := asked.ref()) is not None and not ref.settled
            }
            if not names:
                worker_hooks.unsafe = False
                return None
        safe = Safe(self._me, names)
        self._deliver(lambda: self._await(safe))
        return safe

    def _await(self, safe: Safe) -> None:
        self._safes.append(safe)
        struck = [name for name in safe.names if name not in self._asked]
        if safe.strike(struck):  # acknowledged before it was there to hear it
            self._safes.remove(safe)

    def hand_over(self, pending: Iterable[ObjectRef], subscriber: Contact) -> None:
        """Before an answer leaves: make its references safe for whom it goes to. Any thread but the engine's."""
        self._session.wait(self.begin_hand_over(pending, subscriber))

    def begin_hand_over(self, pending: Iterable[ObjectRef], subscriber: Contact) -> Safe:
        """The same, without waiting."""
        done = Safe(subscriber.owner, set())
        named = list(pending)
        self._deliver(lambda: self.subscribe_for(named, subscriber, done.settle))
        return done

    def _deliver(self, what: Callable[[], None]) -> None:
        self._leading.tell(lambda: self._shell.deliveries.append(what))

    def subscribe_for(
        self, named: Iterable[ObjectRef], subscriber: Contact, then: Callable[[], None]
    ) -> None:
        """Let another owner have these values, which were named to it as pending; ``then``: it can count on that."""
        asked: dict[tuple[str, str], tuple[Contact, list[int]]] = {}
        handed = _HandedOver(subscriber, {}, {}, Safe(subscriber.owner, set(), then))
        for ref in named:
            contact = ref.contact
            if ref.settled or contact is None:  # by now, or it is our own
                self._serving.serve(ref, subscriber)
                continue
            name = name_of(ref)
            handed.refs[name] = ref
            handed.asked[name] = contact.owner
            asked.setdefault((name[0], contact.owner), (contact, []))[1].append(ref.number)
        handed.safe.names.update(handed.refs)
        if not asked:
            then()
            return
        self._handed.append(handed)
        for (base, _), (contact, numbers) in asked.items():
            self._say(contact, Subscribe(base, numbers, subscriber))

    def cancel(self, ref: ObjectRef, *, force: bool, recursive: bool) -> None:
        """Have the call cancelled that makes a pending reference of another process's."""
        contact = ref.contact
        if contact is not None and not ref.settled:
            self._say(contact, CancelMade(*name_of(ref), force, recursive))

    # ------------------------------------------------------------------------------ what is heard

    def _hear(
        self,
        owner: str,
        message: Subscribe | Subscribed | Value | Recover | CancelMade | Adopt | Adopted | Named | None,
    ) -> None:
        match message:
            case Subscribe():
                self._answer(owner, message)
            case Subscribed(base=base, numbers=numbers, subscriber=whose, unknown=unknown):
                if whose == self._me:
                    self._acknowledged(owner, [(base, number) for number in numbers])
                    for number in unknown:
                        self._ask_next(owner, (base, number), Failure(reason=refs.GONE, kind="lost"))
                else:
                    self._strike_handed(owner, whose, [(base, number) for number in numbers])
                    self._serve_instead(owner, whose, {(base, number) for number in unknown})
            case Value():
                self._arrived(message)
            case Recover():
                self._session.remote.recovering.hear(message)
            case CancelMade(base=base, number=number, force=force, recursive=recursive):
                if (ref := refs.known(base, number)) is not None:
                    self._session.remote.cancel_for_another(ref, force=force, recursive=recursive)
            case Adopt() | Adopted() | Named():
                self._session.remote.adopting.hear(owner, message)
            case None:
                self._session.remote.adopting.hear(owner, None)
                self._session.remote.recovering.lose(owner)
                self._lose(owner)

    def _answer(self, owner: str, message: Subscribe) -> None:
        subscriber = message.subscriber
        there: list[int] = []
        unknown: list[int] = []
        for number in message.numbers:
            ref = refs.known(message.base, number)
            if ref is None:
                unknown.append(number)
                continue
            there.append(number)
            if ref.is_actor:
                pass  # its end is told otherwise; that it is borrowed was told before this
            elif subscriber.owner == self._me:  # it is brought back to us
                self._keep((message.base, number), None, ref)
            else:
                self._serving.serve(ref, subscriber)
        if (asker := self._shell.contacts.get(owner)) is not None:
            self._say(asker, Subscribed(message.base, there, subscriber.owner, unknown))

    def _acknowledged(self, owner: str, names: list[Name]) -> None:
        struck = []
        for name in names:
            asked = self._asked.get(name)
            if asked is None or asked.whom.owner == owner:
                self._no_longer_ask(name)
                struck.append(name)
        self._strike(struck)

    def _no_longer_ask(self, name: Name) -> None:
        with self._lock:
            self._asked.pop(name, None)

    def _strike(self, names: Iterable[Name]) -> None:
        names = set(names)
        for safe in list(self._safes):
            if safe.strike(names):
                self._safes.remove(safe)

    def _strike_handed(self, owner: str, whose: str, names: list[Name]) -> None:
        for handed in list(self._handed):
            if handed.subscriber.owner == whose:
                self._strike_one(handed, [name for name in names if handed.asked.get(name) == owner])

    def _strike_one(self, handed: _HandedOver, names: Iterable[Name]) -> None:
        if handed.safe.strike(names) and handed in self._handed:
            self._handed.remove(handed)

    def _serve_instead(self, owner: str, whose: str | None, names: set[Name] | None) -> None:
        """The owner does not know what we have handed over; then we have got the value, or will: it goes on from here.

        None: all of them; all names.
        """
        for handed in list(self._handed):
            if whose is not None and handed.subscriber.owner != whose:
                continue
            for name, ref in handed.refs.items():
                if handed.asked.get(name) == owner and (names is None or name in names):
                    del handed.asked[name]
                    ref.watch(lambda ref, handed=handed: self._deliver(lambda: self._send_on(handed, ref)))  # type: ignore[misc]

    def _send_on(self, handed: _HandedOver, ref: ObjectRef) -> None:
        if handed in self._handed:
            self._serving.send_value(ref, handed.subscriber)
            self._strike_one(handed, [name_of(ref)])

    # ------------------------------------------------------------------------------------- values

    def _arrived(self, message: Value) -> None:
        name = message.base, message.number
        value = message.value
        if type(value) is bytes and (ids := stored.ids_of(value)) and self._shell.store is not None:
            try:
                value = Kept(value, self._shell.store.claim(ids, message.process), None)
            except Exception as error:
                lost = pack_failure(Failure(reason=str(error), kind="lost"))
                message = Value(message.base, message.number, None, lost)
        if self._session.remote.recovering.came(name, message, value):
            return
        ref = refs.known(*name)
        if ref is None:
            self._keep(name, message, value)
            ref = refs.known(*name)  # it may have arrived just now, and have looked too soon
            if ref is None or self._early.pop(name, None) is None:
                return
        self._no_longer_ask(name)
        _settle(ref, message, value)
        self._strike([name])

    def _keep(self, name: Name, message: Value | None, value: Any) -> None:
        """For a while: an answer that is on its way brings the reference, if it counts."""
        self._early.pop(name, None)
        self._early[name] = time.monotonic(), message, value
        if len(self._early) > EARLY_MAX:
            del self._early[next(iter(self._early))]
        if not self._looks_for_old:
            self._looks_for_old = True
            self._leading.tell(lambda: self._shell.call_later(EARLY_S, self._let_go_of_old))

    def _let_go_of_old(self) -> None:
        until = time.monotonic() - EARLY_S
        for name, (came_s, _, _) in list(self._early.items()):
            if came_s > until:
                break
            self._early.pop(name, None)
        self._looks_for_old = bool(self._early)
        if self._early:
            self._leading.tell(lambda: self._shell.call_later(EARLY_S, self._let_go_of_old))

    # -------------------------------------------------------------------------------------- losses

    def _lose(self, owner: str) -> None:
        """Another owner is gone: what it owes will not come, and what it waits for need not be sent."""
        self._serving.lose(owner)
        died = Failure(reason=f"the process that owned it ({owner}) is gone", kind="owner died")
        for ref in refs.followed(owner):
            if name_of(ref) in self._asked:
                self._ask_next(owner, name_of(ref), died)
            else:
                ref.reject(0, died)
        for name, asked in list(self._asked.items()):  # those that nobody has any more
            if asked.whom.owner == owner:
                self._ask_next(owner, name, died)
        for handed in list(self._handed):
            if handed.subscriber.owner == owner:
                self._strike_one(handed, list(handed.refs))
        self._serve_instead(owner, None, None)

    def _ask_next(self, owner: str, name: Name, failure: Failure) -> None:
        """This one cannot help: ask who has passed it on, or give up."""
        asked = self._asked.get(name)
        if asked is None or asked.whom.owner != owner:
            return
        ref, via = asked.ref(), asked.via
        if ref is not None and not ref.settled and via is not None and via.owner not in (owner, self._me):
            asked.whom, asked.via = via, None
            ref.contact = via
            self._bound_second(ref)
            self._new.append(ref)
            self._leading.tell(self._subscribe)
            return
        self._no_longer_ask(name)
        if ref is not None and not (ref.is_actor and failure.kind == "lost"):
            ref.reject(0, failure)
        self._strike([name])

    def _bound_second(self, ref: ObjectRef) -> None:
        """Not its owner is asked for it: that must not take for ever."""
        weak = weakref.ref(ref)

        def give_up() -> None:
            late = weak()
            if late is not None and not late.settled:
                late.reject(0, Failure(reason=refs.GONE, kind="lost"))

        self._leading.tell(lambda: self._shell.call_later(SECOND_S, give_up))

    @property
    def _me(self) -> str:
        return self._session.core.owner

    def _say(self, contact: Contact, message: Subscribe | Subscribed | CancelMade) -> None:
        self._leading.tell(lambda: self._shell.say_to_owner(contact, message))


def _settle(ref: ObjectRef, message: Value, value: Any) -> None:
    if message.failure is not None:
        ref.reject(0, unpack_failure(message.failure))
    else:
        ref.fulfil(0, value)
