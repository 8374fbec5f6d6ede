"""What the processes of a node print, where nobody has a terminal: a file for each worker, and one for the agent.

::

    worker N ── stdout, stderr ──► worker-N.log ◄── a part of it, from an offset on ── Inquire "logs"
    agent, nursery ──────────────► log          ◄── ``tidy``: what is old goes, offsets stay

Together they take ``TOTAL_BYTES_MAX`` at most: the oldest part of a file that is too long is punched out of it, so
what is left keeps its offsets, and whoever follows it loses nothing that he has not read for long. Logs of workers that
have ended are kept for a while; all of them go with the node. Where a program has started the node for itself, its
workers print to that program's terminal, and there are no logs.
"""

from __future__ import annotations

import mmap
import os
import sys
from collections.abc import Mapping

import msgspec

from distpool.scheduler.messages.insights import LogFacts, LogList, LogPart, LogWanted, pack

__all__ = ["Logs", "divert"]

TOTAL_BYTES_MAX = 64 << 20
ONE_BYTES_MIN = 256 << 10
#: Workers that have ended whose logs are kept, if they have printed anything.
ENDED_MAX = 64
PART_BYTES_MAX = 256 << 10
#: How often the sizes are looked at.
TIDY_S = 5.0


def divert(directory: str, worker: int) -> None:
    """In a new worker: what it prints goes to its own log from now on, line by line."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    try:
        fd = os.open(_path(directory, worker), flags, 0o600)
    except OSError:
        return  # the session has ended meanwhile; or the disk is full, and it prints where its agent does
    for stream in (1, 2):
        os.dup2(fd, stream)
    os.close(fd)
    for text in (sys.stdout, sys.stderr):
        text.reconfigure(line_buffering=True)  # type: ignore[union-attr]


class Logs:
    """Those of one node; its agent's. ``driver_pid``: whose terminal has what is printed, 0 if nobody's."""

    def __init__(self, directory: str, driver_pid: int) -> None:
        self._directory = directory
        self._driver_pid = driver_pid
        self._ended: dict[int, int] = {}  # worker -> pid, the latest last

    def bury(self, worker: int, pid: int) -> None:
        """A worker has ended. Its log stays if there is anything in it."""
        if self._driver_pid:
            return
        path = _path(self._directory, worker)
        try:
            if not os.stat(path).st_size:
                os.unlink(path)
                return
        except OSError:
            return
        self._ended[worker] = pid
        if len(self._ended) > ENDED_MAX:
            oldest = next(iter(self._ended))
            del self._ended[oldest]
            os.unlink(_path(self._directory, oldest))

    def tidy(self, living: Mapping[int, int]) -> None:
        """Keep all of them together small."""
        workers = [0, *living, *self._ended]
        most = max(ONE_BYTES_MIN, TOTAL_BYTES_MAX // len(workers))
        for worker in workers:
            _shorten(_path(self._directory, worker), most)

    def answer(self, about: str, living: Mapping[int, int]) -> bytes:
        """To a question: the list for "", else a part of one (``LogWanted``, as JSON)."""
        if not about:
            return pack(self._list(living))
        try:
            wanted = msgspec.json.decode(about, type=LogWanted)
        except msgspec.DecodeError:
            return pack(LogPart(0, b"", 0, True, "this node does not understand which log is wanted"))
        return pack(self._part(wanted, living))

    def _list(self, living: Mapping[int, int]) -> LogList:
        if self._driver_pid:
            return LogList((), self._driver_pid)
        logs = [LogFacts(0, os.getpid(), _size(_path(self._directory, 0)), False)]
        for pids, ended in ((self._ended, True), (living, False)):
            for worker, pid in pids.items():
                logs.append(LogFacts(worker, pid, _size(_path(self._directory, worker)), ended))
        return LogList(tuple(logs))

    def _part(self, wanted: LogWanted, living: Mapping[int, int]) -> LogPart:
        ended = wanted.worker != 0 and wanted.worker not in living
        try:
            with open(_path(self._directory, wanted.worker), "rb") as file:
                size = os.fstat(file.fileno()).st_size
                most = min(wanted.bytes, PART_BYTES_MAX)
                start = max(0, size - most) if not 0 <= wanted.offset <= size else wanted.offset
                start = _first_data(file.fileno(), start, size)
                file.seek(start)
                return LogPart(start, file.read(most), size, ended)
        except OSError:
            why = "it has printed nothing, or has ended too long ago" if ended else "there is no such file"
            return LogPart(0, b"", 0, ended, f"there is no log of worker {wanted.worker}: {why}")


def _path(directory: str, worker: int) -> str:
    return f"{directory}/worker-{worker}.log" if worker else f"{directory}/log"


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _first_data(fd: int, offset: int, size: int) -> int:
    """Where something is left, from this offset on."""
    if offset >= size or not hasattr(os, "SEEK_DATA"):
        return offset
    try:
        return os.lseek(fd, offset, os.SEEK_DATA)
    except OSError:
        return offset


def _shorten(path: str, most: int) -> None:
    """Punch out the older part, and leave half of what it may be."""
    try:
        facts = os.stat(path)
        if facts.st_blocks * 512 <= most or facts.st_size <= most:
            return
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return
    try:
        end = (facts.st_size - most // 2) // mmap.PAGESIZE * mmap.PAGESIZE
        try:
            with mmap.mmap(fd, end) as mapping:
                mapping.madvise(mmap.MADV_REMOVE)
        except (OSError, AttributeError):  # this file system has no holes, or this one no such call
            os.ftruncate(fd, 0)
    finally:
        os.close(fd)
