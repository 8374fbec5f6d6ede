"""How progress looks: in a terminal, in a notebook, in a log. Drawn on a thread of its own, and never waited for.

::

    bar_for(options) ─┬─ notebook ─► Tqdm (its notebook variant), if tqdm and ipywidgets are there, else Line
                      ├─ terminal ─► Tqdm, if it is there (``pip install distpool[progress]``), else Line
                      └─ any other ► Log: a line at every tenth, but not more often than every two seconds
                                      │
    Outlet: the stream's descriptor, written to only while it has room ◄┘

Nobody may be reading the other end of stderr; the stream may be closed, or raise. So what is drawn goes to a copy of
the descriptor, past the stream's own lock, which the program needs itself and the interpreter at its end; and what
there is no room for is left out.
"""

from __future__ import annotations

import fcntl
import importlib
import importlib.util
import io
import os
import select
import sys
import threading
from dataclasses import dataclass
from typing import Any, Protocol

__all__ = ["Bar", "Options", "Reading", "bar_for"]

#: A log gets a line at every tenth, but none sooner after another than this, ...
LOG_INTERVAL_S = 2.0
LOG_SHARE = 0.1
#: ... and one after this long in any case, if there is anything new.
LOG_SILENCE_S = 30.0
#: How often the others are drawn.
FRAME_S = 0.1
#: The last line may wait so long for room; all others are left out at once.
LAST_LINE_S = 0.2
#: At most so much is written at once: what a pipe that says it has room takes in any case.
_WRITE_BYTES_MAX = 4096
STDERR_FD = 2
BAR_CELLS_MAX = 24
#: How wide a terminal is that does not say.
COLUMNS = 80


@dataclass(frozen=True)
class Options:
    """What a caller can ask of a bar: ``progress=`` True, a string (the description), or a dict of these.

    ``total``: how many items there are, where the iterable does not say. ``unit``: what they are called. ``file``: a
    text stream in place of stderr.
    """

    description: str = ""
    total: int | None = None
    unit: str = "items"
    file: Any = None


@dataclass(frozen=True, slots=True)
class Reading:
    """How far it is. ``ended``: "" while it runs, then "done", or "stopped" (an error, Ctrl-C, a close)."""

    done: int
    total: int | None
    errors: int
    elapsed_s: float
    ended: str = ""


class Bar(Protocol):
    """Draws readings. Whatever it raises ends the drawing and nothing else."""

    #: How long to wait from one reading to the next.
    interval_s: float

    def draw(self, reading: Reading) -> None:
        """Show this one, if it is time."""

    def finish(self, reading: Reading) -> None:
        """Show the last one, and leave the cursor at the beginning of a line."""


def bar_for(options: Options) -> Bar | None:
    """The bar for where standard error leads to; None if that is nowhere."""
    stream = sys.stderr if options.file is None else options.file
    if stream is None:
        return None
    outlet = Outlet(stream)
    try:
        return _bar_on(outlet, options)
    except BaseException:
        outlet.close()
        raise


def _bar_on(outlet: Outlet, options: Options) -> Bar:
    if options.file is None and _in_notebook():
        tqdm = _tqdm("tqdm.notebook") if importlib.util.find_spec("ipywidgets") else None
        return Line(outlet, options) if tqdm is None else Tqdm(tqdm, outlet, options)
    if not outlet.isatty():
        return Log(outlet, options)
    tqdm = _tqdm("tqdm")
    return Line(outlet, options) if tqdm is None else Tqdm(tqdm, outlet, options)


def _in_notebook() -> bool:
    """Whether this is a notebook's kernel: a program's window into one, not a terminal's."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return type(shell).__name__ == "ZMQInteractiveShell"


class Outlet:
    """A text stream that never makes its writer wait, as far as there is a descriptor behind it."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.encoding: str = getattr(stream, "encoding", None) or "utf-8"
        self._poll: select.poll | None = None
        self._fd = -1
        try:
            fd = stream.fileno()
            if fd == STDERR_FD and fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC:
                # A standard stream is there to be inherited. It was closed, and the number is somebody else's by now.
                raise BrokenPipeError("standard error is closed")
            self._fd = os.dup(fd)
        except (AttributeError, io.UnsupportedOperation):
            return  # not a file
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLOUT)

    def write(self, text: str, patience_s: float = 0.0) -> int:
        """Write what there is room for now, or within ``patience_s``; leave out the rest."""
        if self._poll is None:
            self._stream.write(text)
            return len(text)
        data = text.encode(self.encoding, "replace")[:_WRITE_BYTES_MAX]
        for _, event in self._poll.poll(patience_s * 1000):
            if event & select.POLLOUT:
                os.write(self._fd, data)
        return len(text)

    def flush(self) -> None:
        """Nothing is held here; a stream of another kind may hold something."""
        if self._poll is None and hasattr(self._stream, "flush"):
            self._stream.flush()

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return (
            os.isatty(self._fd) if self._poll is not None else bool(getattr(self._stream, "isatty", bool)())
        )

    def fileno(self) -> int:
        """For whoever asks the terminal how wide it is."""
        if self._fd < 0:
            raise OSError("no descriptor")
        return self._fd

    def columns(self) -> int:
        """How wide the terminal is; 0 if it does not say."""
        try:
            return os.get_terminal_size(self._fd).columns
        except OSError:
            return 0

    def close(self) -> None:
        """Give the descriptor back."""
        if self._fd >= 0:
            fd, self._fd, self._poll = self._fd, -1, None
            os.close(fd)


class Log:
    """Lines, a few of them, for whatever is no terminal."""

    interval_s = 0.5

    def __init__(self, outlet: Outlet, options: Options) -> None:
        self._outlet = outlet
        self._options = options
        self._last_s = 0.0
        self._last_done = 0

    def draw(self, reading: Reading) -> None:
        """A line, if a tenth more is done, or nothing was said for long."""
        since_s = reading.elapsed_s - self._last_s
        news = reading.done - self._last_done
        enough = reading.total is not None and news >= reading.total * LOG_SHARE
        if news and (since_s >= LOG_SILENCE_S or (enough and since_s >= LOG_INTERVAL_S)):
            self._last_s, self._last_done = reading.elapsed_s, reading.done
            self._outlet.write(f"{describe(reading, self._options)}\n")
            self._outlet.flush()

    def finish(self, reading: Reading) -> None:
        """The last line."""
        try:
            self._outlet.write(f"{describe(reading, self._options)}\n", LAST_LINE_S)
            self._outlet.flush()
        finally:
            self._outlet.close()


class Line:
    """One line of a terminal, written over and over, where there is no tqdm."""

    interval_s = FRAME_S

    #: Two lines at once would write over each other: the later one shows only its end.
    _taken = threading.Lock()

    def __init__(self, outlet: Outlet, options: Options) -> None:
        self._outlet = outlet
        self._options = options
        self._mine = False

    def draw(self, reading: Reading) -> None:
        """The line, over itself."""
        self._mine = self._mine or Line._taken.acquire(blocking=False)
        if self._mine:
            self._outlet.write(self._frame(reading))
            self._outlet.flush()

    def finish(self, reading: Reading) -> None:
        """The line for the last time, and the next one begins."""
        try:
            self._outlet.write(self._frame(reading) + "\n", LAST_LINE_S)
            self._outlet.flush()
        finally:
            self._outlet.close()
            if self._mine:
                Line._taken.release()

    def _frame(self, reading: Reading) -> str:
        columns = (self._outlet.columns() or COLUMNS) - 1
        room = columns - len(describe(reading, self._options)) - len(" []")
        text = describe(reading, self._options, bar_cells=min(room, BAR_CELLS_MAX))
        return f"\r{text[:columns]}\x1b[K"


class Tqdm:
    """tqdm's bar, in a terminal or a notebook, drawn when we say so."""

    interval_s = FRAME_S

    def __init__(self, tqdm: type[Any], outlet: Outlet, options: Options) -> None:
        self._outlet = outlet
        self._options = options
        self._class = tqdm
        self._bar: Any = None

    def draw(self, reading: Reading) -> None:
        """What is new, and the bar with it."""
        if self._bar is None:
            self._bar = self._class(
                total=reading.total,
                desc=self._options.description or None,
                unit=f" {self._options.unit}",
                file=self._outlet,
                ncols=None if self._outlet.columns() else COLUMNS,
                dynamic_ncols=bool(self._outlet.columns()),
                mininterval=0,
                miniters=0,
                delay=1e-9,  # or it would draw itself, empty, before anything was said
            )
            self._bar.start_t -= reading.elapsed_s
            self._bar.last_print_t = self._bar.start_t
        if reading.errors:
            self._bar.set_postfix(errors=reading.errors, refresh=False)
        if not self._bar.update(reading.done - self._bar.n):
            self._bar.refresh()

    def finish(self, reading: Reading) -> None:
        """The last bar stays. (In a notebook it turns red if it is not full.)"""
        try:
            self.draw(reading)
            self._bar.close()
        finally:
            self._outlet.close()


_tqdms: dict[str, type[Any] | None] = {}


def _tqdm(module: str) -> type[Any] | None:
    """tqdm's class, with a lock of its own kind and no thread that watches it; None if it is not installed."""
    if module not in _tqdms:
        try:
            base: type[Any] = importlib.import_module(module).tqdm
        except ImportError:
            _tqdms[module] = None
        else:
            # Its default lock is a semaphore of multiprocessing's, which others' processes could hold for ever.
            own = {"monitor_interval": 0, "_lock": threading.RLock()}
            _tqdms[module] = type("Tqdm", (base,), own)
    return _tqdms[module]


# -------------------------------------------------------------------------------------- in words


def describe(reading: Reading, options: Options, *, bar_cells: int = 0) -> str:
    """One line: how much, how fast, how long yet; with a bar of so many characters."""
    total, done, elapsed_s = reading.total, reading.done, reading.elapsed_s
    rate = done / elapsed_s if elapsed_s > 0 else 0.0
    parts = [f"{options.description or 'progress'}:"]
    if total is None:
        parts.append(f"{done:,} {options.unit}")
    else:
        share = 1.0 if total <= 0 else min(1.0, done / total)
        parts.append(f"{int(100 * share)}%")  # never 100 before all is done
        if bar_cells > 0:
            full = int(bar_cells * share)
            parts.append(f"[{'#' * full}{'.' * (bar_cells - full)}]")
        parts.append(f"{done:,}/{total:,} {options.unit}")
    notes = [_span(elapsed_s), f"{_short(rate)} {options.unit}/s"]
    if reading.errors:
        notes.append(f"{reading.errors:,} {'error' if reading.errors == 1 else 'errors'}")
    if reading.ended == "stopped":
        notes.append("stopped")
    elif not reading.ended and total is not None and rate > 0:
        notes.append(f"{_span(max(0, total - done) / rate)} left")
    return f"{' '.join(parts)}, {', '.join(notes)}"


def _span(seconds: float) -> str:
    """A length of time for people: 3.2 s, 41 s, 12:05, 3:12:05."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"
