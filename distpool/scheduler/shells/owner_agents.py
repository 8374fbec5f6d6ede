"""An owner's links to the agents of nodes: one DEALER for each that has been asked for workers.

::

    owner ── DEALER o:OWNER ──► agent of its own node, or the one whose port it has dialled: its home
          ── DEALER o:OWNER ──► agent of another node on this machine; its fate is watched
          ── by its home ─────► agent of a node beyond, which has a port and is not dialled (``gateway``)

A link that is down loses nothing: what matters is said again on the next one. The death of the agent of this process's
own node is seen by its pid, which whoever made the shell watches. A part of ``OwnerShell``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import zmq

from distpool.scheduler.messages import Message, encode
from distpool.scheduler.shells.links import close_watched, dealer, watched_dealer

if TYPE_CHECKING:
    from distpool.scheduler.shells.curve import Keys

_NOW = zmq.NOBLOCK


class OwnerAgents:
    """``hello`` is what each is told first, and ``on_home`` is called when the link to the home is made."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        poller: zmq.Poller,
        owner: str,
        home: str,
        hello: Callable[[], Message],
        on_home: Callable[[], None],
    ) -> None:
        self.home = home  # the node whose agent passes on what is for nodes with a port
        self._context, self._poller = context, poller
        self._identity = f"o:{owner}".encode()
        self._hello, self._on_home = hello, on_home
        self._keys: Keys | None = None
        self._links: dict[str, zmq.Socket[bytes]] = {}  # by node
        self._fates: dict[zmq.Socket[bytes], str] = {}  # what is readable when a link is lost -> other node
        self._beyond: set[str] = set()  # nodes that are reached by the home
        self._for_all: list[bytes] = []  # frames that each agent is told after our hello

    def attach(self, home: str, keys: Keys | None) -> None:
        """This owner is on no node, and ``home`` is the one whose port it is about to dial."""
        self.home, self._keys = home, keys

    @property
    def nodes(self) -> list[str]:
        """Whose agents this owner is linked up with, or is about to be."""
        return [*self._links, *self._beyond]

    def dial(self, node: str, address: str) -> None:
        """Link up with a node's agent and say hello."""
        self.hang_up(node)
        if address.startswith("tcp:") and node != self.home:
            self._beyond.add(node)
            self._greet(node)
            return
        if node == self.home and self._keys is None:
            link = dealer(self._context, address, self._identity)
        else:
            link, fate = watched_dealer(self._context, address, self._identity, self._keys)
            self._fates[fate] = node
            self._poller.register(fate, zmq.POLLIN)
        self._links[node] = link
        self._poller.register(link, zmq.POLLIN)
        self._greet(node)
        if node == self.home:
            self._on_home()

    def _greet(self, node: str) -> None:
        for frame in (encode(self._hello()), *self._for_all):
            self.say(node, frame)

    def hang_up(self, node: str, farewell_ms: int = 0) -> None:
        """Drop the link to an agent, if there is one; what was said last gets ``farewell_ms`` to leave."""
        self._beyond.discard(node)
        link = self._links.pop(node, None)
        if link is not None:
            self._poller.unregister(link)
            fate = next((fate for fate, other in self._fates.items() if other == node), None)
            if fate is None:
                link.close(linger=farewell_ms)
            else:
                del self._fates[fate]
                self._poller.unregister(fate)
                close_watched(link, fate, farewell_ms)

    def close(self, farewell_ms: int) -> None:
        """Hang up on all of them."""
        for node in self.nodes:
            self.hang_up(node, farewell_ms)

    # ---------------------------------------------------------------------------------- what is said

    def say(self, node: str, frame: bytes) -> None:
        """Send an agent one frame."""
        if node in self._beyond:
            self.say_home([b"n:" + node.encode(), frame])
        elif node in self._links:
            self._say_to(node, [frame])

    def say_home(self, parts: list[bytes]) -> None:
        """Say something that the home agent is to pass on (``gateway``)."""
        if self.home in self._links:
            self._say_to(self.home, parts)

    def tell_all(self, frame: bytes) -> None:
        """Send a frame to the agent of each node that this owner is linked up with, now or later."""
        self._for_all.append(frame)
        for node in self.nodes:
            self.say(node, frame)

    def _say_to(self, node: str, parts: list[bytes]) -> None:
        try:
            self._links[node].send_multipart(parts, _NOW)
        except zmq.Again:
            pass  # it has hung up, and its death will be seen

    # --------------------------------------------------------------------------------- what is heard

    def lost(self, source: object) -> str | None:
        """The node whose link is lost, if this readable socket says so."""
        return self._fates.get(source)  # type: ignore[call-overload, no-any-return]

    def node_of(self, source: object) -> str | None:
        """The node whose link this readable socket is; None if it is none, or not any more."""
        return next((node for node, link in self._links.items() if link is source), None)
