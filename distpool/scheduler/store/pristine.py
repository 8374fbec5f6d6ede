"""Whether a private mapping was written to: then it is no longer what lies in the store.

The kernel knows, for each page of the mapping, whether it is the file's or a copy of this process's own. Linux 6.7
tells it for a whole range in one call (``PAGEMAP_SCAN``), some microseconds for each megabyte. Elsewhere the answer is
"perhaps".
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import struct

from distpool.scheduler.store.copying import address_of

_ARGUMENT = struct.Struct("12Q")  # struct pm_scan_arg: size, flags, start, end, walk_end, vec, vec_len, ...
_REGION = struct.Struct("3Q")
_PAGEMAP_SCAN = 3 << 30 | _ARGUMENT.size << 16 | ord("f") << 8 | 16
_IS_FILE, _IS_PRESENT, _IS_SWAPPED = 1 << 2, 1 << 3, 1 << 4
_NO_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)


class PristineCheck:
    """One for a process."""

    def __init__(self) -> None:
        self._works = True
        self._region = bytearray(_REGION.size)

    def is_pristine(self, mapping: mmap.mmap) -> bool:
        """Whether no page of it was written to; False also where that cannot be told."""
        if not self._works:
            return False
        start = address_of(mapping)
        argument = _ARGUMENT.pack(
            _ARGUMENT.size,
            0,
            start,
            start + -(-len(mapping) // mmap.PAGESIZE) * mmap.PAGESIZE,
            0,
            address_of(self._region),
            1,  # room for one region, ...
            1,  # ... and one page is enough to know
            _IS_FILE,  # inverted: looked for is what is not the file's
            _IS_FILE,
            _IS_PRESENT | _IS_SWAPPED,
            _IS_FILE,
        )
        try:
            # Opened each time: a program that closes all descriptors, or forks, would spoil one that is kept.
            fd = os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
            try:
                return int(fcntl.ioctl(fd, _PAGEMAP_SCAN, bytearray(argument))) == 0
            finally:
                os.close(fd)
        except OSError as error:
            self._works = error.errno in _NO_DESCRIPTORS
            return False
