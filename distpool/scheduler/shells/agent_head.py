"""The head, as its agent sees it: in the same process, in one beside it, or where this node has joined.

::

                 ┌─ HeadHere       a program's own session      HeadShell in this process
    agent ── Head┼─ HeadBeside     a cluster's first node       HeadKeeper: a process with a journal, which may die
                 └─ HeadElsewhere  a node that has joined       Uplink: a link, which may be lost

The agent says what its node's core has for the head, passes on what other nodes bring for it, and does not care
where it is. Not here: what a head does (``head_shell``), and what is said (``cores.node_head``).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from typing import Protocol

import zmq

from distpool.scheduler.messages import HeadEnds, Message, NodeBye, NodeHello, NodeWelcome, decode, encode
from distpool.scheduler.shells.head_keeper import HeadKeeper
from distpool.scheduler.shells.head_shell import HOME, HeadShell
from distpool.scheduler.shells.uplink import Uplink

#: Says a frame by a way (see ``HeadShell``); whether there is still somebody.
Send = Callable[[bytes, bytes], bool]
#: Has the node's core hear what the head says.
Hear = Callable[[Iterable[Message]], None]


class Head(Protocol):
    """Where the head is. What it says comes by the callbacks that each is made with."""

    over: bool  # there is none any more, so the node is to leave

    @property
    def wake_s(self) -> float:
        """When ``tick`` is to be called."""

    def tick(self, now: float, /) -> None:
        """Look at the clock."""

    def start(self) -> None:
        """Begin. Raises ClusterError, OSError: there will be none."""

    def say(self, message: Message) -> None:
        """The node's core says something to the head."""

    def from_node(self, way: bytes, node: str, message: Message, frame: bytes) -> None:
        """A node that has joined speaks to the head, or one that wants to join does; ``frame`` holds ``message``."""

    def from_process(self, identity: bytes, parts: list[bytes]) -> None:
        """The head's own process speaks."""

    def peer_lost(self, peer: str) -> None:
        """The link to another node's process is lost."""

    def read(self, source: object) -> bool:
        """Whether this readable socket or descriptor is the head's; then it has been read."""

    def close(self, incarnation: int) -> None:
        """The node, in this of its lives, leaves, or its cluster ends."""


class HeadHere:
    """In this process. ``run`` gives the node's core what the head has for it."""

    over = False

    def __init__(self, shell: HeadShell, run: Callable[[], None]) -> None:
        self._shell = shell
        self._run = run

    @property
    def wake_s(self) -> float:
        """See ``Head``."""
        return self._shell.wake_s

    def tick(self, now: float) -> None:
        """See ``Head``."""
        self._shell.tick(now)
        self._shell.flush()
        self._run()

    def start(self) -> None:
        """See ``Head``."""

    def say(self, message: Message) -> None:
        """See ``Head``. The core that speaks is in a step: what this causes for it waits until that is over."""
        self._shell.from_home(message)
        self._shell.flush()

    def from_node(self, way: bytes, node: str, message: Message, frame: bytes) -> None:
        """See ``Head``."""
        self._shell.hear(way, node, message)
        self._shell.flush()
        self._run()

    def from_process(self, identity: bytes, parts: list[bytes]) -> None:
        """See ``Head``: there is no such process."""

    def peer_lost(self, peer: str) -> None:
        """See ``Head``."""
        self._shell.peer_lost(peer)
        self._shell.flush()
        self._run()

    def read(self, source: object) -> bool:
        """See ``Head``."""
        return False

    def close(self, incarnation: int) -> None:
        """See ``Head``."""


class HeadBeside:
    """In a process of its own, which is started again when it dies. ``turn`` is a turn of the agent's loop."""

    over = False

    def __init__(
        self,
        keeper: HeadKeeper,
        poller: zmq.Poller,
        send: Send,
        hear: Hear,
        turn: Callable[[int], None],
        farewell_s: float,
    ) -> None:
        self._keeper, self._poller = keeper, poller
        self._send, self._hear, self._turn = send, hear, turn
        self._farewell_s = farewell_s

    @property
    def wake_s(self) -> float:
        """See ``Head``."""
        return self._keeper.wake_s

    def tick(self, now: float) -> None:
        """See ``Head``."""
        if self._keeper.tick(now):
            self._poller.register(self._keeper.pidfd, zmq.POLLIN)

    def start(self) -> None:
        """See ``Head``."""
        self._keeper.start()
        self._poller.register(self._keeper.pidfd, zmq.POLLIN)

    def say(self, message: Message) -> None:
        """See ``Head``."""
        self._keeper.say(message)

    def from_node(self, way: bytes, node: str, message: Message, frame: bytes) -> None:
        """See ``Head``."""
        self._keeper.pass_on(way, node, frame)
        if isinstance(message, NodeBye):
            self._keeper.ways.pop(way, None)

    def from_process(self, identity: bytes, parts: list[bytes]) -> None:
        """See ``Head``. It speaks to this node, or to one that has joined."""
        for way, frame in self._keeper.heard(identity, parts):
            if way == HOME:
                self._hear((decode(frame),))
            elif not self._send(way, frame):
                self._keeper.ways.pop(way, None)

    def peer_lost(self, peer: str) -> None:
        """See ``Head``: that process has links of its own."""

    def read(self, source: object) -> bool:
        """See ``Head``."""
        if source != self._keeper.pidfd:
            return False
        self._poller.unregister(source)
        self._keeper.died(time.monotonic())
        return True

    def close(self, incarnation: int) -> None:
        """Tell the other nodes that there will be no head again, and give them a moment to say goodbye."""
        until_s = time.monotonic() + self._farewell_s
        ways = self._keeper.ways
        for way in list(ways):
            if not self._send(way, encode(HeadEnds())):
                del ways[way]
        while ways and (left_s := until_s - time.monotonic()) > 0:
            self._turn(int(left_s * 1000) + 1)


class HeadElsewhere:
    """Where this node has joined. ``address`` is told to those who take this agent for the one with the head."""

    def __init__(self, uplink: Uplink, node: str, address: str, send: Send, hear: Hear) -> None:
        self.over = False
        self._uplink = uplink
        self._node, self._address = node, address
        self._send, self._hear = send, hear

    @property
    def wake_s(self) -> float:
        """See ``Head``."""
        return self._uplink.wake_s

    def tick(self, now: float) -> None:
        """See ``Head``."""
        self._said(self._uplink.tick(now))

    def start(self) -> None:
        """See ``Head``."""

    def say(self, message: Message) -> None:
        """See ``Head``."""
        self._uplink.say(message)

    def from_node(self, way: bytes, node: str, message: Message, frame: bytes) -> None:
        """See ``Head``."""
        if isinstance(message, NodeHello):
            reason = f"this agent does not hold the head; join at {self._address}"
            self._send(way, encode(NodeWelcome(message.incarnation, False, reason)))

    def from_process(self, identity: bytes, parts: list[bytes]) -> None:
        """See ``Head``: there is no such process here."""

    def peer_lost(self, peer: str) -> None:
        """See ``Head``: who is there is the head's to know."""

    def read(self, source: object) -> bool:
        """See ``Head``."""
        words = self._uplink.read(source, time.monotonic())
        if words is None:
            return False
        self._said(words)
        return True

    def _said(self, words: list[Message]) -> None:
        self._hear(words)
        if self._uplink.over and not self.over:
            self.over = True
            if self._uplink.reason:
                print(f"distpool: node {self._node} leaves: {self._uplink.reason}", file=sys.stderr)

    def close(self, incarnation: int) -> None:
        """See ``Head``."""
        self._uplink.say(NodeBye(incarnation))
        self._uplink.close()
