"""``Pool``: a pool of worker processes, as ``multiprocessing`` has it.

::

    Pool ──► Desk ──► EnginePool                      n dedicated workers, replaced when they die
      │        └────► Feeder, one for each running map or imap
      ├─ apply, apply_async ─────► AsyncResult                              (pool_results.py)
      └─ map, imap, ... ─────────► MapResult, IMapIterator                  (pool_maps.py)

What it is not: the scheduler. It checks arguments and keeps the standard library's manners. When a worker dies under a
call, the engine runs that again (``retries``); other calls never notice.

Stands in for ``multiprocessing.pool``.
"""

from __future__ import annotations

import _thread
import multiprocessing
import os
import threading
import warnings
from collections.abc import Callable, Iterable, Mapping
from multiprocessing.pool import (  # type: ignore[attr-defined]
    CLOSE,
    INIT,
    RUN,
    TERMINATE,
    ExceptionWithTraceback,
    MaybeEncodingError,
    RemoteTraceback,
    ThreadPool,
    mapstar,
    starmapstar,
    worker,
)
from types import TracebackType
from typing import Any, TypeVar

from distpool.call_options import CallOptions, call_options, memory_bytes, pool_size, seconds
from distpool.checkpoints import Checkpoint
from distpool.engines import current
from distpool.engines.protocol import Failure, PoolSpec
from distpool.errors import TimeoutError
from distpool.feeding import Desk, default_retries
from distpool.insight import Insight, insight_of
from distpool.pool_maps import Maps
from distpool.pool_results import ApplyResult, AsyncResult, IMapIterator, IMapUnorderedIterator, MapResult
from distpool.progress import Progress
from distpool.worker_states import started
from distpool.workers import Roster, WorkerProcess, weakly

__all__ = [
    "CLOSE",
    "INIT",
    "RUN",
    "TERMINATE",
    "ApplyResult",
    "AsyncResult",
    "ExceptionWithTraceback",
    "IMapIterator",
    "IMapUnorderedIterator",
    "MapResult",
    "MaybeEncodingError",
    "Pool",
    "RemoteTraceback",
    "ThreadPool",
    "TimeoutError",
    "mapstar",
    "starmapstar",
    "worker",
]

T = TypeVar("T")

_NAMES = {"fork": "ForkPoolWorker-%d", "spawn": "SpawnPoolWorker-%d", "forkserver": "ForkServerPoolWorker-%d"}


class Pool(Maps):
    """A pool of worker processes (``multiprocessing.pool.Pool``).

    Args:
        processes: how many workers; None: as many as there are CPUs.
        initializer: called as ``initializer(*initargs)`` once in each worker before its first call.
        initargs: its arguments.
        maxtasksperchild: calls (or chunks of a map) after which a worker is replaced; None: never.
        context: a multiprocessing context; names the workers, and is otherwise of no consequence.
        retries: how often a call whose worker died is run again; None: ``DISTPOOL_RETRIES``, else 2. With 0 no call
            is ever started twice.
        resources: what each worker needs ({"GPU": 1}); None: nothing.
        task_timeout: seconds that each call, each single item of a map, may run unless it is told otherwise; None: as
            long as it takes. One that runs for longer raises TimeoutError and is ended.
        max_worker_memory: bytes, or a text such as "500MB" or "2G"; a worker that has more for itself when a call is
            done is replaced, as with ``maxtasksperchild``. None: no bound.
        progress: whether ``map`` and its kin show how far they are, unless a call says otherwise: True, a
            description, or a dict (description, total, unit, file).
        worker_state: called once in each worker, after the initializer; in a task ``distpool.worker_state()`` returns
            what it made. Its ``close()``, or its ``__exit__`` if it is a context manager, is called when the worker
            ends in good order. An exception breaks the pool, as one of the initializer's does.
        dashboard: serve a page that shows what the program does, until its end, and print its address: True, a port,
            or "HOST:PORT".

    Raises:
        ValueError, TypeError: as the standard Pool does.
        RuntimeError: the dashboard did not start, and why.
    """

    _state: str = INIT

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., Any] | None = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: int | None = None,
        context: Any = None,
        *,
        retries: int | None = None,
        resources: Mapping[str, float] | None = None,
        task_timeout: float | None = None,
        max_worker_memory: int | str | None = None,
        progress: Progress = None,
        worker_state: Callable[[], Any] | None = None,
        dashboard: bool | int | str = False,
    ) -> None:
        if processes is not None and processes < 1:
            raise ValueError("Number of processes must be at least 1")
        if maxtasksperchild is not None and (not isinstance(maxtasksperchild, int) or maxtasksperchild <= 0):
            raise ValueError("maxtasksperchild must be a positive int or None")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        self._task_timeout = seconds(task_timeout)
        self._plain = call_options(task_timeout, None, progress=progress)
        self._ctx = context or multiprocessing.get_context()
        self._maxtasksperchild = maxtasksperchild
        self._initializer = initializer
        self._initargs = tuple(initargs)
        self._pid = os.getpid()
        self._cache: dict[int, Any] = {}
        self._fate = _Fate()
        name = _NAMES.get(self._ctx.get_start_method(), "PoolWorker-%d")
        self._roster = Roster(name)
        self._engine = current()
        if dashboard is not False:
            from distpool.dashboards import open_dashboard

            open_dashboard(dashboard)
        self._engine_pool = self._engine.open_pool(
            PoolSpec(
                size=processes,
                initializer=started(initializer, worker_state),
                initargs=self._initargs,
                max_tasks=maxtasksperchild,
                retries=default_retries(retries),
                resources=resources or {},
                memory_bytes_max=memory_bytes(max_worker_memory),
                name=name,
                closures=False,  # MaybeEncodingError instead, as in the standard library
                on_broken=self._fate.break_,
                on_workers=weakly(self._roster.changed),
            )
        )
        self._roster.attach(self._engine, self._engine_pool)
        self._desk = Desk(self._engine, self._engine_pool)
        self._processes = self._engine_pool.size
        self._state = RUN

    # --------------------------------------------------------------------------------- one call

    def apply(self, func: Callable[..., T], args: Iterable[Any] = (), kwds: Mapping[str, Any] = {}) -> T:
        """``func(*args, **kwds)`` in a worker; its value, or its exception."""
        self._check_running()
        result: AsyncResult[T] = AsyncResult(self)
        return self._get(result, lambda: self._submit(result, func, args, kwds, self._plain))

    def apply_async(
        self,
        func: Callable[..., T],
        args: Iterable[Any] = (),
        kwds: Mapping[str, Any] = {},
        callback: Callable[[T], Any] | None = None,
        error_callback: Callable[[BaseException], Any] | None = None,
        *,
        task_timeout: float | None = None,
        retries: int | None = None,
    ) -> AsyncResult[T]:
        """``func(*args, **kwds)`` in a worker, without waiting.

        The arguments are copied before this returns; if they cannot be, ``get`` raises why. Callbacks run in a
        thread of the engine, before ``get`` returns.

        Args:
            task_timeout: seconds that the call may run, in its worker (imports for it do not count). Then ``get``
                raises TimeoutError, and the call is ended: by KeyboardInterrupt, after a second with its worker. None:
                as the pool.
            retries: how often it is run again if its worker dies; None: as the pool.
        """
        self._check_running()
        options = self._options(task_timeout, retries)
        result: AsyncResult[T] = AsyncResult(self, callback, error_callback)
        self._submit(result, func, args, kwds, options)
        return result

    def _options(
        self,
        task_timeout: float | None,
        retries: int | None,
        errors: str = "raise",
        progress: Progress = None,
        checkpoint: Checkpoint = None,
    ) -> CallOptions:
        plain = task_timeout is None and retries is None and errors == "raise" and progress is None
        if plain and checkpoint is None:
            return self._plain
        return call_options(
            task_timeout,
            retries,
            errors,
            progress,
            checkpoint,
            default_s=self._task_timeout,
            default_progress=self._plain.progress,
        )

    def _submit(
        self,
        result: AsyncResult[Any],
        func: Callable[..., Any],
        args: Iterable[Any],
        kwds: Mapping[str, Any],
        options: CallOptions,
    ) -> None:
        try:
            if type(args) is not tuple:
                args = tuple(args)
            self._engine_pool.submit(result, 0, func, args, kwds, options.terms)
        except Exception as error:
            result.fail(error)
            if result._value is not error:
                raise  # by a signal handler, after the engine had taken the call and even ended it
        result.hold()

    # -------------------------------------------------------------------------------- its size

    def resize(self, processes: int) -> None:
        """Have so many workers from now on, also while calls run.

        New ones start in the background. Of too many the idle go at once, the others when what they run is done.

        Raises:
            ValueError, TypeError: not a number of at least 1; the pool is closed.
        """
        size = pool_size(processes)
        self._check_running()
        self._processes = size
        self._engine_pool.resize(size)

    def insight(self) -> Insight:
        """What the workers have done: times, tasks, data and memory of each and in all; also after ``close``.

        ``print`` it for a table.
        """
        return insight_of(self._engine_pool.accounts())

    # --------------------------------------------------------------------------------- the end

    def close(self) -> None:
        """No more calls; the workers end when all work is done."""
        if self._state == RUN:
            self._state = CLOSE
            self._desk.close()

    def terminate(self) -> None:
        """End the workers now; results that are not there yet raise TaskCancelled."""
        self._state = TERMINATE
        self._desk.terminate()

    def join(self) -> None:
        """Wait until all work is done and the workers have ended; after ``close`` or ``terminate``."""
        if self._state == RUN:
            raise ValueError("Pool is still running")
        if self._state not in (CLOSE, TERMINATE):
            raise ValueError("In unknown state")
        self._desk.lift()
        self._engine_pool.wait_gone()
        for result in list(self._cache.values()):
            if isinstance(result, AsyncResult):
                result.wait()  # the last callbacks may still run

    def __enter__(self) -> Pool:
        self._check_running()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.terminate()

    def __del__(
        self, _warn: Any = warnings.warn, _run: str = RUN, _start: Any = _thread.start_new_thread
    ) -> None:
        if self._state != _run or self._pid != os.getpid():
            return
        _warn(f"unclosed running multiprocessing pool {self!r}", ResourceWarning, source=self)
        # A finalizer runs at any point of any thread, so it takes no locks: a new thread does.
        try:
            _start(self._desk.terminate, ())
        except RuntimeError:
            pass  # the interpreter ends, and with it the engine

    # ------------------------------------------------------------------------------ what one sees

    @property
    def _pool(self) -> list[WorkerProcess]:
        """The workers, as process-like objects; waits until all of them are there."""
        if self._state == RUN:
            return self._roster.wait_size(self._processes)
        return self._roster.refresh()

    @property
    def _broken(self) -> Failure | None:
        return self._fate.failure

    def _repopulate_pool(self) -> None:
        """Wait until dead workers have been replaced (the engine does so by itself)."""
        self._roster.wait_size(self._processes)

    def _get(self, result: AsyncResult[T], start: Callable[[], None]) -> T:
        """Submit, and wait for a result that nobody else can ask for: if a signal handler ends that, its calls end too.

        For Ctrl-C: the terminal interrupts only the program itself, and without this the workers would stay busy.
        """
        try:
            start()
            return result.get()
        except BaseException as error:
            if error is not getattr(result, "_value", None):  # not the call's own
                result.give_up()
                self._engine_pool.give_up(result)
            raise

    def _check_running(self) -> None:
        if self._state != RUN:
            raise ValueError("Pool not running")

    def __reduce__(self) -> Any:
        raise NotImplementedError("pool objects cannot be passed between processes or pickled")

    def __repr__(self) -> str:
        kind = type(self)
        size = getattr(self, "_processes", 0)
        return f"<{kind.__module__}.{kind.__qualname__} state={self._state} pool_size={size}>"


class _Fate:
    """Why a pool is broken, if it is. Apart from the pool, which the engine must not keep alive."""

    def __init__(self) -> None:
        self.failure: Failure | None = None
        self._lock = threading.Lock()

    def break_(self, failure: Failure) -> None:
        """The engine says that it can get no workers."""
        with self._lock:
            if self.failure is None:
                self.failure = failure
