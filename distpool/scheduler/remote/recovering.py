"""Values whose data is gone here, and which another process can make again: it is asked, and answers as to a Subscribe.

::

    a reference that is ready, its data gone ─► recover ─► a successor ──┐
    one that has just arrived, its data gone ─► arrived ─► stays pending ┴── Recover ──► the process that has made it
                                                                                           its data is there: Value
                            came: the successor, or the reference itself  ◄── Value ──     gone: see ``lineage``

Who that is, has come with the reference (``Kept.origin``). Without one, or when it is gone too, the value is lost.

``hear``, ``came`` and ``lose`` run on the thread that delivers.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from distpool.errors import Failure
from distpool.scheduler.messages import Contact, Recover, Value
from distpool.scheduler.remote import refs
from distpool.scheduler.remote.refs import ObjectRef, pack_failure, unpack_failure
from distpool.scheduler.remote.serving import Name, name_of
from distpool.scheduler.serialize.kept import Kept

if TYPE_CHECKING:
    from distpool.scheduler.session import Session

#: Whose value is asked for, of whom, and what gets it.
Asked = tuple[ObjectRef, Contact, ObjectRef]


class Recovering:
    """A session's share in it, for those who ask and those who are asked."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._shell = session.shell
        self._leading = session.leading
        self._asked: dict[Name, Asked] = {}
        self._lock = threading.RLock()

    def recover(self, ref: ObjectRef, whom: Contact) -> ObjectRef:
        """Have the value of another process's object sent again; returns the successor, one for all who ask."""
        name = name_of(ref)
        with self._lock:
            asked = self._asked.get(name)
            if asked is not None:
                return asked[2]
            successor = ObjectRef()
            self._asked[name] = ref, whom, successor
        self._ask(name, whom)
        return successor

    def arrived(self, ref: ObjectRef, whom: Contact) -> None:
        """A reference has come here, but what it names has gone meanwhile: it is pending again."""
        self.recover(ref, whom)

    def _ask(self, name: Name, whom: Contact) -> None:
        def ask() -> None:
            self._shell.watch_owner(whom)
            self._shell.say_to_owner(whom, Recover(*name, self._shell.contact()))

        self._leading.tell(ask)

    def hear(self, message: Recover) -> None:
        """Another process asks us."""
        ref = refs.known(message.base, message.number)
        following = self._session.remote.following
        if ref is None or not ref.settled:
            lost = Failure(reason=f"its data is gone from the object store, and {refs.GONE}", kind="lost")
            answer = Value(message.base, message.number, None, pack_failure(lost))
            self._leading.tell(lambda: self._shell.say_to_owner(message.subscriber, answer))
        else:
            following.send_value(ref, message.subscriber)

    def came(self, name: Name, message: Value, value: Any) -> bool:
        """A value has come; returns whether it was asked for here."""
        with self._lock:
            asked = self._asked.pop(name, None)
        if asked is None:
            return False
        failure = None if message.failure is None else unpack_failure(message.failure)
        self._settle(asked, value, failure)
        return True

    def lose(self, owner: str) -> None:
        """Another process is gone, with what it was asked for."""
        with self._lock:
            lost = [name for name, (_, whom, _) in self._asked.items() if whom.owner == owner]
            gone = [self._asked.pop(name) for name in lost]
        for asked in gone:
            why = f"its data is gone from the object store, and so is the process that owned it ({owner})"
            self._settle(asked, None, Failure(reason=why, kind="owner died"))

    def end(self, failure: Failure) -> None:
        """The session has ended."""
        with self._lock:
            asked = list(self._asked.values())
            self._asked.clear()
        for one in asked:
            self._settle(one, None, failure)

    def _settle(self, asked: Asked, value: Any, failure: Failure | None) -> None:
        ref, whom, successor = asked
        if failure is not None:
            successor.reject(0, failure)
        else:
            successor.fulfil(0, value)
        value = successor.value
        if type(value) is Kept:
            value.origin = whom
        if ref.settled:
            ref.value = value
        elif isinstance(value, Failure):
            ref.reject(0, value)
        else:
            ref.fulfil(0, value)
