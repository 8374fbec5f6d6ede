"""``multiprocessing`` contexts whose pools are distpool's.

A context here *is* a standard context of its start method (locks, queues, processes and managers come from it
unchanged); only ``Pool`` and ``cpu_count`` are ours. The start method names a pool's workers and decides, for
executors, whether workers come at once or one by one. How a worker is really started does not depend on it.

Stands in for ``multiprocessing.context`` and for the context functions of ``multiprocessing``.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.context
from collections.abc import Callable, Iterable
from multiprocessing.context import AuthenticationError, BufferTooShort, ProcessError
from typing import TYPE_CHECKING, Any

from distpool import cpus
from distpool.errors import TimeoutError

if TYPE_CHECKING:
    from distpool.pool import Pool as _Pool

__all__ = [
    "AuthenticationError",
    "BufferTooShort",
    "ProcessError",
    "TimeoutError",
    "cpu_count",
    "get_all_start_methods",
    "get_context",
    "get_start_method",
    "set_start_method",
]

cpu_count = cpus.cpu_count
get_all_start_methods = multiprocessing.get_all_start_methods
get_start_method = multiprocessing.get_start_method
set_start_method = multiprocessing.set_start_method


class _PoolsOfOurs:
    """What a standard context gets in addition."""

    def Pool(
        self,
        processes: int | None = None,
        initializer: Callable[..., Any] | None = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: int | None = None,
    ) -> _Pool:
        """A pool of worker processes (``multiprocessing.pool.Pool``)."""
        from distpool.pool import Pool

        return Pool(processes, initializer, initargs, maxtasksperchild, context=self)

    def cpu_count(self) -> int:
        """CPUs that this process may use, at least 1."""
        return cpus.cpu_count()

    def get_context(self, method: str | None = None) -> Any:
        """This context, or that of another start method."""
        return self if method is None else get_context(method)


_ours: dict[str, Any] = {}


def get_context(method: str | None = None) -> Any:
    """The context of a start method (``multiprocessing.get_context``).

    Args:
        method: "fork", "spawn" or "forkserver"; None for the default, which is thereby settled.

    Raises:
        ValueError: no such method on this platform.
    """
    standard = multiprocessing.get_context(method)
    name = standard.get_start_method()
    if name not in _ours:
        # Not a wrapper: foreign code asks isinstance(context, BaseContext), and looks at what it is made of.
        kind = type(f"Distpool{type(standard).__name__}", (_PoolsOfOurs, type(standard)), {})
        _ours[name] = kind()
    return _ours[name]
