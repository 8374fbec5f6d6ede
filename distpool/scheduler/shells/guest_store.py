"""What a program without a store of its own has instead: it puts into its home's, and reads what lies in any.

::

    put ── Put, Chunk, Chunk, ... ──► agent of its home ── its store       (once, however many tasks and nodes need it)
    map ◄─ Coming, Chunk, ... ◄────── agent of its home ◄── the node where it lies
    hold, claim, drop ──────────────► agent of its home: a reference of this program's

So what a program far away sends along with many tasks crosses its line once, and what tasks make stays in the cluster
until it is looked at. A program's references go with its link to its home. It is to the rest of the program what
``store.store.ObjectStore`` is, as far as there is a use for it.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import zmq

from distpool.errors import StoreError, StoreFull
from distpool.scheduler.limits import DEFAULTS, Limits
from distpool.scheduler.messages import (
    DRIVER,
    Chunk,
    Coming,
    Pull,
    PullFailed,
    PullOn,
    Put,
    PutDone,
    PutOn,
    PutStop,
    SourceGone,
    decode,
    encode,
)
from distpool.scheduler.serialize import stored
from distpool.scheduler.serialize.on_device import Arrived, OnDevice
from distpool.scheduler.serialize.stored import Spot
from distpool.scheduler.shells.curve import Keys
from distpool.scheduler.shells.fetching import Fetching
from distpool.scheduler.shells.links import close_watched, watched_dealer
from distpool.scheduler.store import patience
from distpool.scheduler.store.far import Far
from distpool.scheduler.store.patience import FetchLate

_GONE = "the link to the cluster was lost, where this program's data is"


class GuestStore:
    """The store of a program that is attached to the port at ``address``. Thread-safe.

    Args:
        address: of its home.
        owner: the program's name there.
        keys: of the cluster.
        number: of its home's store.
    """

    process = DRIVER

    def __init__(self, address: str, owner: str, keys: Keys, number: int, limits: Limits = DEFAULTS) -> None:
        self.number = number
        self._address, self._owner, self._keys, self._limits = address, owner, keys, limits
        self._far = Far(Fetching(lambda: address, owner, keys))
        self._lines = _Lines(address, owner, keys)
        self._requests = itertools.count(1)

    # --------------------------------------------------------------------------------- putting

    def put(self, objects: Sequence[stored.Object], *, holder: int = 0, label: str = "") -> stored.Held:
        """See ``ObjectStore.put``; returns when the home has all of it."""
        self._far.flush()
        ids = []
        for parts in objects:
            with self._lines.one() as line:
                ids.append(self._put(line, parts))
        return self._far.held(tuple(ids))

    def _put(self, line: _Line, parts: stored.Object) -> int:
        request = next(self._requests)
        views: Iterable[memoryview]
        if type(parts) is OnDevice:
            views, size = parts.source.pieces(), len(parts)
        else:
            views = [memoryview(part).cast("B") for part in parts]
            size = sum(map(len, views))
        line.send(Put(request, size))
        sent = until = 0
        try:
            for view in views:
                while view:
                    if sent >= until:
                        answer, _ = line.receive()
                        if type(answer) is PutDone:
                            return self._number(answer)
                        assert type(answer) is PutOn, answer
                        until = answer.until
                        continue
                    size = min(self._limits.chunk_bytes, until - sent)
                    line.send(Chunk(request, sent), view[:size])
                    view, sent = view[size:], sent + min(size, len(view))
            while type(answer := line.receive()[0]) is not PutDone:
                pass
            return self._number(answer)
        except BaseException:
            self._far.link.tell(PutStop(request))
            raise

    @staticmethod
    def _number(done: PutDone) -> int:
        if done.reason:
            raise StoreFull(done.reason)
        return done.number

    def put_brief(self, pieces: Sequence[Any], size: int) -> tuple[Spot, Any] | None:
        """None: what is small goes in messages."""
        return None

    def read_brief(self, spot: Spot) -> bytes:
        """There is none."""
        raise StoreError("a program without a store has no part in other processes' memory")

    # --------------------------------------------------------------------------------- reading

    def map(self, ids: Sequence[int]) -> list[memoryview | Arrived]:
        """Copies of objects, the caller's own. Raises StoreError if one cannot be had any more, StoreFull."""
        self._far.flush()
        return [memoryview(self._read(number)) for number in ids]

    @contextmanager
    def reading(self, number: int) -> Iterator[memoryview]:
        """The same, for a look."""
        with memoryview(self._read(number)) as view:
            yield view

    def _read(self, number: int) -> bytearray:
        window = self._limits.pull_window_bytes
        with self._lines.one() as line:
            line.send(Pull(number, 0, window, False))
            data, done, until = bytearray(), 0, window
            while True:
                answer, frame = line.receive()
                match answer:
                    case Coming(size=size):
                        data = bytearray(size)
                    case Chunk(offset=offset):
                        data[offset : offset + len(frame)] = frame
                        done = offset + len(frame)
                        if until - done <= window // 2:
                            until = done + window
                            line.send(PullOn(number, until))
                    case PullFailed(reason=reason, is_lost=is_lost):
                        raise (StoreError if is_lost else StoreFull)(reason)
                    case SourceGone():
                        raise StoreError(f"object {number:#x} is gone: nobody has held it any more")
                    case _:
                        raise AssertionError(f"a home does not say {answer}")
                if done >= len(data) and type(answer) in (Coming, Chunk):
                    return data

    def size_of(self, ids: Any) -> int:
        """Nothing of them is here."""
        return 0

    def are_there(self, ids: Sequence[int], *, here: bool = False) -> bool:
        """Whether all of these can be had; none are ``here``. Raises StoreError if the cluster is gone."""
        return here or not ids or not self._far.lost(tuple(ids))

    def are_only_here(self, ids: Sequence[int]) -> bool:
        """Whether some of these have nothing but a copy at the home. Raises StoreError if the cluster is gone."""
        return bool(ids and self._far.only_here(tuple(ids)))

    def gone(self, ids: Sequence[int]) -> set[int]:
        """Those that cannot be had any more. Raises StoreError if the cluster is gone."""
        return set(self._far.lost(tuple(ids)) if ids else ())

    # --------------------------------------------------------------------------------- holding

    def hold(self, ids: Sequence[int]) -> stored.Held:
        """Refer to objects that somebody refers to at this moment."""
        self._far.flush()
        return self._far.hold(tuple(ids))

    def claim(self, ids: Sequence[int], via: int = 0, *, store: int = 0, soon: bool = False) -> stored.Held:
        """Take what a worker has put for this program. ``store`` is that of its node."""
        self._far.flush()
        return self._far.claim(tuple(ids), via, store, False)

    def hand(self, ids: Sequence[int], holder: int) -> None:
        """Pass on what this program refers to."""
        self._far.hand(tuple(ids), holder)

    def take_back(self, ids: Sequence[int], holder: int) -> None:
        """``holder`` will not hear of it."""
        self._far.hand(tuple(ids), holder, back=True)

    def forget_transit(self, via: int, *, store: int = 0) -> None:
        """The home forgets what a dead worker had put."""

    def forget_handed(self, holder: int) -> None:
        """The home forgets what a dead process had not claimed."""

    def mend_all_others(self) -> None:
        """It is not this program's to mend."""

    # ------------------------------------------------------------------------------- letting go

    @property
    def on_dropped(self) -> Callable[[], None] | None:
        """See ``ObjectStore``."""
        return self._far.on_dropped

    @on_dropped.setter
    def on_dropped(self, callback: Callable[[], None] | None) -> None:
        self._far.on_dropped = callback

    @property
    def has_dropped(self) -> bool:
        """Whether ``drain`` has something to do."""
        return self._far.has_dropped

    def drain(self) -> None:
        """Tell the home what is no longer needed."""
        if self._far.has_dropped:
            self._far.flush()

    def close(self) -> None:
        """The session is over."""
        self._far.on_dropped = None
        self._far.link.close()
        self._lines.close()


class _Line:
    """A link for one put, or one read, at a time."""

    def __init__(self, context: zmq.Context[Any], address: str, identity: bytes, keys: Keys) -> None:
        self._link, self._fate = watched_dealer(context, address, identity, keys)
        self._poller = zmq.Poller()
        self._poller.register(self._link, zmq.POLLIN)
        self._poller.register(self._fate, zmq.POLLIN)

    def send(self, message: Any, data: Any = None) -> None:
        frames = [encode(message)] if data is None else [encode(message), data]
        try:
            self._link.send_multipart(frames, zmq.NOBLOCK)
        except zmq.Again:
            raise StoreError(_GONE) from None

    def receive(self) -> tuple[Any, bytes]:
        ready = dict(self._poller.poll(patience.left_ms(time.monotonic())))
        if not ready:
            raise FetchLate("data of the cluster has not come in time")
        if self._link not in ready:
            raise StoreError(_GONE)
        frame, *data = self._link.recv_multipart()
        return decode(frame), data[0] if data else b""

    def close(self) -> None:
        close_watched(self._link, self._fate)


class _Lines:
    """As many as there are threads that put or read at one time."""

    def __init__(self, address: str, owner: str, keys: Keys) -> None:
        self._address, self._owner, self._keys = address, owner, keys
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(io_threads=1)
        self._idle: list[_Line] = []
        self._lock = threading.Lock()

    @contextmanager
    def one(self) -> Iterator[_Line]:
        """One of them for a while; after an exception it is closed, since more may come by it."""
        with self._lock:
            line = self._idle.pop() if self._idle else None
        if line is None:
            identity = f"g:{self._owner}:{os.urandom(4).hex()}".encode()
            line = _Line(self._context, self._address, identity, self._keys)
        try:
            yield line
        except BaseException:
            line.close()
            raise
        self._idle.append(line)

    def close(self) -> None:
        """Close all."""
        with self._lock:
            lines, self._idle = self._idle, []
        for line in lines:
            line.close()
        self._context.destroy(linger=0)
