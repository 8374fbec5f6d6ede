"""The files of a node's store: made once, by whoever starts the node; every other process inherits the descriptors.

None of them has a name, so none can be left behind: the kernel removes them with the last process that has them open or
mapped. Both tiers are sparse; what is not used takes no space.
"""

from __future__ import annotations

import mmap
import os
import resource
import shutil
import tempfile
from collections.abc import Mapping

import msgspec

from distpool.errors import StoreError
from distpool.scheduler.store.ledger import DISK, MEMORY, Ledger, Shape
from distpool.scheduler.store.ledger_table import SERIAL_BITS

#: Of the memory that this process may use.
MEMORY_SHARE = 0.3
#: Of the free disk space.
DISK_SHARE = 0.5
#: Blocks are at least so large, and so many at most: a search looks at a byte for each.
BLOCK_BYTES_MIN = 16 << 10
BLOCKS_MAX = 1 << 18
SIZE_BYTES_MIN = 1 << 20

_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


class StoreFiles(msgspec.Struct, frozen=True):
    """Descriptors, valid in every process of the node. ``spill_directory`` is for messages to people."""

    ledger_fd: int
    memory_fd: int
    disk_fd: int
    spill_directory: str

    @property
    def fds(self) -> tuple[int, int, int]:
        """All of them, to be passed on."""
        return self.ledger_fd, self.memory_fd, self.disk_fd


def create(environment: Mapping[str, str] = os.environ, *, store: int = 0) -> StoreFiles | None:
    """Make the files of a new store, number ``store`` of its cluster, as large as the environment says.

    ``DISTPOOL_STORE_MEMORY`` (default: 30 % of the memory that this process may use), ``DISTPOOL_SPILL_LIMIT``
    (default: half of the free disk space) and ``DISTPOOL_SPILL_DIR`` (default: TMPDIR or /var/tmp, on a real disk if
    one has it).

    Returns:
        None where the limits of this process (``ulimit``) leave no room: everything then travels in messages.

    Raises:
        StoreError: a value that is not a size, or a directory that cannot be written to.
    """
    directory = disk_directory(environment)
    memory_bytes = size_setting(environment, "DISTPOOL_STORE_MEMORY")
    if memory_bytes is None:
        memory_bytes = int(usable_memory_bytes() * MEMORY_SHARE)
    disk_bytes = size_setting(environment, "DISTPOOL_SPILL_LIMIT")
    if disk_bytes is None:
        disk_bytes = int(_free_disk_bytes(directory) * DISK_SHARE)
    disk_bytes = min(disk_bytes, _file_bytes_max())
    tiers = [_blocks(memory_bytes), _blocks(disk_bytes)]
    shape = Shape((tiers[MEMORY][0], tiers[DISK][0]), (tiers[MEMORY][1], tiers[DISK][1]))
    if shape.bytes > _file_bytes_max():
        return None
    ledger_fd = _memory_file("distpool-ledger", shape.bytes)
    serial = int.from_bytes(os.urandom(3), "big")  # so that no number of another session means anything here
    Ledger.create(memoryview(mmap.mmap(ledger_fd, shape.bytes)), shape, store << SERIAL_BITS | serial)
    memory_fd = _memory_file("distpool-store", shape.blocks[MEMORY] * shape.block_bytes[MEMORY])
    disk_fd = _nameless_file(directory, shape.blocks[DISK] * shape.block_bytes[DISK])
    return StoreFiles(ledger_fd, memory_fd, disk_fd, directory)


def _blocks(size: int) -> tuple[int, int]:
    """How many blocks, and how large ones, make up about ``size`` bytes."""
    block_bytes = max(BLOCK_BYTES_MIN, mmap.ALLOCATIONGRANULARITY)
    while size // block_bytes > BLOCKS_MAX:
        block_bytes *= 2
    return max(1, size // block_bytes), block_bytes


def size_setting(environment: Mapping[str, str], name: str) -> int | None:
    """The size in bytes that a variable says, None if it says nothing. Raises StoreError if that is no size."""
    text = environment.get(name, "").strip()
    if not text:
        return None
    number = text.lower().removesuffix("ib").removesuffix("b")
    unit = number[-1:] if number[-1:] in _UNITS else ""
    try:
        size = int(float(number.removesuffix(unit)) * _UNITS[unit])
    except (ValueError, OverflowError):
        size = -1
    if size < 0:
        raise StoreError(f"{name} must be a size such as 500MB or 2G, not {text!r}")
    return max(size, SIZE_BYTES_MIN)


def show_size(size: float) -> str:
    """A number of bytes, for people: the other way round from what the settings are."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            break
        size /= 1024
    return f"{size:,.0f} {unit}" if unit == "B" or size == int(size) else f"{size:,.1f} {unit}"


def _memory_file(name: str, size: int) -> int:
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create(name)
    else:
        fd = _nameless_file(tempfile.gettempdir(), size)  # no memfd outside Linux
    os.ftruncate(fd, size)
    return fd


def _nameless_file(directory: str, size: int) -> int:
    try:
        fd = -1
        if hasattr(os, "O_TMPFILE"):
            try:
                fd = os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
            except OSError:  # not every file system can
                pass
        if fd < 0:
            fd, path = tempfile.mkstemp(prefix="distpool-spill-", dir=directory)
            os.unlink(path)
        os.ftruncate(fd, size)
    except OSError as error:
        raise StoreError(
            f"no file for objects that do not fit into memory can be made in {directory!r}: {error}; "
            "set DISTPOOL_SPILL_DIR to a directory on a disk"
        ) from error
    return fd


def disk_directory(environment: Mapping[str, str]) -> str:
    """The one that is set, or the first directory for temporary files that is not itself made of memory."""
    if directory := environment.get("DISTPOOL_SPILL_DIR"):
        return directory
    candidates = [environment.get("TMPDIR", ""), "/var/tmp", "/tmp", tempfile.gettempdir()]
    usable = [
        path for path in candidates if path and os.path.isdir(path) and os.access(path, os.W_OK | os.X_OK)
    ]
    on_disk = [path for path in usable if not _is_memory_file_system(path)]
    return (on_disk or usable or candidates[-1:])[0]


def _is_memory_file_system(path: str) -> bool:
    """Whether a path lies on a tmpfs: the mount with the longest matching prefix decides."""
    path = os.path.realpath(path)
    best, kind = "", ""
    try:
        with open("/proc/self/mounts") as mounts:
            for line in mounts:
                _, point, type_, *_ = line.split(" ")
                point = point.replace("\\040", " ")
                inside = path == point or path.startswith(point.rstrip("/") + "/")
                if inside and len(point) >= len(best):
                    best, kind = point, type_
    except OSError:
        return False
    return kind in ("tmpfs", "ramfs")


def _file_bytes_max() -> int:
    """How long a file of this process may be (``ulimit -f``)."""
    soft, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    return 1 << 62 if soft == resource.RLIM_INFINITY else soft


def _free_disk_bytes(directory: str) -> int:
    try:
        return shutil.disk_usage(directory).free
    except OSError:
        return SIZE_BYTES_MIN


def usable_memory_bytes() -> int:
    """The memory that this process may use: the machine's, or less where its ``ulimit`` or control group says so."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in (resource.RLIMIT_AS, resource.RLIMIT_DATA, resource.RLIMIT_FSIZE):
        soft, _ = resource.getrlimit(limit)
        if soft != resource.RLIM_INFINITY:
            total = min(total, soft)
    for path in _limit_files():
        try:
            with open(path) as file:
                total = min(total, int(file.read()))
        except (OSError, ValueError):  # not there, or "max"
            continue
    return total


def _limit_files() -> list[str]:
    """Where limits of this process's control group, and of those above it, may be written."""
    files = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
    try:
        with open("/proc/self/cgroup") as file:
            for line in file:
                _, controllers, path = line.rstrip("\n").split(":", 2)
                root, name = ("/sys/fs/cgroup", "memory.max")
                if "memory" in controllers.split(","):
                    root, name = ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
                elif controllers:
                    continue
                parts = path.strip("/").split("/")
                files += [
                    os.path.join(root, *parts[:count], name)
                    for count in range(1, len(parts) + 1)
                    if path != "/"
                ]
    except OSError:
        pass
    return files
