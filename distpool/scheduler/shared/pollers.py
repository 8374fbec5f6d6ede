"""Descriptors that become readable when something is in a channel, for programs that wait for several things at once.

Each process that wants one makes a pipe of its own, and notes it in a table; whoever writes to the channel puts a byte
into each pipe, and whoever takes the last item out takes the bytes out again. Others open the pipe by way of /proc.

::

    words   high          entries ever used; 0 as long as nobody wants one, which is all that it costs then
            entry[..]     process, descriptor of its pipe, inode (which tells the pipe from what has that number later)

All of it happens under the mutex of the channel's writers.
"""

from __future__ import annotations

import os
from typing import Any

from distpool.scheduler.shared import identity

ENTRIES = 16
WORDS = 2 + 3 * ENTRIES
_AT_ONCE_BYTES = 1 << 16


class Pollers:
    """One process's handle on the table in ``words``."""

    def __init__(self, words: Any) -> None:
        self._words = words
        self._mine: tuple[int, int] | None = None  # the ends of our own pipe
        self._opened: dict[tuple[int, int, int], int] = {}  # by entry: a descriptor to read and write by

    def __del__(self) -> None:
        for fd in (*(self._mine or ()), *self._opened.values()):
            os.close(fd)

    def forked(self) -> None:
        """The pipe so far is the parent's."""
        self.__del__()
        self._mine = None
        self._opened = {}

    def descriptor(self, is_readable: bool) -> int:
        """This process's own, made at the first call; ``is_readable`` says whether it should be, at this moment.

        Raises:
            OSError: no more processes can have one, or no descriptors are left.
        """
        if self._mine is None:
            words = self._words
            entry = self._unused()
            reading, writing = self._mine = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
            if is_readable:
                os.write(writing, b"x")
            at = 2 + 3 * entry
            words[at + 1], words[at + 2] = writing, os.fstat(reading).st_ino
            words[at] = identity.me
            words[0] = max(words[0], entry + 1)
        return self._mine[0]

    def tell(self) -> None:
        """Something is about to come."""
        for at, fd in self._pipes():
            try:
                os.write(fd, b"x")
            except BlockingIOError:  # it has more than enough, or nobody reads any more
                if identity.is_dead(self._words[at]):
                    self._words[at] = identity.NOBODY

    def untell(self) -> None:
        """There is nothing any more."""
        for _, fd in self._pipes():
            try:
                while os.read(fd, _AT_ONCE_BYTES):
                    pass
            except BlockingIOError:
                pass

    def _pipes(self) -> list[tuple[int, int]]:
        words = self._words
        found = []
        used = set()
        for at in range(2, 2 + 3 * words[0], 3):
            if words[at] == identity.NOBODY:
                continue
            entry = (words[at], words[at + 1], words[at + 2])
            fd = self._opened.get(entry)
            if fd is None:
                try:
                    fd = _open(*entry)
                except OSError:
                    continue  # no descriptor is left; that one may well be there
                if fd is None:
                    words[at] = identity.NOBODY
                    continue
                self._opened[entry] = fd
            found.append((at, fd))
            used.add(entry)
        for gone in self._opened.keys() - used:
            os.close(self._opened.pop(gone))
        return found

    def _unused(self) -> int:
        for entry in range(ENTRIES):
            process = self._words[2 + 3 * entry]
            if process == identity.NOBODY or identity.is_dead(process):
                return entry
        raise OSError(f"no more than {ENTRIES} processes can wait for the descriptor of one queue; use get()")


def _open(process: int, descriptor: int, inode: int) -> int | None:
    """The pipe in an entry, if it is still there."""
    try:
        fd = os.open(
            f"/proc/{identity.pid_of(process)}/fd/{descriptor}", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC
        )
    except (FileNotFoundError, ProcessLookupError):
        return None
    if os.fstat(fd).st_ino == inode:
        return fd
    os.close(fd)
    return None
