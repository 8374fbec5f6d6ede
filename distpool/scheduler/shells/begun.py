"""What an actor's worker had begun when it died, of each of its callers: for calls that may run once at most.

::

    worker   before each call:  begun[caller] = attempt ──► worker-N.begun, mapped ──► agent, after its death

Attempts of one caller are begun in their order, or at least none is begun that is above its caller's number here. So
what is above it has not begun, for certain; the rest may have run. A write to the mapping survives the process; nothing
is written to the disk for it. Pools' tasks need none of this: see ``mailbox``.
"""

from __future__ import annotations

import mmap
import os
import struct

_WORD_BYTES = 8
_GROW = 64


class Begun:
    """The worker's end: ``words[caller]`` is that caller's latest attempt."""

    def __init__(self, path: str) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self._fd = os.open(path, flags, 0o600)
        self._map: mmap.mmap | None = None
        self.words = self._grow(_GROW)

    def make_room(self, caller: int) -> None:
        """There is to be a word for this caller. ``words`` is another one afterwards."""
        if caller >= len(self.words):
            self.words = self._grow(caller + _GROW)

    def _grow(self, count: int) -> memoryview:
        os.ftruncate(self._fd, count * _WORD_BYTES)
        self._map = mmap.mmap(self._fd, count * _WORD_BYTES, mmap.MAP_SHARED)
        return memoryview(self._map).cast("Q")


def take_begun(path: str) -> tuple[int, ...]:
    """Read and remove what a dead worker left; nothing if it was no actor's."""
    begun = read_begun(path)
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    return begun


def read_begun(path: str) -> tuple[int, ...]:
    """What a worker has begun by now; nothing if it is no actor's."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        return ()
    words = struct.unpack(f"={len(data) // _WORD_BYTES}Q", data[: len(data) // _WORD_BYTES * _WORD_BYTES])
    end = len(words)
    while end and not words[end - 1]:
        end -= 1
    return words[:end]
