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
from collections.abc import Iterable
from typing import NoReturn

import msgspec
import zmq

from distpool.errors import ClusterError
from distpool.scheduler.cores.head import HOME_STORE, HeadCore
from distpool.scheduler.cores.node import NodeCore
from distpool.scheduler.messages import (
    AGENT,
    DRIVER,
    Admission,
    BringOwner,
    Drain,
    EndJob,
    Exited,
    Fork,
    GateOf,
    Knock,
    LeaveIfIdle,
    LinkLost,
    LogGrows,
    Message,
    NodeAnswers,
    NodeReport,
    NodeWelcome,
    NoOwner,
    RunJob,
    Signal,
    StoreQuery,
    StoreReport,
    Tick,
    View,
    WakeAt,
    decode,
    encode,
)
from distpool.scheduler.node_identity import belong_to, current_node
from distpool.scheduler.shells import launched, node_resources, processes
from distpool.scheduler.shells.agent_answers import AgentAnswers
from distpool.scheduler.shells.agent_askers import AgentAskers
from distpool.scheduler.shells.agent_head import Head, HeadBeside, HeadElsewhere, HeadHere
from distpool.scheduler.shells.agent_owners import AgentOwners
from distpool.scheduler.shells.agent_request import IN_DIRECTORY, AgentRequest
from distpool.scheduler.shells.brood import Brood
from distpool.scheduler.shells.clock import Alarm, Clock, Every
from distpool.scheduler.shells.gpu_watch import GpuWatch
from distpool.scheduler.shells.head_keeper import HeadKeeper, HeadRequest
from distpool.scheduler.shells.head_shell import HOME, HeadShell
from distpool.scheduler.shells.links import Peers, router
from distpool.scheduler.shells.logs import GROWS_S, TIDY_S
from distpool.scheduler.shells.node_memory import NodeMemory
from distpool.scheduler.shells.nursery import NurseryStart
from distpool.scheduler.shells.slots import Slots
from distpool.scheduler.shells.uplink import Uplink
from distpool.scheduler.shells.waker import Waker
from distpool.scheduler.store import files
from distpool.scheduler.store.keeper import Keeper
from distpool.scheduler.store.store import ObjectStore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from distpool.scheduler.shells.curve import Keys
    from distpool.scheduler.shells.gateway import Gateway, Heard
    from distpool.scheduler.shells.jobs import JobProcesses
    from distpool.scheduler.shells.mover import Mover

#: So long a node that is to go has had nothing to do: its last words have left, and what they tell of is claimed.
REST_S = 0.5
#: The ways by which other nodes come, before a peer's routing id; see ``HeadShell``.
BY_PORT, BY_SOCKET = b"p", b"s"

_SLEEP_MS_MAX = 3_600_000  # a poll takes a C int


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
        self._jobs: JobProcesses | None = None  # once there is one
        self._mover: Mover | None = None  # once it is known that there are other nodes
        self._memory = NodeMemory(request.limits)
        # Only now may there be threads in this process, and other children of it.
        self._poller = zmq.Poller()
        said = request.resources or {}
        self._gpus = GpuWatch(self._poller, said.get("GPU"))
        self._gpus.begin()
        self._answers = AgentAnswers(
            directory, self._brood, self._store_report, self._store_use, self._gpus, self._answer_late
        )
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(io_threads=1)
        self._router = router(self._context, address)
        self._gateway = self._open_port()
        if self._gateway is not None:
            address = self._gateway.address
        self.address = address  # where other nodes reach it
        gpus = self._gpus.find()
        self._node = NodeCore(
            self.node_name,
            host,
            os.getpid(),
            address,
            node_resources.total(
                said, self.node_name, address, request.store, gpus, holds_head=not request.head
            ),
            request.limits,
            node_resources.labels(request.labels, self.node_name, gpus),
            incarnation=request.incarnation,
            gpus=gpus.names,
            store=None if self._keeper is None else self._keeper.store.number,
            has_port=self._gateway is not None,
        )
        self._terminated = Waker()
        self._to_node: deque[tuple[str, Message]] = deque()
        self._idle_s = math.inf  # since when a node that is to go has nothing to do
        self._drain_until_s = math.inf  # when a node that is to go leaves, whatever still runs there
        for source in (self._router, self._brood.link, self._brood.pidfd, self._driver_fd):
            if source is not None:
                self._poller.register(source, zmq.POLLIN)
        keys = None if self._gateway is None else self._gateway.keys
        self._peers = Peers(self._context, self._poller, b"a:" + self.node_name.encode(), keys)
        self._owners = AgentOwners(
            self,
            self._node,
            self._brood,
            self._peers,
            self._poller,
            self._gateway,
            directory,
            self._driver_pid,
        )
        self._askers = AgentAskers(
            self.feed,
            self.send_to,
            self._gateway,
            (lambda part: self._use_jobs().upload(part)) if request.secret else None,
        )
        self._head = self._find_head(keys)
        self._core_alarm = Alarm(lambda _: self.feed("timer", Tick()))
        self._mover_alarm = Alarm(lambda now: self._mover.tick(now) if self._mover is not None else None)
        self._keeper_alarm = Alarm(self._keep)
        self._clock = self._wind_clock()
        if not own:
            self._poller.register(self._terminated.fd, zmq.POLLIN)
            signal.signal(signal.SIGTERM, lambda *_: self._terminated.wake())

    def _find_head(self, keys: Keys | None) -> Head:
        request, limits = self._request, self._request.limits
        if request.head:
            uplink = Uplink(self._context, self._poller, request.head, self.node_name, keys, limits)
            return HeadElsewhere(uplink, self.node_name, request.head, self._send_way, self._hear_head)
        if not request.journal:
            shell = HeadShell(HeadCore(limits, self.node_name), self._say_way, self._peers)
            return HeadHere(shell, self._run_cores)
        asked = HeadRequest(
            f"ipc://{self._directory}/agent",
            self.node_name,
            0,
            request.journal,
            limits,
            request.secret,
            self.address.removeprefix("tcp://"),
            request.scaling,
        )
        keeper = HeadKeeper(self._directory, asked, self._send_parts)
        return HeadBeside(
            keeper, self._poller, self._send_way, self._hear_head, self._turn, limits.farewell_s
        )

    def _wind_clock(self) -> Clock:
        """What there is to do by the clock. Logs, and memory, are looked at while there are leases."""
        limits, logged = self._request.limits, self._request.logged
        clock = Clock()
        clock.add(self._core_alarm)
        clock.add(self._head)
        clock.add(Every(limits.heartbeat_s, self._owners.direct, self._beat))
        clock.add(self._mover_alarm)
        clock.add(self._answers)
        clock.add(Every(TIDY_S, lambda: logged, lambda: self._brood.logs.tidy(self._brood.pids)))
        clock.add(Every(GROWS_S, lambda: logged and self._node.leases, self._show_logs))
        if self._keeper is not None:
            clock.add(self._keeper_alarm)
            self._keeper_alarm.at(0.0)
        if self._memory.watches:
            clock.add(Every(limits.memory_look_s, lambda: self._node.leases, self._look_at_memory))
        return clock

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
            lambda node: self._node.head.address_of(node),  # made later, ...
            lambda owner: self._owners.lose_guest(owner),  # ... and so are they
        )
        try:
            gateway.listen(f"ipc://{self._directory}/port" if private else f"tcp://{request.listen}")
        except zmq.ZMQError as error:
            raise ClusterError(f"this node cannot listen at {request.listen}: {error}") from None
        if doorkeeper is not None:
            doorkeeper.check(gateway.address)
        return gateway

    def start(self) -> None:
        """Introduce the node; one that joins waits for its welcome. Raises ClusterError if there will be none."""
        if self._gateway is not None and self._gateway.keys is not None and self._request.head:
            from distpool.scheduler.shells import knocking

            knocking.knock(self._context, self._request.head, self._gateway.keys)
        self._head.start()
        self.feed("timer", Tick())
        until_s = time.monotonic() + self._request.limits.start_s
        while not self._node.head.registered:
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
        self._head.close(self._node.incarnation)

    def _asked_to_go(self) -> None:
        """A SIGTERM. A node that has joined a cluster lets its work go first; a second one cuts that short."""
        if not self._request.head.startswith("tcp:") or self._node.draining.on:
            self.leaving = True
            return
        self._drain_until_s = time.monotonic() + self._request.limits.drain_s
        self.feed("shell", Drain())

    def _leave_when_done(self, now: float) -> None:
        """Leave if nothing runs here any more, no program has its way by here, and no node needs what lies here.

        Or if the time for that is up.
        """
        if self._node.leases or self._node.jobs.running or self._is_needed:
            self._idle_s = math.inf
        else:
            self._idle_s = min(self._idle_s, now)
        self.leaving = self.leaving or now >= min(self._drain_until_s, self._idle_s + REST_S)

    @property
    def _is_needed(self) -> bool:
        """Whether a program has its way by here, or another node needs what lies here."""
        return bool(self._owners.direct()) or (self._mover is not None and self._mover.is_needed)

    def _turn(self, sleep_ms_max: int) -> None:
        self._poller.register(self._brood.link, zmq.POLLIN | (zmq.POLLOUT if self._brood.unsent else 0))
        sleep_ms = int(min(self._clock.sleep_s() * 1000, _SLEEP_MS_MAX - 1)) + 1
        for source, _ in self._poller.poll(min(sleep_ms, sleep_ms_max)):
            self._serve(source)
        self._owners.turn_is_over()
        if self._node.draining.on:
            self._leave_when_done(time.monotonic())
        self._clock.tick()
        if self._head.over:
            self.leaving = True

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
        elif (peer := self._peers.lost(source)) is not None:
            self._peer_is_gone(peer)
        elif self._head.read(source) or self._owners.read(source):
            pass  # they have told whom it concerns
        elif self._gpus.read(source, time.monotonic()):
            pass  # the answers that waited for it look at each turn
        elif self._jobs is not None and (says := self._jobs.read(source)) is not None:
            self.feed("jobs", says)
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
                    self._head.from_process(identity, parts)
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
                self.feed(f"process:{name}", message)
            elif kind == "n":
                self._head.from_node(BY_SOCKET + identity, name.partition(":")[0], message, data)
            elif kind == "f" and isinstance(message, GateOf):
                self._owners.find_for_worker(identity, message)
            elif kind == "f":
                if (mover := self._use_mover()) is not None:
                    mover.from_process(identity, name.partition(":")[0], message, time.monotonic())
            elif kind == "b":
                if (mover := self._use_mover()) is not None:
                    mover.from_peer(identity, message, time.monotonic())
            elif isinstance(message, StoreQuery):
                self.send_to(identity, msgspec.structs.replace(self._store_report(), request=message.request))
            elif kind == "q":
                self._askers.hear("here", name, message)
            else:
                self._owners.hear(name, message)

    def _hear(self, heard: Heard) -> None:
        """What came by the port for this agent."""
        from distpool.scheduler.shells import knocking

        try:
            message = decode(heard.frame)
        except (msgspec.DecodeError, ValueError):
            return  # not one of ours
        if heard.owner is not None:
            self._owners.hear(heard.owner, message)
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
            self._head.from_node(BY_PORT + heard.peer, name.partition(":")[0], message, heard.frame)
        elif isinstance(message, BringOwner) and (gates := self._owners.gates) is not None:
            gates.bring(heard.peer, message.owner)
        elif isinstance(message, NoOwner) and (gates := self._owners.gates) is not None:
            gates.came(message.owner)
        elif kind in ("b", "f", "g") and (mover := self._use_mover()) is not None:
            if kind == "b":
                mover.from_peer(heard.peer, message, time.monotonic())
            else:
                mover.from_guest(heard.peer, name.partition(":")[0], message, heard.data, time.monotonic())
        elif kind == "q":
            self._askers.hear("port", name, message)

    def _use_jobs(self) -> JobProcesses:
        if self._jobs is None:
            from distpool.scheduler.shells.jobs import JobProcesses

            self._jobs = JobProcesses(self._poller, self._directory, self.address, self._brood.logs)
            self._clock.add(self._jobs)
        return self._jobs

    def _store_report(self) -> StoreReport:
        pids = {**({DRIVER: self._driver_pid} if self._driver_pid else {}), **self._brood.pids}
        if self._keeper is None:  # this process's limits left no room for a store
            return StoreReport(self.node_name, pids, (0, 0), (0, 0), "", ())
        return self._keeper.report(self.node_name, pids)

    def _store_use(self) -> tuple[int, int]:
        return (0, 0) if self._keeper is None else self._keeper.use()

    # --------------------------------------------------------------------- what owners ask of it

    def queue(self, sender: str, message: Message) -> None:
        """Give the node's core a message when its present step is over."""
        self._to_node.append((sender, message))

    def guest_gone(self, owner: str) -> None:
        """Nothing is to be moved for this guest any more."""
        if self._mover is not None:
            self._mover.guest_gone(owner, time.monotonic())

    def driver_left(self) -> None:
        """The driver has said goodbye."""
        self.leaving = True

    # ------------------------------------------------------------------------------ other nodes

    def _peer_is_gone(self, peer: str) -> None:
        """A link to another node's process is lost: nothing will come from there any more."""
        if peer.startswith("via:"):
            self._owners.lose_way(peer.removeprefix("via:"))
            self._run_cores()
        elif peer.startswith("owner:"):
            self.feed(peer, LinkLost())
        else:
            self._head.peer_lost(peer)

    def _hear_head(self, words: Iterable[Message]) -> None:
        """What a head says that is not in this process."""
        for message in words:
            if not (isinstance(message, LeaveIfIdle) and self._is_needed):  # the next report says so
                self.feed("head", message)

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

    def send_to(self, identity: bytes, message: Message) -> bool:
        """Say something to a peer of the ROUTER; whether it is still there."""
        return self._send_parts(identity, [encode(message)])

    def _send_parts(self, identity: bytes, parts: list[bytes]) -> bool:
        try:
            self._router.send_multipart([identity, *parts], zmq.NOBLOCK, copy=False)
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
                self.send_to,
                self._say_peer,
                self._mover_alarm.by,
            )
            self._mover.see(self._node.head.others.values(), time.monotonic())
        return self._mover

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
        self.feed("nursery", message)

    # --------------------------------------------------------------------- cores and the clock

    def feed(self, sender: str, message: Message) -> None:
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
        if self._owners.gates is not None:
            self._owners.gates.see_nodes()

    def _deliver(self, address: str, message: Message) -> None:
        kind, _, name = address.partition(":")
        match kind, message:
            case "timer", WakeAt(at_s=at_s):
                self._core_alarm.at(at_s)
            case "nursery", Fork() | Signal():
                self._brood.say(message)
            case "head", NodeAnswers() if not message.directory:
                if (whole := self._answers.add(message)) is not None:
                    self._head.say(whole)
            case "head", NodeReport(idle=True) if self._is_needed:
                self._head.say(msgspec.structs.replace(message, idle=False))
            case "asker", _:
                self._askers.tell(name, message)
            case "jobs", RunJob() | EndJob():
                self._to_node.extend(("jobs", says) for says in self._use_jobs().do(message))
            case "head", _:
                self._head.say(message)  # what it causes here is in ``_to_node``, if it is in this process
            case "owner", _:
                self._owners.tell(name, message)
            case "process", _:
                # If it is not there any more, the nursery says so.
                self.send_to(f"w:{name}".encode(), message)
            case _:
                raise AssertionError(f"an agent cannot deliver {message} to {address}")

    # ------------------------------------------------------------------------------ by the clock

    def _beat(self) -> None:
        self._owners.beat()
        self._run_cores()

    def _answer_late(self, whole: NodeAnswers) -> None:
        self._head.say(whole)
        self._run_cores()

    def _show_logs(self) -> None:
        """Workers whose output has grown are told, for their owners to see it."""
        for worker in self._brood.logs.grown(self._brood.pids):
            self._deliver(f"process:{worker}", LogGrows())

    def _keep(self, now: float) -> None:
        assert self._keeper is not None
        self._keeper_alarm.at(now + self._keeper.tick(self._brood.living))

    def _look_at_memory(self) -> None:
        for said in self._memory.look(self._brood.pids):
            self.feed("memory", said)


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
