"""How the calls of one ``map`` or ``imap`` reach the engine: a window at a time, by a feeder.

::

    caller's thread    Feeder.start ── first window ──────────────► EnginePool.submit_many
                            │ more?                                        │
    feeder's thread         └──► pull ─► submit_many ─► sleep ◄── mark ── Tally.fulfil / Stream.take
                                  ▲  (the user's iterable)                 (progress)
    Desk: an open engine pool and its feeders; it is closed when the last of them has nothing left

The window is bounded in calls and, by weighing a sample of arguments and results, in bytes. So a map of a million
calls holds thousands at a time, and an endless generator is read no faster than its results are used.

What it is not: a queue. Submitted calls are the engine's; results are the promise's.
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
import time
from _thread import allocate_lock
from collections.abc import Callable, Iterator, Sequence
from pickle import PicklingError
from typing import Any

from distpool.engines.protocol import Call, Engine, EnginePool, Promise, Terms
from distpool.errors import StoreError, TaskCancelled

__all__ = ["Desk", "Feeder", "Tally", "default_retries", "weigh"]

#: Calls in flight (or with results not yet taken): so many, and so many more per worker, ...
WINDOW_CALLS = 4096
WINDOW_CALLS_PER_WORKER = 64
#: ... but fewer until a first result has shown what results weigh, ...
WINDOW_CALLS_UNKNOWN = 256
#: ... and no more than weigh this much, beyond a few calls per worker.
WINDOW_BYTES = 64 << 20
#: Calls handed to the engine at once; the first batch is small, to be weighed.
BATCH_CALLS = 2048
BATCH_CALLS_UNKNOWN = 16
#: For so long an iterable of the user's is read at a stretch.
PULL_S = 0.002

NEVER = sys.maxsize


def default_retries(retries: int | None) -> int:
    """How often a call whose worker died is run again: the argument, else ``DISTPOOL_RETRIES``, else 2.

    Raises:
        ValueError: negative, or not a whole number.
    """
    text = os.environ.get("DISTPOOL_RETRIES", "2") if retries is None else retries
    try:
        number = int(text)
        if number < 0 or number != float(text):
            raise ValueError
    except (TypeError, ValueError):
        name = "DISTPOOL_RETRIES" if retries is None else "retries"
        raise ValueError(f"{name} must be a whole number of at least 0, not {text!r}") from None
    return number


class Desk:
    """An open engine pool, with the feeders that still have calls for it."""

    def __init__(self, engine: Engine, pool: EnginePool) -> None:
        self.engine = engine
        self.pool = pool
        self.feeders: set[Any] = set()
        self._lock = threading.Lock()
        self._closing = False

    def enter(self, feeder: Any) -> None:
        """This one has calls to come."""
        with self._lock:
            self.feeders.add(feeder)

    def leave(self, feeder: Any) -> None:
        """This one has no more calls."""
        with self._lock:
            self.feeders.discard(feeder)
            last = self._closing and not self.feeders
        if last:
            self.pool.close()

    def close(self) -> None:
        """Close the engine pool, once every feeder has submitted all of its calls."""
        with self._lock:
            self._closing = True
            last = not self.feeders
        if last:
            self.pool.close()

    def lift(self) -> None:
        """Let feeders go on without regard to results that nobody takes: somebody waits for the end of the work."""
        for feeder in list(self.feeders):
            feeder.lift()

    def terminate(self) -> None:
        """Stop the feeders, reject every call, end the workers."""
        for feeder in list(self.feeders):
            feeder.stop()
        self.pool.terminate()


class Tally(Promise):
    """A promise for many calls, some of which may still have to be submitted.

    ``fulfil`` and ``reject`` may run on two threads at once, so they count by ``next`` of an iterator, which is one
    operation. Only the feeder writes ``_mark`` and ``_last``. The end itself counts as one more, so that whoever comes
    last, a result or the news that there are no more calls, completes it.
    """

    def __init__(self) -> None:
        self._tick = itertools.count(1).__next__
        self._mark = NEVER  # call _reached when so many have ended
        self._last = NEVER  # the count at which it is complete
        self.done = 0  # how many have ended; may lag behind by the number of delivering threads
        self.end_tick = NEVER  # if ``done`` is above this, the end itself is counted in it
        self.feeder: Feeder | None = None
        self.weight: int | None = 0  # bytes that a waiting result holds; None: not known yet

    def progress(self) -> int:
        """How many calls no longer take up room in the window."""
        return self.done

    def notify_at(self, progress: int) -> None:
        """Wake the feeder when so many calls are out of its way."""
        self._mark = min(progress, self._last)

    def lift(self) -> None:
        """Do not wait for results to be taken."""

    def sent(self, calls: list[Call]) -> None:
        """These have been submitted."""

    def end(self, count: int) -> None:
        """There are ``count`` calls in all."""
        self._last = count + 1
        self._mark = count + 1
        self.end_tick = tick = self._tick()
        if tick == count + 1:
            self._complete()

    def end_with(self, error: BaseException, count: int) -> None:
        """After ``count`` calls there will be no more, because of ``error``."""
        raise NotImplementedError

    def _reached(self, count: int) -> None:
        if count == self._last:
            self._complete()
        elif self.feeder is not None:
            self.feeder.wake()

    def _complete(self) -> None:
        raise NotImplementedError


class Feeder:
    """Submits ``function(*arguments)`` for each ``arguments`` of ``source``, to the account of one promise.

    ``plain`` says that iterating ``source`` runs no user code, so that the caller's own thread may begin; ``shares``
    that all arguments exist already, so that an array which occurs in many of them is moved once. ``terms`` is what the
    calls have otherwise than their pool's.
    """

    def __init__(
        self,
        desk: Desk,
        promise: Tally,
        function: Callable[..., Any],
        source: Iterator[Sequence[Any]],
        *,
        plain: bool,
        shares: bool = False,
        terms: Terms | None = None,
    ) -> None:
        self._desk = desk
        self._terms = terms
        self._quitting: BaseException | None = None
        self._shared = desk.pool.share() if shares else None
        self._promise = promise
        self._function = function
        self._source = source
        self._plain = plain
        self._weight: int | None = None
        self._over = False
        self._starting = False
        self._lifted = False
        self._asleep = False
        self._gate = allocate_lock()
        self._gate.acquire()
        self._submitting = allocate_lock()
        self.sent = 0
        self.pull_error: BaseException | None = None  # what the iterable raised
        promise.feeder = self

    def start(self) -> None:
        """Submit the first window if that is safe here; leave the rest, if there is any, to a thread.

        What a signal handler raises meanwhile comes out, and then there will be no more calls.
        """
        try:
            self._desk.enter(self)
            if self._plain:
                self._starting = True
                while not self._is_over() and (room := self._room()) > 0:
                    self._feed(room)
                self._starting = False
            if not self._over:
                threading.Thread(target=self._run, name="distpool-feeder", daemon=True).start()
        except BaseException:
            self.stop()
            raise

    def wake(self) -> None:
        """There may be room."""
        if self._asleep:
            self._asleep = False
            try:
                self._gate.release()
            except RuntimeError:
                pass  # somebody else was first

    def lift(self) -> None:
        """Do not wait for results to be taken."""
        self._lifted = True
        self._promise.lift()
        self.wake()

    def stop(self) -> None:
        """No more calls; what was not submitted counts as cancelled."""
        self._finish(TaskCancelled("the pool was terminated"))
        self.wake()

    def quit(self, error: BaseException) -> None:
        """Like ``stop``, because of ``error``, but by whoever feeds, as soon as it may: for those who must not wait."""
        self._quitting = error
        self.wake()

    def _is_over(self) -> bool:
        if self._quitting is not None and not self._over:
            self._finish(self._quitting)
        return self._over

    def _run(self) -> None:
        while not self._is_over():
            room = self._room()
            if room > 0:
                self._feed(room)
            else:
                self._sleep()

    def _room(self) -> int:
        """How many calls may be submitted now."""
        return self._window() - (self.sent - self._promise.progress())

    def _window(self) -> int:
        workers = self._desk.pool.size
        weight = self._promise.weight
        if weight is None and not self._lifted:
            calls = WINDOW_CALLS_UNKNOWN + 2 * workers
        else:
            calls = WINDOW_CALLS + WINDOW_CALLS_PER_WORKER * workers
        heaviest = max(1, weight or 0, self._weight or 0)
        return max(2 * workers + 2, min(calls, WINDOW_BYTES // heaviest))

    def _sleep(self) -> None:
        """Until half of the window is free, or somebody stops or lifts."""
        lifted = self._lifted
        target = self.sent - self._window() // 2
        self._asleep = True
        self._promise.notify_at(target)
        staying = not self._over and self._quitting is None and self._lifted == lifted
        if staying and self._promise.progress() < target:
            self._gate.acquire()
        self._asleep = False
        if not self._over:
            self._promise.notify_at(NEVER)

    def _feed(self, room: int) -> None:
        """Submit a batch of a plain source; of another one by one, because its next item may be long in coming."""
        if self._plain:
            count = min(room, BATCH_CALLS if self._weight is not None else BATCH_CALLS_UNKNOWN)
            batch = list(itertools.islice(self._source, count))
            if batch:
                self._weight = max(weigh(batch[0]), (self._weight or 0) // 2)
                self._submit(batch)
            if len(batch) < count:
                self._finish(None)
            return
        until_s = time.monotonic() + PULL_S
        for _ in range(min(room, BATCH_CALLS)):
            try:
                arguments = next(self._source)
            except StopIteration:
                self._finish(None)
                return
            except BaseException as raised:  # whoever asks for the result gets it
                self.pull_error = raised
                self._finish(raised)
                return
            if self.sent & 15 == 0:
                self._weight = max(weigh(arguments), (self._weight or 0) // 2)
            self._submit((arguments,))
            if self._is_over() or time.monotonic() > until_s:
                return

    def _submit(self, batch: Sequence[Sequence[Any]]) -> None:
        try:
            with self._submitting:
                if self._over:
                    return
                submit_many = self._desk.pool.submit_many
                calls = submit_many(
                    self._promise, self.sent, self._function, batch, self._shared, self._terms
                )
                self._promise.sent(calls)
                self.sent += len(batch)
        except Exception as refused:  # the function cannot be pickled, or the pool is gone
            if self._starting and not _is_refusal(refused):
                raise
            self._finish(refused)

    def _finish(self, error: BaseException | None) -> None:
        """Tell the promise, once, that there will be no more."""
        with self._submitting:
            if self._over:
                return
            self._over = True
            self._source = iter(())
            self._shared = None
        if error is None:
            self._promise.end(self.sent)
        else:
            self._promise.end_with(error, self.sent)
        self._promise.feeder = None
        self._desk.leave(self)
        self._desk.engine.wake()


def _is_refusal(error: Exception) -> bool:
    """Whether an engine raised this instead of taking calls; a signal handler may raise after it took them."""
    return isinstance(error, (RuntimeError, PicklingError, StoreError)) or bool(
        getattr(error, "__notes__", ())
    )


def weigh(value: Any, depth: int = 3) -> int:
    """About how many bytes a value holds: exact for buffers and text, a sample for lists and tuples."""
    size = sys.getsizeof(value, 64)
    if depth and type(value) in (list, tuple) and value:
        step = max(1, len(value) // 4)
        sample = value[::step]
        size += len(value) * sum(weigh(item, depth - 1) for item in sample) // len(sample)
    return size
