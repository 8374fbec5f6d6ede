"""Semaphores of the C library that lie in memory of ours, driven by the standard library's own C class.

``_multiprocessing.SemLock`` usually opens a semaphore by name, which leaks if its maker is killed and needs
/dev/shm. Its ``_rebuild`` takes the address of any ``sem_t`` instead. So there is no name, and an operation still
costs 40 ns.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from typing import Any

#: glibc's sem_t has 32 bytes on 64-bit machines, 16 on others.
BYTES = 32
#: What ``SemLock`` calls its kinds: the second knows its thread, and lets it in again.
SEMAPHORE, RECURSIVE = 1, 0

_libc: Any = None


def supported() -> bool:
    """Whether this platform has all that shared things are made of; elsewhere the standard library's serve."""
    return (
        sys.platform.startswith("linux")
        and "CS_GNU_LIBC_VERSION" in os.confstr_names  # others close what they did not open
        and "glibc" in (os.confstr("CS_GNU_LIBC_VERSION") or "")
        and hasattr(os, "memfd_create")
        and os.path.exists("/proc/self/fd")
    )


def make(address: int, value: int) -> None:
    """Make a semaphore of the 32 bytes at ``address``, for all processes that have them mapped."""
    global _libc
    if _libc is None:
        _libc = ctypes.CDLL(None, use_errno=True)
        _libc.sem_init.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_uint]
    if _libc.sem_init(address, 1, value):
        code = ctypes.get_errno()
        raise OSError(code, f"cannot make a semaphore: {errno.errorcode.get(code, code)}")


def handle(address: int, kind: int, value_max: int) -> Any:
    """This process's own handle on the semaphore at ``address``, which must stay mapped as long as the handle lives."""
    from _multiprocessing import SemLock  # type: ignore[import-not-found]  # it has no stub

    return SemLock._rebuild(address, kind, value_max, None)
