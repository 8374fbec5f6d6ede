"""What one call of a pool or executor may ask for beyond the standard library: time limits, errors as values, ...

::

    Pool.map(..., task_timeout=2, errors="return")  ─┐
    executor.map(..., task_timeout=2, retries=0)     ├─► call_options() ─► CallOptions ─► Terms ──► engine
    Pool(task_timeout=60)   (the default of each)   ─┘        │
                                            ValueError, TypeError: what is wrong, and what would be right

Validated here and nowhere else, for both front doors. Also here: sizes, of pools and of memory. Not here: what becomes
of a call that fails, which is its promise's affair (``pool_results``, ``streams``).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Literal

from distpool.checkpoint_files import Checkpoint
from distpool.engines.protocol import Terms
from distpool.feeding import default_retries
from distpool.progress import Options, Progress, options_of

__all__ = ["CallOptions", "Errors", "call_options", "memory_bytes", "pool_size", "seconds"]

#: What a failed call of a map leaves: "raise" its exception, or "return" it in the place of a result.
Errors = Literal["raise", "return"]

_UNITS = {
    "": 1,
    "K": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "KI": 2**10,
    "MI": 2**20,
    "GI": 2**30,
    "TI": 2**40,
}


@dataclass(frozen=True, slots=True)
class CallOptions:
    """``terms`` is what the engine must know, None if nothing; ``returns_errors`` what a map does with exceptions.

    ``progress``: how it is shown how far a map is; None: not at all. ``checkpoint``: the folder that results are kept
    in; None: nowhere.
    """

    terms: Terms | None = None
    returns_errors: bool = False
    progress: Options | None = None
    checkpoint: Checkpoint = None

    @property
    def plain(self) -> bool:
        """Whether nothing is asked for that the standard library has not, but to see how far it is."""
        return self.terms is None and not self.returns_errors and self.checkpoint is None

    @property
    def limited(self) -> bool:
        """Whether a call may only run for so long."""
        return self.terms is not None and self.terms.limit_s is not None

    @property
    def one_by_one(self) -> bool:
        """Whether each item must be a call of its own: what ends it, or fails in it, must not concern another."""
        return self.limited or self.returns_errors

    @property
    def stops_at_first(self) -> bool:
        """Whether the first failure ends a map: who limits the time of tasks does not want to wait for the others."""
        return self.limited and not self.returns_errors


PLAIN = CallOptions()


def call_options(
    task_timeout: float | None,
    retries: int | None,
    errors: str = "raise",
    progress: Progress = None,
    checkpoint: Checkpoint = None,
    *,
    default_s: float | None = None,
    default_progress: Options | None = None,
) -> CallOptions:
    """The options of one call; ``default_s`` is the time limit that its pool was given, ``default_progress`` its bar.

    Raises:
        ValueError, TypeError: one is not what it may be.
    """
    if errors not in ("raise", "return"):
        raise ValueError(
            f"errors must be 'raise' or 'return' (exceptions in the results' places), not {errors!r}"
        )
    limit_s = default_s if task_timeout is None else seconds(task_timeout)
    if limit_s == math.inf:
        limit_s = None
    shown = options_of(progress, default_progress)
    if limit_s is None and retries is None:
        plain = errors == "raise" and shown is None and checkpoint is None
        return PLAIN if plain else CallOptions(None, errors == "return", shown, checkpoint)
    times = None if retries is None else default_retries(retries)
    return CallOptions(Terms(times, limit_s), errors == "return", shown, checkpoint)


def seconds(task_timeout: float | None) -> float | None:
    """A time limit, or None.

    Raises:
        TypeError: not a number.
        ValueError: not above 0.
    """
    if task_timeout is None:
        return None
    if isinstance(task_timeout, bool) or not isinstance(task_timeout, int | float):
        raise TypeError(
            f"task_timeout must be a number of seconds, or None for no limit, not {task_timeout!r}"
        )
    if not task_timeout > 0:
        raise ValueError(f"task_timeout must be above 0 seconds (None: no limit), not {task_timeout!r}")
    return float(task_timeout)


def pool_size(size: Any) -> int:
    """A number of workers.

    Raises:
        TypeError: not a whole number.
        ValueError: below 1.
    """
    if isinstance(size, bool) or not isinstance(size, int):
        raise TypeError(f"a pool's size must be a whole number of workers, not {size!r}")
    if size < 1:
        raise ValueError(f"a pool needs at least 1 worker, not {size}; to be rid of all, close it")
    return size


def memory_bytes(memory: int | str | None) -> int | None:
    """Bytes, from a number or a text such as "500MB", "2G" or "1.5 GiB"; None stays None.

    Raises:
        TypeError: neither.
        ValueError: not above 0, or a text that is no size.
    """
    if memory is None:
        return None
    if isinstance(memory, bool) or not isinstance(memory, int | str):
        raise TypeError(f"max_worker_memory must be bytes, or a text such as '500MB' or '2G', not {memory!r}")
    size = memory if isinstance(memory, int) else _parsed(memory)
    if size is None or size <= 0:
        raise ValueError(
            f"max_worker_memory must be above 0 bytes, or a text such as '500MB' or '2G', not {memory!r}"
        )
    return size


def _parsed(text: str) -> int | None:
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]*)?)\s*([KMGT]?I?)B?\s*", text.upper())
    if match is None or match[2] not in _UNITS:
        return None
    return int(float(match[1]) * _UNITS[match[2]])
