"""How much memory a piece of work takes at its peak, in this process, all beneath it, and shared memory.

Private memory is counted by PSS. Shared memory is counted once, as what its files hold (memfds and files of
/dev/shm that some process has open) or as what is mapped of it, whichever is more: a page that lies in a memfd
and is mapped by nobody is taken all the same.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from benchmarks import proc

# Above this the measurement is stopped: the machine is to stay usable, and nobody needs a number to see it.
EXTRA_BYTES_MAX = 6 << 30

_POLL_S = 0.02
_BLOCK_BYTES = 512


def extra_bytes(work: Callable[[], object]) -> int:
    """Run `work`; return how far memory rose above where it was before.

    Ends this process with status 1 and a line on standard error when that is more than `EXTRA_BYTES_MAX`.
    """
    gc.collect()
    base_bytes = peak_bytes = total_bytes()
    done = threading.Event()

    def watch() -> None:
        nonlocal peak_bytes
        while not done.wait(_POLL_S):
            peak_bytes = max(peak_bytes, total_bytes())
            if peak_bytes - base_bytes > EXTRA_BYTES_MAX:
                sys.stderr.write(f"stopped: took more than {EXTRA_BYTES_MAX >> 30} GiB of extra memory\n")
                sys.stderr.flush()
                os._exit(1)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        work()
    finally:
        done.set()
        watcher.join()
    return peak_bytes - base_bytes


def total_bytes() -> int:
    """What this process and everything beneath it take now."""
    private_bytes = mapped_bytes = 0
    files: dict[tuple[int, int], int] = {}
    for pid in (os.getpid(), *proc.descendants(os.getpid())):
        pss_bytes, shared_bytes = proc.pss_parts_bytes(pid)
        private_bytes += pss_bytes - shared_bytes
        mapped_bytes += shared_bytes
        files |= _shared_files(pid)
    return private_bytes + max(mapped_bytes, sum(files.values()))


def _shared_files(pid: int) -> dict[tuple[int, int], int]:
    """The shared-memory files that a process has open: (device, inode) and the bytes that they hold."""
    found: dict[tuple[int, int], int] = {}
    with contextlib.suppress(OSError):  # it has gone
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):  # it was closed
                if os.readlink(entry).startswith(("/memfd:", "/dev/shm/")):
                    status = os.stat(entry)
                    found[status.st_dev, status.st_ino] = status.st_blocks * _BLOCK_BYTES
    return found
