"""What every message is, and the messages that a core gets from, or gives to, its own shell."""

from __future__ import annotations

from typing import Any

import msgspec

#: What a call's argument list or a result may be without pickle: see ``serialize.PLAIN_TYPES``.
Payload = Any


class Message(msgspec.Struct, frozen=True, array_like=True, tag=True, gc=False):
    """Base of all messages; compared by value in tests."""


class WakeAt(Message, frozen=True):
    """Ask for a Tick at this time (same clock as ``now``); an earlier Tick is harmless."""

    at_s: float


class Tick(Message, frozen=True):
    """Time has passed."""


class Record(Message, frozen=True):
    """A head's word to its journal: from now on a key of a table has this value; None: it is there no more.

    It is durable before anything that the head says in the same step, or later, leaves.
    """

    table: str
    key: str
    value: bytes | None


class Drain(Message, frozen=True):
    """The shell's word to a node's core: the node is to go, and takes nothing new."""


class LinkLost(Message, frozen=True):
    """The shell's word that the link to the sender is gone; nothing more will come over that incarnation."""


class NodeLost(Message, frozen=True):
    """A node is gone, with all that ran on it: the shell's word, or an agent's to an owner that it has sent there."""

    node: str
    reason: str = ""
