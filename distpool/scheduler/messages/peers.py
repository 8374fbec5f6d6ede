"""Owner and owner: a value that one makes and another waits for; an actor that one has created and another calls."""

from __future__ import annotations

import msgspec

from distpool.scheduler.messages.base import Message, Payload
from distpool.scheduler.messages.leasing import Death
from distpool.scheduler.messages.placing import Strategy
from distpool.scheduler.messages.running import ActorTerms


class Contact(msgspec.Struct, frozen=True, array_like=True):
    """Where an owner is to be found: its name, where it is dialled, its node, its number in that node's store.

    ``store`` is that store's own number in the cluster. ``home`` is the node whose agent reaches it by its port: of a
    cluster of several machines, where who is on another node is reached by a gate (``gateway``); "" without ports.
    """

    owner: str
    address: str
    node: str
    process: int
    store: int = 0
    home: str = ""


class GateOf(Message, frozen=True):
    """To the own agent: where can this owner be dialled, whose home is that node?"""

    owner: str
    home: str
    request: int = 0


class GateIs(Message, frozen=True):
    """There (an address); or (``VIA_HOME``) by the link to the home; or "", if the owner is not to be found."""

    owner: str
    address: str
    request: int = 0


#: An address that is none: what is for that owner goes by the sender's link to its home.
VIA_HOME = "home:"


class BringOwner(Message, frozen=True):
    """One agent to another, by its line: this owner, whose home you are, is to be reachable from here."""

    owner: str


class NoOwner(Message, frozen=True):
    """The answer to BringOwner if there is none; if there is, it is there."""

    owner: str


class PeerHello(Message, frozen=True):
    """First word on a link that an owner has dialled to another."""

    contact: Contact


class Subscribe(Message, frozen=True):
    """Send ``subscriber`` these of the receiver's objects when they have a value; at once, if they have one.

    Said by the subscriber itself, or by one who is about to pass references on to it and must know them safe first.
    """

    base: str  # of the numbers: the process that counts them
    numbers: list[int]
    subscriber: Contact


class Subscribed(Message, frozen=True):
    """The receiver of a Subscribe has noted it: the subscriber will hear of these objects, whoever else goes.

    Not of those that are ``unknown`` to the receiver: it has made them, or had them, and forgotten them since.
    """

    base: str
    numbers: list[int]
    subscriber: str  # its owner's name
    unknown: list[int] = []  # msgspec makes a new one each time


class Recover(Message, frozen=True):
    """The data of this object of the receiver's is gone where ``subscriber`` is: make it anew, if need be, and send it.

    The answer is a Value.
    """

    base: str
    number: int
    subscriber: Contact


class CancelMade(Message, frozen=True):
    """Cancel the call that makes this object of the receiver's, as ``cancel`` does; it has no answer but its Value."""

    base: str
    number: int
    force: bool
    recursive: bool


class Value(Message, frozen=True):
    """What an object turned out to be: ``value``, plain or a blob whose data was handed over by ``process``.

    Or, with ``failure``, why it has none: a pickled Failure.
    """

    base: str
    number: int
    value: Payload
    failure: bytes | None = None
    process: int = 0


class ActorEnd:
    """Why an actor's call has failed without an answer: the ``kind`` of Failed, PoolBroken and ``errors.Failure``."""

    UNAVAILABLE = "actor unavailable"  # its worker died under the call; the actor is started again
    CONSTRUCTOR = "actor constructor"  # ``error`` is what the constructor raised
    DIED = "actor died"  # its worker died, and has no restart left
    KILLED = "actor killed"  # by the program
    EXITED = "actor exited"  # on purpose
    CLOSED = "actor closed"  # nobody had a handle any more
    OWNER_DIED = "owner died"  # the process that had created it is gone
    REFUSED = "actor refused"  # no node can have it, or there is no cluster


class Adopt(Message, frozen=True):
    """Driver, take over this detached actor, named by ``base`` and ``number``."""

    request: int
    base: str
    number: int
    name: str  # of its class
    setup: bytes
    resources: dict[str, float]
    strategy: Strategy
    terms: ActorTerms
    restarts: int


class Named(Message, frozen=True):
    """The actor that was adopted has this key in the head, by which it is looked up: that goes with it."""

    base: str
    number: int
    key: str


class Adopted(Message, frozen=True):
    """It is pool ``pool`` of ``creator``'s now."""

    request: int
    creator: Contact
    pool: int
    terms: ActorTerms


class WantActor(Message, frozen=True):
    """Have the receiver's actor ``actor`` take calls of ``contact``, whose pool for it is ``pool``; None: no more."""

    actor: int
    pool: int
    contact: Contact | None


class ActorDown(Message, frozen=True):
    """The worker ``lease`` of an actor is gone ("": it had none), with ``kind`` for good.

    ``running`` and ``begun`` are the receiver's own attempts: the one under way (0: none), and the latest that had
    started. Not ``certain``: nobody saw the worker die.
    """

    pool: int
    lease: str
    death: Death | None
    running: int = 0
    begun: int = 0
    certain: bool = True
    kind: str = ""
    error: bytes | None = None
    reason: str = ""


class EndActor(Message, frozen=True):
    """Kill the receiver's actor; with ``restart`` only its worker."""

    actor: int
    restart: bool
