"""Owner and worker, directly: a task's way there and back."""

from __future__ import annotations

import msgspec

from distpool.scheduler.messages.base import Message, Payload


class LeaseHello(Message, frozen=True):
    """The grant of a lease *is* its worker's first word, on the data link that it dialled."""

    lease: str
    pool: int
    node: str
    host: str
    pid: int
    store: int = 0  # the number of its node's store; 0: it sees none


class ControlHello(Message, frozen=True):
    """The control link of the same lease is up."""

    lease: str


#: Where an actor takes calls of several owners, an attempt is shown with its caller's index above this bit.
CALLER_SHIFT = 48


class ActorTerms(msgspec.Struct, frozen=True, array_like=True):
    """How an actor's worker runs its calls: at most ``concurrency`` at once, and of each of ``groups`` so many.

    In threads; with ``loop`` as tasks of an event loop.
    """

    concurrency: int = 1
    loop: bool = False
    groups: dict[str, int] = {}

    @property
    def one_by_one(self) -> bool:
        """Whether never more than one call runs."""
        return self.concurrency == 1 and not self.loop and not self.groups


class Setup(Message, frozen=True):
    """What the pool's creator wants done once on each worker, before any task; opaque to the engine.

    A worker that has more than ``memory_bytes_max`` (0: no bound) for itself after a task runs no other: WornOut.
    ``log_levels`` are those of the owner's loggers at this moment, ``base`` names who numbers the calls (see
    ``Execute``); its shell adds them. ``self_contained``: answers
    rely on nothing that the owner has defined, so that it may pass them on as they are to whatever process.
    ``actor``: the set-up constructs an actor, and the attempts are calls of its methods. ``prints``: what is printed
    into a log there is to be sent as well (Remarks); its shell says so.
    """

    blob: bytes
    memory_bytes_max: int = 0
    log_levels: bytes = b""
    self_contained: bool = False
    actor: ActorTerms | None = None
    base: str = ""
    prints: bool = True


class LogLevels(Message, frozen=True):
    """The levels of the owner's loggers have changed; opaque to the cores. What is offered after it runs with them."""

    levels: bytes


class SetupDone(Message, frozen=True):
    """``error`` is a pickled exception if the initializer raised."""

    error: bytes | None = None


class Execute(Message, frozen=True):
    """Offer attempts ``first``, ``first + 1``, ...: the i-th calls ``functions[i]`` on ``payloads[i]``.

    ``blobs`` are the functions that this worker has not seen, ``forget`` those that it need not keep for later.
    ``careful`` marks a batch whose answers must be left in the mailbox before they are sent (tasks that may not be
    repeated). ``received`` counts the answers that the owner has had from this worker, so that the mailbox can be
    emptied. ``numbers`` are the calls' own, the same for each attempt; its shell adds them where calls have such.
    """

    first: int
    functions: list[int]  # negative: load it anew for each call, and keep it for this batch only
    payloads: list[Payload]
    blobs: dict[int, bytes] = {}
    forget: tuple[int, ...] = ()
    careful: bool = False
    received: int = 0
    numbers: list[int] = []  # msgspec makes a new one each time


class Results(Message, frozen=True):
    """Finished attempts. ``busy_s`` is the time that they took in all, on the worker's clock."""

    attempts: list[int]
    values: list[Payload]
    failed: list[tuple[int, bytes]] = []
    busy_s: float = 0.0
    stored: bool = False  # some of the values refer to what was put into the node's store for the owner
    more_items: int = 0  # how many more items than attempts they were: chunks hold many


class Yielded(Message, frozen=True):
    """A value that a call has yielded, before its answer; with ``error``, a pickled exception, its last."""

    attempt: int
    index: int
    value: Payload
    error: bytes | None = None
    stored: bool = False  # the value refers to what was put into the node's store for the owner


class Consumed(Message, frozen=True):
    """So many of the values that this attempt yields were read; how far it may go ahead, it knows."""

    attempt: int
    count: int


class Recall(Message, frozen=True):
    """Take back what has not started: the named attempts, or with none named up to ``count``, newest first.

    Also makes the worker send what it has finished and holds for batching.
    """

    count: int
    attempts: tuple[int, ...] = ()


class Recalled(Message, frozen=True):
    """These have not started and will not; ``running`` is the attempt under way, 0 if none."""

    attempts: tuple[int, ...]
    running: int


class WornOut(Message, frozen=True):
    """The worker wants to be replaced, and will start nothing more: these attempts, for one, it has not started."""

    attempts: tuple[int, ...]


class Remarks(Message, frozen=True):
    """What tasks, also those that still run, have logged, warned of and printed; ``dropped`` were too many to keep.

    ``number`` counts a worker's from 1, since they come by two links. 0: the last, told by its agent when it has ended.
    """

    frames: list[bytes]
    dropped: int = 0
    number: int = 0


class RemarksSeen(Message, frozen=True):
    """So many bytes of a worker's remarks have been handled, and it may send as many more."""

    count_bytes: int


class Interrupt(Message, frozen=True):
    """Raise KeyboardInterrupt in this attempt if it is the one that runs; ``recursive``: cancel what it has called."""

    attempt: int
    recursive: bool = True


class ActorExit(Message, frozen=True):
    """The actor ends on purpose: in this attempt, and after all others that had started. Its last word."""

    attempt: int


class Serve(Message, frozen=True):
    """Actor, take calls of another owner as well: dial it and say hello. ``process``: see ``Attach``.

    ``caller`` tells its attempts from others' in the slot, where an attempt is shown as ``caller << 48 | attempt``.
    """

    caller: int
    lease: str
    pool: int
    owner: str
    address: str
    process: int
    home: str = ""  # of the owner, if it is to be dialled at its gate; see ``Contact``


class Retire(Message, frozen=True):
    """Finish what was offered, run the exit handlers, and exit."""
