"""Many calls, and whichever of them ends next: for who makes new calls out of the ends of others.

::

    Completion (a reference, token of one call) ── settles ──► Completions.ended ── next() ──► all that have ended since
                                                                    │
                                                                 settle: who waits for the whole goes on

The thread that waits in ``next`` is handed outcomes while it drives the engine itself, as if each call had been what
it waited for (``Promise.group``). So a graph of tasks runs without a switch of threads.

What it is not: an order. Calls end as they do.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from distpool.engines.protocol import Promise
from distpool.scheduler.cores.tasks import Task
from distpool.scheduler.native_pool import NativePool
from distpool.scheduler.remote import waiting
from distpool.scheduler.remote.refs import ObjectRef

__all__ = ["Completion", "Completions"]


class Completions(Promise):
    """Calls that somebody waits for, one thread at a time."""

    __slots__ = ("_ended", "settled", "wakeups")

    def __init__(self) -> None:
        self.settled = False
        self.wakeups = None
        self._ended: deque[Completion] = deque()

    def next(self) -> list[Completion]:
        """Those that have ended since the last time, at least one; sleeps until there is one, or leads the engine."""
        ended = self._ended
        while True:
            self.settled = False  # before looking: who comes after that settles it again
            if ended:
                return [ended.popleft() for _ in range(len(ended))]
            waiting.wait_for(self, None)

    def add(self, completion: Completion) -> None:
        """One has ended."""
        self._ended.append(completion)
        self.settle()

    @staticmethod
    def submit(pool: NativePool, tasks: list[Task]) -> None:
        """Hand over calls, as one who calls ``next`` afterwards."""
        pool.leading.submit_before_waiting(tasks)


class Completion(ObjectRef):
    """The reference, and token, of a call that is one of many."""

    __slots__ = ("group", "index")
    group: Completions

    def __init__(self, group: Completions, index: int, maker: Any) -> None:
        ObjectRef.__init__(self, maker)
        self.group: Completions = group
        self.index = index

    def settle(self) -> None:
        """Let go on who waits for the whole."""
        ObjectRef.settle(self)
        self.group.add(self)
