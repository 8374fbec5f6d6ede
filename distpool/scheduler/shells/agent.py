"""The agent: one background process per embedded session, head and node in one.

::

    driver ── exec, JSON ──► agent ── fork ──► nursery ── fork ──► workers
      │                        │ ROUTER ipc://DIR/agent               │
      │  OwnerHello, WantLeases▼                                      │ WorkerHello
      └───────────────────► NodeCore ◄── in memory ──► HeadCore       │
                               ▲──────────────────────────────────────┘

It sleeps in one poll: over its ROUTER, its nursery's link, and pidfds of driver, nursery and owners. It wakes by
events, and by a clock only when a core has asked for it. When the driver is dead, or says goodbye, everything below
the agent is killed and reaped and the session directory removed; likewise when anything here goes wrong.

Started by ``python -m distpool.scheduler.shells.agent ASK_FD TELL_FD``: one JSON line (``AgentRequest``) is read from
the first descriptor, and one ({"ready": true, "node": ..., "agent_pid": ...}) written to the second.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
import traceback
from collections import deque

import msgspec
import zmq

from distpool.scheduler.cores.head import HeadCore
from distpool.scheduler.cores.node import NodeCore
from distpool.scheduler.limits import DEFAULTS, Limits
from distpool.scheduler.messages import (
    DRIVER,
    Exited,
    Fork,
    KeyDelete,
    KeyGet,
    KeyPut,
    LinkLost,
    Message,
    OwnerBye,
    OwnerHello,
    Signal,
    StoreQuery,
    Tick,
    WakeAt,
    decode,
    encode,
)
from distpool.scheduler.shells import processes
from distpool.scheduler.shells.brood import Brood
from distpool.scheduler.shells.links import router
from distpool.scheduler.shells.nursery import NurseryStart
from distpool.scheduler.shells.slots import Slots
from distpool.scheduler.store.files import StoreFiles
from distpool.scheduler.store.keeper import Keeper
from distpool.scheduler.store.store import ObjectStore

#: Head and node share a process here, so neither needs a sign of life from the other.
EMBEDDED = msgspec.structs.replace(DEFAULTS, heartbeat_s=float("inf"), node_silent_s=float("inf"))

_SLEEP_MS_MAX = 3_600_000  # a poll takes a C int


class AgentRequest(msgspec.Struct, frozen=True):
    """What the driver asks for. ``resources`` default to the CPUs there are; ``node`` to a name of our own."""

    directory: str
    lock_fd: int
    driver_pid: int
    node: str = ""
    resources: dict[str, float] | None = None
    limits: Limits = EMBEDDED
    worker_main: str = "distpool.scheduler.shells.worker:main"
    store: StoreFiles | None = None


class Agent:
    """The loop around the two cores."""

    def __init__(self, request: AgentRequest, tell_fd: int) -> None:
        self._driver_pid = request.driver_pid
        self._driver_fd = processes.open_pidfd(request.driver_pid)
        self.leaving = self._driver_fd is None or os.getppid() != request.driver_pid
        host = socket.gethostname()
        self.node_name = request.node or f"{host}-{os.getpid()}"
        address = f"ipc://{request.directory}/agent"
        slots = Slots(request.limits.workers_max)
        start = NurseryStart(
            directory=request.directory,
            node=self.node_name,
            host=host,
            driver_pid=request.driver_pid,
            agent_pid=os.getpid(),
            slots=request.limits.workers_max,
            slots_fd=slots.fd,
            lock_fd=request.lock_fd,
            worker_main=request.worker_main,
            store=request.store,
        )
        self._brood = Brood(start, slots, request.limits, private_fds=(tell_fd,))
        self._keeper = None if request.store is None else Keeper(ObjectStore(request.store, process=0))
        self._keep_s = 0.0  # when the keeper is to look again
        # Only now may there be threads in this process.
        self._router = router(zmq.Context(io_threads=1), address)
        self._node = NodeCore(self.node_name, host, os.getpid(), address, _resources(request), request.limits)
        self._head = HeadCore(request.limits)
        self._to_cores: deque[tuple[NodeCore | HeadCore, str, Message]] = deque()
        self._wake_s: dict[NodeCore | HeadCore, float] = {}
        self._owner_fds: dict[int, str] = {}  # pidfd -> owner
        self._poller = zmq.Poller()
        for source in (self._router, self._brood.link, self._brood.pidfd, self._driver_fd):
            if source is not None:
                self._poller.register(source, zmq.POLLIN)

    def run(self) -> None:
        """Serve until the driver is gone."""
        self._feed(self._node, "timer", Tick())
        while not self.leaving:
            self._poller.register(self._brood.link, zmq.POLLIN | (zmq.POLLOUT if self._brood.unsent else 0))
            for source, _ in self._poller.poll(self._sleep_ms()):
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
        elif isinstance(source, int) and source in self._owner_fds:
            self._feed(self._node, f"owner:{self._unwatch(source)}", LinkLost())

    def _read_router(self) -> None:
        while True:
            try:
                identity, data = self._router.recv_multipart(zmq.NOBLOCK)
                message = decode(data)
            except zmq.Again:
                return
            except (msgspec.DecodeError, ValueError):
                continue  # not one of ours
            kind, _, name = identity.decode(errors="replace").partition(":")
            if kind == "w":
                self._feed(self._node, f"process:{name}", message)
            elif isinstance(message, StoreQuery):
                self._report(identity)
            elif isinstance(message, KeyPut | KeyGet | KeyDelete):
                self._feed(self._head, f"owner:{name}", message)
            else:
                self._from_owner(name, message)

    def _report(self, identity: bytes) -> None:
        if self._keeper is None:
            return
        pids = {DRIVER: self._driver_pid, **self._brood.pids}
        try:
            self._router.send_multipart(
                [identity, encode(self._keeper.report(self.node_name, pids))], zmq.NOBLOCK
            )
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise

    def _from_owner(self, name: str, message: Message) -> None:
        self._feed(self._node, f"owner:{name}", message)
        if isinstance(message, OwnerHello):
            self._watch(name, message.pid)
        elif isinstance(message, OwnerBye):
            for fd in [fd for fd, owner in self._owner_fds.items() if owner == name]:
                self._unwatch(fd)
            self.leaving = self.leaving or name == self._driver

    _driver = ""  # the driver's name as an owner

    def _watch(self, owner: str, pid: int) -> None:
        """An owner's death is seen by its pid: a ROUTER does not tell that a peer has gone."""
        if pid == self._driver_pid:
            self._driver = owner
            return
        if owner in self._owner_fds.values():
            return
        fd = processes.open_pidfd(pid)
        if fd is None:
            self._feed(self._node, f"owner:{owner}", LinkLost())
            return
        self._owner_fds[fd] = owner
        self._poller.register(fd, zmq.POLLIN)

    def _unwatch(self, fd: int) -> str:
        self._poller.unregister(fd)
        os.close(fd)
        return self._owner_fds.pop(fd)

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
        self._feed(self._node, "nursery", message)

    # --------------------------------------------------------------------- cores and the clock

    def _feed(self, core: NodeCore | HeadCore, sender: str, message: Message) -> None:
        """Give a core a message, and deliver all that comes of it, also between the two cores."""
        queue = self._to_cores
        queue.append((core, sender, message))
        while queue:
            core, sender, message = queue.popleft()
            for address, effect in core.receive(sender, message, time.monotonic()):
                self._deliver(core, address, effect)

    def _deliver(self, core: NodeCore | HeadCore, address: str, message: Message) -> None:
        kind, _, name = address.partition(":")
        match kind, message:
            case "timer", WakeAt(at_s=at_s):
                self._wake_s[core] = at_s
            case "nursery", Fork() | Signal():
                self._brood.say(message)
            case "head", _:
                self._to_cores.append((self._head, f"agent:{self.node_name}", message))
            case "agent", _:
                self._to_cores.append((self._node, "head", message))
            case "owner", _:
                self._tell_owner(name, message)
            case _:
                raise AssertionError(f"an agent cannot deliver {message} to {address}")

    def _tell_owner(self, owner: str, message: Message) -> None:
        try:
            self._router.send_multipart([f"o:{owner}".encode(), encode(message)], zmq.NOBLOCK)
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            self._to_cores.append((self._node, f"owner:{owner}", LinkLost()))

    def _tick(self) -> None:
        now = time.monotonic()
        for core, at_s in list(self._wake_s.items()):
            if at_s <= now:
                del self._wake_s[core]
                self._feed(core, "timer", Tick())
        if self._keeper is not None and self._keep_s <= now:
            self._keep_s = now + self._keeper.tick()

    def _sleep_ms(self) -> int | None:
        wake_s = [*self._wake_s.values(), *([self._keep_s] if self._keeper is not None else [])]
        if not wake_s:
            return None
        left_s = min(wake_s) - time.monotonic()
        return max(0, min(int(left_s * 1000) + 1, _SLEEP_MS_MAX))


def _resources(request: AgentRequest) -> dict[str, float]:
    if request.resources is not None:
        return request.resources
    from distpool.cpus import cpu_count

    return {"CPU": float(cpu_count())}


def main(ask_fd: int, tell_fd: int) -> None:
    """The life of an agent process. Does not return."""
    status = 1
    directory: str | None = None
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        os.setsid()  # our own session: no terminal's Ctrl-C, and a name for all that we start
        processes.become_subreaper()
        with open(ask_fd, "rb") as ask:
            request = msgspec.json.decode(ask.readline(), type=AgentRequest)
        directory = request.directory
        for fd in (request.lock_fd, *(request.store.fds if request.store else ())):
            os.set_inheritable(fd, False)
        agent = Agent(request, tell_fd)
        with open(tell_fd, "wb") as tell:
            tell.write(msgspec.json.encode(_ready(agent)) + b"\n")
        agent.run()
        status = 0
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        processes.end_descendants(directory)
        os._exit(status)


def _ready(agent: Agent) -> dict[str, object]:
    return {"ready": True, "node": agent.node_name, "agent_pid": os.getpid()}


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
