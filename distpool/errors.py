"""The one error tree of distpool, on one screen; front doors translate to what the original library raises.

::

    DistpoolError
    ├── CannotUnpickle          also a concurrent.futures.process.BrokenProcessPool
    ├── WorkerDied              also a concurrent.futures.process.BrokenProcessPool
    ├── PoolBroken              also a concurrent.futures.process.BrokenProcessPool
    ├── TaskCancelled           also a concurrent.futures.CancelledError
    ├── ClusterError            the cluster could not be started, or was lost for good
    ├── StoreError              something is wrong with the object store, or an object is gone
    │   ├── StoreFull           no room in memory or on disk; also a MemoryError
    │   └── DiskFull            the disk itself has no room; also an OSError
    ├── SharedElsewhere         shared memory of another node
    ├── SharedGone              the shared memory of a lock, queue or value is gone; also a FileNotFoundError
    ├── NoWorkerState           a task asks for a worker state that there is not; also a RuntimeError and a LookupError
    ├── ManagerDied             a manager's server is gone; also an EOFError, ConnectionError, FileNotFoundError
    └── TimeoutError            also multiprocessing.TimeoutError and the builtin TimeoutError
"""

from __future__ import annotations

import builtins
import multiprocessing.context
from concurrent.futures import CancelledError
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distpool.scheduler.messages import Death


class DistpoolError(Exception):
    """Base of what the engine itself raises."""


class TimeoutError(DistpoolError, multiprocessing.context.TimeoutError, builtins.TimeoutError):
    """Not done in time. What ``get`` waited for goes on; a task that has outrun its ``task_timeout`` is ended."""


class CannotUnpickle(DistpoolError, BrokenProcessPool):
    """Arguments could not be rebuilt in the worker, or a result in its owner. Only this call fails.

    The standard executor breaks as a whole then, hence the second base. ``__cause__`` is what was raised.
    """

    @classmethod
    def explained(cls, what: str, error: BaseException) -> CannotUnpickle:
        """One for ``what`` ("the arguments"), naming the cause and, where it was found, the path to it."""
        notes = "; ".join(getattr(error, "__notes__", ()))
        text = f"{what} could not be unpickled: {type(error).__name__}: {error}"
        made = cls(f"{text} ({notes})" if notes else text)
        made.__cause__ = error
        return made


class WorkerDied(DistpoolError, BrokenProcessPool):
    """The worker process died under this call, and it may not (or no longer) be repeated.

    ``death`` tells pid, host, signal, exit code, peak memory and last words; None where nobody saw it die.
    """

    def __init__(self, text: str, death: Death | None = None) -> None:
        super().__init__(text)
        self.death = death

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.args[0], self.death)


class PoolBroken(DistpoolError, BrokenProcessPool):
    """The pool can get no workers: its initializer fails, or each dies while it starts."""


class TaskCancelled(DistpoolError, CancelledError):
    """The call was cancelled, or its pool terminated, before it was done."""


class ClusterError(DistpoolError):
    """The cluster could not be started or reached, or was lost and could not be had again."""


class SharedElsewhere(DistpoolError):
    """A value or array in shared memory was sent to a node that cannot see it."""


class SharedGone(DistpoolError, FileNotFoundError):
    """The shared memory of a lock, queue or value is gone with the last process that had it."""


class NoWorkerState(DistpoolError, RuntimeError, LookupError):
    """``worker_state()`` was asked outside of a task of a pool that has one."""


class ManagerDied(
    DistpoolError,
    EOFError,
    ConnectionResetError,
    ConnectionRefusedError,
    BrokenPipeError,
    FileNotFoundError,
):
    """The server process of a manager is gone, and its objects with it.

    It is all that the standard library may raise then: which one depends on the moment of the call there.
    """


class HolderDied(RuntimeWarning):
    """The process that held a lock died; the lock is free again, and what it guards may be half-changed."""


class StoreError(DistpoolError):
    """Something is wrong with the object store: its settings, or an object that is not there any more."""


class StoreFull(StoreError, MemoryError):
    """There is no room for an object, neither in the store's memory nor in its file on the disk."""


class DiskFull(StoreError, OSError):
    """The disk that takes what does not fit into the store's memory has no room left."""


@dataclass(slots=True)
class Failure:
    """How a call failed, before a front door has made an exception of it.

    Exactly one of: ``error`` (a pickled exception of the user's own), ``exception`` (a live one, raised on
    this side), ``death`` (its worker died), ``cancelled``, ``limit_s`` (it ran for longer than that); or ``reason``
    alone (a lost node, a refused pool).
    """

    error: bytes | None = None
    exception: BaseException | None = None
    death: Death | None = None
    cancelled: bool = False
    limit_s: float = 0.0
    reason: str = ""
    label: str = ""  # what the call was, for the text: function name and short arguments
    call: str = ""  # of an argument that has failed: what had made it
    kind: str = ""  # of what has a ``reason`` alone: "lost" (an object), "owner died", ...

    def to_exception(self, traceback_type: type[Exception]) -> BaseException:
        """The exception to raise; ``traceback_type(text)`` becomes the cause of a remote one."""
        if self.exception is not None:
            return self.exception
        if self.error is not None:
            from distpool.scheduler.serialize import load_exception

            return load_exception(self.error, traceback_type)
        if self.limit_s:
            return TimeoutError(describe_overdue(self.label, self.limit_s))
        if self.cancelled:
            return TaskCancelled(self.reason or "cancelled")
        return WorkerDied(describe_death(self.label, self.death, self.reason), self.death)


def describe_overdue(label: str, limit_s: float) -> str:
    """One line: which task, how long it was given, and what to do about it."""
    return (
        f"{label or 'a task'} ran for longer than its task_timeout of {limit_s:g} s and was ended; "
        "give it more time (task_timeout=), or have it do less"
    )


def describe_death(label: str, death: Death | None, reason: str) -> str:
    """One paragraph: what died, how, what it had used, and what to do about it."""
    what = f"the worker running {label}" if label else "a worker"
    if death is None:
        return f"{what} was lost: {reason or 'its node is gone'}"
    text = f"{what} (pid {death.pid} on {death.host}) {_manner(death)}"
    if death.peak_rss_bytes:
        text += f"; its memory peaked at {death.peak_rss_bytes / 2**20:,.0f} MiB"
    if remedy := _remedy(death):
        text += f". {remedy}"
    if death.last_words:
        text += f"\nlast words:\n{death.last_words}"
    return text


def _manner(death: Death) -> str:
    import signal

    if death.reason:
        return f"was ended: {death.reason}"
    if death.signal:
        try:
            name = signal.Signals(death.signal).name
        except ValueError:
            name = f"signal {death.signal}"
        return f"was killed by {name}"
    return f"exited with status {death.exit_code}"


def _remedy(death: Death) -> str:
    if death.reason:
        return ""
    match death.signal:
        case 9:
            return "SIGKILL from outside is most often the kernel out of memory: use fewer workers or smaller tasks"
        case 11 | 7 | 4 | 6 | 8:
            return "This is a crash in native code; the lines below, if any, show where"
        case 0:
            return "The task itself ended its process (os._exit); let it return or raise instead"
        case _:
            return ""
