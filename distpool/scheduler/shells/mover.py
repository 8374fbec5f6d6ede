"""An agent's part in moving objects between nodes: it drives the ``Copies`` core, pulls, and sends what others pull.

::

    process of this node ── Fetch ──► Copies ── StartPull ──► a download ── Pull, PullOn ──► the source, or a relay
                         ◄─ Fetched ──   ◄────── Copied ─────── store ◄── Coming, Chunk, Chunk, ...
    agent of another node ── SourceTake, SourceRelease ──► the ledger: a hold of that node's
                          ── Pull, PullOn ──► an upload ──► Coming, Chunk, ... as far as the data is here itself

A download has a window of bytes under way, so what many pulls need of memory is bounded. The links carry nothing else:
no heartbeat waits behind them. Who pulls what is already sent to ``fan_out`` others is sent to one of those, which
passes it on as it comes: so a broadcast spreads as a tree. Where a relay fails, the source sends the rest.

Used by the agent's loop only. Not here: who needs what (``cores.copies``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import msgspec
import zmq

from distpool.errors import StoreError
from distpool.scheduler.cores.copies import (
    Copied,
    Copies,
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
    NODES,
    Chunk,
    Coming,
    FarClaim,
    FarDrop,
    FarHand,
    FarHold,
    FarLook,
    FarLooked,
    Fetch,
    Fetched,
    Message,
    NodeFacts,
    Pull,
    PullElsewhere,
    PullFailed,
    PullOn,
    PullStop,
    Put,
    PutDone,
    PutOn,
    PutStop,
    SourceGone,
    SourceKeep,
    SourceRelease,
    SourceTake,
    Tick,
    WakeAt,
    decode,
    encode,
)
from distpool.scheduler.shells.curve import Keys
from distpool.scheduler.shells.links import close_watched, watched_dealer
from distpool.scheduler.store.access import Held
from distpool.scheduler.store.files import StoreFiles
from distpool.scheduler.store.ledger import LedgerFull, ObjectGone
from distpool.scheduler.store.ledger_table import store_of
from distpool.scheduler.store.putting import Incoming
from distpool.scheduler.store.store import ObjectStore

Socket = zmq.Socket[bytes]

#: Who has made a copy, for people.
_LABEL = "a copy of another node's"


@dataclass(slots=True)
class _Link:
    """To another node, to pull from there."""

    link: Socket
    fate: Socket


@dataclass(slots=True)
class _Download:
    number: int
    source: int  # the store that it comes from at present
    until: int  # what was asked for
    incoming: Incoming | None = None


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


@dataclass(slots=True)
class _Peer:
    """Another node that pulls from here."""

    store: int = 0
    uploads: dict[int, _Upload] = field(default_factory=dict)
    guest: str = ""  # or a program that has its home here


@dataclass(slots=True)
class _Guest:
    """A program that has its home here: what it refers to of this node's objects, and what it is sending."""

    held: dict[int, list[Any]] = field(default_factory=dict)
    puts: dict[int, Incoming] = field(default_factory=dict)


class Mover:
    """One agent's. ``say_process`` and ``say_peer`` say whether the receiver is there.

    ``address_of`` is where the agent of the node with this store is bound, "" if there is none.
    """

    def __init__(
        self,
        context: zmq.Context[Socket],
        poller: zmq.Poller,
        files: StoreFiles,
        limits: Limits,
        keys: Keys | None,
        say_process: Callable[[bytes, Message], bool],
        say_peer: Callable[[bytes, list[Any]], bool],
        wake_at: Callable[[float], None],
    ) -> None:
        self._context, self._poller, self._limits, self._keys = context, poller, limits, keys
        self._say_process, self._say_peer, self._wake_at = say_process, say_peer, wake_at
        self._store = ObjectStore(files, AGENT)
        self.core = Copies(limits, self._is_used)
        self._addresses: dict[int, str] = {}
        self._askers: dict[tuple[Process, int], bytes] = {}  # process, request -> whom to answer
        self._links: dict[int, _Link] = {}
        self._store_of: dict[Socket, int] = {}  # a link, or its fate -> store
        self._downloads: dict[int, _Download] = {}
        self._copies: dict[int, Held] = {}  # by their own numbers
        self._peers: dict[bytes, _Peer] = {}
        self._kept: dict[int, set[int]] = {}  # store of another node -> what it needs of ours
        self._guests: dict[str, _Guest] = {}
        self._guest_requests = 0
        self._awaited: dict[
            tuple[str, int], tuple[bytes, Pull]
        ] = {}  # program, request -> what is to be sent then
        self._unclaimed: deque[tuple[float, int]] = deque()  # when what a dead worker has put is forgotten
        self._relays: dict[int, list[int]] = {}  # object -> stores that were sent it, each passes it on

    # ----------------------------------------------------------------------------- what comes

    def from_process(self, identity: bytes, name: str, message: Message, now: float) -> None:
        """A process of this node speaks, by a link of its own: ``name`` is its number in the store."""
        request = getattr(message, "request", 0)
        process: Process = int(name) if name.isdecimal() else name
        if request:
            self._askers[process, request] = identity
        self._feed(f"process:{name}", message, now)

    def process_gone(self, process: Process, now: float) -> None:
        """It has ended."""
        for key in [key for key in self._askers if key[0] == process]:
            del self._askers[key]
        self._feed("shell", ProcessGone(process), now)
        if isinstance(process, int) and self._addresses:
            self._unclaimed.append((now + self._limits.transit_s, process))
            self._wake_at(self._unclaimed[0][0])

    def see(self, nodes: Iterable[NodeFacts], now: float) -> None:
        """These are the cluster's other nodes."""
        addresses = {facts.store: facts.address for facts in nodes if facts.store}
        gone = self._addresses.keys() - addresses.keys()
        self._addresses = addresses
        for store in gone:
            self._drop_link(store)
            if self._kept.pop(store, None) is not None:
                with self._store.lock:
                    self._store.ledger.mend(NODES | store)
            for identity in [identity for identity, peer in self._peers.items() if peer.store == store]:
                del self._peers[identity]
            for relays in self._relays.values():
                if store in relays:
                    relays.remove(store)
        self._feed("shell", Stores(tuple(addresses)), now)
        for download in [one for one in self._downloads.values() if one.source in gone]:
            self._try_source(download, now)

    def tick(self, now: float) -> None:
        """The time that was asked for has come."""
        self._feed("shell", Tick(), now)
        while self._unclaimed and self._unclaimed[0][0] <= now:
            _, worker = self._unclaimed.popleft()
            with self._store.lock:
                for store in (self._store.number, *self._addresses):
                    self._store.ledger.forget_transit(NODES | store, worker)
        if self._unclaimed:
            self._wake_at(self._unclaimed[0][0])
        self._store.drain()

    def read(self, source: object, now: float) -> bool:
        """Take in what a readable socket has; False: it is not one of these."""
        store = self._store_of.get(source)  # type: ignore[call-overload]
        if store is None:
            return False
        link = self._links[store]
        while True:
            try:
                frame, *data = link.link.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                break
            self._from_source(store, decode(frame), data, now)
        if source is link.fate and self._links.get(store) is link:
            self._drop_link(store)
            if self._addresses.get(store) and (held := self.core.held(store)):
                self._say_source(store, SourceKeep(self._store.number, held))
            for download in [one for one in self._downloads.values() if one.source == store]:
                self._try_source(download, now)
        return True

    # ---------------------------------------------------------------------------- guests

    def from_guest(self, identity: bytes, name: str, message: Message, data: bytes, now: float) -> None:
        """A program that has its home here speaks (``guest_store``)."""
        guest = self._guests.setdefault(name, _Guest())
        match message:
            case Pull():
                self._guest_pulls(identity, name, message, now)
            case PullOn() if identity in self._peers:
                self.from_peer(identity, message)
            case Put(request=request, size=size):
                self._guest_puts(identity, guest, request, size)
            case Chunk(number=request) if request in guest.puts:
                self._guest_writes(identity, guest, request, data)
            case PutStop(request=request):
                if (incoming := guest.puts.pop(request, None)) is not None:
                    incoming.discard()
            case FarLook(request=request, ids=ids):
                lost = [number for number in ids if self._is_lost(number)]
                self._say_peer(identity, [encode(FarLooked(request, tuple(lost)))])
            case FarHold(ids=ids) | FarDrop(ids=ids) | FarClaim(ids=ids) | FarHand(ids=ids):
                mine = [number for number in ids if store_of(number) == self._store.number]
                if mine:
                    self._guest_refers(guest, message, mine)
                if len(mine) < len(ids):
                    others = tuple(number for number in ids if store_of(number) != self._store.number)
                    self._feed(f"process:{name}", msgspec.structs.replace(message, ids=others), now)
            case _:
                pass  # not one of ours

    def _is_lost(self, number: int) -> bool:
        if store_of(number) == self._store.number:
            return not self._store.ledger.exists(number)
        return self.core.is_lost(number)

    def _guest_refers(self, guest: _Guest, message: Message, mine: list[int]) -> None:
        """To objects of this node."""
        for number in mine:
            with suppress(StoreError):
                match message:
                    case FarDrop():
                        if held := guest.held.get(number):
                            held.pop()
                    case FarHand(holder=holder, back=back):
                        (self._store.take_back if back else self._store.hand)([number], holder)
                    case FarClaim(via=via):
                        guest.held.setdefault(number, []).append(self._claimed(number, via))
                    case _:
                        guest.held.setdefault(number, []).append(self._store.hold([number]))
        self._store.drain()

    def _claimed(self, number: int, via: int) -> Any:
        """What a worker here has put for a program that is not here was put for this node."""
        held = self._store.hold([number])
        with self._store.lock, suppress(ObjectGone):
            self._store.ledger.claim(number, NODES | self._store.number, via)
            self._store.ledger.drop(number, NODES | self._store.number)
        return held

    def _guest_pulls(self, identity: bytes, name: str, pull: Pull, now: float) -> None:
        mine = store_of(pull.number) == self._store.number
        if mine or self.core.copy_of(pull.number):
            self._begin_upload(identity, self._peers.setdefault(identity, _Peer(guest=name)), pull)
            return
        self._guest_requests += 1
        self._awaited[name, self._guest_requests] = identity, pull
        self._feed(f"process:{name}", Fetch(self._guest_requests, (pull.number,)), now)

    def _guest_puts(self, identity: bytes, guest: _Guest, request: int, size: int) -> None:
        try:
            guest.puts[request] = self._store.receive(size, "a program elsewhere")
        except StoreError as error:
            self._say_peer(identity, [encode(PutDone(request, 0, str(error)))])
            return
        self._say_peer(identity, [encode(PutOn(request, self._limits.pull_window_bytes))])
        if not size:
            self._guest_writes(identity, guest, request, b"")

    def _guest_writes(self, identity: bytes, guest: _Guest, request: int, data: bytes) -> None:
        incoming, window = guest.puts[request], self._limits.pull_window_bytes
        before = incoming.done_bytes
        try:
            incoming.write(data)
        except (OSError, ValueError) as error:
            guest.puts.pop(request).discard()
            self._say_peer(identity, [encode(PutDone(request, 0, f"it could not be written there: {error}"))])
            return
        if incoming.is_complete:
            del guest.puts[request]
            guest.held.setdefault(incoming.id, []).append(incoming.seal())
            self._say_peer(identity, [encode(PutDone(request, incoming.id))])
        elif before // (window // 2) != incoming.done_bytes // (window // 2):
            self._say_peer(identity, [encode(PutOn(request, incoming.done_bytes + window))])

    def guest_gone(self, name: str, now: float) -> None:
        """A program has ended."""
        guest = self._guests.pop(name, None)
        if guest is not None:
            for incoming in guest.puts.values():
                incoming.discard()
            guest.held.clear()
        for key in [key for key in self._awaited if key[0] == name]:
            del self._awaited[key]
        for identity in [identity for identity, peer in self._peers.items() if peer.guest == name]:
            self._forget_peer(identity)
        self._feed("shell", ProcessGone(name), now)
        self._store.drain()

    # ------------------------------------------------------------------------------ the core

    def _feed(self, sender: str, message: Message, now: float) -> None:
        for address, effect in self.core.receive(sender, message, now):
            kind, _, name = address.partition(":")
            if kind == "timer":
                assert isinstance(effect, WakeAt)
                self._wake_at(effect.at_s)
            elif kind == "store":
                self._say_source(int(name), effect)
            elif kind == "process":
                self._answer(int(name) if name.isdecimal() else name, effect)
            else:
                self._do(effect, now)

    def _do(self, effect: Message, now: float) -> None:
        match effect:
            case StartPull(number=number):
                self._downloads[number] = download = _Download(number, 0, 0)
                self._pull_from(download, store_of(number), True, now)
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
            self._answer_guest(process, answer)
            return
        identity = self._askers.pop((process, answer.request), b"")
        told = bool(identity) and self._say_process(identity, answer)
        if not told and type(answer) is Fetched:
            self._store.take_back(answer.ids, process)

    def _answer_guest(self, name: str, answer: Any) -> None:
        identity, pull = self._awaited.pop((name, answer.request), (b"", None))
        if pull is None:
            return
        if answer.ids:
            self._begin_upload(identity, self._peers.setdefault(identity, _Peer(guest=name)), pull)
        else:
            self._say_peer(identity, [encode(PullFailed(pull.number, answer.reason, answer.is_lost))])

    def _is_used(self, local: int) -> bool:
        with self._store.lock:
            return self._store.ledger.is_held_besides(local, AGENT)

    # ----------------------------------------------------------------------------- downloads

    def _say_source(self, store: int, message: Message) -> None:
        if store not in self._links:
            address = self._addresses.get(store)
            if not address:
                return
            identity = f"b:{self._store.number}:{id(message):x}".encode()
            self._links[store] = link = _Link(*watched_dealer(self._context, address, identity, self._keys))
            for socket in (link.link, link.fate):
                self._store_of[socket] = store
                self._poller.register(socket, zmq.POLLIN)
            keep = SourceKeep(self._store.number, self.core.held(store))
            self._send(link, keep)
            if type(message) is SourceKeep:
                return
        self._send(self._links[store], message)

    @staticmethod
    def _send(link: _Link, message: Message) -> None:
        with suppress(zmq.Again):  # it has hung up, which its fate tells
            link.link.send(encode(message), zmq.NOBLOCK)

    def _drop_link(self, store: int) -> None:
        link = self._links.pop(store, None)
        if link is not None:
            for socket in (link.link, link.fate):
                del self._store_of[socket]
                self._poller.unregister(socket)
            close_watched(link.link, link.fate)

    def _pull_from(self, download: _Download, store: int, relay: bool, now: float) -> None:
        """Ask this node for the rest."""
        if store not in self._addresses:
            self._fail(download, "the node where it was is gone", True, now)
            return
        done = 0 if download.incoming is None else download.incoming.done_bytes
        download.source = store
        download.until = done + self._limits.pull_window_bytes
        self._say_source(store, Pull(download.number, done, download.until, relay))

    def _try_source(self, download: _Download, now: float) -> None:
        """Whoever was sending it does not: the source itself sends the rest."""
        self._pull_from(download, store_of(download.number), False, now)

    def _from_source(self, store: int, message: Message, data: list[bytes], now: float) -> None:
        match message:
            case SourceGone(ids=ids):
                for download in [self._downloads[number] for number in ids if number in self._downloads]:
                    if download.source != store:
                        continue
                    if store == store_of(download.number):
                        self._fail(download, "it is gone there", True, now)
                    else:
                        self._try_source(download, now)
                own = tuple(number for number in ids if store_of(number) == store)
                self._feed(f"store:{store}", SourceGone(own), now)
                return
            case PullElsewhere() | Coming() | Chunk():
                download_of = self._downloads.get(message.number)
            case _:
                return  # not one of ours
        if download_of is None or download_of.source != store:
            return
        match message:
            case PullElsewhere(store=other):
                if other in self._addresses:
                    self._pull_from(download_of, other, False, now)
                else:
                    self._try_source(download_of, now)
            case Coming(size=size):
                self._expect(download_of, size, now)
            case Chunk(offset=offset) if download_of.incoming is not None and data:
                if offset == download_of.incoming.done_bytes:
                    self._take(download_of, download_of.incoming, data[0], now)

    def _expect(self, download: _Download, size: int, now: float) -> None:
        if download.incoming is not None:
            return
        try:
            download.incoming = self._store.receive(size, _LABEL)
        except StoreError as error:
            self._say_source(download.source, PullStop(download.number))
            self._fail(download, f"there is no room on this node for a copy: {error}", False, now)
            return
        for upload in self._uploads_of(download.number):
            upload.size = size
            self._say_peer(upload.peer, [encode(Coming(download.number, size))])
        if not size:
            self._complete(download, download.incoming, now)

    def _take(self, download: _Download, incoming: Incoming, data: bytes, now: float) -> None:
        try:
            incoming.write(data)
        except (OSError, ValueError) as error:
            self._say_source(download.source, PullStop(download.number))
            self._fail(download, f"a copy could not be written on this node: {error}", False, now)
            return
        for upload in self._uploads_of(download.number):
            self._pump(upload)
        if incoming.is_complete:
            self._complete(download, incoming, now)
        elif download.until - incoming.done_bytes <= self._limits.pull_window_bytes // 2:
            download.until = incoming.done_bytes + self._limits.pull_window_bytes
            self._say_source(download.source, PullOn(download.number, download.until))

    def _complete(self, download: _Download, incoming: Incoming, now: float) -> None:
        held = incoming.seal()
        del self._downloads[download.number]
        self._copies[incoming.id] = held
        for upload in self._uploads_of(download.number):
            upload.local, upload.held = incoming.id, held
            self._pump(upload)
        self._feed("shell", Copied(download.number, incoming.id), now)

    def _fail(self, download: _Download, reason: str, lost: bool, now: float) -> None:
        del self._downloads[download.number]
        if download.incoming is not None:
            download.incoming.discard()
        for upload in self._uploads_of(download.number):
            self._end_upload(upload)
            self._say_peer(upload.peer, [encode(SourceGone((download.number,)))])
        self._feed("shell", CopyFailed(download.number, reason, lost), now)

    # ------------------------------------------------------------------------------- uploads

    def from_peer(self, identity: bytes, message: Message) -> None:
        """Another node's agent speaks, by its link to this one."""
        peer = self._peers.setdefault(identity, _Peer())
        match message:
            case SourceKeep(store=store, ids=ids):
                peer.store = store
                kept = self._kept.get(store, set())
                self._release(store, kept - set(ids))
                self._keep(identity, peer, [number for number in ids if number not in kept], 0)
            case SourceTake(ids=ids, via=via):
                self._keep(identity, peer, ids, via)
            case SourceRelease(ids=ids):
                self._release(peer.store, ids)
            case Pull():
                self._begin_upload(identity, peer, message)
            case PullOn(number=number, until=until):
                if (upload := peer.uploads.get(number)) is not None:
                    upload.until = until
                    self._pump(upload)
            case PullStop(number=number):
                if (upload := peer.uploads.get(number)) is not None:
                    self._end_upload(upload)
            case _:
                pass  # not one of ours

    def _keep(self, identity: bytes, peer: _Peer, ids: Iterable[int], via: int) -> None:
        kept, holder, gone = self._kept.setdefault(peer.store, set()), NODES | peer.store, []
        ledger = self._store.ledger
        with self._store.lock:
            for number in ids:
                try:
                    try:
                        ledger.claim(number, holder, via)
                    except ObjectGone:
                        ledger.hold(number, holder)
                    if number in kept:
                        ledger.drop(number, holder)  # once is enough
                    kept.add(number)
                except (ObjectGone, LedgerFull):
                    gone.append(number)
        if gone:
            self._say_peer(identity, [encode(SourceGone(tuple(gone)))])

    def _release(self, store: int, ids: Iterable[int]) -> None:
        kept = self._kept.get(store, set())
        with self._store.lock:
            for number in [number for number in ids if number in kept]:
                kept.discard(number)
                with suppress(ObjectGone):
                    self._store.ledger.drop(number, NODES | store)

    def _begin_upload(self, identity: bytes, peer: _Peer, pull: Pull) -> None:
        number = pull.number
        if (former := peer.uploads.get(number)) is not None:
            self._end_upload(former)
        upload = _Upload(identity, number, pull.offset, pull.until)
        if (download := self._downloads.get(number)) is not None:
            if download.incoming is not None:
                upload.size = download.incoming.extent.bytes
        else:
            upload.local = number if store_of(number) == self._store.number else self.core.copy_of(number)
            try:
                upload.held = self._store.hold([upload.local])
                upload.size = self._store.ledger.locate(upload.local).bytes
            except (StoreError, ObjectGone):
                self._say_peer(identity, [encode(SourceGone((number,)))])
                return
        if pull.relay and (relay := self._relay(number, peer.store)):
            self._say_peer(identity, [encode(PullElsewhere(number, relay))])
            return
        peer.uploads[number] = upload
        if upload.size >= 0:
            self._say_peer(identity, [encode(Coming(number, upload.size))])
            self._pump(upload)

    def _relay(self, number: int, store: int) -> int:
        """Who else can send it to that node; 0: we do it ourselves, and that one to others in its turn."""
        busy = len(self._uploads_of(number))
        relays = self._relays.setdefault(number, [])
        if busy < self._limits.fan_out:
            if store not in relays:
                relays.append(store)
            return 0
        fit = [other for other in relays if other != store]
        if not fit:
            return 0
        chosen = fit[0]
        relays.remove(chosen)  # in turn
        relays.append(chosen)
        if store not in relays:
            relays.append(store)
        return chosen

    def _uploads_of(self, number: int) -> list[_Upload]:
        return [peer.uploads[number] for peer in self._peers.values() if number in peer.uploads]

    def _pump(self, upload: _Upload) -> None:
        """Send what may be sent, and is here."""
        download = self._downloads.get(upload.number) if upload.held is None else None
        incoming = None if download is None else download.incoming
        here = upload.size if upload.held is not None else 0 if incoming is None else incoming.done_bytes
        end = min(upload.until, here)
        while upload.sent < end:
            size = min(self._limits.chunk_bytes, end - upload.sent)
            data = self._piece(upload, incoming, size)
            header = encode(Chunk(upload.number, upload.sent))
            if not self._say_peer(upload.peer, [header, data]):
                self._forget_peer(upload.peer)
                return
            upload.sent += size
        if upload.sent >= upload.size >= 0:
            self._end_upload(upload)

    def _piece(self, upload: _Upload, incoming: Incoming | None, size: int) -> bytes:
        if incoming is not None:
            return incoming.read(upload.sent, size)
        with self._store.lock:
            extent = self._store.ledger.pin(upload.local, AGENT)
        try:
            return self._store.access.read(extent, upload.sent, size)
        finally:
            with self._store.lock:
                self._store.ledger.unpin(upload.local, AGENT)

    def _end_upload(self, upload: _Upload) -> None:
        peer = self._peers.get(upload.peer)
        if peer is not None:
            peer.uploads.pop(upload.number, None)
        upload.held = None
        self._store.drain()
        if not self._uploads_of(upload.number):
            self._relays.pop(upload.number, None)

    def _forget_peer(self, identity: bytes) -> None:
        """A link of another node's is gone; what it needs here is told again on its next one, or it is gone itself."""
        peer = self._peers.pop(identity, None)
        if peer is not None:
            for upload in list(peer.uploads.values()):
                self._end_upload(upload)
