"""Workers as ``multiprocessing`` shows them: objects with a pid, a name and an exit code.

What it is not: a way to start or own workers; the engine does that. These are views for programs (and tests) that look
into ``pool._pool`` or ``executor._processes``::

    engine pool ── workers() ──► Roster.refresh ──► [WorkerProcess, ...]   oldest first
         └──────── on_workers ─► Roster.changed ──► whoever waits for a worker to come or go
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakMethod

from distpool.engines.protocol import Promise

if TYPE_CHECKING:
    from distpool.engines.protocol import Engine, EnginePool, WorkerInfo
    from distpool.executor_work import Work

#: How long a look into ``_pool`` waits for the workers that ought to be there.
APPEAR_S = 10.0
#: ... and for one that has been replaced.
LEAVE_S = 1.0


def weakly(method: Callable[..., None]) -> Callable[..., None]:
    """A bound method that does not keep its object alive, and does nothing once that is gone.

    An engine's pool holds what it calls; if that held the pool in turn, an initializer's arguments would live on
    until the next garbage collection.
    """
    reference = WeakMethod(method)

    def call(*args: Any) -> None:
        target = reference()
        if target is not None:
            target(*args)

    return call


class _News(Promise):
    """Settled, once, when a worker has come or gone."""


class WorkerProcess:
    """One worker, as far as ``multiprocessing.Process`` would show it. Lives on after its worker."""

    def __init__(self, roster: Roster, info: WorkerInfo, name: str) -> None:
        self._roster = roster
        self._lease = info.lease
        self.pid = info.pid
        self.ident = info.pid
        self.name = name
        self.daemon = True

    def __repr__(self) -> str:
        state = "started" if self.is_alive() else "stopped"
        return f"<{type(self).__name__} name={self.name!r} pid={self.pid} {state}>"

    def is_alive(self) -> bool:
        """Whether the worker is still there."""
        return self._roster.is_there(self._lease)

    @property
    def exitcode(self) -> int | None:
        """Its exit status, negative for a signal; None while it is there."""
        return None if self.is_alive() else self._roster.exit_codes.get(self._lease, 0)

    def join(self, timeout: float | None = None) -> None:
        """Wait until the worker is gone, at most ``timeout`` seconds."""
        self._roster.wait_until(lambda: not self.is_alive(), timeout)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self._send(signal.SIGKILL)

    def close(self) -> None:
        """Nothing is held here, so nothing is released."""

    def _send(self, number: int) -> None:
        if not self.is_alive():
            return
        if self._roster.on_kill is not None:
            self._roster.on_kill()
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            pass  # it went by itself


class Roster:
    """Who works for a pool, now and before. ``on_kill`` is called when a program ends one of them by hand."""

    def __init__(self, name: str, on_kill: Callable[[], None] | None = None) -> None:
        self.on_kill = on_kill
        self.exit_codes: dict[str, int] = {}
        self._name = name
        self._seen: dict[str, WorkerProcess] = {}
        self._count = 0
        self._news = _News()
        self._lock = threading.Lock()
        self._engine: Engine | None = None
        self._pool: EnginePool | None = None

    def attach(self, engine: Engine, pool: EnginePool) -> None:
        """Look at this pool from now on."""
        self._engine, self._pool = engine, pool

    def changed(self) -> None:
        """A worker came or went (``PoolSpec.on_workers``)."""
        news, self._news = self._news, _News()
        news.settle()

    def refresh(self) -> list[WorkerProcess]:
        """The workers that are there, oldest first."""
        if self._pool is None:
            return []
        with self._lock:
            infos = self._pool.workers()
            there = []
            for info in infos:
                if info.exit_code is not None:
                    self.exit_codes[info.lease] = info.exit_code
                    continue
                worker = self._seen.get(info.lease)
                if worker is None:
                    self._count += 1
                    name = self._name % self._count if "%" in self._name else self._name
                    worker = self._seen[info.lease] = WorkerProcess(self, info, name)
                there.append(worker)
            self._seen = {worker._lease: worker for worker in there}
            return there

    def is_there(self, lease: str) -> bool:
        """Whether the worker of this lease has not been reaped."""
        return any(worker._lease == lease for worker in self.refresh())

    def wait_size(self, size: int, timeout_s: float = APPEAR_S) -> list[WorkerProcess]:
        """The workers, once there are ``size`` of them; or those there are when time is up.

        One that has done its tasks is replaced before it is gone. It is waited for, as the standard library reaps it
        first; not for long, as it may have something to end.
        """
        self.wait_until(lambda: len(self.refresh()) >= size, timeout_s)
        self.wait_until(lambda: len(self.refresh()) <= size, min(timeout_s, LEAVE_S))
        return self.refresh()

    def wait_until(self, condition: Callable[[], bool], timeout_s: float | None) -> bool:
        """Wait until ``condition()``, looking again whenever a worker comes or goes. False: time is up."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            news = self._news
            if condition():
                return True
            left = None if deadline is None else deadline - time.monotonic()
            if self._engine is None or (left is not None and left <= 0):
                return False
            # Bounded even without a time-out: a worker that went before the roster looked tells nobody again.
            self._engine.wait(news, 1.0 if left is None else min(left, 1.0))


class WorkerTable(dict[int, WorkerProcess]):
    """``executor._processes``: pid to process, taken in when looked at. Keeps the last ones when all have gone."""

    def __init__(self, roster: Roster, work: Work) -> None:
        super().__init__()
        self._roster = roster
        self._work = work

    def fill(self) -> WorkerTable:
        """Take in who is there, once all are that ought to be."""
        there = self._roster.refresh() if self._work.broken else self._roster.wait_size(self._work.size)
        if there:
            self.clear()
            self.update((worker.pid, worker) for worker in there)
        return self
