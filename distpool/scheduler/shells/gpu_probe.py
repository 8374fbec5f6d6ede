"""A process that asks NVML about the GPUs of this machine, while somebody wants to know.

::

    agent ── a line on stdin ──► list all that NVML has ──► a Listing, as a JSON line on stdout
                                      └─ nobody asks for ``IDLE_S``, the agent is gone, nothing works ──► it ends

It is a process of its own since the driver may take seconds, hang, or take its caller down with it; and since a library
that was loaded before an update of the driver never works again. Whatever goes wrong is told, and not printed. Not
here: who asks, and how long that one waits (``gpu_watch``).
"""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable
from typing import Any

import msgspec

from distpool.scheduler.shells.gpu_inventory import Gpu, Listing

#: After so long without a question there is nobody who looks.
IDLE_S = 15.0


def main(ask_fd: int = 0, tell_fd: int = 1) -> int:
    """Answer until nobody asks; the exit status."""
    try:
        import pynvml

        pynvml.nvmlInit()
        handles = _handles(pynvml)
    except Exception as error:  # of NVML, or of loading it
        select.select([ask_fd], [], [], IDLE_S)
        _tell(tell_fd, Listing(trouble=_words(error)))
        return 1
    while select.select([ask_fd], [], [], IDLE_S)[0] and os.read(ask_fd, 1 << 10):
        listing = Listing(tuple(_read(pynvml, handle) for handle in handles))
        if handles and not any(gpu.uuid for gpu in listing.gpus):
            # The driver was reset, say: another process can find out what there is now.
            _tell(tell_fd, Listing(trouble="no GPU answers any more"))
            return 1
        _tell(tell_fd, listing)
    return 0


def _handles(nvml: Any) -> list[Any]:
    """Of those that this process may use: that is whom CUDA counts."""
    count = nvml.nvmlDeviceGetCount()
    found = [_or_none(nvml, nvml.nvmlDeviceGetHandleByIndex, number) for number in range(count)]
    return [handle for handle in found if handle is not None]


def _read(nvml: Any, handle: Any, *, whole: bool = True) -> Gpu:
    """One GPU, or one instance; what is not to be had is None, and without a UUID it is not there any more."""
    memory = _or_none(nvml, nvml.nvmlDeviceGetMemoryInfo, handle)
    rates = _or_none(nvml, nvml.nvmlDeviceGetUtilizationRates, handle) if whole else None
    return Gpu(
        _text(_or_none(nvml, nvml.nvmlDeviceGetUUID, handle)),
        _text(_or_none(nvml, nvml.nvmlDeviceGetName, handle)),
        None if memory is None else int(memory.total),
        None if memory is None else int(memory.used),
        None if rates is None else rates.gpu / 100,
        _parts(nvml, handle) if whole else None,
    )


def _parts(nvml: Any, handle: Any) -> tuple[Gpu, ...] | None:
    """The instances that it is divided into (MIG); None: it is whole."""
    mode = _or_none(nvml, nvml.nvmlDeviceGetMigMode, handle)
    if not mode or not mode[0]:
        return None
    most = _or_none(nvml, nvml.nvmlDeviceGetMaxMigDeviceCount, handle) or 0
    get = nvml.nvmlDeviceGetMigDeviceHandleByIndex
    parts = [_or_none(nvml, get, handle, number) for number in range(most)]
    return tuple(_read(nvml, part, whole=False) for part in parts if part is not None)


def _or_none(nvml: Any, ask: Callable[..., Any], *about: Any) -> Any:
    try:
        return ask(*about)
    except nvml.NVMLError:  # not supported there, not permitted, or the GPU is lost
        return None


def _text(value: str | bytes | None) -> str:
    """Older releases of the module have bytes."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value or ""


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:500]


def _tell(fd: int, listing: Listing) -> None:
    line = msgspec.json.encode(listing) + b"\n"
    try:
        while line:
            line = line[os.write(fd, line) :]
    except BrokenPipeError:
        pass  # the agent is gone


if __name__ == "__main__":
    # What a library prints must not come between the answers: they have a descriptor of their own.
    answers = os.dup(1)
    os.dup2(2, 1)
    sys.exit(main(0, answers))
