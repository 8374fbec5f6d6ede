"""What a node keeps of a worker, a lease, a wanted pool and an owner: slotted records, no behaviour worth the name.

::

    Owner ── pools ──► WantedPool ── leases ──► Lease ── worker ──► Worker
                       (level, shape)           (cost)              (process, slot)

A worker has one lease for its whole life. ``NodeCore.check`` asserts that the four agree.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from distpool.scheduler.cores.resources import Amounts
from distpool.scheduler.messages import Pressed, Strategy, WorkerDied


@dataclass(slots=True)
class Worker:
    """A forked process, from Fork until Exited."""

    number: int
    slot: int
    lease: Lease = field(init=False)
    pid: int = 0  # 0 until Forked
    greeted: bool = False  # has said WorkerHello
    doomed: bool = False  # SIGKILL is on its way
    lingers: bool = False  # retired, and stays while what it has called goes on
    reason: str = ""  # why we kill it
    kind: str = ""  # of the reason: OUT_OF_MEMORY


@dataclass(slots=True)
class Lease:
    """A worker's service to one pool."""

    name: str
    pool: WantedPool
    worker: Worker
    need: Amounts
    purse: Amounts  # what ``need`` is taken from: the node's free resources, or a bundle's
    gpus: Amounts  # its devices, and how much of each is its own; until it is reaped
    devices: Amounts  # what they are taken from: what is free of the node's devices, or a bundle's
    charged: bool = True  # it is
    blocked: bool = False  # its task waits for its own children
    returned: bool = False  # its owner is done with it: no longer counted towards the level


@dataclass(slots=True)
class WantedPool:
    """One pool of one owner, as far as this node is concerned: the level that it wants, and what it has."""

    owner: Owner
    number: int
    count: int = 0
    dedicated: bool = True
    resources: dict[str, float] = field(default_factory=dict)
    need: Amounts = field(default_factory=dict)
    spilled: bool = False
    once: bool = False  # see WantLeases
    elsewhere: int = (
        0  # of ``count``, how many we said are better asked of others; until the owner speaks again
    )
    sent: dict[str, int] = field(
        default_factory=dict
    )  # workers that take nothing, and are on other nodes since
    leases: dict[str, Lease] = field(default_factory=dict)
    dropping: bool = False  # PoolDropped is owed once ``leases`` is empty
    strategy: Strategy = field(default_factory=Strategy)
    last: str = ""  # the node that had the last lease, for one that is spread
    before: str = ""  # what that was when its owner was last pointed elsewhere
    followed: int = 0  # how many its owner wants of other nodes
    tried: set[str] = field(
        default_factory=set
    )  # other nodes of its placement group that were pointed to, lately
    move_s: float = 0.0  # when what waits here may be pointed to another node of its placement group
    failed_starts: int = 0  # workers in a row that died before they said hello
    not_before_s: float = 0.0  # no fork for this pool until then
    asked_s: float = 0.0  # when its level was last said
    nowhere_s: float | None = None  # since when no node has what it asks for

    @property
    def missing(self) -> int:
        """How many leases the level asks for beyond those that count."""
        counted = sum(not lease.returned for lease in self.leases.values())
        return self.count - self.elsewhere - counted

    @property
    def key(self) -> tuple[str, int]:
        """What names the pool on this node."""
        return self.owner.name, self.number


@dataclass(slots=True)
class Owner:
    """A driver, or a worker that submits tasks itself."""

    name: str
    incarnation: int
    pid: int
    address: str  # where workers dial it
    worker: int = 0  # the worker of this node that it is; 0 if it is none
    foreign: bool = False  # it lives on another node, and has no part in this one's store
    store: int = 0  # the number of its own node's
    guest: bool = False  # it lives on none, and this is its home: surveys ask it here
    lost: bool = False  # its link is gone, and all that it had is being killed
    final: bool = False  # ... and it will not come back: forgotten when the last of its workers is reaped
    pools: dict[int, WantedPool] = field(default_factory=dict)
    pressed: Pressed = Pressed(False)  # noqa: RUF009  # what it was last told; it is frozen
    untold: list[WorkerDied] = field(default_factory=list)  # deaths since it was lost
    pointed: set[str] = field(default_factory=set)  # other nodes that we have sent it to
