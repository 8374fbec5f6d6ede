"""A call whose function is a generator, in its worker: each value is sent as it comes, the answer is their number.

::

    next(generator) ─► Yielded(attempt, 0, value) ─► owner        the value is there before the call is done
    ...             ◄─ Consumed(attempt, n)       ── owner        only where back-pressure was asked for:
    its end         ─► Results(attempt: count)                    at most so many values lie unread
    an error        ─► Yielded(attempt, n, error), Results: the error is the last value, as with a generator

Where some of the values were lost since, the call runs again for these: see ``wanted``.

What it is not: how the values are waited for (``scheduler.remote.generators``).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

#: How long a stopped generator sleeps before it looks whether its call is to be interrupted.
LOOK_S = 0.05


class Reading:
    """How many values of each call were read at the other end; told by the second thread."""

    def __init__(self) -> None:
        self._read: dict[int, int] = {}
        self._changed = threading.Condition()

    def consumed(self, attempt: int, count: int) -> None:
        """So many were read in all."""
        with self._changed:
            if count > self._read.get(attempt, 0):
                self._read[attempt] = count
            self._changed.notify_all()

    def wait_for_room(self, attempt: int, sent: int, unread_max: int) -> None:
        """Sleep while ``unread_max`` of the values lie unread."""
        with self._changed:
            while sent - self._read.get(attempt, 0) >= unread_max:
                self._changed.wait(LOOK_S)

    def unread(self, attempt: int, sent: int) -> int:
        """How many of the values lie unread."""
        return sent - self._read.get(attempt, 0)

    def forget(self, attempt: int) -> None:
        """The call is done."""
        with self._changed:
            self._read.pop(attempt, None)


def stream(
    generator: Any,
    attempt: int,
    unread_max: int,
    reading: Reading,
    send: Callable[[int, Any], None],
    send_error: Callable[[int, BaseException], None],
    wanted: Sequence[int] = (),
) -> int:
    """Send all that a generator gives; returns how many values that were, an error among them.

    ``wanted``: only these are sent, in order, and it is over with the last: they were lost, and others were not.

    Raises:
        TypeError: it is no generator.
        KeyboardInterrupt, SystemExit: as the generator raises them.
    """
    if not hasattr(generator, "__next__"):
        if not hasattr(generator, "__iter__"):
            raise TypeError(
                'with num_returns="streaming" a call yields its values, '
                f"and this one has returned a {type(generator).__name__}"
            )
        generator = iter(generator)
    sent, chosen = 0, frozenset(wanted)
    try:
        while not wanted or sent <= wanted[-1]:
            if unread_max:
                reading.wait_for_room(attempt, sent, unread_max)
            try:
                value = next(generator)
            except StopIteration:
                return sent
            except Exception as error:
                send_error(sent, error)
                return sent + 1
            if not wanted or sent in chosen:
                send(sent, value)
            sent += 1
            del value
        return sent
    finally:
        reading.forget(attempt)
        close = getattr(generator, "close", None)
        if close is not None:
            close()
