"""Values that other processes make and this one waits for; values of this one that others wait for.

::

    this process                                        the owner
    a pending reference arrives ──── Subscribe ───────► EXPORTED: ready ──► Value, at once
                                ◄── Subscribed ──────            pending ─► when it is: watch ─► Value
    BORROWED: fulfil, reject    ◄───── Value ─────────
    every one of its references fails ◄── the link to it is lost

A finished value travels with its reference, so only what is pending is followed, and nobody has to say that he does so
no more: a value that comes for a reference which is gone is let go of.

**A pending reference is safe** with whoever has subscribed. Until then it lives by who has sent it: a call's arguments
are kept until it is answered, so a worker answers when its subscriptions are acknowledged (``wait_safe``). Who passes
one on in an answer subscribes for the receiver, and lets the answer go when that is acknowledged (``hand_over``).

All but ``follow``, ``wait_safe`` and ``hand_over`` runs on the thread that delivers.
"""

from __future__ import annotations

import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from distpool import worker_hooks
from distpool.engines.protocol import Promise
from distpool.errors import Failure
from distpool.scheduler.messages import Adopt, Adopted, Contact, Subscribe, Subscribed, Value
from distpool.scheduler.remote import refs
from distpool.scheduler.remote.refs import BORROWED, EXPORTED, ObjectRef, pack_failure, unpack_failure
from distpool.scheduler.serialize import parcels, stored
from distpool.scheduler.serialize.kept import Kept

if TYPE_CHECKING:
    from distpool.scheduler.client import Session

Name = tuple[str, int]  # base and number

#: A value may overtake the answer that brings its reference. It is kept for so long, with so many others at most.
EARLY_S = 60.0
EARLY_MAX = 10_000
#: So many values that were sent are remembered, so that who asks for one again is not told that it is lost.
SERVED_MAX = 10_000


class _Safe(Promise):
    """Ready when all of ``names`` are with their owners; then calls ``then``."""

    def __init__(self, names: set[Name], then: Callable[[], None] | None = None) -> None:
        self.names = names
        self.then = then

    def strike(self, names: Iterable[Name]) -> bool:
        """These are; returns whether that was all."""
        self.names.difference_update(names)
        if self.names:
            return False
        self.settle()
        if self.then is not None:
            self.then()
        return True


class Following:
    """A session's share in the values of others, and theirs in its own."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._shell = session.shell
        self._leading = session.leading
        self._base = refs.base()
        self._new: deque[ObjectRef] = deque()  # arrived, and not subscribed to yet
        self._unsafe: dict[Name, weakref.ref[ObjectRef]] = {}  # subscribed to, and not acknowledged yet
        self._waiting: dict[int, dict[str, Contact]] = {}  # own number -> subscribers, by owner
        self._promises: list[tuple[str, _Safe]] = []  # subscriber's owner, what it must be safe of
        self._early: dict[
            Name, tuple[float, Value, Any]
        ] = {}  # came before its reference: when, with its data
        self._served: dict[tuple[int, str], None] = {}  # number and subscriber's owner, oldest first
        self._shell.on_peer = self._hear

    @property
    def owes(self) -> bool:
        """Whether others wait for values of this process."""
        return bool(self._waiting)

    # --------------------------------------------------------------------------------- following

    def follow(self, ref: ObjectRef, expected: bool) -> None:
        """A pending reference of another process has arrived. Any thread.

        ``expected``: its value comes without being asked for; only its owner's end must be seen.
        """
        assert ref.base is not None
        name = ref.base, ref.number
        if (early := self._early.pop(name, None)) is not None:
            _settle(ref, early[1], early[2])
            return
        contact = ref.contact
        if expected and contact is not None:
            self._leading.tell(lambda: self._shell.watch_owner(contact))
            return
        self._unsafe[name] = weakref.ref(ref)
        worker_hooks.unsafe = True
        self._new.append(ref)
        self._leading.tell(self._subscribe)

    def _subscribe(self) -> None:
        """In a step: ask for all that is new, with one message for each owner."""
        wanted: dict[str, tuple[Contact, str, list[int]]] = {}
        while self._new:
            ref = self._new.popleft()
            contact, base = ref.contact, ref.base
            if contact is not None and base is not None:
                wanted.setdefault(base, (contact, base, []))[2].append(ref.number)
        for contact, base, numbers in wanted.values():
            self._shell.watch_owner(contact)
            self._shell.say_to_owner(contact, Subscribe(base, numbers, self._shell.contact()))

    def wait_safe(self) -> None:
        """Before a task is answered: wait until what it has kept does not need its arguments any more."""
        worker_hooks.unsafe = False
        names = {
            name for name, weak in list(self._unsafe.items()) if (ref := weak()) is not None and not ref.ready
        }
        if not names:
            return
        safe = _Safe(names)
        self._promises.append((self._session.core.owner, safe))
        self._leading.tell(lambda: self._strike_what_is_safe(safe))
        self._session.wait(safe)

    def _strike_what_is_safe(self, safe: _Safe) -> None:
        """What was acknowledged before ``safe`` was there to hear it."""
        self._shell.deliveries.append(
            lambda: self._strike(self._session.core.owner, safe.names - self._unsafe.keys())
        )

    def hand_over(self, pending: Iterable[ObjectRef], subscriber: Contact) -> None:
        """Before an answer leaves: make its references safe for whom it goes to. Any thread but the engine's."""
        done = _Safe(set(), None)
        self._leading.tell(
            lambda: self._shell.deliveries.append(
                lambda: self._subscribe_for(list(pending), subscriber, done.settle)
            )
        )
        self._session.wait(done)

    def _subscribe_for(self, pending: list[ObjectRef], subscriber: Contact, then: Callable[[], None]) -> None:
        names: set[Name] = set()
        asked: dict[str, tuple[Contact, list[int]]] = {}
        for ref in pending:
            if ref.base is None:
                self._serve(ref, subscriber)
            elif (contact := ref.contact) is not None and contact.owner != subscriber.owner:
                names.add((ref.base, ref.number))
                asked.setdefault(ref.base, (contact, []))[1].append(ref.number)
        if not names:
            then()
            return
        self._promises.append((subscriber.owner, _Safe(names, then)))
        for base, (contact, numbers) in asked.items():
            self._say(contact, Subscribe(base, numbers, subscriber))

    # ------------------------------------------------------------------------------ what is heard

    def _hear(self, owner: str, message: Subscribe | Subscribed | Value | Adopt | Adopted | None) -> None:
        match message:
            case Subscribe(base=base, numbers=numbers, subscriber=subscriber):
                for number in numbers:
                    ref = EXPORTED.get(number) if base == self._base else None
                    if ref is None and (number, subscriber.owner) in self._served:
                        continue  # it is on its way
                    if ref is None:
                        lost = pack_failure(Failure(reason=refs.GONE, kind="lost"))
                        self._say(subscriber, Value(base, number, None, lost))
                    else:
                        self._serve(ref, subscriber)
                if (asker := self._shell.contacts.get(owner)) is not None:
                    self._say(asker, Subscribed(base, numbers, subscriber.owner))
            case Subscribed(base=base, numbers=numbers, subscriber=whose):
                names = [(base, number) for number in numbers]
                if whose == self._session.core.owner:
                    for name in names:
                        self._unsafe.pop(name, None)
                self._strike(whose, names)
            case Value():
                self._arrived(message)
            case Adopt() | Adopted():
                self._session.remote.adopting.hear(owner, message)
            case None:
                self._session.remote.adopting.hear(owner, None)
                self._lose(owner)

    def _strike(self, whose: str, names: Iterable[Name]) -> None:
        names = set(names)
        self._promises = [
            (subscriber, safe)
            for subscriber, safe in self._promises
            if subscriber != whose or not safe.strike(names)
        ]

    def _arrived(self, message: Value) -> None:
        name = message.base, message.number
        self._unsafe.pop(name, None)
        ref = BORROWED.get(name)
        value = message.value
        if type(value) is bytes and (ids := stored.ids_of(value)) and self._shell.store is not None:
            try:
                value = Kept(value, self._shell.store.claim(ids, message.process), None)
            except Exception as error:
                message = Value(
                    message.base, message.number, None, pack_failure(Failure(reason=str(error), kind="lost"))
                )
        if ref is None:
            self._keep_early(name, message, value)
            ref = BORROWED.get(name)  # it may have arrived just now, and have looked too soon
            if ref is None or self._early.pop(name, None) is None:
                return
        _settle(ref, message, value)
        self._strike(self._session.core.owner, [name])

    def _keep_early(self, name: Name, message: Value, value: Any) -> None:
        now = time.monotonic()
        self._early[name] = now, message, value
        for old in list(self._early):
            if len(self._early) <= EARLY_MAX and self._early[old][0] > now - EARLY_S:
                break
            del self._early[old]  # its answer did not count, and nobody has the reference

    def _lose(self, owner: str) -> None:
        """Another owner is gone: what it owes will not come, and what it waits for need not be sent."""
        for number, subscribers in list(self._waiting.items()):
            if subscribers.pop(owner, None) is not None and not subscribers:
                del self._waiting[number]
                if (ref := EXPORTED.get(number)) is not None:
                    ref.unwatch(self._publish)
        gone = []
        for ref in list(BORROWED.values()):
            if not ref.ready and ref.contact is not None and ref.contact.owner == owner and ref.base:
                gone.append((ref.base, ref.number))
                ref.reject(
                    0, Failure(reason=f"the process that owned it ({owner}) is gone", kind="owner died")
                )
        for name in gone:
            self._unsafe.pop(name, None)
        for subscriber, safe in list(self._promises):
            self._strike(subscriber, safe.names if subscriber == owner else gone)

    # ------------------------------------------------------------------------------ what is served

    def _serve(self, ref: ObjectRef, subscriber: Contact) -> None:
        """Let another owner have one of our values, now or when it is there."""
        if ref.ready:
            self._send_value(ref, subscriber)
            return
        self._shell.watch_owner(subscriber)  # that it has dialled us does not tell of its end
        known = self._waiting.get(ref.number)
        if known is not None:
            known[subscriber.owner] = subscriber
        else:
            self._waiting[ref.number] = {subscriber.owner: subscriber}
            ref.watch(self._publish)

    def _publish(self, ref: ObjectRef) -> None:
        for subscriber in self._waiting.pop(ref.number, {}).values():
            self._send_value(ref, subscriber)

    def _send_value(self, ref: ObjectRef, subscriber: Contact) -> None:
        value = ref.value
        if type(value) is Kept and value.refs:
            pending = [inner for inner in value.refs if not inner.ready]
            if pending:
                self._subscribe_for(pending, subscriber, lambda: self._send(ref, subscriber))
                return
        self._send(ref, subscriber)

    def _send(self, ref: ObjectRef, subscriber: Contact) -> None:
        self._served[ref.number, subscriber.owner] = None
        if len(self._served) > SERVED_MAX:
            del self._served[next(iter(self._served))]
        value: Any = ref.value
        store = self._shell.store
        failure: bytes | None = None
        if isinstance(value, Failure):
            value, failure = None, pack_failure(value)
        elif type(value) is Kept:
            try:
                if store is None or subscriber.node != self._session.core.node:
                    value = parcels.self_contained(value.blob)
                else:
                    store.hand(stored.ids_of(value.blob), subscriber.process)
                    value = value.blob
            except Exception as error:
                value, failure = None, pack_failure(Failure(reason=str(error), kind="lost"))
        process = 0 if store is None else store.process
        self._say(subscriber, Value(self._base, ref.number, value, failure, process))

    def _say(self, contact: Contact, message: Subscribe | Subscribed | Value) -> None:
        self._leading.tell(lambda: self._shell.say_to_owner(contact, message))


def _settle(ref: ObjectRef, message: Value, value: Any) -> None:
    if message.failure is not None:
        ref.reject(0, unpack_failure(message.failure))
    else:
        ref.fulfil(0, value)
