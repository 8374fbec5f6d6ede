"""``ProcessPoolExecutor`` and the names of ``concurrent.futures`` around it.

::

    ProcessPoolExecutor ──► Work ──► Desk ──► EnginePool      (opened by the first call)
      ├─ submit ──► Future                   itself the engine's promise     (future_states.py)
      └─ map ─────► a generator over a MapStream                             (executor_map.py)

A worker that dies costs, after its retries, the one call that it ran; the executor stays usable. What breaks an
executor for good is an initializer that fails, or a program that ends the workers itself.

Stands in for ``concurrent.futures`` and ``concurrent.futures.process``.
"""

from __future__ import annotations

import _thread
import multiprocessing
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import (
    ALL_COMPLETED,
    FIRST_COMPLETED,
    FIRST_EXCEPTION,
    BrokenExecutor,
    CancelledError,
    Executor,
    InvalidStateError,
    ThreadPoolExecutor,
    as_completed,
    process,
    thread,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import Any, TypeVar

from distpool.call_options import Errors, call_options, memory_bytes, pool_size, seconds
from distpool.checkpoint_files import Checkpoint
from distpool.engines import current, worker_count
from distpool.engines.protocol import PoolSpec
from distpool.errors import TimeoutError
from distpool.executor_map import map_by_submit, start_map
from distpool.executor_work import CallQueue, Initializer, ManagerThread, Work, interpreter_ends
from distpool.feeding import default_retries
from distpool.future_states import Future
from distpool.insight import Insight, insight_of
from distpool.progress import Progress, options_of
from distpool.worker_states import started
from distpool.workers import Roster, WorkerProcess, WorkerTable

__all__ = [
    "ALL_COMPLETED",
    "FIRST_COMPLETED",
    "FIRST_EXCEPTION",
    "BrokenExecutor",
    "BrokenProcessPool",
    "CancelledError",
    "Executor",
    "Future",
    "InvalidStateError",
    "ProcessPoolExecutor",
    "ThreadPoolExecutor",
    "TimeoutError",
    "as_completed",
    "process",
    "thread",
    "wait",
]

T = TypeVar("T")

_NAMES = {"fork": "ForkProcess-%d", "spawn": "SpawnProcess-%d", "forkserver": "ForkServerProcess-%d"}


class ProcessPoolExecutor(Executor):
    """Runs calls in worker processes (``concurrent.futures.ProcessPoolExecutor``).

    Args:
        max_workers: how many workers; None: as many as there are CPUs.
        mp_context: a multiprocessing context. With "fork" all workers come with the first call, else one by one.
        initializer: called as ``initializer(*initargs)`` once in each worker before its first call.
        initargs: its arguments.
        max_tasks_per_child: calls after which a worker is replaced; None: never.
        retries: how often a call whose worker died is run again; None: ``DISTPOOL_RETRIES``, else 2. With 0 no call
            is ever started twice.
        resources: what each worker needs ({"GPU": 1}); None: nothing.
        task_timeout: seconds that each call, each single item of a map, may run; None: as long as it takes. One that
            runs for longer raises TimeoutError and is ended: by KeyboardInterrupt, after a second with its worker.
        max_worker_memory: bytes, or a text such as "500MB" or "2G"; a worker that has more for itself when a call is
            done is replaced, as with ``max_tasks_per_child``. None: no bound.
        progress: whether ``map`` shows how far it is, unless it is told otherwise.
        worker_state: called once in each worker, after the initializer; in a task ``distpool.worker_state()`` returns
            what it made. Its ``close()``, or its ``__exit__`` if it is a context manager, is called when the worker
            ends in good order. An exception breaks the executor, as one of the initializer's does.

    Raises:
        ValueError, TypeError: as the standard executor does.
    """

    def __init__(
        self,
        max_workers: int | None = None,
        mp_context: Any = None,
        initializer: Callable[..., Any] | None = None,
        initargs: tuple[Any, ...] = (),
        *,
        max_tasks_per_child: int | None = None,
        retries: int | None = None,
        resources: Mapping[str, float] | None = None,
        task_timeout: float | None = None,
        max_worker_memory: int | str | None = None,
        progress: Progress = None,
        worker_state: Callable[[], Any] | None = None,
    ) -> None:
        if max_workers is not None and max_workers <= 0:
            raise ValueError("max_workers must be greater than 0")
        if mp_context is None:
            mp_context = multiprocessing.get_context("spawn" if max_tasks_per_child is not None else None)
        method = mp_context.get_start_method(allow_none=False)
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        if max_tasks_per_child is not None:
            _check_max_tasks(max_tasks_per_child, method)
        self._max_workers = worker_count() if max_workers is None else max_workers
        self._mp_context = mp_context
        self._grows = method != "fork"
        self._initializer = started(initializer, worker_state)
        self._initargs = tuple(initargs)
        self._max_tasks_per_child = max_tasks_per_child
        self._retries = default_retries(retries)
        self._resources = dict(resources or {})
        self._progress = options_of(progress)
        self._task_timeout = seconds(task_timeout)
        self._terms = call_options(task_timeout, None).terms
        self._memory_bytes_max = memory_bytes(max_worker_memory)
        self._worker_name = _NAMES.get(method, "Process-%d")
        self._shutdown_lock = threading.Lock()
        self._shutdown = False
        self._work: Work | None = None
        self._table: WorkerTable | None = None
        self._executor_manager_thread: ManagerThread | None = None
        self._call_queue: CallQueue | None = None

    # --------------------------------------------------------------------------- what programs call

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Have ``fn(*args, **kwargs)`` run in a worker.

        The arguments are copied before this returns; if they cannot be, the future says why.

        Raises:
            RuntimeError: the executor was shut down, or the interpreter ends.
            BrokenProcessPool: its initializer failed, or the program ended its workers.
        """
        work = self._work
        if work is None or not work.takes_calls:
            work = self._usable_work()
        future: Future[T] = Future(work)
        if work.size < self._max_workers and len(work.pending) + work.unsent >= work.size:
            self._grow_to(work, work.size + 1)
        try:
            future._call = work.pool.submit(future, 0, fn, args, kwargs, self._terms)
        except Exception as error:
            if not work.takes_calls:
                self._usable_work()  # says why
            work.unsent += 1
            try:
                future.set_exception(error)
            except (
                InvalidStateError
            ):  # by a signal handler, after the engine had taken the call and even ended it
                raise error from None
            return future
        # Only now: if a signal handler raises on the way here, nobody must wait for this future.
        with work.entering:
            work.pending[future] = None
        if future.done():  # it ended before it was known here
            work.settled(future)
            future._call = None
        return future

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
        task_timeout: float | None = None,
        retries: int | None = None,
        errors: Errors = "raise",
        progress: Progress = None,
        checkpoint: Checkpoint = None,
    ) -> Iterator[T]:
        """Like ``map(fn, *iterables)``, in the workers.

        Args:
            fn: takes one item of each iterable.
            iterables: those without a length may be endless: they are read a window ahead of the results taken.
            timeout: seconds from now within which every result must be there.
            chunksize: items that travel as one call.
            buffersize: calls (or chunks) to be read ahead at most; None: a window of thousands.
            task_timeout: seconds that each item may run, in its worker; see the executor's own. Without
                ``errors="return"`` the first failure then comes before results that are still to come.
            retries: how often an item is run again whose worker died; None: as the executor.
            errors: "raise" the first failure, or "return" exceptions in the places of results.
            progress: show how far it is: True, a description, or a dict (description, total, unit, file); None: as
                the executor was told.
            checkpoint: a folder that results are kept in as they arrive. The next map with the same function and items
                does only what is missing there. None: nothing is kept.

        Returns:
            A generator of the results, in order. Once it is closed, or a call raises, the rest is cancelled.

        Raises:
            TimeoutError: (from the generator) a result was not there in time, or an item ran for longer than its limit.

        With a ``task_timeout`` or ``errors="return"`` items are calls of their own, whatever the chunksize.
        """
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        if buffersize is not None and not isinstance(buffersize, int):
            raise TypeError("buffersize must be an integer or None")
        if buffersize is not None and buffersize < 1:
            raise ValueError("buffersize must be None or > 0")
        call = call_options(
            task_timeout,
            retries,
            errors,
            progress,
            checkpoint,
            default_s=self._task_timeout,
            default_progress=self._progress,
        )
        replaced = "submit" in vars(self) or type(self).submit is not ProcessPoolExecutor.submit
        if replaced and call.plain and buffersize is None:
            return map_by_submit(self, fn, iterables, timeout, chunksize)
        work = self._usable_work()
        before = len(work.pending)
        results, sent = start_map(work, fn, iterables, timeout, chunksize, buffersize, call)
        if work.size < self._max_workers:
            self._grow_to(work, before + sent)
        return results

    def resize(self, max_workers: int) -> None:
        """Have at most so many workers from now on, also while calls run.

        Missing ones start when there is work for them. Of too many the idle go at once, the others when what they run
        is done.

        Raises:
            ValueError, TypeError: not a number of at least 1.
            RuntimeError: the executor was shut down.
        """
        size = pool_size(max_workers)
        with self._shutdown_lock:
            if self._shutdown:
                raise RuntimeError("cannot resize an executor after shutdown")
            self._max_workers = size
            work = self._work
        if work is None:
            return
        if work.pending or not self._grows:
            self._grow_to(work, size)
        work.shrink_to(size)

    def insight(self) -> Insight:
        """What the workers have done: times, tasks, data and memory of each and in all; also after ``shutdown``.

        ``print`` it for a table.
        """
        return insight_of([] if self._work is None else self._work.pool.accounts())

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """No more calls; the workers end when all work is done.

        Args:
            wait: return only when they have ended.
            cancel_futures: cancel what has not started.
        """
        with self._shutdown_lock:
            self._shutdown = True
            work = self._work
            if work is not None:
                work.takes_calls = False
        self._executor_manager_thread = None
        self._call_queue = None
        self._table = None
        if work is None:
            return
        if cancel_futures:
            work.cancel_pending()
        work.close()
        if wait:
            work.finish()
        else:
            _thread.start_new_thread(work.abandon, ())

    def terminate_workers(self) -> None:
        """End the workers by SIGTERM, now (Python 3.14): what is not done raises BrokenProcessPool."""
        self._force_shutdown(WorkerProcess.terminate)

    def kill_workers(self) -> None:
        """End the workers by SIGKILL, now (Python 3.14): what is not done raises BrokenProcessPool."""
        self._force_shutdown(WorkerProcess.kill)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None and issubclass(kind, KeyboardInterrupt) and self._work is not None:
            # The terminal interrupts only the program itself; whoever pressed the key means all of it.
            self._work.interrupt()
        self.shutdown(wait=True)

    def __del__(self, _start: Any = _thread.start_new_thread) -> None:
        work = getattr(self, "_work", None)
        if work is None or self._shutdown or not work.is_mine():
            return
        # A finalizer runs at any point of any thread, so it takes no locks: a new thread does.
        try:
            _start(work.abandon, ())
        except RuntimeError:
            pass  # the interpreter ends, and has finished all work

    # -------------------------------------------------------------------------------- the inside

    def _usable_work(self) -> Work:
        """The open pool; opened now if this is the first call."""
        with self._shutdown_lock:
            work = self._work
            if work is not None and work.broken is not None:
                raise BrokenProcessPool(str(work.broken)) from work.broken
            if self._shutdown:
                raise RuntimeError("cannot schedule new futures after shutdown")
            if interpreter_ends():
                raise RuntimeError("cannot schedule new futures after interpreter shutdown")
            if work is None:
                work = self._work = self._open()
            return work

    def _open(self) -> Work:
        roster = Roster(self._worker_name)
        work = Work(
            current(),
            PoolSpec(
                size=1 if self._grows else self._max_workers,
                initializer=None if self._initializer is None else Initializer(self._initializer),
                initargs=self._initargs,
                max_tasks=self._max_tasks_per_child,
                retries=self._retries,
                resources=self._resources,
                memory_bytes_max=self._memory_bytes_max,
                name=self._worker_name,
            ),
            roster,
        )
        self._table = WorkerTable(roster, work)
        self._executor_manager_thread = ManagerThread(work)
        self._call_queue = CallQueue()
        return work

    def _grow_to(self, work: Work, size: int) -> None:
        with work.growing:
            size = min(size, self._max_workers)
            if size > work.size:
                work.size = size
                work.pool.resize(size)

    def _force_shutdown(self, end: Callable[[WorkerProcess], None]) -> None:
        work = self._work
        workers = work.roster.refresh() if work is not None else []
        if work is not None:
            work.killed_by_hand()
        self.shutdown(wait=False, cancel_futures=True)
        for worker in workers:
            end(worker)

    @property
    def _processes(self) -> dict[int, WorkerProcess] | None:
        """pid to process, for those who look inside; waits until the workers are there. None after shutdown."""
        if self._shutdown:
            return None
        return {} if self._table is None else self._table.fill()

    @property
    def _broken(self) -> str | bool:
        work = self._work
        return str(work.broken) if work is not None and work.broken is not None else False


def _check_max_tasks(count: Any, method: str) -> None:
    if not isinstance(count, int):
        raise TypeError("max_tasks_per_child must be an integer")
    if count <= 0:
        raise ValueError("max_tasks_per_child must be >= 1")
    if method == "fork":
        raise ValueError(
            "max_tasks_per_child is incompatible with the 'fork' multiprocessing start method; "
            "supply a different mp_context."
        )
