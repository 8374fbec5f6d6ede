"""What goes on after an executor's back: its engine pool, the calls that are not done, and whether it is broken.

An executor may be dropped while its work goes on, and futures must not hold it; so all that they need is here::

    ProcessPoolExecutor ──► Work ◄── Future, StreamOfMap
         (may go)            │
                             └──► Desk ──► EnginePool

At the end of the interpreter, before its exit handlers, all pending work is finished, as in the standard library.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable
from concurrent.futures._base import LOGGER
from concurrent.futures.process import _RemoteTraceback
from dataclasses import replace
from typing import Any

from distpool.engines.protocol import Call, Engine, Failure, PoolSpec
from distpool.errors import PoolBroken
from distpool.feeding import Desk
from distpool.workers import Roster, weakly

__all__ = ["CallQueue", "Initializer", "ManagerThread", "Work", "interpreter_ends"]

BROKEN = "A child process terminated abruptly, the process pool is not usable anymore"
#: An emptied table of pending calls that is larger than this is let go: it was made for tens of thousands.
TABLE_BYTES_KEPT = 256 << 10

_open: set[Work] = set()
_ending = False


def interpreter_ends() -> bool:
    """Whether the interpreter is on its way out, and takes no new work."""
    return _ending


class Work:
    """An executor's open pool.

    ``pending`` holds the promises that are not settled, oldest first; whoever adds one does so under ``entering``.
    ``takes_calls`` says whether it takes more, and ``broken`` why not, if it is for that.
    """

    def __init__(self, engine: Engine, spec: PoolSpec, roster: Roster) -> None:
        self.engine = engine
        self.pending: dict[Any, None] = {}
        self.entering = threading.RLock()  # a finalizer may submit in the middle of a submit
        self.takes_calls = True
        self.unsent = 0  # calls that could not be pickled: no worker has shown by them that it is idle
        self.broken: PoolBroken | None = None
        self.roster = roster
        self.growing = threading.Lock()
        self.size = spec.size or 1
        self._pid = os.getpid()
        roster.on_kill = weakly(self.killed_by_hand)
        self.pool = engine.open_pool(
            replace(spec, on_broken=weakly(self.break_), on_workers=weakly(roster.changed))
        )
        self.desk = Desk(engine, self.pool)
        roster.attach(engine, self.pool)
        _open.add(self)

    def settled(self, promise: Any) -> None:
        """This one has ended."""
        pending = self.pending
        pending.pop(promise, None)
        if not pending:
            self.ran_empty()

    def ran_empty(self) -> None:
        """Nothing is pending: let a big table go. A dict keeps the one that it had at its largest."""
        if self.pending.__sizeof__() > TABLE_BYTES_KEPT:
            with self.entering:
                if not self.pending:
                    self.pending = {}

    def shrink_to(self, size: int) -> None:
        """Let the workers go that are more than so many."""
        with self.growing:
            if size < self.size:
                self.size = size
                self.pool.resize(size)

    def take_back(self, calls: Iterable[Call], *, running: bool) -> None:
        """Cancel these calls; with ``running``, interrupt those that have started."""
        self.pool.cancel(list(calls), running=running)

    def cancel_pending(self) -> None:
        """Cancel whatever has not started.

        The oldest calls, one for each worker, count as started: workers are on their way to them, if not there.
        """
        for feeder in list(self.desk.feeders):
            feeder.stop()
        self.take_back(self._calls()[self.size :], running=False)

    def interrupt(self) -> None:
        """Cancel everything, started or not."""
        for feeder in list(self.desk.feeders):
            feeder.stop()
        self.take_back(self._calls(), running=True)

    def close(self) -> None:
        """Let the workers go once all is done; until the end of that, the interpreter does not end."""
        self.takes_calls = False
        self.desk.close()

    def finish(self) -> None:
        """Wait until all is done and the workers have gone."""
        self.desk.lift()
        self.pool.wait_gone()
        for promise in list(self.pending):
            self.engine.wait(promise)  # its outcome is here, and about to be delivered
        _open.discard(self)

    def is_mine(self) -> bool:
        """Whether this is the process that opened it (and not a fork of that)."""
        return self._pid == os.getpid()

    def abandon(self) -> None:
        """The executor was dropped: let what was submitted come to its end."""
        self.close()
        self.finish()

    def _calls(self) -> list[Call]:
        return [call for promise in list(self.pending) for call in promise.calls()]

    # --------------------------------------------------------------------------------- breaking

    def break_(self, failure: Failure) -> None:
        """The engine says that it can get no workers."""
        cause = failure.to_exception(_RemoteTraceback)
        self._break(f"{BROKEN}: {cause!r}", cause)

    def killed_by_hand(self) -> None:
        """The program ends workers of ``_processes`` itself: it wants all of it to end, not replacements."""
        self._break(f"{BROKEN}: a worker was ended by the program itself", None)
        self.desk.terminate()

    def _break(self, text: str, cause: BaseException | None) -> None:
        if self.broken is None:
            broken = PoolBroken(text)
            broken.__cause__ = cause
            self.broken = broken
            self.takes_calls = False


class Initializer:
    """An initializer whose exceptions are logged in the worker, where they happen, as the standard executor does."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *args: Any) -> None:
        """Run it."""
        try:
            self._function(*args)
        except BaseException:
            LOGGER.critical("Exception in initializer:", exc_info=True)
            raise


class ManagerThread:
    """Stands for the standard executor's thread of that name: ``join`` waits for the end of all work."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def join(self, timeout: float | None = None) -> None:
        """Wait until the workers have gone."""
        self._work.pool.wait_gone(timeout)

    def is_alive(self) -> bool:
        """Whether workers are left."""
        return not self._work.pool.wait_gone(0.0)


class CallQueue:
    """Stands for the standard executor's queue of calls, which has a thread to be joined."""

    def close(self) -> None:
        """Nothing is held."""

    def join_thread(self) -> None:
        """There is no thread."""


def _finish_all() -> None:
    """The interpreter ends: finish all work, while threads can still be started."""
    global _ending
    _ending = True
    # After a Ctrl-C nobody wants to wait for what runs. (A prompt keeps its last exception for ever.)
    interrupted = isinstance(getattr(sys, "last_value", None), KeyboardInterrupt) and not hasattr(sys, "ps1")
    mine = [work for work in list(_open) if work.is_mine()]
    try:
        for work in mine:
            work.close()
            if interrupted:
                work.desk.terminate()
        for work in mine:
            work.finish()
    except KeyboardInterrupt:
        for work in mine:
            work.desk.terminate()
        raise


def _forget_all() -> None:
    """In a forked child: the parent's work is the parent's, and so are the threads that held its locks."""
    for work in _open:
        work.entering = threading.RLock()
    _open.clear()


# Exit handlers of `atexit` come too late: they may not start threads, and users' handlers must find executors closed.
threading._register_atexit(_finish_all)  # type: ignore[attr-defined]
os.register_at_fork(after_in_child=_forget_all)
