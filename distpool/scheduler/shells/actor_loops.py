"""An actor with coroutines and concurrency groups: an event loop for each group, in a thread of its own.

::

    main thread     Execute ──► groups ──► the group's loop: begun ──► a task for each coroutine ──► held ──┐
                                              └────► other methods: at once, on the loop's thread           │
                    Results, in batches ◄──────────────────────────────────── wakes the main thread ◄───────┘

So a call that keeps its thread to itself, without an ``await``, keeps its own group waiting and no other: that is what
groups are for. What the groups share, the instance above all, is seen by several threads; a lock or an event of
``asyncio`` belongs to the loop where it is used first.

The constructor runs on the main thread, in the loop of what is in no group, so that it may create tasks; from then on
that loop has a thread as the others have. Theirs are made by the first call of each.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from distpool.scheduler import limits as limits_module
from distpool.scheduler.messages import Setup
from distpool.scheduler.shells.actor_coroutines import Coroutines, end_tasks, say
from distpool.scheduler.shells.actor_groups import Group
from distpool.scheduler.shells.actor_links import Call
from distpool.scheduler.shells.actor_threads import InThreads

if TYPE_CHECKING:
    from distpool.scheduler.shells.worker import Worker

_LIMITS = limits_module.DEFAULTS


class OnLoops(InThreads):
    """Runs the calls of each group on a loop of its own."""

    def __init__(self, worker: Worker, setup: Setup) -> None:
        self._loops: dict[int, GroupLoop] = {}  # mark -> where a coroutine runs
        super().__init__(worker, setup)

    def runner(self, group: Group) -> GroupLoop:
        """See ``InThreads``."""
        return GroupLoop(self, group)

    def construct(self) -> None:
        """See ``InThreads``."""
        ungrouped = self._runners[id(self._groups.by_name[""])]
        assert isinstance(ungrouped, GroupLoop)
        ungrouped.begin(lambda: self.worker.set_up(self.setup))

    def end_background(self) -> None:
        """See ``InThreads``. All at one time."""
        loops = [runner for runner in self._runners.values() if isinstance(runner, GroupLoop)]
        for loop in loops:
            loop.coroutines.leaving = True
            loop.stop()
        for loop in loops:
            loop.join()

    def awaits(self, call: Call, loop: GroupLoop) -> None:
        """A coroutine has begun there."""
        with self._lock:
            self._loops[call.mark] = loop

    def awaited(self, call: Call) -> None:
        """It has ended."""
        with self._lock:
            del self._loops[call.mark]

    def leave_soon(self, leaving: SystemExit) -> None:
        """A coroutine leaves by ``sys.exit``."""
        self._leaving = leaving
        self.ending = True
        self.waker.wake()

    # --------------------------------------------------------------------------------- second thread

    def interrupt(self, mark: int) -> bool:
        """See ``ActorServer``."""
        with self._lock:
            loop = self._loops.get(mark)
        if loop is None:
            return super().interrupt(mark)
        loop.say(loop.coroutines.cancel, mark)
        return True

    def consumed(self, mark: int, count: int) -> None:
        """See ``ActorServer``."""
        super().consumed(mark, count)
        with self._lock:
            loop = self._loops.get(mark)
        if loop is not None:
            loop.say(loop.coroutines.make_room, mark)


class GroupLoop:
    """The loop of one group, and its thread."""

    def __init__(self, server: OnLoops, group: Group) -> None:
        self._server, self._group = server, group
        self._loop = asyncio.new_event_loop()
        self._thread: threading.Thread | None = None
        self._stopping = False
        self.coroutines = Coroutines(server, self._ended, server.leave_soon)

    def begin(self, function: Callable[[], None]) -> None:
        """Call this in the loop, on this thread; from then on the loop is its own thread's."""

        async def run() -> None:
            function()

        self._loop.run_until_complete(run())
        self._start()

    def put(self, call: Call) -> None:
        """Have a call run, in its turn. On the main thread."""
        self._group.waiting.append(call)
        if self._thread is None:
            self._start()
        self._loop.call_soon_threadsafe(self._go_on)

    def say(self, function: Callable[[int], None], mark: int) -> None:
        """Call something about a call in the loop. On any thread."""
        say(self._loop, function, mark)

    def stop(self) -> None:
        """Nothing more begins; what runs in the background has a moment to end."""
        self._stopping = True
        if self._thread is None:
            self._loop.close()
        else:
            self._loop.call_soon_threadsafe(self._loop.stop)

    def join(self) -> None:
        """Wait until it has ended; not for one that keeps its thread to itself."""
        if self._thread is not None:
            self._thread.join(2 * _LIMITS.cancel_grace_s)

    def _start(self) -> None:
        name = f"distpool-actor-loop-{len(threading.enumerate())}"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        loop = self._loop
        asyncio.set_event_loop(loop)
        while not self._stopping:
            try:
                loop.run_forever()
            except (KeyboardInterrupt, SystemExit):
                continue  # it was meant for a call that has just ended, or comes from a task that is no call
        end_tasks(loop, _LIMITS.cancel_grace_s)
        loop.close()

    def _go_on(self) -> None:
        server = self._server
        while (call := server.begin(self._group)) is not None:
            if call.method.resolved().is_async:
                server.awaits(call, self)
                self.coroutines.start(self._loop, call)
            else:
                server.run(call)
                server.end(self._group, call)

    def _ended(self, call: Call) -> None:
        self._server.awaited(call)
        self._server.end(self._group, call)
        self._go_on()
