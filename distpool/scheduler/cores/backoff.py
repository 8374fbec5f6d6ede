"""What has failed rests before it is tried again: twice as long with each failure in a row, up to a bound.

::

    failed ──► rests for ``first_s`` ── failed again ──► 2 · ``first_s`` ── ... ──► ``most_s``
                       └── succeeded ──► it is as if it had never failed

Kept by name, with the latest reason, for people. Not a timer, and nothing is refused here: who would try looks at who
is ``resting`` now, and asks to be woken at ``next_s``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["Backoff", "Failure"]

#: A doubling more would overflow, and change nothing.
_DOUBLED_MAX = 30


@dataclass(frozen=True, slots=True)
class Failure:
    """The last ``count`` attempts have failed; the next may be made at ``until_s``."""

    reason: str
    count: int
    until_s: float


class Backoff:
    """The failures in a row, by the name of what has failed."""

    def __init__(self, first_s: float, most_s: float) -> None:
        self.failures: dict[str, Failure] = {}
        self._first_s, self._most_s = first_s, most_s

    def failed(self, what: str, reason: str, now: float) -> float:
        """Have it rest; returns until when."""
        known = self.failures.get(what)
        count = 1 if known is None else known.count + 1
        until_s = now + min(self._first_s * 2.0 ** min(count - 1, _DOUBLED_MAX), self._most_s)
        self.failures[what] = Failure(reason, count, until_s)
        return until_s

    def succeeded(self, what: str) -> None:
        """Its failures are forgotten."""
        self.failures.pop(what, None)

    def resting(self, now: float) -> set[str]:
        """What is not to be tried yet."""
        return {what for what, failure in self.failures.items() if failure.until_s > now}

    def next_s(self, now: float) -> float:
        """When the next of those that rest may be tried; infinite if none rests."""
        return min((one.until_s for one in self.failures.values() if one.until_s > now), default=math.inf)
