"""The memcpy reference: how often a second this machine copies an array into warm shared memory.

What a library does with a big array cannot be faster than the one copy that it has to make, so this is the
yardstick of the rows with arrays. The target is a mapping of a memfd whose pages were all written before; the
copy is made by `memmove` outside the interpreter's lock, in equal parts by 1, 2 and 4 threads that were
started before. It is measured as the libraries are: the rate of a series of copies, of which the best counts.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

_THREADS = (1, 2, 4)
_WARM_COPIES = 3


def best_copies_per_s(sources: list[Any], count: int) -> float:
    """Copy the numpy arrays `sources`, all of one size, in turn, `count` times with each number of threads."""
    with _warm_shared_memory(sources[0].nbytes) as target:
        return max(_copies_per_s(sources, target, count, threads) for threads in _THREADS)


def _copies_per_s(sources: list[Any], target: int, count: int, threads: int) -> float:
    size_bytes = sources[0].nbytes
    step = -(-size_bytes // (threads * mmap.PAGESIZE)) * mmap.PAGESIZE
    parts = [(start, min(step, size_bytes - start)) for start in range(0, size_bytes, step)]
    addresses = [source.ctypes.data for source in sources]
    with ThreadPoolExecutor(threads) as pool:

        def copy(turn: int) -> None:
            source = addresses[turn % len(addresses)]
            others = [
                pool.submit(ctypes.memmove, target + start, source + start, size) for start, size in parts[1:]
            ]
            ctypes.memmove(target, source, parts[0][1])
            for other in others:
                other.result()

        for turn in range(_WARM_COPIES):
            copy(turn)
        start_s = time.perf_counter()
        for turn in range(count):
            copy(turn)
        elapsed_s = time.perf_counter() - start_s
    last = sources[(count - 1) % len(sources)]
    assert ctypes.string_at(target, size_bytes) == last.tobytes(), "the copy differs from what was copied"
    return count / elapsed_s


@contextlib.contextmanager
def _warm_shared_memory(size_bytes: int) -> Iterator[int]:
    """The address of shared memory of that size, each page written once."""
    descriptor = os.memfd_create("memcpy-reference")
    try:
        os.ftruncate(descriptor, size_bytes)
        with mmap.mmap(descriptor, size_bytes) as memory:
            address = ctypes.addressof(holder := ctypes.c_char.from_buffer(memory))
            ctypes.memset(address, 1, size_bytes)
            try:
                yield address
            finally:
                del holder  # a mapping that is exported cannot be closed
    finally:
        os.close(descriptor)
