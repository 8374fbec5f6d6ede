"""Room in the store for what other nodes and programs elsewhere send, made beside the agent's loop.

::

    loop: ask(size) ── there is room ──► then(incoming), at once
             │ none, unless others are spilled to the disk, which takes as long as that writes
             ▼
    thread: spill, spill, ..., reserve ──► fd is readable ──► loop: settle ──► then(incoming, or why not)

So heartbeats and leases never wait for a disk. One thread, started when it is first needed: two would wait for the same
disk. Not here: what is sent meanwhile (nothing: who asks has the sender wait).
"""

from __future__ import annotations

import os
import queue
import threading
from collections import deque
from collections.abc import Callable

from distpool.errors import StoreError
from distpool.scheduler.store.putting import Incoming
from distpool.scheduler.store.store import ObjectStore

Made = Incoming | StoreError | OSError
Then = Callable[[Made, float], None]  # and the time


class RoomMaking:
    """For one store. ``fd`` is to be watched; it is readable when ``settle`` has something to do."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._asked: queue.SimpleQueue[tuple[int, str, Then]] = queue.SimpleQueue()
        self._made: deque[tuple[Made, Then]] = deque()
        self._thread: threading.Thread | None = None
        self.fd, self._wake = os.pipe()
        os.set_blocking(self.fd, False)
        os.set_blocking(self._wake, False)

    def ask(self, size: int, label: str, now: float, then: Then) -> None:
        """Call ``then`` with room for an object, now or by ``settle``; or with why there is none."""
        try:
            incoming = self._store.receive(size, label, spill=False)
        except (StoreError, OSError) as error:
            then(error, now)
            return
        if incoming is not None:
            then(incoming, now)
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="room", daemon=True)
            self._thread.start()
        self._asked.put((size, label, then))

    def _run(self) -> None:
        while True:
            size, label, then = self._asked.get()
            result: Made | None
            try:
                result = self._store.receive(size, label)
                assert result is not None
            except (StoreError, OSError) as error:
                result = error
            self._made.append((result, then))
            try:
                os.write(self._wake, b"\0")
            except BlockingIOError:
                pass  # it is readable already

    def settle(self, now: float) -> None:
        """Tell who has asked."""
        try:
            os.read(self.fd, 4096)
        except BlockingIOError:
            pass
        while self._made:
            result, then = self._made.popleft()
            then(result, now)
