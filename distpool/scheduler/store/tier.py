"""One tier's file: memory (a memfd) or disk (a file without a name). Where in it things lie, the ledger knows.

What has no pages yet is written by ``pwrite``, which makes them without zeroing them first, and says so if there is no
room for them (through a mapping that would be a SIGBUS). What has pages is written through one standing shared
mapping, at the speed of memory once this process's page table knows them.

Readers never use that: each gets a private mapping of just one object (``map_private``), so that it may write to what
it got, and nobody sees it; ``views.py`` says when one may serve again. (A page that a reader has written in a standing
mapping would stay its own, and show old bytes when the next object comes to lie there.)
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence
from typing import Any

from distpool.scheduler.store.copying import copy
from distpool.scheduler.store.mapping import map_file, window_on

_WRITE_BYTES_MAX = 64 << 20
#: From here on, telling the kernel to fill in the page table is cheaper than a fault for each page.
_POPULATE_BYTES_MIN = 128 << 10
_GRANULE_BYTES = 1 << 16
_MADV_POPULATE_WRITE = 23  # Linux 5.14


class Tier:
    """``fd`` of a file of ``size`` bytes. ``is_memory``: it may be written through a mapping."""

    def __init__(self, fd: int, size: int, *, is_memory: bool) -> None:
        self.fd = fd
        self.size = size
        self.is_memory = is_memory
        self._standing: mmap.mmap | None = None
        self._known = (
            bytearray()
        )  # of each granule of the standing mapping: whether this process has written there

    def reserve(self, offset: int, size: int) -> None:
        """Have the space there before it is written. Raises OSError (ENOSPC)."""
        os.posix_fallocate(self.fd, offset, size)

    def write(self, offset: int, parts: Sequence[Any], *, room: int = 0) -> None:
        """Copy contiguous buffers to ``offset``, one after the other.

        ``room``, if it is given: so many bytes are to have pages afterwards, where there may be none yet.

        Raises OSError (ENOSPC).
        """
        end = offset + room
        if self.is_memory and not room:
            window = memoryview(self._mapping())
            self._get_to_know(offset, sum([memoryview(part).nbytes for part in parts]))
            for part in parts:
                size = memoryview(part).nbytes
                copy(window[offset : offset + size], part)
                offset += size
            return
        for part in parts:
            rest = memoryview(part).cast("B")
            if room and self.is_memory:
                self.forget(offset, len(rest))
            while rest:
                written = os.pwrite(self.fd, rest[:_WRITE_BYTES_MAX], offset)
                rest, offset = rest[written:], offset + written
        if offset < end:
            self.reserve(offset, end - offset)

    def writable(self, offset: int, size: int) -> memoryview:
        """A part of the standing mapping, for its one writer (memory only)."""
        self._get_to_know(offset, size)
        return memoryview(self._mapping())[offset : offset + size]

    def read(self, offset: int, size: int) -> memoryview:
        """A read-only view for copying from at once (memory only); not for users: see the top of this file."""
        return memoryview(self._mapping())[offset : offset + size].toreadonly()

    def map_private(self, offset: int, size: int) -> mmap.mmap:
        """A new mapping of just this extent: writable, and its owner's alone."""
        return map_file(self.fd, size, offset, shared=False)

    def window(self, mapping: mmap.mmap) -> Any:
        """What views of such a mapping are made of: it dies with the last of them."""
        return window_on(mapping)

    def give_back(self, offset: int, size: int) -> None:
        """Remove the pages behind a part that nobody uses."""
        self._mapping().madvise(mmap.MADV_REMOVE, offset, size)

    def close(self) -> None:
        """Let go of the file; private mappings live on."""
        if self._standing is not None:
            try:
                self._standing.close()
            except BufferError:  # a copy is under way on another thread
                pass
        os.close(self.fd)

    def forget(self, offset: int, size: int) -> None:
        """Others may have removed these pages and made new ones since this process has written there."""
        if self._known:
            first, end = offset // _GRANULE_BYTES, -(-(offset + size) // _GRANULE_BYTES)
            self._known[first:end] = bytes(end - first)

    def _get_to_know(self, offset: int, size: int) -> None:
        """Fill in the page table where this process has not written yet: a fault for each page takes thrice as long."""
        first, end = offset // _GRANULE_BYTES, -(-(offset + size) // _GRANULE_BYTES)
        if size < _POPULATE_BYTES_MIN or self._known.find(0, first, end) < 0:
            return
        self._known[first:end] = b"\1" * (end - first)
        start = first * _GRANULE_BYTES
        try:
            length = min(end * _GRANULE_BYTES, self.size) - start
            self._mapping().madvise(_MADV_POPULATE_WRITE, start, length)
        except OSError:
            pass  # an old kernel: so there will be faults

    def _mapping(self) -> mmap.mmap:
        if self._standing is None:
            self._standing = map_file(self.fd, self.size, shared=True)
            self._known = bytearray(-(-self.size // _GRANULE_BYTES))
        return self._standing
