"""``multiprocessing`` contexts whose pools, locks, queues, values and managers are distpool's.

A context here *is* a standard context of its start method: processes and pipes come from it unchanged, since a child
that is forked explicitly must inherit. All else that it makes is ours (``context_makers``). The start method names a
pool's workers and decides, for executors, whether workers come at once or one by one. How a worker is really started
does not depend on it.

::

    distpool.Lock() ─► the current start method's context ─► its Lock() ─► distpool.synchronize.Lock(ctx=...)
                       (the standard library's own setting, so set_start_method of either library counts)

Stands in for ``multiprocessing.context`` and for the context functions of ``multiprocessing``.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.context as standard
from multiprocessing.context import (
    AuthenticationError,
    BaseContext,
    BufferTooShort,
    ForkProcess,
    ForkServerProcess,
    Process,
    ProcessError,
    SpawnProcess,
    assert_spawning,
    get_spawning_popen,
    set_spawning_popen,
)
from typing import Any

from distpool import cpus
from distpool.context_makers import ContextMakers
from distpool.errors import TimeoutError

__all__ = [
    "Array",
    "AuthenticationError",
    "Barrier",
    "BaseContext",
    "BoundedSemaphore",
    "BufferTooShort",
    "Condition",
    "Event",
    "ForkContext",
    "ForkProcess",
    "ForkServerContext",
    "ForkServerProcess",
    "JoinableQueue",
    "Lock",
    "Manager",
    "Process",
    "ProcessError",
    "Queue",
    "RLock",
    "RawArray",
    "RawValue",
    "Semaphore",
    "SimpleQueue",
    "SpawnContext",
    "SpawnProcess",
    "TimeoutError",
    "Value",
    "assert_spawning",
    "cpu_count",
    "get_all_start_methods",
    "get_context",
    "get_spawning_popen",
    "get_start_method",
    "set_spawning_popen",
    "set_start_method",
]

cpu_count = cpus.cpu_count
get_all_start_methods = multiprocessing.get_all_start_methods
get_start_method = multiprocessing.get_start_method
set_start_method = multiprocessing.set_start_method


class _Ours(ContextMakers):
    """What a standard context gets in addition."""

    def cpu_count(self) -> int:
        """CPUs that this process may use, at least 1."""
        return cpus.cpu_count()

    def get_context(self, method: str | None = None) -> Any:
        """This context, or that of another start method."""
        return self if method is None else get_context(method)


# Not wrappers: foreign code asks isinstance(context, BaseContext), and looks at what it is made of.
class ForkContext(_Ours, standard.ForkContext):  # type: ignore[misc]  # our Pool takes more
    """Of the start method "fork"."""


class SpawnContext(_Ours, standard.SpawnContext):  # type: ignore[misc]  # our Pool takes more
    """Of the start method "spawn"."""


class ForkServerContext(_Ours, standard.ForkServerContext):  # type: ignore[misc]  # our Pool takes more
    """Of the start method "forkserver"."""


_ours = {"fork": ForkContext(), "spawn": SpawnContext(), "forkserver": ForkServerContext()}


def get_context(method: str | None = None) -> Any:
    """The context of a start method (``multiprocessing.get_context``).

    Args:
        method: "fork", "spawn" or "forkserver"; None for the default, which is thereby settled.

    Raises:
        ValueError: no such method on this platform.
    """
    return _ours[multiprocessing.get_context(method).get_start_method()]


class _Current(ContextMakers):
    """Makes things of the start method that is current when they are made."""

    def get_context(self, method: str | None = None) -> Any:
        return get_context(method)


_current = _Current()

Array = _current.Array
Barrier = _current.Barrier
BoundedSemaphore = _current.BoundedSemaphore
Condition = _current.Condition
Event = _current.Event
JoinableQueue = _current.JoinableQueue
Lock = _current.Lock
Manager = _current.Manager
Queue = _current.Queue
RLock = _current.RLock
RawArray = _current.RawArray
RawValue = _current.RawValue
Semaphore = _current.Semaphore
SimpleQueue = _current.SimpleQueue
Value = _current.Value
