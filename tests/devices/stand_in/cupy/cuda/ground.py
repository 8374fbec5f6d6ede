"""What all processes of a test share: a directory in which devices' memory is files, and an account of what was done.

::

    memory-GPU-PID-N            an allocation; it counts while that process lives
    open-GPU-PID-N-PID-N        a mapping of it by another process
    notes, violations           lines that anybody appends

Variables: ``STAND_IN`` (the directory; without it there is no device), ``STAND_IN_BYTES`` (each device's memory),
``STAND_IN_HANDLES=0`` (there can be none), ``STAND_IN_OPEN=0`` (nobody may open one), ``CUDA_VISIBLE_DEVICES``.
"""

from __future__ import annotations

import os
from pathlib import Path

PLACE = Path(os.environ["STAND_IN"])
BYTES = int(os.environ.get("STAND_IN_BYTES", 256 << 20))


def visible() -> list[str]:
    """The names of the devices that this process sees, in its order."""
    return [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "0,1").split(",") if name]


def note(what: str) -> None:
    append("notes", what)


def append(file: str, what: str) -> None:
    fd = os.open(PLACE / file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC)
    try:
        os.write(fd, f"{os.getpid()} {what}\n".encode())
    finally:
        os.close(fd)


def lives(pid: str | int) -> bool:
    """Whether a process is there, and is no corpse."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def allocations(gpu: str, place: Path = PLACE) -> list[Path]:
    return [file for file in place.glob(f"memory-{gpu}-*") if lives(file.name.split("-")[2])]


def used(gpu: str, place: Path = PLACE) -> int:
    """How many bytes of a device's memory living processes have."""
    size = 0
    for file in allocations(gpu, place):
        try:
            size += file.stat().st_size
        except FileNotFoundError:
            pass  # freed just now
    return size


def openers(name: str, place: Path = PLACE) -> list[str]:
    """The processes that have mapped the allocation called ``name``, and live."""
    opened = [file.name.split("-")[4] for file in place.glob(f"open-{name.removeprefix('memory-')}-*")]
    return [pid for pid in opened if lives(pid)]
