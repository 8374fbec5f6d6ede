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
    if size < THREADED_BYTES_MIN:
        ctypes.memmove(to, start, size)
        return
    pieces = iter(range(0, size, PIECE_BYTES))  # whoever is free takes the next
    helpers: list[threading.Thread] = []
    helpers_max = min(THREADS_MAX, _cores()) - 1

    def work(helped: bool) -> None:
        for offset in pieces:
            if helped and len(helpers) < helpers_max and _has_free_core():
                helpers.append(threading.Thread(target=work, args=(False,)))
                helpers[-1].start()
            ctypes.memmove(to + offset, start + offset, min(PIECE_BYTES, size - offset))

    try:
        work(True)
    finally:  # whatever was raised here: the others must not go on writing behind the caller's back
        for helper in helpers:
            if helper.ident is not None:
                helper.join()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


def _has_free_core() -> bool:
    """Whether another thread would have a core of its own: without one it makes the copy slower, not faster.

    Asked before each piece: who has just waited for this copy's process is often still running when it begins.
    """
    try:
        with open("/proc/loadavg") as file:
            running = int(file.read().split()[3].partition("/")[0])  # at this moment, and us among them
    except (OSError, ValueError, IndexError):
        return False
    return running < _cores()
