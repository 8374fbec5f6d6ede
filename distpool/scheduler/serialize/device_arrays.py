"""CuPy's arrays: between processes of one machine they stay on their GPU, elsewhere they go through the host.

::

    reduce ──► OnDevice(DeviceArray) ──► the store asks: export()
                                           │ a copy in memory of its own, whole: nothing else can be seen through it
                                           ▼
                    DeviceCopy: ticket (its CUDA IPC handle) ──────── the store's block ────────► rebuild
                                           ▲                                                       │ map, copy, unmap
                                           └── kept by ``store.tickets`` until nobody needs it     ▼
                                                                                            an array of its own
    no export (switched off, no room on the device, none permitted) ──► pieces() ──► the store, as bytes ──► rebuild

Two copies on the device, since values are values here: what the sender writes after it has passed an array on is not
seen by the receiver, and what one receiver writes is not seen by the next, or by the task when it is run again. At a
GPU's speed they cost a hundredth of the way over the host.

Between host and device the bytes go by way of two pinned buffers, one of which is filled while the other is emptied.

This module never imports CuPy to look whether it is there: it is imported itself when an array is met. It knows no
store, and no process but this one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Hashable, Iterator
from contextlib import nullcontext
from pickle import PickleBuffer
from typing import TYPE_CHECKING, Any

from distpool.scheduler.serialize import stored
from distpool.scheduler.serialize.errors import SerializationError
from distpool.scheduler.serialize.on_device import Arrived, OnDevice

if TYPE_CHECKING:
    from distpool.scheduler.serialize.pickler import TaskPickler

#: Smaller arrays go through the host at once: making and opening a handle takes longer than copying so much.
DEVICE_BYTES_MIN = 1 << 20
#: Of a device's memory, what copies for others may take before the oldest are moved to the host.
EXPORTED_PART = 4
#: A piece on its way between host and device.
PIECE_BYTES = 16 << 20
#: "0": nothing is exported.
VARIABLE = "DISTPOOL_DEVICE_IPC"

_NO_MEMORY = 2  # cudaErrorMemoryAllocation

#: Whether exporting has proved impossible in this process, or its receivers may not open what it exports.
_refused = False


def reduce(pickler: TaskPickler, array: Any) -> Any:
    """How an array of CuPy's is pickled; ``NotImplemented``: as CuPy does it, by an array of numpy's."""
    registered = pickler.reduce_registered(array)
    if registered is not NotImplemented:
        return registered
    if array.nbytes < DEVICE_BYTES_MIN or not pickler.stores or stored.current() is None:
        return NotImplemented
    source = DeviceArray(array)
    try:
        buffer = OnDevice(source, array.nbytes)
    except OSError:  # not even address space
        return NotImplemented
    key = _key(sys.modules["cupy"], array.device.id)
    return rebuild, (PickleBuffer(buffer), array.dtype, array.shape, source.order, key)


def rebuild(buffer: Any, dtype: Any, shape: tuple[int, ...], order: str, key: bytes) -> Any:
    """An array on the device where it was, if this process sees that; else on the current one.

    Raises:
        SerializationError: the store was closed while it was pickled.
        StoreError: its exporter is gone.
        Whatever CuPy raises where it cannot be imported, or has no device, or no room there.
    """
    if type(buffer) in (bytes, bytearray):
        raise SerializationError("the object store was closed while an array of a GPU was pickled for it")
    import cupy

    device = _visible(cupy).get(key)
    with nullcontext() if device is None else cupy.cuda.Device(device):
        array = cupy.ndarray(shape, dtype, order=order)
        _copy_to(cupy, array, buffer, device)
    return array


def _copy_to(cupy: Any, array: Any, buffer: Any, device: int | None) -> None:
    """``device``: where it was, as it is called here; None: this process does not see that."""
    if type(buffer) is memoryview:
        _fill(cupy, array, buffer)
        return
    arrived: Arrived = buffer
    own = arrived.own
    if isinstance(own, DeviceCopy):
        array.data.copy_from_device_async(own.pointer, own.size)
        cupy.cuda.get_current_stream().synchronize()
    else:
        opened = device is not None and _copy_opened(cupy, array, arrived)
        if opened is not True:
            _fill(cupy, array, arrived.host(refused=opened is None))
    arrived.close()


def _copy_opened(cupy: Any, array: Any, arrived: Arrived) -> bool | None:
    """Copy from the exporter's memory, as this process sees it for a moment; whether that is done.

    False: it is on the host by now. None: that is not permitted.
    """
    with arrived.reading() as handle:
        if not handle:
            return False
        runtime = cupy.cuda.runtime
        try:
            address = runtime.ipcOpenMemHandle(handle)
        except runtime.CUDARuntimeError:
            return None
        try:
            memory = cupy.cuda.UnownedMemory(address, array.nbytes, None, array.device.id)
            array.data.copy_from_device_async(cupy.cuda.MemoryPointer(memory, 0), array.nbytes)
            cupy.cuda.get_current_stream().synchronize()
        finally:
            runtime.ipcCloseMemHandle(address)
        return arrived.is_there()


class DeviceArray:
    """An array that is being pickled."""

    def __init__(self, array: Any) -> None:
        flags = array.flags
        self.order = "F" if flags.f_contiguous and not flags.c_contiguous else "C"
        self._array = array
        self._is_whole = bool(flags.c_contiguous or flags.f_contiguous)

    @property
    def place(self) -> Hashable:
        """See ``on_device.Source``."""
        array = self._array
        return "device", array.device.id, array.data.ptr, array.shape, array.strides, array.dtype.str

    def export(self) -> DeviceCopy | None:
        """See ``on_device.Source``."""
        if _refused or os.environ.get(VARIABLE) == "0":
            return None
        cupy = sys.modules["cupy"]
        runtime = cupy.cuda.runtime
        try:
            with self._array.device:
                return DeviceCopy(cupy, self._whole(cupy))
        except MemoryError:
            return None  # no room now
        except runtime.CUDARuntimeError:
            refuse()  # or an earlier kernel has failed, which whoever reads the array will hear
            return None

    def pieces(self) -> Iterator[memoryview]:
        """See ``on_device.Source``."""
        cupy = sys.modules["cupy"]
        with self._array.device:
            whole = self._whole(cupy)
            cupy.cuda.get_current_stream().synchronize()
        yield from _pieces(cupy, whole.data, whole.nbytes)

    def _whole(self, cupy: Any) -> Any:
        return self._array if self._is_whole else cupy.ascontiguousarray(self._array)


def refuse() -> None:
    """Export nothing from now on: the processes of this machine may not see each other's memory."""
    global _refused
    _refused = True


class DeviceCopy:
    """A copy of a contiguous array, in memory of its own on the same device; complete once this is made.

    Raises:
        MemoryError: there is no room.
        CUDARuntimeError: there can be no handles here.
    """

    def __init__(self, cupy: Any, array: Any) -> None:
        runtime = cupy.cuda.runtime
        self._cupy = cupy
        self.size = array.nbytes
        self.device = array.device
        self.room_bytes = runtime.memGetInfo()[1] // EXPORTED_PART
        self.pointer = cupy.cuda.MemoryPointer(_allocate(cupy, self.size), 0)
        self.ticket: bytes = runtime.ipcGetMemHandle(self.pointer.ptr)
        self.pointer.copy_from_device_async(array.data, self.size)
        cupy.cuda.get_current_stream().synchronize()

    def pieces(self) -> Iterator[memoryview]:
        """See ``on_device.Exported``."""
        yield from _pieces(self._cupy, self.pointer, self.size)

    @staticmethod
    def refuse() -> None:
        """See ``on_device.Exported``."""
        refuse()


def _allocate(cupy: Any, size: int) -> Any:
    """Memory not of CuPy's pool: a handle opens all of what cudaMalloc gave, which there holds others' data, too."""
    for is_last in (False, True):
        try:
            return cupy.cuda.Memory(size)
        except cupy.cuda.runtime.CUDARuntimeError as error:
            if error.status != _NO_MEMORY:
                raise
            if is_last:
                raise MemoryError(f"no room for {size:,} bytes on the device") from None
            cupy.get_default_memory_pool().free_all_blocks()  # what that keeps for later


# ---------------------------------------------------------------------------- between host and device


def _pieces(cupy: Any, pointer: Any, size: int) -> Iterator[memoryview]:
    """What lies there, whose writers are done, piece by piece; one is read while the next is on its way."""
    import numpy

    with pointer.device:
        stream = cupy.cuda.Stream(non_blocking=True)
        buffers = _pinned(cupy, size)

    def start(at: int) -> None:
        length = min(PIECE_BYTES, size - at)
        (pointer + at).copy_to_host_async(buffers[at // PIECE_BYTES % 2].ptr, length, stream)

    start(0)
    for at in range(0, size, PIECE_BYTES):
        stream.synchronize()
        if at + PIECE_BYTES < size:
            start(at + PIECE_BYTES)
        piece: Any = numpy.frombuffer(buffers[at // PIECE_BYTES % 2], "u1", min(PIECE_BYTES, size - at))
        yield memoryview(piece)


def _fill(cupy: Any, array: Any, view: memoryview) -> None:
    """Copy to an array's device; one piece is on its way while the next is made ready."""
    import numpy

    size = len(view)
    with array.device:
        cupy.cuda.get_current_stream().synchronize()  # whoever had this memory before
        buffers = _pinned(cupy, size)
        streams = [cupy.cuda.Stream(non_blocking=True) for _ in range(2)]
        for at in range(0, size, PIECE_BYTES):
            turn, length = at // PIECE_BYTES % 2, min(PIECE_BYTES, size - at)
            streams[turn].synchronize()
            target = numpy.frombuffer(buffers[turn], "u1", length)
            target[:] = numpy.frombuffer(view[at : at + length], "u1")
            (array.data + at).copy_from_host_async(buffers[turn].ptr, length, streams[turn])
        for stream in streams:
            stream.synchronize()


def _pinned(cupy: Any, size: int) -> list[Any]:
    """Two buffers of memory that the device reads and writes by itself; CuPy keeps it for the next."""
    return [cupy.cuda.alloc_pinned_memory(min(PIECE_BYTES, size)) for _ in range(2)]


# ------------------------------------------------------------------------------------ which device


def _key(cupy: Any, device: int) -> bytes:
    """The same for the same GPU, or part of one, in every process of a machine, whatever CUDA_VISIBLE_DEVICES says."""
    runtime = cupy.cuda.runtime
    uuid = runtime.getDeviceProperties(device).get("uuid", b"")
    return f"{runtime.deviceGetPCIBusId(device)}/{uuid.hex()}".encode()


def _visible(cupy: Any) -> dict[bytes, int]:
    """The devices that this process sees, by their keys."""
    if not _devices:
        _devices.update({_key(cupy, n): n for n in range(cupy.cuda.runtime.getDeviceCount())})
    return _devices


_devices: dict[bytes, int] = {}
