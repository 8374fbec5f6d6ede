"""Forked children, which inherit their parent's mappings: each counts as a reader until it ends.

::

    before: pin what is mapped, make a pipe ──► fork ──► parent: keeps the reading end; ``look`` ──► end of file: unpin
                                                   └──► child:  has the writing end open until it exits or executes

In the child nothing of the store is its own: it is closed there, and its views go on working.
"""

from __future__ import annotations

import os
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


class Forks:
    """The children of one process that may see what it had mapped when it forked."""

    def __init__(self) -> None:
        self._children: list[tuple[int, _Pinned]] = []  # a pipe that the child has open -> what it may see

    def __bool__(self) -> bool:
        return bool(self._children)

    def add(self, pinned: _Pinned) -> int:
        """A child is about to be born. Returns the pipe's end that it is to have."""
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
