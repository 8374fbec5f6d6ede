"""Deadlines by key, for a core that may only ask its timer for a Tick.

At most one deadline stands for a key. ``wake`` says when the next Tick must be asked for, and only when it has to be
sooner than the one already asked for. Not a timer: time comes in as ``now``.

``Alarm`` is for a core that looks at everything with each Tick, and needs to know only when the next one is.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Any, Generic, TypeVar

from distpool.scheduler.messages import WakeAt

Key = TypeVar("Key", bound=Hashable)


class Deadlines(Generic[Key]):
    """A small mapping from key to time."""

    def __init__(self) -> None:
        self.at_s: dict[Key, float] = {}
        self._asked_s = math.inf  # the Tick that was asked for
        self._first_s = math.inf  # no deadline is earlier than this

    def set(self, key: Key, at_s: float) -> None:
        """Replace the key's deadline. An infinite one is none."""
        if at_s == math.inf:
            self.at_s.pop(key, None)
            return
        self.at_s[key] = at_s
        self._first_s = min(self._first_s, at_s)

    def clear(self, key: Key) -> None:
        """Drop the key's deadline, if it has one."""
        self.at_s.pop(key, None)

    def due(self, now: float) -> list[Key]:
        """Take out the keys whose time has come, earliest first. To be called with each Tick."""
        if self._asked_s <= now:
            self._asked_s = math.inf
        if self._first_s > now:
            return []
        keys = sorted(
            (at_s, order, key) for order, (key, at_s) in enumerate(self.at_s.items()) if at_s <= now
        )
        for _, _, key in keys:
            del self.at_s[key]
        self._first_s = min(self.at_s.values(), default=math.inf)
        return [key for _, _, key in keys]

    def wake(self) -> float | None:
        """When a Tick must be asked for; None if the one asked for is soon enough."""
        if self._first_s >= self._asked_s or not self.at_s:
            return None
        self._first_s = min(self.at_s.values())
        if self._first_s >= self._asked_s:
            return None
        self._asked_s = self._first_s
        return self._first_s


class Alarm:
    """The one Tick that a core has asked for. ``out`` takes what the core says."""

    def __init__(self, out: list[tuple[str, Any]]) -> None:
        self.at_s = 0.0  # 0: none
        self._out = out

    def ask(self, at_s: float) -> None:
        """Ask for a Tick at this time, if none that was asked for is as soon."""
        if not self.at_s or at_s < self.at_s:
            self.at_s = at_s
            self._out.append(("timer", WakeAt(at_s)))

    def rang(self) -> None:
        """A Tick has come; it may have been another's."""
        self.at_s = 0.0
