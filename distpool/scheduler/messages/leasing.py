"""Owner and agent: who gets which workers, and how those end. Agent, worker and nursery: how they begin."""

from __future__ import annotations

import msgspec

from distpool.scheduler.messages.base import Message
from distpool.scheduler.messages.placing import Strategy
from distpool.scheduler.messages.running import Results

PROTOCOL_VERSION = 1

#: The process number of a driver in its node's store. Workers have their own: 1, 2, ...
DRIVER = 1 << 31
#: The agent's: it holds copies of what lies on other nodes, and what it sends there.
AGENT = DRIVER + 1
#: From here on, by the number of its store, another node: what that holds in this store is for processes there.
NODES = 3 << 30


class OwnerHello(Message, frozen=True):
    """First word on a new link. ``held`` are the leases that the owner still counts on (after a reconnect).

    ``guest``: it is on no node, and this one is its home; its agent adds that, who can see it.
    """

    owner: str
    pid: int
    incarnation: int
    address: str  # where workers dial this owner
    held: tuple[str, ...] = ()
    node: str = ""  # where the owner is; "": where the agent is
    worker: int = 0  # the worker of that node that it is, so that what it owns goes when that one does
    store: int = 0  # the number of that node's store; 0: it has none, or the owner has no part in it
    guest: bool = False


class AgentWelcome(Message, frozen=True):
    """The answer to OwnerHello: who the agent is, and what its node has; whether it has a port."""

    node: str
    pid: int
    host: str
    cpus: float
    resources: dict[str, float]
    has_port: bool = False


class Beat(Message, frozen=True):
    """Nothing; said now and then to an owner that has come by a port, so that its end is seen by who cannot say it."""


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
    strategy: Strategy = Strategy()
    once: bool = False  # its work is not repeated: for want of memory, another's worker ends rather
    elsewhere: int = 0  # to the home of a pool that is spread: how many are wanted of other nodes


class LeaseElsewhere(Message, frozen=True):
    """``count`` of the ``wanted`` leases are better asked of another node's agent.

    Who wants another number by now has said so, and will hear what comes of that.
    """

    pool: int
    count: int
    node: str
    address: str
    wanted: int


#: Kinds of refusals.
UNSCHEDULABLE = "unschedulable"
GROUP_REMOVED = "placement group removed"


class LeaseRefused(Message, frozen=True):
    """No node can ever satisfy this request; ``reason`` names what was asked and what the nodes have."""

    pool: int
    reason: str
    kind: str = UNSCHEDULABLE


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


class Preload(Message, frozen=True):
    """Have the nursery import these modules of distpool's, which its forks will need, before it forks the next."""

    modules: tuple[str, ...]


class Lingers(Message, frozen=True):
    """The owner is a worker that was told to retire, and stays while calls and actors that it has made go on.

    It needs nothing but that, so its resources are free. Its own owner's end is its end.
    """


class Pressed(Message, frozen=True):
    """Whether others wait for what this owner's shared leases hold; those of pool ``but`` only want more themselves."""

    pressed: bool
    but: int = -1


class Reclaim(Message, frozen=True):
    """A shared worker does without the resources that it had lent: nothing was free when it wanted them again.

    It has had a turn like that, and is to be given back once it has finished what it holds; so that a node does not run
    more than it has room for, for as long as there is work.
    """

    lease: str


class NodeDrains(Message, frozen=True):
    """A node takes nothing new: let go of what you have there as it is done, and want no more of it. Said again.

    An owner passes it on to its home, which could point there until the head has told it.
    """

    node: str


#: The node had no memory left, and the worker had more than its lease asked for.
OUT_OF_MEMORY = "out of memory"


class Death(Message, frozen=True):
    """How a worker ended. ``signal`` is 0 for an exit; ``exit_code`` as multiprocessing counts (-9 for SIGKILL)."""

    pid: int
    host: str
    signal: int
    exit_code: int
    peak_rss_bytes: int = 0
    last_words: str = ""  # the tail of what faulthandler wrote
    reason: str = ""  # set when the engine itself killed it
    kind: str = ""  # of the reason: OUT_OF_MEMORY


class Printed(msgspec.Struct, frozen=True, array_like=True):
    """The end of what a worker has printed by a ``stream`` (1, 2): ``data`` are the bytes before ``end``, an offset."""

    stream: int
    end: int
    data: bytes


class WorkerDied(Message, frozen=True):
    """``running`` is the attempt that the shared slot shows started and not finished, 0 if none.

    ``answers`` are those left in the worker's mailbox by attempts that must not be repeated. ``begun``: of an actor,
    the latest attempt that had started of each of its callers, its creator first. ``printed``: its last words, of
    which the owner has been sent some already.
    """

    lease: str
    pool: int
    death: Death
    running: int
    answers: tuple[Results, ...] = ()
    certain: bool = True  # False: nobody saw it die, so any attempt offered to it may have been running
    begun: tuple[int, ...] = ()
    printed: tuple[Printed, ...] = ()


class OwnerBye(Message, frozen=True):
    """A clean farewell: everything held for this owner goes."""


class Attach(Message, frozen=True):
    """Serve this lease: dial the owner and say LeaseHello and ControlHello.

    ``gpus`` are the devices that are the lease's; None: the node has none.
    """

    lease: str
    pool: int
    owner: str
    address: str
    dedicated: bool
    process: int = (
        0  # the owner's number in this node's store: a worker's, DRIVER, its node's; 0: it has none
    )
    gpus: tuple[str, ...] | None = None


class WorkerHello(Message, frozen=True):
    """A worker's second thread is up, on its link to the agent."""

    worker: int
    pid: int


class LogGrows(Message, frozen=True):
    """Something prints into this worker's log, for all that the agent sees: have the owner see it too."""


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


class MemoryLow(Message, frozen=True):
    """The agent's shell has looked: the node has ``available_bytes`` left; what workers have for themselves."""

    total_bytes: int
    available_bytes: int
    used_bytes: dict[int, int]


class MemoryScarce(Message, frozen=True):
    """The agent's shell has looked: so little is left that no further worker should start for tasks that wait.

    Said when it changes: ``scarce`` is whether it is so now.
    """

    scarce: bool
    total_bytes: int
    available_bytes: int


class Exited(Message, frozen=True):
    """A worker was reaped. The agent's shell adds what its slot, mailbox and log show: see WorkerDied."""

    worker: int
    death: Death
    running: int = 0
    answers: tuple[Results, ...] = ()
    begun: tuple[int, ...] = ()
    printed: tuple[Printed, ...] = ()
