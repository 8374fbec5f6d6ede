"""The bridge: one process between a program and a cluster that is not ours, which it makes look like one of ours.

::

    program                      bridge                              somebody's cluster (Ray, Dask)
    OwnerShell ── home link ──► ROUTER ── PilotsCore ── StartPilot ──► Provider ──► Pilot ── agent ── workers
               [frame]                │ home's own words
               [n:P, frame]           ├── put ─────────────────────────────────────► P's agent
               [w:P, worker, frame]   ├── put ─────────────────────────────────────► P's worker
               ◄──────────────────────┴── take ◄────────────────────────────────────

To the owner it is its *home* (``gateway``): what is for a pilot's agent or for a worker there is passed on unread, by
calls of the other cluster's own: at most one ``put`` and one ``take`` for each pilot at a time, so what comes meanwhile
goes together. Only the few words between owner and agents are looked into, for the core to know who is needed.

It is a process of its own because the libraries of other clusters are guests that one does not want at home: they have
threads, handlers of signals and exit, and end the process when their cluster goes. When that happens here, the program
sees its agent die, and starts another bridge, which connects anew or says why it cannot. When the program ends, the
bridge ends all its pilots; when the bridge is killed, their cluster ends them, and what they have started sees it.

Started as an agent is (``launching``): ``python -m distpool.engines.bridge ASK_FD TELL_FD DIRECTORY``.
"""

from __future__ import annotations

import importlib
import os
import select
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, NoReturn, Protocol

import msgspec
import zmq

from distpool.engines.pilot import Frames, introduction
from distpool.errors import ClusterError
from distpool.scheduler.cores.pilots import (
    ClusterFacts,
    PilotLost,
    PilotsCore,
    PilotUp,
    StartPilot,
    StopPilot,
    WorkerUpThere,
)
from distpool.scheduler.messages import (
    DropPool,
    NodeFacts,
    OwnerBye,
    OwnerHello,
    Tick,
    WakeAt,
    WantLeases,
    WorkerDied,
    decode,
    encode,
)
from distpool.scheduler.shells import launched, processes
from distpool.scheduler.shells.links import router
from distpool.scheduler.shells.waker import Waker

__all__ = ["BridgeRequest", "Provider"]

#: How often the cluster is asked what it has.
FACTS_S = 2.0
#: How long pilots have to end, when the program has.
FAREWELL_S = 5.0


class BridgeRequest(msgspec.Struct, frozen=True):
    """What the program asks for: whose pid that is, what the home is to be called, and which cluster is meant."""

    lock_fd: int
    driver_pid: int
    node: str
    provider: str  # a module, whose ``connect(address, title)`` is a Provider
    address: str
    title: str


class Provider(Protocol):
    """Somebody's cluster, as far as it has to be known: where pilots can run. Each call returns at once."""

    def start(
        self, pilot: str, owner: str, resources: Mapping[str, float], spread: bool, knock: bytes
    ) -> Future[Any]:
        """Start a pilot; done when it can be called, failed when it cannot be had."""

    def call(self, pilot: str, method: str, *args: Any) -> Future[Any]:
        """Call a method of a pilot that is up; failed when the pilot is gone."""

    def stop(self, pilot: str) -> None:
        """End a pilot, whether or not it is up, or has ended itself."""

    def nodes(self) -> Future[list[NodeFacts]]:
        """What the cluster has; failed when the cluster is gone."""

    def close(self) -> None:
        """End what pilots there are left, and leave the cluster. May take a moment."""


@dataclass(slots=True)
class _Way:
    """The way to one pilot."""

    up: bool = False
    putting: bool = False
    waiting: Frames = field(default_factory=list)
    known: set[bytes] = field(default_factory=set)  # routing ids of workers that have spoken


class Bridge:
    """The loop around the core. ``provider`` calls back on threads of its own; everything else happens on this one."""

    def __init__(
        self, request: BridgeRequest, directory: str, provider: Provider, facts: list[NodeFacts]
    ) -> None:
        self._request, self._provider = request, provider
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(io_threads=1)
        self._router = router(self._context, f"ipc://{directory}/agent")
        self._driver_fd = processes.open_pidfd(request.driver_pid)
        self.leaving = self._driver_fd is None or os.getppid() != request.driver_pid
        self._waker = Waker()
        self._calls: deque[Callable[[], None]] = deque()  # for this thread to make
        self._owner = b""
        self._ways: dict[str, _Way] = {}
        self._core = PilotsCore(request.node, request.title, os.getpid(), socket.gethostname())
        self._wake_s = 0.0
        self._facts_s = time.monotonic() + FACTS_S
        self._asking = False
        self.lost = ""  # why there is no cluster any more
        self._feed("cluster", ClusterFacts(tuple(facts)))

    def run(self) -> None:
        """Until the program has ended, or the cluster is gone."""
        poller = zmq.Poller()
        for source in (self._router, self._waker.fd, self._driver_fd):
            if source is not None:
                poller.register(source, zmq.POLLIN)
        while not self.leaving and not self.lost:
            ready = dict(poller.poll(self._sleep_ms()))
            if self._driver_fd in ready:
                return
            if self._waker.fd in ready:
                self._waker.clear()
            while self._calls:
                self._calls.popleft()()
            if self._router in ready:
                self._read()
            self._tick()

    def _sleep_ms(self) -> int:
        until_s = min(self._facts_s, self._wake_s or self._facts_s)
        return max(0, int((until_s - time.monotonic()) * 1000) + 1)

    def _tick(self) -> None:
        now = time.monotonic()
        if self._wake_s and self._wake_s <= now:
            self._wake_s = 0.0
            self._feed("timer", Tick())
        if self._facts_s <= now:
            self._facts_s = now + FACTS_S
            if not self._asking:
                self._asking = True
                self._when_done(self._provider.nodes(), self._know)

    def _know(self, answer: Future[list[NodeFacts]]) -> None:
        self._asking = False
        if (error := answer.exception()) is not None:
            self.lost = one_line(error)
        else:
            self._feed("cluster", ClusterFacts(tuple(answer.result())))

    def _when_done(self, future: Future[Any], then: Callable[[Future[Any]], None]) -> None:
        """Call ``then`` with it on this thread. (What is done runs on whatever thread has done it.)"""

        def done(future: Future[Any]) -> None:
            self._calls.append(lambda: then(future))
            self._waker.wake()

        future.add_done_callback(done)

    # ------------------------------------------------------------------------------- the program

    def _read(self) -> None:
        while True:
            try:
                identity, *parts = self._router.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self._owner = identity
            match parts:
                case [frame]:
                    self._from_owner(decode(frame))
                case [to, frame]:
                    pilot = to[2:].decode()
                    message = decode(frame)
                    if isinstance(message, WantLeases | DropPool):
                        self._feed(f"toward:{pilot}", message)
                    self._put(pilot, [frame])
                case [to, _worker, _frame]:
                    self._put(to[2:].decode(), parts)
                case _:
                    pass  # not one of ours

    def _from_owner(self, message: Any) -> None:
        if isinstance(message, OwnerBye):
            self.leaving = True
        elif isinstance(message, OwnerHello):
            self._owner_name = message.owner
            self._feed("owner", message)
        else:
            self._feed("owner", message)

    _owner_name = ""

    def _say(self, parts: list[bytes]) -> None:
        try:
            self._router.send_multipart([self._owner, *parts], zmq.NOBLOCK)
        except zmq.ZMQError as error:
            if error.errno not in (zmq.EHOSTUNREACH, zmq.EAGAIN):
                raise
            # It is gone, as its pidfd will say.

    # ------------------------------------------------------------------------------- the core

    def _feed(self, sender: str, message: Any) -> None:
        for address, out in self._core.receive(sender, message, time.monotonic()):
            match out:
                case WakeAt(at_s=at_s):
                    self._wake_s = min(self._wake_s or at_s, at_s)
                case StartPilot():
                    self._start(out)
                case StopPilot(pilot=pilot):
                    self._ways.pop(pilot, None)
                    self._provider.stop(pilot)
                case PilotLost(pilot=pilot):
                    self._say([b"n:" + pilot.encode(), b""])
                case _:
                    assert address == "owner", f"a bridge cannot deliver {out} to {address}"
                    self._say([encode(out)])

    def _start(self, start: StartPilot) -> None:
        self._ways[start.pilot] = _Way()
        future = self._provider.start(
            start.pilot, self._owner_name, start.resources, start.spread, introduction()
        )
        self._when_done(future, lambda done: self._started(start.pilot, done))

    def _started(self, pilot: str, done: Future[Any]) -> None:
        way = self._ways.get(pilot)
        if way is None:
            return  # it was not needed any more
        if (error := done.exception()) is not None:
            self._lose(pilot, error)
            return
        way.up = True
        self._take(pilot)
        self._feed(f"pilot:{pilot}", PilotUp())

    # ------------------------------------------------------------------------------- pilots

    def _put(self, pilot: str, parts: list[bytes]) -> None:
        way = self._ways.get(pilot)
        if way is not None:
            # To the agent's port the pilot is the owner itself, and the agent is its home.
            way.waiting.append(parts)
            self._put_on(pilot, way)

    def _put_on(self, pilot: str, way: _Way) -> None:
        if way.up and way.waiting and not way.putting:
            way.putting = True
            frames, way.waiting = way.waiting, []
            self._when_done(
                self._provider.call(pilot, "put", frames), lambda done: self._was_put(pilot, done)
            )

    def _was_put(self, pilot: str, done: Future[None]) -> None:
        way = self._ways.get(pilot)
        if way is None:
            return
        way.putting = False
        if (error := done.exception()) is not None:
            self._lose(pilot, error)
        else:
            self._put_on(pilot, way)

    def _take(self, pilot: str) -> None:
        self._when_done(self._provider.call(pilot, "take"), lambda done: self._took(pilot, done))

    def _took(self, pilot: str, done: Future[Frames]) -> None:
        way = self._ways.get(pilot)
        if way is None:
            return
        if (error := done.exception()) is not None:
            self._lose(pilot, error)
            return
        self._take(pilot)
        node = b"n:" + pilot.encode()
        for parts in done.result():
            if len(parts) == 1:
                self._say([node, parts[0]])
                message = decode(parts[0])
                if isinstance(message, WorkerDied):
                    self._feed(f"pilot:{pilot}", message)
            else:
                self._say(parts)
                worker = parts[1]
                if worker not in way.known and worker.startswith(b"d:"):
                    way.known.add(worker)
                    self._feed(f"pilot:{pilot}", WorkerUpThere(worker[2:].decode()))

    def _lose(self, pilot: str, error: BaseException) -> None:
        del self._ways[pilot]
        self._provider.stop(pilot)
        self._feed(f"pilot:{pilot}", PilotLost(pilot, one_line(error)))


def one_line(error: BaseException) -> str:
    """What it says, short enough to be read by a person: of a long text, the line that says most."""
    cause = getattr(error, "cause", None)  # Ray's errors have in it what was raised over there
    if isinstance(cause, BaseException):
        error = cause
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    if isinstance(error, ClusterError):
        return "\n".join(str(error).splitlines())
    return f"{type(error).__name__}: {lines[0] if len(lines) < 3 else lines[-1]}"[:500]


def main(ask_fd: int, tell_fd: int, directory: str) -> NoReturn:
    """The life of a bridge's process. Its ``directory`` is there, and ends with it."""

    def begin(asked: bytes) -> launched.Begun:
        request = msgspec.json.decode(asked, type=BridgeRequest)
        threading.Thread(target=_outlive_by_little, args=(request.driver_pid, directory), daemon=True).start()
        os.set_inheritable(request.lock_fd, False)
        bridge, word = _start(request, directory)
        return None if bridge is None else lambda: _serve(bridge), word

    launched.live(ask_fd, tell_fd, directory, begin)


def _outlive_by_little(driver_pid: int, directory: str) -> None:
    """On a thread: the program has ended; whatever the loop is busy with, it has a moment to end too."""
    fd = processes.open_pidfd(driver_pid)
    if fd is not None:
        gone = select.poll()
        gone.register(fd, select.POLLIN)
        gone.poll()
    time.sleep(2 * FAREWELL_S)
    processes.end_descendants(directory)
    os._exit(1)


def _start(request: BridgeRequest, directory: str) -> tuple[Bridge | None, dict[str, object]]:
    """The bridge, if the cluster can be used, and the first word to who has started us."""
    try:
        module = importlib.import_module(request.provider)
        provider: Provider = module.connect(request.address, request.title)
        facts = provider.nodes().result(FAREWELL_S)
    except Exception as error:
        return None, {"ready": False, "error": one_line(error)}
    return Bridge(request, directory, provider, facts), {"ready": True}


def _serve(bridge: Bridge) -> None:
    try:
        bridge.run()
    finally:
        leaving = threading.Thread(target=bridge._provider.close, daemon=True)
        leaving.start()
        leaving.join(FAREWELL_S)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
