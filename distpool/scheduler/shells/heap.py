"""What the C library keeps of memory that was freed, in an agent that moves objects.

Each piece of an object is a message of its own, and by default glibc gives the pages of such big ones back as soon as
they are freed, to have them made anew for the next: a fault for each page, in ZeroMQ's thread, which is the one that
has most to do. So they are kept while objects move, and given back when none has for a while.
"""

from __future__ import annotations

import ctypes
from typing import Any

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h
#: Blocks up to this size are taken from what is kept: a piece, and its encrypted copy.
_BLOCK_BYTES_MAX = 8 << 20
_KEPT_BYTES_MAX = 256 << 20


def keep_freed() -> None:
    """From now on. Where the C library is another, nothing happens."""
    if (mallopt := _function("mallopt")) is not None:
        mallopt(_MMAP_THRESHOLD, _BLOCK_BYTES_MAX)
        mallopt(_TRIM_THRESHOLD, _KEPT_BYTES_MAX)


def give_back() -> None:
    """What is kept at this moment; it takes milliseconds."""
    if (malloc_trim := _function("malloc_trim")) is not None:
        malloc_trim(0)


def _function(name: str) -> Any:
    return getattr(ctypes.CDLL(None), name, None)
