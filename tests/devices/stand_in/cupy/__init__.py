"""A stand-in for CuPy, for machines without a GPU: no more of it than distpool and its tests use.

What it is strict about is what CUDA is strict about, and what can go wrong between processes (see ``cuda``): copies
happen when their stream is synchronised and not before; arrays lie inside of larger allocations, of which alone there
are handles; a handle is opened by another process, on the right device, while its exporter lives.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy

from cupy import cuda
from cupy.cuda import get_current_stream, runtime

#: Where an array begins in its allocation, so that its address is nobody's handle.
_INSET = 512


class ndarray:
    """An array in a device's memory."""

    def __init__(
        self,
        shape: Any,
        dtype: Any = float,
        memptr: cuda.MemoryPointer | None = None,
        strides: Any = None,
        order: str = "C",
    ) -> None:
        self.shape = (shape,) if isinstance(shape, int) else tuple(shape)
        self.dtype = numpy.dtype(dtype)
        layout = (
            numpy.ndarray(self.shape, self.dtype, order=order, strides=strides) if strides is None else None
        )
        self.strides = strides or layout.strides
        size = int(numpy.prod(self.shape, dtype=int)) * self.dtype.itemsize
        self.data = memptr or cuda.MemoryPointer(cuda.Memory(_INSET + size), _INSET)

    @property
    def host(self) -> Any:
        """The test's own way to look at it."""
        get_current_stream().synchronize()
        size = (
            sum([step * (n - 1) for step, n in zip(self.strides, self.shape, strict=True)])
            + self.dtype.itemsize
        )
        memory = (ctypes.c_char * size).from_address(self.data.ptr)
        return numpy.ndarray(self.shape, self.dtype, memory, strides=self.strides)

    @property
    def size(self) -> int:
        return int(numpy.prod(self.shape, dtype=int))

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    @property
    def flags(self) -> Any:
        return self.host.flags

    @property
    def device(self) -> cuda.Device:
        return self.data.device

    def get(self) -> Any:
        return self.host.copy()

    def __reduce__(self) -> Any:
        return array, (self.get(),)

    def __getitem__(self, key: Any) -> ndarray:
        whole = self.host
        part = whole[key]
        start = part.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
        return ndarray(part.shape, self.dtype, self.data + start, part.strides)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.host[key] = value.host if isinstance(value, ndarray) else value

    def __iadd__(self, other: Any) -> ndarray:
        self.host[...] += other.host if isinstance(other, ndarray) else other
        return self

    @property
    def T(self) -> ndarray:
        turned = self.host.T
        return ndarray(turned.shape, self.dtype, self.data, turned.strides)

    def sum(self) -> float:
        return float(self.host.sum())


def array(source: Any, dtype: Any = None, order: str = "K") -> ndarray:
    """A copy on the current device."""
    source = numpy.asarray(source, dtype)
    is_fortran = source.flags.f_contiguous and not source.flags.c_contiguous
    made = ndarray(source.shape, source.dtype, order="F" if is_fortran and order == "K" else "C")
    made.host[...] = source
    return made


asarray = array


def full(shape: Any, value: Any, dtype: Any = None) -> ndarray:
    return array(numpy.full(shape, value, dtype))


def arange(count: int, dtype: Any = None) -> ndarray:
    return array(numpy.arange(count, dtype=dtype))


def ascontiguousarray(source: ndarray) -> ndarray:
    return array(numpy.ascontiguousarray(source.host))


class _Pool:
    def free_all_blocks(self) -> None:
        cuda.ground.note("freed all blocks")


def get_default_memory_pool() -> _Pool:
    return _Pool()


__all__ = ["arange", "array", "asarray", "cuda", "full", "ndarray", "runtime"]
