"""What a worker has run of late: a ring in its memory, shown to who asks, and left in a file when the worker ends.

::

    run loop ── note(...) ──► ring, of the latest ``EVENTS_MAX`` at least
                      asked by its agent (Inquire "timeline") ──► packed ──► Inquired
                      it ends ──► worker-N.ran ──► its agent, which keeps the latest

What costs least is noted, for nothing is as often done: calls that run one behind the other need no start of their own.
So the ring is a row of marks, and ``events_of`` reads it::

    -start                        a run of calls begins
    end, name                     a call has ended well; it began where the mark before it ends
    (name, start, end, failed)    any other call

Nothing is sent or written for a call. A worker that is killed takes its ring along. Times are those of
``perf_counter``; with them goes what makes them times of the day.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from distpool.scheduler.shells.worker_start import WorkerStart

EVENTS_MAX = 10_000
#: Of workers that have ended an agent keeps so many rings, and so much.
KEPT_MAX = 256
KEPT_BYTES_MAX = 16 << 20

#: A call of its own run is three marks.
MARKS_MAX = 3 * EVENTS_MAX

#: Name of the function or method, start and end, and whether it raised.
Event = tuple[str, float, float, bool]
Mark = float | str | Event


class Ran(msgspec.Struct, array_like=True):
    """What a worker has run. ``zero_s`` is the time of day at which its clock was 0; names are told once."""

    node: str
    pid: int
    is_actor: bool
    zero_s: float
    names: list[str]
    events: list[tuple[int, float, float, bool]]


def events_of(marks: Iterable[Mark]) -> list[Event]:
    """What a row of marks says; its first may be missing, and the last be half written."""
    events: list[Event] = []
    start = end = 0.0  # 0: not known
    for mark in marks:
        if isinstance(mark, str):
            if start and end:
                events.append((mark, start, end, False))
            start = end
        elif isinstance(mark, tuple):
            events.append(mark)
            start = mark[2]
        elif mark < 0:
            start = -mark
        else:
            end = mark
    return events


class Trace:
    """One worker's ring."""

    def __init__(self) -> None:
        self._ring: deque[Mark] = deque(maxlen=MARKS_MAX)
        self.note: Callable[[Mark], None] = self._ring.append
        self.is_actor = False

    def packed(self, start: WorkerStart) -> bytes:
        """The ring, for the way; b"" if nothing has run. Any thread."""
        events = events_of(self._ring.copy())[-EVENTS_MAX:]
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
