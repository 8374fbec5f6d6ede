"""References in a pickle: named beside it, so that whoever gets it can see them without loading it.

::

    pickler meets a reference ─► carry: its place in a list ─► "the i-th of those that came along"
                                           │
    05 | names' length, 4 bytes | names | inner blob                                          (little endian)
           │                                 │
    arrive ▼ (once, where it arrives)        ▼ load, as often as somebody asks
    [reference, ...] ──────────────────► the pickle finds them there

So a value that holds ten thousand references is loaded again at the cost of ten thousand look-ups in a list. What a
reference is, and what its name says, is not known here: it is made by ``scheduler.remote.refs``, which is imported
when the first one arrives.
"""

from __future__ import annotations

import importlib
from _thread import _local
from collections.abc import Callable, Sequence
from operator import getitem
from typing import Any, Protocol

Blob = bytes | bytearray | memoryview

REFS_MARK = 0x05
_PREFIX_BYTES = 5


class Carried(Protocol):
    """A reference, as far as pickling must know it."""

    @property
    def blob(self) -> bytes:
        """The value's blob if it is there and refers to a store, which the reference holds; else nothing."""

    @staticmethod
    def describe(refs: Sequence[Any], pending: list[Any]) -> bytes:
        """The names of all these; those that are named without a value, which is to follow, go into ``pending``."""

    @staticmethod
    def stay(refs: Sequence[Any]) -> None:
        """Keep these for a while."""


class Pending:
    """Stands among what must be kept for a blob: references that it names without their values."""

    __slots__ = ("refs",)

    def __init__(self, refs: list[Any]) -> None:
        self.refs = refs


class _Table:
    """Stands in a pickle for the list of the references that came along with it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return current, ()


TABLE = _Table()


class _Current(_local):
    def __init__(self) -> None:
        self.refs: Sequence[Any] = ()


_CURRENT = _Current()


def current() -> Sequence[Any]:
    """The references of the blob that this thread is loading."""
    return _CURRENT.refs


def placed(place: int) -> tuple[Any, ...]:
    """What is pickled for the reference at this place of the list."""
    return getitem, (TABLE, place)


def describe(refs: Sequence[Carried], keep: list[Any] | None = None) -> bytes:
    """The names of all these; nothing if there are none. ``keep`` gets a ``Pending``, if any of them is.

    Without it nobody keeps them until the blob is loaded, as with those in an exception: they stay for a while.
    """
    if not refs:
        return b""
    pending: list[Any] = []
    names = refs[0].describe(refs, pending)
    if keep is None:
        refs[0].stay(refs)
    elif pending:
        keep.append(Pending(pending))
    return names


def frame(names: bytes, blob: bytes) -> bytes:
    """A blob together with the names of the references in it, if there are any."""
    if not names:
        return blob
    return b"".join((b"\x05", len(names).to_bytes(4, "little"), names, blob))


def inner_start(blob: Blob) -> int:
    """Where the inner blob begins in one that begins with ``REFS_MARK``."""
    return _PREFIX_BYTES + int.from_bytes(blob[1:_PREFIX_BYTES], "little")


def renamed(blob: bytes, names: bytes, blobs: Sequence[bytes]) -> bytes:
    """A blob that begins with ``REFS_MARK``, with other names for the same references; ``blobs`` are their values'."""
    stored = importlib.import_module("distpool.scheduler.serialize.stored")
    inner = blob[inner_start(blob) :]
    return frame(names, stored.with_carried(inner, blobs))


def arrive(blob: Blob, *, expected: bool = False) -> list[Any]:
    """The references that are named before a blob that begins with ``REFS_MARK``; see ``refs.arrive``."""
    refs = importlib.import_module("distpool.scheduler.remote.refs")
    arrived: list[Any] = refs.arrive(bytes(blob[_PREFIX_BYTES : inner_start(blob)]), expected)
    return arrived


def load(blob: Blob, refs: Sequence[Any] | None, loads: Callable[[memoryview], Any]) -> Any:
    """Load the inner blob; ``refs`` are those that have arrived with it, None: they have yet to."""
    if refs is None:
        refs = arrive(blob)
    before, _CURRENT.refs = _CURRENT.refs, refs
    try:
        with memoryview(blob)[inner_start(blob) :] as inner:
            return loads(inner)
    finally:
        _CURRENT.refs = before
