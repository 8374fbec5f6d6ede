"""How much memory this process has for itself: what ends with it, and no other process has too.

What it shares (arrays in the node's store, libraries, files that are mapped) does not count: to replace a worker would
not free that. A look costs a few microseconds.
"""

from __future__ import annotations

import os

_STATM = "/proc/self/statm"
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def own_memory_bytes() -> int:
    """Resident bytes, without those of files and shared memory."""
    try:
        fd = os.open(_STATM, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return _elsewhere()
    try:
        _size, resident, shared, *_rest = os.read(fd, 256).split()
    finally:
        os.close(fd)
    return (int(resident) - int(shared)) * _PAGE_BYTES


def _elsewhere() -> int:
    """Where there is no /proc: all that is resident, as psutil has it."""
    import psutil

    return int(psutil.Process().memory_info().rss)
