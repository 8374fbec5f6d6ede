"""The shell of an OwnerCore: its sockets, its clock, and the two queues between it and the program.

::

    program's threads ──► inbox ──┐                          ┌──► deliveries ──► promise.fulfil / reject
                                  ▼                          │
    step():   poll ──► receive ─► OwnerCore ─► messages out ─┤
               ▲                                             └──► ROUTER: workers · DEALERs: agents
               └── ROUTER · DEALERs · Waker · descriptors that are watched

``step`` and all that it calls run on one thread at a time, the *leader*; which one that is, ``leading.py`` decides.
Only ``inbox``, ``sleeping`` and ``waker`` are for everybody. No user code runs in a step: what a promise does with its
result happens in ``Deliveries.pass_on``, outside of it.

Not here: links to agents (``owner_agents``) and to other owners (``peers``), and how outcomes are passed on
(``deliveries``).
"""

from __future__ import annotations

import heapq
import itertools
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec
import zmq

from distpool.errors import StoreError
from distpool.scheduler.cores.owner import OwnerCore
from distpool.scheduler.cores.tasks import Cancel, Task
from distpool.scheduler.messages import (
    DRIVER,
    ActorDown,
    Adopt,
    Adopted,
    AgentWelcome,
    Answer,
    Beat,
    CancelMade,
    Contact,
    ControlHello,
    Dial,
    Done,
    Execute,
    Failed,
    GateIs,
    GateOf,
    HangUp,
    Inquire,
    Inquired,
    LeaseHello,
    LinkLost,
    Local,
    LogLevels,
    Named,
    NodeLost,
    OwnerBye,
    PeerHello,
    Recover,
    Remarks,
    RemarksSeen,
    Results,
    Setup,
    Submit,
    Subscribe,
    Subscribed,
    Tick,
    Value,
    WakeAt,
    WantActor,
    WorkerDied,
    WorkerGone,
    Yielded,
    decode,
    encode,
)
from distpool.scheduler.serialize import stored
from distpool.scheduler.serialize.kept import Kept
from distpool.scheduler.shells import abroad, surroundings
from distpool.scheduler.shells.abroad import node_of
from distpool.scheduler.shells.accounts import Accounts
from distpool.scheduler.shells.deliveries import Deliveries
from distpool.scheduler.shells.links import EagerWait, is_readable
from distpool.scheduler.shells.owner_agents import OwnerAgents
from distpool.scheduler.shells.peers import PeerLinks
from distpool.scheduler.shells.questions import Questions
from distpool.scheduler.shells.reissue import Behind, Reissue
from distpool.scheduler.shells.show import Show
from distpool.scheduler.shells.waker import Waker
from distpool.scheduler.store.store import ObjectStore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from distpool.scheduler.shells.curve import Keys
    from distpool.scheduler.shells.guest_store import GuestStore
    from distpool.scheduler.shells.inquiries import Inquiry

#: Frames of workers that are read before the other sources are looked at again.
FRAMES_A_TURN = 64
_TICK = Tick()
_NOW, _NOW_MORE = zmq.NOBLOCK, zmq.NOBLOCK | zmq.SNDMORE


class OwnerShell:
    """Drives one OwnerCore. ``on_event`` gets what concerns pools, when it is delivered."""

    def __init__(
        self,
        core: OwnerCore,
        context: zmq.Context[zmq.Socket[bytes]],
        on_event: Callable[[Local], None],
        store: ObjectStore | GuestStore | None = None,
    ) -> None:
        self.core = core
        self.store = store
        self.inbox: deque[Any] = deque()  # tasks, messages of the program, functions for the leader to call
        self.waker = Waker()
        self.sleeping = False  # whether the leader is in a poll that nobody has asked it to leave
        self.accounts = Accounts()
        self.show = Show(core.node)
        self.reissue = Reissue(self._tell_seen, self.waker.wake, self.show)
        self.questions = Questions(self._ask)
        self.deliveries = Deliveries(self.reissue, on_event, lambda task: self.name_of(task))
        self._router: zmq.Socket[bytes] | None = None
        self._eager: EagerWait | None = None
        self._on_home_lost: Callable[[], None] = lambda: None
        self._ways: dict[bytes, bytes] = {}  # routing id of a worker on a node beyond our home -> "w:NODE"
        self.node_of_store: dict[int, str] = {}  # as far as workers there have told
        self.contacts: dict[str, Contact] = {}  # other owners that we have had to do with
        #: Who numbers the calls of this process.
        self.base: Callable[[], str] = lambda: ""
        #: Gets what another owner says of objects, None when it is gone; called like a delivery.
        self.on_peer: Callable[[str, Any], None] = lambda _owner, _message: None
        #: Gets, in a step, what somebody in the cluster asks, and what to call with the answer, also in a step.
        self.on_inquiry: Inquiry | None = None
        #: Gets, in a step, each outcome of tasks before it is delivered, and the lease that it came from, if any.
        self.on_outcome: Callable[[Done | Failed, str], None] | None = None
        #: Gets, in a step, each call that has failed, as ``on_outcome`` does.
        self.on_failed: Callable[[Failed, str], None] | None = None
        #: What a task's function is called, "" where nobody knows; for the text of errors.
        self.name_of: Callable[[Task], str] = lambda _task: ""
        self._heard_from = ""  # the lease whose answers are being taken in
        self._abroad: dict[str, int] = {}  # addresses of workers on other nodes -> the number of their store
        self._watched: dict[int, Callable[[], None]] = {}
        self._poller = zmq.Poller()
        self._poller.register(self.waker.fd, zmq.POLLIN)
        self.agents = OwnerAgents(
            context, self._poller, core.owner, core.node, core.hello, self.questions.linked
        )
        self._addresses: dict[bytes, str] = {}  # routing id -> address
        self._level_watch = surroundings.LevelWatch()
        self._levels = b""  # the log levels that workers were told last
        self._early: dict[str, list[bytes]] = {}  # control address -> frames for a link that is not up yet
        self.has_port = False  # our home is one of several machines
        self.peers = PeerLinks(
            context, self._poller, self.contact, self._answer_peer, self._way_to, self._say_by_home
        )
        self._has_put = False  # there may be a delivery that was not there before
        self._wake_at = 0.0
        self._later: list[tuple[float, int, Callable[[], None]]] = []  # a heap: when, in which order, what
        self._later_count = itertools.count()

    # ----------------------------------------------------------------------------------- sockets

    def use_router(self, router: zmq.Socket[bytes]) -> None:
        """Serve workers on this socket; a former one is closed with all its links."""
        if self._router is not None:
            self._poller.unregister(self._router)
            self._router.close()
            self._addresses.clear()
            self._abroad.clear()
            self._early.clear()
        self._router = router
        self._eager = EagerWait(router, self.core.limits.spin_s)
        self._poller.register(router, zmq.POLLIN)

    def attach(self, home: str, keys: Keys | None, on_home_lost: Callable[[], None]) -> None:
        """This owner is on no node, and ``home`` is the one whose port it is about to dial."""
        self.agents.attach(home, keys)
        self._on_home_lost = on_home_lost

    def _ask(self, frame: bytes) -> None:
        self.agents.say(self.agents.home, frame)

    def watch(self, fd: int, callback: Callable[[], None]) -> None:
        """Call back, in a step, when this descriptor is readable."""
        self._watched[fd] = callback
        self._poller.register(fd, zmq.POLLIN)

    def unwatch(self, fd: int) -> None:
        """Stop watching a descriptor."""
        if self._watched.pop(fd, None) is not None:
            self._poller.unregister(fd)

    def close(self, farewell_ms: int) -> None:
        """Close every socket; what was said last gets ``farewell_ms`` to leave."""
        self.agents.close(farewell_ms)
        if self._router is not None:
            self._router.close()
            self._router = None
        self.peers.close(farewell_ms)
        self.waker.close()

    # ---------------------------------------------------------------------------------- one step

    def step(self, deadline: float | None, *, eager: bool, stay: Callable[[], bool]) -> None:
        """Wait until ``deadline`` for something to happen, take it all in, send what it causes.

        ``eager``: an answer is awaited that may come soon. ``stay`` is asked last before sleeping.
        """
        self._has_put = False
        self.drain_inbox()
        # A call that is refused is answered here: who sleeps now would keep its answer for himself.
        timeout_ms = 0 if self._has_put else self._timeout_ms(deadline)
        if timeout_ms != 0:
            self.sleeping = True
            if self.inbox or not stay():
                self.sleeping = False
                timeout_ms = 0
        if eager and timeout_ms != 0 and self._eager is not None and self._router is not None:
            if self._eager.look():
                self.sleeping = False
                self._eager.found()
                self._read_worker(
                    self._router
                )  # most likely what is awaited: nothing else is looked at first
                return
            events = self._poller.poll(timeout_ms)
            self._eager.found()
        else:
            events = self._poller.poll(timeout_ms)
        self.sleeping = False
        for source, _ in events:
            if source is self._router:
                self._drain_router(FRAMES_A_TURN)
            elif isinstance(source, int):
                if source == self.waker.fd:
                    self.waker.clear()
                elif (callback := self._watched.get(source)) is not None:
                    callback()
            elif (lost := self.agents.lost(source)) is not None:
                self._lose_node(lost)
            elif self.peers.owner_of(source) is not None:
                self._drain_peer(source)
            else:
                self._drain_agent(source)
        if self._wake_at and time.monotonic() >= self._wake_at:
            self._wake_at = 0.0
            self._feed("timer", _TICK)
        while self._later and time.monotonic() >= self._later[0][0]:
            self.deliveries.append(heapq.heappop(self._later)[2])
        if self.inbox:
            self.drain_inbox()
        if self.store is not None and self.store.has_dropped:
            self.store.drain()

    def call_later(self, delay_s: float, what: Callable[[], None]) -> None:
        """Deliver ``what``, a function to be called, after a while; by the leader."""
        heapq.heappush(self._later, (time.monotonic() + delay_s, next(self._later_count), what))

    def _timeout_ms(self, deadline: float | None) -> int | None:
        until = self._wake_at if deadline is None else min(deadline, self._wake_at or deadline)
        if self._later:
            until = min(until or self._later[0][0], self._later[0][0])
        if self.reissue.awaited:
            until = min(until or self.reissue.stuck_s, self.reissue.stuck_s)
        if not until:
            return None
        return max(0, int((until - time.monotonic()) * 1000) + 1)

    def drain_inbox(self) -> None:
        """Take in what the program handed over; runs of tasks for one pool become one Submit."""
        inbox = self.inbox
        tasks: list[Task] = []
        count = len(inbox)
        if count and self.store is not None and self.store.has_dropped:
            self.store.drain()  # what was let go of before these calls were made is room for them
        for _ in range(count):
            item = inbox.popleft()
            if type(item) is Task:
                if tasks and tasks[0].pool != item.pool:
                    self._feed("app", Submit(tasks[0].pool, tasks))
                    tasks = []
                tasks.append(item)
                continue
            if tasks:
                self._feed("app", Submit(tasks[0].pool, tasks))
                tasks = []
            if callable(item):
                item()
                self._has_put = True  # perhaps
            else:
                self._feed("app", item)
        if tasks:
            self._feed("app", Submit(tasks[0].pool, tasks))

    def _drain_router(self, frames_max: int) -> None:
        """Take in what workers have sent, up to ``frames_max`` frames."""
        router = self._router
        if router is not None:
            for _ in range(frames_max):
                if not is_readable(router):
                    return
                self._read_worker(router)

    def _read_worker(self, router: zmq.Socket[bytes]) -> None:
        """Take in one frame that is there: one message, after its sender's routing id."""
        identity = router.recv(_NOW)
        if not self._take(identity, router.recv(_NOW)):
            while router.getsockopt(zmq.RCVMORE):
                router.recv(_NOW)

    def _take(self, identity: bytes, frame: bytes) -> bool:
        """Take in what a worker or another owner says; False if it is not one of ours."""
        try:
            message = decode(frame)
            if type(message) is Remarks:
                number = self.reissue.put(identity.decode().partition(":")[2], message)
                self.deliveries.append(Behind(number))
                return True
            address = self._addresses.get(identity) or self._new_address(identity)
        except (msgspec.DecodeError, ValueError):
            return False
        account = self.accounts.of_link.get(identity)
        if account is None:
            self._hear_peer(address.partition(":")[2], message)
            return True
        account.bytes_out += len(frame)
        account.add(message)
        if type(message) is LeaseHello and address in self._abroad:
            self._abroad[address] = message.store
            self.node_of_store[message.store] = message.node
        if type(message) is Results and message.stored:
            self._claim(message, address.partition(":")[2])
        elif type(message) is Yielded and message.stored:
            value = self._claimed(message.value, address.partition(":")[2])
            message = msgspec.structs.replace(message, value=value)
        self._heard_from = address
        self._feed(address, message)
        self._heard_from = ""
        if type(message) is ControlHello:
            for early in self._early.pop(address, ()):
                self._send_to_worker(identity, early)
            self._early[address] = []
        return True

    def _new_address(self, identity: bytes) -> str:
        kind, _, lease = identity.decode().partition(":")
        if kind == "p":
            self.peers.inbound.add(lease)
            self._addresses[identity] = f"peer:{lease}"
            return f"peer:{lease}"
        if kind not in ("d", "c"):
            raise ValueError("neither a worker nor another owner")
        address = f"worker:{lease}" if kind == "d" else f"control:{lease}"
        self.accounts.open(identity, lease)
        self._addresses[identity] = address
        if kind == "d" and node_of(lease) != self.core.node:
            self._abroad[address] = 0
        return address

    def _drain_agent(self, link: zmq.Socket[bytes]) -> None:
        node = self.agents.node_of(link)
        while node is not None:
            try:
                *way, frame = link.recv_multipart(_NOW)
            except zmq.Again:
                return
            if len(way) == 2:  # of a worker on a node beyond
                self._ways[way[1]] = way[0]
                self._take(way[1], frame)
                continue
            speaker = way[0][2:].decode() if way else node
            if way and way[0].startswith(b"q:"):  # another owner, of whom we hear by our home
                if frame:
                    self._hear_peer(speaker, decode(frame))
                else:
                    self._lose_peer(speaker)
                continue
            if not frame:
                self._lose_node(speaker)
                continue
            message = decode(frame)
            if type(message) is Beat:
                continue
            if type(message) is GateIs:
                if not self.peers.gate_is(message.owner, message.address):
                    self._lose_peer(message.owner)
                continue
            if type(message) is AgentWelcome and node == self.agents.home:
                self.has_port = message.has_port
            if isinstance(message, Answer):
                self.deliveries.woke_waiter |= self.questions.heard(message)
                continue
            if type(message) is Inquire:
                self._inquire(speaker, message)
                continue
            if type(message) is WorkerDied:
                self._drain_router(sys.maxsize)  # what it had sent before it died comes first
                for answers in message.answers:
                    self._claim(answers, message.lease)
                if message.printed:
                    self.deliveries.append(Behind(self.reissue.put_last(message.lease, message.printed)))
                self.accounts.died(message.lease, message.death)
            self._feed(f"agent:{speaker}", message)

    def _inquire(self, node: str, message: Inquire) -> None:
        """Somebody in the cluster wants to know something; this process knows it, or has nothing to say."""

        def answer(found: bytes) -> None:
            self.agents.say(node, encode(Inquired(message.number, found)))

        if self.on_inquiry is None:
            answer(b"")
        else:
            self.on_inquiry(message, answer)

    def _lose_node(self, node: str) -> None:
        """The link to another node's agent is lost, and with it all that is known of what runs there."""
        self.agents.hang_up(node)
        self._feed("links", NodeLost(node, "the link to its agent was lost"))
        if node == self.agents.home:
            self._on_home_lost()

    def _claim(self, results: Results, lease: str) -> None:
        """What a worker has put into the store for us is ours from here on, until the last that refers to it goes."""
        for place, value in enumerate(results.values):
            if type(value) is list:  # of a call that gives several values
                results.values[place] = [self._claimed(part, lease) for part in value]
            elif type(value) is bytes:
                results.values[place] = self._claimed(value, lease)

    def _claimed(self, value: Any, lease: str) -> Any:
        if type(value) is not bytes or not (ids := stored.ids_of(value)) or self.store is None:
            return value
        try:
            worker, store = int(lease.rpartition(".")[2]), self._abroad.get(f"worker:{lease}", 0)
            return Kept(
                value, self.store.claim(ids, worker, store=store, soon=self._is_read_at_once(lease)), None
            )
        except StoreError:
            return value  # loading it will say so, to whom it concerns

    def _is_read_at_once(self, lease: str) -> bool:
        """Whether answers from there are loaded when they are delivered, and not kept as they came."""
        known = self.core.leases.get(lease)
        return known is not None and not known.pool.self_contained

    def _feed(self, sender: str, message: Any) -> None:
        for address, out in self.core.receive(sender, message, time.monotonic()):
            self._send(address, out)

    def _send(self, address: str, message: Any) -> None:
        kind, _, name = address.partition(":")
        if kind == "app":
            if self.on_outcome is not None and (type(message) is Done or type(message) is Failed):
                self.on_outcome(message, self._heard_from)
            if type(message) is Failed and self.on_failed is not None:
                self.on_failed(message, self._heard_from)
            self.deliveries.append(message)
            self._has_put = True
            if type(message) is WorkerGone:
                self._forget_lease(message.lease)
        elif kind == "worker":
            identity = b"d:" + name.encode()
            if self._level_watch.has_changed():
                self._tell_levels()
            if type(message) is Setup:
                message = msgspec.structs.replace(
                    message, log_levels=self._levels, base=self.base(), prints=self.show.is_wanted
                )
            elif type(message) is Execute:
                message = self._numbered(name, message)
            if (store := self._abroad.get(address)) is not None:
                for frame in abroad.frames(message, fetches=store > 0 and self.core.store > 0):
                    self._send_to_worker(identity, frame)
            else:
                self._send_to_worker(identity, encode(message))
        elif kind == "control":
            waiting = self._early.get(address)
            if waiting is None:
                self._early[address] = [encode(message)]
            elif waiting:
                waiting.append(encode(message))
            else:
                self._send_to_worker(b"c:" + name.encode(), encode(message))
        elif kind == "agent":
            self.agents.say(name, encode(message))
        elif kind == "peer":
            if (contact := self.contacts.get(name)) is not None:
                self.peers.say(contact, message)
        elif kind == "timer":
            assert isinstance(message, WakeAt)
            if not self._wake_at or message.at_s < self._wake_at:
                self._wake_at = message.at_s
        elif type(message) is HangUp:
            self.agents.say(message.node, encode(OwnerBye()))
            self.agents.hang_up(message.node, int(self.core.limits.farewell_s * 1000))
        else:
            assert isinstance(message, Dial)
            if (
                message.node not in self.agents.nodes
            ):  # two pools may be sent there before it has said welcome
                self.agents.dial(message.node, message.address)

    def _numbered(self, name: str, message: Execute) -> Execute:
        """With the numbers of remote calls, which know by them who they are."""
        lease = self.core.leases[name]
        if not lease.pool.self_contained:
            return message
        offered, first = lease.offered, message.first
        tokens = [offered[first + place].token for place in range(len(message.payloads))]
        return msgspec.structs.replace(message, numbers=[getattr(token, "number", 0) for token in tokens])

    def _tell_levels(self) -> None:
        """Levels of loggers may have changed: workers are told before they are sent anything else."""
        levels = surroundings.log_levels()
        if levels != self._levels:
            self._levels = levels
            for lease in self.core.leases:
                self._send_to_worker(b"d:" + lease.encode(), encode(LogLevels(levels)))

    def _send_to_worker(self, identity: bytes, frame: bytes) -> None:
        account = self.accounts.of_link.get(identity)
        if account is not None:
            account.bytes_in += len(frame)
        if self._ways and (way := self._ways.get(identity)) is not None:
            self.agents.say_home([way, identity, frame])
            return
        self._route(identity, frame)  # if it is gone, its agent will say so

    def _route(self, identity: bytes, frame: bytes) -> bool:
        router = self._router
        if router is None:
            return False
        try:
            router.send(identity, _NOW_MORE)
            router.send(frame, _NOW)
        except zmq.ZMQError as error:
            if error.errno not in (zmq.EHOSTUNREACH, zmq.EAGAIN):
                raise
            return False
        return True

    # ------------------------------------------------------------------------------ other owners

    def contact(self) -> Contact:
        """Where other owners find this one."""
        process = self.store.process if self.store is not None else 0
        home = self.agents.home if self.has_port else ""
        return Contact(self.core.owner, self.core.address, self.core.node, process, self.core.store, home)

    def say_to_owner(self, contact: Contact, message: Any) -> None:
        """Say another owner something; by the leader."""
        self.contacts[contact.owner] = contact
        self.peers.say(contact, message)

    def _way_to(self, contact: Contact) -> bool:
        """Whether an owner can be dialled as it is; else our home is asked for its gate."""
        if contact.home and contact.node != self.core.node:
            self._ask(encode(GateOf(contact.owner, contact.home)))
        elif not contact.address:  # a program beyond a cluster that is not ours
            self.deliveries.append(lambda: self._lose_peer(contact.owner))
        else:
            return True
        return False

    def _say_by_home(self, owner: str, frame: bytes) -> None:
        self.agents.say_home([b"g:" + owner.encode(), frame])

    def _answer_peer(self, owner: str, frame: bytes) -> bool:
        """Say something to an owner that has dialled us; whether it is there."""
        identity = b"p:" + owner.encode()
        if (way := self._ways.get(identity)) is not None:
            self.agents.say_home([way, identity, frame])
            return True
        return self._route(identity, frame)

    def watch_owner(self, contact: Contact) -> None:
        """Have ``on_peer`` told when this owner is gone; by the leader."""
        self.contacts[contact.owner] = contact
        self.peers.dial(contact)

    def _drain_peer(self, source: object) -> None:
        owner = self.peers.owner_of(source)
        assert owner is not None
        while (frame := self.peers.read(source)) is not None:
            self._hear_peer(owner, decode(frame))
        if self.peers.is_fate(source):
            self._drain_router(sys.maxsize)  # what it had said before it went comes first
            self._lose_peer(owner)

    def _hear_peer(self, owner: str, message: Any) -> None:
        match message:
            case PeerHello(contact=contact):
                self.contacts[owner] = contact
            case (
                Subscribe()
                | Subscribed()
                | Value()
                | Recover()
                | CancelMade()
                | Adopt()
                | Adopted()
                | Named()
            ):
                self.deliveries.append(lambda: self.on_peer(owner, message))
            case _:
                if type(message) is WantActor and message.contact is not None:
                    self.watch_owner(message.contact)  # a link that it has dialled does not tell of its end
                if type(message) is ActorDown:
                    self._drain_router(sys.maxsize)  # what the actor had answered comes first
                self._feed(f"peer:{owner}", message)

    def _lose_peer(self, owner: str) -> None:
        self.peers.hang_up(owner)
        self._ways.pop(b"p:" + owner.encode(), None)
        contact = self.contacts.pop(owner, None)
        if contact is not None and self.store is not None and contact.node == self.core.node:
            self.deliveries.append(lambda: self._forget_transit(contact))
        self.deliveries.append(lambda: self.on_peer(owner, None))
        self._feed(f"peer:{owner}", LinkLost())

    def _forget_transit(self, contact: Contact) -> None:
        """What a dead owner has handed to us, and we have not taken by now, we have never heard of."""
        if self.store is not None and contact.process != DRIVER:
            self.store.forget_transit(contact.process)

    def _forget_lease(self, lease: str) -> None:
        worker = int(lease.rpartition(".")[2])
        there = self._abroad.pop(f"worker:{lease}", 0)
        if self.store is not None and (there or node_of(lease) == self.core.node):
            self.store.forget_transit(worker, store=there)
        self._addresses.pop(b"d:" + lease.encode(), None)
        self._addresses.pop(b"c:" + lease.encode(), None)
        if self._ways:
            for kind in (b"d:", b"c:"):
                self._ways.pop(kind + lease.encode(), None)
        self.accounts.forget(lease)
        self.reissue.forget(lease)
        self._early.pop(f"control:{lease}", None)

    def _tell_seen(self, lease: str, count_bytes: int) -> None:
        """On the thread that handles remarks."""

        def tell() -> None:
            if b"c:" + lease.encode() in self._addresses:
                self._send(f"control:{lease}", RemarksSeen(count_bytes))

        self.inbox.append(tell)
        self.waker.wake()

    # ---------------------------------------------------------------------------------- its end

    def abort(self, reason: str) -> None:
        """The engine has failed: reject every task that is anywhere. The core may be half-way between two states."""
        core, tasks = self.core, []
        for pool in core.pools.values():
            tasks += [task for task in pool.queue if task.payload is not None]
        tasks += core.outcomes.resting
        for lease in core.leases.values():
            tasks += [task for task in lease.offered.values() if task.cancel is not Cancel.OVERDUE]
        for item in list(self.deliveries):
            if type(item) is not Behind:
                self.deliveries.pass_on(item)
        for task in tasks:
            self.deliveries.pass_on(Failed(task, reason=reason))
        self.refuse_inbox(reason)

    def refuse_inbox(self, reason: str) -> None:
        """Reject the tasks that nobody will ever take out of the inbox."""
        while self.inbox:
            try:
                item = self.inbox.popleft()
            except IndexError:
                return
            if type(item) is Task:
                self.deliveries.pass_on(Failed(item, reason=reason))
