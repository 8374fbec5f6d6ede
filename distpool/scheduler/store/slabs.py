"""Payloads of some kilobytes, side by side in one object: written and read without any change of the ledger.

::

    slab (an object that its maker holds and has pinned)
    ┌──────────┬──────────────┬───────┬─────────────────┐      put:   move ``end``, copy
    │ payload  │   payload    │ ...   │  free           │      read:  copy out, then see that the slab is still there
    └──────────┴──────────────┴───────┴─────────────────┘
                                      ▲ end

A payload stays for as long as its ``Held``, which is the slab's own: when nothing in a slab is needed any more, it is
filled anew from its beginning. Readers take no hold, because whoever sends a payload keeps it until its receiver has
answered or is dead. If the sender dies, its slabs go; a reader that was in the middle of one sees that afterwards,
since an object ends in the ledger before its place is anybody else's.

Each thread fills slabs of its own, so there is no lock; a signal handler that comes between two bytecodes and puts
something itself finds ``end`` moved already.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from pickle import PickleBuffer
from typing import Any, NamedTuple

from distpool.scheduler.serialize.stored import Spot

#: Payloads are of at most an eighth of this.
SLAB_BYTES = 2 << 20

_ALIGNMENT = 64


class Slab(NamedTuple):
    """A place to fill: ``view`` is all of it, ``held`` keeps it."""

    number: int
    offset: int
    view: memoryview
    held: Any


class Slabs(threading.local):
    """The slab that this thread is filling. ``make`` gives a new one, or None if there is no room."""

    def __init__(self, make: Callable[[], Slab | None]) -> None:
        self._make = make
        self._slab: Slab | None = None
        self._end = 0

    def put(self, pieces: Sequence[Any], size: int) -> tuple[Spot, Any] | None:
        """Copy a payload, and say where it is and what keeps it; None if there is no room."""
        slab = self._slab
        if slab is not None and _references(slab.held) <= _WHEN_UNUSED:
            self._end = 0
        start, end = self._end, -(-(self._end + size) // _ALIGNMENT) * _ALIGNMENT
        if slab is None or end > SLAB_BYTES:
            slab = self._make()
            if slab is None:
                return None
            start, end = 0, -(-size // _ALIGNMENT) * _ALIGNMENT
            self._slab = slab
        self._end = end
        at, view = start, slab.view
        for piece in pieces:
            flat = piece if type(piece) is bytes else PickleBuffer(piece).raw()
            length = len(flat)
            view[at : at + length] = flat
            at += length
        return Spot(slab.number, slab.offset + start, size), slab.held

    def forget(self) -> None:
        """Let go of the slab."""
        self._slab = None


def _references(held: Any) -> int:
    return sys.getrefcount(held)


def _when_unused() -> int:
    """What ``_references`` says if nobody but a Slab and its owner knows its ``held``; differs between Pythons."""
    slab = Slab(0, 0, memoryview(b""), object())
    return _references(slab.held)


_WHEN_UNUSED = _when_unused()
