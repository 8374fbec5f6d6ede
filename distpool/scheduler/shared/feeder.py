"""What a process holds back for a channel without room, and the thread that feeds it in.

::

    put ─► hold ─► deque ─► thread: channel.deliver(first), then take it off ─► ... ─► nothing left: the thread ends

So ``put`` need not wait for readers. The thread lives only while there is something to feed. The first item stays in
the deque until it is written: as long as ``waiting`` is true no later item may be sent past it.

When the process ends, what is left is written first, unless ``leave_at_exit`` was called. A forked child starts with
nothing held back: that is the parent's.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from multiprocessing.util import Finalize
from typing import Any

from distpool.scheduler.shared.away import Away
from distpool.scheduler.shared.channel import Channel
from distpool.scheduler.shared.items import Item

#: When the standard queue's threads are joined at exit, too: after managers and pools were told to end.
_EXIT_PRIORITY = -5


class Feeder:
    """One for each handle on a channel."""

    def __init__(self, channel: Channel | Away) -> None:
        self._channel = channel
        self._stays = True
        self._reset()
        _feeders.add(self)

    def _reset(self) -> None:
        #: What is held back; empty, hence false, most of the time.
        self.waiting: deque[Item] = deque()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._at_exit: Any = None

    def hold(self, item: Item) -> None:
        """Deliver an item that ``Channel.admit`` held back, after those before it."""
        item = item if isinstance(item, bytes) else item.own()
        with self._lock:
            self.waiting.append(item)
            if self._thread is not None:
                return
            thread = self._thread = threading.Thread(target=self._feed, name="QueueFeederThread", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the interpreter ends, and has no more threads
            self._feed()
            return
        if self._stays:
            self._at_exit = Finalize(thread, _join, (weakref.ref(thread),), exitpriority=_EXIT_PRIORITY)

    def join(self) -> None:
        """Until nothing is held back any more."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def leave_at_exit(self) -> None:
        """Let the process end even if something is held back, which is lost then."""
        self._stays = False
        if self._at_exit is not None:
            self._at_exit.cancel()

    def _feed(self) -> None:
        while True:
            with self._lock:
                if not self.waiting:
                    self._thread = None
                    return
                item = self.waiting[0]
            self._channel.deliver(item, held_back=True)
            self.waiting.popleft()


def _join(reference: weakref.ref[threading.Thread]) -> None:
    thread = reference()
    if thread is not None:
        thread.join()


def _forked_child() -> None:
    for feeder in list(_feeders):
        feeder._reset()


_feeders: weakref.WeakSet[Feeder] = weakref.WeakSet()
os.register_at_fork(after_in_child=_forked_child)
