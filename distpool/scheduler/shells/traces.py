"""What a worker has run of late: a ring in its memory, shown to who asks, and left in a file when the worker ends.

::

    run loop ── note(...) ──► ring, of the latest ``EVENTS_MAX`` at least
                      asked by its agent (Inquire "timeline") ──► packed ──► Inquired
                      it ends ──► worker-N.ran ──► its agent, which keeps the latest
                      asked for "activity" ──► told (``tallies``); then it leaves that, too: worker-N.did

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

TYPE_CHECKING = False
if TYPE_CHECKING:
    from distpool.scheduler.messages.activity import WorkerActivity
    from distpool.scheduler.shells.tallies import Ledger

EVENTS_MAX = 10_000
#: Of workers that have ended an agent keeps so many rings, and so much.
KEPT_MAX = 256
KEPT_BYTES_MAX = 16 << 20
#: Bars of the last moments that a worker leaves.
LAST_BARS = 40

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
        self._ledger: Ledger | None = None  # once somebody has asked how much was done

    def activity(self, start: WorkerStart, asker: str, bars: int, completed: int | None) -> WorkerActivity:
        """What was run, added up; and as bars, since this asker's last look. The second thread, or the last.

        ``completed`` is how many calls have ended; of an actor that is not counted.
        """
        from distpool.scheduler.messages.activity import WorkerActivity
        from distpool.scheduler.shells.tallies import Ledger, bars_of

        if self._ledger is None:
            self._ledger = Ledger()
        ledger, now_s = self._ledger, time.perf_counter()
        ring = self._ring.copy()
        ledger.fold(ring, None if self.is_actor else completed)
        names: list[str] = []
        drawn: list[Any] = []
        if bars:
            events, since_s = ledger.since(ring, asker, now_s)
            names, drawn = bars_of(events, since_s, now_s, bars, time.time() - now_s)
        return WorkerActivity(
            start.node,
            start.worker,
            os.getpid(),
            self.is_actor,
            ledger.tallies(),
            tuple(names),
            tuple(drawn),
            ledger.sampled,
        )

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

    def leave(self, start: WorkerStart, completed: int | None = None) -> None:
        """The worker ends: write the ring where its agent finds it; and what was done, if that was ever asked."""
        blob = self.packed(start)
        if not blob:
            return
        try:
            if self._ledger is not None:
                did = self.activity(start, "", LAST_BARS, completed)
                with open(_path(start.directory, start.worker, "did"), "wb") as file:
                    file.write(msgspec.msgpack.encode(did))
            with open(_path(start.directory, start.worker), "wb") as file:
                file.write(blob)
        except OSError:
            pass  # the session has ended, or the disk is full: nobody will miss it


class Left:
    """What the workers of a node have left; their agent's."""

    def __init__(self) -> None:
        self._kept: deque[tuple[int, bytes, bytes]] = deque()  # worker, what it ran, what it did
        self._bytes = 0
        self.taken = 0  # of so many workers so far

    def take(self, directory: str, worker: int) -> None:
        """Read and remove what a worker that has ended may have left."""
        did = _read_and_remove(_path(directory, worker, "did"))
        ran = _read_and_remove(_path(directory, worker))
        if not ran:
            return
        self._kept.append((worker, ran, did))
        self._bytes += len(ran) + len(did)
        self.taken += 1
        while len(self._kept) > KEPT_MAX or self._bytes > KEPT_BYTES_MAX:
            self._bytes -= sum(map(len, self._kept.popleft()[1:]))

    @property
    def blobs(self) -> tuple[bytes, ...]:
        """What they ran, oldest first."""
        return tuple(ran for _, ran, _ in self._kept)

    def since(self, taken: int, most_bytes: int) -> list[tuple[int, bytes, bytes]]:
        """Worker, what it ran, what it did, of those that came after the first ``taken``: the latest of them."""
        found: list[tuple[int, bytes, bytes]] = []
        new = min(self.taken - taken, len(self._kept))
        for worker, ran, did in reversed(self._kept):
            most_bytes -= len(did or ran)
            if len(found) >= new or most_bytes < 0:
                break
            found.append((worker, ran, did))
        return found[::-1]


def _read_and_remove(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            blob = file.read()
        os.unlink(path)
        return blob
    except OSError:
        return b""


#: Raises what msgspec raises for what is none: who was killed while it wrote leaves half of one.
unpack: Callable[[bytes], Ran] = msgspec.msgpack.Decoder(Ran).decode


def _path(directory: str, worker: int, what: str = "ran") -> str:
    return f"{directory}/worker-{worker}.{what}"


def name_of(call: Any) -> str:
    """What a function is called, without what it is defined in; that of what a partial, or the like, is made of."""
    inner = getattr(call, "func", call)
    name = getattr(inner, "__qualname__", None) or type(inner).__qualname__
    return str(name).rpartition("<locals>.")[2]
