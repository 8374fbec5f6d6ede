"""What a worker prints, where its program does not see it: into files of the worker's own, and from there to its owner.

::

    task, its threads ── sys.stdout, sys.stderr ─┐   ┌─► worker-N.log ─┐            ┌── ``Outbox``, with log records and
    C libraries, child processes ── fd 1, fd 2 ──┴───┴─► worker-N.err ─┴─ ``look`` ─┘   warnings, before the result
                                                               ▲
                         the agent sees that they grow, and says so to the second thread (``LogGrows``)

Printing is writing to a file: it waits for nobody, and what was written before a death is there. Who sends reads from
the files what the owner has room for, so nothing is kept in memory, however slow that is. Python's own streams note
when one goes on after the other: so their lines are in order; between what C libraries and child processes print by
both, stdout comes first.

Not here: bounds of the files, and reading them for people (``logs``); what the program does with it (``show``).
"""

from __future__ import annotations

import io
import os
import pickle
import sys
import threading
from collections import deque
from typing import Any

from distpool.scheduler.cores.printing import STDERR, STDOUT, Cut, Meter, interleave
from distpool.scheduler.limits import DEFAULTS, Limits
from distpool.scheduler.shells.logs import first_data, path_of, stderr_path_of

__all__ = ["FRAME_BYTES", "Log", "Prints", "Text", "divert"]

#: Changes between Python's own streams that are remembered until they are sent.
CUTS_MAX = 4096
#: One frame holds about so much.
FRAME_BYTES = 64 << 10


class Log:
    """A worker's two open files."""

    def __init__(self, directory: str, worker: int) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self.cuts: deque[Cut] = deque(maxlen=CUTS_MAX)
        self.latest = STDOUT  # by which of Python's own streams something was printed last
        self.stdout_fd = os.open(path_of(directory, worker), flags, 0o600)
        try:
            self.stderr_fd = os.open(stderr_path_of(directory, worker), flags, 0o600)
        except OSError:
            os.close(self.stdout_fd)
            raise

    def sizes(self) -> Cut:
        """How long they are. (A position means nothing to who appends.)"""
        return os.lseek(self.stdout_fd, 0, os.SEEK_END), os.lseek(self.stderr_fd, 0, os.SEEK_END)

    def become_streams(self) -> None:
        """Have all that this process and its children print go there, line by line."""
        for stream, fd, name in ((STDOUT, self.stdout_fd, "stdout"), (STDERR, self.stderr_fd, "stderr")):
            before = getattr(sys, name)
            before.flush()
            os.dup2(fd, stream)
            text = Text(stream, stream, self, before)
            setattr(sys, name, text)
            setattr(sys, f"__{name}__", text)


class Text(io.TextIOWrapper):
    """One of Python's own streams; notes how far the other has come when it goes on itself.

    What it writes with is C's: an interrupt between a write and the word that it is done would have it write again.
    """

    def __init__(self, stream: int, fd: int, log: Log, like: Any) -> None:
        raw = io.FileIO(fd, "w", closefd=False)
        raw.name = like.name
        super().__init__(io.BufferedWriter(raw), like.encoding, like.errors, line_buffering=True)
        self.mode = "w"  # type: ignore[misc]
        self._stream, self._log = stream, log

    def write(self, text: str) -> int:
        """As any text stream's."""
        log = self._log
        if log.latest != self._stream:
            log.latest = self._stream
            log.cuts.append(log.sizes())
        return super().write(text)


def divert(directory: str, worker: int) -> Log | None:
    """In a new worker: what it prints goes to files of its own from now on.

    None: the session has ended meanwhile; or the disk is full, and it prints where its agent does.
    """
    try:
        log = Log(directory, worker)
    except OSError:
        return None
    log.become_streams()
    return log


class _File:
    """One of the files: how far it has been sent."""

    def __init__(self, stream: int, fd: int) -> None:
        self.stream, self.fd = stream, fd
        self.sent = 0  # all before it has been sent, or withheld
        self.end = 0
        self.held_end = -1  # where it ended when part of a line was kept back
        self.withheld_from = -1  # from there to ``sent`` it was withheld, and that has not been said

    def see(self, end: int) -> int:
        """So long it is; how much is to be sent. What was too long has lost its beginning."""
        self.end = end
        self.skip_to(min(first_data(self.fd, self.sent, end), end))
        self.sent = min(self.sent, end)  # somebody may have truncated it
        return end - self.sent

    def skip_to(self, offset: int) -> None:
        """Withhold what comes before it."""
        if offset > self.sent:
            if self.withheld_from < 0:
                self.withheld_from = self.sent
            self.sent = offset

    def read(self, most: int, *, whole: bool) -> bytes:
        """What is to go next; whole lines, unless there are none."""
        count = min(most, self.end - self.sent)
        data = os.pread(self.fd, count, self.sent) if count else b""
        lines = data[: data.rfind(b"\n") + 1]
        if self.sent + len(data) < self.end:
            return lines or data
        if not whole and self.held_end != self.end and len(lines) < len(data):
            self.held_end = self.end
            return lines
        self.held_end = -1
        return data


class Prints:
    """What of a log its owner has not been sent. For one thread at a time, who has ``lock``."""

    def __init__(self, log: Log, limits: Limits = DEFAULTS) -> None:
        self.lock = threading.Lock()
        self.more = False  # there is more, for which the owner had no room
        self._log = log
        self._files = _File(STDOUT, log.stdout_fd), _File(STDERR, log.stderr_fd)
        self._meter = Meter(limits)

    @property
    def has_grown(self) -> bool:
        """Whether something was printed that has not been sent."""
        out, err = self._files
        return self._log.sizes() != (out.sent, err.sent)

    @property
    def owes(self) -> bool:
        """Whether there is something to say a little later, though nothing more may be printed."""
        return any(file.held_end >= 0 or file.withheld_from >= 0 for file in self._files)

    def look(self, room_bytes: float, now: float, *, whole: bool, last: bool = False) -> list[bytes]:
        """Frames for the owner, of about ``room_bytes`` at most.

        ``whole``: with a line that is not finished, which else may wait for the next look. ``last``: there will be no
        other.
        """
        files = self._files
        ends = self._log.sizes()
        pending = sum([file.see(end) for file, end in zip(files, ends, strict=True)])
        allowed = self._meter.allow(now)
        frames = self._say_withheld() if allowed else []
        left = count = int(min(pending, allowed, max(0.0, room_bytes)))
        texts = []
        for file in files:
            texts.append(file.read(left, whole=whole))
            left -= len(texts[-1])
        frames += self._frames(texts)
        self._meter.spend(sum(map(len, texts)))
        if count == allowed < pending:
            self._meter.close()
            for file in files:
                file.skip_to(file.end)
                file.held_end = -1
        self.more = count < pending and any(file.sent < file.end for file in files)
        if last:
            frames += self._say_withheld()
        return frames

    def _frames(self, texts: list[bytes]) -> list[bytes]:
        """What is to go of each file, in order."""
        starts = [file.sent for file in self._files]
        for file, text in zip(self._files, texts, strict=True):
            file.sent += len(text)
        out, err = self._files
        frames: list[bytes] = []
        for stream, first, last in interleave(
            (starts[0], starts[1]), list(self._log.cuts), (out.sent, err.sent)
        ):
            start = starts[stream - 1]
            text = texts[stream - 1][first - start : last - start]
            while text:
                size = text.rfind(b"\n", 0, FRAME_BYTES) + 1 or FRAME_BYTES
                frames.append(pickle.dumps(("prints", "", stream, first, text[:size]), 5))
                text, first = text[size:], first + size
        cuts = self._log.cuts
        while cuts and cuts[0][0] <= out.sent and cuts[0][1] <= err.sent:
            cuts.popleft()
        return frames

    def _say_withheld(self) -> list[bytes]:
        parts = []
        for file in self._files:
            if file.withheld_from >= 0:
                parts.append((file.stream, file.withheld_from, file.sent))
                file.withheld_from = -1
        return [pickle.dumps(("withheld", "", parts), 5)] if parts else []
