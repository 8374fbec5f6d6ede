"""Values of this process that others wait for, and values of others that it passes on to whom it has named them.

::

    Subscribe(numbers, subscriber) ─► known? ── ready ───► Value, at once
                                        │       pending ─► when it is: watch ─► Value
                                        └ no ─► the one who asks is told so, and asks whoever has passed it on

What is pending is held as long as somebody waits for it. A value that holds references itself is sent when these are
safe with its receiver (``following.subscribe_for``).

All but the callback of ``watch`` runs on the thread that delivers.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from distpool.errors import Failure
from distpool.scheduler.messages import Contact, Value
from distpool.scheduler.remote import refs
from distpool.scheduler.remote.refs import ObjectRef, pack_failure
from distpool.scheduler.serialize import parcels, stored
from distpool.scheduler.serialize.kept import Kept

if TYPE_CHECKING:
    from distpool.scheduler.remote.following import Following
    from distpool.scheduler.session import Session

Name = tuple[str, int]  # base and number


def name_of(ref: ObjectRef) -> Name:
    """What it is called in every process."""
    return ref.base or refs.base(), ref.number


class Serving:
    """Who waits for which value."""

    def __init__(self, session: Session, following: Following) -> None:
        self._session = session
        self._shell = session.shell
        self._leading = session.leading
        self._following = following
        #: the reference, and its subscribers by their owners' names
        self._waiting: dict[Name, tuple[ObjectRef, dict[str, Contact]]] = {}
        #: other owners' names, and their numbers in the store: what was handed to them they may not have claimed yet
        self._handed: dict[str, int] = {}
        self._lock = threading.RLock()

    @property
    def owes(self) -> bool:
        """Whether others wait for values."""
        return bool(self._waiting)

    def serve(self, ref: ObjectRef, subscriber: Contact) -> None:
        """Let another owner have a value, now or when it is there."""
        if ref.settled:
            self.send_value(ref, subscriber)
            return
        # That it has dialled us does not tell of its end.
        self._leading.tell(lambda: self._shell.watch_owner(subscriber))
        name = name_of(ref)
        with self._lock:
            known = self._waiting.get(name)
            if known is not None:
                known[1][subscriber.owner] = subscriber
                return
            self._waiting[name] = ref, {subscriber.owner: subscriber}
        ref.watch(self._is_ready)

    def _is_ready(self, ref: ObjectRef) -> None:
        """On whatever thread has settled it."""
        if self._leading.is_engine_thread():
            self._publish(ref)
        else:
            self._leading.tell(lambda: self._shell.deliveries.append(lambda: self._publish(ref)))

    def _publish(self, ref: ObjectRef) -> None:
        with self._lock:
            _, subscribers = self._waiting.pop(name_of(ref), (ref, {}))
        for subscriber in subscribers.values():
            self.send_value(ref, subscriber)

    def lose(self, owner: str) -> None:
        """It is gone, and waits for nothing."""
        with self._lock:
            for name, (ref, subscribers) in list(self._waiting.items()):
                subscribers.pop(owner, None)
                if not subscribers:
                    del self._waiting[name]
                    ref.unwatch(self._is_ready)
        process = self._handed.pop(owner, None)
        if process is not None and self._shell.store is not None:
            self._shell.store.forget_handed(process)

    # ------------------------------------------------------------------------------------ sending

    def send_value(self, ref: ObjectRef, subscriber: Contact) -> None:
        """It is ready: send it, once what it refers to itself is safe with the subscriber."""
        value = ref.value
        if type(value) is not Kept or not value.refs:
            self._send(ref, value, subscriber)
            return
        pending: list[ObjectRef] = []
        blob = refs.passed_on(value, pending)
        if not pending:
            self._send(ref, value, subscriber, blob)
        else:
            send_it = lambda: self._send(ref, value, subscriber, blob)  # noqa: E731  # it is to be called later
            self._following.subscribe_for(pending, subscriber, send_it)

    def _send(self, ref: ObjectRef, value: Any, subscriber: Contact, blob: bytes = b"") -> None:
        store = self._shell.store
        lineage = self._session.remote.lineage
        if lineage.is_lost(value):
            lineage.then([ref], lambda: self.send_value(ref, subscriber))
            return
        failure: bytes | None = None
        if isinstance(value, Failure):
            value, failure = None, pack_failure(value)
        elif type(value) is Kept:
            blob = blob or value.blob
            try:
                if store is None or subscriber.node != self._session.core.node:
                    value = parcels.self_contained(blob)
                elif ids := stored.ids_of(blob):
                    self._handed[subscriber.owner] = subscriber.process
                    self._leading.tell(lambda: self._shell.watch_owner(subscriber))
                    store.hand(ids, subscriber.process)
                    value = blob
                else:
                    value = blob
            except Exception as error:
                value, failure = None, pack_failure(Failure(reason=str(error), kind="lost"))
        base, number = name_of(ref)
        message = Value(base, number, value, failure, 0 if store is None else store.process)
        self._leading.tell(lambda: self._shell.say_to_owner(subscriber, message))
