"""What a worker leaves behind where its death cannot take it: a slot, a mailbox, and last words.

- A **slot** is two native uint64 in memory shared by all processes of a node: the attempt last started, the attempt
  last finished. Unequal means that attempt ``started`` was running. A worker writes it around each attempt; whoever
  sees the death reads it. Behind them is a double, written before ``started``: when that was, on the node's monotonic
  clock. 64 bytes each, a cache line, so that workers do not slow each other.
- The **mailbox** ``worker-N.answers`` (``mailbox``) holds the answers of attempts that may not be repeated.
- ``worker-N.fault`` is where faulthandler writes when it dies; ``worker-N.stacks`` when it is asked (``stacks``).

The mapping is a memfd: no name, so nothing can be left behind.
"""

from __future__ import annotations

import mmap
import os

from distpool.scheduler.messages import Results
from distpool.scheduler.shells.mailbox import read_mailbox

SLOT_BYTES = 64
LAST_WORDS_LINES = 20
LAST_WORDS_BYTES_MAX = 16 << 10


class Slots:
    """``count`` slots, in a mapping that forks share and that ``fd`` carries through an exec."""

    def __init__(self, count: int, fd: int | None = None) -> None:
        self.fd = _anonymous_file() if fd is None else fd
        if fd is None:
            os.ftruncate(self.fd, count * SLOT_BYTES)
        self._map = mmap.mmap(self.fd, count * SLOT_BYTES, mmap.MAP_SHARED)

    def view(self, slot: int) -> memoryview:
        """The slot as two writable integers: [started, finished]."""
        start = slot * SLOT_BYTES
        return memoryview(self._map)[start : start + 16].cast("Q")

    def began(self, slot: int) -> memoryview[float]:
        """One writable float of the slot: when the attempt that it shows as started was."""
        start = slot * SLOT_BYTES + 16
        return memoryview(self._map)[start : start + 8].cast("d")

    def look(self, slot: int, now: float) -> tuple[int, float]:
        """The attempt that runs, and for how long it has been; (0, 0.0) if none does."""
        view, began = self.view(slot), self.began(slot)
        while True:
            running = self.running(slot)
            for_s = now - began[0]
            if view[0] == running:
                return running, max(0.0, for_s)
            if not running:
                return 0, 0.0

    def clear(self, slot: int) -> None:
        """For the next worker; to be called before it is forked."""
        view = self.view(slot)
        view[0] = view[1] = 0

    def running(self, slot: int) -> int:
        """The attempt that was running when this slot's worker stopped writing; 0 if none."""
        started, finished = self.view(slot)
        return started if started != finished else 0


def _anonymous_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("distpool-slots")
    import tempfile  # no memfd outside Linux

    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def take_answers(directory: str, worker: int) -> tuple[Results, ...]:
    """Read and remove a dead worker's mailbox."""
    path = f"{directory}/worker-{worker}.answers"
    answers = read_mailbox(path)
    _unlink(path)
    return answers


def take_last_words(directory: str, worker: int) -> str:
    """Read and remove what a dead worker's faulthandler wrote: its first lines, which say what and where."""
    path = f"{directory}/worker-{worker}.fault"
    try:
        with open(path, "rb") as file:
            text = file.read(LAST_WORDS_BYTES_MAX).decode(errors="replace")
    except FileNotFoundError:
        return ""
    _unlink(path)
    return "\n".join(text.splitlines()[:LAST_WORDS_LINES])


def dump_path(directory: str, worker: int) -> str:
    """Where a worker that is signalled writes down its threads."""
    return f"{directory}/worker-{worker}.stacks"


def forget_dump(directory: str, worker: int) -> None:
    """A worker has ended."""
    _unlink(dump_path(directory, worker))


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
