"""The link of a node that has joined to the agent that holds the head; and what becomes of it when that is lost.

::

    joining ── NodeWelcome ──► joined ── lost ──► dialled again and again ── NodeWelcome ──► joined
                                 │                     └── for ``head_away_s`` ──► the node leaves
                                 └── HeadEnds, refused, or the session that it has joined is over ──► it leaves

A head that is reached by TCP may come back with its journal, on the same port, so its nodes go on without it: what
they run runs, what is asked of the head waits. Who is dialled again may be another version by now: we knock, as who
joins does.

Not here: what is said (``cores.node_head``).
"""

from __future__ import annotations

import math
import os

import msgspec
import zmq

from distpool.scheduler.limits import Limits
from distpool.scheduler.messages import (
    Admission,
    HeadEnds,
    LinkLost,
    Message,
    NodeWelcome,
    decode,
    encode,
)
from distpool.scheduler.shells.curve import Keys
from distpool.scheduler.shells.links import close_watched, watched_dealer

#: A head that has refused us so often in a row will not have us.
REFUSALS_MAX = 2
#: How long an attempt to reach the head again may take.
TRY_S = 3.0


class Uplink:
    """``node`` joins the agent at ``address``. Its sockets are registered with ``poller``."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        poller: zmq.Poller,
        address: str,
        node: str,
        keys: Keys | None,
        limits: Limits,
    ) -> None:
        self.over = False  # the node is to leave
        self.reason = ""  # why, if anybody should know
        self.wake_s = math.inf  # when ``tick`` is to be called
        self._context, self._poller = context, poller
        self._address, self._node, self._keys, self._limits = address, node, keys, limits
        self._sockets: tuple[zmq.Socket[bytes], zmq.Socket[bytes]] | None = None  # the link, and its fate
        self._joined = False  # once
        self._lost_s: float | None = None  # since when there is no head
        self._refusals = 0
        self._epoch = 0
        self._dial()

    def _dial(self) -> None:
        identity = f"n:{self._node}:{os.urandom(4).hex()}".encode()
        self._sockets = watched_dealer(self._context, self._address, identity, self._keys)
        for socket in self._sockets:
            self._poller.register(socket, zmq.POLLIN)

    def _hang_up(self) -> None:
        if self._sockets is not None:
            for socket in self._sockets:
                self._poller.unregister(socket)
            close_watched(*self._sockets)
            self._sockets = None

    def say(self, message: Message) -> None:
        """Say something to the head. While it is away this is lost: all that matters is said again when it is back."""
        if self._sockets is not None:
            try:
                self._sockets[0].send(encode(message), zmq.NOBLOCK)
            except zmq.Again:
                pass  # it has hung up, which its fate tells

    def read(self, source: object, now: float) -> list[Message] | None:
        """What the node's core is to hear, if this readable socket is one of ours; else None."""
        if self._sockets is None or source not in self._sockets:
            return None
        heard = self._read(self._sockets[0])
        if source is self._sockets[1] and not self.over:
            self._hang_up()
            heard += self._lose(now)
        return heard

    def _read(self, link: zmq.Socket[bytes]) -> list[Message]:
        heard: list[Message] = []
        while not self.over:
            try:
                message = decode(link.recv(zmq.NOBLOCK))
            except zmq.Again:
                break
            except (msgspec.DecodeError, ValueError):
                continue  # not one of ours
            match message:
                case HeadEnds():
                    self.over = True
                case Admission(accepted=accepted, reason=reason):
                    if not accepted:
                        self.over, self.reason = True, reason
                case NodeWelcome():
                    self._welcome(message)
                    heard.append(message)
                case _:
                    heard.append(message)
        return heard

    def _welcome(self, welcome: NodeWelcome) -> None:
        if welcome.accepted:
            self._joined, self._refusals, self._epoch = True, 0, welcome.epoch
            self._lost_s, self.wake_s = None, math.inf
        elif welcome.latest and not self._joined:
            pass  # the core says hello again, as a later start
        elif not welcome.again and not 0 < welcome.epoch < self._epoch:  # or it is that head which is wrong
            self._refusals += 1
            if self._refusals >= REFUSALS_MAX:
                self.over, self.reason = True, welcome.reason

    def _lose(self, now: float) -> list[Message]:
        if not (
            self._joined and self._epoch and self._address.startswith("tcp:")
        ):  # another would know nothing of us
            self.over = True
            return []
        if self._lost_s is None:
            self._lost_s = now
        self.wake_s = now + self._limits.head_redial_s
        return [LinkLost()]

    def tick(self, now: float) -> list[Message]:
        """Look at the clock. What the node's core is to hear: that it has to say hello."""
        if self.wake_s > now or self._lost_s is None:
            return []
        self._hang_up()
        if now >= self._lost_s + self._limits.head_away_s:
            self.over = True
            self.reason = f"the head at {self._address} has been away for {self._limits.head_away_s:g} s"
            return []
        from distpool.scheduler.shells import knocking

        self._dial()
        self.say(knocking.introduction())
        self.wake_s = now + TRY_S
        return [LinkLost()]

    def close(self) -> None:
        """After a farewell, which is given a moment."""
        if self._sockets is not None:
            self._sockets[0].close(linger=int(self._limits.farewell_s * 1000))
