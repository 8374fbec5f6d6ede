"""The stand-in's devices, memory and streams."""

from __future__ import annotations

import ctypes
import threading
from typing import Any

from cupy.cuda import ground, runtime


class Device:
    """One of those that this process sees. ``with`` it, it is the current one."""

    def __init__(self, number: int | None = None) -> None:
        self.id = runtime.getDevice() if number is None else number

    def __enter__(self) -> Device:
        _here.before.append(runtime.getDevice())
        runtime.setDevice(self.id)
        return self

    def __exit__(self, *_: object) -> None:
        runtime.setDevice(_here.before.pop())


class _Here(threading.local):
    def __init__(self) -> None:
        self.before: list[int] = []
        self.streams: dict[int, Stream] = {}


_here = _Here()


class Memory:
    """What ``runtime.malloc`` gives."""

    def __init__(self, size: int) -> None:
        self.size, self.device_id = size, runtime.getDevice()
        self.ptr = runtime.malloc(size)

    def __del__(self) -> None:
        if getattr(self, "ptr", 0):
            runtime.free(self.ptr)

    @property
    def device(self) -> Device:
        return Device(self.device_id)


class UnownedMemory:
    """Memory that is somebody else's."""

    def __init__(self, ptr: int, size: int, owner: Any, device_id: int = -1) -> None:
        self.ptr, self.size, self.device_id, self._owner = ptr, size, device_id, owner


class MemoryPointer:
    """A place in a memory."""

    def __init__(self, mem: Any, offset: int) -> None:
        self.mem, self.ptr, self.device_id = mem, mem.ptr + offset, mem.device_id

    @property
    def device(self) -> Device:
        return Device(self.device_id)

    def __add__(self, offset: int) -> MemoryPointer:
        return MemoryPointer(self.mem, self.ptr - self.mem.ptr + offset)

    def copy_from_device_async(self, src: MemoryPointer, size: int, stream: Stream | None = None) -> None:
        (stream or get_current_stream()).later(self.ptr, src.ptr, size)
        ground.note(f"device to device {size}")

    def copy_to_host_async(self, mem: int, size: int, stream: Stream | None = None) -> None:
        (stream or get_current_stream()).later(mem, self.ptr, size)
        ground.note(f"device to host {size}")

    def copy_from_host_async(self, mem: int, size: int, stream: Stream | None = None) -> None:
        (stream or get_current_stream()).later(self.ptr, mem, size)
        ground.note(f"host to device {size}")


class Stream:
    """Copies in their order, none of which is done before somebody waits for them all."""

    def __init__(self, null: bool = False, non_blocking: bool = False) -> None:
        self._waiting: list[tuple[int, int, int]] = []

    def later(self, target: int, source: int, size: int) -> None:
        self._waiting.append((target, source, size))

    def synchronize(self) -> None:
        waiting, self._waiting = self._waiting, []
        for target, source, size in waiting:
            ctypes.memmove(target, source, size)


def get_current_stream() -> Stream:
    """This thread's, of the current device."""
    return _here.streams.setdefault(runtime.getDevice(), Stream())


class PinnedMemoryPointer(bytearray):
    """Memory of the host's that stays where it is."""

    @property
    def ptr(self) -> int:
        return ctypes.addressof(ctypes.c_char.from_buffer(self))


def alloc_pinned_memory(size: int) -> PinnedMemoryPointer:
    ground.note(f"pinned {size}")
    return PinnedMemoryPointer(size)
