"""A pilot: what runs on the machines of somebody else's cluster, and has a node of ours there for as long as it runs.

::

    bridge ── put(frames) ──► Pilot ── DEALER, unix socket ──► port of its agent ──► nursery ──► workers
           ◄─ take() ──────────┘                                 (head and node; sees the pilot die)

``put`` and ``take`` are called by the other cluster's own means, by one caller each at a time: that is the whole way
between the program and its workers, and nothing listens but in the agent's own directory. To the agent the pilot is the
program, come by its port (``gateway``).

A pilot ends by ``leave``; when its agent dies; and when nobody has called ``take`` for ``SILENT_S``: then the bridge is
gone, and with it the program. When the pilot's process dies, its agent sees that and ends all that is below it.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import zmq

from distpool.cpus import cpu_count
from distpool.errors import ClusterError
from distpool.scheduler.messages import Admission, Knock, decode, encode
from distpool.scheduler.shells import knocking
from distpool.scheduler.shells.agent_request import IN_DIRECTORY
from distpool.scheduler.shells.embedded import EmbeddedCluster
from distpool.scheduler.shells.links import close_watched, is_readable, watched_dealer
from distpool.scheduler.shells.waker import Waker
from distpool.scheduler.store.files import MEMORY_SHARE, usable_memory_bytes

__all__ = ["Frames", "Pilot", "PilotEnded"]

#: Messages of several parts, as they go between an owner and an agent's port.
Frames = list[list[bytes]]

#: ``take`` waits for so long for something to give.
TAKE_S = 20.0
#: It gives no more at a time, but for the message that goes beyond.
TAKE_BYTES_MAX = 32 << 20
#: How long its end may take.
LEAVE_S = 10.0
#: A pilot whose ``take`` nobody has called for so long is nobody's.
SILENT_S = 60.0


class PilotEnded(ClusterError):
    """The pilot has ended, and why."""


class Pilot:
    """A node named ``node``, with ``resources``, for the owner of this name.

    Raises:
        ClusterError: it cannot be, and why: other versions of Python or distpool here, an agent that does not start.
    """

    def __init__(self, node: str, owner: str, resources: Mapping[str, float], knock: bytes) -> None:
        self.node = node
        _refuse_strangers(knock, node)
        has = {"GPU": 0.0, **resources, "CPU": max(1.0, resources.get("CPU", 0.0))}
        self._cluster = EmbeddedCluster(
            node=node, resources=has, environment=_environment(has), listen=IN_DIRECTORY, logged=True
        )
        self._cluster.start()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(io_threads=1)
        self._link, self._fate = watched_dealer(
            self._context, self._cluster.port_address, f"o:{owner}".encode()
        )
        self._using = threading.Lock()  # a socket is one thread's at a time
        self._waker = Waker()  # there is something for ``take``, though its descriptor may not say so
        self._taken_s = time.monotonic()
        self._told = Waker()
        self.ended = threading.Event()
        self.reason = ""
        threading.Thread(target=self._watch, name=f"distpool-{node}", daemon=True).start()

    def put(self, frames: Frames) -> None:
        """Pass these on to the agent and its workers. Raises PilotEnded."""
        with self._using:
            self._refuse_if_ended()
            for parts in frames:
                self._link.send_multipart(parts, zmq.NOBLOCK)
            if is_readable(self._link):
                self._waker.wake()  # the socket's descriptor tells of each change once, and we have just looked

    def take(self) -> Frames:
        """What they have said since; waits for it for ``TAKE_S`` at most. Raises PilotEnded."""
        self._taken_s = time.monotonic()
        poller = select.poll()
        for fd in (self._link.fileno(), self._waker.fd):
            poller.register(fd, select.POLLIN)
        until_s = self._taken_s + TAKE_S
        while not (taken := self._received()):
            left_s = until_s - time.monotonic()
            if left_s <= 0 or not poller.poll(left_s * 1000):
                break
            self._waker.clear()
        self._taken_s = time.monotonic()
        return taken

    def _received(self) -> Frames:
        """What is there, in messages up to a bound, and the one that goes beyond it."""
        taken: Frames = []
        size = 0
        with self._using, suppress(zmq.Again):
            self._refuse_if_ended()
            while size < TAKE_BYTES_MAX:
                taken.append(self._link.recv_multipart(zmq.NOBLOCK))
                size += sum(map(len, taken[-1]))
        return taken

    def leave(self) -> None:
        """End the node with all that runs there, and wait for that. Idempotent."""
        self._end("it was told to leave")
        self._told.wake()
        self.ended.wait(LEAVE_S)

    def _end(self, reason: str) -> None:
        with self._using:
            self.reason = self.reason or reason
        self._waker.wake()

    def _refuse_if_ended(self) -> None:
        if self.reason:
            raise PilotEnded(self.reason)

    def _watch(self) -> None:
        """On a thread of its own: until there is a reason to end; then end everything."""
        poller = select.poll()
        for fd in (self._told.fd, self._cluster.agent_fd):
            poller.register(fd, select.POLLIN)
        while not self.reason:
            left_s = self._taken_s + SILENT_S - time.monotonic()
            if poller.poll(max(0.0, left_s) * 1000):
                self._end(f"its agent on {os.uname().nodename} has died")
            elif left_s <= 0:
                self._end("its program was silent for too long")
        self._cluster.reap()
        with self._using:
            close_watched(self._link, self._fate)
            self._context.destroy(linger=0)
        self.ended.set()


def _refuse_strangers(knock: bytes, node: str) -> None:
    try:
        message: Any = decode(knock)
    except Exception:  # a message that this version does not have
        message = None
    if not isinstance(message, Knock):
        raise ClusterError("the cluster has another version of distpool than the program")
    admission: Admission = knocking.admission(message, node)
    if not admission.accepted:
        raise ClusterError(admission.reason)


def introduction() -> bytes:
    """What a pilot must know of the program before it starts anything."""
    return encode(knocking.introduction())


def _environment(resources: Mapping[str, float]) -> dict[str, str]:
    """This process's, with a store that leaves room for those of the machine's other pilots."""
    environment = dict(os.environ)
    share = min(1.0, resources["CPU"] / cpu_count())
    environment.setdefault("DISTPOOL_STORE_MEMORY", str(int(usable_memory_bytes() * MEMORY_SHARE * share)))
    return environment
