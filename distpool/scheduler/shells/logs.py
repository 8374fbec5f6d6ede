"""What the processes of a node print, where nobody has a terminal: a file for each worker, and one for the agent.

::

    worker N ── stdout ──► worker-N.log ◄─┬─ a part of both, as of one file, from an offset on ── Inquire "logs"
             ── stderr ──► worker-N.err ◄─┘
    a job ── the same ───────────► job-....log
    agent, nursery ──────────────► log          ◄── ``tidy``: what is old goes, offsets stay

Together they take ``TOTAL_BYTES_MAX`` at most: the oldest part of a file that is too long is punched out of it, so
what is left keeps its offsets, and whoever follows it loses nothing that he has not read for long. Logs of workers that
have ended are kept for a while; all of them go with the node. Where a program has started the node for itself, its
workers print to that program's terminal, and there are no logs. (How it comes to the program from here: ``prints``.)

A worker's two files are shown as one: what was in them at one look comes before what came later (``Order``).
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterable, Mapping

import msgspec

from distpool.scheduler.cores.printing import STDERR, STDOUT, Order
from distpool.scheduler.messages import Printed
from distpool.scheduler.messages.insights import LogFacts, LogList, LogPart, LogWanted, pack

__all__ = ["Logs", "first_data", "path_of", "stderr_path_of"]

TOTAL_BYTES_MAX = 64 << 20
ONE_BYTES_MIN = 256 << 10
#: Workers that have ended whose logs are kept, if they have printed anything.
ENDED_MAX = 64
PART_BYTES_MAX = 256 << 10
#: How often the sizes are looked at.
TIDY_S = 5.0
#: How often it is looked whether a worker prints that does not see it itself: while a task runs, or between two.
GROWS_S = 0.25
#: Of the log of one that has ended its owner gets so much, for what was not sent any more.
LAST_BYTES = 32 << 10


class Logs:
    """Those of one node; its agent's. ``driver_pid``: whose terminal has what is printed, 0 if nobody's."""

    def __init__(self, directory: str, driver_pid: int) -> None:
        self._directory = directory
        self._driver_pid = driver_pid
        self._ended: dict[int, int] = {}  # worker -> pid, the latest last
        self._jobs: dict[str, bool] = {}  # job -> whether it runs
        self._orders: dict[int, Order] = {}  # of workers, also those that have ended

    def grown(self, workers: Iterable[int]) -> list[int]:
        """Which of these have printed since this was last asked."""
        before = {worker: self._order(worker).size for worker in workers}
        return [worker for worker, size in before.items() if self._see(worker).size > size]

    def _order(self, worker: int) -> Order:
        order = self._orders.get(worker)
        if order is None:
            order = self._orders[worker] = Order()
        return order

    def _see(self, worker: int) -> Order:
        """The order of a worker's files as they are now."""
        order = self._order(worker)
        order.see(*map(_size, self._paths(worker)))
        return order

    def _paths(self, worker: int) -> tuple[str, str]:
        return path_of(self._directory, worker), stderr_path_of(self._directory, worker)

    def last_printed(self, worker: int) -> tuple[Printed, ...]:
        """The ends of its files, if there are any."""
        found = []
        for stream, path in zip((STDOUT, STDERR), self._paths(worker), strict=True):
            try:
                with open(path, "rb") as file:
                    end = os.fstat(file.fileno()).st_size
                    file.seek(first_data(file.fileno(), max(0, end - LAST_BYTES), end))
                    start = file.tell()
                    if data := file.read(end - start):
                        found.append(Printed(stream, start + len(data), data))
            except OSError:
                continue
        return tuple(found)

    def bury(self, worker: int, pid: int) -> None:
        """A worker has ended. Its log stays if there is anything in it."""
        if self._driver_pid:
            return
        if not self._see(worker).size:
            self._remove(worker)
            return
        self._ended[worker] = pid
        if len(self._ended) > ENDED_MAX:
            oldest = next(iter(self._ended))
            del self._ended[oldest]
            self._remove(oldest)

    def _remove(self, worker: int) -> None:
        del self._orders[worker]
        for path in self._paths(worker):
            try:
                os.unlink(path)
            except FileNotFoundError:
                pass

    def open_job(self, job: str) -> str:
        """Where a job's output goes, which is about to begin."""
        self._jobs[job] = True
        return path_of(self._directory, job)

    def close_job(self, job: str) -> None:
        """A job has ended; its log stays, with those of some others."""
        self._jobs[job] = False
        ended = [name for name, runs in self._jobs.items() if not runs]
        for oldest in ended[:-ENDED_MAX]:
            del self._jobs[oldest]
            os.unlink(path_of(self._directory, oldest))

    def tidy(self, living: Mapping[int, int]) -> None:
        """Keep all of them together small."""
        paths = [path_of(self._directory, 0), *[path_of(self._directory, job) for job in self._jobs]]
        paths += [path for worker in (*living, *self._ended) for path in self._paths(worker)]
        most = max(ONE_BYTES_MIN, TOTAL_BYTES_MAX // len(paths))
        for path in paths:
            _shorten(path, most)

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
        logs = [LogFacts(0, os.getpid(), _size(path_of(self._directory, 0)), False)]
        for pids, ended in ((self._ended, True), (living, False)):
            for worker, pid in pids.items():
                order = self._order(worker) if ended else self._see(worker)
                logs.append(LogFacts(worker, pid, order.size, ended))
        return LogList(tuple(logs))

    def _part(self, wanted: LogWanted, living: Mapping[int, int]) -> LogPart:
        if wanted.job and wanted.job not in self._jobs:
            why = "it has not begun, has ended too long ago, or has run before this node was started again"
            return LogPart(0, b"", 0, True, f"there is no log of {wanted.job} here: {why}")
        if wanted.worker and not wanted.job:
            return self._part_of_both(wanted, ended=wanted.worker not in living)
        try:
            with open(path_of(self._directory, wanted.job or 0), "rb") as file:
                size = os.fstat(file.fileno()).st_size
                start, most = _bounds(wanted, size)
                start = first_data(file.fileno(), start, size)
                file.seek(start)
                return LogPart(start, file.read(most), size, wanted.job != "" and not self._jobs[wanted.job])
        except OSError:
            whose = wanted.job or "the node's agent"
            return LogPart(0, b"", 0, False, f"there is no log of {whose}: there is no such file")

    def _part_of_both(self, wanted: LogWanted, *, ended: bool) -> LogPart:
        """Of a worker's two files, as of one."""
        paths = self._paths(wanted.worker)
        order = self._orders.get(wanted.worker)
        if order is None:  # not looked at yet; or nobody's
            if not any(map(os.path.exists, paths)):
                why = (
                    "it has printed nothing, or has ended too long ago" if ended else "there is no such file"
                )
                return LogPart(0, b"", 0, ended, f"there is no log of worker {wanted.worker}: {why}")
            order = self._order(wanted.worker)
        if not ended:
            order.see(*map(_size, paths))
        start, most = _bounds(wanted, order.size)
        data = b""
        for offset, (stream, first, last) in order.pieces(start):
            found, text = _read(paths[stream - 1], first, last, most - len(data))
            if data and (found > first or not text):
                break  # something was removed, which is for the next part to show
            if text and not data:
                start = offset + found - first
            data += text
            if len(data) >= most or (text and found + len(text) < last):
                break
        return LogPart(start, data, order.size, ended)


def _bounds(wanted: LogWanted, size: int) -> tuple[int, int]:
    """Where the part that is wanted begins, and how long it may be."""
    most = min(wanted.bytes, PART_BYTES_MAX)
    return max(0, size - most) if not 0 <= wanted.offset <= size else wanted.offset, most


def _read(path: str, first: int, last: int, most: int) -> tuple[int, bytes]:
    """What is left of [first, last) in this file, at most so much of it, and where that begins."""
    try:
        with open(path, "rb") as file:
            found = min(first_data(file.fileno(), first, last), last)
            return found, os.pread(file.fileno(), min(most, last - found), found)
    except OSError:
        return first, b""


def stderr_path_of(directory: str, worker: int) -> str:
    """Where a worker's stderr goes."""
    return f"{directory}/worker-{worker}.err"


def path_of(directory: str, whose: int | str) -> str:
    """That of a worker's log, or a job's; 0: the agent's."""
    if isinstance(whose, str):
        return f"{directory}/{whose}.log"
    return f"{directory}/worker-{whose}.log" if whose else f"{directory}/log"


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def first_data(fd: int, offset: int, size: int) -> int:
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
