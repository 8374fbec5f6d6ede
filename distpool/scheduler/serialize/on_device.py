"""What stands in a pickle for the bytes of an array that lies in a device's memory, and what a store does with it.

::

    reducer ──► PickleBuffer(OnDevice(source)) ──► pack ──► Store.put ─┬─► source.export() ──► Exported: stays there
                                                                       └─► source.pieces() ──► bytes on the host
    load ◄── a memoryview (bytes on the host), or an ``Arrived`` ◄── Store.map

It is as long as the array, so that sizes are right wherever they are looked at; but nobody reads it. Which library the
array is of is not known here: ``device_arrays.py`` is CuPy's.
"""

from __future__ import annotations

import mmap
from collections.abc import Hashable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol, final

#: What says where an exported array is has this many bytes at most: it fits into one block of any store.
TICKET_BYTES_MAX = 1024

_MAP_NORESERVE = 0x4000


class Exported(Protocol):
    """A copy of an array in a device's memory, which other processes may read; it goes with this Python object."""

    @property
    def ticket(self) -> bytes:
        """What another process must know to read it."""

    @property
    def size(self) -> int:
        """In bytes."""

    @property
    def room_bytes(self) -> int:
        """How many bytes of its device such copies may take in all."""

    def pieces(self) -> Iterator[memoryview]:
        """Its bytes on the host, one piece after the other; each is valid until the next is asked for."""

    def refuse(self) -> None:
        """Processes of this machine may not read it: export nothing from now on."""


class Source(Protocol):
    """An array in a device's memory."""

    @property
    def place(self) -> Hashable:
        """What tells it from every other that exists at the time, as long as nobody writes to it."""

    def export(self) -> Exported | None:
        """A copy that others may read, complete when this returns; None: that is not possible here, or not now."""

    def pieces(self) -> Iterator[memoryview]:
        """As of ``Exported``, without a copy on the device."""


class Arrived(Protocol):
    """What the store gives for an object that is on a device. Raises StoreError where that is gone."""

    @property
    def own(self) -> Exported | None:
        """If it is this process that has exported it."""

    def reading(self) -> AbstractContextManager[bytes]:
        """The ticket; meanwhile the exporter keeps the array where it is. Empty: it is on the host by now."""

    def is_there(self) -> bool:
        """Whether its exporter keeps it still. What was copied before this was asked counts only if it does."""

    def host(self, *, refused: bool = False) -> memoryview:
        """Have the exporter copy it to the host, and wait. ``refused``: reading the device is not permitted."""

    def close(self) -> None:
        """It has been read."""


@final
class OnDevice(mmap.mmap):
    """Address space without memory, as long as the array of ``source``."""

    source: Source

    def __new__(cls, source: Source, size: int) -> OnDevice:
        """Args: the array; its size in bytes."""
        made = super().__new__(cls, -1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE)
        made.source = source
        return made
