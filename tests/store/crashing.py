"""A ledger whose user dies after so many writes to the shared memory.

Every write goes through a ``Fuse``: words of 8 bytes, and slices of bytes (the kernel may kill in the middle of such a
slice too; but only what ``repair`` makes anew is written in slices, and the label of what does not exist yet).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from distpool.scheduler.store.ledger import Ledger


class Killed(BaseException):
    """SIGKILL, as far as Python can have it: whoever catches it can do nothing more to what is shared."""


class Fuse:
    """Burns down by one with each write; the write after the last is not done."""

    def __init__(self, writes: int) -> None:
        self.left = writes
        self.burnt = False

    def burn(self) -> None:
        if not self.left:
            self.burnt = True
            raise Killed
        self.left -= 1


class _Fused:
    """A memoryview, each write to which burns the fuse."""

    __slots__ = ("_fuse", "_view")

    def __init__(self, view: memoryview, fuse: Fuse) -> None:
        self._view = view
        self._fuse = fuse

    def __getitem__(self, key: Any) -> Any:
        return self._view[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        self._fuse.burn()
        self._view[key] = value

    def __len__(self) -> int:
        return len(self._view)


@contextmanager
def fused(ledger: Ledger, fuse: Fuse) -> Iterator[Fuse]:
    """Within it every write to the ledger burns the fuse."""
    whole: Any = ledger
    places = [(whole, name) for name in ("words", "_bytes", "_entry_map", "_hold_map")]
    places += [(blocks, name) for blocks in whole.blocks for name in ("_states", "_counters")]
    plain = [getattr(owner, name) for owner, name in places]
    for (owner, name), view in zip(places, plain, strict=True):
        setattr(owner, name, _Fused(view, fuse))
    try:
        yield fuse
    finally:
        for (owner, name), view in zip(places, plain, strict=True):
            setattr(owner, name, view)
