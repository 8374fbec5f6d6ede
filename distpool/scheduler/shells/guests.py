"""Programs that have their home at this node, and no store of their own: what an agent does for their objects.

::

    program ── Put, Chunk, Chunk, ... ──► this node's store ── PutOn, PutDone ──► program
            ── Pull ──► is it here, or a copy? ── yes ──────────────► ``uploads``: Coming, Chunk, ... ──► program
                          └── no: Fetch, as for a process of this node ── Fetched ──┘
            ── FarHold, FarClaim, FarDrop, FarHand ──► of this node: held here in its name
                          └── of another node: said to the ``Copies`` core in its name

What a program refers to goes with it. The other end is ``guest_store``. Used by ``mover`` only.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import msgspec

from distpool.errors import StoreError
from distpool.scheduler.cores.copies import Copies
from distpool.scheduler.limits import Limits
from distpool.scheduler.messages import (
    NODES,
    Chunk,
    FarClaim,
    FarDrop,
    FarHand,
    FarHold,
    FarLook,
    FarLooked,
    Fetch,
    Fetched,
    Message,
    Pull,
    PullFailed,
    PullOn,
    Put,
    PutDone,
    PutOn,
    PutStop,
    encode,
)
from distpool.scheduler.shells.room_making import RoomMaking
from distpool.scheduler.shells.uploads import Uploads
from distpool.scheduler.store.ledger import ObjectGone
from distpool.scheduler.store.ledger_table import store_of
from distpool.scheduler.store.putting import Incoming
from distpool.scheduler.store.store import ObjectStore

__all__ = ["Guests"]


@dataclass(slots=True)
class _Guest:
    """One program: what it refers to of this node's objects, and what it is sending."""

    held: dict[int, list[Any]] = field(default_factory=dict)
    puts: dict[int, Incoming] = field(default_factory=dict)
    asked: set[int] = field(default_factory=set)  # puts that wait for room


class Guests:
    """Those of one agent.

    Args:
        core: knows of other nodes' objects.
        say: sends frames to a program.
        feed: has the core hear a message.
    """

    def __init__(
        self,
        store: ObjectStore,
        core: Copies,
        room: RoomMaking,
        uploads: Uploads,
        limits: Limits,
        say: Callable[[bytes, list[Any]], bool],
        feed: Callable[[str, Message, float], None],
    ) -> None:
        self._store, self._core, self._room, self._uploads = store, core, room, uploads
        self._limits, self._say, self._feed = limits, say, feed
        self._guests: dict[str, _Guest] = {}
        self._requests = 0
        #: Program, request -> what is to be sent to it then.
        self._awaited: dict[tuple[str, int], tuple[bytes, Pull]] = {}

    def hear(self, identity: bytes, name: str, message: Message, data: bytes, now: float) -> None:
        """A program speaks, by its link to this agent."""
        guest = self._guests.setdefault(name, _Guest())
        match message:
            case Pull():
                self._pull(identity, name, message, now)
            case PullOn() if self._uploads.has_guest(identity):
                self._uploads.hear(identity, message)
            case Put(request=request, size=size):
                self._put(identity, guest, request, size)
            case Chunk(number=request) if request in guest.puts:
                self._write(identity, guest, request, data)
            case PutStop(request=request):
                guest.asked.discard(request)
                if (incoming := guest.puts.pop(request, None)) is not None:
                    incoming.discard()
            case FarLook(request=request, ids=ids):
                lost = [number for number in ids if self._is_lost(number)]
                only_here = [number for number in ids if self._core.is_only_here(number)]
                self._say(identity, [encode(FarLooked(request, tuple(lost), tuple(only_here)))])
            case FarHold(ids=ids) | FarDrop(ids=ids) | FarClaim(ids=ids) | FarHand(ids=ids):
                mine = [number for number in ids if self._is_mine(number)]
                if mine:
                    self._refer(guest, message, mine)
                if len(mine) < len(ids):
                    others = tuple(number for number in ids if not self._is_mine(number))
                    self._feed(f"process:{name}", msgspec.structs.replace(message, ids=others), now)
            case _:
                pass  # not one of ours

    def gone(self, name: str) -> None:
        """A program has ended."""
        guest = self._guests.pop(name, None)
        if guest is not None:
            for incoming in guest.puts.values():
                incoming.discard()
            guest.asked.clear()
            guest.held.clear()
        for key in [key for key in self._awaited if key[0] == name]:
            del self._awaited[key]
        self._uploads.guest_gone(name)

    def _is_mine(self, number: int) -> bool:
        return store_of(number) == self._store.number

    # ---------------------------------------------------------------------------- what it refers to

    def _is_lost(self, number: int) -> bool:
        if self._is_mine(number):
            return not self._store.ledger.exists(number)
        return self._core.is_lost(number)

    def _refer(self, guest: _Guest, message: Message, mine: list[int]) -> None:
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

    # ------------------------------------------------------------------------------- what it reads

    def _pull(self, identity: bytes, name: str, pull: Pull, now: float) -> None:
        if self._is_mine(pull.number) or self._core.copy_of(pull.number):
            self._uploads.begin_for_guest(identity, name, pull)
            return
        self._requests += 1
        self._awaited[name, self._requests] = identity, pull
        self._feed(f"process:{name}", Fetch(self._requests, (pull.number,)), now)

    def answer(self, name: str, answer: Fetched) -> None:
        """What was fetched for a program has come, or does not."""
        identity, pull = self._awaited.pop((name, answer.request), (b"", None))
        if pull is None:
            return
        if answer.ids:
            self._uploads.begin_for_guest(identity, name, pull)
        else:
            self._say(identity, [encode(PullFailed(pull.number, answer.reason, answer.is_lost))])

    # -------------------------------------------------------------------------------- what it puts

    def _put(self, identity: bytes, guest: _Guest, request: int, size: int) -> None:
        def then(room: Incoming | StoreError | OSError, _now: float) -> None:
            wanted = request in guest.asked
            guest.asked.discard(request)
            if not isinstance(room, Incoming):
                self._say(identity, [encode(PutDone(request, 0, str(room)))])
            elif not wanted:  # it has been stopped meanwhile, or the program is gone
                room.discard()
            else:
                guest.puts[request] = room
                self._say(identity, [encode(PutOn(request, self._limits.pull_window_bytes))])
                if not size:
                    self._write(identity, guest, request, b"")

        guest.asked.add(request)
        self._room.ask(size, "a program elsewhere", 0.0, then)

    def _write(self, identity: bytes, guest: _Guest, request: int, data: bytes) -> None:
        incoming, window = guest.puts[request], self._limits.pull_window_bytes
        before = incoming.done_bytes
        try:
            incoming.write(data)
        except (OSError, ValueError) as error:
            guest.puts.pop(request).discard()
            self._say(identity, [encode(PutDone(request, 0, f"it could not be written there: {error}"))])
            return
        if incoming.is_complete:
            del guest.puts[request]
            guest.held.setdefault(incoming.id, []).append(incoming.seal())
            self._say(identity, [encode(PutDone(request, incoming.id))])
        elif before // (window // 2) != incoming.done_bytes // (window // 2):
            self._say(identity, [encode(PutOn(request, incoming.done_bytes + window))])
