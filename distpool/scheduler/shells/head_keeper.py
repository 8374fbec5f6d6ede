"""An agent's side of a head that is a process of its own: starts it, passes on what it says and hears, starts it again.

::

    agent ── exec, JSON ──► head_process ── journal
      │  ROUTER ◄── h:NUMBER ── [way, frame] ──┘    what is for another node goes on by the agent's port, unread
      └─ dies? started again at once, then with growing pauses: all else goes on, and says hello to the new one

A head that was started again says so with its first word (``HeadUp``), and the agent passes that on to all nodes that
have come by its port. What an earlier start of it has left unread is dropped: it is asked and said anew. The head ends
with its agent. Not here: what it does (``head_process``), and what must survive it (``journal``).
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable

import msgspec

from distpool.scheduler.limits import Limits
from distpool.scheduler.messages import HeadUp, Message, ScalingSettings, encode
from distpool.scheduler.shells import processes
from distpool.scheduler.shells.launching import AgentProcess

MODULE = "distpool.scheduler.shells.head_process"
_UP = encode(HeadUp())


class HeadRequest(msgspec.Struct, frozen=True):
    """What a head is asked for: a JSON line on the descriptor that it is started with.

    ``address`` is where nodes join, for those that it starts itself (``scaling``).
    """

    agent: str  # where its agent is dialled
    node: str
    number: int  # of its starts by this agent
    journal: str
    limits: Limits
    secret: str = ""
    address: str = ""
    scaling: ScalingSettings | None = None


class HeadKeeper:
    """``send`` says something to a peer of the agent's ROUTER, by its routing id; whether it is still there."""

    def __init__(
        self,
        directory: str,
        request: HeadRequest,
        send: Callable[[bytes, list[bytes]], bool],
    ) -> None:
        self.pidfd = -1  # readable when the head is dead
        self.wake_s = math.inf  # when ``tick`` is to be called
        self.ways: dict[
            bytes, None
        ] = {}  # by which nodes have come that want to know when there is another head
        self._directory = directory
        self._request = request
        self._send = send
        self._process: AgentProcess | None = None
        self._number = 0
        self._started_s = 0.0
        self._pause_s = 0.0

    def start(self) -> None:
        """Start the first one, and wait until it is up. Raises ClusterError with what it says, OSError."""
        self._exec().first_word()

    def _exec(self) -> AgentProcess:
        self._number += 1
        self._started_s = time.monotonic()
        request = msgspec.structs.replace(self._request, number=self._number)
        self._process = AgentProcess(
            self._directory,
            msgspec.to_builtins(request),
            (),
            os.environ,
            self._request.limits.start_s,
            module=MODULE,
        )
        fd = processes.open_pidfd(self._process.process.pid)
        assert fd is not None, "it is our child, and not reaped"
        self.pidfd = fd
        return self._process

    def died(self, now: float) -> None:
        """The head is dead: there will be another. To be called when ``pidfd`` is readable."""
        os.close(self.pidfd)
        self.pidfd = -1
        assert self._process is not None
        status = self._process.process.wait()
        limits = self._request.limits
        quick = now < self._started_s + limits.start_backoff_s_max
        self._pause_s = (
            min(max(2 * self._pause_s, limits.start_backoff_s), limits.start_backoff_s_max) if quick else 0.0
        )
        self.wake_s = now + self._pause_s
        self._number += 1  # what it has left is nobody's
        print(f"distpool: the head has ended ({status}), and is started again", file=sys.stderr, flush=True)

    def tick(self, now: float) -> bool:
        """Look at the clock. Whether another head was started, so that its ``pidfd`` is to be watched."""
        if self.wake_s > now:
            return False
        self.wake_s = math.inf
        try:
            self._exec().ask_only()
        except OSError as error:  # no process can be had at the moment
            print(f"distpool: no head can be started: {error}", file=sys.stderr, flush=True)
            self.wake_s = now + self._request.limits.start_backoff_s_max
            return False
        return True

    # ------------------------------------------------------------------------------ what passes

    def pass_on(self, way: bytes, node: str, frame: bytes) -> None:
        """Give the head what came by this way. While there is none it is dropped: it will be said again."""
        if way:
            self.ways[way] = None
        self._send(self._identity, [way, node.encode(), frame])

    def say(self, message: Message) -> None:
        """The head's own node says something."""
        self.pass_on(b"", self._request.node, encode(message))

    @property
    def _identity(self) -> bytes:
        return b"h:%d" % self._number

    def heard(self, identity: bytes, parts: list[bytes]) -> list[tuple[bytes, bytes]]:
        """What came over the ROUTER from a head: frames, and by which ways they are to go on."""
        if identity != self._identity or len(parts) != 2:
            return []
        way, frame = parts
        ways = [b"", *self.ways] if frame == _UP else [way]
        return [(way, frame) for way in ways]
