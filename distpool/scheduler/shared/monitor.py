"""A mutex, words of state that it guards, and whoever waits for them to change, in any process of the node.

All primitives but the locks are made of it: semaphores, conditions, events, barriers, queues. Who waits has an entry
in a table, with a semaphore of its own to sleep on, so a wake-up goes to whom it is meant for::

    words   (the mutex's)
            words[WORDS]          the user's state, zeros at first
            waiting               entries in use; more, if somebody died at the wrong instant
            ticket, high, looked  last ticket given, entries ever used, when somebody looked for dead ones (ms)
            entry[..]             process, FREE | WAITING | WOKEN (and for what), ticket, -, sem_t

    with monitor:                                       with monitor:
        monitor.wait_until(ready)                           monitor.words[0] += 1
            ready()?  no: entry WAITING                     monitor.wake(1)
            leave the mutex, sleep on the entry  ◄──post──      the entry WAITING longest is WOKEN
            take the mutex, ready()?  yes: FREE

Sleep is in slices. So a wake-up that is lost with its waker costs a slice. At the end of a slice somebody
looks for entries of dead processes: they are freed, and a wake-up that went to one is passed on.

The user's part: the state must be right after each single write. Then there is nothing to undo when a process dies
inside; ``on_death`` is for who wants to look nevertheless.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

from distpool.scheduler.shared import identity, mutex, segment, semaphores

T = TypeVar("T")

#: Words of state for the user.
WORDS = 24
#: How long a waiter sleeps before it looks; with very many of them each does so less often.
SLICE_S = 0.05
_MANY = 16
#: What a waiter does that found the table full: it asks again and again.
_POLL_S = 0.01

_STATE = mutex.BYTES // 8
_WAITING, _TICKET, _HIGH, _LOOKED = (_STATE + WORDS + n for n in range(4))
_TABLE = _STATE + WORDS + 8
_ENTRY_WORDS = 8
_ENTRY_BYTES = _ENTRY_WORDS * 8
#: Of an entry; its semaphore follows.
_PROCESS, _WHETHER, _NUMBER, _SEMAPHORE = 0, 1, 2, 4

_FREE, _IS_WAITING, _IS_WOKEN = 0, 1, 2
_KIND = 0xFF  # the three above; what it waits for is in the bits beyond
_POSTS_MAX = 1 << 30


def bytes_for(waiters: int) -> int:
    """The size of a place for a monitor with entries for so many waiters."""
    return _TABLE * 8 + waiters * _ENTRY_BYTES


#: For 256 waiters. Memory is used only by entries that were in use once.
BYTES = bytes_for(256)


class Monitor(mutex.Mutex):
    """One process's handle on a monitor in ``place``; ``with`` it enters and leaves.

    The place is made ready, once, by ``Monitor.make(place)``. Of it a monitor for ``waiters`` uses
    ``bytes_for(waiters)``, for None all.
    """

    def __init__(self, place: segment.Place, waiters: int | None = None) -> None:
        super().__init__(place, semaphores.RECURSIVE)
        #: The user's state, to be touched inside only (but for reads of a single word, which are right at any time).
        self.words = place.words[_STATE : _STATE + WORDS]
        #: Called inside, with the word of a process that died inside.
        self.on_death: Callable[[int], None] | None = None
        #: Called inside, with the word of a process that died waiting, and what for.
        self.on_gone: Callable[[int, int], None] | None = None
        #: Called inside, after a waiter has looked for dead ones, at most once in a slice.
        self.on_look: Callable[[], None] | None = None
        self._entries_max = waiters or (place.size // 8 - _TABLE) // _ENTRY_WORDS
        self._posts: dict[int, Any] = {}  # the handles of entries' semaphores

    def _tell(self, died: int) -> None:
        if self.on_death is not None:
            self.on_death(died)

    # ------------------------------------------------------------------------------------------ waiting

    def wait_until(
        self, ready: Callable[[], T], block: bool = True, timeout: float | None = None, reason: int = 0
    ) -> T | None:
        """Sleep until ``ready()`` is true, and return its result; something false if that did not come in time.

        To be called inside, entered once. ``ready`` is called inside: at once, after each wake-up and each slice.

        Args:
            ready: whether the wait is over; what it changes then, it changes for good.
            block: False to ask only once.
            timeout: in seconds; None for ever.
            reason: what is waited for, where several things are; ``wake`` names it.
        """
        value = ready()
        if value or not block or (timeout is not None and timeout <= 0):
            return value
        until_s = None if timeout is None else time.monotonic() + timeout
        at = self.enlist(reason)
        try:
            in_time = True
            while in_time and not value:
                in_time = self._sleep(at, until_s)
                value = ready()
                if at is not None and not value:
                    self._words[at + _WHETHER] = _IS_WAITING | reason << 8
            return value
        finally:
            self._delist(at, not value)

    def wait_for_wake(self, at: int, timeout: float | None) -> bool:
        """Sleep until the entry ``at``, that ``enlist`` gave, is woken; False if that did not come in time.

        The entry is free again afterwards.
        """
        until_s = None if timeout is None else time.monotonic() + timeout
        woken = False
        try:
            in_time = True
            while in_time and not woken:
                in_time = self._sleep(at, until_s)
                woken = self._words[at + _WHETHER] & _KIND == _IS_WOKEN
            return woken
        finally:
            self._delist(at, not woken)

    def wake(self, n: int, reason: int = 0) -> int:
        """Wake those who wait longest for ``reason``, at most ``n`` of them; how many there were. Inside only."""
        words = self._words
        if not words[_WAITING]:
            return 0
        wanted = _IS_WAITING | reason << 8
        found = [(words[at + _NUMBER], at) for at in self._entries() if words[at + _WHETHER] == wanted]
        found.sort()
        for _, at in found[:n]:
            words[at + _WHETHER] = _IS_WOKEN | reason << 8
            self._post(at).release()
        return min(n, len(found))

    def wake_all(self, reason: int = 0) -> int:
        """Wake all who wait for ``reason``; how many there were. Inside only."""
        return self.wake(self._entries_max, reason)

    def waiting(self, reason: int = 0) -> int:
        """How many wait for ``reason`` and were not woken yet, the dead among them included. Inside only."""
        wanted = _IS_WAITING | reason << 8
        return sum(self._words[at + _WHETHER] == wanted for at in self._entries())

    # ----------------------------------------------------------------------------------- entries

    def enlist(self, reason: int = 0) -> int | None:
        """An entry that waits from now on; None if all are in use. Inside only."""
        words = self._words
        at = self._unused()
        if at is None:
            return None
        words[_WAITING] += 1
        words[_TICKET] += 1
        if not words[at + _NUMBER]:
            semaphores.make(self.place.address + (at + _SEMAPHORE) * 8, 0)
        post = self._post(at)
        while post.acquire(False):  # meant for one who did not live to see it
            pass
        words[at + _NUMBER] = words[_TICKET]
        words[at + _PROCESS] = identity.me
        words[at + _WHETHER] = _IS_WAITING | reason << 8
        return at

    def _unused(self) -> int | None:
        words = self._words
        for _ in range(2):
            for at in self._entries():
                if words[at + _WHETHER] == _FREE:
                    return at
            high = words[_HIGH]
            if high < self._entries_max:
                words[_HIGH] = high + 1
                return _TABLE + high * _ENTRY_WORDS
            self._look(0)
        return None

    def _delist(self, at: int | None, unserved: bool) -> None:
        if at is None:
            return
        words = self._words
        whether = words[at + _WHETHER]
        if unserved and whether & _KIND == _IS_WOKEN:
            self.wake(1, whether >> 8)
        words[at + _WHETHER] = _FREE
        words[_WAITING] = max(words[_WAITING], 1) - 1

    def _sleep(self, at: int | None, until_s: float | None) -> bool:
        """Outside until woken, or for a slice; False, at once, if the time is up."""
        slice_s = _POLL_S if at is None else SLICE_S * (1 + self._words[_WAITING] // _MANY)
        if until_s is not None:
            slice_s = min(slice_s, until_s - time.monotonic())
            if slice_s <= 0:
                return False
        woken = False
        self.release()
        try:
            if at is None:
                time.sleep(slice_s)
            else:
                woken = self._post(at).acquire(True, slice_s)
        finally:
            self._return()
        if not woken:
            self._look(SLICE_S / 2)
            if mutex.service.check is not None:
                mutex.service.check()
        return True

    def _return(self) -> None:
        """Enter again, come what may: an interrupt is raised inside, where the caller believes to be."""
        interrupt: BaseException | None = None
        while True:
            try:
                self.acquire()
                break
            except BaseException as error:
                interrupt = error
        if interrupt is not None:
            raise interrupt

    def _look(self, pause_s: float) -> None:
        """Free the entries of dead processes, unless somebody has looked within ``pause_s``."""
        words = self._words
        now_ms = int(time.monotonic() * 1000)
        if now_ms - words[_LOOKED] < pause_s * 1000:
            return
        words[_LOOKED] = now_ms
        dead: dict[int, bool] = {}
        used = 0
        for at in self._entries():
            whether = words[at + _WHETHER]
            if whether == _FREE:
                continue
            process = words[at + _PROCESS]
            if process not in dead:
                dead[process] = identity.is_dead(process)
            if not dead[process]:
                used += 1
                continue
            if whether & _KIND == _IS_WOKEN:  # before it is freed: one too many does no harm
                self.wake(1, whether >> 8)
            elif self.on_gone is not None:
                self.on_gone(process, whether >> 8)
            words[at + _WHETHER] = _FREE
        words[_WAITING] = used
        if self.on_look is not None:
            self.on_look()

    def _entries(self) -> range:
        return range(_TABLE, _TABLE + self._words[_HIGH] * _ENTRY_WORDS, _ENTRY_WORDS)

    def _post(self, at: int) -> Any:
        post = self._posts.get(at)
        if post is None:
            address = self.place.address + (at + _SEMAPHORE) * 8
            post = self._posts[at] = semaphores.handle(address, semaphores.SEMAPHORE, _POSTS_MAX)
        return post
