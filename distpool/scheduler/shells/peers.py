"""An owner's links to other owners: whoever has something to say dials; answers come back on the same link.

::

    say(contact, message) ──► the link that it has dialled to us, or one of our own, dialled now
    frames in ◄── our ROUTER (routing id "p:OWNER"), or such a link of our own
    lost(source) ◄── a link of our own is gone, and with it its owner: a unix socket does not come back

Whoever is on another machine is dialled at its gate on this one (``gateway``), which the agent is asked for first; what
is to be said meanwhile waits. A program without an agent says it by its link to its home. ``way`` asks, ``gate_is``
brings the answer.

Used by the leader only, like the sockets of ``owner.OwnerShell``, which has one of these.
"""

from __future__ import annotations

from collections.abc import Callable

import zmq

from distpool.scheduler.messages import VIA_HOME, Contact, Message, PeerHello, encode
from distpool.scheduler.shells.links import close_watched, watched_dealer

_NOW = zmq.NOBLOCK


class PeerLinks:
    """The links of one owner.

    ``answer`` sends a frame to who has dialled us, and says whether it is there. ``way``: whether this owner can be
    dialled as it is; if not, its gate is being asked for. ``say_home`` sends what an owner at its gate is to hear.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        poller: zmq.Poller,
        me: Callable[[], Contact],
        answer: Callable[[str, bytes], bool],
        way: Callable[[Contact], bool],
        say_home: Callable[[str, bytes], None],
    ) -> None:
        self._context = context
        self._poller = poller
        self._me = me
        self._answer = answer
        self._way = way
        self._say_home = say_home
        self._waiting: dict[str, list[bytes]] = {}  # owner whose gate is asked for -> what it is to hear
        self._by_home: set[str] = set()  # reached by our home link
        self._dialled: dict[str, tuple[zmq.Socket[bytes], zmq.Socket[bytes]]] = {}  # owner -> link, fate
        self._owners: dict[object, str] = {}  # link or fate -> owner
        self.inbound: set[str] = set()  # owners that have dialled us
        self._by_router: set[str] = set()  # those that we answer there, for good: what we say keeps its order

    def dial(self, contact: Contact) -> None:
        """Have a link of our own to this owner, whose loss tells of its end."""
        owner = contact.owner
        if owner in self._dialled or owner in self._waiting or owner in self._by_home:
            return
        hello = encode(PeerHello(self._me()))
        if not self._way(contact):
            self._waiting[owner] = [hello]
            return
        self._dial(owner, contact.address)
        self._say(owner, hello)

    def _dial(self, owner: str, address: str) -> None:
        link, fate = watched_dealer(self._context, address, f"p:{self._me().owner}".encode())
        self._dialled[owner] = link, fate
        for socket in (link, fate):
            self._owners[socket] = owner
            self._poller.register(socket, zmq.POLLIN)

    def gate_is(self, owner: str, address: str) -> bool:
        """The answer of the agent that was asked for a gate; False: that owner is not to be found."""
        frames = self._waiting.pop(owner, None)
        if frames is None:
            return True
        if not address:
            return False
        if address == VIA_HOME:
            self._by_home.add(owner)
        else:
            self._dial(owner, address)
        for frame in frames:
            self._say(owner, frame)
        return True

    def _say(self, owner: str, frame: bytes) -> None:
        if owner in self._waiting:
            self._waiting[owner].append(frame)
        elif owner in self._by_home:
            self._say_home(owner, frame)
        else:
            self._send(self._dialled[owner][0], frame)

    def say(self, contact: Contact, message: Message) -> None:
        """Send a message. To one who is gone it is lost, and whoever dialled it will hear of that."""
        owner = contact.owner
        ours = owner in self._dialled or owner in self._waiting or owner in self._by_home
        if owner in self._by_router or (not ours and owner in self.inbound):
            if self._answer(owner, encode(message)):
                self._by_router.add(owner)
                return
            self._forget(owner)
        self.dial(contact)
        self._say(owner, encode(message))

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
        self._waiting.pop(owner, None)
        self._by_home.discard(owner)
        if (pair := self._dialled.pop(owner, None)) is not None:
            for socket in pair:
                self._owners.pop(socket, None)
                self._poller.unregister(socket)
            close_watched(*pair, farewell_ms)

    def close(self, farewell_ms: int = 0) -> None:
        """Drop all of them."""
        for owner in list(self._dialled):
            self.hang_up(owner, farewell_ms)
        for owners in (self.inbound, self._by_router, self._by_home):
            owners.clear()
        self._waiting.clear()
