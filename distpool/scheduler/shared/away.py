"""A channel of another node: what ``Channel`` does, by the few operations that its home's server takes.

::

    send, admit, deliver ─► items.flat ─► offer ──► home: admit, or held back there
    receive              ◄─ bytes ─────── take  ──► home: receive; only this thread's link waits

An item that is accepted is out of this process, so nothing is ever held back here.
"""

from __future__ import annotations

from distpool.errors import SharedElsewhere
from distpool.scheduler.shared.channel import FULL, SENT, Channel
from distpool.scheduler.shared.items import Incoming, Item, flat


class Away:
    """What a queue uses in place of the channel, whose remote handle it has."""

    def __init__(self, handle: Channel) -> None:
        self._handle = handle
        self.items_max = handle.items_max
        self.is_empty = handle.is_empty
        self.is_full = handle.is_full
        self.count = handle.count

    def send(self, item: Item) -> bool:
        """As ``Channel.send``."""
        return self._handle.offer(*flat(item), False, None)

    def admit(self, item: Item, may_send: bool) -> int:
        """As ``Channel.admit``; ``may_send`` is always true."""
        return SENT if self.send(item) else FULL

    def wait_to_admit(self, item: Item, may_send: bool, timeout: float | None) -> int:
        """As ``Channel.wait_to_admit``."""
        return SENT if self._handle.offer(*flat(item), True, timeout) else FULL

    def deliver(self, item: Item, held_back: bool) -> None:
        """As ``Channel.deliver``."""
        self._handle.offer(*flat(item), True, None)

    def receive(self, block: bool = True, timeout: float | None = None) -> bytes | Incoming | None:
        """As ``Channel.receive``."""
        data = self._handle.take(block, timeout)
        if data is None:
            return None
        if data[0]:
            return data[1:]
        incoming = Incoming()
        incoming.take(memoryview(data)[1:])
        return incoming

    def descriptor(self) -> int:
        """There is none: raises SharedElsewhere."""
        raise SharedElsewhere(
            "a queue of another node has no descriptor to wait for; call its get(), in a thread if need be"
        )
