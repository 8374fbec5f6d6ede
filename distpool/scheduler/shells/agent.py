"""The agent: one background process for each node of a session; the first, its driver's own, holds the head too.

::

    driver ── exec, JSON ──► agent ── fork ──► nursery ── fork ──► workers
      │                        │ ROUTER ipc://DIR/agent               │
      │  OwnerHello, WantLeases▼                                      │ WorkerHello
      └───────────────────► NodeCore ◄── in memory ──► HeadCore       │
                               ▲──────────────────────────────────────┘
                                                         ▲
    agent of another node ── DEALER n:NODE ── NodeHello ─┘       (it has nursery, workers and store of its own)

It sleeps in one poll: over its ROUTER, its nursery's link, pidfds of driver, nursery and owners, and the fates of links
to other nodes. It wakes by events, and by a clock only when a core has asked for it. When the driver is dead, or says
goodbye, everything below the agent is killed and reaped and the session directory removed; likewise when anything here
goes wrong, and on a node that has joined, when there is no head any more or it will not have it (``uplink``). After a
SIGTERM a node of a cluster first lets its work go (``cores.node_draining``).

A pid means nothing on another node. Who is there is watched by a link of our own to where it can be dialled
(``Peers``): owners of other nodes, and the agents of nodes that have joined.

Started by ``python -m distpool.scheduler.shells.agent ASK_FD TELL_FD DIRECTORY``: one JSON line (``AgentRequest``) is
read from the first descriptor, and one ({"ready": true, "node": ..., "agent_pid": ...}) written to the second, or
({"ready": false, "error": ...}) if the head cannot be joined.
"""

from __future__ import annotations

import math
import os
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import NoReturn

import msgspec
import zmq

from distpool.errors import ClusterError
from distpool.scheduler.cores.head import HOME_STORE, HeadCore
from distpool.scheduler.cores.node import NodeCore
from distpool.scheduler.limits import DEFAULTS, Limits
from distpool.scheduler.messages import (
    AGENT,
    DRIVER,
    VIA_HOME,
    Admission,
    Beat,
    BringOwner,
    Drain,
    Exited,
    FactsQuery,
    Fork,
    GateIs,
    GateOf,
    GroupQuery,
    HeadEnds,
    KillWorker,
    Knock,
    LinkLost,
    LookAt,
    Message,
    NodeAnswers,
    NodeBye,
    NodeHello,
    NodeWelcome,
    NoOwner,
    OwnerBye,
    OwnerHello,
    Preload,
    Signal,
    StoreQuery,
    StoreReport,
    Survey,
    Tick,
    View,
    WakeAt,
    WorkerDied,
    decode,
    encode,
)
from distpool.scheduler.node_identity import belong_to, current_node
from distpool.scheduler.shells import launched, node_resources, processes
from distpool.scheduler.shells.agent_answers import AgentAnswers
from distpool.scheduler.shells.brood import Brood
from distpool.scheduler.shells.head_keeper import HeadKeeper, HeadRequest
from distpool.scheduler.shells.head_shell import HOME, HeadShell
from distpool.scheduler.shells.links import Peers, router
from distpool.scheduler.shells.logs import TIDY_S
from distpool.scheduler.shells.node_memory import NodeMemory
from distpool.scheduler.shells.nursery import NurseryStart
from distpool.scheduler.shells.slots import Slots
from distpool.scheduler.shells.uplink import Uplink
from distpool.scheduler.shells.waker import Waker
from distpool.scheduler.store import files
from distpool.scheduler.store.files import StoreFiles
from distpool.scheduler.store.keeper import Keeper
from distpool.scheduler.store.store import ObjectStore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from distpool.scheduler.shells.gates import Gates
    from distpool.scheduler.shells.gateway import Gateway, Heard
    from distpool.scheduler.shells.mover import Mover

#: Head and node share a process here, so the one needs no sign of life from the other.
EMBEDDED = msgspec.structs.replace(DEFAULTS, heartbeat_s=float("inf"))
#: So long a node that is to go has had nothing to do: its last words have left, and what they tell of is claimed.
REST_S = 0.5
#: The ways by which other nodes come, before a peer's routing id; see ``HeadShell``.
BY_PORT, BY_SOCKET = b"p", b"s"

#: Where an agent listens whose owner comes by a port, but from this very machine.
IN_DIRECTORY = "ipc"
_SLEEP_MS_MAX = 3_600_000  # a poll takes a C int


class AgentRequest(msgspec.Struct, frozen=True):
    """What the driver asks for, or who has a node join: then ``head`` is where the agent with the head is dialled.

    ``resources`` take the place of what is found here ({"CPU": 2.0, "my_kind": 1.0}; see ``node_resources``), and
    ``labels`` are what tasks may choose the node by. ``node`` defaults to this machine's own name. Only a driver's
    own agent watches the one who started it (``driver_pid``; 0 for a node that joins), and is given a ``store``. With
    ``listen`` ("HOST:PORT") it has a port there, for whoever knows the ``secret``; with ``IN_DIRECTORY`` a unix
    socket ("port" in its directory) in that one's place, and no secret. ``alone``: it is nobody's own, has a head and
    a store, and lives until a SIGTERM comes; with a ``journal`` (a file) that head is a process of its own, and may
    die. ``logged``: what it and its workers print goes to files.
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


class Agent:
    """The loop around the two cores."""

    def __init__(self, request: AgentRequest, directory: str, tell_fd: int) -> None:
        self._request, self._directory = request, directory
        self._driver_pid = request.driver_pid
        own = not (request.head or request.alone)  # of one driver
        self._driver_fd = processes.open_pidfd(request.driver_pid) if own else None
        self.leaving = own and (self._driver_fd is None or os.getppid() != request.driver_pid)
        host = socket.gethostname()
        self.node_name = request.node or current_node()
        address = f"ipc://{directory}/agent"
        slots = Slots(request.limits.workers_max)
        start = NurseryStart(
            directory=directory,
            node=self.node_name,
            host=host,
            driver_pid=request.driver_pid,
            agent_pid=os.getpid(),
            slots=request.limits.workers_max,
            slots_fd=slots.fd,
            lock_fd=request.lock_fd,
            worker_main=request.worker_main,
            store=request.store,
            logged=request.logged,
        )
        self._brood = Brood(start, slots, request.limits, private_fds=(tell_fd,))
        self._keeper = None if request.store is None else Keeper(ObjectStore(request.store, process=0))
        self._keep_s = 0.0  # when the keeper is to look again
        self._answers = AgentAnswers(directory, self._brood, self._store_report, self._store_use)
        self._tidy_s = 0.0  # when to look at the logs again
        self._beat_s = 0.0  # when to say something to each program that has come by the port
        self._mover: Mover | None = None  # once it is known that there are other nodes
        self._mover_s = math.inf  # when that wants to look at its clock
        self._memory = NodeMemory(request.limits)
        self._memory_s = 0.0  # when to look at it again, while there are leases
        # Only now may there be threads in this process.
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(io_threads=1)
        self._router = router(self._context, address)
        self._poller = zmq.Poller()
        self._gateway = self._open_port()
        if self._gateway is not None:
            address = self._gateway.address
        self.address = address  # where other nodes reach it
        self._node = NodeCore(
            self.node_name,
            host,
            os.getpid(),
            address,
            node_resources.total(
                request.resources or {}, self.node_name, address, request.store, holds_head=not request.head
            ),
            request.limits,
            node_resources.labels(request.labels, self.node_name),
            incarnation=request.incarnation,
            gpus=node_resources.gpu_names(),
            store=None if self._keeper is None else self._keeper.store.number,
            has_port=self._gateway is not None,
        )
        self._gates = self._open_gates()
        self._terminated = Waker()
        self._to_node: deque[tuple[str, Message]] = deque()
        self._wake_s = math.inf  # when the node's core wants a Tick
        self._idle_s = math.inf  # since when a node that is to go has nothing to do
        self._drain_until_s = math.inf  # when a node that is to go leaves, whatever still runs there
        self._owner_fds: dict[int, str] = {}  # pidfd -> owner
        for source in (self._router, self._brood.link, self._brood.pidfd, self._driver_fd):
            if source is not None:
                self._poller.register(source, zmq.POLLIN)
        keys = None if self._gateway is None else self._gateway.keys
        self._peers = Peers(self._context, self._poller, b"a:" + self.node_name.encode(), keys)
        # The head is where we have joined, in a process of its own, or in this one.
        self._uplink: Uplink | None = None
        self._head_keeper: HeadKeeper | None = None
        self._head: HeadShell | None = None
        if request.head:
            self._uplink = Uplink(
                self._context, self._poller, request.head, self.node_name, keys, request.limits
            )
        elif request.journal:
            asked = HeadRequest(
                f"ipc://{directory}/agent", self.node_name, 0, request.journal, request.limits, request.secret
            )
            self._head_keeper = HeadKeeper(directory, asked, self._send_parts)
        else:
            self._head = HeadShell(HeadCore(request.limits, self.node_name), self._say_way, self._peers)
        if not own:
            self._poller.register(self._terminated.fd, zmq.POLLIN)
            signal.signal(signal.SIGTERM, lambda *_: self._terminated.wake())

    def _open_port(self) -> Gateway | None:
        """This node's port, where one was asked for. Raises ClusterError, ValueError."""
        request = self._request
        if not request.listen:
            return None
        from distpool.scheduler.shells import curve
        from distpool.scheduler.shells.gateway import Gateway

        private = request.listen == IN_DIRECTORY
        keys = None if private else curve.derive(request.secret)
        self._doorkeeper = doorkeeper = None if keys is None else curve.Doorkeeper(self._context, keys)
        gateway = Gateway(
            self._context,
            self._poller,
            self.node_name,
            self._directory,
            self._router,
            keys,
            self._address_of,
            self._lose_guest,
        )
        try:
            gateway.listen(f"ipc://{self._directory}/port" if private else f"tcp://{request.listen}")
        except zmq.ZMQError as error:
            raise ClusterError(f"this node cannot listen at {request.listen}: {error}") from None
        if doorkeeper is not None:
            doorkeeper.check(gateway.address)
        return gateway

    def _open_gates(self) -> Gates | None:
        if self._gateway is None:
            return None
        from distpool.scheduler.shells.gates import Gates

        return Gates(self._gateway, self._node, self._watch_way_to)

    def _address_of(self, node: str) -> str:
        facts = self._node.head.others.get(node)
        return "" if facts is None else facts.address

    def _lose_guest(self, owner: str) -> None:
        """An owner that had come by the port is gone, or cannot be reached."""
        self._to_node.append((f"owner:{owner}", LinkLost()))
        self._forget_guest(owner)

    def _forget_guest(self, owner: str) -> None:
        if self._gateway is not None:
            self._gateway.forget(owner)
        if self._mover is not None:
            self._mover.guest_gone(owner, time.monotonic())

    def start(self) -> None:
        """Introduce the node; one that joins waits for its welcome. Raises ClusterError if there will be none."""
        if self._gateway is not None and self._gateway.keys is not None and self._uplink is not None:
            from distpool.scheduler.shells import knocking

            knocking.knock(self._context, self._request.head, self._gateway.keys)
        if self._head_keeper is not None:
            self._head_keeper.start()
            self._poller.register(self._head_keeper.pidfd, zmq.POLLIN)
        self._feed("timer", Tick())
        until_s = time.monotonic() + self._request.limits.start_s
        while self._head is None and not self._node.head.registered:
            left_s = until_s - time.monotonic()
            if self._node.head.refusal:
                raise ClusterError(f"the node cannot join: {self._node.head.refusal}")
            if self.leaving:
                raise ClusterError(f"no agent answers at {self._request.head}: its session may have ended")
            if left_s <= 0:
                raise ClusterError(f"the agent at {self._request.head} has not let the node join in time")
            self._turn(int(left_s * 1000) + 1)

    def run(self) -> None:
        """Serve until the driver is gone; on a node that has joined, until the head is."""
        while not self.leaving:
            self._turn(_SLEEP_MS_MAX)
        if self._uplink is not None:
            self._uplink.say(NodeBye(self._node.incarnation))
            self._uplink.close()
        if self._head_keeper is not None:
            self._end_cluster(self._head_keeper)

    def _asked_to_go(self) -> None:
        """A SIGTERM. A node that has joined a cluster lets its work go first; a second one cuts that short."""
        if self._uplink is None or not self._request.head.startswith("tcp:") or self._node.draining.on:
            self.leaving = True
            return
        self._drain_until_s = time.monotonic() + self._request.limits.drain_s
        self._feed("shell", Drain())

    def _leave_when_done(self, now: float) -> None:
        """Leave if nothing runs here any more, no program has its way by here, and no node needs what lies here.

        Or if the time for that is up.
        """
        guests = [] if self._gateway is None else self._gateway.direct()
        if self._node.leases or guests or (self._mover is not None and self._mover.is_needed):
            self._idle_s = math.inf
        else:
            self._idle_s = min(self._idle_s, now)
        self.leaving = self.leaving or now >= min(self._drain_until_s, self._idle_s + REST_S)

    def _end_cluster(self, keeper: HeadKeeper) -> None:
        """Tell the other nodes that there will be no head again, and give them a moment to say goodbye."""
        until_s = time.monotonic() + self._request.limits.farewell_s
        for way in list(keeper.ways):
            if not self._say_way(way, HeadEnds()):
                del keeper.ways[way]
        while keeper.ways and (left_s := until_s - time.monotonic()) > 0:
            self._turn(int(left_s * 1000) + 1)

    def _turn(self, sleep_ms_max: int) -> None:
        self._poller.register(self._brood.link, zmq.POLLIN | (zmq.POLLOUT if self._brood.unsent else 0))
        for source, _ in self._poller.poll(min(self._sleep_ms(), sleep_ms_max)):
            self._serve(source)
        self._tick()

    def _serve(self, source: object) -> None:
        if source is self._router:
            self._read_router()
        elif source == self._brood.link.fileno():
            self._brood.flush()
            for message in self._brood.read():
                self._hear_nursery(message)
        elif source == self._brood.pidfd:
            self._replace_nursery()
        elif source == self._driver_fd:
            self.leaving = True
        elif source == self._terminated.fd:
            self._terminated.clear()
            self._asked_to_go()
        elif self._uplink is not None and (words := self._uplink.read(source, time.monotonic())) is not None:
            self._hear_head(words)
        elif self._head_keeper is not None and source == self._head_keeper.pidfd:
            self._poller.unregister(source)
            self._head_keeper.died(time.monotonic())
        elif (peer := self._peers.lost(source)) is not None:
            self._peer_is_gone(peer)
        elif isinstance(source, int) and source in self._owner_fds:
            owner = self._unwatch(source)
            self._forget_guest(owner)
            self._feed(f"owner:{owner}", LinkLost())
        elif self._gateway is not None and (heard := self._gateway.read(source)) is not None:
            for one in heard:
                self._hear(one)
            self._run_cores()
        elif self._mover is not None:
            self._mover.read(source, time.monotonic())

    def _read_router(self) -> None:
        while True:
            try:
                identity, *parts = self._router.recv_multipart(zmq.NOBLOCK)
                kind, _, name = identity.decode(errors="replace").partition(":")
                if kind == "h":
                    self._from_head(identity, parts)
                    continue
                if len(parts) > 1 and self._gateway is not None and kind == "o":
                    self._gateway.from_owner(name, parts)
                    continue
                (data,) = parts
                message = decode(data)
            except zmq.Again:
                return
            except (msgspec.DecodeError, ValueError):
                continue  # not one of ours
            if kind == "w":
                self._feed(f"process:{name}", message)
            elif kind == "n":
                self._from_node(BY_SOCKET + identity, name.partition(":")[0], message, data)
            elif kind == "f" and isinstance(message, GateOf):
                self._find_gate(message, self._gate_for_worker(identity, message))
            elif kind == "f":
                if (mover := self._use_mover()) is not None:
                    mover.from_process(identity, name.partition(":")[0], message, time.monotonic())
            elif kind == "b":
                if (mover := self._use_mover()) is not None:
                    mover.from_peer(identity, message, time.monotonic())
            elif isinstance(message, StoreQuery):
                self._send_to(
                    identity, msgspec.structs.replace(self._store_report(), request=message.request)
                )
            elif kind == "q":
                self._from_asker(f"here/{name}", message)
            else:
                self._from_owner(name, message)

    def _hear(self, heard: Heard) -> None:
        """What came by the port for this agent."""
        from distpool.scheduler.shells import knocking

        try:
            message = decode(heard.frame)
        except (msgspec.DecodeError, ValueError):
            return  # not one of ours
        if heard.owner is not None:
            self._from_owner(heard.owner, message)
            return
        kind, _, name = heard.peer.decode(errors="replace").partition(":")
        if isinstance(message, Knock) and self._gateway is not None:
            admission = knocking.admission(message, self.node_name, self._node.head.store)
            if admission.accepted and self._node.draining.on:
                admission = Admission(
                    False, f"node {self.node_name} is about to go; use another", self.node_name
                )
            self._gateway.answer(heard.peer, encode(admission))
        elif kind == "n":
            self._from_node(BY_PORT + heard.peer, name.partition(":")[0], message, heard.frame)
        elif isinstance(message, BringOwner) and self._gates is not None:
            self._gates.bring(heard.peer, message.owner)
        elif isinstance(message, NoOwner) and self._gates is not None:
            self._gates.came(message.owner)
        elif kind in ("b", "f", "g") and (mover := self._use_mover()) is not None:
            if kind == "b":
                mover.from_peer(heard.peer, message, time.monotonic())
            else:
                mover.from_guest(heard.peer, name.partition(":")[0], message, heard.data, time.monotonic())
        elif kind == "q":
            self._from_asker(f"port/{name}", message)

    def _from_asker(self, name: str, message: Message) -> None:
        """A command asks something about the cluster: it may look, and do nothing else."""
        if isinstance(message, GroupQuery):
            message = msgspec.structs.replace(message, wait=False)
        if isinstance(message, FactsQuery | GroupQuery | Survey):
            self._feed(f"asker:{name}", message)

    def _tell_asker(self, name: str, message: Message) -> None:
        way, _, who = name.partition("/")
        identity = b"q:" + who.encode()  # if it is gone, nobody misses it
        if way != "port":
            self._send_to(identity, message)
        elif self._gateway is not None:
            self._gateway.answer(identity, encode(message))

    def _store_report(self) -> StoreReport:
        pids = {**({DRIVER: self._driver_pid} if self._driver_pid else {}), **self._brood.pids}
        if self._keeper is None:  # this process's limits left no room for a store
            return StoreReport(self.node_name, pids, (0, 0), (0, 0), "", ())
        return self._keeper.report(self.node_name, pids)

    def _store_use(self) -> tuple[int, int]:
        return (0, 0) if self._keeper is None else self._keeper.use()

    def _from_owner(self, name: str, message: Message) -> None:
        if isinstance(message, Preload):
            self._brood.say(message)
            return
        if isinstance(message, Beat):
            if self._gates is not None:
                self._gates.came(name)
            return
        if isinstance(message, GateOf):
            self._find_gate(message, self._gate_for_owner(name, message))
            return
        if isinstance(message, LookAt) or (isinstance(message, KillWorker) and message.only):
            number = self._node.worker_of(name, message.lease)
            seen = None if number is None else self._brood.look(number, message.lease)
            if isinstance(message, LookAt):
                if seen is not None:
                    self._tell_owner(name, seen)
                return
            if seen is not None and seen.running != message.only:
                return  # it has ended by itself
        guest = self._gateway is not None and self._gateway.is_guest(name)
        if guest and isinstance(message, OwnerHello) and self._gateway is not None:
            at_home = not self._gateway.behind_of(name)
            message = msgspec.structs.replace(message, address=self._gateway.open_gate(name), guest=at_home)
        self._feed(f"owner:{name}", message)
        if isinstance(message, OwnerHello):
            if guest:
                self._watch_way_to(name)
            elif message.node in ("", self.node_name):
                self._watch(name, message.pid)
            else:
                self._peers.watch(f"owner:{name}", message.address)
        elif isinstance(message, OwnerBye):
            self._forget_guest(name)
            self._peers.forget(f"owner:{name}")
            for fd in [fd for fd, owner in self._owner_fds.items() if owner == name]:
                self._unwatch(fd)
            self.leaving = self.leaving or name == self._driver

    _driver = ""  # the driver's name as an owner

    # ------------------------------------------------------------------------- owners elsewhere

    def _watch_way_to(self, guest: str) -> None:
        assert self._gateway is not None
        behind = self._gateway.behind_of(guest)
        if behind and (there := self._address_of(behind)):
            self._peers.watch(f"via:{behind}", there)

    def _find_gate(self, asked: GateOf, answer: Callable[[str], None]) -> None:
        """Where an owner can be dialled from here."""
        if self._gates is None:
            answer("")
        else:
            self._gates.find(asked, answer)

    def _gate_for_owner(self, name: str, asked: GateOf) -> Callable[[str], None]:
        direct = self._gateway is not None and self._gateway.is_guest(name)

        def answer(address: str) -> None:
            where = VIA_HOME if direct and address else address
            self._tell_owner(name, GateIs(asked.owner, where, asked.request))

        return answer

    def _gate_for_worker(self, identity: bytes, asked: GateOf) -> Callable[[str], None]:
        def answer(address: str) -> None:
            self._send_to(identity, GateIs(asked.owner, address, asked.request))

        return answer

    def _watch(self, owner: str, pid: int) -> None:
        """An owner's death is seen by its pid: a ROUTER does not tell that a peer has gone."""
        if pid == self._driver_pid:
            self._driver = owner
            return
        if owner in self._owner_fds.values():
            return
        fd = processes.open_pidfd(pid)
        if fd is None:
            self._feed(f"owner:{owner}", LinkLost())
            return
        self._owner_fds[fd] = owner
        self._poller.register(fd, zmq.POLLIN)

    def _unwatch(self, fd: int) -> str:
        self._poller.unregister(fd)
        os.close(fd)
        return self._owner_fds.pop(fd)

    # ------------------------------------------------------------------------------ other nodes

    def _from_node(self, way: bytes, node: str, message: Message, frame: bytes) -> None:
        """A node that has joined speaks to the head, or one that wants to join does."""
        if self._head_keeper is not None:
            self._head_keeper.pass_on(way, node, frame)
            if isinstance(message, NodeBye):
                self._head_keeper.ways.pop(way, None)
        elif self._head is not None:
            self._head.hear(way, node, message)
            self._head.flush()
            self._run_cores()
        elif isinstance(message, NodeHello):
            reason = f"this agent does not hold the head; join at {self._request.head}"
            self._say_way(way, NodeWelcome(message.incarnation, False, reason))

    def _peer_is_gone(self, peer: str) -> None:
        """A link to another node's process is lost: nothing will come from there any more."""
        if peer.startswith("via:") and self._gateway is not None:
            for owner in self._gateway.behind(peer.removeprefix("via:")):
                self._lose_guest(owner)
            self._run_cores()
        elif peer.startswith("owner:"):
            self._feed(peer, LinkLost())
        elif self._head is not None:
            self._head.peer_lost(peer)
            self._head.flush()
            self._run_cores()

    def _hear_head(self, words: Iterable[Message]) -> None:
        """What comes from where we have joined."""
        for message in words:
            self._feed("head", message)
        if self._uplink is not None and self._uplink.over and not self.leaving:
            self.leaving = True
            if self._uplink.reason:
                print(f"distpool: node {self.node_name} leaves: {self._uplink.reason}", file=sys.stderr)

    def _from_head(self, identity: bytes, parts: list[bytes]) -> None:
        """The head's own process speaks: to this node, or to one that has joined."""
        if self._head_keeper is None:
            return
        for way, frame in self._head_keeper.heard(identity, parts):
            if way == HOME:
                self._feed("head", decode(frame))
            elif not self._send_way(way, frame):
                self._head_keeper.ways.pop(way, None)

    def _say_way(self, way: bytes, message: Message) -> bool:
        """Say something for the head; whether there is still somebody."""
        if way == HOME:
            self._to_node.append(("head", message))
            return True
        return self._send_way(way, encode(message))

    def _send_way(self, way: bytes, frame: bytes) -> bool:
        if way.startswith(BY_PORT):
            return self._gateway is not None and self._gateway.answer(way[1:], frame)
        return self._send_parts(way[1:], [frame])

    def _send_to(self, identity: bytes, message: Message) -> bool:
        """Say something to a peer of the ROUTER; whether it is still there."""
        return self._send_parts(identity, [encode(message)])

    def _send_parts(self, identity: bytes, parts: list[bytes]) -> bool:
        try:
            self._router.send_multipart([identity, *parts], zmq.NOBLOCK)
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            return False
        return True

    # ---------------------------------------------------------------------------------- objects

    def _use_mover(self) -> Mover | None:
        """What moves objects to and from other nodes, made when the first is to be moved; None: there is no store."""
        if self._mover is None and self._request.store is not None:
            from distpool.scheduler.shells.mover import Mover

            keys = None if self._gateway is None else self._gateway.keys
            self._mover = Mover(
                self.node_name,
                self._context,
                self._poller,
                ObjectStore(self._request.store, AGENT),
                self._request.limits,
                keys,
                self._send_to,
                self._say_peer,
                self._wake_mover,
            )
            self._mover.see(self._node.head.others.values(), time.monotonic())
        return self._mover

    def _wake_mover(self, at_s: float) -> None:
        self._mover_s = min(self._mover_s, at_s)

    def _say_peer(self, identity: bytes, parts: list[bytes]) -> bool:
        """Say something to another node's agent that pulls from here; whether it is still there."""
        if self._gateway is not None:
            return self._gateway.answer(identity, *parts)
        return self._send_parts(identity, parts)

    # ---------------------------------------------------------------------------------- nursery

    def _replace_nursery(self) -> None:
        self._poller.unregister(self._brood.link)
        self._poller.unregister(self._brood.pidfd)
        messages = self._brood.replace()
        self._poller.register(self._brood.pidfd, zmq.POLLIN)
        for message in messages:
            self._hear_nursery(message)

    def _hear_nursery(self, message: Message) -> None:
        if self._keeper is not None and isinstance(message, Exited):
            self._keeper.mend(
                message.worker, self._brood.living
            )  # before anybody is told: its memory is free by then
            if self._node.head.others and (mover := self._use_mover()) is not None:
                mover.process_gone(message.worker, time.monotonic())
        self._feed("nursery", message)

    # --------------------------------------------------------------------- cores and the clock

    def _feed(self, sender: str, message: Message) -> None:
        """Give the node's core a message, and deliver all that comes of it, also of what the head says."""
        self._to_node.append((sender, message))
        self._run_cores()

    def _run_cores(self) -> None:
        queue = self._to_node
        while queue:
            sender, message = queue.popleft()
            if isinstance(message, NodeWelcome) and message.store and self._keeper is not None:
                self._keeper.store.ledger.become(message.store)
            for address, effect in self._node.receive(sender, message, time.monotonic()):
                self._deliver(address, effect)
            if isinstance(message, View):
                self._see_nodes()

    def _see_nodes(self) -> None:
        """There are others now, or fewer."""
        if self._mover is not None:
            self._mover.see(self._node.head.others.values(), time.monotonic())
        if self._gates is not None:
            self._gates.see_nodes()

    def _deliver(self, address: str, message: Message) -> None:
        kind, _, name = address.partition(":")
        match kind, message:
            case "timer", WakeAt(at_s=at_s):
                self._wake_s = at_s
            case "nursery", Fork() | Signal():
                self._brood.say(message)
            case "head", NodeAnswers() if not message.directory:
                if (whole := self._answers.add(message)) is not None:
                    self._say_head(whole)
            case "asker", _:
                self._tell_asker(name, message)
            case "head", _:
                self._say_head(message)
            case "owner", _:
                self._tell_owner(name, message)
            case "process", _:
                # If it is not there any more, the nursery says so.
                self._send_to(f"w:{name}".encode(), message)
            case _:
                raise AssertionError(f"an agent cannot deliver {message} to {address}")

    def _say_head(self, message: Message) -> None:
        """What it causes here is in ``_to_node``, if the head is in this process."""
        if self._head is not None:
            self._head.from_home(message)
            self._head.flush()
        elif self._head_keeper is not None:
            self._head_keeper.say(message)
        elif self._uplink is not None:
            self._uplink.say(message)

    def _tell_owner(self, owner: str, message: Message) -> None:
        if self._gateway is not None and self._gateway.is_guest(owner):
            if isinstance(message, WorkerDied):
                self._gateway.drain(owner)  # what it had sent before it died comes first
            if not self._gateway.say(owner, encode(message)):
                self._lose_guest(owner)
        elif not self._send_to(f"o:{owner}".encode(), message):
            self._to_node.append((f"owner:{owner}", LinkLost()))

    def _tick(self) -> None:
        now = time.monotonic()
        if self._node.draining.on:
            self._leave_when_done(now)
        if self._wake_s <= now:
            self._wake_s = math.inf
            self._feed("timer", Tick())
        if self._head is not None:
            self._head.tick(now)
            self._head.flush()
            self._run_cores()
        elif self._head_keeper is not None:
            if self._head_keeper.tick(now):
                self._poller.register(self._head_keeper.pidfd, zmq.POLLIN)
        elif self._uplink is not None:
            self._hear_head(self._uplink.tick(now))
        if self._gateway is not None and self._beat_s <= now:
            self._beat_s = now + self._request.limits.heartbeat_s
            for owner in self._gateway.direct():
                self._tell_owner(owner, Beat())
            self._run_cores()
        if self._mover is not None and self._mover_s <= now:
            self._mover_s = math.inf
            self._mover.tick(now)
        for whole in self._answers.due(now):
            self._say_head(whole)
            self._run_cores()
        if self._request.logged and self._tidy_s <= now:
            self._tidy_s = now + TIDY_S
            self._brood.logs.tidy(self._brood.pids)
        if self._keeper is not None and self._keep_s <= now:
            self._keep_s = now + self._keeper.tick(self._brood.living)
        if self._watches_memory and self._memory_s <= now:
            self._memory_s = now + self._request.limits.memory_look_s
            low = self._memory.look(self._brood.pids)
            if low is not None:
                self._feed("memory", low)

    @property
    def _watches_memory(self) -> bool:
        return self._memory.watches and bool(self._node.leases)

    def _sleep_ms(self) -> int:
        heads = [head.wake_s for head in (self._head, self._head_keeper, self._uplink) if head is not None]
        wake_s = [self._wake_s, *heads, *([self._keep_s] if self._keeper is not None else [])]
        wake_s.append(self._answers.wake_s)
        if self._request.logged:
            wake_s.append(self._tidy_s)
        if self._watches_memory:
            wake_s.append(self._memory_s)
        if self._mover is not None:
            wake_s.append(self._mover_s)
        if self._gateway is not None and self._gateway.direct():
            wake_s.append(self._beat_s)
        left_s = min(wake_s) - time.monotonic()
        return max(0, int(min(left_s * 1000, _SLEEP_MS_MAX - 1)) + 1)


def main(ask_fd: int, tell_fd: int, directory: str) -> NoReturn:
    """The life of an agent process. The session ``directory`` is there, and ends with the session."""

    def begin(asked: bytes) -> launched.Begun:
        request = msgspec.json.decode(asked, type=AgentRequest)
        belong_to(request.node or current_node())
        for fd in (request.lock_fd, *(request.store.fds if request.store else ())):
            os.set_inheritable(fd, False)
        if request.head or request.alone:
            store = HOME_STORE if request.alone and not request.journal else 0
            request = msgspec.structs.replace(request, store=files.create(store=store))
        agent, word = _start(request, directory, tell_fd)
        return None if agent is None else agent.run, word

    launched.live(ask_fd, tell_fd, directory, begin)


def _start(request: AgentRequest, directory: str, tell_fd: int) -> tuple[Agent | None, dict[str, object]]:
    """The agent, if it can be, and the first word to who has started us."""
    agent: Agent | None = None
    try:
        agent = Agent(request, directory, tell_fd)
        agent.start()
    except (ClusterError, ValueError) as error:
        if agent is not None:
            agent.leaving = True
        return agent, {"ready": False, "error": str(error)}
    return agent, {
        "ready": True,
        "node": agent.node_name,
        "agent_pid": os.getpid(),
        "address": agent.address,
    }


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
