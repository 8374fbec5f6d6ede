"""An owner's links to other owners: whoever has something to say dials; answers come back on the same link.

::

    say(contact, message) ──► the link that it has dialled to us, or one of our own, dialled now
    frames in ◄── our ROUTER (routing id "p:OWNER"), or such a link of our own
    lost(source) ◄── a link of our own is gone, and with it its owner: a unix socket does not come back

Used by the leader only, like the sockets of ``owner.OwnerShell``, which has one of these.
"""

from __future__ import annotations

from collections.abc import Callable

import zmq

from distpool.scheduler.messages import Contact, Message, PeerHello, encode
from distpool.scheduler.shells.links import close_watched, watched_dealer

_NOW, _NOW_MORE = zmq.NOBLOCK, zmq.NOBLOCK | zmq.SNDMORE


class PeerLinks:
    """The links of one owner. ``router`` gives the socket that others have dialled."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        poller: zmq.Poller,
        me: Callable[[], Contact],
        router: Callable[[], zmq.Socket[bytes] | None],
    ) -> None:
        self._context = context
        self._poller = poller
        self._me = me
        self._router = router
        self._dialled: dict[str, tuple[zmq.Socket[bytes], zmq.Socket[bytes]]] = {}  # owner -> link, fate
        self._owners: dict[object, str] = {}  # link or fate -> owner
        self.inbound: set[str] = set()  # owners that have dialled us
        self._by_router: set[str] = set()  # those that we answer there, for good: what we say keeps its order

    def dial(self, contact: Contact) -> None:
        """Have a link of our own to this owner, whose loss tells of its end."""
        if contact.owner in self._dialled:
            return
        me = self._me()
        link, fate = watched_dealer(self._context, contact.address, f"p:{me.owner}".encode())
        self._dialled[contact.owner] = link, fate
        for socket in (link, fate):
            self._owners[socket] = contact.owner
            self._poller.register(socket, zmq.POLLIN)
        self._send(link, encode(PeerHello(me)))

    def say(self, contact: Contact, message: Message) -> None:
        """Send a message. To one who is gone it is lost, and whoever dialled it will hear of that."""
        router = self._router()
        owner = contact.owner
        by_router = owner in self._by_router or (owner not in self._dialled and owner in self.inbound)
        if by_router and router is not None:
            try:
                router.send(f"p:{owner}".encode(), _NOW_MORE)
                router.send(encode(message), _NOW)
                self._by_router.add(owner)
                return
            except zmq.ZMQError as error:
                if error.errno not in (zmq.EHOSTUNREACH, zmq.EAGAIN):
                    raise
                self._forget(owner)
        self.dial(contact)
        self._send(self._dialled[contact.owner][0], encode(message))

    def _forget(self, owner: str) -> None:
        """It is not linked to us any more."""
        self.inbound.discard(owner)
        self._by_router.discard(owner)

    @staticmethod
    def _send(link: zmq.Socket[bytes], frame: bytes) -> None:
        try:
            link.send(frame, _NOW)
        except zmq.Again:
            pass  # it has hung up, and the link's fate will tell

    def owner_of(self, source: object) -> str | None:
        """Whose link, or link's fate, a readable socket is; None if it is none of these."""
        return self._owners.get(source)

    def read(self, source: object) -> bytes | None:
        """The next frame on a link of ours; None if there is none. What came before a link's end is there still."""
        owner = self._owners.get(source)
        if owner is None:
            return None
        try:
            return self._dialled[owner][0].recv(_NOW)
        except zmq.Again:
            return None

    def is_fate(self, source: object) -> bool:
        """Whether this readable socket tells that a link is lost."""
        owner = self._owners.get(source)
        return owner is not None and self._dialled[owner][1] is source

    def hang_up(self, owner: str, farewell_ms: int = 0) -> None:
        """Drop our own link to an owner, which is gone, if there is one."""
        self._forget(owner)
        if (pair := self._dialled.pop(owner, None)) is not None:
            for socket in pair:
                self._owners.pop(socket, None)
                self._poller.unregister(socket)
            close_watched(*pair, farewell_ms)

    def close(self, farewell_ms: int = 0) -> None:
        """Drop all of them."""
        for owner in list(self._dialled):
            self.hang_up(owner, farewell_ms)
        self.inbound.clear()
        self._by_router.clear()
