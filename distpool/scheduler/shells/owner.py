"""The shell of an OwnerCore: sockets, clock, and the threads that may drive them.

::

    any thread      submit ──► inbox (deque) ─┐            ┌─► promise.fulfil / reject
                                              ▼            │
    the leader      poll ─► receive ─► OwnerCore ─► send ──┴─► deliveries (deque)
                     ▲                                          (what runs user code)
                     └── ROUTER: workers · DEALER: agent · Waker · the cluster's other descriptors

Exactly one thread leads at a time, under ``_lead_lock``. The engine thread leads when nobody waits. A thread that waits for
its own result takes over (*borrows*) when the engine thread has stepped aside, which it does for a moment whenever it has just
woken a waiting thread: a program that submits, waits, and submits again then has no thread switch in its round trip.

No Python signal handler runs in here (``signals.py``), no user code under the lock: what a promise does with
its result belongs to its front door, and a borrower leaves promises that are not its own to the engine thread.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import zmq

from distpool.engines.protocol import Promise
from distpool.errors import CannotUnpickle, Failure
from distpool.scheduler.cores.owner import OwnerCore
from distpool.scheduler.cores.tasks import Task
from distpool.scheduler.messages import (
    ControlHello,
    Dial,
    Done,
    Failed,
    Local,
    Message,
    Submit,
    Tick,
    WakeAt,
    WorkerDied,
    WorkerGone,
    decode,
    encode,
)
from distpool.scheduler.serialize import loads_result
from distpool.scheduler.shells.links import dealer
from distpool.scheduler.shells.signals import DeferredSignals, on_main_thread
from distpool.scheduler.shells.waker import Waker

#: How long the engine thread steps aside for a borrower.
PARK_S = 0.001
_EMPTY_TICK = Tick()


class OwnerShell:
    """Drives one OwnerCore. ``on_event`` gets what concerns pools (on the leading thread, outside the lock)."""

    def __init__(
        self, core: OwnerCore, context: zmq.Context[zmq.Socket[bytes]], on_event: Callable[[Local], None]
    ) -> None:
        self.core = core
        self._context = context
        self._on_event = on_event
        self._router: zmq.Socket[bytes] | None = None
        self._agents: dict[str, zmq.Socket[bytes]] = {}  # node -> link
        self._poller = zmq.Poller()
        self._waker = Waker()
        self._poller.register(self._waker.fd, zmq.POLLIN)
        self._watched: dict[int, Callable[[], None]] = {}
        self._addresses: dict[bytes, str] = {}  # routing id -> address
        self._early: dict[str, list[bytes]] = {}  # control address -> frames for a link that is not up yet
        self._inbox: deque[Any] = deque()
        self._deliveries: deque[Any] = deque()
        self._wake_at = 0.0
        self._sleeping = False
        self._lead_lock = threading.Lock()
        self._signals = DeferredSignals(self._waker.wake)
        # stepping aside
        self._unpark = threading.Lock()
        self._unpark.acquire()
        self._parked = False
        self._parked_deep = False
        self._borrowing = False
        self._borrows = 0
        self._submits_unled = 0
        self._waiting: dict[Any, Promise] = {}  # lock that somebody sleeps on -> for what
        self._register_lock = threading.Lock()
        self._woke_waiter = False
        self._stopping = False

    # --------------------------------------------------------------------- sockets (leader only)

    def use_router(self, router: zmq.Socket[bytes]) -> None:
        """Serve workers on this socket; a former one is closed with all its links."""
        if self._router is not None:
            self._poller.unregister(self._router)
            self._router.close()
            self._addresses.clear()
            self._early.clear()
        self._router = router
        self._poller.register(router, zmq.POLLIN)

    def dial(self, node: str, address: str) -> None:
        """Link up with a node's agent and say hello."""
        self.hang_up(node)
        link = dealer(self._context, address, f"o:{self.core.owner}".encode())
        self._agents[node] = link
        self._poller.register(link, zmq.POLLIN)
        link.send(encode(self.core.hello()), zmq.NOBLOCK)

    def hang_up(self, node: str) -> None:
        """Drop the link to an agent, if there is one."""
        link = self._agents.pop(node, None)
        if link is not None:
            self._poller.unregister(link)
            link.close()

    def say(self, node: str, frame: bytes) -> None:
        """Send an agent something that is not the core's (leader only)."""
        link = self._agents.get(node)
        if link is not None:
            link.send(frame, zmq.NOBLOCK)

    def watch(self, fd: int, callback: Callable[[], None]) -> None:
        """Call back, on the leading thread and under the lock, when this descriptor is readable."""
        self._watched[fd] = callback
        self._poller.register(fd, zmq.POLLIN)

    def unwatch(self, fd: int) -> None:
        """Stop watching a descriptor."""
        if self._watched.pop(fd, None) is not None:
            self._poller.unregister(fd)

    # ------------------------------------------------------------------------------- any thread

    def submit(self, task: Task) -> None:
        """Hand a task to the core; it is in nobody's way until the leader takes it."""
        self._inbox.append(task)
        if self._sleeping:
            self._sleeping = False
            self._waker.wake()
        elif self._parked:
            self._submits_unled += 1
            if self._submits_unled > 1:
                self._release_park()  # not a round trip: somebody must lead

    def submit_all(self, tasks: list[Task]) -> None:
        """Hand over many tasks at once; somebody leads for them."""
        self._inbox.extend(tasks)
        self.wake()

    def tell(self, message: Local | Message | Callable[[], None]) -> None:
        """Hand the core a message of the program's, or the leader a function to call under the lock."""
        self._inbox.append(message)
        self.wake()

    def wake(self) -> None:
        """Let the inbox be looked at soon. Safe in ``__del__``, weakref callbacks and signal handlers."""
        self._sleeping = False
        self._waker.wake()
        if self._parked:
            self._release_park()

    def wait(self, promise: Promise, timeout_s: float | None) -> bool:
        """Wait until the promise is settled; leads meanwhile if the engine thread has stepped aside."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while not promise.ready:
            if self._parked and not self._stopping and threading.get_ident() != self._engine_ident:
                if self._borrow(promise, deadline):
                    continue
            elif self._sleep(promise, deadline):
                continue
            break
        return promise.ready

    # --------------------------------------------------------------------------------- waiting

    _engine_ident = 0

    def _sleep(self, promise: Promise, deadline: float | None) -> bool:
        """Sleep until somebody settles the promise. False: time is up."""
        lock = threading.Lock()
        lock.acquire()
        self._waiting[lock] = promise
        try:
            with self._register_lock:
                wakeups = promise.wakeups
                if wakeups is None:
                    promise.wakeups = [lock]
                else:
                    wakeups.append(lock)
            if promise.ready:
                return True
            if self._parked:
                self._release_park()
            if deadline is None:
                return lock.acquire()
            return lock.acquire(timeout=max(0.0, deadline - time.monotonic()))
        finally:
            self._waiting.pop(lock, None)

    def _borrow(self, promise: Promise, deadline: float | None) -> bool:
        """Lead until the promise is settled, time is up, a signal wants its handler, or it is somebody else's turn."""
        if not on_main_thread():
            return self._lead_until(promise, deadline)
        try:
            self._signals.hold()
            return self._lead_until(promise, deadline)
        finally:
            self._signals.release()

    def _lead_until(self, promise: Promise, deadline: float | None) -> bool:
        if not self._lead_lock.acquire(blocking=False):
            return self._sleep_briefly(promise, deadline)
        self._borrowing = True
        self._borrows += 1
        self._submits_unled = 0
        try:
            while not promise.ready:
                if deadline is not None and time.monotonic() >= deadline:
                    return False
                if self._signals.recorded or self._stopping:
                    return True
                self._step(deadline)
                self._deliver_own(promise)
            return True
        finally:
            self._borrowing = False
            self._lead_lock.release()
            if self._parked_deep or self._deliveries or self._anybody_waits():
                self._release_park()

    def _anybody_waits(self) -> bool:
        """Whether a thread sleeps for something that is not there yet."""
        return any(not promise.ready for promise in list(self._waiting.values()))

    def _sleep_briefly(self, promise: Promise, deadline: float | None) -> bool:
        """Another thread leads: sleep until it delivers. Signals are held here, so only for a moment at a time."""
        if not on_main_thread():
            return self._sleep(promise, deadline)
        soon = time.monotonic() + 0.05
        self._sleep(promise, soon if deadline is None else min(soon, deadline))
        return deadline is None or time.monotonic() < deadline

    def _deliver_own(self, promise: Promise) -> None:
        """Deliver what this thread waits for, if that runs no callback; the rest is the engine thread's."""
        deliveries = self._deliveries
        while deliveries:
            try:
                item = deliveries.popleft()
            except IndexError:
                return
            if _is_for(item, promise) and promise.quick:
                self._deliver(item)
            else:
                deliveries.appendleft(item)  # and what comes after it must not overtake it
                self._release_park()
                return

    # ------------------------------------------------------------------------------- the engine

    def run(self) -> None:
        """The engine thread: lead, deliver, step aside; until ``stop``."""
        self._engine_ident = threading.get_ident()
        while not self._stopping:
            self._deliver_all()  # what borrowers have left
            if self._lead_lock.acquire(blocking=False):
                try:
                    self._step(None)
                finally:
                    self._lead_lock.release()
            else:
                self._woke_waiter = True  # a borrower leads
            self._deliver_all()
            if self._borrowing:
                self._waker.wake()  # it may have been for the borrower
            if self._woke_waiter:
                self._woke_waiter = False
                if self._borrowing or not self._anybody_waits():
                    self._park()

    def stop(self) -> None:
        """Let ``run`` return, after what it is doing."""
        self._stopping = True
        self.wake()

    def close(self) -> None:
        """Close every socket; after ``run`` has returned."""
        for node in list(self._agents):
            self.hang_up(node)
        if self._router is not None:
            self._router.close()
            self._router = None
        self._waker.close()

    def _park(self) -> None:
        """Step aside: whoever waits may lead. Back after a moment without a borrower, or when told to."""
        self._submits_unled = 0
        self._parked = True
        try:
            while not self._stopping and not self._deliveries:
                borrows = self._borrows
                if self._unpark.acquire(timeout=PARK_S):
                    return
                if self._borrowing:
                    self._parked_deep = True
                    if self._borrowing:
                        self._unpark.acquire()
                    return
                if self._borrows == borrows:
                    return
        finally:
            self._parked = self._parked_deep = False

    def _release_park(self) -> None:
        try:
            self._unpark.release()
        except RuntimeError:
            pass  # it has been told already

    # --------------------------------------------------------------------------- one step (leader)

    def _step(self, deadline: float | None) -> None:
        """Wait for something to happen, take it all in, send what it causes."""
        self._drain_inbox()
        timeout_ms = self._timeout_ms(deadline)
        if timeout_ms != 0:
            self._sleeping = True
            if self._inbox or self._stopping:
                self._sleeping = False
                timeout_ms = 0
        events = self._poller.poll(timeout_ms)
        self._sleeping = False
        for source, _ in events:
            if source is self._router:
                self._drain_router()
            elif isinstance(source, int):
                if source == self._waker.fd:
                    self._waker.clear()
                elif (callback := self._watched.get(source)) is not None:
                    callback()
            else:
                self._drain_agent(source)
        if self._wake_at and time.monotonic() >= self._wake_at:
            self._wake_at = 0.0
            self._feed("timer", _EMPTY_TICK)
        self._drain_inbox()

    def _timeout_ms(self, deadline: float | None) -> int | None:
        until = self._wake_at if deadline is None else min(deadline, self._wake_at or deadline)
        if not until:
            return None
        return max(0, int((until - time.monotonic()) * 1000) + 1)

    def _drain_inbox(self) -> None:
        """Take in what the program handed over; runs of tasks for one pool become one Submit."""
        inbox = self._inbox
        tasks: list[Task] = []
        for _ in range(len(inbox)):
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
            else:
                self._feed("app", item)
        if tasks:
            self._feed("app", Submit(tasks[0].pool, tasks))

    def _drain_router(self) -> None:
        """Take in what workers have sent; a frame is one message, after its sender's routing id."""
        router = self._router
        assert router is not None
        recv, getsockopt = router.recv, router.getsockopt
        for _ in range(64):  # then look at the other sources again
            if not getsockopt(zmq.EVENTS) & zmq.POLLIN:
                return
            identity = recv(zmq.NOBLOCK)
            frame = recv(zmq.NOBLOCK)
            address = self._addresses.get(identity)
            if address is None:
                address = self._addresses[identity] = _address_of(identity)
            message = decode(frame)
            self._feed(address, message)
            if type(message) is ControlHello:
                for early in self._early.pop(address, ()):
                    self._send_to_worker(identity, early)
                self._early[address] = []

    def _drain_agent(self, link: zmq.Socket[bytes]) -> None:
        node = next((node for node, other in self._agents.items() if other is link), None)
        while node is not None:
            try:
                frame = link.recv(zmq.NOBLOCK)
            except zmq.Again:
                return
            message = decode(frame)
            if type(message) is WorkerDied:
                self._drain_router()  # what it had sent before it died comes first
            self._feed(f"agent:{node}", message)

    def _feed(self, sender: str, message: Any) -> None:
        for address, out in self.core.receive(sender, message, time.monotonic()):
            self._send(address, out)

    def _send(self, address: str, message: Any) -> None:
        kind, _, name = address.partition(":")
        if kind == "app":
            self._deliveries.append(message)
            if type(message) is WorkerGone:
                self._forget_lease(message.lease)
        elif kind == "worker":
            self._send_to_worker(b"d:" + name.encode(), encode(message))
        elif kind == "control":
            waiting = self._early.get(address)
            if waiting is None:
                self._early[address] = [encode(message)]
            elif waiting:
                waiting.append(encode(message))
            else:
                self._send_to_worker(b"c:" + name.encode(), encode(message))
        elif kind == "agent":
            link = self._agents.get(name)
            if link is not None:
                link.send(encode(message), zmq.NOBLOCK)
        elif kind == "timer":
            assert isinstance(message, WakeAt)
            if not self._wake_at or message.at_s < self._wake_at:
                self._wake_at = message.at_s
        else:
            assert isinstance(message, Dial)
            self.dial(message.node, message.address)

    def _send_to_worker(self, identity: bytes, frame: bytes) -> None:
        router = self._router
        if router is None:
            return
        try:
            router.send_multipart((identity, frame), zmq.NOBLOCK)
        except zmq.ZMQError as error:
            if error.errno not in (zmq.EHOSTUNREACH, zmq.EAGAIN):
                raise
            # It is gone; its agent will say so.

    def _forget_lease(self, lease: str) -> None:
        self._addresses.pop(b"d:" + lease.encode(), None)
        self._addresses.pop(b"c:" + lease.encode(), None)
        self._early.pop(f"control:{lease}", None)

    # --------------------------------------------------------------------------------- delivery

    def _deliver_all(self) -> None:
        deliveries = self._deliveries
        while deliveries:
            try:
                item = deliveries.popleft()
            except IndexError:
                return
            self._deliver(item)

    def _deliver(self, item: Any) -> None:
        """Pass an outcome on; never under the lock unless it is the borrower's own."""
        kind = type(item)
        if kind is Done:
            for task, value in zip(item.tasks, item.values, strict=True):
                promise = task.token
                if promise.wakeups is not None:
                    self._woke_waiter = True
                if type(value) is bytes:
                    try:
                        value = loads_result(value)
                    except BaseException as error:
                        broken = CannotUnpickle.explained("the result", error)
                        promise.reject(task.key, Failure(exception=broken))
                        continue
                promise.fulfil(task.key, value)
        elif kind is Failed:
            promise = item.task.token
            if promise.wakeups is not None:
                self._woke_waiter = True
            promise.reject(item.task.key, _failure(item))
        else:
            self._on_event(item)


def _is_for(item: Any, promise: Promise) -> bool:
    kind = type(item)
    if kind is Done:
        return all(task.token is promise for task in item.tasks)
    return kind is Failed and item.task.token is promise


def _failure(item: Failed) -> Failure:
    cancelled = item.error is None and item.death is None and item.reason == "cancelled"
    return Failure(error=item.error, death=item.death, cancelled=cancelled, reason=item.reason)


def _address_of(identity: bytes) -> str:
    kind, _, lease = identity.decode("utf-8", "replace").partition(":")
    return f"worker:{lease}" if kind == "d" else f"control:{lease}"
