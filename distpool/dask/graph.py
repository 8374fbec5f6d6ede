"""What of a graph may run, what is held, and what nobody needs any more: a state machine without I/O.

Tasks are numbers, in the order in which they should run (the smallest first), so that a depth-first order keeps few
values alive. ::

    WAITING ── its inputs are held ──► READY ── take ──► RUNNING ── finish ──► HELD ── its last user ──► FREED
       ▲                                 ▲                  │                   │       has finished
       │                                 └──── put_back ────┘                   │
       └──────────────────────── lose: the value is gone ───────────────────────┘   (and what it is made of, if FREED)

- A task is READY when all its inputs are HELD. A value is HELD while a task that uses it has not finished, or it is
  wanted for itself.
- What is lost is made again, with as much before it as was freed. A task that runs on an input which was lost meanwhile
  is let run: it may have read it already.

What it is not: a place for values, or for functions; nor does it know in which process anything runs. ``check`` asserts
all of this, and the tests call it after each step.
"""

from __future__ import annotations

import heapq
from collections.abc import Container, Iterable, Sequence
from enum import IntEnum

__all__ = ["Graph", "State"]


class State(IntEnum):
    """How far a task is."""

    WAITING = 0
    READY = 1
    RUNNING = 2
    HELD = 3
    FREED = 4


class Graph:
    """The tasks of one computation.

    Args:
        inputs: for each task the tasks that it needs, each named once.
        wanted: the tasks whose values are held until the end.
        lanes: for each task the line in which it waits when it is READY, a small number: what competes for the same
            workers. None: one line.
    """

    def __init__(
        self, inputs: Sequence[Sequence[int]], wanted: Iterable[int], lanes: Sequence[int] | None = None
    ) -> None:
        count = len(inputs)
        self.lanes = list(lanes or [0] * count)
        self.inputs = inputs
        self.users: list[list[int]] = [[] for _ in range(count)]
        self.missing = [len(needed) for needed in inputs]  # inputs that are not held
        self.state = [State.WAITING] * count
        self.wanted = frozenset(wanted)
        self.unfinished = count  # tasks that are neither HELD nor FREED
        self.running = 0
        users = self.users
        for task, needed in enumerate(inputs):
            for dependency in needed:
                users[dependency].append(task)
        self.needed_by = [len(each) for each in users]  # users that have not finished
        self._ready: list[list[int]] = [[] for _ in range(max(self.lanes, default=0) + 1)]  # heaps
        for task, missing in enumerate(self.missing):
            if not missing:
                self._make_ready(task)

    @property
    def is_stuck(self) -> bool:
        """Whether something is left, and nothing of it can ever run: there is a cycle."""
        return bool(self.unfinished) and not self.running and State.READY not in self.state

    def move(self, task: int, lane: int) -> None:
        """A task that is not READY yet will wait in another lane, one that there is."""
        assert self.state[task] is not State.READY
        self.lanes[task] = lane

    def take(self, lane: int = 0) -> int | None:
        """The first of the tasks of this lane that are READY, which is RUNNING from now on; None: there is none."""
        ready, state = self._ready[lane], self.state
        while ready:
            task = heapq.heappop(ready)
            if (
                state[task] is State.READY
            ):  # or else what it needs has been lost since, or it stood there twice
                state[task] = State.RUNNING
                self.running += 1
                return task
        return None

    def finish(self, task: int) -> list[int]:
        """A task that ran has a value. Returns the tasks whose values are not needed from now on."""
        state, missing = self.state, self.missing
        assert state[task] is State.RUNNING
        state[task] = State.HELD
        self.running -= 1
        self.unfinished -= 1
        for user in self.users[task]:
            if state[user] <= State.RUNNING:
                missing[user] -= 1
                if not missing[user] and state[user] is State.WAITING:
                    self._make_ready(user)
        freed = []
        needed_by = self.needed_by
        for dependency in self.inputs[task]:
            needed_by[dependency] -= 1
            if (
                not needed_by[dependency]
                and dependency not in self.wanted
                and state[dependency] is State.HELD
            ):
                state[dependency] = State.FREED
                freed.append(dependency)
        if not needed_by[task] and task not in self.wanted:
            state[task] = State.FREED
            freed.append(task)
        return freed

    def put_back(self, task: int) -> None:
        """A task that ran has no value, and is to run again."""
        assert self.state[task] is State.RUNNING
        self.running -= 1
        if self.missing[task]:
            self.state[task] = State.WAITING
        else:
            self._make_ready(task)

    def lose(self, task: int) -> list[int]:
        """A value is gone, though it is needed: it is to be made again, and so is what it is made of.

        Returns all that is to be made again. Nothing, if the value is not HELD.
        """
        if self.state[task] is not State.HELD:
            return []
        again: dict[int, State] = {}  # and what each was
        left = [task]
        while left:
            lost = left.pop()
            was = self.state[lost]
            if was <= State.RUNNING:
                continue  # it is to be made anyway
            again[lost] = was
            self.state[lost] = State.WAITING
            for dependency in self.inputs[lost]:
                self.needed_by[dependency] += 1
                if self.state[dependency] is State.FREED:
                    left.append(dependency)
        self.unfinished += len(again)
        for lost, was in again.items():
            self.missing[lost] = sum([self.state[needed] is not State.HELD for needed in self.inputs[lost]])
            if was is State.HELD:  # those that are waited for by others; one that was FREED is not
                self._take_from_users(lost, again)
        for lost in again:
            if not self.missing[lost]:
                self._make_ready(lost)
        return list(again)

    def _take_from_users(self, lost: int, again: Container[int]) -> None:
        for user in self.users[lost]:
            if self.state[user] <= State.RUNNING and user not in again:
                self.missing[user] += 1
                if self.state[user] is State.READY:
                    self.state[user] = State.WAITING

    def _make_ready(self, task: int) -> None:
        self.state[task] = State.READY
        heapq.heappush(self._ready[self.lanes[task]], task)

    def check(self) -> None:
        """Assert what must be so between two calls."""
        held = {task for task, state in enumerate(self.state) if state is State.HELD}
        finished = {task for task, state in enumerate(self.state) if state >= State.HELD}
        assert self.unfinished == len(self.state) - len(finished)
        assert self.running == self.state.count(State.RUNNING)
        ready = [task for task, state in enumerate(self.state) if state is State.READY]
        assert all(task in self._ready[self.lanes[task]] for task in ready)
        for task, state in enumerate(self.state):
            missing = [needed for needed in self.inputs[task] if needed not in held]
            needed_by = [user for user in self.users[task] if user not in finished]
            if state <= State.RUNNING:
                assert self.missing[task] == len(missing)
            assert self.needed_by[task] == len(needed_by)
            if state is State.READY:
                assert not missing
            elif state is State.WAITING:
                assert missing
            elif state is State.HELD:
                assert needed_by or task in self.wanted
            elif state is State.FREED:
                assert not needed_by
                assert task not in self.wanted
