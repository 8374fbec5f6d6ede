"""What this process has exported: arrays on a device, each kept until nobody needs it, or until it is on the host.

::

    put ──► ledger: an object in DEVICE, its block has the ticket          importer: pin ─► map, copy, unmap ─► unpin
                 │                                                                  ▲
                 │   look, every few milliseconds while there are any               │ held by tasks, results, references
                 ├── the object is gone: nobody holds it ──► let go of the array    │ as any object is
                 ├── it is wanted on the host ──► copy it there, move the object ──┘ (another node, another device,
                 └── leave: this process ends ──► the same, for all                   no permission, no room)

**Invariant**: the array outlives every importer's mapping of it. An importer has the object pinned while it maps the
array; under a pin the object neither goes nor moves; and only when it has gone or moved does the exporter let go. A
dead importer's pins are the agent's to end (``Ledger.mend``), and so are the objects of a dead exporter.

No message is needed, and nobody waits for a process but one who needs the bytes on the host. Not here: what a device
is (``serialize/device_arrays.py``), and how room is made on the host (``putting.py``).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from distpool.errors import StoreError
from distpool.scheduler.serialize.on_device import Exported
from distpool.scheduler.store.access import Access
from distpool.scheduler.store.ledger import ObjectGone
from distpool.scheduler.store.ledger_table import NO_ROOM, REFUSED, WANTED

#: How often a process looks at what it has exported: at first, and when nothing has happened for some time.
LOOK_S, LOOK_S_MAX = 0.003, 0.1
#: For so long after it has read an array, an importer sees to it that it is let go of, whatever it does then.
SETTLE_S = 1.0
#: A process that ends gives others so long to have done with its arrays, while it brings them to the host.
LEAVE_S = 30.0

#: What a forked child has inherited: the device is its parent's, and it must not even free anything there.
_inherited: list[object] = []


class Tickets:
    """Those of one process. Thread-safe.

    Args:
        access: the store's.
        bring: copies an exported array to the host and moves the object there; whether it has moved.
        drain: tells the ledger what this process has let go of.
    """

    def __init__(
        self, access: Access, bring: Callable[[int, Exported], bool], drain: Callable[[], None]
    ) -> None:
        self._access, self._bring, self._drain = access, bring, drain
        self._settled_s = 0.0
        self._exported: dict[int, Exported] = {}
        self._looking, self._starting = threading.Lock(), threading.Lock()
        self._bell = threading.Event()
        self._thread: threading.Thread | None = None

    def __bool__(self) -> bool:
        return bool(self._exported)

    def add(self, number: int, exported: Exported) -> None:
        """Keep this from here on."""
        self._exported[number] = exported
        self._wake()

    def settle(self) -> None:
        """This process has read an array of another's: what it lets go of now is device memory of that one."""
        self._settled_s = time.monotonic() + SETTLE_S
        self._wake()

    def _wake(self) -> None:
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="distpool-devices", daemon=True)
                self._thread.start()
        self._bell.set()

    def find(self, number: int) -> Exported | None:
        """What this process has exported as that object."""
        return self._exported.get(number)

    def make_room(self, exported: Exported) -> None:
        """There is one more: let go of what is not needed, and have the oldest on the host if they take too much."""
        self.look()
        size = exported.size + sum([other.size for other in list(self._exported.values())])
        for number, other in list(self._exported.items()):
            if size <= exported.room_bytes:
                return
            with self._looking:
                self._move(number, other)
            size -= other.size

    def look(self) -> bool:
        """Let go of what nobody needs, and bring what is wanted. Whether there was anything to do."""
        with self._looking:
            found = [self._look_at(number) for number in list(self._exported)]
        return any(found)

    def _look_at(self, number: int) -> bool:
        ledger = self._access.ledger
        exported = self._exported.get(number)
        if exported is None:
            return False
        try:
            if ledger.is_on_device(number):
                wish = ledger.wish(number)
                if wish & REFUSED:
                    exported.refuse()
                if wish & WANTED:
                    self._move(number, exported)
                return bool(wish & WANTED)
        except ObjectGone:
            pass
        self._exported.pop(number, None)
        return True

    def _move(self, number: int, exported: Exported) -> None:
        """Have it on the host, if nobody reads the device just now: then it is tried again."""
        if number not in self._exported:
            return  # another thread of this process has done so
        try:
            if self._bring(number, exported):
                self._exported.pop(number, None)
        except ObjectGone:
            self._exported.pop(number, None)
        except Exception:  # no room there, or the device has failed: who waits is told
            with self._access.lock:
                try:
                    self._access.ledger.no_room(number)
                except ObjectGone:
                    pass

    def leave(self) -> None:
        """This process is about to end: what others need of it goes to the host."""
        until = time.monotonic() + LEAVE_S
        while self.look() or self._exported:
            if time.monotonic() > until:
                return
            with self._looking:
                for number, exported in list(self._exported.items()):
                    self._move(number, exported)
                    if number in self._exported and self._give_up(number):
                        del self._exported[number]
            if self._exported:
                time.sleep(LOOK_S)

    def _give_up(self, number: int) -> bool:
        """Where there is no room on the host, who needs it will hear that it is gone."""
        ledger = self._access.ledger
        with self._access.lock:
            try:
                return bool(ledger.wish(number) & NO_ROOM) and ledger.give_up(number)
            except ObjectGone:
                return True

    def close(self) -> None:
        """The session is over: nobody reads anything any more."""
        self._exported.clear()
        self._bell.set()

    def forget(self) -> None:
        """In a forked child."""
        _inherited.append(self._exported)
        self._exported = {}
        self._looking, self._starting = threading.Lock(), threading.Lock()
        self._bell = threading.Event()
        self._thread = None

    def _run(self) -> None:
        pause_s = LOOK_S
        while not self._access.closed:
            if not self._exported and self._settled_s < time.monotonic():
                self._bell.wait()
            elif self._bell.wait(pause_s):
                pause_s = LOOK_S
            self._bell.clear()
            try:
                if self._access.has_dropped:
                    self._drain()
                pause_s = LOOK_S if self.look() else min(pause_s * 1.2, LOOK_S_MAX)
            except (StoreError, ValueError, OSError):
                if not self._access.closed:  # it is being closed under our hands
                    raise
