"""An engine that runs calls in threads of this very process.

For tests of the front doors, and for debugging: breakpoints, profilers and coverage see the calls. Arguments and
results are pickled and unpickled as if they travelled, so what could not be sent to a worker fails here too::

    submit ──► pickled ──► queue ──► worker thread: unpickle, run, pickle ──► promise.fulfil / reject
                                        └─ as many as the pool has; each runs the initializer first

What it is not: parallel (one GIL), or able to end what runs: a cancelled or terminated call is rejected at once, and
its thread goes when the call returns; so does that of an overdue one, which another thread replaces at once. Or to
weigh a worker: ``memory_bytes_max`` has no effect. Raise ``WorkerKilled`` in a call to see what its worker's death
does.
"""

from __future__ import annotations

import itertools
import pickle
import socket
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cloudpickle

from distpool.cpus import cpu_count
from distpool.engines.protocol import Call, EnginePool, PoolSpec, Promise, Terms, WorkerAccount, WorkerInfo
from distpool.errors import Failure
from distpool.scheduler.messages import Death

__all__ = ["LocalEngine", "LocalPool", "WorkerKilled"]


#: No process has such an id, so whoever signals one of these hits nobody.
_PIDS_FROM = 1 << 30


class WorkerKilled(BaseException):
    """Raised by a call: its worker thread ends as a process ends that is killed by ``signal_number``."""

    def __init__(self, signal_number: int = 9) -> None:
        super().__init__(signal_number)
        self.signal_number = signal_number


class LocalFailure(Failure):
    """A Failure whose exception was pickled here, with the text of its traceback."""

    __slots__ = ("text",)

    def __init__(self, error: bytes, text: str) -> None:
        super().__init__(error=error)
        self.text = text

    def to_exception(self, traceback_type: type[Exception]) -> BaseException:
        """The exception, with its remote traceback as its cause."""
        assert self.error is not None
        exception: BaseException = pickle.loads(self.error)
        exception.__cause__ = traceback_type(f'\n"""\n{self.text}"""')
        return exception


class LocalCall:
    """A call, from its submission to its end."""

    __slots__ = ("attempts_left", "blob", "ended", "key", "label", "limit_s", "offered", "promise")

    def __init__(
        self, promise: Promise, key: int, blob: bytes, label: str, attempts: int, limit_s: float | None
    ) -> None:
        self.promise = promise
        self.key = key
        self.blob = blob
        self.label = label
        self.attempts_left = attempts
        self.limit_s = limit_s
        self.offered = False
        self.ended = False


@dataclass
class _Worker:
    info: WorkerInfo
    thread: threading.Thread | None = None
    calls: int = 0
    current: LocalCall | None = field(default=None)


class LocalEngine:
    """Opens pools of threads. ``wait`` sleeps; the worker threads deliver."""

    def __init__(self) -> None:
        self._registering = threading.Lock()
        self._pools: list[LocalPool] = []

    def open_pool(self, spec: PoolSpec) -> EnginePool:
        """Start ``spec.size`` worker threads (None: as many as there are CPUs)."""
        pool = LocalPool(spec)
        self._pools.append(pool)
        return pool

    def wake(self) -> None:
        """Nobody drives this engine."""

    def wait(self, promise: Promise, timeout_s: float | None = None) -> bool:
        """Sleep until ``promise.settled``; False on time-out."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while not promise.settled:
            lock = threading.Lock()
            lock.acquire()
            with self._registering:
                wakeups = promise.wakeups
                if wakeups is None:
                    promise.wakeups = [lock]
                else:
                    wakeups.append(lock)
            if _is_ready(promise):
                return True
            if deadline is None:
                lock.acquire()
            elif not lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
                return _is_ready(promise)
        return True

    def shutdown(self) -> None:
        """Terminate every pool."""
        for pool in self._pools:
            pool.terminate()
        self._pools.clear()


class LocalPool:
    """Threads that take calls from one queue."""

    _numbers = itertools.count(1)

    def __init__(self, spec: PoolSpec) -> None:
        self.size = spec.size or cpu_count()
        self._spec = spec
        # As a process would, each worker gets its own copy of what sets it up.
        self._setup = cloudpickle.dumps((spec.initializer, spec.initargs)) if spec.initializer else b""
        self._queue: deque[LocalCall] = deque()
        self._workers: list[_Worker] = []
        self._changed = threading.Condition()  # guards everything here; promises are settled outside it
        self._closed = False
        self._terminated = False
        self._broken: Failure | None = None
        self._setup_failures = 0
        with self._changed:
            self._hire()

    # --------------------------------------------------------------------------------- protocol

    def submit(
        self,
        promise: Promise,
        key: int,
        function: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        terms: Terms | None = None,
    ) -> LocalCall:
        """Queue one call."""
        call = self._call(promise, key, function, args, kwargs, terms)
        self._enqueue([call])
        return call

    def submit_many(
        self,
        promise: Promise,
        first_key: int,
        function: Callable[..., Any],
        arguments: Sequence[Sequence[Any]],
        shared: Any = None,
        terms: Terms | None = None,
    ) -> list[Call]:
        """Queue a call for each of ``arguments``."""
        calls: list[LocalCall] = []
        failed: dict[int, Exception] = {}
        cloudpickle.dumps(function)
        for key, args in enumerate(arguments, first_key):
            try:
                calls.append(self._call(promise, key, function, args, {}, terms))
            except Exception as error:
                failed[key] = error
        self._enqueue(calls)
        for key, reason in failed.items():
            promise.reject(key, Failure(exception=reason))
        return list[Call](calls)

    def share(self) -> None:
        """Nothing is moved here, so there is nothing to be moved once."""

    def cancel(self, calls: Sequence[Call], *, running: bool) -> None:
        """Reject what has not started and, with ``running``, what has (its thread goes on to the end of it)."""
        ended: list[LocalCall] = []
        with self._changed:
            for call in calls:
                assert isinstance(call, LocalCall)
                if not call.ended and (running or not call.offered):
                    call.ended = True
                    ended.append(call)
        _reject(ended, Failure(cancelled=True, reason="cancelled"))

    def give_up(self, promise: Promise, *, running: bool = True) -> None:
        """Reject what there is of it; threads go on to the end of their calls."""
        with self._changed:
            current = [worker.current for worker in self._workers if worker.current]
            calls = [call for call in (*self._queue, *current) if call.promise is promise]
        self.cancel(calls, running=running)

    def close(self) -> None:
        """The workers go when the queue is empty."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def terminate(self) -> None:
        """Reject everything; the workers go when what they run returns."""
        with self._changed:
            self._closed = self._terminated = True
            calls = [*self._queue, *(worker.current for worker in self._workers if worker.current)]
            calls = [call for call in calls if not call.ended]
            for call in calls:
                call.ended = True
            self._queue.clear()
            self._workers.clear()
            self._changed.notify_all()
        _reject(calls, Failure(cancelled=True, reason="the pool was terminated"))
        self._tell()

    def wait_gone(self, timeout_s: float | None = None) -> bool:
        """Wait until no worker is left."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._workers, timeout_s)

    def resize(self, size: int) -> None:
        """Have so many worker threads from now on."""
        with self._changed:
            self.size = size
            self._hire()
            self._changed.notify_all()

    def workers(self) -> list[WorkerInfo]:
        """The worker threads; a thread's native id stands for a pid."""
        with self._changed:
            return [worker.info for worker in self._workers]

    def accounts(self) -> list[WorkerAccount]:
        """Threads are not counted apart."""
        return []

    # ---------------------------------------------------------------------------------- queueing

    def _call(
        self,
        promise: Promise,
        key: int,
        function: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        terms: Terms | None,
    ) -> LocalCall:
        terms = terms or Terms()
        retries = self._spec.retries if terms.retries is None else terms.retries
        blob = cloudpickle.dumps((function, tuple(args), dict(kwargs)))
        label = getattr(function, "__qualname__", type(function).__qualname__)
        return LocalCall(promise, key, blob, label, retries + 1, terms.limit_s)

    def _enqueue(self, calls: list[LocalCall]) -> None:
        with self._changed:
            if self._closed and self._broken is None:
                raise RuntimeError("the pool is closed")
            broken = self._broken
            if broken is None:
                self._queue.extend(calls)
                self._changed.notify(len(calls))
        if broken is not None:
            _reject(calls, broken)

    # ----------------------------------------------------------------------------------- workers

    def _hire(self) -> None:
        while not self._terminated and self._broken is None and len(self._workers) < self.size:
            number = next(self._numbers)
            worker = _Worker(WorkerInfo(f"local.{number}", _PIDS_FROM + number, "local"))
            name = self._spec.name % number if "%" in self._spec.name else self._spec.name
            worker.thread = threading.Thread(target=self._work, args=(worker,), name=name, daemon=True)
            self._workers.append(worker)
            worker.thread.start()

    def _work(self, worker: _Worker) -> None:
        try:
            if self._set_up():
                alive = True
                while alive and (call := self._next(worker)) is not None:
                    alive = self._run(worker, call)
        finally:
            with self._changed:
                if worker in self._workers:
                    self._workers.remove(worker)
                if not (self._closed and not self._queue):
                    self._hire()
                self._changed.notify_all()
            self._tell()

    def _set_up(self) -> bool:
        """Run the initializer; False if this worker can do nothing for it."""
        self._tell()
        try:
            if self._setup:
                initializer, initargs = pickle.loads(self._setup)
                initializer(*initargs)
        except BaseException as error:
            self._setup_failed(error)
            return False
        self._setup_failures = 0
        return True

    def _setup_failed(self, error: BaseException) -> None:
        failure = _failure_of(error)
        with self._changed:
            self._setup_failures += 1
            if self._setup_failures < self._spec.setup_attempts or self._broken is not None:
                return
            self._broken = failure
            calls = list(self._queue)
            self._queue.clear()
        if self._spec.on_broken is not None:
            self._spec.on_broken(failure)
        _reject(calls, failure)

    def _next(self, worker: _Worker) -> LocalCall | None:
        """The next call for this worker, or None if it is to go."""
        limit = self._spec.max_tasks
        with self._changed:
            worker.current = None
            while True:
                surplus = worker not in self._workers or len(self._workers) > self.size
                if self._terminated or surplus or (limit and worker.calls >= limit):
                    return None
                while self._queue:
                    call = self._queue.popleft()
                    if not call.ended:
                        call.offered = True
                        worker.calls += 1
                        worker.current = call
                        return call
                if self._closed:
                    return None
                self._changed.wait()

    def _run(self, worker: _Worker, call: LocalCall) -> bool:
        """Run a call and deliver its outcome; False if its worker died of it."""
        blob: bytes = b""
        failure: Failure | None = None
        timer = self._watch(worker, call)
        try:
            function, args, kwargs = pickle.loads(call.blob)
            value = function(*args, **kwargs)
            del args, kwargs
            blob = _pickled_result(value)
            del value
        except WorkerKilled as death:
            self._died(worker, call, death.signal_number)
            return False
        except BaseException as error:
            failure = _failure_of(error)
        finally:
            if timer is not None:
                timer.cancel()
        with self._changed:
            worker.current = None
            if call.ended:
                return True
            call.ended = True
        if failure is None:
            call.promise.fulfil(call.key, pickle.loads(blob))
        else:
            call.promise.reject(call.key, failure)
        return True

    def _watch(self, worker: _Worker, call: LocalCall) -> threading.Timer | None:
        if call.limit_s is None:
            return None
        timer = threading.Timer(call.limit_s, self._overdue, (worker, call))
        timer.daemon = True
        timer.start()
        return timer

    def _overdue(self, worker: _Worker, call: LocalCall) -> None:
        """Give a call up that has had its time, and the thread that runs it; another one takes its place."""
        assert call.limit_s is not None
        with self._changed:
            if call.ended or worker not in self._workers:
                return
            call.ended = True
            self._workers.remove(worker)
            self._hire()
            self._changed.notify_all()
        _reject([call], Failure(limit_s=call.limit_s, label=call.label))

    def _died(self, worker: _Worker, call: LocalCall, signal_number: int) -> None:
        """Queue the call once more if it may be repeated."""
        with self._changed:
            call.attempts_left -= 1
            if call.ended:
                return
            if call.attempts_left > 0:
                call.offered = False
                self._queue.appendleft(call)
                return
            call.ended = True
        death = Death(worker.info.pid, socket.gethostname(), signal_number, -signal_number)
        _reject([call], Failure(death=death, label=call.label))

    def _tell(self) -> None:
        if self._spec.on_workers is not None:
            self._spec.on_workers()


def _is_ready(promise: Promise) -> bool:
    return promise.settled  # as a function, because another thread may have set it since one looked


def _pickled_result(value: Any) -> bytes:
    try:
        return cloudpickle.dumps(value)  # type: ignore[no-any-return]
    except Exception as error:
        error.unpicklable_result = repr(value)  # type: ignore[attr-defined]
        raise


def _failure_of(error: BaseException) -> Failure:
    text = "".join(traceback.format_exception(error))
    try:
        blob = cloudpickle.dumps(error)
        pickle.loads(blob)
    except Exception as reason:
        return Failure(exception=reason)
    return LocalFailure(blob, text)


def _reject(calls: Sequence[LocalCall], failure: Failure) -> None:
    for call in calls:
        call.promise.reject(call.key, failure)
