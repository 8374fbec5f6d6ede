"""The shell of a head: a HeadCore, the ways to its nodes, its clock and its journal.

::

    another node ── hear ──┐                          ┌── keep (a journal, if there is one)
    own node ── from_home ─┼──► HeadCore ── flush ────┤      and only then
    a link is lost ────────┤                          └── say (by the way that this node's last hello came)
    tick ──────────────────┘

It has no sockets. Where head and agent share a process (a program's own session) that agent calls it; where the
head is a process of its own, ``head_process`` does. Several steps may share a ``flush``, and so a write to the disk.

A *way* is what says to whoever calls us where a message came from; it is given back as it was. Not here: who starts a
head (``head_keeper``), and what one decides (``cores.head``).
"""

from __future__ import annotations

import time
from collections.abc import Callable

from distpool.scheduler.cores.head import HeadCore
from distpool.scheduler.messages import (
    LinkLost,
    Message,
    NodeBye,
    NodeHello,
    NodeWelcome,
    Record,
    Tick,
    WakeAt,
)
from distpool.scheduler.shells.journal import Journal
from distpool.scheduler.shells.links import Peers

#: The way to the head's own node.
HOME = b""
#: A head that comes so late to look at its clock was stopped: what the others sent meanwhile is to be read first.
LATE_S = 1.0


class HeadShell:
    """``say`` sends a message by a way, and returns whether there is still somebody. ``provider``: to that of nodes."""

    def __init__(
        self,
        core: HeadCore,
        say: Callable[[bytes, Message], bool],
        peers: Peers,
        journal: Journal | None = None,
        provider: Callable[[Message], None] | None = None,
    ) -> None:
        self.core = core
        self.wake_s = float("inf")  # when ``tick`` is to be called
        self._say = say
        self._peers = peers
        self._journal = journal
        self._provider = provider
        self._ways: dict[str, bytes] = {}  # to the nodes that have said hello
        self._out: list[tuple[str, Message]] = []
        if journal is not None:
            core.restore(journal.load(), time.monotonic())
            self._feed("timer", Tick())

    # --------------------------------------------------------------------------------- what comes

    def from_home(self, message: Message) -> None:
        """The agent of the head's own node says something."""
        self._feed(f"agent:{self.core.home}", message)

    def hear(self, way: bytes, node: str, message: Message) -> None:
        """A node that has joined says something, or one that wants to join does."""
        if isinstance(message, NodeHello):
            self._hello(way, node, message)
        elif self._ways.get(node) == way:
            self._feed(f"agent:{node}", message)
            if isinstance(message, NodeBye):
                self._peers.forget(f"agent:{node}")

    def _hello(self, way: bytes, node: str, hello: NodeHello) -> None:
        name = hello.facts.node
        if name in (self.core.home, "") or name != node:
            reason = f"a node named {name} holds the head; give this one another name"
            self._say(way, NodeWelcome(hello.incarnation, False, reason))
            return
        before = self._ways.get(node)
        self._ways[node] = way
        self._feed(f"agent:{node}", hello)
        known = self.core.nodes.get(node)
        if known is not None and not known.awaited and known.incarnation == hello.incarnation:
            self._peers.watch(f"agent:{node}", hello.facts.address)
            return
        self.flush()  # it has its answer, ...
        if before is not None:
            self._ways[node] = before  # ... and there is one of that name already
        else:
            del self._ways[node]

    def peer_lost(self, peer: str) -> None:
        """The link on which nothing is said to a node ("agent:NODE") is lost."""
        self._feed(peer, LinkLost())

    def from_provider(self, message: Message) -> None:
        """Who starts nodes says something, or has ended."""
        self._feed("provider", message)

    def tick(self, now: float) -> None:
        """Look at the clock."""
        if self.wake_s > now:
            return
        if self._ways and self.wake_s + LATE_S <= now:
            self.wake_s = now + LATE_S / 2
            return
        self.wake_s = float("inf")
        self._feed("timer", Tick())

    def _feed(self, sender: str, message: Message) -> None:
        self._out += self.core.receive(sender, message, time.monotonic())

    # --------------------------------------------------------------------------------- what goes

    def flush(self) -> None:
        """Keep what is to be kept, and then say what is to be said. Raises ClusterError if it cannot be kept."""
        while self._out:
            out, self._out = self._out, []
            records = [message for _, message in out if isinstance(message, Record)]
            if records and self._journal is not None:
                self._journal.keep(records)
            for address, message in out:
                self._deliver(address, message)

    def _deliver(self, address: str, message: Message) -> None:
        kind, _, name = address.partition(":")
        match kind, message:
            case _, Record():
                pass
            case "timer", WakeAt(at_s=at_s):
                self.wake_s = at_s
            case "provider", _ if self._provider is not None:
                self._provider(message)
            case "agent", _ if name == self.core.home:
                self._say(HOME, message)
            case "agent", _:
                way = self._ways.get(name)
                if way is None or not self._say(way, message):
                    self._feed(address, LinkLost())
            case _:
                raise AssertionError(f"a head does not say {message} to {address}")
