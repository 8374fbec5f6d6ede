"""What /proc says of a process and of everything beneath it: memory, processor time, children. Linux only.

Memory is PSS (each shared page counted in equal parts by those who map it), so that forks which share their
parent's pages are not counted twice.
"""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_PR_SET_CHILD_SUBREAPER = 36


def become_subreaper() -> None:
    """Make orphans among this process's descendants its children, so that none escapes count or end."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER) failed")


def descendants(root: int) -> list[int]:
    """The process ids of everything beneath `root`, zombies left out."""
    children: dict[int, list[int]] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit() and (stat := _stat_fields(entry / "stat")) and stat[0] != "Z":
            children.setdefault(int(stat[1]), []).append(int(entry.name))
    found: list[int] = []
    queue = [root]
    while queue:
        below = children.get(queue.pop(), [])
        found.extend(below)
        queue.extend(below)
    return sorted(found)


def pss_bytes(pid: int) -> int:
    """Proportional set size in bytes; 0 for a process that has gone."""
    return _kilobytes(_PROC / str(pid) / "smaps_rollup", "Pss:")


def pss_parts_bytes(pid: int) -> tuple[int, int]:
    """Proportional set size in bytes, and the part of it that is shared memory; zeros for a process that has gone."""
    try:
        rollup = (_PROC / str(pid) / "smaps_rollup").read_text()
    except OSError:
        return 0, 0
    return _status_number(rollup, "Pss:") * 1024, _status_number(rollup, "Pss_Shmem:") * 1024


def rss_bytes(pid: int) -> int:
    """Resident set size in bytes; 0 for a process that has gone."""
    return _kilobytes(_PROC / str(pid) / "status", "VmRSS:")


def rss_peak_bytes(pid: int) -> int:
    """Highest resident set size so far, in bytes; 0 for a process that has gone."""
    return _kilobytes(_PROC / str(pid) / "status", "VmHWM:")


def reset_own_rss_peak() -> None:
    """Start this process's peak anew from what is resident now."""
    (_PROC / "self" / "clear_refs").write_text("5")


@dataclass(frozen=True, slots=True)
class ThreadUsage:
    """One thread's processor time so far, in seconds, and how often it gave up or lost the processor."""

    name: str
    cpu_s: float
    system_share: float
    waits: int
    preemptions: int


def thread_usage(pid: int) -> dict[int, ThreadUsage]:
    """Usage of each thread of `pid` by thread id; empty for a process that has gone."""
    found: dict[int, ThreadUsage] = {}
    try:
        entries = list((_PROC / str(pid) / "task").iterdir())
    except OSError:
        return found
    for entry in entries:
        try:
            stat = _stat_fields(entry / "stat")
            status = (entry / "status").read_text()
            name = (entry / "comm").read_text().strip()
            cpu_s = int((entry / "schedstat").read_text().split()[0]) / 1e9
        except OSError:
            continue
        user, system = float(stat[11]), float(stat[12])
        found[int(entry.name)] = ThreadUsage(
            name=name,
            cpu_s=cpu_s,
            system_share=system / (user + system) if user + system else 0.0,
            waits=_status_number(status, "voluntary_ctxt_switches:"),
            preemptions=_status_number(status, "nonvoluntary_ctxt_switches:"),
        )
    return found


def command_line(pid: int) -> str:
    """The process's command line; empty for one that has gone."""
    try:
        return (
            (_PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        )
    except OSError:
        return ""


def _stat_fields(path: Path) -> list[str]:
    """The fields of a stat file from the state on: the name before them may hold spaces and brackets."""
    try:
        return path.read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _status_number(status: str, label: str) -> int:
    for line in status.splitlines():
        if line.startswith(label):
            return int(line.split()[1])
    return 0


def _kilobytes(path: Path, label: str) -> int:
    try:
        return _status_number(path.read_text(), label) * 1024
    except OSError:
        return 0


def own_children() -> set[int]:
    """Direct children of this process, living or waiting to be reaped."""
    found: set[int] = set()
    for entry in _PROC.iterdir():
        if entry.name.isdigit() and (stat := _stat_fields(entry / "stat")) and int(stat[1]) == os.getpid():
            found.add(int(entry.name))
    return found
