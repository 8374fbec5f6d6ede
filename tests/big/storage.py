"""What a session's store takes and has, seen from outside: space in its two files, and what its ledger counts.

The files have no names. Every process of a session has them open, so ``/proc/PID/fd`` leads to them, and the blocks
that the kernel counts for them are what they really take, whatever the store itself believes.
"""

from __future__ import annotations

import os
import stat
import threading
from dataclasses import dataclass

from distpool.scheduler.serialize import stored
from distpool.scheduler.store.ledger import Facts
from distpool.scheduler.store.slabs import SLAB_BYTES
from distpool.scheduler.store.store import ObjectStore
from tests.processes.scene import wait_until

MEMORY_NAME = "/memfd:distpool-store"
#: Blocks of the files, some bookkeeping of the file system.
SLACK_BYTES = 512 << 10
SLAB_LABEL = "small arguments"
SLABS_MAX = 8
#: Within so long everything is given back (the issue's own bound).
BACK_WITHIN_S = 2.0


@dataclass(frozen=True)
class Usage:
    """Bytes that the two files of a store take."""

    memory: int
    disk: int

    def within(self, other: Usage, slack: int = SLACK_BYTES) -> bool:
        """Whether this is no more than ``other``."""
        return self.memory <= other.memory + slack and self.disk <= other.disk + slack


def usage(pid: int | None = None) -> Usage:
    """What the store of a process's session takes now. Its spill file is known by DISTPOOL_SPILL_DIR."""
    folder = f"/proc/{pid or os.getpid()}/fd"
    spill_directory = os.path.realpath(os.environ["DISTPOOL_SPILL_DIR"])
    memory: dict[int, int] = {}
    disk: dict[int, int] = {}
    for fd in os.listdir(folder):
        try:
            target = os.readlink(f"{folder}/{fd}")
            facts = os.stat(f"{folder}/{fd}")
        except OSError:  # closed meanwhile
            continue
        if target.startswith(MEMORY_NAME):
            memory[facts.st_ino] = facts.st_blocks * 512
        elif (
            os.path.dirname(target) == spill_directory and stat.S_ISREG(facts.st_mode) and facts.st_nlink == 0
        ):
            disk[facts.st_ino] = facts.st_blocks * 512
    return Usage(sum(memory.values()), sum(disk.values()))


def store() -> ObjectStore:
    """This process's own view of the store; there must be one."""
    it = stored.current()
    assert isinstance(it, ObjectStore), "this process has no object store"
    return it


def lying_there() -> list[Facts]:
    """The objects that somebody holds, as the ledger has them; without the slabs, of which there are a few."""
    slabs, others = _slabs_and_others()
    assert len(slabs) <= SLABS_MAX, f"slabs pile up: {slabs}"
    return others


def _slabs_and_others() -> tuple[list[Facts], list[Facts]]:
    """What each thread that submits keeps at hand for small arguments, and everything else."""
    it = store()
    it.drain()
    with it.lock:
        facts = it.ledger.facts()
    slabs = [each for each in facts if each.label == SLAB_LABEL and each.extent.bytes == SLAB_BYTES]
    return slabs, [each for each in facts if each not in slabs]


def moved_bytes() -> int:
    """What was ever copied into the store."""
    return store().ledger.put_bytes


def spills() -> int:
    """How often an object was moved from memory to the disk."""
    return store().ledger.spills


def numbers() -> set[int]:
    """What tells the objects that lie there from all others that ever will."""
    return {facts.id for facts in lying_there()}


def wait_empty(within_s: float = BACK_WITHIN_S, but: set[int] | None = None) -> None:
    """Nobody holds anything any more, except for what is named."""
    others = but or set()
    try:
        wait_until(lambda: numbers() <= others, "", within_s)
    except AssertionError:
        left = [facts for facts in lying_there() if facts.id not in others]
        raise AssertionError(f"left in the store: {left}") from None


def wait_given_back(before: Usage, within_s: float = BACK_WITHIN_S) -> None:
    """The store takes no more than it took before, but for the slabs."""

    def is_back() -> bool:
        slabs, _ = _slabs_and_others()
        return usage().within(before, SLACK_BYTES + len(slabs) * SLAB_BYTES)

    try:
        wait_until(is_back, "", within_s)
    except AssertionError:
        raise AssertionError(f"before: {before}; now: {usage()}; in it: {lying_there()}") from None


class Watch:
    """The most that the store takes during a block, looked at all the time; and what is moved into it."""

    def __enter__(self) -> Watch:
        self.peak = 0
        self.moved = moved_bytes()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def _look(self) -> None:
        while not self._over.wait(0.01):
            self.peak = max(self.peak, usage().memory)

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self.peak = max(self.peak, usage().memory)
        self.moved = moved_bytes() - self.moved


def descriptors() -> int:
    """How many this process has."""
    return len(os.listdir("/proc/self/fd"))


def lose_all() -> list[Facts]:
    """Whatever lies in the store is gone from it, whoever holds it; returns what that was."""
    lost, it = lying_there(), store()
    with it.lock:
        for facts in lost:
            it.ledger.discard(facts.id)
    return lost
