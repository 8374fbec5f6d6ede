"""Mappings of files that keep no descriptor: a process may have thousands, and may count what it has open."""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from typing import Any

from distpool.scheduler.store.copying import address_of

_READ_WRITE = mmap.PROT_READ | mmap.PROT_WRITE
_MAP_FIXED, _MAP_NORESERVE = 0x10, 0x4000

_libc_mmap = ctypes.CDLL(None, use_errno=True).mmap
_libc_mmap.restype = ctypes.c_void_p
_libc_mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_int64]


def map_file(fd: int, size: int, offset: int = 0, *, shared: bool) -> mmap.mmap:
    """Map a part of a file, writable: for everybody to see, or privately.

    Before Python 3.13 each ``mmap`` keeps a duplicate of its descriptor. So there the object is made for anonymous
    memory, and the file's pages are then put in its place.
    """
    flags = mmap.MAP_SHARED if shared else mmap.MAP_PRIVATE
    if sys.version_info >= (3, 13):
        return mmap.mmap(fd, size, flags=flags, prot=_READ_WRITE, offset=offset, trackfd=False)
    made = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE, _READ_WRITE)
    address = address_of(made)
    if _libc_mmap(address, size, _READ_WRITE, flags | _MAP_FIXED, fd, offset) != address:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return made


def window_on(mapping: mmap.mmap) -> Any:
    """A buffer over all of a mapping, which it keeps; views of it keep the window, which takes weak references.

    So a mapping may outlive all that was seen of it. (An ``mmap`` itself is unmapped before those who have a weak
    reference to it hear that it is gone.)
    """
    return (ctypes.c_ubyte * len(mapping)).from_buffer(mapping)
