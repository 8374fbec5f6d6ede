"""An agent's links to the agents of other nodes, to have objects that lie there: dialled, lost, and dialled again.

::

             something is to be said there                   nothing more is heard of the link
    (none) ────────────────────────────────► linked ──────────────────────────────────────────► resting
       ▲                                      ▲  │                                                 │
       │                                      └──┼───── after a pause, doubled until it answers ───┘
       └─────────── the node is gone ────────────┘

The first words on each link say all that is needed there: ``SourceKeep``, and what the other end has yet to
acknowledge; so a lost link has lost nothing. What would be said while one rests need not be: it is in those words, or
asked for again by who is told that the link is there ``again``.

Bulk only: no heartbeat waits behind what comes by these. Used by ``mover`` only. Not here: the other direction, where
other nodes dial this one (``uploads``), and what is pulled (``downloads``).
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import zmq

from distpool.scheduler.cores.copies import Copies
from distpool.scheduler.limits import Limits
from distpool.scheduler.messages import Message, SourceKeep, decode, encode
from distpool.scheduler.shells.curve import Keys
from distpool.scheduler.shells.links import close_watched, watched_dealer

__all__ = ["SourceLink", "SourceLinks"]

Socket = zmq.Socket[bytes]

#: So many messages of one link are read before others have their turn.
_READS_MAX = 16
#: Who cannot be reached is dialled again after so long at most.
_REDIAL_S_MAX = 5.0


@dataclass(slots=True)
class SourceLink:
    """To one node. ``fate`` tells when it is lost."""

    link: Socket
    fate: Socket


class SourceLinks:
    """Those of the agent whose store has the number ``own``; stores name the nodes.

    Args:
        core: knows what each node is to keep for this one, and what it has yet to acknowledge.
        heard: takes a message from a node, and its data.
        lost: hears that a link is lost.
        again: hears that a link was made anew; all that was said by the former may not have been heard.
        wake_at: has ``tick`` called at a time.
    """

    def __init__(
        self,
        own: int,
        core: Copies,
        context: zmq.Context[Socket],
        poller: zmq.Poller,
        limits: Limits,
        keys: Keys | None,
        heard: Callable[[int, Message, list[Any], float], None],
        lost: Callable[[int, float], None],
        again: Callable[[int, float], None],
        wake_at: Callable[[float], None],
    ) -> None:
        self._own, self._core = own, core
        self._context, self._poller, self._limits, self._keys = context, poller, limits, keys
        self._heard, self._lost, self._again, self._wake_at = heard, lost, again, wake_at
        self._addresses: dict[int, str] = {}
        self._links: dict[int, SourceLink] = {}
        self._store_of: dict[Socket, int] = {}  # a link, or its fate -> store
        self._dials = 0
        self._met: set[int] = set()  # who was ever dialled
        self._pauses_s: dict[int, float] = {}  # how long we waited, if nothing has come from there since
        self._redials: dict[int, float] = {}  # when to dial it again

    # --------------------------------------------------------------------------------- which nodes

    def see(self, addresses: Mapping[int, str]) -> tuple[set[int], set[int]]:
        """These are the cluster's other nodes; returns which are gone, and which are new."""
        gone, new = self._addresses.keys() - addresses.keys(), addresses.keys() - self._addresses.keys()
        self._addresses = dict(addresses)
        for store in gone:
            self._redials.pop(store, None)
            self._pauses_s.pop(store, None)
            self._drop(store)
        return gone, new

    def knows(self, store: int) -> bool:
        """Whether this is a node of the cluster's."""
        return store in self._addresses

    def meet(self, store: int) -> None:
        """Dial a new node if there is anything to say to it: we may have known it before."""
        if store in self._met or self._core.held(store) or self._core.unheard(store):
            self._link_to(store)

    # ---------------------------------------------------------------------------------- what is said

    def say(self, store: int, message: Message) -> None:
        """To this node; nothing is said to one that is gone, or while its link rests."""
        if store not in self._redials and (store in self._links or self._link_to(store)):
            self._send(self._links[store], message)

    def greet(self, store: int) -> None:
        """Say the first words on a link to this node."""
        self._dials += 1
        self._send(self._links[store], SourceKeep(self._own, self._dials, self._core.held(store)))
        for message in self._core.unheard(store):
            self._send(self._links[store], message)

    def _link_to(self, store: int) -> bool:
        """Dial the agent of this node, if there is one, and say what it is to keep for us."""
        address = self._addresses.get(store)
        if not address or store in self._links:
            return False
        self._dials += 1
        identity = f"b:{self._own}:{self._dials}:{os.urandom(4).hex()}".encode()
        self._links[store] = self._dial(store, address, identity)
        self._met.add(store)
        self.greet(store)
        return True

    def _link_again(self, store: int, now: float) -> None:
        self._link_to(store)
        self._again(store, now)

    # ---------------------------------------------------------------------------------- what comes

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
                    self.lose(store, now)
                break
            self.hear(store, decode(frame), data, now)
        return True

    def hear(self, store: int, message: Message, data: list[Any], now: float) -> None:
        """A node has said something: it can be reached."""
        self._pauses_s.pop(store, None)
        self._heard(store, message, data, now)

    def lose(self, store: int, now: float) -> None:
        """The link to this node is lost; it is dialled again after a pause."""
        self._drop(store)
        if store in self._addresses:
            pause_s = min(2 * self._pauses_s.get(store, self._limits.redial_s / 2), _REDIAL_S_MAX)
            self._pauses_s[store] = pause_s
            self._redials[store] = now + pause_s
            self._wake_at(now + pause_s)
        self._lost(store, now)

    def tick(self, now: float) -> None:
        """Dial again who has rested."""
        for store in [store for store, at_s in self._redials.items() if at_s <= now]:
            del self._redials[store]
            self._link_again(store, now)

    @property
    def wake_s(self) -> float:
        """When there is something to do by the clock."""
        return min(self._redials.values(), default=math.inf)

    # ------------------------------------------------------------------------------------ sockets

    def _dial(self, store: int, address: str, identity: bytes) -> SourceLink:
        link = SourceLink(*watched_dealer(self._context, address, identity, self._keys))
        for socket in (link.link, link.fate):
            self._store_of[socket] = store
            self._poller.register(socket, zmq.POLLIN)
        return link

    def _send(self, link: SourceLink, message: Message) -> None:
        with suppress(zmq.Again):  # it has hung up, which its fate tells
            link.link.send(encode(message), zmq.NOBLOCK)

    def _drop(self, store: int) -> None:
        link = self._links.pop(store, None)
        if link is not None:
            self._hang_up(link)

    def _hang_up(self, link: SourceLink) -> None:
        for socket in (link.link, link.fate):
            del self._store_of[socket]
            self._poller.unregister(socket)
        close_watched(link.link, link.fate)
