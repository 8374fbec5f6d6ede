"""An object that is on a device, as one process of the node sees it; and how its bytes come to the host.

::

    map ──► Arrival ── reading: pinned ──► the ticket: the array is read where it is
                └───── host ── want ··· its exporter copies it (``tickets.py``) ··· it has moved ──► map, as any other

Here is the only place where a process waits for another to use the store: for one that lives, and not for ever.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from distpool.errors import StoreError, StoreFull
from distpool.scheduler.serialize.on_device import TICKET_BYTES_MAX, Exported
from distpool.scheduler.store import patience
from distpool.scheduler.store.access import REFERENCE, Access, not_held
from distpool.scheduler.store.ledger import DEVICE, MEMORY, Extent, LedgerFull, ObjectGone
from distpool.scheduler.store.ledger_table import NO_ROOM

#: An exporter that has not brought an array to the host after so long is given up.
BRING_S = 60.0
_SLEEP_S, _SLEEP_S_MAX = 5e-4, 2e-2

_HEAD_BYTES = 8


def framed(ticket: bytes) -> bytes:
    """What is written to an object's block: the ticket, behind its length and the exporter's pid."""
    assert len(ticket) <= TICKET_BYTES_MAX
    return len(ticket).to_bytes(4, "little") + os.getpid().to_bytes(4, "little") + ticket


def _read(access: Access, extent: Extent) -> tuple[bytes, int]:
    """The ticket in the block at ``extent``, and who has exported it."""
    size = min(access.ledger.block_bytes[MEMORY], _HEAD_BYTES + TICKET_BYTES_MAX)
    with access.tiers[MEMORY].read(extent.offset, size) as view:
        block = bytes(view)
    length = int.from_bytes(block[:4], "little")
    return block[_HEAD_BYTES : _HEAD_BYTES + length], int.from_bytes(block[4:_HEAD_BYTES], "little")


class Arrival:
    """What ``map`` gives for it. It refers to the object, without a pin, until ``close``.

    Args:
        access: the store's.
        number: the object's; this process refers to it once for this.
        own: what this process has exported as it.
        map_host: maps an object that is on the host.
        settle: called when it was read: whoever refers to it will let go of it soon.
    """

    def __init__(
        self,
        access: Access,
        number: int,
        own: Exported | None,
        map_host: Callable[[int], memoryview],
        settle: Callable[[], None],
    ) -> None:
        self._access, self.number, self.own, self._map_host = access, number, own, map_host
        self._settle = settle
        self._refers = True

    @contextmanager
    def reading(self) -> Iterator[bytes]:
        """See ``on_device.Arrived``."""
        access = self._access
        with access.undisturbed, access.lock:
            try:
                extent = access.ledger.pin(self.number, access.process)
            except (ObjectGone, LedgerFull) as error:
                raise not_held(error) from None
        try:
            yield _read(access, extent)[0] if extent.tier == DEVICE else b""
        finally:
            with access.undisturbed, access.lock:
                try:
                    access.ledger.unpin(self.number, access.process)
                except ObjectGone:
                    pass  # its exporter has died

    def is_there(self) -> bool:
        """See ``on_device.Arrived``."""
        return self._access.ledger.exists(self.number)

    def host(self, *, refused: bool = False) -> memoryview:
        """See ``on_device.Arrived``. Raises StoreFull, StoreError, FetchLate."""
        bring(self._access, self.number, refused=refused)
        return self._map_host(self.number)

    def close(self) -> None:
        """Now, not when somebody next has to do with the store: the device's memory waits for it."""
        if self._refers and not self._access.closed:
            self._refers = False
            with self._access.undisturbed, self._access.lock:
                try:
                    self._access.ledger.drop(self.number, self._access.process)
                except ObjectGone:
                    pass
            self._settle()

    def __del__(self) -> None:
        if self._refers:
            self._access.let_go((REFERENCE, (self.number,)))


def bring(access: Access, number: int, *, refused: bool = False) -> None:
    """Have an object on the host, and wait for that.

    Raises:
        StoreFull: there is no room for it.
        StoreError: it is gone, or its exporter does not answer.
        FetchLate: this thread waits no longer (``patience``).
    """
    ledger = access.ledger
    since_s = time.monotonic()
    sleep_s = _SLEEP_S
    try:
        with access.undisturbed, access.lock:
            if ledger.want(number, refused=refused):
                return
            pid = _read(access, ledger.locate(number))[1]
        while ledger.is_on_device(number):
            if ledger.wish(number) & NO_ROOM:
                raise StoreFull(
                    "an array of a GPU could not be copied to the host: the object store has no room"
                )
            waited_s = time.monotonic() - since_s
            if waited_s > BRING_S or not os.path.exists(f"/proc/{pid}"):
                raise StoreError(f"process {pid}, which has an array on its GPU, does not hand it on")
            if (left_ms := patience.left_ms(since_s)) == 0:
                raise patience.FetchLate("an array of a GPU has not come to the host in time")
            time.sleep(sleep_s if left_ms is None else min(sleep_s, left_ms / 1000))
            sleep_s = min(sleep_s * 1.5, _SLEEP_S_MAX)
    except ObjectGone as error:
        raise not_held(error) from None
