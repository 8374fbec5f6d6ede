"""An agent's part in moving objects between nodes: it drives the ``Copies`` core, and has its parts do what that says.

::

    process of this node ── Fetch ──► Copies ── StartPull ──► ``downloads`` ── Pull, PullOn ──► ``source_links``
                         ◄─ Fetched ──   ◄────── Copied ─────── store ◄──── Coming, Chunk, ... ────────┘
    agent of another node ── SourceKeep, Pull, ... ──► ``uploads``
    program without a store ── Put, Pull, ... ───────► ``guests``

What each message means is in ``messages.moving``. Used by the agent's loop only. Not here: who needs what
(``cores.copies``).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import zmq

from distpool.errors import StoreError
from distpool.scheduler.cores.copies import Copies
from distpool.scheduler.cores.copies_messages import (
    Copied,
    CopyFailed,
    Discard,
    Lend,
    Process,
    ProcessGone,
    StartPull,
    Stores,
)
from distpool.scheduler.limits import Limits
from distpool.scheduler.messages import (
    AGENT,
    Chunk,
    Coming,
    FarForgetHanded,
    Fetched,
    Message,
    NodeFacts,
    PullElsewhere,
    SourceForget,
    SourceGone,
    SourceTaken,
    SourceUnknown,
    Tick,
    WakeAt,
)
from distpool.scheduler.shells.curve import Keys
from distpool.scheduler.shells.downloads import Downloads
from distpool.scheduler.shells.guests import Guests
from distpool.scheduler.shells.room_making import RoomMaking
from distpool.scheduler.shells.source_links import SourceLinks
from distpool.scheduler.shells.unclaimed import Unclaimed
from distpool.scheduler.shells.uploads import Uploads
from distpool.scheduler.store.access import Held
from distpool.scheduler.store.ledger_table import store_of
from distpool.scheduler.store.store import ObjectStore

Socket = zmq.Socket[bytes]


class Mover:
    """That of the agent of ``node``. ``say_process`` and ``say_peer`` say whether the receiver is there."""

    def __init__(
        self,
        node: str,
        context: zmq.Context[Socket],
        poller: zmq.Poller,
        store: ObjectStore,
        limits: Limits,
        keys: Keys | None,
        say_process: Callable[[bytes, Message], bool],
        say_peer: Callable[[bytes, list[Any]], bool],
        wake_at: Callable[[float], None],
    ) -> None:
        self._context, self._poller, self._limits, self._keys = context, poller, limits, keys
        self._say_process, self._wake_at = say_process, wake_at
        self._store = store
        self._store.on_dropped = lambda: wake_at(0.0)  # what goes here is told the ledger at the next turn
        self.core = Copies(limits, self._is_used)
        self._events: deque[tuple[str, Message]] = deque()  # for the core
        self._is_feeding = False
        self._core_s = math.inf  # when the core wants to look at its clock
        self._askers: dict[tuple[Process, int], bytes] = {}  # process, request -> whom to answer
        self._copies: dict[int, Held] = {}  # by their own numbers
        self._links = self._source_links()
        self._room = self._room_making()
        self._uploads = Uploads(
            store,
            limits,
            say_peer,
            lambda number: self._downloads.under_way.get(number),
            self.core.copy_of,
            lambda store: not self.core.sources.is_gone(store),
            lambda: wake_at(0.0),
        )
        self._downloads = Downloads(
            node, self._links, self._room, self._uploads, limits, self._copied, self._copy_failed, wake_at
        )
        self._guests = Guests(store, self.core, self._room, self._uploads, limits, say_peer, self._feed)
        self._unclaimed = Unclaimed(store, wake_at)

    def _source_links(self) -> SourceLinks:
        return SourceLinks(
            self._store.number,
            self.core,
            self._context,
            self._poller,
            self._limits,
            self._keys,
            self._from_source,
            lambda store, now: self._downloads.link_lost(store, now),
            lambda store, now: self._downloads.link_again(store, now),
            self._wake_at,
        )

    def _room_making(self) -> RoomMaking:
        room = RoomMaking(self._store)
        self._poller.register(room.fd, zmq.POLLIN)
        return room

    # ----------------------------------------------------------------------------- what comes

    def from_process(self, identity: bytes, name: str, message: Message, now: float) -> None:
        """A process of this node speaks, by a link of its own: ``name`` is its number in the store."""
        request = getattr(message, "request", 0)
        process: Process = int(name) if name.isdecimal() else name
        if type(message) is FarForgetHanded:
            if isinstance(process, int):
                self._unclaimed.receiver_gone(process, message.store, now + self._limits.transit_s)
            return
        if request and not self.core.is_dead(process):
            self._askers[process, request] = identity
        self._feed(f"process:{name}", message, now)

    def process_gone(self, process: Process, now: float) -> None:
        """It has ended."""
        for key in [key for key in self._askers if key[0] == process]:
            del self._askers[key]
        self._feed("shell", ProcessGone(process), now)
        if isinstance(process, int):
            self._unclaimed.sender_gone(process, 0, now + self._limits.transit_s)

    def from_guest(self, identity: bytes, name: str, message: Message, data: bytes, now: float) -> None:
        """A program that has its home here speaks (``guest_store``)."""
        self._guests.hear(identity, name, message, data, now)

    def guest_gone(self, name: str, now: float) -> None:
        """A program has ended."""
        self._guests.gone(name)
        self._feed("shell", ProcessGone(name), now)
        self._store.drain()

    def from_peer(self, identity: bytes, message: Message, now: float) -> None:
        """Another node's agent speaks, by its link to this one."""
        if type(message) is not SourceForget:
            self._uploads.hear(identity, message)
        elif store := self._uploads.store_of_peer(identity):
            self._unclaimed.sender_gone(message.via, store, now + self._limits.copy_linger_s)
            self._feed(f"store:{store}", message, now)

    def _from_source(self, store: int, message: Message, data: list[Any], now: float) -> None:
        """Another node's agent speaks, by this one's link to it."""
        match message:
            case PullElsewhere() | Coming() | Chunk():
                self._downloads.hear(store, message, data, now)
            case SourceGone(ids=ids):
                self._downloads.source_lacks(store, ids, now)
                own = tuple(number for number in ids if store_of(number) == store)
                self._feed(f"store:{store}", SourceGone(own), now)
            case SourceTaken():
                self._feed(f"store:{store}", message, now)
            case SourceUnknown():
                self._links.greet(store)
                self._downloads.link_again(store, now)
            case _:
                pass  # not one of ours

    def see(self, nodes: Iterable[NodeFacts], now: float) -> None:
        """These are the cluster's other nodes."""
        facts_of = {facts.store: facts for facts in nodes if facts.store}
        gone, new = self._links.see({store: facts.address for store, facts in facts_of.items()})
        for store in gone:
            self._uploads.node_gone(store)
        leaving = tuple(store for store, facts in facts_of.items() if facts.draining)
        self._feed("shell", Stores(tuple(facts_of), self._store.number, leaving), now)
        self._downloads.nodes_gone(gone, now)
        for store in new:
            self._uploads.node_came(store)
            self._links.meet(store)

    @property
    def is_needed(self) -> bool:
        """Whether other nodes need something that lies here."""
        return self._uploads.are_needed

    def read(self, source: object, now: float) -> bool:
        """Take in what a readable socket has, or some of it; False: it is not one of these."""
        if source == self._room.fd:
            self._room.settle(now)
            return True
        return self._links.read(source, now)

    def tick(self, now: float) -> None:
        """A time that was asked for has come."""
        if self._core_s <= now:
            self._core_s = math.inf
            self._feed("shell", Tick(), now)
        self._unclaimed.tick(now)
        self._links.tick(now)
        self._downloads.tick(now)
        wake_s = [self._core_s, self._unclaimed.wake_s, self._links.wake_s, self._downloads.wake_s]
        if (look_s := self._uploads.look()) is not None:
            wake_s.append(now + look_s)
        self._wake_at(min(wake_s))
        self._store.drain()

    # ------------------------------------------------------------------------------ the core

    def _feed(self, sender: str, message: Message, now: float) -> None:
        """Give the core a message and do what comes of it: one after the other, as that gives it the next."""
        self._events.append((sender, message))
        if self._is_feeding:
            return
        self._is_feeding = True
        while self._events:
            for address, effect in self.core.receive(*self._events.popleft(), now):
                kind, _, name = address.partition(":")
                if kind == "timer":
                    assert isinstance(effect, WakeAt)
                    self._core_s = effect.at_s
                    self._wake_at(effect.at_s)
                elif kind == "store":
                    self._links.say(int(name), effect)
                elif kind == "process":
                    self._answer(int(name) if name.isdecimal() else name, effect)
                else:
                    self._do(effect, now)
        self._is_feeding = False

    def _do(self, effect: Message, now: float) -> None:
        match effect:
            case StartPull(number=number):
                self._downloads.begin(number, now)
            case Lend(local=local, process=process) if isinstance(process, int):
                with suppress(StoreError):
                    self._store.hand([local], process)
            case Lend():
                pass  # a program elsewhere takes the bytes
            case Discard(local=local):
                self._copies.pop(local, None)
                self._store.drain()
            case _:
                raise AssertionError(effect)

    def _answer(self, process: Process, answer: Any) -> None:
        if isinstance(process, str):
            self._guests.answer(process, answer)
            return
        identity = self._askers.pop((process, answer.request), b"")
        told = bool(identity) and self._say_process(identity, answer)
        if not told and type(answer) is Fetched:
            self._store.take_back(answer.ids, process)

    def _copied(self, number: int, held: Held, now: float) -> None:
        (local,) = held.ids
        self._copies[local] = held
        self._feed("shell", Copied(number, local), now)

    def _copy_failed(self, number: int, reason: str, lost: bool, now: float) -> None:
        self._feed("shell", CopyFailed(number, reason, lost), now)

    def _is_used(self, local: int) -> bool:
        with self._store.lock:
            return self._store.ledger.is_held_besides(local, AGENT)
