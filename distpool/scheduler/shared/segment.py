"""Segments: sparse memory files, and the places in them where shared things lie.

::

    maker                                              any other process of the node
    allocate(4096) ─► Place ── Segment (memfd, mapped)
                        │ pickled: key, offset, size, and who has the file open: (pid, descriptor), ...
                        └───────────────────────────► find ─► open /proc/PID/fd/N ─► Segment ─► Place

A segment has no name, so nothing is left behind; it lives as long as somebody has it mapped. Only its maker allocates
in it, so that takes no lock. A forked child inherits the mappings, and makes segments of its own for what it makes.

Space is used again only if no other process can have seen it (neither pickled, nor a fork since it was made). A segment
as a whole goes once the last place of it has gone, in each process for itself.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Sequence

from distpool.errors import SharedElsewhere, SharedGone
from distpool.scheduler import node_identity

#: Address space of a segment; of memory it takes what is touched. What is larger than a quarter gets its own.
SEGMENT_BYTES = 16 << 20
ALIGNMENT = 64
#: The last segments that were pickled are kept, so many and for so long at least until others are.
_SENT_MAX = 16
_SENT_S = 30.0
_KEY_BYTES = 16
_HEADER_BYTES = 64  # the key; the rest is spare

Holder = tuple[int, int]  # a process that has the file open: its pid, and its descriptor


class Segment:
    """One memory file, mapped as a whole for as long as this object lives."""

    def __init__(self, fd: int, size: int, key: bytes) -> None:
        self.fd = fd
        self.key = key
        self.size = size
        # Not at exit: feeders, and children that have yet to attach, need it to the very end.
        weakref.finalize(self, os.close, fd).atexit = False
        self._map = mmap.mmap(fd, size)
        self.view = memoryview(self._map)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self._map))

    @classmethod
    def create(cls, size: int) -> Segment:
        """A new one, of zeros."""
        fd = os.memfd_create("distpool-shared")
        try:
            os.ftruncate(fd, size)
        except OSError:
            os.close(fd)
            raise
        key = os.urandom(_KEY_BYTES)
        segment = cls(fd, size, key)
        segment.view[:_KEY_BYTES] = key
        _known[key] = segment
        return segment


class Place:
    """Some bytes of a segment: zeros when made, and this process's view of them.

    Pickled, it names them to another process of this node. ``words`` are its bytes as unsigned 64-bit numbers.
    """

    __slots__ = ("__weakref__", "_forks", "_seen", "address", "offset", "segment", "size", "view", "words")

    def __init__(self, segment: Segment, offset: int, size: int, seen: bool) -> None:
        self.segment = segment
        self.offset = offset
        self.size = size
        self.view = segment.view[offset : offset + size]
        self.words = self.view.cast("Q")
        self.address = segment.address + offset
        self._seen = seen  # perhaps, by another process
        self._forks = _forks

    def holders(self) -> list[Holder]:
        """Who has the segment open, as far as is known here: this process first."""
        return [(os.getpid(), self.segment.fd), *_found_at.get(self.segment.key, ())]

    def __reduce__(self) -> tuple[object, ...]:
        self._seen = True
        segment = self.segment
        _keep_for_a_while(segment)
        here = node_identity.current_node()
        return find, (segment.key, segment.size, self.offset, self.size, self.holders(), here)

    def lent_when_pickled(self) -> Place:
        """What must stay until a pickle of this was loaded: asked by who knows when that is (``serialize/pickler``)."""
        return self

    def __del__(self) -> None:
        if not self._seen and self._forks == _forks:
            _arena.dropped.append((self.segment, self.offset, self.size))


def allocate(size: int) -> Place:
    """``size`` bytes of zeros that other processes can be told of.

    Raises:
        OSError: the limits of this process (open files, address space) leave no room.
    """
    return _arena.allocate(size)


def find(
    key: bytes, segment_size: int, offset: int, size: int, holders: Sequence[Holder], node: str
) -> Place:
    """The place that another process has named; ``holders`` are tried in their order.

    Raises:
        SharedElsewhere: that process is one of another node.
        SharedGone: none of the holders has the segment open any more.
    """
    here = node_identity.current_node()
    if node != here:
        raise SharedElsewhere(
            f"this shared memory is that of node {node!r}, and cannot be seen on node {here!r}: raw values and arrays "
            "live on one node. Use a Queue, or a value of a Manager, where several nodes are to see it"
        )
    with _finding:
        segment = _known.get(key)
        if segment is None:
            segment = _open(key, segment_size, holders)
            _known[key] = segment
            _found_at[key] = tuple(holders)
            weakref.finalize(segment, _found_at.pop, key, None)
    return Place(segment, offset, size, seen=True)


def _open(key: bytes, size: int, holders: Sequence[Holder]) -> Segment:
    for pid, number in holders:
        try:
            fd = os.open(f"/proc/{pid}/fd/{number}", os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            continue
        # The pid or the descriptor may be somebody else's by now.
        if os.fstat(fd).st_size == size and os.pread(fd, _KEY_BYTES, 0) == key:
            return Segment(fd, size, key)
        os.close(fd)
    pids = ", ".join(str(pid) for pid, _ in holders)
    raise SharedGone(
        f"the shared memory of this lock, queue or value is gone: no process that had it is left (pids {pids}). "
        "Keep the process that made it alive for as long as others are to receive it"
    )


def _keep_for_a_while(segment: Segment) -> None:
    """Whoever it was pickled for has not attached yet, and the pickled handle may have been the only one.

    ``Process(args=(Array(...),)).start()`` lets go of it as soon as the child has been sent its arguments.
    """
    now_s = time.monotonic()
    _sent.pop(segment, None)  # many small things lie in one, and must not push out the others
    _sent[segment] = now_s
    kept = list(
        _sent.items()
    )  # each of these steps is whole, so threads need no lock, which a finalizer could not take
    too_many = len(kept) - _SENT_MAX
    for number, (old, sent_s) in enumerate(kept[:-1]):
        if number < too_many or now_s - sent_s > _SENT_S:
            _sent.pop(old, None)


class _Arena:
    """Where the next place of this process comes from."""

    def __init__(self) -> None:
        self.dropped: deque[_Space] = deque()  # noted by finalizers, which may run at any instant
        self._lock = threading.Lock()
        self._segment: Segment | None = None
        self._next = 0
        self._free: dict[int, list[int]] = {}  # by size, places of this very segment

    def allocate(self, size: int) -> Place:
        size = -(-size // ALIGNMENT) * ALIGNMENT
        if size > SEGMENT_BYTES // 4:
            pages = -(-(size + _HEADER_BYTES) // mmap.PAGESIZE)
            return Place(Segment.create(pages * mmap.PAGESIZE), _HEADER_BYTES, size, seen=True)
        with self._lock:
            segment, offset = self._take(size)
        return Place(segment, offset, size, seen=False)

    def _take(self, size: int) -> tuple[Segment, int]:
        while self.dropped:
            segment, offset, dropped = self.dropped.popleft()
            if segment is self._segment:
                self._free.setdefault(dropped, []).append(offset)
        if self._segment is not None and self._free.get(size):
            offset = self._free[size].pop()
            self._segment.view[offset : offset + size] = bytes(size)
            return self._segment, offset
        if self._segment is None or self._next + size > SEGMENT_BYTES:
            self._segment = Segment.create(SEGMENT_BYTES)
            self._next = _HEADER_BYTES
            self._free.clear()
        self._next += size
        return self._segment, self._next - size


def _forked_child() -> None:
    global _arena, _finding
    _arena = _Arena()  # the segments so far are the parent's to allocate in
    _finding = threading.Lock()
    _forked()


def _forked() -> None:
    global _forks
    _forks += 1


_Space = tuple[Segment, int, int]
_forks = 0
_arena = _Arena()
_finding = threading.Lock()
_sent: dict[Segment, float] = {}  # when, the latest last
_known: weakref.WeakValueDictionary[bytes, Segment] = weakref.WeakValueDictionary()
_found_at: dict[bytes, tuple[Holder, ...]] = {}
os.register_at_fork(after_in_child=_forked_child, after_in_parent=_forked)
