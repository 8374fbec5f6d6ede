"""How many CPUs this process may use: the smallest of what the machine has, its affinity mask and its cgroup's quota.

::

    cpu_count() = max(1, min(affinity, ceil(quota / period)))     quota: the tightest from our cgroup up to the root

What it is not: a measure of load. Stands in for ``multiprocessing.cpu_count``, which counts the machine's.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

__all__ = ["cpu_count", "process_cpu_count"]

_PROC = Path("/proc")
_CGROUP = Path("/sys/fs/cgroup")


def cpu_count() -> int:
    """CPUs that this process may use at once, at least 1 (``multiprocessing.cpu_count``)."""
    affinity = _affinity()
    quota = _quota(_PROC, _CGROUP)
    if quota is not None:
        # Half a CPU is still one worker; one and a half keep two workers busier than one.
        affinity = min(affinity, math.ceil(quota))
    return max(1, affinity)


#: ``os.process_cpu_count`` of Python 3.13, with quotas.
process_cpu_count = cpu_count


def _affinity() -> int:
    counted = getattr(os, "process_cpu_count", None)  # from 3.13 on; honours PYTHON_CPU_COUNT
    if counted is not None:
        return counted() or 1
    try:
        return len(os.sched_getaffinity(0))
    except (AttributeError, OSError):
        return os.cpu_count() or 1


def _quota(proc: Path, cgroup: Path) -> float | None:
    """The tightest CPU quota over this process, in CPUs; None if there is none (or no cgroups)."""
    quotas = [*_quotas_v2(proc, cgroup), *_quotas_v1(proc, cgroup)]
    return min(quotas, default=None)


def _quotas_v2(proc: Path, cgroup: Path) -> Iterator[float]:
    for place in _places(proc, cgroup, ""):
        quota, _, period = _read(place / "cpu.max").partition(" ")
        yield from _ratio(quota, period)


def _quotas_v1(proc: Path, cgroup: Path) -> Iterator[float]:
    for mount in ("cpu", "cpu,cpuacct"):
        for place in _places(proc, cgroup / mount, "cpu"):
            yield from _ratio(_read(place / "cpu.cfs_quota_us"), _read(place / "cpu.cfs_period_us"))


def _places(proc: Path, mount: Path, controller: str) -> Iterator[Path]:
    """The folders of our cgroup under ``mount``, from the root down.

    In a container the path may be the host's, and absent here: then the root is the container's own group.
    """
    yield mount
    for line in _read(proc / "self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if controller not in names.split(",") or ".." in path:
            continue
        inside = PurePosixPath(path).relative_to("/") if path.startswith("/") else PurePosixPath(path)
        for depth in range(1, len(inside.parts) + 1):
            yield mount.joinpath(*inside.parts[:depth])


def _ratio(quota: str, period: str) -> Iterator[float]:
    try:
        limit, base = int(quota), int(period)
    except ValueError:  # "max", or no such file
        return
    if limit > 0 and base > 0:
        yield limit / base


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
