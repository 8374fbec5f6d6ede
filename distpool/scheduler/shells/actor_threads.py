"""An actor whose plain methods run several at once: a thread for each, the main one only reads and sends.

::

    main thread    Execute ──► groups ──► a thread of the group: begun ──► the method ──► held ──► wake the main thread
                   Results, in batches ◄──────────────────────────────────────────────────────────┘

Threads are made when calls need them, up to the group's limit, and kept. A call is interrupted by an exception that the
interpreter raises in its thread at the next instruction: in the middle of C code, of a ``sleep`` for one, only
when that returns.
"""

from __future__ import annotations

import ctypes
import math
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

import zmq

from distpool.scheduler.messages import Setup, decode
from distpool.scheduler.shells.actor_calls import ActorExit, running
from distpool.scheduler.shells.actor_groups import Group, Groups
from distpool.scheduler.shells.actor_links import Call, CallerLink
from distpool.scheduler.shells.actor_worker import ActorServer

if TYPE_CHECKING:
    from distpool.scheduler.shells.worker import Worker

_set_exception = ctypes.pythonapi.PyThreadState_SetAsyncExc


class Runner(Protocol):
    """Runs the calls of one group: takes them by ``InThreads.begin``, and says ``end`` of each."""

    def put(self, call: Call) -> None:
        """Have a call run, in its turn."""


class InThreads(ActorServer):
    """Runs each call in a thread of its group."""

    def __init__(self, worker: Worker, setup: Setup) -> None:
        super().__init__(worker, setup)
        self._groups = Groups(self.terms)
        self._lock = threading.Lock()  # of groups, ``begun``, and what runs where
        self._threads: dict[int, int] = {}  # mark -> the thread that runs it
        self._deaf: dict[int, None] = {}  # marks of calls in which an exception would be lost at this instant
        self._poller = zmq.Poller()
        self._poller.register(self.waker.fd, zmq.POLLIN)
        self._leaving: SystemExit | None = None
        self._runners = {id(group): self.runner(group) for group in self._groups.by_name.values()}

    def runner(self, group: Group) -> Runner:
        """What runs the calls of a group."""
        return _Threads(self, group)

    def construct(self) -> None:
        """Construct the actor. On the main thread."""
        self.worker.set_up(self.setup)

    def end_background(self) -> None:
        """End what is no call, and runs on."""

    def serve(self) -> None:
        """See ``ActorServer``."""
        worker = self.worker
        sys.unraisablehook = self.on_unraisable
        self.construct()
        with worker.data_lock:
            self.linked(self.creator)
            while not self.ending or (self._threads and self._leaving is None and self._left_s() > 0.0):
                self._turn()
            if self._leaving is not None:
                self.leave(self._leaving)
            self.end_background()
            self.say_farewell()

    def _left_s(self) -> float:
        """How long what runs may go on to do so."""
        return self.exit_s - time.monotonic()

    def _turn(self) -> None:
        left_s = self._left_s()
        timeout_ms = None if left_s == math.inf else max(0, int(left_s * 1000) + 1)
        readable = {source for source, _ in self._poller.poll(timeout_ms)}
        if self.waker.fd in readable:
            self.waker.clear()
            self.close_the_gone()
        for link in list(self.links.values()):
            if link.data in readable and not self.ending:
                self.take(link, decode(link.data.recv()))
        self.flush()
        self.let_go()

    def linked(self, link: CallerLink) -> None:
        """See ``ActorServer``."""
        self._poller.register(link.data, zmq.POLLIN)

    def unlinked(self, link: CallerLink) -> None:
        """See ``ActorServer``."""
        self._poller.unregister(link.data)

    def admit(self, calls: list[Call]) -> None:
        """See ``ActorServer``."""
        for call in calls:
            try:
                group = self._groups.of(call)
            except Exception as error:
                self.failed(call, error)
                continue
            self._runners[id(group)].put(call)

    def waiting(self) -> Iterable[deque[Call]]:
        """See ``ActorServer``."""
        return self._groups.waiting()

    # -------------------------------------------------------------------------- a thread of a group

    def begin(self, group: Group) -> Call | None:
        """Take the next call of a group to run it here; None if there is none."""
        with self._lock:
            call = None if self.ending else group.next()
            if call is not None:
                group.running += 1
                call.link.running += 1
                self.note_begun(call)
                self._threads[call.mark] = threading.get_ident()
            return call

    def run(self, call: Call) -> None:
        """Run a call that was begun here, to its end."""
        running.set(call.mark)
        start, failed = time.perf_counter(), False
        try:
            try:
                self.done(call, self.perform(call, call.method.resolved()))
            except ActorExit:
                self.exits(call)
            except SystemExit as leaving:
                self._leaving = leaving
                self.ending = True
            except BaseException as error:
                failed = True
                self.failed(call, error)
        except KeyboardInterrupt as late:
            failed = True
            self.failed(call, late)
        self.note((call.name, start, time.perf_counter(), failed))

    def send_yielded(self, call: Call, frame: bytes) -> None:
        """See ``ActorServer``; the main thread sends it."""
        call.link.frames.append(frame)
        self.waker.wake()

    def on_unraisable(self, unraisable: Any) -> None:
        """As ``Worker.on_unraisable``, in the thread of a call."""
        mark = running.get()
        if unraisable.exc_type is KeyboardInterrupt and self._threads.get(mark) == threading.get_ident():
            self._deaf[mark] = None
            self.worker.missed.append(mark)
            self.worker.outbox.bell.wake()
            del self._deaf[mark]  # no exception of another thread's is looked for between this and the end
        else:
            self.worker.on_unraisable(unraisable)

    def end(self, group: Group, call: Call) -> None:
        """A call is done; no interrupt that was meant for it is raised from here on."""
        ended = False
        while not ended:
            try:
                with self._lock:
                    if self._threads.pop(call.mark, None) is not None:
                        # One that has not been raised yet is not to be.
                        _set_exception(ctypes.c_ulong(threading.get_ident()), None)
                        group.running -= 1
                        call.link.running -= 1
                ended = True
            except KeyboardInterrupt:
                continue
        self.waker.wake()

    # --------------------------------------------------------------------------------- second thread

    def interrupt(self, mark: int) -> bool:
        """See ``ActorServer``."""
        with self._lock:
            thread = self._threads.get(mark)
            if thread is None:
                return True
            if mark in self._deaf:
                return False
            _set_exception(ctypes.c_ulong(thread), ctypes.py_object(KeyboardInterrupt))
            return True


class _Threads:
    """The threads of one group."""

    def __init__(self, server: InThreads, group: Group) -> None:
        self._server = server
        self._group = group
        self._calls = threading.Semaphore(0)  # how many wait, or waited and were taken back
        self._idle = threading.Semaphore(0)  # threads that wait for one
        self._count = 0

    def put(self, call: Call) -> None:
        """Have a call run, in its turn."""
        self._group.waiting.append(call)
        self._calls.release()
        if self._count < self._group.limit and not self._idle.acquire(blocking=False):
            self._count += 1
            name = f"distpool-actor-{self._count}"
            threading.Thread(target=self._work, name=name, daemon=True).start()

    def _work(self) -> None:
        while True:
            if not self._calls.acquire(blocking=False):
                self._idle.release()
                self._calls.acquire()
            call = self._server.begin(self._group)
            if call is not None:
                self._server.run(call)
                self._server.end(self._group, call)
            del call
