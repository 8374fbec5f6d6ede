"""Forked children, which inherit their parent's mappings: each counts as a reader until it ends.

::

    before: pin what is mapped, make a pipe ──► fork ──► parent: keeps the reading end; ``look`` ──► end of file: unpin
                                                   └──► child:  has the writing end open until it exits or executes

In the child nothing of the store is its own: it is closed there, and its views go on working. They need the pins also
when the parent dies first, who will not look any more. So the first fork leaves a *mark*: a lock on a byte of the
store's file, which the kernel keeps until the parent and all who were forked from it since have gone; the agent sees it
(``is_marked``), and does not let go of what the parent held before then.
"""

from __future__ import annotations

import fcntl
import os
import struct
import weakref
from typing import Protocol

_Pinned = tuple[int, ...]


class Forkable(Protocol):
    """A store, as the hooks below see it."""

    def before_fork(self) -> int | None:
        """What a child inherits counts as read. Returns the pipe's end for the child."""

    def after_fork_in_parent(self, writer: int | None) -> None:
        """The child has that end."""

    def after_fork_in_child(self, writer: int | None) -> None:
        """It is somebody else's store."""


#: A lock on one byte, as the kernel has it: type, whence, start, length, pid.
_LOCK = struct.Struct("@hhqqi4x")


def is_marked(fd: int, process: int) -> bool:
    """Whether this process of the node, or one that was forked from it when it had something mapped, is there."""
    if not hasattr(fcntl, "F_OFD_GETLK"):
        return False
    asked = _LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, process, 1, 0)
    return bool(_LOCK.unpack(fcntl.fcntl(fd, fcntl.F_OFD_GETLK, asked))[0] != fcntl.F_UNLCK)


def _mark(fd: int, process: int) -> int:
    """Leave the mark; it is there for as long as somebody has the returned descriptor. -1: it cannot be had here."""
    if not hasattr(fcntl, "F_OFD_SETLK"):
        return -1
    mark = -1
    try:
        mark = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
        fcntl.fcntl(mark, fcntl.F_OFD_SETLK, _LOCK.pack(fcntl.F_RDLCK, os.SEEK_SET, process, 1, 0))
    except OSError:
        if mark >= 0:
            os.close(mark)
        return -1
    return mark


class Forks:
    """The children of process number ``process`` that may see what it had mapped of file ``fd`` when it forked."""

    def __init__(self, fd: int, process: int) -> None:
        self._fd, self._process = fd, process
        self._mark = -1
        self._children: list[tuple[int, _Pinned]] = []  # a pipe that the child has open -> what it may see

    def __bool__(self) -> bool:
        return bool(self._children)

    def add(self, pinned: _Pinned) -> int:
        """A child is about to be born. Returns the pipe's end that it is to have."""
        if self._mark < 0:
            self._mark = _mark(self._fd, self._process)
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        self._children.append((reader, pinned))
        return writer

    def look(self) -> list[_Pinned]:
        """What children saw that have ended, or have become another program."""
        ended = []
        for child in list(self._children):
            reader, pinned = child
            try:
                if os.read(reader, 1):
                    continue
            except BlockingIOError:
                continue
            os.close(reader)
            self._children.remove(child)
            ended.append(pinned)
        return ended

    def forget(self) -> None:
        """In a child: its siblings are not its children."""
        for reader, _ in self._children:
            os.close(reader)
        self._children.clear()
        self._mark = -1  # the descriptor stays open: it is what keeps the mark


_open_stores: weakref.WeakSet[Forkable] = weakref.WeakSet()
_forking: list[tuple[Forkable, int | None]] = []


def watch(store: Forkable) -> None:
    """From now on ``store`` is told of forks."""
    _open_stores.add(store)


def leave(store: Forkable) -> None:
    """No longer."""
    _open_stores.discard(store)


def _before_fork() -> None:
    _forking[:] = [(store, store.before_fork()) for store in list(_open_stores)]


def _after_fork_in_parent() -> None:
    for store, writer in _forking:
        store.after_fork_in_parent(writer)
    _forking.clear()


def _after_fork_in_child() -> None:
    for store, writer in _forking:
        store.after_fork_in_child(writer)
    _forking.clear()
    _open_stores.clear()


os.register_at_fork(
    before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child
)
