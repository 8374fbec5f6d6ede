"""Waiting for references: for one, for all of them, for some of them.

A worker that waits in a task says so to its agent after a moment, and lends its CPU: to the calls that it waits for,
for one (``Blocked``). With nobody in the way the engine is driven by the thread that waits (``shells/leading.py``).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from distpool.engines.protocol import Promise
from distpool.scheduler.messages import Blocked, encode
from distpool.scheduler.remote.here import here
from distpool.scheduler.remote.refs import ObjectRef, end_stray
from distpool.scheduler.shells import worker_start

#: A worker that waits for longer than this lends its CPU meanwhile.
LEND_AFTER_S = 0.001


class _Some(Promise):
    """Ready when ``count`` of the references are; or, with ``until_failure``, one of them has failed."""

    __slots__ = ("_enough", "_left", "_lock", "_refs", "_session", "_until_failure", "settled", "wakeups")

    def __init__(self, refs: Sequence[ObjectRef], count: int, until_failure: bool) -> None:
        self.settled = False
        self.wakeups = None
        self._refs = refs
        self._left = count
        self._until_failure = until_failure
        self._enough = False
        self._lock = threading.Lock()
        self._session = here().session  # when it ends, no other must be started
        for ref in refs:
            ref.watch(self._one)

    def _one(self, ref: ObjectRef) -> None:
        with self._lock:
            self._left -= 1
            enough = self._left == 0 or (self._until_failure and ref.failure is not None)
            first, self._enough = enough and not self._enough, enough or self._enough
        if first:
            self.settle()
            self._session.wake()

    def leave(self) -> None:
        """Nobody waits any more."""
        for ref in self._refs:
            if not ref.settled:
                ref.unwatch(self._one)


def wait_for_all(refs: Sequence[ObjectRef], timeout_s: float | None) -> bool:
    """Wait until all are ready, or one has failed. False: time is up first."""
    pending = _pending(refs)
    if not pending:
        return True
    if len(pending) == 1:
        return wait_for(pending[0], timeout_s)
    return _wait_for_some(pending, len(pending), timeout_s, until_failure=True)


def wait_for_some(refs: Sequence[ObjectRef], count: int, timeout_s: float | None) -> None:
    """Wait until ``count`` of them are ready, or time is up."""
    missing = count - sum([ref.settled for ref in refs])
    if missing <= 0:
        return
    pending = _pending(refs)
    missing = count - (len(refs) - len(pending))
    if missing > 0:
        _wait_for_some(pending, missing, timeout_s, until_failure=False)


def _pending(refs: Sequence[ObjectRef]) -> list[ObjectRef]:
    pending = [ref for ref in refs if not ref.settled]
    for ref in pending:
        end_stray(ref)
    return [ref for ref in pending if not ref.settled]


def _wait_for_some(
    pending: Sequence[ObjectRef], count: int, timeout_s: float | None, *, until_failure: bool
) -> bool:
    some = _Some(pending, count, until_failure)
    try:
        return wait_for(some, timeout_s)
    finally:
        some.leave()


def wait_for(promise: Promise, timeout_s: float | None) -> bool:
    """Wait for one promise. False: time is up first."""
    if isinstance(promise, ObjectRef):
        end_stray(promise)
    if promise.settled:
        return True
    session = here().session
    if worker_start.this_worker is None:
        return session.wait(promise, timeout_s)
    if timeout_s is not None and timeout_s <= LEND_AFTER_S:
        return session.wait(promise, timeout_s)
    until = None if timeout_s is None else time.monotonic() + timeout_s
    if session.wait(promise, LEND_AFTER_S):
        return True
    _BLOCKED.enter()
    try:
        return session.wait(promise, None if until is None else max(0.0, until - time.monotonic()))
    finally:
        _BLOCKED.leave()


class _Blocked:
    """How many threads of this worker wait; the first to do so says it, and the last."""

    def __init__(self) -> None:
        self._count = 0
        self._lock = threading.Lock()

    def enter(self) -> None:
        with self._lock:
            self._count += 1
            if self._count == 1:
                self._say(True)

    def leave(self) -> None:
        with self._lock:
            self._count -= 1
            if self._count == 0:
                self._say(False)

    @staticmethod
    def _say(blocked: bool) -> None:
        start = worker_start.this_worker
        if start is None or start.attach is None:
            return
        session = here().session
        frame = encode(Blocked(start.attach.lease, blocked))
        session.leading.tell(lambda: session.shell.agents.say(session.shell.agents.home, frame))


_BLOCKED = _Blocked()
