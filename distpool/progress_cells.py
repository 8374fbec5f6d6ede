"""Counting the items inside a chunk while it runs, at no cost to the items: cells of memory shared with the driver.

::

    driver                                            worker
    Cells: a memfd ◄─── opened by pid and fd ──────── _attach: takes the next cell, once a map
      [taken, token]                                  Counted(chunk number, items)
      [chunk number, items done]  ◄── a word ──┐        └─► inner(iterator over items)      main thread
      [chunk number, items done]               └──────────── how far is that iterator?      Sampler, 20 times a second
           │ read, by whoever draws
           ▼
      items of chunks that have ended (from their results) + items of those that have not (from the cells)

A list's iterator knows its position, so nothing is done for an item: a second thread looks at it. Where there are no
cells (another machine, a system without memfd or /proc) counts come with the results, chunk by chunk.

What it is not: what is shown, or when (``progress``, ``progress_bars``).
"""

from __future__ import annotations

import fcntl
import functools
import mmap
import os
import threading
import time
import weakref
from _thread import allocate_lock
from collections.abc import Callable, Iterator, Sequence
from types import FunctionType, MethodType
from typing import Any

from distpool import worker_hooks

__all__ = ["Cells", "Counted"]

SAMPLE_S = 0.05
#: Looks without a chunk to look at, after which the sampler sleeps until it is woken.
IDLE_LOOKS = 20
#: A block of calls that never come back to the interpreter is to take about so long.
BLOCK_S = 0.01
BLOCK_ITEMS_MAX = 1 << 14

_NAME = "distpool-progress"
#: So many workers of one map have a cell of their own; later ones share, and count less exactly.
CELLS = 4095
#: Two words: a chunk's number and its items. A cache line each, so that workers do not slow each other.
CELL_WORDS = 8
_SIZE = (CELLS + 1) * CELL_WORDS * 8  # sparse: only what is written to takes memory
_LOW = (1 << 32) - 1
#: A cell is taken under a record lock that is held for a microsecond; a stopped process may hold it for longer.
_LOCK_TRIES = 1000
#: Mappings that a worker keeps: a chunk's function is loaded anew for each chunk.
_ATTACHED_MAX = 8

#: How another process finds the memory: pid, descriptor, and a number that only the right memory has.
Place = tuple[int, int, int]


class Cells:
    """The driver's end: what the workers of one map have done in the chunks that they run."""

    def __init__(self) -> None:
        """Raises OSError, AttributeError where there is no such memory."""
        fd = os.memfd_create(_NAME)
        try:
            os.ftruncate(fd, _SIZE)
            self._words = memoryview(mmap.mmap(fd, _SIZE)).cast("Q")
        except BaseException:
            os.close(fd)
            raise
        self._words[1] = token = int.from_bytes(os.urandom(8), "little") | 1
        self.place: Place = (os.getpid(), fd, token)
        self._close = weakref.finalize(self, os.close, fd)

    def read(self) -> dict[int, int]:
        """Chunk numbers (their low 32 bits), and how many items of each are done."""
        words = self._words
        done: dict[int, int] = {}
        for cell in range(1, min(words[0], CELLS) + 1):
            word = words[cell * CELL_WORDS]
            if items := word & _LOW:
                number = word >> 32
                done[number] = max(items, done.get(number, 0))
        return done

    def close(self) -> None:
        """No worker can attach any more; ``read`` still works."""
        if os.getpid() == self.place[0]:
            self._close()


class Counted:
    """A chunk's function that is called as ``counted(number, items)``, and lets its progress be seen."""

    __slots__ = ("__weakref__", "inner", "place")

    def __init__(self, inner: Callable[[Any], list[Any]], place: Place | None) -> None:
        self.inner = inner
        self.place = place

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.inner, self.place)

    def __call__(self, number: int, items: Sequence[Any]) -> list[Any]:
        """What the chunk's function returns."""
        cell = None if self.place is None else _attach(self.place)
        if cell is None:
            return self.inner(items)
        run = _Run(cell, number)
        sampler = _the_sampler()
        sampler.begin(run)
        try:
            if _comes_back(getattr(self.inner, "function", None)):
                return self.inner(run.follow(0, items))
            return _in_blocks(self.inner, run, items)
        finally:
            sampler.end(run)


class _Run:
    """A chunk that is being run."""

    __slots__ = ("_cell", "_now", "_number")

    def __init__(self, cell: memoryview, number: int) -> None:
        self._cell = cell
        self._number = number
        # One value, so that the other thread sees all of it or nothing.
        self._now: tuple[int, int, Any] | None = None

    def follow(self, before: int, items: Sequence[Any]) -> Iterator[Any]:
        """An iterator over ``items``, of which ``before`` others have been done."""
        iterator = iter(items)
        self._now = (before, len(items), iterator)
        return iterator

    def write(self) -> None:
        """Tell how far it is. What was taken last is not done yet."""
        if self._now is not None:
            before, length, iterator = self._now
            done = before + max(0, length - iterator.__length_hint__() - 1)
            self._cell[0] = (self._number & _LOW) << 32 | min(done, _LOW)


def _in_blocks(inner: Callable[[Any], list[Any]], run: _Run, items: Sequence[Any]) -> list[Any]:
    """For functions in C, between whose calls no other thread may look: only between blocks of them can it."""
    values: list[Any] = []
    size = 1
    while len(values) < len(items):
        began_s = time.perf_counter()
        at = len(values)
        block = inner(run.follow(at, items[at : at + size]))
        if len(block) != min(size, len(items) - at):
            raise AssertionError("a chunk's function gives one value for each item")
        worker_hooks.more_items += bool(values)  # a chunk in one piece would count one item less
        values += block
        if time.perf_counter() - began_s < BLOCK_S / 2:
            size = min(2 * size, BLOCK_ITEMS_MAX)
        elif size > 1:
            size //= 2
    return values


def _comes_back(function: Any) -> bool:
    """Whether each call runs Python code, at whose beginning another thread may have its turn."""
    while isinstance(function, (functools.partial, MethodType)):
        function = function.func if isinstance(function, functools.partial) else function.__func__
    return isinstance(function, FunctionType) or isinstance(
        vars(type(function)).get("__call__"), FunctionType
    )


class Sampler:
    """A thread that looks at the chunks that this process runs, and writes to their cells."""

    def __init__(self) -> None:
        self._running: dict[int, _Run] = {}
        self._asleep = False
        self._gate = allocate_lock()
        self._gate.acquire()
        threading.Thread(target=self._look, name="distpool-counter", daemon=True).start()

    def begin(self, run: _Run) -> None:
        """Look at this one from now on."""
        self._running[id(run)] = run
        if self._asleep:
            self._asleep = False
            try:
                self._gate.release()
            except RuntimeError:
                pass  # another thread was first

    def end(self, run: _Run) -> None:
        """It has ended, and its result will tell the rest."""
        self._running.pop(id(run), None)

    def _look(self) -> None:
        idle = 0
        while True:
            time.sleep(SAMPLE_S)
            runs = list(self._running.values())
            for run in runs:
                run.write()
            idle = 0 if runs else idle + 1
            if idle > IDLE_LOOKS:
                self._asleep = True
                if not self._running:
                    self._gate.acquire()
                self._asleep = False
                idle = 0


_sampler: Sampler | None = None
_attached: dict[Place, memoryview | None] = {}


def _the_sampler() -> Sampler:
    global _sampler
    if _sampler is None:
        _sampler = Sampler()
    return _sampler


def _attach(place: Place) -> memoryview | None:
    """A cell of this memory for this process; None if it is not to be had."""
    try:
        return _attached[place]
    except KeyError:
        pass
    while len(_attached) >= _ATTACHED_MAX:
        _attached.pop(next(iter(_attached)), None)
    cell = _attached[place] = _take_cell(place)
    return cell


def _take_cell(place: Place) -> memoryview | None:
    pid, fd, token = place
    path = f"/proc/{pid}/fd/{fd}"
    try:
        if not os.readlink(path).startswith(f"/memfd:{_NAME}"):
            return None  # closed, and the number is another file's now; or this is another machine
        file = os.open(path, os.O_RDWR)
        try:
            if os.fstat(file).st_size != _SIZE:
                return None
            words = memoryview(mmap.mmap(file, _SIZE)).cast("Q")
            if words[1] != token or not _lock(file):
                return None
            number = words[0]
            words[0] = number + 1
        finally:
            os.close(file)  # and with it the lock goes
    except OSError:
        return None
    start = (1 + number % CELLS) * CELL_WORDS
    return words[start : start + CELL_WORDS]


def _lock(file: int) -> bool:
    for _ in range(_LOCK_TRIES):
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.sched_yield()
        else:
            return True
    return False


def _after_fork_in_child() -> None:
    """The thread is the parent's, and so is its cell."""
    global _sampler
    _sampler = None
    _attached.clear()


os.register_at_fork(after_in_child=_after_fork_in_child)
