"""The workers behind joblib's calls: kept from one call to the next, and how batches reach them and come back.

::

    hire(spec, size) ──► Workers ◄── a later call with the same spec      (idle ones go after a while)
                            │
    Dispatcher.submit(batch, callback) ──► EnginePool.submit_many ── shared: one array of many batches is moved once
         ▲                                      │
         │ a thread of its own                  ▼ whatever thread drives the engine
    callback(outcome) ◄────── SimpleQueue ◄── fulfil, reject
       └─ joblib takes the next tasks from the program's iterable, and submits

That iterable is the program's own code: it may be slow, or wait for another pool. So it never runs on a thread of the
engine. Whatever goes wrong when a batch is submitted is its outcome; nobody waits for a batch that was never sent.

What it is not: joblib. ``joblib.py`` is its backend; this module does not import the library, and a worker's threads
are limited before anything imports numpy.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from queue import SimpleQueue
from typing import Any

from distpool.engines import current
from distpool.engines.protocol import Engine, Failure, PoolSpec, Promise

__all__ = ["Dispatcher", "Workers", "dismiss", "hire"]

#: What takes an outcome: a batch's list of results, or a Failure.
Callback = Callable[[Any], object]


class Workers:
    """An open pool that calls of joblib share: those that run at one time, and those that follow."""

    def __init__(self, engine: Engine, spec: PoolSpec, size: int) -> None:
        self.engine = engine
        self.spec = spec
        self.size = size
        self.users = 1
        self.broken = False
        self.idle_timer: threading.Timer | None = None
        self.pool = engine.open_pool(replace(spec, size=size, on_broken=self._break))

    def suit(self, engine: Engine, spec: PoolSpec, size: int) -> bool:
        """Whether a call that needs such workers can have these."""
        return (
            not self.broken
            and self.engine is engine
            and (self.size == size or not self.users)
            and _same(self.spec, spec)
        )

    def _break(self, failure: Failure) -> None:
        self.broken = True


#: All open ones. Reentrant: a collection under the lock may end a call, whose workers are dismissed then.
_hired: list[Workers] = []
_lock = threading.RLock()


def hire(spec: PoolSpec, size: int) -> Workers:
    """Workers for one call, ``size`` of them; to be dismissed when it is over.

    Raises:
        Whatever pickling the spec's initializer raises.
    """
    engine = current()
    with _lock:
        found = next((workers for workers in _hired if workers.suit(engine, spec, size)), None)
        if found is not None:
            found.users += 1
            if found.idle_timer is not None:
                found.idle_timer.cancel()
                found.idle_timer = None
            if found.size != size:
                found.size = size
                found.pool.resize(size)
            return found
    workers = Workers(engine, spec, size)  # not under the lock: it pickles what the program gave
    with _lock:
        _hired.append(workers)
    return workers


def dismiss(workers: Workers, idle_s: float) -> None:
    """A call is over: its workers wait so many seconds for the next one, at most one set of them."""
    with _lock:
        workers.users -= 1
        if workers.users:
            return
        if workers.broken:
            _close(workers)
            return
        for other in [other for other in _hired if not other.users and other is not workers]:
            _close(other)
        timer = threading.Timer(idle_s, _close_if_idle, (workers,))
        timer.daemon = True
        try:
            timer.start()
        except RuntimeError:  # the interpreter ends, or there are no more threads
            _close(workers)
        else:
            workers.idle_timer = timer


def _close_if_idle(workers: Workers) -> None:
    with _lock:
        # Somebody may have come while this thread waited for the lock.
        if workers in _hired and workers.idle_timer is threading.current_thread():
            _close(workers)


def _close(workers: Workers) -> None:
    _hired.remove(workers)
    if workers.idle_timer is not None:
        workers.idle_timer.cancel()
    workers.pool.close()


def _same(one: PoolSpec, other: PoolSpec) -> bool:
    """Whether workers made by one are as good as the other's. Arguments of any kind are compared by identity."""
    mine, others = one.initargs, other.initargs
    if callable(mine) or callable(others) or len(mine) != len(others):
        return False
    return replace(one, initargs=()) == replace(other, initargs=()) and all(map(_same_argument, mine, others))


def _same_argument(one: Any, other: Any) -> bool:
    return one is other or (
        type(one) is type(other) and type(one) in (int, float, str, bool) and one == other
    )


class Dispatcher(Promise):
    """One call's way to its workers, and back: batches go in, their outcomes to callbacks on one thread of its own.

    ``on_error`` gets what a callback raises, which is the program's: the error of the iterable that it reads.
    """

    def __init__(
        self, workers: Workers, run: Callable[[Any], Any], on_error: Callable[[BaseException], object]
    ) -> None:
        self.workers = workers
        self._run = run
        self._on_error = on_error
        self._pool = workers.pool
        self._shared = self._pool.share()
        self._numbers = itertools.count()
        self._callbacks: dict[int, Callback] = {}
        self._ended: SimpleQueue[tuple[int, Any] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._over = False

    def begin(self) -> None:
        """Arrays that were sent so far may have been changed since: they are sent anew."""
        self._shared = self._pool.share()

    def submit(self, batch: Any, callback: Callback) -> None:
        """Have this batch run; its outcome goes to ``callback``, even if it could not be sent."""
        if self._thread is None or not self._thread.is_alive():  # it is not where we have been forked to
            self._thread = threading.Thread(target=self._serve, name="distpool-joblib", daemon=True)
            self._thread.start()
        number = next(self._numbers)
        self._callbacks[number] = callback
        try:
            self._pool.submit_many(self, number, self._run, [(batch,)], self._shared)
        except Exception as error:
            self.reject(number, Failure(exception=error))

    def abort(self) -> None:
        """Nobody wants the outcomes any more: what waits is taken back, what runs interrupted."""
        self._over = True
        self._callbacks.clear()
        self._pool.give_up(self)
        self.close()

    def close(self) -> None:
        """There will be no more batches."""
        self._shared = None
        self._ended.put(None)

    def fulfil(self, key: int, value: Any) -> None:
        """A batch is done."""
        self._ended.put((key, value))

    def reject(self, key: int, failure: Failure) -> None:
        """A batch failed."""
        self._ended.put((key, failure))

    def _serve(self) -> None:
        while (ended := self._ended.get()) is not None:
            number, outcome = ended
            callback = self._callbacks.pop(number, None)
            if callback is not None and not self._over:
                try:
                    callback(outcome)
                except BaseException as error:
                    self._on_error(error)
            del ended, outcome, callback  # or a result would live until the next one comes


def _after_fork_in_child() -> None:
    """The workers are the parent's, and so is whoever held the lock."""
    global _lock
    _lock = threading.RLock()
    _hired.clear()


os.register_at_fork(after_in_child=_after_fork_in_child)
