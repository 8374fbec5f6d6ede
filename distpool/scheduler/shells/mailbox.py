"""Where a worker leaves answers that must be neither lost nor repeated, until their owner has them.

An append-only file in the session directory, one per worker. A write that returned survives the death of the
process, so an attempt counts as finished only after its answer lies here; the agent reads it after a death.
Only tasks with ``retries=0`` pay for this.
"""

from __future__ import annotations

import os
import struct

from distpool.scheduler.messages import Results, decode

_LENGTH = struct.Struct("<I")


class Mailbox:
    """The worker's end."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1
        self._written = 0

    def leave(self, frame: bytes) -> None:
        """Append one encoded Results."""
        if self._fd < 0:
            self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        data = _LENGTH.pack(len(frame)) + frame
        while data:
            data = data[os.write(self._fd, data) :]
        self._written += 1

    def empty(self) -> None:
        """The owner has everything that was left."""
        if self._written:
            os.ftruncate(self._fd, 0)
            self._written = 0


def read_mailbox(path: str) -> tuple[Results, ...]:
    """What a dead worker left, in order; a frame that was being written when it died does not count."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        return ()
    answers = []
    at = 0
    while at + _LENGTH.size <= len(data):
        (length,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size
        if at + length > len(data):
            break
        message = decode(data[at : at + length])
        if isinstance(message, Results):
            answers.append(message)
        at += length
    return tuple(answers)
