"""How much memory a node has left, and what its workers have: read from the kernel's files, cheaply and often.

::

    /proc/meminfo ────────────────────────┐
    control groups (v1, v2), each above ──┼─► the least that is left: available, of total
    DISTPOOL_MEMORY_LIMIT, less workers ──┘
    /proc/PID/statm ─► what a worker has for itself (``own_memory``); only looked at when it is needed

Two lines are drawn: below the first (``memory_lend_min``) nothing more is started for tasks that wait for others, below
the second the worker that has taken most is ended.

Where there are no such files, nothing is known, and nobody is ended. What the kernel can take back at once (its cache
of files) counts as available. Shared memory of the store counts as used, but as nobody's own.

Settings: ``DISTPOOL_MEMORY_FREE_MIN``, the share of the memory ("5%", "0" for none) below which the node ends the
worker that has taken most; ``DISTPOOL_MEMORY_LIMIT``, what the workers of this node may have in all ("8G").
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

from distpool.errors import StoreError
from distpool.scheduler.limits import Limits
from distpool.scheduler.messages import MemoryLow, MemoryScarce
from distpool.scheduler.shells.own_memory import own_memory_bytes
from distpool.scheduler.store.files import size_setting

FREE_VARIABLE, LIMIT_VARIABLE = "DISTPOOL_MEMORY_FREE_MIN", "DISTPOOL_MEMORY_LIMIT"


class Room(NamedTuple):
    """What there is, and what of it is left."""

    total_bytes: int
    available_bytes: int


class NodeMemory:
    """Looks at one node's memory. ``root`` is where the kernel's files are."""

    def __init__(self, limits: Limits, environment: Mapping[str, str] = os.environ, root: str = "/") -> None:
        self._free_min = _share(environment.get(FREE_VARIABLE, ""), limits.memory_free_min)
        self._lend_min = max(self._free_min, limits.memory_lend_min)
        self._scarce = False  # what was said last
        self._limit_bytes = size_setting(environment, LIMIT_VARIABLE)
        self._root = root
        self._groups = _groups(root)

    @property
    def watches(self) -> bool:
        """Whether it is to look at all."""
        return self._free_min > 0.0

    def look(self, pids: Mapping[int, int]) -> list[MemoryScarce | MemoryLow]:
        """What is to be said, if anything. ``pids`` are those of the workers, by their numbers."""
        used: dict[int, int] | None = None
        rooms = [room for room in (self._machine(), *map(self._group, self._groups)) if room is not None]
        if self._limit_bytes is not None:
            used = _used(pids)
            rooms.append(Room(self._limit_bytes, max(0, self._limit_bytes - sum(used.values()))))
        said: list[MemoryScarce | MemoryLow] = []
        short = _least(rooms, self._lend_min)
        if (short is not None) != self._scarce:
            self._scarce = short is not None
            said.append(MemoryScarce(self._scarce, *(short or (0, 0))))
        low = _least(rooms, self._free_min)
        if low is not None:
            said.append(MemoryLow(*low, _used(pids) if used is None else used))
        return said

    def _machine(self) -> Room | None:
        total = available = 0
        for line in _read(self._root, "proc/meminfo").splitlines():
            if line.startswith("MemTotal:"):
                total = int(line.split()[1]) << 10
            elif line.startswith("MemAvailable:"):
                available = int(line.split()[1]) << 10
                break
        return Room(total, available) if total and available else None

    def _group(self, group: _Group) -> Room | None:
        try:
            limit = int(_read(self._root, group.path, group.limit))
            used = int(_read(self._root, group.path, group.used))
        except ValueError:  # "max", or it is not there
            return None
        cache = 0
        for line in _read(self._root, group.path, "memory.stat").splitlines():
            if line.startswith(group.cache):
                cache = int(line.split()[1])
        return Room(limit, max(0, limit - used + cache))


def _least(rooms: list[Room], share: float) -> Room | None:
    """Of those with less than this share left, the one with least; None if there are none."""
    short = [room for room in rooms if room.available_bytes < room.total_bytes * share]
    return min(short, key=lambda room: room.available_bytes, default=None)


class _Group(NamedTuple):
    """Where a control group is, and what its files are called."""

    path: str
    limit: str
    used: str
    cache: str


def _groups(root: str) -> list[_Group]:
    """The control groups that bound this process, and have a bound."""
    found = []
    for line in _read(root, "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, colon, path = rest.partition(":")
        if not colon:
            continue
        if not controllers:
            names = ("sys/fs/cgroup", "memory.max", "memory.current", "inactive_file ")
        elif "memory" in controllers.split(","):
            names = (
                "sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file "
            )  # fmt: skip
        else:
            continue
        parts = [part for part in path.split("/") if part]
        for count in range(len(parts) + 1):
            group = _Group("/".join([names[0], *parts[:count]]), *names[1:])
            limit = _read(root, group.path, group.limit).strip()
            if limit.isdigit() and int(limit) < 1 << 60:
                found.append(group)
    return found


def _read(*path: str) -> str:
    try:
        with open(os.path.join(*path)) as file:
            return file.read()
    except OSError:
        return ""


def _used(pids: Mapping[int, int]) -> dict[int, int]:
    return {number: own_memory_bytes(pid) for number, pid in pids.items()}


def _share(text: str, default: float) -> float:
    text = text.strip()
    if not text:
        return default
    try:
        share = float(text.removesuffix("%")) / (100.0 if text.endswith("%") else 1.0)
    except ValueError:
        share = -1.0
    if not 0.0 <= share < 1.0:
        raise StoreError(f"{FREE_VARIABLE} must be a share such as 5% or 0.05, not {text!r}")
    return share
