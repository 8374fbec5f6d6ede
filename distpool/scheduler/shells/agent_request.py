"""What an agent is asked for when it is started: the JSON line on the descriptor that it gets."""

from __future__ import annotations

import msgspec

from distpool.scheduler.limits import DEFAULTS, Limits
from distpool.scheduler.messages import ScalingSettings
from distpool.scheduler.store.files import StoreFiles

#: Head and node share a process here, so the one needs no sign of life from the other.
EMBEDDED = msgspec.structs.replace(DEFAULTS, heartbeat_s=float("inf"))
#: Where an agent listens whose owner comes by a port, but from this very machine.
IN_DIRECTORY = "ipc"


class AgentRequest(msgspec.Struct, frozen=True):
    """What the driver asks for, or who has a node join: then ``head`` is where the agent with the head is dialled.

    ``resources`` take the place of what is found here ({"CPU": 2.0, "my_kind": 1.0}; see ``node_resources``), and
    ``labels`` are what tasks may choose the node by. ``node`` defaults to this machine's own name. Only a driver's
    own agent watches the one who started it (``driver_pid``; 0 for a node that joins), and is given a ``store``. With
    ``listen`` ("HOST:PORT") it has a port there, for whoever knows the ``secret``; with ``IN_DIRECTORY`` a unix
    socket ("port" in its directory) in that one's place, and no secret. ``alone``: it is nobody's own, has a head and
    a store, and lives until a SIGTERM comes; with a ``journal`` (a file) that head is a process of its own, and may
    die. ``logged``: what it and its workers print goes to files. ``scaling``: that head starts
    and stops nodes by demand.
    """

    lock_fd: int
    driver_pid: int
    node: str = ""
    incarnation: int = 1
    head: str = ""
    resources: dict[str, float] | None = None
    labels: dict[str, str] = {}
    limits: Limits = EMBEDDED
    worker_main: str = "distpool.scheduler.shells.worker:main"
    store: StoreFiles | None = None
    listen: str = ""
    secret: str = ""
    alone: bool = False
    logged: bool = False
    journal: str = ""
    scaling: ScalingSettings | None = None
