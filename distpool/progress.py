"""``progress=``: how far a ``map`` or ``imap`` is, counted exactly and shown without ever being in its way.

::

    engine's threads                                 a thread of the bar's own
    Tally.done ─── calls of single items ──────────┐
    Metered.fulfil, reject ─► Meter.chunk_ended ───┤
    Cells ─── items of chunks that run ────────────┴─► Meter.read ─► Reading ─► Bar.draw, 10 times a second
    Metered._complete, give_up ─► Meter.close ───────► Bar.finish        (what it raises ends the bar, nothing else)

Calls of single items cost nothing: what is counted for the map's own sake is read. A chunk costs a word in a queue.
Whoever asks for the last result waits for the last line, for a moment at most.

What it is not: how it looks (``progress_bars``), or how a worker counts inside a chunk (``progress_cells``).
"""

from __future__ import annotations

import contextvars
import functools
import itertools
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar

from distpool.engines.protocol import Failure
from distpool.progress_bars import Bar, Options, Reading, bar_for
from distpool.progress_cells import Cells, Counted
from distpool.scheduler.shells import worker_start

__all__ = ["Meter", "Metered", "Options", "Progress", "by_chunk", "length_of", "options_of"]

M = TypeVar("M", bound="Metered")

#: What ``progress=`` takes: whether, or with which description, or a dict of ``Options``; None: as the pool says.
Progress = bool | str | Mapping[str, Any] | None

#: Nothing is shown before this.
FIRST_FRAME_S = 0.2
#: So long the caller of a map waits for its last line.
LAST_LINE_S = 0.25


def options_of(progress: Progress, default: Options | None = None) -> Options | None:
    """What a ``progress=`` means; None: no bar.

    Where nobody has said anything, ``DISTPOOL_PROGRESS=1`` asks for bars in the whole program, but not in its workers.

    Raises:
        TypeError: it is nothing of the kind, or a dict with other keys than ``Options`` has.
    """
    if progress is None:
        if (
            default is None
            and os.environ.get("DISTPOOL_PROGRESS") == "1"
            and worker_start.this_worker is None
        ):
            return Options()
        return default
    if isinstance(progress, bool):
        return Options() if progress else None
    if isinstance(progress, str):
        return Options(description=progress)
    known = [field.name for field in fields(Options)]
    if not isinstance(progress, Mapping):
        raise TypeError(
            f"progress must be True, a description, or a dict of {', '.join(known)}; not {progress!r}"
        )
    if unknown := [key for key in progress if key not in known]:
        raise TypeError(f"progress has no option {unknown[0]!r}; there are {', '.join(known)}")
    return Options(**progress)


class Meter:
    """Counts the items of one map that are done.

    Args:
        promise: what its calls are submitted for.
        options: how it is to be shown.
        length: how many items there are; None: not known.
        chunksize: how many of them travel as one call.
    """

    def __init__(self, promise: Metered, options: Options, length: int | None, chunksize: int) -> None:
        self.cancelled = 0  # calls that will not run; not counted as done
        self.errors = 0  # calls that raised
        self._promise: weakref.ref[Any] = weakref.ref(promise)  # a dropped one is nobody's concern any more
        self._options = options
        self._length = length
        self._total = options.total if length is None else length
        self._size = chunksize
        self._cells = _cells() if chunksize > 1 else None
        self._short: tuple[int, int] | None = None  # the chunk that is not full, and its items
        self._ended: deque[int] = deque()  # chunks, as they end; ~number for one that was cancelled
        self._ended_below = 0  # all chunks below this one have ended, ...
        self._ended_above: set[int] = set()  # ... and these
        self._counted = 0  # items of chunks that have ended
        self._shown = 0
        self._stopped = False
        self._over = threading.Event()
        self._last_line = threading.Event()
        self._began_s = time.monotonic()
        self._tick_error = itertools.count(1).__next__
        self._tick_cancelled = itertools.count(1).__next__

    # ----------------------------------------------------------------------------------- counting

    def counted(
        self, function: Callable[..., Any], source: Iterator[Sequence[Any]]
    ) -> tuple[Counted, Iterator[Sequence[Any]]]:
        """A chunk's function and its chunks' arguments, such that items can be seen while their chunk runs."""
        place = None if self._cells is None else self._cells.place
        return Counted(function, place), self._numbered(source)

    def _numbered(self, source: Iterator[Sequence[Any]]) -> Iterator[Sequence[Any]]:
        fed = 0
        for number, (items,) in enumerate(source):
            fed += len(items)
            if len(items) < self._size:
                self._short = (number, len(items))
            yield number, items
        self._length = fed

    def chunk_ended(self, number: int) -> None:
        """This one has a result, or an error; its items are not under way any more."""
        self._ended.append(number)

    def failed(self, number: int, failure: Failure) -> None:
        """A call will give no value."""
        if not _has_run(failure):
            self.cancelled = self._tick_cancelled()
            if self._size > 1:
                self._ended.append(~number)  # before it is said to have ended
        else:
            self.errors = self._tick_error()

    def stop(self) -> None:
        """The map ends before its end."""
        self._stopped = True

    def close(self, *, stopped: bool = False) -> None:
        """There is no more to count."""
        if not self._over.is_set():
            self._stopped = self._stopped or stopped
            self._over.set()

    def read(self) -> Reading:
        """How far it is; to be called by one thread."""
        over = self._over.is_set()
        done = self._items_of_chunks() if self._size > 1 else self._single_items()
        stopped = self._stopped or self.cancelled > 0
        if over and not stopped and self._length is not None:
            done = self._length  # whatever counter lags behind
        self._shown = max(self._shown, done)
        ended = "" if not over else "stopped" if stopped else "done"
        return Reading(self._shown, self._total, self.errors, time.monotonic() - self._began_s, ended)

    def _single_items(self) -> int:
        promise = self._promise()
        if promise is None:
            return self._shown
        ended: int = promise.ended
        return max(0, ended - self.cancelled)

    def _items_of_chunks(self) -> int:
        ended = self._ended
        while ended:
            word = ended.popleft()
            number = word if word >= 0 else ~word
            if not self._has_ended(number):
                self._note_ended(number)
                self._counted += self._length_of(number) if word >= 0 else 0
        if self._cells is None:
            return self._counted
        running = self._cells.read()
        return self._counted + sum(items for low, items in running.items() if not self._has_ended(low))

    def _length_of(self, number: int) -> int:
        short = self._short
        return short[1] if short is not None and short[0] == number else self._size

    def _note_ended(self, number: int) -> None:
        above = self._ended_above
        above.add(number)
        while self._ended_below in above:
            above.discard(self._ended_below)
            self._ended_below += 1

    def _has_ended(self, number: int) -> bool:
        return number < self._ended_below or number in self._ended_above

    # ------------------------------------------------------------------------------------ showing

    def show(self) -> None:
        """Begin to show it. On a thread that belongs to the caller's context: a notebook's cell is found by that."""
        run = contextvars.copy_context().run
        try:
            threading.Thread(target=run, args=(self._draw,), name="distpool-progress", daemon=True).start()
        except RuntimeError:  # no more threads, or the interpreter ends: the work goes on
            self._last_line.set()

    def _draw(self) -> None:
        try:
            bar = bar_for(self._options)
            if bar is not None:
                _draw_until_over(bar, self)
        except Exception:
            pass  # a closed stream, a broken terminal, a library's error: the work has nothing to do with it
        finally:
            self._last_line.set()
            if self._cells is not None:
                self._cells.close()

    def wait(self, timeout_s: float) -> bool:
        """Wait until there is no more to count; False: time is up, or nobody will ever know."""
        return self._over.wait(timeout_s)

    @property
    def abandoned(self) -> bool:
        """Nobody has the map's results any more."""
        return self._promise() is None

    def wait_last_line(self) -> None:
        """Close it, and let the last line be written before the program goes on; for a moment, no longer."""
        self.close()
        self._last_line.wait(LAST_LINE_S)


def _draw_until_over(bar: Bar, meter: Meter) -> None:
    try:
        over = meter.wait(FIRST_FRAME_S)  # a short map shows its last line only
        while not over and not meter.abandoned:
            bar.draw(meter.read())
            over = meter.wait(bar.interval_s)
    finally:
        meter.close(stopped=meter.abandoned)
        bar.finish(meter.read())


def _has_run(failure: Failure) -> bool:
    """Whether the call has had its time, and failed; what was cancelled, or lost its pool, is not done."""
    return not failure.cancelled and (
        failure.error is not None
        or failure.exception is not None
        or failure.death is not None
        or failure.limit_s > 0
    )


def length_of(iterable: Any) -> int | None:
    """How many items there are, if it says so."""
    try:
        return len(iterable)
    except Exception:  # it is the user's own: what it raises is seen where it is iterated
        return None


def _cells() -> Cells | None:
    try:
        return Cells()
    except (AttributeError, OSError):
        return None  # counts come with the results


class Metered:
    """What makes a map's promise a counted one; goes before its class. ``meter`` is set before calls are submitted."""

    meter: Meter
    _completed = False
    _phantom = -1  # the key of an end that is no call's: see ``Stream.end_with``

    @property
    def ended(self) -> int:
        """How many calls have ended."""
        done: int = self.done  # type: ignore[attr-defined]
        end_tick: int = self.end_tick  # type: ignore[attr-defined]
        return done - (done > end_tick) - (self._phantom >= 0)

    def reject(self, key: int, failure: Failure) -> None:
        """A call failed."""
        self.meter.failed(key, failure)
        super().reject(key, failure)  # type: ignore[misc]

    def end_with(self, error: BaseException, count: int) -> None:
        """After ``count`` calls there will be no more, because of ``error``."""
        self.meter.stop()
        if getattr(self, "_ordered", False):
            self._phantom = count
        super().end_with(error, count)  # type: ignore[misc]

    def _complete(self) -> None:
        self._completed = True
        super()._complete()  # type: ignore[misc]
        self.meter.close()

    def give_up(self) -> None:
        """Nobody can ask for it any more."""
        super().give_up()  # type: ignore[misc]
        self.meter.close(stopped=not self._completed)
        self.meter.wait_last_line()


class _ByChunk(Metered):
    """For calls that are chunks: each says when it has ended."""

    def fulfil(self, key: int, value: Any) -> None:
        """A call returned."""
        super().fulfil(key, value)  # type: ignore[misc]
        if key != self._phantom:
            self.meter.chunk_ended(key)

    def reject(self, key: int, failure: Failure) -> None:
        """A call failed."""
        super().reject(key, failure)
        if key != self._phantom:
            self.meter.chunk_ended(key)


@functools.cache
def by_chunk(kind: type[M]) -> type[M]:
    """A metered class for calls that are chunks. Apart, because of single ones there are so many."""
    return type(kind.__name__, (_ByChunk, kind), {"__module__": kind.__module__, "__doc__": kind.__doc__})
