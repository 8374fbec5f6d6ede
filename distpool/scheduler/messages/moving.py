"""Objects that lie on another node: a process and its agent, one agent and another.

::

    process ── FarHold, FarDrop, ... ─► its agent ── SourceTake, SourceRelease ─► agent of the node where it lies
            ── Fetch ────────────────►            ── Pull, PullOn ──────────────►
            ◄─ Fetched ───────────────            ◄─ Coming, Chunk, Chunk, ... ──

Objects are named by their numbers, which say in whose store each lies (``store.ledger_table.store_of``).
"""

from __future__ import annotations

from distpool.scheduler.messages.base import Message


class Fetch(Message, frozen=True):
    """Have copies of these on this node."""

    request: int
    ids: tuple[int, ...]


class Fetched(Message, frozen=True):
    """The numbers of the copies, in the order of the request, each in transit to the asker; or why there are none."""

    request: int
    ids: tuple[int, ...]
    reason: str = ""
    is_lost: bool = False  # they cannot be had any more; else there is no room for them here, or not now


class FarLook(Message, frozen=True):
    """Which of these cannot be had any more?"""

    request: int
    ids: tuple[int, ...]


class FarLooked(Message, frozen=True):
    """The answer to FarLook: which are lost, and of which only a copy on this node is left, where nobody else looks."""

    request: int
    lost: tuple[int, ...]
    only_here: tuple[int, ...] = ()


class FarHold(Message, frozen=True):
    """The sender refers to each of these, once more."""

    ids: tuple[int, ...]


class FarDrop(Message, frozen=True):
    """The sender refers to each of these once less."""

    ids: tuple[int, ...]


class FarClaim(Message, frozen=True):
    """The sender refers to these from now on, which were put for it, or handed to it, by ``via``.

    ``via`` is a process of the node whose store is number ``store``, or (0) of this node. ``soon``: they will be
    fetched.
    """

    ids: tuple[int, ...]
    via: int
    store: int = 0
    soon: bool = False


class FarHand(Message, frozen=True):
    """The sender passes these on to ``holder``, a process of this node or a node (``NODES``), which will claim them.

    ``back``: that one will not hear of it after all.
    """

    ids: tuple[int, ...]
    holder: int
    back: bool = False


class FarForget(Message, frozen=True):
    """A worker (``via``) of the node with this store is dead, and the sender has read all that it had sent."""

    via: int
    store: int


class FarForgetHanded(Message, frozen=True):
    """A process of the node with this store, to which the sender has handed things, is gone.

    What is in transit there by now, and not taken within ``transit_s``, will not be.
    """

    store: int


class SourceKeep(Message, frozen=True):
    """First word on a link to another node: these of its objects, and no others, are needed where I am.

    ``link`` tells the sender's links apart: what comes by one before the latest counts no more.
    """

    store: int  # the sender's
    link: int
    ids: tuple[int, ...]


class SourceTake(Message, frozen=True):
    """These are needed where I am, from now on; ``via`` has put them for a process here (0: nobody has).

    What somebody has put is taken once: such a word has a ``serial`` number, which grows, and is said again on the next
    link until it is acknowledged.
    """

    ids: tuple[int, ...]
    via: int = 0
    serial: int = 0


class SourceTaken(Message, frozen=True):
    """Up to this serial number each SourceTake was heard."""

    serial: int


class SourceRelease(Message, frozen=True):
    """These are not needed there any more."""

    ids: tuple[int, ...]


class SourceForget(Message, frozen=True):
    """Your worker ``via`` is dead, and what it had put or handed on for us and is not taken soon will not be."""

    via: int


class SourceUnknown(Message, frozen=True):
    """Nothing is kept for the sender's link here, or no more: it is to begin anew, with a ``SourceKeep``."""


class SourceGone(Message, frozen=True):
    """These are not here, or no more."""

    ids: tuple[int, ...]


class Pull(Message, frozen=True):
    """Send this object from ``offset`` on; up to ``until`` for the time being. ``relay``: or say who else has it.

    ``turn``: of who was sent there (see PullElsewhere).
    """

    number: int
    offset: int
    until: int
    relay: bool
    turn: int = 0


class PullOn(Message, frozen=True):
    """Send on, up to ``until``."""

    number: int
    until: int


class PullStop(Message, frozen=True):
    """No more of this."""

    number: int


class PullElsewhere(Message, frozen=True):
    """The node with this store has a copy, or is getting one, and is less busy.

    ``turn`` grows with each such word. Who is still getting it himself passes it on to later ones only, so that nobody
    ever waits for who waits for him.
    """

    number: int
    store: int
    turn: int


class PullFailed(Message, frozen=True):
    """To a program: why it will not be sent; ``is_lost``: nor any other time."""

    number: int
    reason: str
    is_lost: bool


class Put(Message, frozen=True):
    """A program will send an object of this size, for its home to keep."""

    request: int
    size: int


class PutOn(Message, frozen=True):
    """Send up to ``until`` for the time being."""

    request: int
    until: int


class PutStop(Message, frozen=True):
    """It will not be sent in full."""

    request: int


class PutDone(Message, frozen=True):
    """It is there, and its number is this; or why it cannot be."""

    request: int
    number: int
    reason: str = ""


class Coming(Message, frozen=True):
    """The object will be sent, and is so long in all."""

    number: int
    size: int


class Chunk(Message, frozen=True):
    """A piece of an object (of a Put: of its request), which follows in a frame of its own."""

    number: int
    offset: int
