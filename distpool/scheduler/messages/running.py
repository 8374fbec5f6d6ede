"""Owner and worker, directly: a task's way there and back."""

from __future__ import annotations

from distpool.scheduler.messages.base import Message, Payload


class LeaseHello(Message, frozen=True):
    """The grant of a lease *is* its worker's first word, on the data link that it dialled."""

    lease: str
    pool: int
    node: str
    host: str
    pid: int


class ControlHello(Message, frozen=True):
    """The control link of the same lease is up."""

    lease: str


class Setup(Message, frozen=True):
    """What the pool's creator wants done once on each worker, before any task; opaque to the engine.

    A worker that has more than ``memory_bytes_max`` (0: no bound) for itself after a task runs no other: WornOut.
    ``log_levels`` are those of the owner's loggers at this moment; its shell adds them.
    """

    blob: bytes
    memory_bytes_max: int = 0
    log_levels: bytes = b""


class SetupDone(Message, frozen=True):
    """``error`` is a pickled exception if the initializer raised."""

    error: bytes | None = None


class Execute(Message, frozen=True):
    """Offer attempts ``first``, ``first + 1``, ...: the i-th calls ``functions[i]`` on ``payloads[i]``.

    ``blobs`` are the functions that this worker has not seen, ``forget`` those that it need not keep for later.
    ``careful`` marks a batch whose answers must be left in the mailbox before they are sent (tasks that may not be
    repeated). ``received`` counts the answers that the owner has had from this worker, so that the mailbox can be
    emptied.
    """

    first: int
    functions: list[int]  # negative: load it anew for each call, and keep it for this batch only
    payloads: list[Payload]
    blobs: dict[int, bytes] = {}
    forget: tuple[int, ...] = ()
    careful: bool = False
    received: int = 0


class Results(Message, frozen=True):
    """Finished attempts. ``busy_s`` is the time that they took in all, on the worker's clock."""

    attempts: list[int]
    values: list[Payload]
    failed: list[tuple[int, bytes]] = []
    busy_s: float = 0.0
    stored: bool = False  # some of the values refer to what was put into the node's store for the owner
    more_items: int = 0  # how many more items than attempts they were: chunks hold many


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
    """What tasks, also those that still run, have logged and warned of; ``dropped`` more were too many to keep."""

    frames: list[bytes]
    dropped: int = 0


class RemarksSeen(Message, frozen=True):
    """So many bytes of a worker's remarks have been handled, and it may send as many more."""

    count_bytes: int


class Interrupt(Message, frozen=True):
    """Raise KeyboardInterrupt in this attempt if it is the one that runs."""

    attempt: int


class Retire(Message, frozen=True):
    """Finish what was offered, run the exit handlers, and exit."""
