"""One simulated process: its tables, its ``Following``, and as much of a session as that uses.

::

    told (any thread) ─► inbox ── step ──► frames out, deliveries ── deliver ──► Following, the program's promises

The modules' own tables are one process's; ``Process.active`` puts its own in their place, so all that the real
functions do between is done in this process. (Held objects know their process themselves, whenever they go.)
"""

from __future__ import annotations

import itertools
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from distpool.scheduler.messages import Contact, decode, encode
from distpool.scheduler.remote import refs
from distpool.scheduler.remote.following import Following
from distpool.scheduler.remote.refs import ObjectRef
from distpool.scheduler.serialize import stored

from .store import Store

if TYPE_CHECKING:
    from .world import World

#: Whose tables are in place.
active: Process | None = None


class _Named:
    """Something with attributes."""

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


class _Leading:
    def __init__(self, inbox: deque[Callable[[], None]]) -> None:
        self.tell = inbox.append
        self.delivers = False

    def is_engine_thread(self) -> bool:
        return self.delivers


class _Shell:
    """The owner's shell, as far as references see it."""

    def __init__(self, process: Process, store: Store) -> None:
        self._process = process
        self.store = store
        self.deliveries: deque[Callable[[], None]] = deque()
        self.contacts: dict[str, Contact] = {}
        self.on_peer: Callable[[str, Any], None] = lambda _owner, _message: None

    def contact(self) -> Contact:
        return self._process.contact

    def watch_owner(self, contact: Contact) -> None:
        self.contacts[contact.owner] = contact
        self._process.dial(contact.owner)

    def say_to_owner(self, contact: Contact, message: Any) -> None:
        self.contacts[contact.owner] = contact
        self._process.say(contact.owner, encode(message))

    def call_later(self, delay_s: float, what: Callable[[], None]) -> None:
        self._process.world.call_later(delay_s, self._process, lambda: self.deliveries.append(what))


class Process:
    """``name`` is its owner's; ``index`` its number in the store."""

    def __init__(self, world: World, name: str, index: int) -> None:
        self.world = world
        self.name = name
        self.index = index
        self.alive = True
        self.contact = Contact(name, f"ipc://{name}", "n", index)
        self.base = f"base-{name}"
        self.numbers = itertools.count(1)
        self.exported: weakref.WeakValueDictionary[int, ObjectRef] = weakref.WeakValueDictionary()
        self.borrowed: weakref.WeakValueDictionary[tuple[str, int], ObjectRef] = weakref.WeakValueDictionary()
        self.store = Store(world.ledger, index)
        self.inbox: deque[Callable[[], None]] = deque()
        self.leading = _Leading(self.inbox)
        self.shell = _Shell(self, self.store)
        self.dialled: set[str] = set()
        self.inbound: set[str] = set()
        self.variables: list[ObjectRef] = []  # what the program keeps for good, as an actor does
        self.calls: list[Any] = []  # those that it executes
        self.called: dict[int, Any] = {}  # those that it has made, by number
        with self.active():
            self.following = self._follow()

    def _follow(self) -> Following:
        nobody = _Named(
            hear=lambda *_: None, came=lambda *_: False, lose=lambda *_: None, end=lambda *_: None
        )
        session: Any = _Named(
            shell=self.shell,
            leading=self.leading,
            contact=self.contact,
            core=_Named(owner=self.name, node="n"),
            remote=_Named(adopting=nobody, recovering=nobody, lineage=_Named(is_lost=lambda _value: False)),
        )
        following = Following(session)
        session.remote.following = following
        return following

    @contextmanager
    def active(self) -> Iterator[None]:
        """In this process."""
        global active
        before = (
            active,
            refs.EXPORTED,
            refs.BORROWED,
            refs._Process.base,
            refs._numbers,
            stored.STATE["store"],
        )
        active = self
        refs.EXPORTED, refs.BORROWED = self.exported, self.borrowed
        refs._Process.base, refs._numbers = self.base, self.numbers
        stored.STATE["store"] = self.store
        try:
            yield
        finally:
            active, refs.EXPORTED, refs.BORROWED, refs._Process.base, refs._numbers, stored.STATE["store"] = (
                before
            )

    # -------------------------------------------------------------------------------------- links

    def dial(self, name: str) -> None:
        if name not in self.dialled:
            self.dialled.add(name)
            self.world.dialled(self, name)

    def say(self, name: str, frame: bytes) -> None:
        if name not in self.inbound:
            self.dial(name)
        self.world.send(self.name, name, frame)

    def hear(self, sender: Process, frame: bytes) -> None:
        """In a step: a frame of another owner is there."""
        self.inbound.add(sender.name)
        self.shell.contacts[sender.name] = sender.contact
        message = decode(frame)
        self.shell.deliveries.append(lambda: self.shell.on_peer(sender.name, message))

    def lose(self, name: str, index: int) -> None:
        """In a step: our link to another owner is lost, and all that it had sent was read."""
        self.dialled.discard(name)
        self.inbound.discard(name)
        self.shell.contacts.pop(name, None)
        self.shell.deliveries.append(lambda: self.store.forget_transit(index))
        self.shell.deliveries.append(lambda: self.shell.on_peer(name, None))

    # ------------------------------------------------------------------------------------- running

    @property
    def is_busy(self) -> bool:
        return self.alive and bool(self.inbox or self.shell.deliveries)

    def step(self) -> None:
        """Do one of the things that are to be done, of one's own and of others'."""
        with self.active():
            if self.inbox and (not self.shell.deliveries or self.world.rng.random() < 0.5):
                self.inbox.popleft()()
                return
            self.leading.delivers = True
            try:
                self.shell.deliveries.popleft()()
            finally:
                self.leading.delivers = False

    def die(self) -> None:
        self.alive = False
        self.world.ledger.bury(self.index)
        self.inbox.clear()
        self.shell.deliveries.clear()
        self.variables.clear()
        self.calls.clear()
        self.called.clear()
        del self.following
