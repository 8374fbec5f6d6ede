"""How much memory a process has for itself: what ends with it, and no other process has too.

What it shares (arrays in the node's store, libraries, files that are mapped) does not count: to replace a worker would
not free that. A look costs a few microseconds.
"""

from __future__ import annotations

import os

_STATM = "/proc/self/statm"
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def own_memory_bytes(pid: int = 0) -> int:
    """Resident bytes, without those of files and shared memory; 0 for a process that has ended.

    ``pid``: another process of this machine, instead of this one.
    """
    try:
        fd = os.open(f"/proc/{pid or 'self'}/statm", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return _elsewhere(pid)
    try:
        _size, resident, shared, *_rest = os.read(fd, 256).split()
    except (OSError, ValueError):  # it has just ended
        return 0
    finally:
        os.close(fd)
    return (int(resident) - int(shared)) * _PAGE_BYTES


def _elsewhere(pid: int) -> int:
    """Where there is no /proc: all that is resident, as psutil has it."""
    if os.path.exists("/proc/self"):
        return 0  # there is, and the process is not
    import psutil

    try:
        return int(psutil.Process(pid or None).memory_info().rss)
    except psutil.Error:
        return 0
