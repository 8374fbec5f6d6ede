"""Agents and their head, and what anybody may ask of them."""

from __future__ import annotations

import msgspec

from distpool.scheduler.messages.base import Message


class NodeFacts(Message, frozen=True):
    """What a node has, and what of it is free."""

    node: str
    address: str
    total: dict[str, float]
    available: dict[str, float]
    labels: dict[str, str] = {}


class NodeHello(Message, frozen=True):
    """A node introduces itself to the head, on each new link."""

    incarnation: int
    facts: NodeFacts


class NodeReport(Message, frozen=True):
    """Heartbeat with what is free; sent on a clock and when leases change it, never per task."""

    incarnation: int
    available: dict[str, float]
    queued: int = 0  # leases wanted here and not granted


class NodeBye(Message, frozen=True):
    """A clean farewell."""

    incarnation: int


class NodeWelcome(Message, frozen=True):
    """Whether the head takes the node in, and if not, why."""

    incarnation: int
    accepted: bool
    reason: str = ""


class View(Message, frozen=True):
    """The nodes that the head believes in, in full; ``version`` only grows."""

    version: int
    nodes: tuple[NodeFacts, ...]


class KeyPut(Message, frozen=True):
    """Set a key, or with ``overwrite`` false only if it is not there."""

    request: int
    key: str
    value: bytes
    overwrite: bool = True


class KeyGet(Message, frozen=True):
    """Ask for a key."""

    request: int
    key: str


class KeyDelete(Message, frozen=True):
    """Remove a key."""

    request: int
    key: str


class KeyAnswer(Message, frozen=True):
    """``value`` is what the key holds now (get, put) or held (delete); ``changed`` whether the call changed it."""

    request: int
    value: bytes | None
    changed: bool = False


class StoreQuery(Message, frozen=True):
    """What lies in the node's object store? The agent answers with a StoreReport."""


class StoredObject(msgspec.Struct, frozen=True, array_like=True):
    """One object. ``holders`` are (process number, via, references, views): see ``store.ledger.Hold``."""

    bytes: int
    on_disk: bool
    state: str
    label: str  # which line made it
    holders: tuple[tuple[int, int, int, int], ...]


class StoreReport(Message, frozen=True):
    """``pids`` by process number; ``used`` and ``size`` in bytes, of memory and disk."""

    node: str
    pids: dict[int, int]
    used: tuple[int, int]
    size: tuple[int, int]
    spill_directory: str
    objects: tuple[StoredObject, ...]
