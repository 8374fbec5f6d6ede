"""``worker_state=``: something that each worker makes once and its tasks share: a model, a connection, an open file.

::

    Pool(worker_state=load_model)      ──► started(initializer, load_model)      the initializer that workers get
                                                        │ in each worker, once: first the program's own initializer
                                                        ▼
    distpool.worker_state() in a task  ◄──────── what load_model() returned
                                                        │ the worker ends in good order (close, shutdown, replaced)
                                                        ▼
                                            its close(), or __exit__

What it is not: shared between workers, or carried from one to its replacement: each makes its own. A worker that is
killed (``terminate``, a crash) closes nothing.

In the spirit of mpire's ``use_worker_state``.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable
from typing import Any

from distpool.errors import NoWorkerState

__all__ = ["Start", "started", "worker_state"]

_MISSING: Any = object()


class _States(threading.local):
    """Of this thread: an engine of threads has many workers in one process."""

    own: Any = _MISSING


_states = _States()
#: Of this process: a task may ask in a thread that it has started.
_of_process: Any = _MISSING


def worker_state() -> Any:
    """In a task: what the ``worker_state`` of its pool has made in this worker.

    Raises:
        NoWorkerState: (a RuntimeError and a LookupError) the pool was given none, or this is no worker.
    """
    state = _states.own
    if state is _MISSING:
        state = _of_process
    if state is _MISSING:
        raise NoWorkerState(
            "there is no worker state here: ask for it in a task of a pool or executor that was made with "
            "worker_state=..., a function that is called once in each worker and returns it"
        )
    return state


def started(
    initializer: Callable[..., Any] | None, make: Callable[[], Any] | None
) -> Callable[..., Any] | None:
    """An initializer that does what ``initializer`` does, and then makes the worker's state.

    Raises:
        TypeError: ``make`` cannot be called.
    """
    if make is None:
        return initializer
    if not callable(make):
        raise TypeError(
            f"worker_state must be a function that makes a worker's state, not {make!r}; "
            "for one with arguments: functools.partial(function, ...)"
        )
    return Start(initializer, make)


class Start:
    """What a worker of a pool with a ``worker_state`` runs before its first task."""

    def __init__(self, initializer: Callable[..., Any] | None, make: Callable[[], Any]) -> None:
        self._initializer = initializer
        self._make = make

    def __call__(self, *initargs: Any) -> None:
        """Run the initializer, then make the state, and see to its end."""
        global _of_process
        if self._initializer is not None:
            self._initializer(*initargs)
        state = self._make()
        kind = type(state)
        end = None
        if callable(getattr(state, "close", None)):
            end = _Ending(state.close)
        elif hasattr(kind, "__enter__") and hasattr(kind, "__exit__"):
            leave = state.__exit__
            state = state.__enter__()
            end = _Ending(lambda: leave(None, None, None))
        _states.own = state
        if threading.current_thread() is threading.main_thread():  # a worker is a process of its own
            _of_process = state
            if end is not None:
                atexit.register(end)


class _Ending:
    """Closes a state at the end of the process that made it, and not at the end of that one's forks."""

    def __init__(self, end: Callable[[], Any]) -> None:
        self._end = end
        self._pid = os.getpid()

    def __call__(self) -> None:
        if os.getpid() == self._pid:
            self._end()
