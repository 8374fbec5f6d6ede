"""Simulated links: first in first out and reliable for one incarnation, until cut or until an end dies.

A cut drops what is in flight and, after a detection delay, tells both ends ``LinkLost``. A process that dies takes
with it the tail of what it had sent (a ZeroMQ socket's last messages die with their sender). A reconnect is a new
link: the end that it replaces hears ``LinkLost`` first. Messages are really encoded and decoded.

::

    process A ── End(label "worker:3") ═══ link ═══ End(label "owner:x") ── process B
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from distpool.scheduler.messages import LinkLost, decode, encode

from .loop import Loop
from .render import line

Tracer = Callable[[str], None]


class Process(Protocol):
    """Anything with links: a core's shell or a worker."""

    name: str
    machine: str
    alive: bool
    links: dict[str, End]

    def hear(self, sender: str, message: Any) -> None: ...


class End:
    """One end of a link, as its process knows it: ``label`` is the address of the peer."""

    __slots__ = ("arriving", "cut", "label", "last_s", "link_lost_due", "open", "peer", "process")

    def __init__(self, process: Process, label: str) -> None:
        self.process = process
        self.label = label
        self.peer: End = self
        self.open = True  # this end has not been told that the link is lost
        self.cut = False  # nothing arrives here any more
        self.last_s = 0.0
        self.arriving: deque[bytes | None] = deque()
        self.link_lost_due = False


class Network:
    """All links of a world. ``latency_s`` is the base delay of a link, drawn for each message around it."""

    def __init__(self, loop: Loop, latency_s: float, trace: Tracer | None = None) -> None:
        self.loop = loop
        self.latency_s = latency_s
        self.detection_s = 0.3
        self.trace = trace
        self.partitions: set[frozenset[str]] = set()
        self.slow: dict[str, float] = {}  # machine -> factor on its delays
        self.counts: dict[tuple[str, str], int] = {}
        self.late: deque[tuple[Process, str, bytes]] = deque(maxlen=64)  # of ended links, for ghosts
        self.fixed_order = False  # scenarios: no jitter

    def reachable(self, a: Process, b: Process) -> bool:
        return a.machine == b.machine or frozenset((a.machine, b.machine)) not in self.partitions

    def connect(self, a: Process, a_label: str, b: Process, b_label: str) -> End:
        """Link ``a`` (which calls the other end ``a_label``) with ``b``."""
        end_a, end_b = End(a, a_label), End(b, b_label)
        end_a.peer, end_b.peer = end_b, end_a
        for end in (end_a, end_b):
            old = end.process.links.get(end.label)
            if old is not None:
                self._lose(old)
                self._tell_lost(old.peer)
            end.process.links[end.label] = end
        return end_a

    def send(self, sender: Process, to: str, message: Any) -> bool:
        """False if there is no such link (any more): the message is gone."""
        end = sender.links.get(to)
        if end is None or not end.open:
            return False
        target = end.peer
        kind = type(message).__name__
        key = (target.process.name.partition(":")[0], kind)
        self.counts[key] = self.counts.get(key, 0) + 1
        if target.cut or not target.process.alive:
            return True
        target.arriving.append(encode(message))
        arrival_s = max(target.last_s, self.loop.now + self._delay(end, target))
        target.last_s = arrival_s
        self.loop.at(arrival_s, self._arrive, target)
        return True

    def _delay(self, end: End, target: End) -> float:
        base = self.latency_s if end.process.machine != target.process.machine else min(self.latency_s, 5e-5)
        if self.fixed_order:
            return base
        slow = max(self.slow.get(end.process.machine, 1.0), self.slow.get(target.process.machine, 1.0))
        return base * slow * self.loop.rng.uniform(0.5, 2.0)

    def _arrive(self, end: End) -> None:
        if not end.arriving:
            return  # cut meanwhile
        data = end.arriving.popleft()
        if data is None or not end.process.alive or not end.open:
            return
        message = decode(data)
        if self.trace:
            self.trace(line(self.loop.now, *_names(end), message))
        if end.label.startswith(("worker:", "control:")):
            self.late.append((end.process, end.label, data))
        end.process.hear(end.label, message)

    # ------------------------------------------------------------------------------- ends of links

    def cut(self, end: End, *, both: bool, detect_s: float) -> None:
        """Nothing reaches ``end`` (``both``: nor its peer) from now on; both hear of it within ``detect_s``."""
        for side in (end, end.peer) if both else (end,):
            side.cut = True
            side.arriving.clear()
        for side in (end, end.peer):
            self.loop.after(detect_s * self.loop.rng.uniform(0.1, 1.0), self._tell_lost, side)

    def close(self, end: End) -> None:
        """An orderly farewell: what was sent arrives, then the peer hears LinkLost."""
        end.open = False
        self._forget(end)
        peer = end.peer
        self.loop.at(max(peer.last_s, self.loop.now) + 1e-4, self._tell_lost, peer)

    def died(self, process: Process) -> None:
        """The process is gone: the tail of what it had in flight is lost, its peers hear LinkLost."""
        for end in list(process.links.values()):
            peer = end.peer
            keep = (
                self.loop.rng.randint(0, len(peer.arriving)) if peer.arriving and not self.fixed_order else 0
            )
            for index in range(keep, len(peer.arriving)):
                peer.arriving[index] = None
            end.open = False
            jitter_s = 0.0 if self.fixed_order else self.loop.rng.random() * 1e-3
            at_s = max(peer.last_s, self.loop.now) + 1e-4 + jitter_s
            self.loop.at(at_s, self._tell_lost, peer)
        process.links.clear()

    def _lose(self, end: End) -> None:
        end.cut = True
        end.arriving.clear()
        self._tell_lost(end)

    def _tell_lost(self, end: End) -> None:
        if not end.open:
            return
        end.open = False
        self._forget(end)
        if end.process.alive:
            if self.trace:
                self.trace(line(self.loop.now, *_names(end), LinkLost()))
            end.process.hear(end.label, LinkLost())

    @staticmethod
    def _forget(end: End) -> None:
        if end.process.links.get(end.label) is end:
            del end.process.links[end.label]

    def ghost(self) -> None:
        """Deliver an answer again whose link has ended: a late answer of an earlier incarnation."""
        candidates = [
            (process, label, data)
            for process, label, data in self.late
            if process.alive and label not in process.links
        ]
        if candidates:
            process, label, data = self.loop.rng.choice(candidates)
            message = decode(data)
            if type(message).__name__ in ("Results", "Recalled"):
                if self.trace:
                    self.trace(line(self.loop.now, label + " (late)", process.name, message))
                process.hear(label, message)


def _names(end: End) -> tuple[str, str]:
    """Sender and receiver for the trace; a worker is called by the link, as its owner does."""
    if end.label in ("owner", "owner-control"):
        return end.peer.process.name, end.peer.label
    return end.label, end.process.name
