"""The ends of a channel as connections, for programs that reach for a standard queue's ``_reader`` and ``_writer``.

``multiprocessing.connection.wait([queue._reader])`` is in real programs. Nothing here costs anything before it is asked
for.
"""

from __future__ import annotations

import select
from typing import Any

from distpool.scheduler.shared import items
from distpool.scheduler.shared.away import Away
from distpool.scheduler.shared.channel import Channel


class _End:
    def __init__(self, channel: Channel | Away) -> None:
        self._channel = channel
        self.closed = False

    def close(self) -> None:
        """Use it no more; the channel stays as it is."""
        self.closed = True

    def _use(self) -> Channel | Away:
        if self.closed:
            raise OSError("handle is closed")
        return self._channel


class Reader(_End):
    """Where items come out."""

    readable, writable = True, False

    def fileno(self) -> int:
        """A descriptor that is readable while there is an item."""
        return self._use().descriptor()

    def poll(self, timeout: float | None = 0.0) -> bool:
        """Whether there is an item, or comes within ``timeout`` seconds (None: for ever)."""
        channel = self._use()
        if not channel.is_empty() or timeout == 0:
            return not channel.is_empty()
        poller = select.poll()
        poller.register(self.fileno(), select.POLLIN)
        return bool(poller.poll(None if timeout is None else max(0.0, timeout) * 1000))

    def recv(self) -> Any:
        """The next item's object."""
        received = self._use().receive()
        assert received is not None, "waiting without a limit ends with an item"
        return items.load(received)


class Writer(_End):
    """Where items go in."""

    readable, writable = False, True

    def send(self, obj: Any) -> None:
        """Put an object in, and wait for room."""
        channel, item = self._use(), items.pack(obj)
        if not channel.send(item):
            channel.deliver(item, held_back=False)
