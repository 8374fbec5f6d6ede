"""An agent's part in moving objects between nodes: it drives the ``Copies`` core, pulls, and sends what others pull.

::

    process of this node ── Fetch ──► Copies ── StartPull ──► a download ── Pull, PullOn ──► the source, or a relay
                         ◄─ Fetched ──   ◄────── Copied ─────── store ◄── Coming, Chunk, Chunk, ...
    agent of another node ── SourceKeep, Pull, ... ──► Uploads (``uploads``)

A download has a window of bytes under way, so what many pulls need of memory is bounded. The links carry nothing else:
no heartbeat waits behind them. Who pulls what is already sent to ``fan_out`` others is sent to one of those, which
passes it on as it comes: so a broadcast spreads as a tree. Where a relay fails, the source sends the rest. A link that
is lost is made anew after a moment, and says all again; a source that is silent for too long is given up.

Used by the agent's loop only. Not here: who needs what (``cores.copies``).
"""

from __future__ import annotations

import heapq
import math
import os
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
    FarForgetHanded,
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
    SourceForget,
    SourceGone,
    SourceKeep,
    SourceTaken,
    SourceUnknown,
    Tick,
    WakeAt,
    decode,
    encode,
)
from distpool.scheduler.shells.curve import Keys
from distpool.scheduler.shells.links import close_watched, watched_dealer
from distpool.scheduler.shells.uploads import Uploads
from distpool.scheduler.store.access import Held
from distpool.scheduler.store.ledger import ObjectGone
from distpool.scheduler.store.ledger_table import store_of
from distpool.scheduler.store.putting import Incoming
from distpool.scheduler.store.store import ObjectStore

Socket = zmq.Socket[bytes]

#: Who has made a copy, for people.
_LABEL = "a copy of another node's"
#: So many messages of one link are read before others have their turn.
_READS_MAX = 16
#: Who cannot be reached is dialled again after so long at most.
_REDIAL_S_MAX = 5.0


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
    heard_s: float = 0.0  # when something last came, or was asked for
    incoming: Incoming | None = None
    turn: int | None = None  # see ``PullElsewhere``; 0: the source itself sends it; None: that has yet to say


@dataclass(slots=True)
class _Guest:
    """A program that has its home here: what it refers to of this node's objects, and what it is sending."""

    held: dict[int, list[Any]] = field(default_factory=dict)
    puts: dict[int, Incoming] = field(default_factory=dict)


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
        self._node = node
        self._context, self._poller, self._limits, self._keys = context, poller, limits, keys
        self._say_process, self._say_peer, self._wake_at = say_process, say_peer, wake_at
        self._store = store
        self._store.on_dropped = lambda: wake_at(0.0)  # what goes here is told the ledger at the next turn
        self.core = Copies(limits, self._is_used)
        self._events: deque[tuple[str, Message]] = deque()  # for the core
        self._is_feeding = False
        self._core_s = math.inf  # when the core wants to look at its clock
        self._addresses: dict[int, str] = {}
        self._askers: dict[tuple[Process, int], bytes] = {}  # process, request -> whom to answer
        self._links: dict[int, _Link] = {}
        self._store_of: dict[Socket, int] = {}  # a link, or its fate -> store
        self._downloads: dict[int, _Download] = {}
        self._copies: dict[int, Held] = {}  # by their own numbers
        self._dials = 0
        self._met: set[int] = set()  # stores of other nodes that were ever dialled
        self._pauses_s: dict[
            int, float
        ] = {}  # store -> how long we waited, if nothing has come from there since
        self._redials: dict[int, float] = {}  # store of another node -> when to dial it again
        self._uploads = Uploads(
            self._store,
            limits,
            say_peer,
            self._downloads.get,
            self.core.copy_of,
            lambda n: not self.core.is_gone(n),
        )
        self._guests: dict[str, _Guest] = {}
        self._guest_requests = 0
        self._awaited: dict[
            tuple[str, int], tuple[bytes, Pull]
        ] = {}  # program, request -> what is to be sent then
        #: When what a dead worker of this node has put for the node with this store (0: for any) is forgotten.
        self._unclaimed: list[tuple[float, int, int]] = []
        #: ... and what a living one has put for somebody there who is gone.
        self._untaken: list[tuple[float, int, int, tuple[int, ...]]] = []

    # ----------------------------------------------------------------------------- what comes

    def from_process(self, identity: bytes, name: str, message: Message, now: float) -> None:
        """A process of this node speaks, by a link of its own: ``name`` is its number in the store."""
        request = getattr(message, "request", 0)
        process: Process = int(name) if name.isdecimal() else name
        if type(message) is FarForgetHanded:
            if isinstance(process, int):
                self._forget_handed(message.store, process, now)
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
            self._forget_later(now + self._limits.transit_s, 0, process)

    def from_peer(self, identity: bytes, message: Message, now: float) -> None:
        """Another node's agent speaks, by its link to this one."""
        if type(message) is not SourceForget:
            self._uploads.hear(identity, message)
        elif store := self._uploads.store_of_peer(identity):
            self._forget_later(now + self._limits.copy_linger_s, store, message.via)
            self._feed(f"store:{store}", message, now)

    def _forget_handed(self, store: int, process: int, now: float) -> None:
        """Somebody there is gone for whom this process had put things: what is not taken in time will not be."""
        with self._store.lock:
            numbers = self._store.ledger.in_transit(NODES | store, process)
        if numbers:
            at_s = now + self._limits.transit_s
            heapq.heappush(self._untaken, (at_s, store, process, tuple(numbers)))
            self._wake_at(at_s)

    def _forget_later(self, at_s: float, store: int, worker: int) -> None:
        heapq.heappush(self._unclaimed, (at_s, store, worker))
        self._wake_at(at_s)

    def see(self, nodes: Iterable[NodeFacts], now: float) -> None:
        """These are the cluster's other nodes."""
        facts_of = {facts.store: facts for facts in nodes if facts.store}
        addresses = {store: facts.address for store, facts in facts_of.items()}
        gone, new = self._addresses.keys() - addresses.keys(), addresses.keys() - self._addresses.keys()
        self._addresses = addresses
        for store in gone:
            self._redials.pop(store, None)
            self._pauses_s.pop(store, None)
            self._drop_link(store)
            self._uploads.node_gone(store)
        leaving = tuple(store for store, facts in facts_of.items() if facts.draining)
        self._feed("shell", Stores(tuple(addresses), self._store.number, leaving), now)
        for download in [one for one in self._downloads.values() if one.source in gone]:
            self._try_source(download, now)
        for store in new:
            self._uploads.node_came(store)
            if store in self._met or self.core.held(store) or self.core.unheard(store):
                self._link_to(store)

    @property
    def is_needed(self) -> bool:
        """Whether other nodes need something that lies here."""
        return self._uploads.are_needed

    def tick(self, now: float) -> None:
        """A time that was asked for has come."""
        if self._core_s <= now:
            self._core_s = math.inf
            self._feed("shell", Tick(), now)
        while self._unclaimed and self._unclaimed[0][0] <= now:
            _, store, worker = heapq.heappop(self._unclaimed)
            with self._store.lock:
                if store:
                    self._store.ledger.forget_transit(NODES | store, worker)
                else:
                    self._store.ledger.forget_sent(worker, NODES)
        while self._untaken and self._untaken[0][0] <= now:
            _, store, worker, numbers = heapq.heappop(self._untaken)
            with self._store.lock:
                for number in numbers:
                    with suppress(ObjectGone):
                        self._store.ledger.take_back(number, worker, NODES | store)
        for store in [store for store, at_s in self._redials.items() if at_s <= now]:
            del self._redials[store]
            self._link_again(store, now)
        silent_s = now - self._limits.pull_silent_s
        for download in [one for one in self._downloads.values() if one.heard_s <= silent_s]:
            self._give_up(download, now)
        wake_s = [self._core_s, *self._redials.values()]
        wake_s += [at_s for at_s, _, _ in self._unclaimed[:1]] + [one[0] for one in self._untaken[:1]]
        wake_s += [download.heard_s + self._limits.pull_silent_s for download in self._downloads.values()]
        self._wake_at(min(wake_s))
        self._store.drain()

    def read(self, source: object, now: float) -> bool:
        """Take in what a readable socket has, or some of it; False: it is not one of these."""
        store = self._store_of.get(source)  # type: ignore[call-overload]
        if store is None:
            return False
        link = self._links[store]
        for _ in range(_READS_MAX):
            try:
                frame = link.link.recv(zmq.NOBLOCK)
                # What is big is not copied on its way from the socket to the store.
                data = [link.link.recv(copy=False).buffer] if link.link.getsockopt(zmq.RCVMORE) else []
            except zmq.Again:
                if source is link.fate:  # only now, as what it had sent before comes first
                    self._lose_link(store, now)
                break
            self._from_source(store, decode(frame), data, now)
        return True

    def _lose_link(self, store: int, now: float) -> None:
        self._drop_link(store)
        if store in self._addresses:
            pause_s = self._pauses_s[store] = min(
                2 * self._pauses_s.get(store, self._limits.redial_s / 2), _REDIAL_S_MAX
            )
            self._redials[store] = now + pause_s
            self._wake_at(self._redials[store])
        for download in [one for one in self._downloads.values() if one.source == store]:
            if store != store_of(download.number):
                self._try_source(download, now)

    def _link_again(self, store: int, now: float) -> None:
        """After a link was lost: all that was said by it may not have been heard."""
        downloads = [one for one in self._downloads.values() if one.source == store]
        self._link_to(store)
        for download in downloads:
            self._pull_from(download, store, False, now)

    # ---------------------------------------------------------------------------- guests

    def from_guest(self, identity: bytes, name: str, message: Message, data: bytes, now: float) -> None:
        """A program that has its home here speaks (``guest_store``)."""
        guest = self._guests.setdefault(name, _Guest())
        match message:
            case Pull():
                self._guest_pulls(identity, name, message, now)
            case PullOn() if self._uploads.has_guest(identity):
                self._uploads.hear(identity, message)
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
            self._uploads.begin_for_guest(identity, name, pull)
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
        self._uploads.guest_gone(name)
        self._feed("shell", ProcessGone(name), now)
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
                    self._say_source(int(name), effect)
                elif kind == "process":
                    self._answer(int(name) if name.isdecimal() else name, effect)
                else:
                    self._do(effect, now)
        self._is_feeding = False

    def _do(self, effect: Message, now: float) -> None:
        match effect:
            case StartPull(number=number):
                self._downloads[number] = download = _Download(number, 0, 0)
                self._wake_at(now + self._limits.pull_silent_s)
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
            self._uploads.begin_for_guest(identity, name, pull)
        else:
            self._say_peer(identity, [encode(PullFailed(pull.number, answer.reason, answer.is_lost))])

    def _is_used(self, local: int) -> bool:
        with self._store.lock:
            return self._store.ledger.is_held_besides(local, AGENT)

    # ----------------------------------------------------------------------------- downloads

    def _say_source(self, store: int, message: Message) -> None:
        if store not in self._redials and (store in self._links or self._link_to(store)):
            self._send(self._links[store], message)

    def _link_to(self, store: int) -> bool:
        """Dial the agent of this node, if there is one, and say what it is to keep for us."""
        address = self._addresses.get(store)
        if not address or store in self._links:
            return False
        self._dials += 1
        identity = f"b:{self._store.number}:{self._dials}:{os.urandom(4).hex()}".encode()
        self._links[store] = self._dial(store, address, identity)
        self._met.add(store)
        self._keep_at(store)
        return True

    def _dial(self, store: int, address: str, identity: bytes) -> _Link:
        link = _Link(*watched_dealer(self._context, address, identity, self._keys))
        for socket in (link.link, link.fate):
            self._store_of[socket] = store
            self._poller.register(socket, zmq.POLLIN)
        return link

    def _keep_at(self, store: int) -> None:
        self._dials += 1
        self._send(self._links[store], SourceKeep(self._store.number, self._dials, self.core.held(store)))
        for message in self.core.unheard(store):
            self._send(self._links[store], message)

    def _send(self, link: _Link, message: Message) -> None:
        with suppress(zmq.Again):  # it has hung up, which its fate tells
            link.link.send(encode(message), zmq.NOBLOCK)

    def _drop_link(self, store: int) -> None:
        link = self._links.pop(store, None)
        if link is not None:
            self._hang_up(link)

    def _hang_up(self, link: _Link) -> None:
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
        download.source, download.heard_s = store, now
        if store == store_of(download.number):
            download.turn = None if relay else 0
        download.until = done + self._limits.pull_window_bytes
        self._say_source(store, Pull(download.number, done, download.until, relay, download.turn or 0))

    def _try_source(self, download: _Download, now: float) -> None:
        """Whoever was sending it does not: the source itself sends the rest."""
        self._pull_from(download, store_of(download.number), False, now)

    def _give_up(self, download: _Download, now: float) -> None:
        """Nothing has come for too long, though the node is not known to be gone."""
        self._say_source(download.source, PullStop(download.number))
        if download.source != store_of(download.number):
            self._try_source(download, now)
        else:
            self._fail(download, "the node where it is does not answer", True, now)

    def _from_source(self, store: int, message: Message, data: list[Any], now: float) -> None:
        self._pauses_s.pop(store, None)
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
            case SourceTaken():
                self._feed(f"store:{store}", message, now)
                return
            case SourceUnknown():
                self._keep_at(store)
                for download in [one for one in self._downloads.values() if one.source == store]:
                    self._pull_from(download, store, False, now)
                return
            case PullElsewhere() | Coming() | Chunk():
                download_of = self._downloads.get(message.number)
            case _:
                return  # not one of ours
        if download_of is None or download_of.source != store:
            return
        download_of.heard_s = now
        match message:
            case PullElsewhere(store=other, turn=turn):
                download_of.turn = turn
                if other in self._addresses:
                    self._pull_from(download_of, other, False, now)
                else:
                    self._try_source(download_of, now)
            case Coming(size=size):
                download_of.turn = download_of.turn or 0
                self._expect(download_of, size, now)
            case Chunk(offset=offset) if download_of.incoming is not None and data:
                if offset == download_of.incoming.done_bytes:
                    self._take(download_of, download_of.incoming, data[0], now)

    def _expect(self, download: _Download, size: int, now: float) -> None:
        if download.incoming is not None:
            return
        try:
            download.incoming = self._store.receive(size, _LABEL)
        except (StoreError, OSError) as error:
            self._say_source(download.source, PullStop(download.number))
            self._fail(download, f"there is no room for a copy on node {self._node}: {error}", False, now)
            return
        self._uploads.announce(download.number, size)
        if not size:
            self._complete(download, download.incoming, now)

    def _take(self, download: _Download, incoming: Incoming, data: Any, now: float) -> None:
        try:
            incoming.write(data)
        except (OSError, ValueError) as error:
            self._say_source(download.source, PullStop(download.number))
            self._fail(download, f"a copy could not be written on node {self._node}: {error}", False, now)
            return
        self._uploads.pass_on(download.number)
        if incoming.is_complete:
            self._complete(download, incoming, now)
        elif download.until - incoming.done_bytes <= self._limits.pull_window_bytes // 2:
            download.until = incoming.done_bytes + self._limits.pull_window_bytes
            self._say_source(download.source, PullOn(download.number, download.until))

    def _complete(self, download: _Download, incoming: Incoming, now: float) -> None:
        held = incoming.seal()
        del self._downloads[download.number]
        self._copies[incoming.id] = held
        self._uploads.complete(download.number, held)
        self._feed("shell", Copied(download.number, incoming.id), now)

    def _fail(self, download: _Download, reason: str, lost: bool, now: float) -> None:
        del self._downloads[download.number]
        if download.incoming is not None:
            download.incoming.discard()
        self._uploads.fail(download.number)
        self._feed("shell", CopyFailed(download.number, reason, lost), now)
