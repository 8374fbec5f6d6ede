"""Where the platform lacks what shared things are made of, the standard library's own stand at their names.

::

    import distpool.queues ─► semaphores.supported()? ── yes ─► distpool's Queue, JoinableQueue, SimpleQueue
                                                      └─ no ──► multiprocessing.queues' own, and one notice

They are then what they are everywhere else: to be inherited by children, not to be sent to the workers of a pool. Pools
and executors need nothing of this and are distpool's all the same.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterable
from typing import Any

from distpool.scheduler.shared import semaphores

NOTICE = (
    "distpool's locks, queues and shared values need Linux with glibc and /proc, and this system lacks some of it. "
    "Those of the standard library take their place: children inherit them, but they cannot be arguments of a pool's "
    "calls (pass them by initargs of multiprocessing's own Pool, or use a Manager)"
)

_told = False


def standard_ones(module: str, names: Iterable[str]) -> dict[str, Any]:
    """What a module of ours must have at these names here: nothing, or all of its counterpart ``module``'s own."""
    if semaphores.supported():
        return {}
    _tell()
    counterpart = importlib.import_module(module)
    return {name: getattr(counterpart, name) for name in names}


def _tell() -> None:
    """Once in a process, where the program can see it."""
    global _told
    if not _told:
        _told = True
        warnings.warn(NOTICE, RuntimeWarning, stacklevel=4)
