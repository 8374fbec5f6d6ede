"""How a process puts objects into its node's store, and makes room for them.

::

    put ──► allocate ──► copy ──► seal ──► Held
                │ no room                └ it fails: discard
                └──► spill the coldest, or go to the disk

    what is on a device: export ──► a block with its ticket ──► ``tickets.py`` ── bring ──► allocate ──► copy ──► moved
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any

from distpool.errors import DiskFull, StoreError, StoreFull
from distpool.scheduler.serialize.on_device import Exported, OnDevice
from distpool.scheduler.serialize.stored import Object
from distpool.scheduler.store.access import Access, Held, not_held
from distpool.scheduler.store.arrivals import framed
from distpool.scheduler.store.files import show_size
from distpool.scheduler.store.ledger import DEVICE, DISK, MEMORY, Allocated, Extent, Ledger, LedgerFull
from distpool.scheduler.store.slabs import SLAB_BYTES, Slab
from distpool.scheduler.store.tickets import Tickets

#: How often room is made for one object by spilling before it goes to the disk itself.
SPILLS_FOR_ONE_MAX = 10_000


class Putting:
    """The writing side of one process."""

    def __init__(self, access: Access, drain: Callable[[], None]) -> None:
        self._access = access
        self.tickets = Tickets(access, self._bring, drain)

    def put(self, objects: Sequence[Object], holder: int, label: str) -> Held:
        """See ``ObjectStore.put``."""
        access = self._access
        made: list[int] = []
        tag = (label or _site()).encode()
        try:
            with access.undisturbed:
                for parts in objects:
                    self._put(parts, holder, tag, made)
                held = Held(tuple(made), None if holder else access.let_go)
                made = made if holder else []
        except BaseException as error:
            access.discard(made)
            if isinstance(error, StoreError) or getattr(error, "errno", 0) not in (
                errno.ENOSPC,
                errno.EDQUOT,
            ):
                raise
            raise self._disk_full(error.errno) from error  # type: ignore[attr-defined]
        return held

    def _put(self, parts: Object, holder: int, label: bytes, made: list[int]) -> None:
        access = self._access
        if type(parts) is OnDevice:
            self._put_from_device(parts, holder, label, made)
            return
        size = sum([memoryview(part).nbytes for part in parts])
        new = self._allocate(size, holder, label)
        made.append(new.id)
        try:
            room = _whole_blocks(new.extent, access.ledger) if new.has_holes else 0
            access.tiers[new.extent.tier].write(new.extent.offset, parts, room=room)
        except OSError as error:
            if new.extent.tier == DISK or error.errno not in (errno.ENOSPC, errno.ENOMEM):
                raise
            # The memory's file has no room though the ledger has: one with a name, in a small /dev/shm.
            access.discard([made.pop()])
            new = self._allocate_on_disk(size, holder, label)
            made.append(new.id)
            access.tiers[DISK].write(new.extent.offset, parts)
        self._seal(new.id, holder)

    def _seal(self, number: int, holder: int) -> None:
        ledger = self._access.ledger
        if holder:
            with self._access.lock:
                ledger.seal(number)
        else:
            ledger.seal(number)

    # ------------------------------------------------------------------------------ from a device

    def _put_from_device(self, array: OnDevice, holder: int, label: bytes, made: list[int]) -> None:
        """Leave it there, if others can read it there; else copy it here."""
        exported = array.source.export()
        if exported is not None:
            self.tickets.make_room(exported)
            if self._export(exported, holder, label, made):
                return
        new = self._allocate(len(array), holder, label)
        made.append(new.id)
        try:
            self._fill(new, array.source.pieces())
        except OSError as error:
            if new.extent.tier == DISK or error.errno not in (errno.ENOSPC, errno.ENOMEM):
                raise
            self._access.discard([made.pop()])
            new = self._allocate_on_disk(len(array), holder, label)
            made.append(new.id)
            self._fill(new, array.source.pieces())
        self._seal(new.id, holder)

    def _fill(self, new: Allocated, pieces: Iterator[memoryview]) -> None:
        incoming = Incoming(self._access, new)
        self._access.tiers[new.extent.tier].forget(new.extent.offset, new.extent.bytes)
        for piece in pieces:
            incoming.write(piece)

    def _export(self, exported: Exported, holder: int, label: bytes, made: list[int]) -> bool:
        """Make an object of it, unless there is no room for even that."""
        access = self._access
        with access.lock:
            access.drain_locked()
            try:
                new = access.ledger.allocate(
                    access.process, exported.size, DEVICE, holder=holder, label=label
                )
            except LedgerFull as error:
                raise not_held(error) from None
        if new is None:
            return False
        made.append(new.id)
        block = framed(exported.ticket)
        room = access.ledger.block_bytes[MEMORY] if new.has_holes else 0
        access.tiers[MEMORY].write(new.extent.offset, [block], room=room)
        self.tickets.add(new.id, exported)
        with access.lock:
            access.ledger.seal_on_device(new.id)
        return True

    def _bring(self, number: int, exported: Exported) -> bool:
        """Copy what this process has exported to memory, or to the disk; whether the object has moved there.

        Raises what ``put`` raises, and ObjectGone.
        """
        for tier in (MEMORY, DISK):
            target = self._room_to_bring(number, tier)
            if target is None:
                continue
            try:
                if tier == DISK:
                    room = _whole_blocks(target.extent, self._access.ledger)
                    self._access.tiers[DISK].reserve(target.extent.offset, room)
                self._fill(target, exported.pieces())
            except BaseException as error:
                with self._access.lock:
                    self._access.ledger.abandon_spilling(number, self._access.process)
                is_full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.ENOMEM)
                if tier == MEMORY and is_full:
                    continue
                raise
            with self._access.lock:
                return self._access.ledger.finish_spilling(number, self._access.process)
        raise self._store_full(exported.size)

    def _room_to_bring(self, number: int, tier: int) -> Allocated | None:
        access, ledger = self._access, self._access.ledger
        for _ in range(SPILLS_FOR_ONE_MAX):
            with access.lock:
                access.drain_locked()
                try:
                    new = ledger.start_spilling(number, access.process, tier)
                    is_short = new is None and tier == MEMORY
                    victim = self._next_victim(ledger.locate(number).bytes) if is_short else None
                except LedgerFull as error:
                    raise not_held(error) from None
            if new is not None:
                return new
            if victim is None:
                return None
            self._spill(victim)
        return None

    def receive(self, size: int, label: str, *, spill: bool = True) -> Incoming | None:
        """See ``ObjectStore.receive``."""
        access = self._access
        try:
            new = (
                self._allocate(size, 0, label.encode()) if spill else self._allocate_now(size, label.encode())
            )
            if new is None:
                return None
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise self._disk_full(error.errno) from error
        access.tiers[new.extent.tier].forget(new.extent.offset, size)
        return Incoming(access, new)

    def make_slab(self) -> Slab | None:
        """A new slab to be filled; None if there is no room in memory."""
        access = self._access
        access.refuse_if_closed()
        tier = access.tiers[MEMORY]
        with access.undisturbed:
            with access.lock:
                access.drain_locked()
                try:
                    new = access.ledger.allocate(access.process, SLAB_BYTES, MEMORY, label=b"small arguments")
                    if new is None:
                        return None
                    access.ledger.pin(new.id, access.process)  # it stays where it is
                except LedgerFull:
                    return None
            try:
                if new.has_holes:
                    tier.reserve(new.extent.offset, SLAB_BYTES)
                access.ledger.seal(new.id)
                view = tier.writable(new.extent.offset, SLAB_BYTES)
            except OSError:
                access.discard([new.id])
                return None
            return Slab(new.id, new.extent.offset, view, Held((new.id,), access.let_go, pinned=True))

    # ------------------------------------------------------------------------------ making room

    def _allocate(self, size: int, holder: int, label: bytes) -> Allocated:
        """Room for an object, reserved; makes it by spilling if it must."""
        access = self._access
        for _ in range(SPILLS_FOR_ONE_MAX):
            with access.lock:
                access.drain_locked()
                try:
                    new = access.ledger.allocate(access.process, size, MEMORY, holder=holder, label=label)
                    victim = None if new is not None else self._next_victim(size)
                except LedgerFull as error:
                    raise not_held(error) from None
            if new is not None:
                return new
            if victim is None:
                break
            self._spill(victim)
        return self._allocate_on_disk(size, holder, label)

    def _allocate_now(self, size: int, label: bytes) -> Allocated | None:
        access = self._access
        with access.lock:
            access.drain_locked()
            try:
                return access.ledger.allocate(access.process, size, MEMORY, label=label)
            except LedgerFull as error:
                raise not_held(error) from None

    def _allocate_on_disk(self, size: int, holder: int, label: bytes) -> Allocated:
        access = self._access
        with access.lock:
            try:
                new = access.ledger.allocate(access.process, size, DISK, holder=holder, label=label)
            except LedgerFull as error:
                raise not_held(error) from None
        if new is None:
            raise self._store_full(size)
        try:
            access.tiers[DISK].reserve(new.extent.offset, _whole_blocks(new.extent, access.ledger))
        except BaseException:
            access.discard([new.id])
            raise
        return new

    def _next_victim(self, size: int) -> Allocated | None:
        """What to move to the disk so that there is room; None if that does not help."""
        access = self._access
        if size > access.tiers[MEMORY].size:
            return None
        victim = access.ledger.coldest()
        return access.ledger.start_spilling(victim, access.process) if victim else None

    def _spill(self, victim: Allocated) -> None:
        """Copy one object to the disk, without the lock, and let the ledger point there."""
        access = self._access
        try:
            with access.lock:
                source = access.ledger.locate(victim.id)
            access.tiers[DISK].reserve(victim.extent.offset, _whole_blocks(victim.extent, access.ledger))
            data = access.tiers[MEMORY].read(source.offset, source.bytes)
            try:
                access.tiers[DISK].write(victim.extent.offset, [data])
            finally:
                data.release()
        except BaseException:
            with access.lock:
                access.ledger.abandon_spilling(victim.id, access.process)
            raise
        with access.lock:
            access.ledger.finish_spilling(victim.id, access.process)

    # ----------------------------------------------------------------------------------- errors

    def _store_full(self, size: int) -> StoreFull:
        access = self._access
        sizes = [show_size(tier.size) for tier in access.tiers]
        return StoreFull(
            f"no room for an object of {show_size(size)}: the object store has {sizes[MEMORY]} of memory and "
            f"{sizes[DISK]} in {access.files.spill_directory}, and what lies there is in use. "
            "Drop what is not needed (`distpool memory` shows who holds what), or raise DISTPOOL_STORE_MEMORY or "
            "DISTPOOL_SPILL_LIMIT"
        )

    def _disk_full(self, code: int) -> DiskFull:
        return DiskFull(
            code,
            f"the disk under {self._access.files.spill_directory} has no room for objects that do not fit into the "
            "store's memory: make room there, set DISTPOOL_SPILL_DIR to another disk, or raise DISTPOOL_STORE_MEMORY",
        )


class Incoming:
    """An object that is being written, piece by piece, in order."""

    def __init__(self, access: Access, new: Allocated) -> None:
        self._access = access
        self.id = new.id
        self.extent = new.extent
        self._has_holes = new.has_holes
        self.done_bytes = 0

    @property
    def is_complete(self) -> bool:
        """Whether all of it has come."""
        return self.done_bytes == self.extent.bytes

    def write(self, data: Any) -> None:
        """The next piece. Raises ValueError if it is more than there is to be."""
        size = memoryview(data).nbytes
        if self.done_bytes + size > self.extent.bytes:
            raise ValueError("more data than was announced")
        tier = self._access.tiers[self.extent.tier]
        room = 0
        if (
            self._has_holes
        ):  # pages are made as they are written, by the last piece to the end of the last block
            is_last = self.done_bytes + size == self.extent.bytes
            whole = _whole_blocks(self.extent, self._access.ledger)
            room = whole - self.done_bytes if is_last else size
        tier.write(self.extent.offset + self.done_bytes, [data], room=room)
        self.done_bytes += size

    def read(self, offset: int, size: int) -> bytes:
        """A copy of a part that has come."""
        return self._access.read(self.extent, offset, min(size, self.done_bytes - offset))

    def seal(self) -> Held:
        """It is complete: an object like any other from here on, and held by this process."""
        self._access.ledger.seal(self.id)
        return Held((self.id,), self._access.let_go)

    def discard(self) -> None:
        """It will not be completed."""
        self._access.discard([self.id])


def _whole_blocks(extent: Extent, ledger: Ledger) -> int:
    block = ledger.block_bytes[extent.tier]
    return max(1, -(-extent.bytes // block)) * block  # what is empty takes one, too


#: Files of this package and of the standard library are not what a person looks for.
_NOT_THEIRS = (
    os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))),
    os.path.dirname(os.__file__),
    "<frozen ",
)


def _site() -> str:
    """The line of the program that is running: the innermost frame outside of this package."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        name = frame.f_code.co_filename
        if not name.startswith(_NOT_THEIRS) or "site-packages" in name:
            return f"{os.path.basename(name)}:{frame.f_lineno}"
        frame = frame.f_back
    return "a task's result"
