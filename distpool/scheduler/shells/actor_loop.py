"""An actor with coroutines: the main thread runs an event loop, and the data links are among what that waits for.

::

    loop turn:   data link readable ──► Execute ──► groups ──► a task for each coroutine ──► ends ──► held
                                                       └────► other methods: at once, on this thread    │
                 end of the turn:                                      Results, one batch ◄─────────────┘

The descriptor of a ZeroMQ socket tells of a *change*, once: whatever is done with the socket may use that up. So after
each read or send the socket itself is asked whether there is more. For the same reason only this thread uses the data
links: it holds their lock for as long as it lives.

The constructor runs in the loop too, so that it may create tasks. Without ``await`` a call has the loop to itself:
where that is not wanted there are concurrency groups, and an actor with those is served by ``actor_loops``.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

import zmq

from distpool.scheduler import limits as limits_module
from distpool.scheduler.messages import Setup, decode
from distpool.scheduler.shells.actor_calls import ActorExit, running
from distpool.scheduler.shells.actor_coroutines import Coroutines, end_tasks, say
from distpool.scheduler.shells.actor_groups import Group, Groups
from distpool.scheduler.shells.actor_links import Call, CallerLink
from distpool.scheduler.shells.actor_worker import ActorServer
from distpool.scheduler.shells.links import is_readable

if TYPE_CHECKING:
    from distpool.scheduler.shells.worker import Worker

_LIMITS = limits_module.DEFAULTS
#: Messages of one caller that are taken in before the others, and the tasks, have their turn.
FRAMES_A_TURN = 64


class OnLoop(ActorServer):
    """Runs coroutines as tasks of one event loop, and other methods between them."""

    def __init__(self, worker: Worker, setup: Setup) -> None:
        super().__init__(worker, setup)
        self._groups = Groups(self.terms)
        self._coroutines = Coroutines(self, self._ended, self._leave_at_once)
        self._flushing = False  # at the end of this turn
        self._sent_s = 0.0
        self._stopped = False
        self.loop = asyncio.new_event_loop()

    def serve(self) -> None:
        """See ``ActorServer``."""
        loop = self.loop
        asyncio.set_event_loop(loop)
        loop.call_soon(self._construct)
        try:
            loop.run_forever()
        finally:
            end_tasks(loop, _LIMITS.cancel_grace_s)
            asyncio.set_event_loop(None)
            loop.close()
        self.say_farewell()
        self.worker.data_lock.release()

    def _construct(self) -> None:
        worker = self.worker
        worker.set_up(self.setup)
        worker.data_lock.acquire()
        self.loop.add_reader(self.waker.fd, self._woken)
        self.linked(self.creator)

    # -------------------------------------------------------------------------------- what comes

    def linked(self, link: CallerLink) -> None:
        """See ``ActorServer``."""
        fd: int = link.data.getsockopt(zmq.FD)  # type: ignore[assignment]
        self.loop.add_reader(fd, self._read, link)
        self.loop.call_soon(self._read, link)

    def unlinked(self, link: CallerLink) -> None:
        """See ``ActorServer``."""
        fd: int = link.data.getsockopt(zmq.FD)  # type: ignore[assignment]
        self.loop.remove_reader(fd)

    def _read(self, link: CallerLink) -> None:
        for _ in range(FRAMES_A_TURN):
            if link.gone or self.ending or not is_readable(link.data):
                return
            self.take(link, decode(link.data.recv(zmq.NOBLOCK)))
        self.loop.call_soon(self._read, link)

    def _woken(self) -> None:
        self.waker.clear()
        self.close_the_gone()

    def send(self, link: CallerLink, frame: bytes) -> None:
        """See ``ActorServer``."""
        super().send(link, frame)
        if not self.loop.is_closed() and is_readable(link.data):
            self.loop.call_soon(self._read, link)  # sending may have used up the descriptor's word of it

    def admit(self, calls: list[Call]) -> None:
        """See ``ActorServer``. All of them wait before one begins: it may keep the thread, and others be recalled."""
        groups: dict[Group, None] = {}
        for call in calls:
            try:
                group = self._groups.of(call)
            except Exception as error:
                self.failed(call, error)
                self._flush_soon()
                continue
            group.waiting.append(call)
            groups[group] = None
        for group in groups:
            self._go_on(group)

    def waiting(self) -> Iterable[deque[Call]]:
        """See ``ActorServer``."""
        return self._groups.waiting()

    # -------------------------------------------------------------------------------- calls run

    def _go_on(self, group: Group) -> None:
        while not self.ending and (call := group.next()) is not None:
            self.note_begun(call)
            if call.method.resolved().is_async:
                group.running += 1
                call.link.running += 1
                self._coroutines.start(self.loop, call)
            else:
                self._run_here(call)

    def _ended(self, call: Call) -> None:
        group = self._groups.of(call)
        group.running -= 1
        call.link.running -= 1
        self._go_on(group)
        self._flush_soon()

    def consumed(self, mark: int, count: int) -> None:
        """See ``ActorServer``."""
        super().consumed(mark, count)
        say(self.loop, self._coroutines.make_room, mark)

    def _run_here(self, call: Call) -> None:
        """A method that is no coroutine has the loop's thread for itself, and may be interrupted there."""
        worker = self.worker
        before = running.set(call.mark)
        start, failed = time.perf_counter(), False
        try:
            try:
                worker.open = call.mark
                self.done(call, self.perform(call, call.method.resolved()))
            except ActorExit:
                self.exits(call)
            except SystemExit as leaving:
                self._leave_at_once(leaving)
            except BaseException as error:
                failed = True
                self.failed(call, error)
            worker.open = 0
        except KeyboardInterrupt as late:
            worker.open = 0
            failed = True
            self.failed(call, late)
        running.reset(before)
        self._flush_soon()
        now = time.perf_counter()
        self.note((call.name, start, now, failed))
        if now - self._sent_s > _LIMITS.hold_results_s:
            self._flush_now()  # others of this turn may take long

    def _leave_at_once(self, leaving: SystemExit) -> None:
        self.leave(leaving)
        self._stop()

    def _stop(self) -> None:
        if not self._stopped:
            self._stopped = True
            self.loop.stop()

    # ------------------------------------------------------------------------------- what goes back

    def _flush_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            self.loop.call_soon(self._end_turn)

    def _end_turn(self) -> None:
        self._flushing = False
        self._flush_now()
        if self.ending and not self._coroutines.tasks:
            self._stop()
        elif self.exit_mark and not self._coroutines.leaving:
            self._coroutines.leaving = True
            self.loop.call_later(max(0.0, self.exit_s - time.monotonic()), self._stop)

    def _flush_now(self) -> None:
        self.flush()
        self.let_go()
        self._sent_s = time.perf_counter()

    def look_whether_done(self, link: CallerLink) -> None:
        """See ``ActorServer``."""
        super().look_whether_done(link)
        if self.ending:
            self._flush_soon()

    # --------------------------------------------------------------------------------- second thread

    def interrupt(self, mark: int) -> bool:
        """See ``ActorServer``; what is no coroutine is signalled by ``actor_control``."""
        say(self.loop, self._coroutines.cancel, mark)
        return True
