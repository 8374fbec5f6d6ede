"""A mutual exclusion between processes that survives the death of its holder.

It is a semaphore of value 1, and some words beside it. Uncontended it costs what the semaphore costs, two words written
and one read.

::

    words   holder[6]     who has the semaphore of this generation; nobody: it is free, or about to be, or just taken
            generation    which of the semaphores counts; CLOSING in the midst of a change
            died          the last holder, if it died holding; taken by the next holder, who is told
    bytes   semaphore[6]

    acquire                                                mend, by whoever waits (under a record lock)
    ───────                                                ────
    take semaphore[g]                                      semaphore[g] is taken, holder[g] is dead, or nobody
    holder[g] = me                                         generation = g | CLOSING
    generation == g?  yes: it is ours                      a moment later: is holder[g] still dead, or nobody?
                      no:  somebody mends: ask who won       no: generation = g            (there is a holder)
    release                                                  yes: generation = g + 1, semaphore[g + 1] = 1
    ───────
    holder[g] = nobody
    post semaphore[g]

Why generations: between taking the semaphore and writing ``holder`` a process looks like one that died there. It reads
``generation`` after it wrote ``holder``, the mender reads ``holder`` after it wrote ``generation``: so one of the two
sees the other, and a semaphore that was given up is told from the one that counts. Why a release writes ``holder``: who
died between the semaphore and that word would hide behind the last holder, if that one lives. It was not inside,
so nobody is told of its death. The six are used in turn: to mistake one for another, a process must sleep between two
adjacent steps while six others die.

A mender that dies half-way leaves CLOSING, and the next who meets that finishes. Who waits looks at the holder every
``SLICE_S``, so a death is noticed in that time.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, NamedTuple

from distpool.scheduler.shared import identity, segment, semaphores

GENERATIONS = 6
_GENERATION, _DIED = GENERATIONS, GENERATIONS + 1
_SEMAPHORES = 64  # where they begin
BYTES = _SEMAPHORES + GENERATIONS * semaphores.BYTES

_CLOSING = 1 << 63
_NEVER = _CLOSING | 1  # no generation: sends the fast path to the slow one
#: How long a waiter sleeps before it looks whether the holder is still there.
SLICE_S = 0.04
#: For stores of another core to be seen here: they take nanoseconds. One that has not written who it is, and lives, may
#: wait for a processor, so it is given this many times as long.
_SETTLE_S = 0.001
_SETTLINGS = 20


class ClientGone(BaseException):
    """Ends a wait for somebody who is not there any more."""


class _Service(threading.local):
    """What a thread does for a process of another node. Of other threads nothing is set."""

    #: Called while it waits, now and then; raises to end the wait if that process is there no more.
    check: Callable[[], None] | None = None
    #: Gets the word of each holder that died, for that process to be told.
    told: list[int] | None = None


service = _Service()


class _Bound(NamedTuple):
    """The semaphore of one generation, as this process uses it. One value: threads read it while another binds."""

    generation: int
    slot: int
    semaphore: Any


class Mutex:
    """One process's handle on a mutex at the beginning of ``place``.

    ``kind`` says whether the holding thread may take it again (``semaphores.RECURSIVE``) or any thread of any process
    may release it (``semaphores.SEMAPHORE``).
    """

    def __init__(self, place: segment.Place, kind: int) -> None:
        self.place = place
        self.kind = kind
        self._words = place.words
        self._looked_s = 0.0
        self._semaphores: dict[int, Any] = {}  # one handle for each: it counts how often a thread has it
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
        take, holder, expected, words, bound = self._fast
        try:
            taken = take(False)
            if taken:
                holder.value = identity.me
                if words[_GENERATION] == expected:
                    return True
        except BaseException:  # an interrupt between having taken it and saying so
            _give_back(take.__self__)
            raise
        return self._acquire_slowly(taken, bound, block, timeout)

    def __enter__(self) -> bool:
        take, holder, expected, words, bound = self._fast  # as above, for the cost of a call
        try:
            taken = take(False)
            if taken:
                holder.value = identity.me
                if words[_GENERATION] == expected:
                    return True
        except BaseException:
            _give_back(take.__self__)
            raise
        return self._acquire_slowly(taken, bound, True, None)

    def release(self) -> None:
        """Give it up.

        Raises:
            ValueError: it is free (kind SEMAPHORE).
            AssertionError: this thread does not hold it (kind RECURSIVE).
        """
        post, holder, count, recursive = self._give
        try:
            once = count() == 1
        except BaseException:  # an interrupt on the way back: nothing was released yet
            if not recursive:
                holder.value = identity.NOBODY
            post()
            raise
        if not once:
            if recursive:
                post()  # held by this thread more than once, or by none
            else:
                self._release_unusually()
            return
        holder.value = 0
        try:
            post()
        except AssertionError:
            holder.value = identity.me  # another thread holds it
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        post, holder, count, recursive = self._give  # as release, for the cost of a call
        try:
            once = count() == 1
        except BaseException:  # an interrupt on the way back: nothing was released yet
            if not recursive:
                holder.value = identity.NOBODY
            post()
            raise
        if not once:
            if recursive:
                post()  # held by this thread more than once, or by none
            else:
                self._release_unusually()
            return
        holder.value = 0
        try:
            post()
        except AssertionError:
            holder.value = identity.me  # another thread holds it
            raise

    def _acquire_slowly(self, taken: bool, bound: _Bound, block: bool, timeout: float | None) -> bool:
        until_s = None if timeout is None else time.monotonic() + max(0.0, timeout)
        try:
            while not (taken and self._counts(bound)):
                taken = False
                bound = self._follow()
                slice_s = 0.0
                if block:
                    slice_s = SLICE_S if until_s is None else min(SLICE_S, until_s - time.monotonic())
                taken = _try_to_take(bound.semaphore, slice_s)
                if taken:
                    self._words[bound.slot] = identity.me
                elif not self._mend(bound) and slice_s < SLICE_S:
                    return False
                elif service.check is not None:
                    service.check()
            self._bind()
            died = self._words[_DIED]
            if died:
                self._words[_DIED] = identity.NOBODY
                self._bind()
        except BaseException:
            if taken and self._words[_GENERATION] == self._bound.generation:
                self.release()
            raise
        if died:
            self._tell(died)
        return True

    def _tell(self, died: int) -> None:
        """The last holder (its word) died holding it; now it is ours. Whoever raises here must have released it."""

    def _release_unusually(self) -> None:
        """Another process has taken it, or nobody; this handle may have been idle while others died."""
        bound = self._follow()
        if bound.semaphore._is_zero():
            self._words[bound.slot] = identity.NOBODY
        bound.semaphore.release()
        if bound.semaphore._count() < 0:
            bound.semaphore._after_fork()

    def abandon(self, died: int) -> None:
        """Release it as its mender would: ``died``, for whom this process has it, is the holder that died."""
        with self._mending():
            self._finish()
            self._bound.semaphore._after_fork()
            self._advance(self._words[_GENERATION], died)

    # ---------------------------------------------------------------------------------- generations

    def _bind(self) -> _Bound:
        """Use the semaphore that counts now."""
        generation = self._words[_GENERATION] & ~_CLOSING
        index = generation % GENERATIONS
        semaphore = self._semaphores.get(index)
        if semaphore is None:
            made = semaphores.handle(_address(self.place, index), self.kind, 1)
            semaphore = self._semaphores.setdefault(index, made)
        # A death that nobody was told of yet is told by the slow path.
        expected = _NEVER if self._words[_DIED] else generation
        holder = ctypes.c_uint64.from_address(
            self.place.address + index * 8
        )  # written faster than words[index]
        bound = _Bound(generation, index, semaphore)
        self._fast = (semaphore.acquire, holder, expected, self._words, bound)
        self._give = (semaphore.release, holder, semaphore._count, self.kind == semaphores.RECURSIVE)
        self._bound = bound
        return bound

    def _counts(self, bound: _Bound) -> bool:
        """Whether the semaphore that we took is the one that counts. If not, it is given up."""
        if self._words[_GENERATION] == bound.generation:
            return True
        with self._mending():
            self._finish()
            # A whole round later it is the one that counts after all: taken by a handle that was bound long ago.
            if (self._words[_GENERATION] - bound.generation) % GENERATIONS == 0:
                return True
            bound.semaphore._after_fork()  # so that this thread does not seem to have it
            return False

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
        if words[_GENERATION] == bound.generation and identity.is_dead(words[bound.slot]):
            with self._mending():
                self._finish()
                if words[_GENERATION] == bound.generation and bound.semaphore._is_zero():
                    words[_GENERATION] = bound.generation | _CLOSING
                    self._finish()
        return bool(words[_GENERATION] != bound.generation)

    def _finish(self) -> None:
        """Decide a change that is in the midst. The mending lock is held."""
        words = self._words
        if not words[_GENERATION] & _CLOSING:
            return
        generation = words[_GENERATION] & ~_CLOSING
        slot = generation % GENERATIONS
        holder = identity.NOBODY
        for _ in range(_SETTLINGS):
            time.sleep(_SETTLE_S)
            holder = words[slot]
            if holder != identity.NOBODY:
                break
        if holder != identity.NOBODY and not identity.is_dead(holder):
            words[_GENERATION] = generation
        else:
            self._advance(generation, holder)

    def _advance(self, generation: int, died: int) -> None:
        """Let the generation after this one begin; ``died`` was inside, if anybody. The mending lock is held."""
        following = (generation + 1) % GENERATIONS
        opened = semaphores.handle(_address(self.place, following), semaphores.SEMAPHORE, 1)
        self._words[following] = identity.NOBODY
        if died:
            self._words[_DIED] = died
        self._words[_GENERATION] = generation + 1
        if opened._is_zero():
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


def _try_to_take(semaphore: Any, slice_s: float) -> bool:
    """Whether it could be had within ``slice_s``, or at once if that is nothing."""
    count = semaphore._count()
    try:
        return bool(semaphore.acquire(True, slice_s) if slice_s > 0 else semaphore.acquire(False))
    except BaseException:
        if semaphore._count() > count:
            _give_back(semaphore)
        raise


def _give_back(semaphore: Any) -> None:
    """An interrupt came when it may have been taken, but its taker was not told."""
    if semaphore._is_mine():
        semaphore.release()


def _forked_child() -> None:
    """What the parent's threads held is not held here."""
    global _threads
    _threads = threading.Lock()
    for mutex in list(_handles):
        for semaphore in mutex._semaphores.values():
            semaphore._after_fork()


_threads = threading.Lock()
_handles: weakref.WeakSet[Mutex] = weakref.WeakSet()
os.register_at_fork(after_in_child=_forked_child)
