"""A channel: items from any process of a node to any other, through a ring in shared memory. What queues are made of.

::

    writers                                                     readers
    send     with the writers' mutex:                             receive   with items.line (one at a time):
               not full, nobody claims, room?                                  nothing?  items.wait
               ring.write ──────────► ring ─────────────────────────────────► ring.read
             items.open()                                                   units.open(), room.open()

    admit    full?    wait at units (bounded queues)
    deliver  no room? wait at room, in its line: CLAIM = me, so that nobody is served before; large items in parts

Writers exclude each other, and so do readers; a writer and a reader do not, so a stream between two processes meets no
lock that is taken. Whatever is written to the ring counts with a single write, so whoever dies anywhere leaves it
right, and a mutex that it held is free again in a moment.

The dead:  a writer of parts: its CLAIM tells the reader that no more will come, and what it has is dropped.
           a reader of parts: the next one finds parts without a beginning, and skips them.
           a process with a backlog: what it held back is not counted any more.

Not here: the threads that feed a backlog into the channel (``feeder``), and what an item is (``items``).
"""

from __future__ import annotations

import mmap
import os
import platform
import time
import weakref
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from distpool.scheduler.shared import gate, identity, mutex, ring, segment, semaphores
from distpool.scheduler.shared.backlogs import WORDS as BACKLOG_WORDS
from distpool.scheduler.shared.backlogs import Backlogs
from distpool.scheduler.shared.items import Incoming, Item, Pieces, in_pieces
from distpool.scheduler.shared.pollers import WORDS as POLLER_WORDS
from distpool.scheduler.shared.pollers import Pollers
from distpool.scheduler.shared.things import SharedThing

#: Of address space; of memory it takes what is touched.
RING_BYTES = 16 << 20
#: Memory is given back at most this often.
_TRIM_PAUSE_MS = 1000

# Words: who has a claim on the next room; when memory was last given back.
_CLAIM, _TRIMMED = 0, 1
_POLLERS = 8
_BACKLOGS = _POLLERS + POLLER_WORDS
_LOCKS_START = -(-(_BACKLOGS + BACKLOG_WORDS) // 8) * 64
_RING_START = _LOCKS_START + mutex.BYTES + 3 * gate.BYTES

#: What ``admit`` did.
SENT, HELD_BACK, FULL = 1, 2, 0

#: x86 lets others see reads and writes in their order. Elsewhere readers and writers exclude each other.
_KEEPS_ORDER = platform.machine() in ("x86_64", "AMD64", "i686", "i386")


class Channel(SharedThing):
    """One process's handle on a channel, made by ``create`` or unpickled. It may be used by all threads.

    A handle of another node can do its ``OPERATIONS`` only; ``away`` makes the rest of them.
    """

    KIND = "queue"
    OPERATIONS = frozenset({"offer", "take", "count", "accepted", "is_empty", "is_full"})

    #: No more items than that wait, those held back by their processes included; 0 for any number.
    items_max: int

    def _attach(self, place: segment.Place, items_max: int) -> None:
        self.place = place
        self._attach_parts(items_max)
        self._words = place.words
        self._ring = ring.Ring(place.words[_RING_START // 8 :], place.view[_RING_START:])
        self._data = place.view[_RING_START:]
        self._backlogs = Backlogs(place.words[_BACKLOGS : _BACKLOGS + BACKLOG_WORDS])
        self._pollers = Pollers(place.words[_POLLERS : _POLLERS + POLLER_WORDS])
        writers, items, room, units = _locks(place)
        self._writers = mutex.Mutex(writers, semaphores.SEMAPHORE)
        self._items = gate.Gate(items)
        self._room = gate.Gate(room)
        self._units = gate.Gate(units)
        self._has_items = self._ring.has_records
        self._order: AbstractContextManager[Any] = nullcontext() if _KEEPS_ORDER else self._writers
        self._entry = -1  # of the backlogs
        self._feeder: Any = None  # of items that came from other nodes
        _handles.add(self)

    @classmethod
    def create(cls, items_max: int = 0, ring_bytes: int = RING_BYTES) -> Channel:
        """A new one, empty; ``ring_bytes`` is a power of two."""
        place = segment.allocate(_RING_START + ring.STATE_WORDS * 8 + ring_bytes)
        writers, *gates = _locks(place)
        mutex.Mutex.make(writers)
        for one in gates:
            gate.Gate.make(one)
        made = cls()
        made._attach(place, items_max)
        return made

    def _attach_parts(self, items_max: int) -> None:
        self.items_max = items_max

    def _parts(self) -> tuple[Any, ...]:
        return (self.items_max,)

    # -------------------------------------------------------------------------------------------- state

    def is_empty(self) -> bool:
        """Whether nothing can be received now."""
        return self._ring.is_empty()

    def count(self) -> int:
        """How many items wait, those held back included."""
        return self._ring.items() + self._backlogs.of_the_living()

    def accepted(self) -> int:
        """How many items were ever accepted, but for those that were held back by processes that died."""
        return self._ring.written() + self._backlogs.of_the_living()

    def is_full(self) -> bool:
        """Whether no item would be accepted now."""
        return 0 < self.items_max <= self._ring.items() + self._backlogs.total()

    # ------------------------------------------------------------------------------------------ writing

    def send(self, item: Item) -> bool:
        """Write an item at once; False, and nothing is done, if that cannot be."""
        writers = self._writers
        writers.acquire()
        try:
            if self._words[_CLAIM] or (self.items_max and self.is_full()):
                return False
            if self._words[_POLLERS]:
                self._pollers.tell()
            if not (self._ring.write(item) if type(item) is bytes else self._write(item)):
                return False
        finally:
            try:
                writers.release()
            except BaseException:  # an interrupt at its threshold: nothing was released yet
                if writers.semaphore._is_mine():
                    writers.release()
                raise
        self._items.open()
        return True

    def admit(self, item: Item, may_send: bool) -> int:
        """Accept an item: SENT, or HELD_BACK for the caller to ``deliver``; or do nothing, as it is FULL.

        Args:
            item: it.
            may_send: False if the caller has others to deliver first.
        """
        with self._writers:
            if self.items_max and self.is_full():
                self._backlogs.bury()
                if self.is_full():
                    return FULL
            if not may_send or self._words[_CLAIM] or not self._write(item):
                entry = self._backlogs.add(self._entry)
                if entry < 0 and self.items_max:
                    return FULL
                self._entry = entry
                return HELD_BACK
        self._items.open()
        return SENT

    def wait_to_admit(self, item: Item, may_send: bool, timeout: float | None) -> int:
        """The same, waiting up to ``timeout`` seconds (None: for ever) while it is full."""
        until_s = None if timeout is None else time.monotonic() + timeout
        if not self._units.line.acquire(True, timeout):
            return FULL
        outcome = FULL

        def admit() -> bool:
            nonlocal outcome
            outcome = self.admit(item, may_send)
            return outcome != FULL

        try:
            self._units.wait(admit, until_s)
        finally:
            self._units.line.release()
        return outcome

    def deliver(self, item: Item, held_back: bool) -> None:
        """Write an item however long that takes; ``held_back`` if ``admit`` said so."""
        words = self._words
        with self._room.line:
            words[_CLAIM] = identity.me
            try:
                if (len(item) if isinstance(item, bytes) else item.size) <= self._ring.item_bytes_max:
                    self._room.wait(lambda: self._write_claimed(item, held_back), None)
                else:
                    self._deliver_parts(in_pieces(item) if isinstance(item, bytes) else item, held_back)
            finally:
                words[_CLAIM] = identity.NOBODY
                self._items.open()

    def _deliver_parts(self, item: Pieces, held_back: bool) -> None:
        left, flags = item.size, ring.USER
        while left:
            size = min(left, self._ring.part_bytes)
            left -= size
            part = flags | (ring.MORE if left else 0)

            def write(size: int = size, part: int = part) -> bool:
                with self._writers:
                    if self._words[_POLLERS]:
                        self._pollers.tell()
                    if not self._write_part(item, size, part):
                        return False
                    if held_back and not part & ring.MORE:
                        self._deliver_done()
                    return True

            self._room.wait(write, None)
            self._items.open()
            flags = ring.USER | ring.CONTINUES

    def _write_claimed(self, item: Item, held_back: bool) -> bool:
        with self._writers:
            if not self._write(item):
                return False
            if held_back:
                self._deliver_done()
            return True

    def _deliver_done(self) -> None:
        if self._entry >= 0 and self._backlogs.take(self._entry):
            self._entry = -1

    def _write(self, item: Item) -> bool:
        if self._words[_POLLERS]:
            self._pollers.tell()
        if isinstance(item, bytes):
            return self._ring.write(item)
        return self._write_part(item, item.size, ring.USER)

    def _write_part(self, item: Pieces, size: int, flags: int) -> bool:
        at = self._ring.reserve(size)
        if at < 0:
            return False
        item.fill(self._data[at : at + size])
        self._ring.commit(at, size, flags)
        return True

    # ------------------------------------------------------------------------------------------ reading

    def receive(self, block: bool = True, timeout: float | None = None) -> bytes | Incoming | None:
        """The next item, for ``items.load``; None if there was none at once, or within ``timeout`` seconds."""
        line = self._items.line
        if not block:
            # Whoever holds the line waits for an item, and then there is none; or takes one, which is soon done.
            if not line.acquire(False) and (self.is_empty() or not line.acquire(True, gate.SLICE_S)):
                return None
            until_s: float | None = 0.0
        elif timeout is None:
            line.acquire()
            until_s = None
        else:
            until_s = time.monotonic() + timeout
            if not line.acquire(True, timeout):
                return None
        try:
            data = self._ring.read() if _KEEPS_ORDER else None
            received = self._receive_slowly(until_s) if data is None else data
        finally:
            try:
                line.release()
            except BaseException:  # an interrupt at its threshold: nothing was released yet
                if line.semaphore._is_mine():
                    line.release()
                raise
        if self.items_max:
            self._units.open()
        self._room.open()
        if self._ring.high():
            self._trim()
        if self._words[_POLLERS] and self._ring.is_empty():
            with self._writers:
                if self._ring.is_empty():
                    self._pollers.untell()
        return received

    # --------------------------------------------------------------------------- for other nodes (``away``)

    def offer(self, data: bytes, whole: bool, block: bool, timeout: float | None) -> bool:
        """Accept an item, as ``items.flat`` has made it; False if it was full all the time."""
        from distpool.scheduler.shared.feeder import Feeder

        item: Item = data if whole else Pieces([data])
        if self._feeder is None:
            self._feeder = Feeder(self)
        may_send = not self._feeder.waiting
        outcome = self.admit(item, may_send)
        if outcome == FULL and block:
            outcome = self.wait_to_admit(item, may_send, timeout)
        if outcome == HELD_BACK:
            self._feeder.hold(item)
        return outcome != FULL

    def take(self, block: bool, timeout: float | None) -> bytes | None:
        """The next item as bytes, the first of which says whether it is whole; None as ``receive``."""
        received = self.receive(block, timeout)
        if received is None:
            return None
        return b"\1" + received if isinstance(received, bytes) else b"\0" + received.flat()

    def descriptor(self) -> int:
        """Something that this process can ``select``: readable while there is an item."""
        with self._writers:
            return self._pollers.descriptor(not self._ring.is_empty())

    def _receive_slowly(self, until_s: float | None) -> bytes | Incoming | None:
        """In the line."""
        ring_, incoming = self._ring, None
        while True:
            record = ring_.look()
            if record is None:
                if incoming is None:
                    if not self._items.wait(self._has_items, until_s):
                        return None
                else:
                    self._items.wait(self._has_part_or_end, None)
                    if ring_.is_empty():
                        incoming = None  # its writer died, or was interrupted
                continue
            with self._order:
                at, size, flags = record
                if not flags:
                    data: bytes = self._data[at : at + size].tobytes()
                    ring_.drop(at, size, flags)
                    return data
                if flags == ring.USER:
                    incoming = Incoming.whole(self._data[at : at + size])
                    ring_.drop(at, size, flags)
                    return incoming
                if not flags & ring.CONTINUES:
                    incoming = Incoming()
                if incoming is not None:
                    incoming.take(self._data[at : at + size])
                ring_.drop(at, size, flags)
            if not flags & ring.MORE and incoming is not None:
                return incoming
            self._room.open()

    def _has_part_or_end(self) -> bool:
        claim = self._words[_CLAIM]
        return not self._ring.is_empty() or identity.is_dead(claim)

    def _trim(self) -> None:
        """Give memory back that a crowd of items has touched, if now there are none."""
        now_ms = int(time.monotonic() * 1000)
        if not self._ring.is_empty() or now_ms - self._words[_TRIMMED] < _TRIM_PAUSE_MS:
            return
        if not self._writers.acquire(False):
            return
        try:
            high = self._ring.high()
            if high and self._ring.is_empty():
                start = self.place.offset + _RING_START
                first = -(-(start + ring.KEPT_UNITS * 8) // mmap.PAGESIZE) * mmap.PAGESIZE
                end = (start + high * 8) // mmap.PAGESIZE * mmap.PAGESIZE
                if end > first:
                    memory: Any = self.place.segment.view.obj
                    memory.madvise(mmap.MADV_REMOVE, first, end - first)
                self._words[_TRIMMED] = now_ms
                self._ring.forget_high()
        finally:
            self._writers.release()

    def _forked(self) -> None:
        """What the parent holds back is the parent's."""
        self._entry = -1
        self._pollers.forked()


def _locks(place: segment.Place) -> tuple[segment.Place, ...]:
    """Where the writers' mutex and the three gates lie: items, room, units."""
    sizes = (mutex.BYTES, gate.BYTES, gate.BYTES, gate.BYTES)
    return tuple(gate.part(place, _LOCKS_START + sum(sizes[:n]), size) for n, size in enumerate(sizes))


def _forked_child() -> None:
    for channel in list(_handles):
        channel._forked()


_handles: weakref.WeakSet[Channel] = weakref.WeakSet()
os.register_at_fork(after_in_child=_forked_child)
