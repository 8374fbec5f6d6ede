"""What an agent sends of its node's objects to other nodes, and keeps for them; used by ``mover`` only.

::

    agent of another node ── SourceKeep, SourceTake, SourceRelease ──► the ledger: a hold of that node's
                          ── Pull, PullOn ──► an upload ──► Coming, Chunk, ... as far as the data is here itself
                          ◄─ PullElsewhere ── ... or another node that was sent it

A peer is one link of another node's: its first word is ``SourceKeep``, and the next link of the same node takes its
place. So nothing that a lost link had left stays for longer than until the node dials again, or is gone.

Also a program that has its home here (a guest) is a peer, which only pulls.

What lies in memory is sent from where it lies: ZeroMQ encrypts pieces of a mapping, which keeps the object in its place
until the last of them has left. What lies on the disk is read here, so that no link waits for it in ZeroMQ's thread.
What is on a device is brought to the host by its exporter first, and is looked for every few milliseconds.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from distpool.errors import StoreError
from distpool.scheduler.limits import Limits
from distpool.scheduler.messages import (
    AGENT,
    NODES,
    Chunk,
    Coming,
    Message,
    Pull,
    PullElsewhere,
    PullOn,
    PullStop,
    SourceGone,
    SourceKeep,
    SourceRelease,
    SourceTake,
    SourceTaken,
    SourceUnknown,
    encode,
)
from distpool.scheduler.store.access import Held
from distpool.scheduler.store.ledger import MEMORY, LedgerFull, ObjectGone
from distpool.scheduler.store.ledger_table import NO_ROOM, store_of
from distpool.scheduler.store.putting import Incoming
from distpool.scheduler.store.store import ObjectStore

_STRANGERS_MAX = 100
#: How often what is to come from a device is looked for.
LOOK_S = 0.005


class Arriving(Protocol):
    """A copy that is coming. ``turn``: whom it may be passed on to (``PullElsewhere``); None: not known yet."""

    incoming: Incoming | None
    turn: int | None


@dataclass(slots=True)
class _Upload:
    """One object on its way to one peer. ``held`` keeps it here; without, it is a copy that is coming itself."""

    peer: bytes
    number: int
    sent: int
    until: int
    size: int = -1  # not known yet
    local: int = 0
    held: Any = None
    view: memoryview | None = None  # all of it, where it lies in memory


@dataclass(slots=True)
class _Peer:
    """Who pulls from here: a link of the node with this ``store``, or of the program ``guest``."""

    store: int = 0
    guest: str = ""
    uploads: dict[int, _Upload] = field(default_factory=dict)


class Uploads:
    """One agent's.

    Args:
        store: the node's, as the agent uses it.
        say: sends frames to a peer; whether it is still there.
        arriving: the copy of this object that is coming.
        copy_of: the number of the copy that is here of another node's object, or 0.
        is_there: whether the node with this store is not known to be gone.
        look_soon: has ``look`` called at the next turn of the loop.
    """

    def __init__(
        self,
        store: ObjectStore,
        limits: Limits,
        say: Callable[[bytes, list[Any]], bool],
        arriving: Callable[[int], Arriving | None],
        copy_of: Callable[[int], int],
        is_there: Callable[[int], bool],
        look_soon: Callable[[], None],
    ) -> None:
        self._store, self._limits, self._say = store, limits, say
        self._arriving, self._copy_of, self._is_there = arriving, copy_of, is_there
        self._look_soon = look_soon
        self._on_device: set[int] = set()  # objects that are wanted, and are still to come to the host
        self._peers: dict[bytes, _Peer] = {}
        self._links: dict[int, int] = {}  # store of another node -> its latest link
        self._refused: dict[int, bytes] = {}  # store of a node that was taken for dead -> its link
        self._strangers: deque[bytes] = deque(
            maxlen=_STRANGERS_MAX
        )  # links that were told that they are unknown
        self._taken: dict[int, int] = {}  # ... -> the serial number of what it took last
        self._kept: dict[int, set[int]] = {}  # ... -> what it needs of ours
        self._relays: dict[int, list[int]] = {}  # object -> stores that were sent it, each passes it on
        self._turns = itertools.count(1)

    # ------------------------------------------------------------------------------- peers

    @property
    def are_needed(self) -> bool:
        """Whether other nodes need something that lies here."""
        return any(self._kept.values())

    def hear(self, identity: bytes, message: Message) -> None:
        """Another node's agent speaks, by its link to this one."""
        if type(message) is SourceKeep:
            self._greet(identity, message)
            return
        peer = self._peers.get(identity)
        if peer is None:
            if identity not in self._strangers:
                self._strangers.append(identity)  # once is enough
                self._say(identity, [encode(SourceUnknown())])
            return
        match message:
            case SourceTake(ids=ids, via=via, serial=serial):
                if not serial or serial > self._taken.get(peer.store, 0):
                    self._keep(identity, peer.store, ids, via)
                if serial:
                    self._taken[peer.store] = max(serial, self._taken.get(peer.store, 0))
                    self._say(identity, [encode(SourceTaken(self._taken[peer.store]))])
            case SourceRelease(ids=ids):
                self._release(peer.store, ids)
            case Pull():
                self._begin(identity, peer, message)
            case PullOn(number=number, until=until):
                if (upload := peer.uploads.get(number)) is not None:
                    upload.until = until
                    self._pump(upload)
            case PullStop(number=number):
                if (upload := peer.uploads.get(number)) is not None:
                    self._end(upload)
            case _:
                pass  # not one of ours

    def store_of_peer(self, identity: bytes) -> int:
        """Which node's store this link is of; 0: none that counts."""
        peer = self._peers.get(identity)
        return 0 if peer is None else peer.store

    def _greet(self, identity: bytes, keep: SourceKeep) -> None:
        store = keep.store
        if not self._is_there(store):
            self._refused[store] = identity
            return
        if keep.link < self._links.get(store, 0):
            return  # it has dialled again since
        self._links[store] = keep.link
        for other in [other for other, peer in self._peers.items() if peer.store == store]:
            self._forget(other)
        self._peers[identity] = _Peer(store)
        with suppress(ValueError):
            self._strangers.remove(identity)
        kept = self._kept.setdefault(store, set())
        self._release(store, kept - set(keep.ids))
        self._keep(identity, store, [number for number in keep.ids if number not in kept], 0)

    def _keep(self, identity: bytes, store: int, ids: Iterable[int], via: int) -> None:
        kept, holder, gone = self._kept.setdefault(store, set()), NODES | store, []
        ledger = self._store.ledger
        with self._store.lock:
            for number in ids:
                try:
                    is_claimed = via and self._claim(number, holder, via)
                    if not is_claimed and number not in kept:
                        ledger.hold(number, holder)
                    elif is_claimed and number in kept:
                        ledger.drop(number, holder)  # once is enough
                    kept.add(number)
                except (ObjectGone, LedgerFull):
                    gone.append(number)
        if gone:
            self._say(identity, [encode(SourceGone(tuple(gone)))])

    def _claim(self, number: int, holder: int, via: int) -> bool:
        try:
            self._store.ledger.claim(number, holder, via)
        except ObjectGone:  # or not in transit any more
            return False
        return True

    def _release(self, store: int, ids: Iterable[int]) -> None:
        kept = self._kept.get(store, set())
        with self._store.lock:
            for number in [number for number in ids if number in kept]:
                kept.discard(number)
                with suppress(ObjectGone):
                    self._store.ledger.drop(number, NODES | store)

    def node_came(self, store: int) -> None:
        """The node with this store is there, or there again: it may have dialled before we knew."""
        if (identity := self._refused.pop(store, None)) is not None:
            self._say(identity, [encode(SourceUnknown())])

    def node_gone(self, store: int) -> None:
        """The node with this store is gone, or is taken for dead."""
        for identity in [identity for identity, peer in self._peers.items() if peer.store == store]:
            self._forget(identity)
        self._links.pop(store, None)
        self._taken.pop(store, None)
        for relays in self._relays.values():
            if store in relays:
                relays.remove(store)
        self._kept.pop(store, None)
        with self._store.lock:
            self._store.ledger.mend(NODES | store)  # also what was put for it, and it has never asked for

    def guest_gone(self, name: str) -> None:
        """A program that had its home here has ended."""
        for identity in [identity for identity, peer in self._peers.items() if peer.guest == name]:
            self._forget(identity)

    def _forget(self, identity: bytes) -> None:
        """A link is gone; what its node needs here is told again on its next one, or it is gone itself."""
        peer = self._peers.pop(identity, None)
        if peer is not None:
            for upload in list(peer.uploads.values()):
                peer.uploads.pop(upload.number)
                self._let_go(upload)

    # ------------------------------------------------------------------------------- uploads

    def begin_for_guest(self, identity: bytes, name: str, pull: Pull) -> None:
        """A program that has its home here is to be sent what is here."""
        self._begin(identity, self._peers.setdefault(identity, _Peer(guest=name)), pull)

    def has_guest(self, identity: bytes) -> bool:
        """Whether this link of a program's pulls something."""
        return identity in self._peers

    def _begin(self, identity: bytes, peer: _Peer, pull: Pull) -> None:
        number = pull.number
        if (former := peer.uploads.get(number)) is not None:
            self._end(former)
        upload = _Upload(identity, number, pull.offset, pull.until)
        if (arriving := self._arriving(number)) is not None:
            if arriving.turn is None or arriving.turn >= pull.turn:
                self._say(identity, [encode(SourceGone((number,)))])  # that one may be waiting for us
                return
            if arriving.incoming is not None:
                upload.size = arriving.incoming.extent.bytes
        else:
            upload.local = number if store_of(number) == self._store.number else self._copy_of(number)
            try:
                upload.held = self._store.hold([upload.local])
                upload.size = self._store.ledger.locate(upload.local).bytes
            except (StoreError, ObjectGone):
                self._say(identity, [encode(SourceGone((number,)))])
                return
        if pull.relay and (relay := self._relay(number, peer.store)):
            self._say(identity, [encode(PullElsewhere(number, relay, next(self._turns)))])
            return
        peer.uploads[number] = upload
        if upload.held is not None and not self._is_on_host(upload.local):
            self._on_device.add(number)
            self._look_soon()
        if upload.size >= 0:
            self._say(identity, [encode(Coming(number, upload.size))])
            self._pump(upload)

    def _is_on_host(self, local: int) -> bool:
        with self._store.lock:
            try:
                return self._store.ledger.want(local)
            except ObjectGone:
                return False  # its exporter has just died, which ``look`` will find

    def look(self) -> float | None:
        """Send what has come to the host from a device. Returns after how many seconds to look again, if at all."""
        ledger = self._store.ledger
        for number in list(self._on_device):
            uploads = self._of(number)
            try:
                if uploads and ledger.is_on_device(number) and not ledger.wish(number) & NO_ROOM:
                    continue
                is_here = not ledger.is_on_device(number)
            except ObjectGone:  # its exporter has died
                is_here = False
            self._on_device.discard(number)
            if is_here:
                self.pass_on(number)
            else:
                self.fail(number)
        return LOOK_S if self._on_device else None

    def _relay(self, number: int, store: int) -> int:
        """Who else can send it to that node; 0: we do it ourselves, and that one to others in its turn."""
        busy = len(self._of(number))
        relays = self._relays.setdefault(number, [])
        if store in relays:
            relays.remove(store)  # it does not have it any more
        chosen = 0
        if busy >= self._limits.fan_out and relays:
            chosen = relays.pop(0)
            relays.append(chosen)  # in turn
        relays.append(store)
        return chosen

    def _of(self, number: int) -> list[_Upload]:
        return [peer.uploads[number] for peer in self._peers.values() if number in peer.uploads]

    def announce(self, number: int, size: int) -> None:
        """It is known how long an object is that is coming."""
        for upload in self._of(number):
            upload.size = size
            self._say(upload.peer, [encode(Coming(number, size))])

    def pass_on(self, number: int) -> None:
        """More of it has come."""
        for upload in self._of(number):
            self._pump(upload)

    def complete(self, number: int, held: Held) -> None:
        """All of it has come."""
        for upload in self._of(number):
            (upload.local,), upload.held = held.ids, held
            self._pump(upload)

    def fail(self, number: int) -> None:
        """It does not come."""
        for upload in self._of(number):
            self._end(upload)
            self._say(upload.peer, [encode(SourceGone((number,)))])

    def _pump(self, upload: _Upload) -> None:
        """Send what may be sent, and is here."""
        arriving = self._arriving(upload.number) if upload.held is None else None
        incoming = None if arriving is None else arriving.incoming
        here = upload.size if upload.held is not None else 0 if incoming is None else incoming.done_bytes
        if upload.number in self._on_device:
            return
        end = min(upload.until, here)
        while upload.sent < end:
            size = min(self._limits.chunk_bytes, end - upload.sent)
            data = self._piece(upload, incoming, size)
            if not self._say(upload.peer, [encode(Chunk(upload.number, upload.sent)), data]):
                self._forget(upload.peer)
                return
            upload.sent += size
        if upload.sent >= upload.size >= 0:
            self._end(upload)

    def _piece(self, upload: _Upload, incoming: Incoming | None, size: int) -> bytes | memoryview:
        if incoming is not None:
            return incoming.read(upload.sent, size)
        if upload.view is None and self._store.ledger.locate(upload.local).tier == MEMORY:
            (view,) = self._store.map([upload.local])
            assert isinstance(view, memoryview)
            upload.view = view
        if upload.view is not None:
            return upload.view[upload.sent : upload.sent + size]
        with self._store.lock:
            extent = self._store.ledger.pin(upload.local, AGENT)
        try:
            return self._store.access.read(extent, upload.sent, size)
        finally:
            with self._store.lock:
                self._store.ledger.unpin(upload.local, AGENT)

    def _end(self, upload: _Upload) -> None:
        peer = self._peers.get(upload.peer)
        if peer is not None:
            peer.uploads.pop(upload.number, None)
        self._let_go(upload)

    def _let_go(self, upload: _Upload) -> None:
        upload.held = upload.view = None
        if not self._of(upload.number):
            self._relays.pop(upload.number, None)
