"""A node's kernel: fake memory and disk in tiny blocks, the lock, and an account of who has mapped and who writes what.

::

    ObjectStore (the real one) ── lock ──► Lock: one at a time; its holder may die after any write
                               └─ tiers ─► Tier: bytes, reserved or not; each block written or mapped is on account

A mapping is live: it shows what lies there *now*, as the untouched pages of a private mapping do. That a reader writes
to what it sees is only noted: nobody may ever be shown that mapping again. Every call that enters the kernel is a
``pause``, at which others go on and the caller may be killed.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import mmap
import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from distpool.scheduler.store.files import StoreFiles
from distpool.scheduler.store.ledger import DISK, MEMORY, Ledger, Shape
from distpool.scheduler.store.ledger_check import check_entries
from distpool.scheduler.store.store import ObjectStore
from tests.simulation.loop import Violation
from tests.store.beside import unwatched

from .crashing import Fuse, Killed, fused
from .schedule import Process

if TYPE_CHECKING:
    from .world import World

BLOCK_BYTES = (16, 24)


@functools.cache
def _mapping(size: int) -> Any:
    """A type whose objects are buffers over others' memory, and can be referred to weakly; ``offset`` is where."""
    same = {"__hash__": object.__hash__, "__eq__": object.__eq__}
    return type("Mapping", (ctypes.c_ubyte * size,), same)


@dataclass(eq=False)
class Use:
    """Blocks of a tier that a process sees, or is writing to, at this moment."""

    process: Process
    tier: int
    offset: int
    bytes: int


class Memory:
    """What all processes of the node share: two tiers of bytes, and the ledger."""

    def __init__(self, world: World, shape: Shape) -> None:
        self.world = world
        self.shape = shape
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - open for as long as the world lives
        self._file.truncate(shape.bytes)
        fd = self._file.fileno()
        self.files = StoreFiles(fd, fd, fd, "/spill")  # the tiers' descriptors are not used
        self.ledger = Ledger.create(memoryview(mmap.mmap(fd, shape.bytes)), shape)
        self.content = [bytearray(shape.blocks[t] * shape.block_bytes[t]) for t in (MEMORY, DISK)]
        self.reserved: list[set[int]] = [set(), set()]
        self.seen: dict[weakref.ref[Any], Use] = {}  # by windows
        self.written: weakref.WeakSet[Any] = weakref.WeakSet()  # mappings
        self.writes: list[Use] = []
        self.locked = False
        self.refuses = [False, False]  # whether a tier has no space for what is to be reserved

    def close(self) -> None:
        self._file.close()

    def store(self, process: Process) -> ObjectStore:
        """The store as a process sees it."""
        store = unwatched(ObjectStore(self.files, process.number))
        access: Any = store.access
        access.lock = Lock(self, process, store.ledger)
        access.tiers = [Tier(self, process, tier) for tier in (MEMORY, DISK)]
        views: Any = store.views
        views.pristine = Unwritten(self)
        return store

    def readers(self) -> list[Use]:
        """What living processes see."""
        return [use for use in list(self.seen.values()) if use.process.alive]

    def writers(self) -> list[Use]:
        """What living processes are writing."""
        return [use for use in self.writes if use.process.alive]

    def blocks(self, tier: int, offset: int, size: int) -> range:
        block = self.shape.block_bytes[tier]
        return range(offset // block, -(-(offset + size) // block))

    def users(self, tier: int, blocks: range, uses: list[Use]) -> list[Use]:
        """Those of ``uses`` that lie in these blocks."""
        found = []
        for use in uses:
            other = self.blocks(use.tier, use.offset, use.bytes)
            if use.tier == tier and other.start < blocks.stop and blocks.start < other.stop:
                found.append(use)
        return found


class Unwritten:
    """In place of PristineCheck: it knows which readers have said that they write to what they see."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    def is_pristine(self, mapping: Any) -> bool:
        return mapping not in self._memory.written


class Lock:
    """In place of LedgerLock: nobody else goes on while it is held; its holder may be killed after any write."""

    def __init__(self, memory: Memory, process: Process, ledger: Ledger) -> None:
        self._memory = memory
        self._process = process
        self._ledger = ledger
        self._fused: Any = None

    def __enter__(self) -> None:
        world = self._memory.world
        world.pause(self._process, "waits for the lock")
        assert not self._memory.locked
        self._memory.locked = True
        writes = world.writes_to_live(self._process)
        self._fused = None if writes is None else fused(self._ledger, Fuse(writes))
        try:
            if self._fused is not None:
                self._fused.__enter__()
            if not self._ledger.begin():
                world.repairs += 1
                world.oracles.changed()
        except BaseException as error:
            self._leave(error)
            raise

    def __exit__(self, _kind: Any, error: BaseException | None, _trace: Any) -> None:
        self._leave(error)
        self._memory.world.pause(self._process, "has let go of the lock")

    def _leave(self, error: BaseException | None) -> None:
        world = self._memory.world
        ended = error is None or isinstance(error, LookupError)  # as LedgerLock has it
        try:
            if ended:
                self._ledger.end()
        except Killed as death:
            error = death
        finally:
            self._memory.locked = False
            if self._fused is not None:
                self._fused.__exit__(None, None, None)
        if isinstance(error, Killed):
            world.died(self._process, "in the middle of a change")
            world.oracles.torn(lambda: check_entries(self._ledger))
            raise error
        if ended:
            world.oracles.changed()


class Tier:
    """In place of the real Tier, for one process."""

    def __init__(self, memory: Memory, process: Process, tier: int) -> None:
        self._memory = memory
        self._process = process
        self._tier = tier
        self.size = memory.shape.blocks[tier] * memory.shape.block_bytes[tier]

    def reserve(self, offset: int, size: int) -> None:
        memory = self._memory
        for block in memory.blocks(self._tier, offset, size):
            memory.world.pause(self._process, "reserves")
            self._make_room(block * memory.shape.block_bytes[self._tier], 1)

    def _make_room(self, offset: int, size: int) -> None:
        memory = self._memory
        missing = set(memory.blocks(self._tier, offset, size)) - memory.reserved[self._tier]
        if missing and memory.refuses[self._tier]:
            raise OSError(errno.ENOSPC, "no space left on device")
        memory.reserved[self._tier] |= missing

    def write(self, offset: int, parts: Sequence[Any], *, room: int = 0) -> None:
        """Block by block; ``parts`` may change meanwhile. ``is_new``: what is not reserved is reserved by that."""
        memory, world = self._memory, self._memory.world
        views = [memoryview(part).cast("B") for part in parts]
        use = Use(self._process, self._tier, offset, sum(map(len, views)))
        whole = memory.blocks(self._tier, offset, use.bytes)
        if others := memory.users(self._tier, whole, memory.writers()):
            raise Violation("one_writer", f"{self._process.name} writes where {others[0].process.name} does")
        memory.writes.append(use)
        try:
            step = memory.shape.block_bytes[self._tier]
            for view in views:
                for start in range(0, len(view), step):
                    world.pause(self._process, "writes")
                    piece = view[start : start + step]
                    if room:
                        self._make_room(offset, len(piece))
                    self._check_write(offset, len(piece))
                    memory.content[self._tier][offset : offset + len(piece)] = piece
                    offset += len(piece)
            world.pause(self._process, "has written")
        finally:
            memory.writes.remove(use)

    def _check_write(self, offset: int, size: int) -> None:
        memory = self._memory
        blocks = memory.blocks(self._tier, offset, size)
        if not memory.reserved[self._tier].issuperset(blocks):
            raise Violation("reserved_before_written", f"{self._process.name} writes to a hole: SIGBUS")
        for reader in memory.users(self._tier, blocks, memory.readers()):
            story = f"{self._process.name} writes to what {reader.process.name} has mapped"
            raise Violation("never_under_a_reader", story)

    def read(self, offset: int, size: int) -> memoryview:
        return memoryview(self._memory.content[self._tier])[offset : offset + size]

    def map_private(self, offset: int, size: int) -> Any:
        memory = self._memory
        memory.world.pause(self._process, "is about to map")
        made = _mapping(size).from_buffer(memory.content[self._tier], offset)
        made.offset = offset
        made.windows = weakref.WeakSet()
        return made

    def window(self, mapping: Any) -> Any:
        """From here on it is seen; some readers write to what they see, which nobody else may then see."""
        memory = self._memory
        size = len(mapping)
        if mapping in memory.written:
            raise Violation(
                "nobody_elses_pages", f"{self._process.name} sees what it has written to itself before"
            )
        if mapping.windows:
            raise Violation("nobody_elses_pages", f"{self._process.name} has two arrays in the same pages")
        made = _mapping(size).from_buffer(mapping)
        mapping.windows.add(made)
        gone = memory.seen.pop
        memory.seen[weakref.ref(made, lambda ref: gone(ref, None))] = Use(
            self._process, self._tier, mapping.offset, size
        )
        if memory.world.writes_to_views():
            memory.written.add(mapping)
        return made

    def give_back(self, offset: int, size: int) -> None:
        memory = self._memory
        blocks = memory.blocks(self._tier, offset, size)
        for block in blocks:
            memory.world.pause(self._process, "gives back")
            used = memory.users(self._tier, range(block, block + 1), memory.readers() + memory.writers())
            if used:
                raise Violation(
                    "never_under_a_reader", f"pages are removed that {used[0].process.name} is using"
                )
            start = block * memory.shape.block_bytes[self._tier]
            memory.content[self._tier][start : start + memory.shape.block_bytes[self._tier]] = bytes(
                memory.shape.block_bytes[self._tier]
            )
            memory.reserved[self._tier].discard(block)
        memory.world.pause(self._process, "has given back")

    def forget(self, offset: int, size: int) -> None:
        """There is no page table."""

    def close(self) -> None:
        """Nothing is open."""
