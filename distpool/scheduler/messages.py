"""Every message of the engine, and the one place that says how they travel.

A message is a frozen struct. Cores take them in and give them out by value; the shells encode those that
leave the process (``encode``/``decode``: msgpack, a tagged array). Nothing here is unpickled: payloads are
opaque bytes that only the process which asked for them, or the worker that runs them, ever loads.

Addresses are plain strings, and every effect is a message to one of them::

    "links"             the shell's sockets: Dial, HangUp
    "app"               the program in an owner's process: finished tasks, pools that came up or broke
    "timer"             the loop's clock: WakeAt in, Tick out
    "agent:NODE"        a node's agent
    "worker:LEASE"      the data link of a leased worker
    "control:LEASE"     its control link, served by a second thread while a task runs
    "owner:OWNER"       a driver, or a worker that submits tasks itself
    "process:WORKER"    an agent's link to one of its own workers, leased or not
    "nursery"           the forking parent: Fork and Signal in; Forked and Exited out
    "head"              the cluster's head

Who says what to whom::

    app     -> owner    OpenPool Submit CancelTasks ClosePool TerminatePool ResizePool
    owner   -> app      Done Failed PoolReady PoolBroken PoolGone WorkerUp WorkerGone
    owner   -> agent    OwnerHello WantLeases ReturnLease KillWorker LookAt DropPool Blocked OwnerBye
    agent   -> owner    AgentWelcome LeaseElsewhere LeaseRefused WorkerDied Seen PoolDropped NodeLost
    worker  -> owner    LeaseHello ControlHello SetupDone Results Recalled WornOut Remarks
    owner   -> worker   Setup Execute Retire   (data)      Recall Interrupt RemarksSeen   (control)
    worker  -> agent    WorkerHello
    agent  <-> nursery  Fork (with its Attach) Signal / Forked Exited
    agent  <-> head     NodeHello NodeReport NodeBye / NodeWelcome View
    client  -> head     KeyPut KeyGet KeyDelete / KeyAnswer
    anybody -> agent    StoreQuery / StoreReport
"""

from __future__ import annotations

from typing import Any

import msgspec

PROTOCOL_VERSION = 1

#: The process number of a driver in its node's store. Workers have their own: 1, 2, ...
DRIVER = 1 << 31

#: What a call's argument list or a result may be without pickle: see ``serialize.PLAIN_TYPES``.
Payload = Any


class Message(msgspec.Struct, frozen=True, array_like=True, tag=True, gc=False):
    """Base of all messages; compared by value in tests."""


# --------------------------------------------------------------------------------------- timer


class WakeAt(Message, frozen=True):
    """Ask for a Tick at this time (same clock as ``now``); an earlier Tick is harmless."""

    at_s: float


class Tick(Message, frozen=True):
    """Time has passed."""


class LinkLost(Message, frozen=True):
    """The shell's word that the link to the sender is gone; nothing more will come over that incarnation."""


class NodeLost(Message, frozen=True):
    """A node is gone, with all that ran on it: the shell's word, or an agent's to an owner that it has sent there."""

    node: str
    reason: str = ""


# ---------------------------------------------------------------------------- owner <-> agent


class OwnerHello(Message, frozen=True):
    """First word on a new link. ``held`` are the leases that the owner still counts on (after a reconnect)."""

    owner: str
    pid: int
    incarnation: int
    address: str  # where workers dial this owner
    held: tuple[str, ...] = ()
    node: str = ""  # where the owner is; "": where the agent is
    worker: int = 0  # the worker of that node that it is, so that what it owns goes when that one does


class AgentWelcome(Message, frozen=True):
    """The answer to OwnerHello: who the agent is, and what its node has."""

    node: str
    pid: int
    host: str
    cpus: float
    resources: dict[str, float]


class WantLeases(Message, frozen=True):
    """Level, not edge: the owner wants ``count`` leases for this pool *in all*, and goes on wanting them.

    A worker that dies or is returned is therefore replaced without another word. Every lease takes a fresh worker
    and ends with it. Dedicated ones are kept until the pool ends, shared ones for as long as they have work.
    """

    pool: int
    count: int
    dedicated: bool
    resources: dict[str, float]
    spilled: bool = False  # already sent on by another agent: grant or queue, do not bounce


class LeaseElsewhere(Message, frozen=True):
    """``count`` of the wanted leases are better asked of another node's agent."""

    pool: int
    count: int
    node: str
    address: str


class LeaseRefused(Message, frozen=True):
    """No node can ever satisfy this request; ``reason`` names what was asked and what the nodes have."""

    pool: int
    reason: str


class ReturnLease(Message, frozen=True):
    """The owner is done with this worker and has told it Retire: it must exit within the grace."""

    lease: str


class KillWorker(Message, frozen=True):
    """SIGKILL the worker of this lease; its death is reported as ``reason``.

    With ``only`` it is spared unless its slot shows that this very attempt runs: what has ended by itself costs nobody.
    """

    lease: str
    reason: str
    only: int = 0


class LookAt(Message, frozen=True):
    """What does the worker of this lease run, and since when? The agent's shell reads it off the slot: Seen."""

    lease: str


class Seen(Message, frozen=True):
    """``running`` is the attempt under way, 0 if none, and ``for_s`` how long it has been so, on the node's clock."""

    lease: str
    running: int
    for_s: float


class DropPool(Message, frozen=True):
    """Want no more leases for the pool; with ``kill`` end its workers now, otherwise as they are returned."""

    pool: int
    kill: bool


class PoolDropped(Message, frozen=True):
    """Every worker of the dropped pool on this node is gone and reaped."""

    pool: int


class Blocked(Message, frozen=True):
    """The task on this lease waits for its own children (or does so no more): its CPU is free meanwhile."""

    lease: str
    blocked: bool


class Death(Message, frozen=True):
    """How a worker ended. ``signal`` is 0 for an exit; ``exit_code`` as multiprocessing counts (-9 for SIGKILL)."""

    pid: int
    host: str
    signal: int
    exit_code: int
    peak_rss_bytes: int = 0
    last_words: str = ""  # the tail of what faulthandler wrote
    reason: str = ""  # set when the engine itself killed it


class WorkerDied(Message, frozen=True):
    """``running`` is the attempt that the shared slot shows started and not finished, 0 if none.

    ``answers`` are those left in the worker's mailbox by attempts that must not be repeated.
    """

    lease: str
    pool: int
    death: Death
    running: int
    answers: tuple[Results, ...] = ()
    certain: bool = True  # False: nobody saw it die, so any attempt offered to it may have been running


class OwnerBye(Message, frozen=True):
    """A clean farewell: everything held for this owner goes."""


# ---------------------------------------------------------------------------- owner <-> worker


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


# ----------------------------------------------------------------------------- agent <-> worker


class Attach(Message, frozen=True):
    """Serve this lease: dial the owner and say LeaseHello and ControlHello."""

    lease: str
    pool: int
    owner: str
    address: str
    dedicated: bool
    process: int = 0  # the owner's number in this node's store: a worker's, or DRIVER; 0: it has none


class WorkerHello(Message, frozen=True):
    """A worker's second thread is up, on its link to the agent."""

    worker: int
    pid: int


class Fork(Message, frozen=True):
    """Fork a worker; it serves ``attach`` at once, without another round trip."""

    worker: int
    slot: int  # which shared-memory slot it writes (attempt started, attempt finished) to
    attach: Attach | None


class Signal(Message, frozen=True):
    """Send a signal to a worker, if it has not been reaped: no pid is ever reused under us."""

    worker: int
    signal: int


class Forked(Message, frozen=True):
    """The worker is a process now."""

    worker: int
    pid: int


class Exited(Message, frozen=True):
    """A worker was reaped. The agent's shell adds what the worker's slot and mailbox show."""

    worker: int
    death: Death
    running: int = 0
    answers: tuple[Results, ...] = ()


# ------------------------------------------------------------------------------- agent <-> head


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


# ------------------------------------------------------------------------ anybody <-> agent


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


# ------------------------------------------------------------------- app <-> owner (one process)
# These never travel; they may carry live objects.


class Local(msgspec.Struct, frozen=True):
    """Base of the messages between a program and the owner core in its own process."""


class OpenPool(Local, frozen=True):
    """``max_tasks``: a worker retires after that many (0: never). ``setup_attempts``: consecutive workers that
    may fail before their set-up is done, until the pool counts as broken. ``memory_bytes_max``: see ``Setup``."""

    pool: int
    size: int
    setup: bytes
    max_tasks: int = 0
    setup_attempts: int = 3
    dedicated: bool = True
    resources: dict[str, float] = {}
    memory_bytes_max: int = 0


class Submit(Local, frozen=True):
    """Tasks for one pool, in order."""

    pool: int
    tasks: list[Any]  # list[cores.tasks.Task]


class CancelTasks(Local, frozen=True):
    """Take back tasks that have not started; with ``running`` also interrupt, then kill, those that have."""

    tasks: list[Any]
    running: bool


class ClosePool(Local, frozen=True):
    """No more tasks will come; drop the pool when the last one is done."""

    pool: int


class TerminatePool(Local, frozen=True):
    """Drop the pool with all its tasks and kill its workers."""

    pool: int


class ResizePool(Local, frozen=True):
    """The pool is to have so many workers from now on."""

    pool: int
    size: int


class Dial(Local, frozen=True):
    """To "links": connect to this node's agent and say OwnerHello there."""

    node: str
    address: str


class HangUp(Local, frozen=True):
    """To "links": say OwnerBye to this node's agent, if that can still hear it, and drop the link."""

    node: str


class ClusterLost(Local, frozen=True):
    """The shell gives up: no agent can be had (again). Every pool is broken."""

    reason: str


class Done(Local, frozen=True):
    """Results, in the order in which they came."""

    tasks: list[Any]
    values: list[Payload]


class Failed(Local, frozen=True):
    """``error`` is a pickled exception of the task's own; or, when it is None, ``death`` killed it, or, when
    both are None, the task was cancelled or its pool went away, as ``reason`` says. ``overdue``: it has run for longer
    than its time-out; its worker may not be rid of it yet."""

    task: Any
    error: bytes | None = None
    death: Death | None = None
    reason: str = ""
    overdue: bool = False


class PoolReady(Local, frozen=True):
    """All of the pool's first workers have done their set-up."""

    pool: int


class PoolBroken(Local, frozen=True):
    """The pool cannot get workers: the initializer's error, the death of its workers, or a refusal."""

    pool: int
    error: bytes | None
    death: Death | None
    reason: str


class PoolGone(Local, frozen=True):
    """Every worker of the pool has been reaped, on every node."""

    pool: int


class WorkerUp(Local, frozen=True):
    """``lease`` of ``pool`` has said hello; its set-up is still to come."""

    pool: int
    lease: str
    pid: int
    node: str


class WorkerGone(Local, frozen=True):
    """A worker has been reaped, or lost with its node. ``exit_code`` as multiprocessing counts."""

    pool: int
    lease: str
    pid: int
    exit_code: int


WIRE = (
    OwnerHello | AgentWelcome | WantLeases | LeaseElsewhere | LeaseRefused | ReturnLease | KillWorker | LookAt
    | Seen | WornOut | DropPool | PoolDropped | Blocked | WorkerDied | OwnerBye | LeaseHello | ControlHello
    | Setup | SetupDone | Execute | Results | Remarks | RemarksSeen | Recall | Recalled | Interrupt | Retire
    | Attach | WorkerHello | Fork | Signal | Forked | Exited | NodeLost | NodeHello | NodeReport | NodeBye
    | NodeWelcome | View | KeyPut | KeyGet | KeyDelete | KeyAnswer | StoreQuery | StoreReport
)  # fmt: skip

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(WIRE)

encode = _encoder.encode
decode = _decoder.decode
