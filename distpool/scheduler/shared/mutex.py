"""A mutual exclusion between processes that survives the death of its holder.

It is a semaphore of value 1, and three words beside it. Uncontended it costs what the semaphore costs, one word
written and one read.

::

    words   holder[4]     who took the semaphore of this generation last      (written by each who takes it)
            generation    which of the semaphores counts; CLOSING in the midst of a change
            died          the last holder, if it died holding; taken by the next holder, who is told
    bytes   semaphore[4]

    acquire                                                mend, by whoever waits (under a record lock)
    ───────                                                ────
    take semaphore[g]                                      semaphore[g] is taken, holder[g] is dead
    holder[g] = me                                         generation = g | CLOSING
    generation == g?  yes: it is ours                      a moment later: is holder[g] still the dead one?
                      no:  somebody mends: ask who won       no: generation = g            (there is a new holder)
                                                             yes: generation = g + 1, semaphore[g + 1] = 1

Why generations: between taking the semaphore and writing ``holder`` a process looks like the dead holder before it. It
reads ``generation`` after it wrote ``holder``, the mender reads ``holder`` after it wrote ``generation``: so one of the two sees
the other, and a semaphore that was given up is told from the one that counts. A releaser writes nothing: ``holder``
means something only while the semaphore is taken.

A mender that dies half-way leaves CLOSING, and the next who meets that finishes. Who waits looks at the holder every
``SLICE_S``, so a death is noticed in that time.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, NamedTuple

from distpool.scheduler.shared import identity, segment, semaphores

GENERATIONS = 4  # semaphores; used in turn, so that a late taker of an old one is recognised
_GENERATION, _DIED = GENERATIONS, GENERATIONS + 1
_SEMAPHORES = 64  # where they begin
BYTES = _SEMAPHORES + GENERATIONS * semaphores.BYTES

_CLOSING = 1 << 63
_SOMEBODY = 1  # a holder that died before it could write who it was
_NEVER = _CLOSING | 1  # no generation: sends the fast path to the slow one
#: How long a waiter sleeps before it looks whether the holder is still there.
SLICE_S = 0.04
#: For stores of another core to be seen here: they take nanoseconds.
_SETTLE_S = 0.001


class _Bound(NamedTuple):
    """The semaphore of one generation, as this process uses it. One value, since threads read it while another binds."""

    take: Any
    index: int
    expected: int  # what ``generation`` must be for the fast path
    generation: int
    semaphore: Any


class Mutex:
    """One process's handle on a mutex at the beginning of ``place``.

    ``kind`` says whether the holding thread may take it again (``semaphores.RECURSIVE``) or any thread of any process may
    release it (``semaphores.SEMAPHORE``).
    """

    release: Any  # of the C class itself: nothing is to be done besides

    def __init__(self, place: segment.Place, kind: int) -> None:
        self.place = place
        self.kind = kind
        self._words = place.words
        self._looked_s = 0.0
        self._bind()
        _handles.add(self)

    @staticmethod
    def make(place: segment.Place) -> None:
        """Make one, free, of the zeros at the beginning of ``place``."""
        for index in range(GENERATIONS):
            semaphores.make(_address(place, index), 1 if index == 0 else 0)

    @property
    def semaphore(self) -> Any:
        """The C library's semaphore that counts now, as ``_multiprocessing.SemLock``."""
        return self._follow().semaphore

    # ------------------------------------------------------------------------------------------- taking it

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        """Take it; False if that was not possible at once (``block=False``) or within ``timeout`` seconds."""
        take, index, expected, _, _ = self._bound
        if take(False):
            words = self._words
            words[index] = identity.me
            if words[_GENERATION] == expected:
                return True
            return self._acquire_slowly(True, block, timeout)
        return self._acquire_slowly(False, block, timeout)

    def __enter__(self) -> bool:
        take, index, expected, _, _ = self._bound  # as above, for the cost of a call
        if take(False):
            words = self._words
            words[index] = identity.me
            if words[_GENERATION] == expected:
                return True
            return self._acquire_slowly(True, True, None)
        return self._acquire_slowly(False, True, None)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _acquire_slowly(self, taken: bool, block: bool, timeout: float | None) -> bool:
        until_s = None if timeout is None else time.monotonic() + max(0.0, timeout)
        bound = self._bound
        while not (taken and self._counts(bound)):
            bound = self._follow()
            slice_s = 0.0
            if block:
                slice_s = SLICE_S if until_s is None else min(SLICE_S, until_s - time.monotonic())
            taken = bound.take(True, slice_s) if slice_s > 0 else bound.take(False)
            if taken:
                self._words[bound.index] = identity.me
            elif not self._mend(bound) and slice_s < SLICE_S:
                return False
        died = self._words[_DIED]
        if died:
            self._words[_DIED] = identity.NOBODY
            self._bind()
            self._tell(died)
        return True

    def _tell(self, died: int) -> None:
        """The last holder (its word) died holding it; now it is ours. Whoever raises here must have released it."""

    # ---------------------------------------------------------------------------------- generations

    def _bind(self) -> _Bound:
        """Use the semaphore that counts now."""
        generation = self._words[_GENERATION] & ~_CLOSING
        index = generation % GENERATIONS
        # A death that nobody was told of yet is told by the slow path.
        expected = _NEVER if self._words[_DIED] else generation
        semaphore = semaphores.handle(_address(self.place, index), self.kind, 1)
        self._bound = _Bound(semaphore.acquire, index, expected, generation, semaphore)
        self.release = semaphore.release
        return self._bound

    def _counts(self, bound: _Bound) -> bool:
        """Whether the semaphore that we took is the one that counts. If not, it is given up."""
        if self._words[_GENERATION] == bound.generation:
            return True
        with self._mending():
            self._finish()
            return bool((self._words[_GENERATION] - bound.generation) % GENERATIONS == 0)

    def _follow(self) -> _Bound:
        """What is bound now, or has to be."""
        generation = self._words[_GENERATION]
        if generation & _CLOSING:
            with self._mending():
                self._finish()
            generation = self._words[_GENERATION]
        bound = self._bound
        return bound if generation == bound.generation else self._bind()

    def _mend(self, bound: _Bound) -> bool:
        """If the holder is dead, let a new generation begin; True if one has begun."""
        now_s = time.monotonic()
        if now_s - self._looked_s < SLICE_S / 2:
            return False  # somebody asks again and again without waiting
        self._looked_s = now_s
        words = self._words
        if words[_GENERATION] == bound.generation and identity.is_dead(words[bound.index]):
            with self._mending():
                self._finish()
                if words[_GENERATION] == bound.generation and bound.semaphore._get_value() == 0:
                    words[_GENERATION] = bound.generation | _CLOSING
                    time.sleep(_SETTLE_S)
                    self._finish()
        return bool(words[_GENERATION] != bound.generation)

    def _finish(self) -> None:
        """Decide a change that is in the midst. The mending lock is held."""
        words = self._words
        if not words[_GENERATION] & _CLOSING:
            return
        generation = words[_GENERATION] & ~_CLOSING
        index = generation % GENERATIONS
        if not identity.is_dead(words[index]):
            words[_GENERATION] = generation
            return
        following = (index + 1) % GENERATIONS
        opened = semaphores.handle(_address(self.place, following), semaphores.SEMAPHORE, 1)
        words[following] = identity.NOBODY
        words[_DIED] = words[index] or _SOMEBODY
        words[_GENERATION] = generation + 1
        if opened._get_value() == 0:
            opened.release()

    @contextmanager
    def _mending(self) -> Iterator[None]:
        """One process of the node at a time, one thread of it; the kernel lets go for a process that dies."""
        with _threads:
            fd, offset = self.place.segment.fd, self.place.offset
            fcntl.lockf(fd, fcntl.LOCK_EX, 1, offset)
            try:
                yield
            finally:
                fcntl.lockf(fd, fcntl.LOCK_UN, 1, offset)


def _address(place: segment.Place, index: int) -> int:
    return place.address + _SEMAPHORES + index * semaphores.BYTES


def _forked_child() -> None:
    """What the parent's threads held is not held here."""
    global _threads
    _threads = threading.Lock()
    for mutex in list(_handles):
        mutex._bound.semaphore._after_fork()


_threads = threading.Lock()
_handles: weakref.WeakSet[Mutex] = weakref.WeakSet()
os.register_at_fork(after_in_child=_forked_child)
