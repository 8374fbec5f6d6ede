"""One process's view of its node's store: put objects in, map them, hold them, let go of them.

::

    put ──► allocate ──► copy ──► seal ──► Held ··········· dropped ──┐
                │ no room                                             ▼
                └──► spill the coldest, or go to the disk        _dropped ──► drain: the ledger's drop and unpin
    map ──► pin ──► a private mapping ──► views ·········· the last is gone ─┘

Letting go happens in ``__del__`` and weakref callbacks, at any instant and on any thread. So these only append to a
deque; ``drain`` empties it at the next operation, and whoever owns this process's loop calls it too (``on_dropped``).
"""

from __future__ import annotations

import errno
import mmap
import os
import sys
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

from distpool.errors import DiskFull, StoreError, StoreFull
from distpool.scheduler.serialize.stored import Spot
from distpool.scheduler.store.files import StoreFiles, show_size
from distpool.scheduler.store.ledger import (
    DISK,
    MEMORY,
    Allocated,
    Extent,
    Ledger,
    LedgerFull,
    ObjectGone,
)
from distpool.scheduler.store.lock import LedgerLock, Undisturbed
from distpool.scheduler.store.mapping import map_file
from distpool.scheduler.store.pristine import PristineCheck
from distpool.scheduler.store.slabs import SLAB_BYTES, Slab, Slabs
from distpool.scheduler.store.tier import Tier

#: Live mappings of one process; a kernel's default limit is 65,530 for everything. What is beyond is copied.
MAPPINGS_MAX = 16_384
#: Mappings of what several tasks need, kept at hand between them.
MAPPINGS_KEPT_MAX = 64
#: They cannot be moved to the disk, so they are no more than this part of the memory.
MEMORY_KEPT_PART = 4
#: How often room is made for one object by spilling before it goes to the disk itself.
SPILLS_FOR_ONE_MAX = 10_000

_REFERENCE, _PIN = 0, 1
#: What ``sys.getrefcount`` says of a mapping that only ``_kept`` and a local variable refer to.
_REFERENCES_WHEN_UNSEEN = 3


class Held:
    """Keeps objects in the store for as long as this Python object lives. ``ids`` are their numbers."""

    __slots__ = ("__weakref__", "_dropped", "_pinned", "ids")

    def __init__(
        self,
        ids: tuple[int, ...],
        dropped: Callable[[tuple[int, tuple[int, ...]]], None] | None,
        pinned: bool = False,
    ) -> None:
        self.ids = ids
        self._dropped = dropped
        self._pinned = pinned

    def __del__(self) -> None:
        if self._dropped is not None:
            if self._pinned:
                self._dropped((_PIN, self.ids))
            self._dropped((_REFERENCE, self.ids))


class ObjectStore:
    """The store of this node, as process number ``process`` uses it. Thread-safe."""

    def __init__(self, files: StoreFiles, process: int) -> None:
        self.files = files
        self.process = process
        self.on_dropped: Callable[[], None] | None = None  # called from finalizers: must be safe there
        size = os.fstat(files.ledger_fd).st_size
        self.ledger = Ledger(memoryview(map_file(files.ledger_fd, size, shared=True)))
        self.tiers: list[Tier] = []
        for tier, fd in ((MEMORY, files.memory_fd), (DISK, files.disk_fd)):
            length = self.ledger.blocks[tier].count * self.ledger.block_bytes[tier]
            self.tiers.append(Tier(fd, length, is_memory=tier == MEMORY))
        self.lock = LedgerLock(files.ledger_fd, self.ledger)
        self._undisturbed = Undisturbed()
        self._dropped: deque[tuple[int, tuple[int, ...]]] = deque()
        self._mapped: dict[weakref.ref[mmap.mmap], int] = {}  # a live mapping -> the object
        self._kept: OrderedDict[int, mmap.mmap] = OrderedDict()  # mappings at hand, the latest used last
        self._pristine = PristineCheck()
        self._slabs = Slabs(self._make_slab)
        self._forks: list[
            tuple[int, tuple[int, ...]]
        ] = []  # a pipe that a forked child has open -> what it may see
        self._closed = False
        _open_stores.add(self)

    # --------------------------------------------------------------------------------- putting

    def put(self, objects: Sequence[Sequence[Any]], *, holder: int = 0, label: str = "") -> Held:
        """Copy objects into the store; the copies are complete when this returns.

        Args:
            objects: each a sequence of contiguous buffers, which are laid one behind the other.
            holder: whose they are going to be, if not this process's: the owner of a task that returns them.
            label: who made them, for people; by default the line of the program that is running.

        Raises:
            StoreFull: neither memory nor the spill file has room.
            DiskFull: the disk has no room for the spill file.
        """
        self._refuse_if_closed()
        made: list[int] = []
        tag = (label or _site()).encode()
        try:
            with self._undisturbed:
                for parts in objects:
                    self._put(parts, holder, tag, made)
                held = Held(tuple(made), None if holder else self._let_go)
                made = made if holder else []
        except BaseException as error:
            self._discard(made)
            if isinstance(error, StoreError) or getattr(error, "errno", 0) not in (
                errno.ENOSPC,
                errno.EDQUOT,
            ):
                raise
            raise self._disk_full(error.errno) from error  # type: ignore[attr-defined]
        return held

    def _put(self, parts: Sequence[Any], holder: int, label: bytes, made: list[int]) -> None:
        size = sum([memoryview(part).nbytes for part in parts])
        new = self._allocate(size, holder, label)
        made.append(new.id)
        try:
            room = _whole_blocks(new.extent, self.ledger) if new.has_holes else 0
            self.tiers[new.extent.tier].write(new.extent.offset, parts, room=room)
        except OSError as error:
            if new.extent.tier == DISK or error.errno not in (errno.ENOSPC, errno.ENOMEM):
                raise
            # The memory's file has no room though the ledger has: one with a name, in a small /dev/shm.
            self._discard([made.pop()])
            new = self._allocate_on_disk(size, holder, label)
            made.append(new.id)
            self.tiers[DISK].write(new.extent.offset, parts)
        if holder:
            with self.lock:
                self.ledger.seal(new.id)
        else:
            self.ledger.seal(new.id)

    def put_brief(self, pieces: Sequence[Any], size: int) -> tuple[Spot, Any] | None:
        """Copy a payload of less than a slab, for one who reads it soon; keep what is returned until that has answered.

        None: there is no room in memory.
        """
        return self._slabs.put(pieces, size)

    def read_brief(self, spot: Spot) -> bytes:
        """A copy of a payload that its sender keeps. Raises StoreError if the sender is dead."""
        self._refuse_if_closed()
        with self.tiers[MEMORY].read(spot.offset, spot.size) as view:
            data = bytes(view)
        if not self.ledger.exists(spot.slab):
            raise StoreError("the process that this was sent by is dead")
        return data

    def _make_slab(self) -> Slab | None:
        self._refuse_if_closed()
        tier = self.tiers[MEMORY]
        with self._undisturbed:
            with self.lock:
                self._drain_locked()
                try:
                    new = self.ledger.allocate(self.process, SLAB_BYTES, MEMORY, label=b"small arguments")
                    if new is None:
                        return None
                    self.ledger.pin(new.id, self.process)  # it stays where it is
                except LedgerFull:
                    return None
            try:
                if new.has_holes:
                    tier.reserve(new.extent.offset, SLAB_BYTES)
                self.ledger.seal(new.id)
                view = tier.window(new.extent.offset, SLAB_BYTES)
            except OSError:
                self._discard([new.id])
                return None
            return Slab(new.id, new.extent.offset, view, Held((new.id,), self._let_go, pinned=True))

    def _discard(self, made: Sequence[int]) -> None:
        with self._undisturbed, self.lock:
            for number in made:
                if self.ledger.exists(number):
                    self.ledger.discard(number)

    def _allocate(self, size: int, holder: int, label: bytes) -> Allocated:
        """Room for an object, reserved; makes it by spilling if it must."""
        for _ in range(SPILLS_FOR_ONE_MAX):
            with self.lock:
                self._drain_locked()
                try:
                    new = self.ledger.allocate(self.process, size, MEMORY, holder=holder, label=label)
                    victim = None if new is not None else self._next_victim(size)
                except LedgerFull as error:
                    raise _not_held(error) from None
            if new is not None:
                return new
            if victim is None:
                if not self._kept:
                    break
                self._kept.clear()  # what is only kept at hand can go to the disk
                continue
            self._spill(victim)
        return self._allocate_on_disk(size, holder, label)

    def _allocate_on_disk(self, size: int, holder: int, label: bytes) -> Allocated:
        with self.lock:
            try:
                new = self.ledger.allocate(self.process, size, DISK, holder=holder, label=label)
            except LedgerFull as error:
                raise _not_held(error) from None
        if new is None:
            raise self._store_full(size)
        try:
            self.tiers[DISK].reserve(new.extent.offset, _whole_blocks(new.extent, self.ledger))
        except BaseException:
            self._discard([new.id])
            raise
        return new

    def _next_victim(self, size: int) -> Allocated | None:
        """What to move to the disk so that there is room; None if that does not help."""
        if size > self.tiers[MEMORY].size:
            return None
        victim = self.ledger.coldest()
        return self.ledger.start_spilling(victim, self.process) if victim else None

    def _spill(self, victim: Allocated) -> None:
        """Copy one object to the disk, without the lock, and let the ledger point there."""
        try:
            with self.lock:
                source = self.ledger.locate(victim.id)
            self.tiers[DISK].reserve(victim.extent.offset, _whole_blocks(victim.extent, self.ledger))
            data = self.tiers[MEMORY].read(source.offset, source.bytes)
            try:
                self.tiers[DISK].write(victim.extent.offset, [data])
            finally:
                data.release()
        except BaseException:
            with self.lock:
                self.ledger.abandon_spilling(victim.id, self.process)
            raise
        with self.lock:
            self.ledger.finish_spilling(victim.id, self.process)

    # --------------------------------------------------------------------------------- mapping

    def map(self, ids: Sequence[int], *, again: bool = False) -> list[memoryview]:
        """Views of objects: private to the caller, writable, of their exact size.

        An object stays as long as a view of it, or a part of one, does.

        Args:
            ids: the objects' numbers.
            again: they are likely to be mapped again here soon, so that the mappings should be kept at hand.

        Raises:
            StoreError: an object is gone.
        """
        self._refuse_if_closed()
        with self._undisturbed:
            with self.lock:
                self._drain_locked()
                extents: list[Extent | mmap.mmap] = []
                try:
                    for number in ids:
                        extents.append(self._at_hand(number) or self.ledger.pin(number, self.process))
                except (ObjectGone, LedgerFull) as error:
                    pinned = [n for n, e in zip(ids, extents, strict=False) if isinstance(e, Extent)]
                    for number in pinned:
                        self.ledger.unpin(number, self.process)
                    raise _not_held(error) from None
            views: list[memoryview] = []
            for done, (number, extent) in enumerate(zip(ids, extents, strict=True)):
                if not isinstance(extent, Extent):
                    views.append(memoryview(extent))
                    continue
                try:
                    views.append(self._map(number, extent, again))
                except BaseException:
                    rest = zip(ids[done:], extents[done:], strict=True)
                    self._dropped.append((_PIN, tuple([n for n, e in rest if isinstance(e, Extent)])))
                    raise
        return views

    def _map(self, number: int, extent: Extent, again: bool) -> memoryview:
        tier = self.tiers[extent.tier]
        made = tier.map_private(extent.offset, extent.bytes)
        if len(self._mapped) >= MAPPINGS_MAX:
            copied = memoryview(bytearray(made))
            made.close()
            self._dropped.append((_PIN, (number,)))
            return copied
        self._mapped[weakref.ref(made, self._unmapped)] = number
        if again:
            self._keep_at_hand(number, made)
        return memoryview(made)

    def _keep_at_hand(self, number: int, mapping: mmap.mmap) -> None:
        self._kept[number] = mapping
        size_max = self.tiers[MEMORY].size // MEMORY_KEPT_PART
        while self._kept and (
            len(self._kept) > MAPPINGS_KEPT_MAX or sum(map(len, self._kept.values())) > size_max
        ):
            self._kept.popitem(last=False)

    @contextmanager
    def reading(self, number: int) -> Iterator[memoryview]:
        """A look at an object in its place, for copying things out of it at once: it must not be written or kept.

        That saves the mapping, which for a small object costs more than the reading. Raises StoreError if it is gone.
        """
        self._refuse_if_closed()
        with self._undisturbed, self.lock:
            self._drain_locked()
            try:
                extent = self.ledger.pin(number, self.process)
            except (ObjectGone, LedgerFull) as error:
                raise _not_held(error) from None
        try:
            tier = self.tiers[extent.tier]
            if tier.is_memory:
                with tier.read(extent.offset, extent.bytes) as view:
                    yield view
            else:
                with memoryview(tier.map_private(extent.offset, extent.bytes)) as view:
                    yield view
        finally:
            self._let_go((_PIN, (number,)))

    def _at_hand(self, number: int) -> mmap.mmap | None:
        """The mapping that was made of it before, if nobody sees it and nobody has written to it.

        Its page table is filled in already, which takes longer than anything else about reading an object.
        """
        known = self._kept.get(number)
        if known is None or not self.ledger.exists(number):
            return None
        if sys.getrefcount(known) > _REFERENCES_WHEN_UNSEEN or not self._pristine.is_pristine(known):
            del self._kept[number]
            return None
        self._kept.move_to_end(number)
        return known

    def _forget_unneeded(self) -> None:
        """Mappings that are only kept at hand must not keep an object that nobody else holds."""
        for number, mapping in list(self._kept.items()):
            unseen = sys.getrefcount(mapping) <= _REFERENCES_WHEN_UNSEEN + 1  # the list's
            if unseen and not (self.ledger.exists(number) and self.ledger.is_referred_to(number)):
                del self._kept[number]

    def _unmapped(self, reference: weakref.ref[mmap.mmap]) -> None:
        """The last view of a mapping is gone. Runs anywhere, at any time."""
        number = self._mapped.pop(reference, 0)
        if number:
            self._let_go((_PIN, (number,)))

    # --------------------------------------------------------------------------------- holding

    def claim(self, ids: Sequence[int], via: int = 0) -> Held:
        """Take what ``via`` has put, or handed on, for this process (0: anybody). Raises StoreError if it is gone."""
        return self._refer(ids, lambda number: self.ledger.claim(number, self.process, via))

    def hand(self, ids: Sequence[int], holder: int) -> None:
        """Pass on what this process holds itself to ``holder``, who will ``claim`` it. Raises StoreError."""
        with self._undisturbed, self.lock:
            try:
                for number in ids:
                    self.ledger.hand(number, self.process, holder)
            except (ObjectGone, LedgerFull) as error:
                raise _not_held(error) from None

    def hold(self, ids: Sequence[int]) -> Held:
        """Hold objects that somebody else holds at this moment. Raises StoreError if one is gone."""
        self._refuse_if_closed()
        return self._refer(ids, lambda number: self.ledger.hold(number, self.process))

    def _refer(self, ids: Sequence[int], take: Callable[[int], None]) -> Held:
        """One reference of this process more to each object, by ``take``; all of them or none."""
        done = 0
        with self._undisturbed, self.lock:
            try:
                for number in ids:
                    take(number)
                    done += 1
            except (ObjectGone, LedgerFull) as error:
                for number in ids[:done]:
                    self.ledger.drop(number, self.process)
                raise _not_held(error) from None
            return Held(tuple(ids), self._let_go)

    def forget_transit(self, via: int) -> None:
        """A worker is dead and all its words were read: what it had put for us and never told of goes."""
        with self._undisturbed, self.lock:
            self.ledger.forget_transit(self.process, via)

    def mend_all_others(self) -> None:
        """Every other process of the node is dead."""
        with self._undisturbed, self.lock:
            self.ledger.mend_all_but(self.process)

    # ------------------------------------------------------------------------------- letting go

    def _let_go(self, what: tuple[int, tuple[int, ...]]) -> None:
        self._dropped.append(what)
        if self.on_dropped is not None:
            self.on_dropped()

    @property
    def has_views(self) -> bool:
        """Whether there are views that may be dropped at any time."""
        return bool(self._mapped or self._dropped or self._forks)

    @property
    def has_dropped(self) -> bool:
        """Whether ``drain`` may have something to do."""
        return bool(self._dropped or self._forks or self._kept)

    def drain(self) -> None:
        """Tell the ledger what is no longer needed."""
        if self.has_dropped and not self._closed:
            with self._undisturbed, self.lock:
                self._drain_locked()

    def _drain_locked(self) -> None:
        if self._forks:
            self._look_at_forks()
        self._drop_locked()
        if self._kept:
            self._forget_unneeded()
            self._drop_locked()

    def _drop_locked(self) -> None:
        ledger, process = self.ledger, self.process
        while self._dropped:
            kind, ids = self._dropped.popleft()
            for number in ids:
                try:
                    if kind == _PIN:
                        ledger.unpin(number, process)
                    else:
                        ledger.drop(number, process)
                except ObjectGone:
                    pass  # after the session's other processes were declared dead

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise StoreError(
                "the session that this store belonged to has ended, or it is the parent process's"
            )

    def close(self) -> None:
        """The session is over. What is mapped stays readable; nothing else of the store is."""
        _open_stores.discard(self)
        with self.lock:
            self._closed = True
            self.on_dropped = None
            self._kept.clear()
            self._slabs = Slabs(self._make_slab)
        for tier in self.tiers:
            tier.close()
        os.close(self.files.ledger_fd)

    # ------------------------------------------------------------------------------------ forks

    def before_fork(self) -> int | None:
        """A child inherits this process's mappings, so it must count as a reader: by a pipe that it holds open."""
        self.lock.hold_threads()
        pinned = tuple(self._mapped.values())
        if not pinned or self._closed:
            return None
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        with self.lock.between_processes():
            for number in pinned:
                self.ledger.pin(number, self.process)
        self._forks.append((reader, pinned))
        return writer

    def after_fork_in_parent(self, writer: int | None) -> None:
        """The child has the pipe's other end."""
        self.lock.release_threads()
        if writer is not None:
            os.close(writer)

    def after_fork_in_child(self, writer: int | None) -> None:
        """Nothing here is ours to change; views go on working, for as long as ``writer`` is open: for ever."""
        self.lock.release_threads()
        self.on_dropped = None
        for reader, _ in self._forks:
            os.close(reader)
        self._forks.clear()
        self._mapped.clear()
        self._kept.clear()
        self._slabs = Slabs(self._make_slab)
        self._dropped.clear()
        self._closed = True

    def _look_at_forks(self) -> None:
        """Let go of what children saw that have ended, or have become another program."""
        for fork in list(self._forks):
            reader, pinned = fork
            try:
                if os.read(reader, 1):
                    continue
            except BlockingIOError:
                continue
            os.close(reader)
            self._forks.remove(fork)
            self._dropped.append((_PIN, pinned))

    # ----------------------------------------------------------------------------------- errors

    def _store_full(self, size: int) -> StoreFull:
        sizes = [show_size(tier.size) for tier in self.tiers]
        return StoreFull(
            f"no room for an object of {show_size(size)}: the object store has {sizes[MEMORY]} of memory and "
            f"{sizes[DISK]} in {self.files.spill_directory}, and what lies there is in use. "
            "Drop what is not needed (`distpool memory` shows who holds what), or raise DISTPOOL_STORE_MEMORY or "
            "DISTPOOL_SPILL_LIMIT"
        )

    def _disk_full(self, code: int) -> DiskFull:
        return DiskFull(
            code,
            f"the disk under {self.files.spill_directory} has no room for objects that do not fit into the store's "
            "memory: make room there, set DISTPOOL_SPILL_DIR to another disk, or raise DISTPOOL_STORE_MEMORY",
        )


_open_stores: weakref.WeakSet[ObjectStore] = weakref.WeakSet()
_forking: list[tuple[ObjectStore, int | None]] = []


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


def _not_held(error: ObjectGone | LedgerFull) -> StoreError:
    if isinstance(error, LedgerFull):
        return StoreFull(
            "the object store has too many objects; put more into each, or drop what is not needed"
        )
    return StoreError(f"{error}: nobody has held it any more")


def _whole_blocks(extent: Extent, ledger: Ledger) -> int:
    block = ledger.block_bytes[extent.tier]
    return -(-extent.bytes // block) * block


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
