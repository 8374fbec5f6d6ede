"""Copying at the speed of memory: ``memmove`` without the interpreter's lock, by several threads where it pays."""

from __future__ import annotations

import ctypes
import os
import threading
from typing import Any

#: Below this a slice assignment, which holds the interpreter's lock, is over before a thread could have started.
PLAIN_BYTES_MAX = 256 << 10
#: From here on several threads share the work.
THREADED_BYTES_MIN = 16 << 20
THREADS_MAX = 4
PIECE_BYTES = 4 << 20


class _Buffer(ctypes.Structure):
    """CPython's ``Py_buffer``."""

    _fields_ = [
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.py_object),
        ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t),
        ("readonly", ctypes.c_int),
        ("ndim", ctypes.c_int),
        ("format", ctypes.c_char_p),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("suboffsets", ctypes.c_void_p),
        ("internal", ctypes.c_void_p),
    ]


_get_buffer = ctypes.pythonapi.PyObject_GetBuffer
_get_buffer.argtypes = [ctypes.py_object, ctypes.POINTER(_Buffer), ctypes.c_int]
_release_buffer = ctypes.pythonapi.PyBuffer_Release
_release_buffer.argtypes = [ctypes.POINTER(_Buffer)]
_release_buffer.restype = None


def address_of(buffer: Any) -> int:
    """Where a contiguous buffer begins. The caller keeps it alive."""
    view = _Buffer()
    _get_buffer(buffer, view, 0)
    address = view.buf or 0
    _release_buffer(view)
    return address


def copy(target: memoryview, source: Any) -> None:
    """Copy all of ``source``, a contiguous buffer, to the beginning of ``target`` (bytes, writable)."""
    view = memoryview(source)
    size = view.nbytes
    if size <= PLAIN_BYTES_MAX:
        if view.format != "B" or view.ndim != 1:
            view = view.cast("B")
        target[:size] = view
        return
    to, start = address_of(target), address_of(view)
    count = _threads_for(size)
    if count < 2:
        ctypes.memmove(to, start, size)
        return
    pieces = iter(
        range(0, size, PIECE_BYTES)
    )  # whoever is free takes the next: a thread that gets no core costs little

    def work() -> None:
        for offset in pieces:
            ctypes.memmove(to + offset, start + offset, min(PIECE_BYTES, size - offset))

    helpers = [threading.Thread(target=work) for _ in range(count - 1)]
    for helper in helpers:
        helper.start()
    work()
    for helper in helpers:
        helper.join()


def _threads_for(size: int) -> int:
    """How many threads may share the work: a second one without a core of its own makes it slower, not faster."""
    if size < THREADED_BYTES_MIN or not hasattr(os, "sched_getaffinity"):
        return 1
    try:
        with open("/proc/loadavg") as file:
            running = int(file.read().split()[3].partition("/")[0])  # at this moment, and us among them
    except (OSError, ValueError, IndexError):
        return 1
    return max(1, min(THREADS_MAX, len(os.sched_getaffinity(0)) - running + 1))
