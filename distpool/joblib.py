"""joblib's backend "distpool": ``Parallel``, and with it scikit-learn, on distpool's workers.

::

    import distpool.joblib
    with joblib.parallel_config(backend="distpool"):       # all CPUs, of all machines where a cluster is in use
        GridSearchCV(model, grid).fit(X, y)

    Parallel ── configure ─► hire workers, or take those of the last call            (joblib_workers.py)
             ── submit ────► Dispatcher ── batches ──► run_batch, in a worker
             ◄─ callback ─── outcomes, on the dispatcher's thread
             ── terminate ─► the workers stay for the next call

Big arrays go through the object store, once for each call of ``Parallel`` in however many tasks they occur. They can be
written to, which nobody sees but the tasks of the same batch. There are no memory maps of files: ``max_nbytes``,
``mmap_mode`` and ``temp_folder`` have no effect.

Each worker may use its share of the CPUs: BLAS, OpenMP and the like are limited as joblib limits them, and so is what
``joblib.cpu_count()`` says there, so that a nested ``n_jobs=-1`` does not start a thread for each CPU of the machine in
every worker.

Stands in for joblib's own backend, loky; ``distpool run`` puts it in that place.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures.process import _RemoteTraceback
from pickle import PicklingError
from typing import Any

import joblib
from joblib import cpu_count
from joblib._parallel_backends import SequentialBackend
from joblib.parallel import (
    TASK_ERROR,
    AutoBatchingMixin,
    BatchCompletionCallBack,
    FallbackToBackend,
    ParallelBackendBase,
    register_parallel_backend,
)

from distpool import joblib_progress, run_libraries, worker_hooks
from distpool.call_options import memory_bytes
from distpool.engines import worker_count
from distpool.engines.protocol import Failure, PoolSpec
from distpool.feeding import default_retries
from distpool.joblib_workers import Dispatcher, dismiss, hire
from distpool.progress import Options, options_of

__all__ = ["DistpoolBackend", "LokyBackend", "register"]

#: So long workers without work wait for the next call; ``idle_worker_timeout`` says otherwise.
IDLE_S = 300.0
#: What a worker of ours may use of its machine, for joblib and whoever else asks loky.
_CPUS = "LOKY_MAX_CPU_COUNT"

#: What ``parallel_config`` and ``Parallel`` may say for this backend, ...
_OPTIONS = frozenset(
    (
        "idle_worker_timeout",
        "initargs",
        "initializer",
        "max_worker_memory",
        "progress",
        "resources",
        "retries",
    )
)
#: ... and what joblib hands to every backend, or loky takes, for which there is no use here.
_FOR_OTHERS = frozenset(
    ("context", "max_nbytes", "mmap_mode", "prewarm", "temp_folder", "unlink_on_gc_collect", "verbose")
)


class DistpoolBackend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc]
    """Runs the batches of ``joblib.Parallel`` in distpool's workers.

    Args:
        nesting_level: joblib's own: 0 outside of any parallel call.
        inner_max_num_threads: threads of BLAS, OpenMP and the like in each worker; None: its share of the CPUs.
        options: ``initializer`` and ``initargs``, called once in each worker; ``idle_worker_timeout``, seconds that
            workers wait for the next call (300); ``resources``, what each needs, as {"GPU": 1}; ``retries`` of a batch
            whose worker died (2); ``max_worker_memory``, above which a worker is replaced; ``progress``, as in
            ``Pool.map``. The same may be said to ``Parallel``.

    Raises:
        TypeError: there is no such option.
    """

    supports_retrieve_callback = True
    supports_inner_max_num_threads = True
    uses_threads = False
    supports_sharedmem = False
    default_n_jobs = -1

    # A batch costs less than with loky (where it is to take 0.2 to 2 s), so it may be smaller: the last ones of a call
    # keep all workers busy. But what joblib itself and its callers do for each is nearly a millisecond.
    MIN_IDEAL_BATCH_DURATION = 0.1
    MAX_IDEAL_BATCH_DURATION = 1.0

    def __init__(
        self, nesting_level: int | None = None, inner_max_num_threads: int | None = None, **options: Any
    ) -> None:
        super().__init__(nesting_level=nesting_level, inner_max_num_threads=inner_max_num_threads)
        self._options = _known(options)
        self.parallel: Any = None
        self._idle_s = IDLE_S
        self._workers: Dispatcher | None = None
        self._meter: joblib_progress.ParallelMeter | None = None
        self._shown: Options | None = None

    # ---------------------------------------------------------------------------- a call's life

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """How many workers ``n_jobs`` means: -1 all CPUs, -2 all but one, and so on.

        Raises:
            ValueError: it is 0.
        """
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        if n_jobs is None:
            n_jobs = self.default_n_jobs
        if n_jobs < 0:
            cpus = cpu_count() if _CPUS in os.environ else worker_count()
            n_jobs = max(cpus + 1 + n_jobs, 1)
        return n_jobs

    def configure(
        self,
        n_jobs: int = 1,
        parallel: Any = None,
        prefer: str | None = None,
        require: str | None = None,
        **options: Any,
    ) -> int:
        """Get workers for the calls of this ``parallel``; returns how many.

        Raises:
            TypeError: there is no such option.
            FallbackToBackend: one worker is none: the calls are run here. Or a call of another ``parallel`` goes on,
                whose next result may be asked for after this one: then this one gets a backend of its own.
        """
        size = self.effective_n_jobs(n_jobs)
        if self._workers is not None and self.parallel is not parallel:
            raise FallbackToBackend(
                type(self)(self.nesting_level, self.inner_max_num_threads, **self._options)
            )
        merged = {**self._options, **_known(options)}
        self.parallel = parallel
        self._shown = options_of(merged.get("progress"))
        if size == 1:
            level = self.nesting_level
            raise FallbackToBackend(
                SequentialBackend(nesting_level=level)
                if self._shown is None
                else _Sequential(level, self._shown)
            )
        idle_s = merged.get("idle_worker_timeout")
        self._idle_s = IDLE_S if idle_s is None else float(idle_s)
        workers = hire(
            PoolSpec(
                initializer=merged.get("initializer"),
                initargs=tuple(merged.get("initargs") or ()),
                resources=dict(merged.get("resources") or {}),
                retries=default_retries(merged.get("retries")),
                memory_bytes_max=memory_bytes(merged.get("max_worker_memory")),
                environment=self._environment(size),
                name="LokyProcess-%d",
                snapshot=False,
            ),
            size,
        )
        self._workers = Dispatcher(workers, run_batch, self._fail)
        return size

    def _environment(self, size: int) -> Mapping[str, str]:
        environment: dict[str, str] = self._prepare_worker_env(n_jobs=size)
        if _CPUS not in os.environ:
            environment[_CPUS] = str(self.inner_max_num_threads or max(cpu_count() // size, 1))
        return environment

    def start_call(self) -> None:
        """One call of ``parallel`` begins."""
        assert self._workers is not None
        self._workers.begin()
        if self._shown is not None:
            self._meter = joblib_progress.ParallelMeter(self.parallel, self._shown)
            self._meter.show()

    def submit(self, func: Any, callback: Callable[[Any], object] | None = None) -> Dispatcher:
        """Have a batch of tasks run; ``callback`` is given its outcome, which ``retrieve_result_callback`` reads."""
        workers = self._workers
        assert workers is not None
        callback = callback or _nothing
        if self._meter is not None:
            func, callback = self._meter.counted_batch(func, callback)
        workers.submit(func, callback)
        return workers

    def retrieve_result_callback(self, out: Any) -> Any:
        """The results of a batch; raises what its tasks raised."""
        if isinstance(out, Failure):
            raise _error_of(out)
        return out

    def stop_call(self) -> None:
        """A call of ``parallel`` is over."""
        meter, self._meter = self._meter, None
        if meter is not None:
            meter.end()

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """End what is not done: a task failed, or nobody wants the results. The workers stay."""
        aborted = self._workers
        if aborted is not None:
            aborted.abort()
            if ensure_ready:
                dismiss(aborted.workers, self._idle_s)
                self._workers = None
                self.configure(
                    n_jobs=self.parallel.n_jobs, parallel=self.parallel, **self.parallel._backend_kwargs
                )

    def terminate(self) -> None:
        """The calls are over; the workers wait for the next ones."""
        ended, self._workers = self._workers, None
        if ended is not None:
            ended.close()
            dismiss(ended.workers, self._idle_s)
        self.reset_batch_stats()

    def _fail(self, error: BaseException) -> None:
        """What the program's iterable raised, past joblib: the call must end with it, instead of waiting for ever."""
        tracker = BatchCompletionCallBack(0, 1, self.parallel)
        self.parallel._register_new_job(tracker)
        tracker._register_outcome({"result": error, "status": TASK_ERROR})


class LokyBackend(DistpoolBackend):
    """The same, where joblib's own default stands: one worker unless the program asks for more."""

    default_n_jobs = 1


class _Sequential(SequentialBackend):  # type: ignore[misc]
    """One worker is none, and the progress of its calls can be seen too."""

    def __init__(self, nesting_level: int | None, shown: Options) -> None:
        super().__init__(nesting_level=nesting_level)
        self._shown = shown
        self._watcher: threading.Thread | None = None

    def configure(self, n_jobs: int = 1, parallel: Any = None, **options: Any) -> int:
        """1, the number of workers. joblib asks as a call begins, or several that follow each other."""
        self.parallel = parallel
        self._watch()
        return 1

    def compute_batch_size(self) -> int:
        """1. joblib asks for it as a call begins."""
        self._watch()
        return 1

    def _watch(self) -> None:
        watched = self._watcher is not None and self._watcher.is_alive()
        if not watched and getattr(self.parallel, "_running", False):
            self._watcher = joblib_progress.watch(self.parallel, self._shown)


def run_batch(batch: Any) -> Any:
    """In a worker: the results of a batch's tasks."""
    worker_hooks.more_items += len(batch) - 1
    return batch()


def register(*, make_default: bool = False) -> None:
    """Make the backend "distpool" known to joblib (importing this module has done that already).

    Args:
        make_default: whether ``Parallel`` uses it unless it is told otherwise.
    """
    register_parallel_backend("distpool", DistpoolBackend, make_default=make_default)


def _known(options: dict[str, Any]) -> dict[str, Any]:
    if unknown := options.keys() - _OPTIONS - _FOR_OTHERS:
        raise TypeError(
            f"the backend distpool has no option {sorted(unknown)[0]!r}; there are {', '.join(sorted(_OPTIONS))}"
        )
    return {name: value for name, value in options.items() if name in _OPTIONS}


def _error_of(failure: Failure) -> BaseException:
    """What to raise. What could not be sent is a PicklingError, as with loky."""
    unsent = failure.exception
    if unsent is None or not getattr(unsent, "__notes__", ()):
        return failure.to_exception(_RemoteTraceback)
    text = "; ".join([f"{type(unsent).__name__}: {unsent}", *unsent.__notes__])
    error = PicklingError(f"could not pickle the task to send to the workers: {text}")
    error.__cause__ = unsent
    return error


def _nothing(outcome: Any) -> None:
    """For whoever does not want to know."""


register()
run_libraries.stand("joblib", joblib)
