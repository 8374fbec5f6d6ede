"""What a worker has run of late: a ring in its memory, shown to who asks, and left in a file when the worker ends.

::

    run loop ── note((name, start, end, failed)) ──► ring, the latest ``EVENTS_MAX``
                      asked by its agent (Inquire "timeline") ──► packed ──► Inquired
                      it ends ──► worker-N.ran ──► its agent, which keeps the latest

A note costs an append of a tuple: nothing is sent or written for a task. A worker that is killed takes its ring along.
Times are those of ``perf_counter``; with them goes what makes them times of the day.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from distpool.scheduler.shells.worker_start import WorkerStart

EVENTS_MAX = 10_000
#: Of workers that have ended an agent keeps so many rings, and so much.
KEPT_MAX = 256
KEPT_BYTES_MAX = 16 << 20

#: Name of the function or method, start and end, and whether it raised.
Event = tuple[str, float, float, bool]


class Ran(msgspec.Struct, array_like=True):
    """What a worker has run. ``zero_s`` is the time of day at which its clock was 0; names are told once."""

    node: str
    pid: int
    is_actor: bool
    zero_s: float
    names: list[str]
    events: list[tuple[int, float, float, bool]]


class Trace:
    """One worker's ring."""

    def __init__(self) -> None:
        self._ring: deque[Event] = deque(maxlen=EVENTS_MAX)
        self.note: Callable[[Event], None] = self._ring.append
        self.is_actor = False

    def packed(self, start: WorkerStart) -> bytes:
        """The ring, for the way; b"" if nothing has run. Any thread."""
        events = self._ring.copy()
        if not events:
            return b""
        places: dict[str, int] = {}
        rows = [
            (places.setdefault(name, len(places)), began_s, ended_s, failed)
            for name, began_s, ended_s, failed in events
        ]
        zero_s = time.time() - time.perf_counter()
        return msgspec.msgpack.encode(Ran(start.node, os.getpid(), self.is_actor, zero_s, list(places), rows))

    def leave(self, start: WorkerStart) -> None:
        """The worker ends: write the ring where its agent finds it."""
        blob = self.packed(start)
        if blob:
            try:
                with open(_path(start.directory, start.worker), "wb") as file:
                    file.write(blob)
            except OSError:
                pass  # the session has ended, or the disk is full: nobody will miss it


class Left:
    """What the workers of a node have left; their agent's."""

    def __init__(self) -> None:
        self._blobs: deque[bytes] = deque()
        self._bytes = 0

    def take(self, directory: str, worker: int) -> None:
        """Read and remove what a worker that has ended may have left."""
        path = _path(directory, worker)
        try:
            with open(path, "rb") as file:
                blob = file.read()
            os.unlink(path)
        except OSError:
            return
        self._blobs.append(blob)
        self._bytes += len(blob)
        while len(self._blobs) > KEPT_MAX or self._bytes > KEPT_BYTES_MAX:
            self._bytes -= len(self._blobs.popleft())

    @property
    def blobs(self) -> tuple[bytes, ...]:
        """All of it, oldest first."""
        return tuple(self._blobs)


#: Raises what msgspec raises for what is none: who was killed while it wrote leaves half of one.
unpack: Callable[[bytes], Ran] = msgspec.msgpack.Decoder(Ran).decode


def _path(directory: str, worker: int) -> str:
    return f"{directory}/worker-{worker}.ran"


def name_of(call: Any) -> str:
    """What a function is called, without what it is defined in; that of what a partial, or the like, is made of."""
    inner = getattr(call, "func", call)
    name = getattr(inner, "__qualname__", None) or type(inner).__qualname__
    return str(name).rpartition("<locals>.")[2]
