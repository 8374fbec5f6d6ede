"""The stand-in's part of the CUDA runtime: device memory as files, mapped by whoever may see it."""

from __future__ import annotations

import ctypes
import itertools
import mmap
import os
import threading

from cupy.cuda import ground


class CUDARuntimeError(RuntimeError):
    """A call of the runtime has failed."""

    def __init__(self, status: int, name: str) -> None:
        self.status = status
        super().__init__(f"{name}: stand-in")


class _Current(threading.local):
    device = 0


_current = _Current()
_lock = threading.Lock()
_serials = itertools.count(1)
_pid = os.getpid()
_own: dict[int, tuple[str, mmap.mmap]] = {}  # by address
_opened: dict[int, tuple[str, mmap.mmap]] = {}
_leaked: list[mmap.mmap] = []  # numpy's views of them may outlive a free, as pointers do


def _check_process() -> None:
    if os.getpid() != _pid:
        ground.append("violations", "CUDA in a forked child")
        raise CUDARuntimeError(3, "cudaErrorInitializationError")


def getDeviceCount() -> int:
    return len(ground.visible())


def getDevice() -> int:
    return _current.device


def setDevice(device: int) -> None:
    if device >= getDeviceCount():
        raise CUDARuntimeError(101, "cudaErrorInvalidDevice")
    _current.device = device


def getDeviceProperties(device: int) -> dict[str, object]:
    return {"name": b"stand-in", "uuid": f"gpu {ground.visible()[device]}".encode()}


def deviceGetPCIBusId(device: int) -> str:
    return f"0000:{ground.visible()[device]:>02}:00.0"


def memGetInfo() -> tuple[int, int]:
    gpu = ground.visible()[_current.device]
    return ground.BYTES - ground.used(gpu), ground.BYTES


def malloc(size: int) -> int:
    _check_process()
    with _lock:
        if memGetInfo()[0] < size:
            raise CUDARuntimeError(2, "cudaErrorMemoryAllocation")
        name = f"memory-{ground.visible()[_current.device]}-{_pid}-{next(_serials)}"
        address, mapping = _map(name, size, create=True)
        _own[address] = name, mapping
        return address


def free(address: int) -> None:
    _check_process()
    name, mapping = _own.pop(address)
    for pid in ground.openers(name):
        ground.append("violations", f"{name} is freed while {pid} has it mapped")
    os.unlink(ground.PLACE / name)
    ctypes.memset(address, 0xEE, len(mapping))
    _leaked.append(mapping)


def _map(name: str, size: int, *, create: bool = False) -> tuple[int, mmap.mmap]:
    fd = os.open(ground.PLACE / name, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0), 0o600)
    try:
        if create:
            os.ftruncate(fd, size)
        mapping = mmap.mmap(fd, os.fstat(fd).st_size)
    finally:
        os.close(fd)
    return ctypes.addressof(ctypes.c_char.from_buffer(mapping)), mapping


def ipcGetMemHandle(address: int) -> bytes:
    _check_process()
    if os.environ.get("STAND_IN_HANDLES") == "0":
        ground.note("no handle here")
        raise CUDARuntimeError(801, "cudaErrorNotSupported")
    if address not in _own:
        raise CUDARuntimeError(1, "cudaErrorInvalidValue")
    return _own[address][0].encode().ljust(64, b"\0")


def ipcOpenMemHandle(handle: bytes, flags: int = 1) -> int:
    _check_process()
    assert len(handle) == 64
    name = handle.rstrip(b"\0").decode()
    _, gpu, pid, _serial = name.split("-")
    if os.environ.get("STAND_IN_OPEN") == "0":
        ground.note("not permitted here")
        raise CUDARuntimeError(304, "cudaErrorOperatingSystem")
    if int(pid) == _pid or gpu != ground.visible()[_current.device] or not ground.lives(pid):
        raise CUDARuntimeError(400, "cudaErrorInvalidResourceHandle")
    mark = ground.PLACE / f"open-{name.removeprefix('memory-')}-{_pid}-{next(_serials)}"
    mark.touch()  # first: whoever frees it meanwhile has done so under a reader
    try:
        address, mapping = _map(name, 0)
    except FileNotFoundError:
        mark.unlink()
        raise CUDARuntimeError(400, "cudaErrorInvalidResourceHandle") from None
    ground.note(f"opened {name}")
    _opened[address] = mark.name, mapping
    if os.environ.get("STAND_IN_DIE") == "when opened" and not (ground.PLACE / "died").exists():
        (ground.PLACE / "died").touch()  # once is enough
        os.kill(_pid, 9)
    return address


def ipcCloseMemHandle(address: int) -> None:
    mark, mapping = _opened.pop(address)
    _leaked.append(mapping)
    os.unlink(ground.PLACE / mark)
