"""``executor.map``: which of three ways the iterables are read, and the generator of results.

::

    lists, tuples, ranges      as they are, by a feeder's thread; never held back           (Feeder)
    others with a length       read to the end at once, on the caller's thread, then as above
    endless, or who knows      on the threads of the program only: some at once, more       (PullFeeder)
                               whenever a result is asked for, the rest at shutdown
    (submit was replaced)      by that, as the standard library does                        (map_by_submit)

The standard library reads everything at once, on the caller's thread. Here an endless iterable works too, and a
database cursor is still read only by the threads that use it.

Stands in for ``concurrent.futures.Executor.map``.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from concurrent.futures.process import _RemoteTraceback
from typing import Any

from distpool.call_options import PLAIN, CallOptions
from distpool.checkpoints import Plan, keep, ordered_results, recorded
from distpool.engines.protocol import Call, Failure, Terms
from distpool.executor_work import Work
from distpool.feeding import NEVER, Feeder
from distpool.pool_results import StarmapChunk
from distpool.progress import Meter, Metered, Options, by_chunk, length_of
from distpool.streams import Stream

__all__ = ["map_by_submit", "start_map"]

#: ``map`` itself reads an iterable of unknown length for about this long.
START_S = 0.02
#: At shutdown, a map of unknown length whose results are being taken is read for at most so long.
FAREWELL_S = 1.0

_PLAIN = frozenset((list, tuple, range))


class MapStream(Stream):
    """The results of one ``executor.map``; knows its calls, to cancel them."""

    def __init__(self, work: Work, *, bounded: bool) -> None:
        super().__init__(work.engine, ordered=True, bounded=bounded)
        self._work = work
        self._calls: dict[int, Call] = {}
        self.pull: PullFeeder | None = None

    def calls(self) -> list[Call]:
        """Those that have not ended."""
        return list(self._calls.values())

    def sent(self, calls: list[Call]) -> None:
        """These have been submitted."""
        for call in calls:
            key = call.key
            self._calls[key] = call
            if key in self._arrived or key < self.taken:
                self._calls.pop(key, None)

    def fulfil(self, key: int, value: Any) -> None:
        """A call ended."""
        super().fulfil(key, value)
        self._calls.pop(key, None)

    def give_up(self) -> None:
        """Nobody wants the rest: cancel what has not started."""
        if self.feeder is not None:
            self.feeder.stop()
        if calls := self.calls():
            self._work.take_back(calls, running=False)
        self._arrived.clear()

    def interrupt(self) -> None:
        """Somebody pressed Ctrl-C: end what runs too, also what was submitted a moment ago and is not known here."""
        self.give_up()
        self._work.pool.give_up(self)

    def _exception_of(self, failure: Failure) -> BaseException:
        return self._work.broken or failure.to_exception(_RemoteTraceback)

    def _complete(self) -> None:
        super()._complete()
        self._work.settled(self)


class MeteredMapStream(Metered, MapStream):
    """One whose progress is shown."""

    def give_up(self) -> None:
        """Nobody wants the rest."""
        if self.length == self.taken:
            self.meter.close()
        super().give_up()


class PullFeeder(Feeder):
    """Reads an iterable of unknown length, on the threads of the program.

    ``buffer`` is a window that the caller has set, which then also holds at shutdown.
    """

    def __init__(
        self,
        work: Work,
        stream: MapStream,
        function: Callable[..., Any],
        source: Iterator[Any],
        buffer: int | None,
        terms: Terms | None,
    ) -> None:
        super().__init__(work.desk, stream, function, source, plain=False, terms=terms)
        self._stream = stream
        self._buffer = buffer
        self._pulling = threading.RLock()
        self._slow = False
        stream.pull = self

    def start(self) -> None:
        """Read a first part; an exception of the iterable's is raised at once."""
        try:
            self._desk.enter(self)
            until_s = time.monotonic() + START_S
            with self._pulling:
                while not self._over and (room := self._room()) > 0:
                    self._feed(room)
                    if time.monotonic() > until_s:
                        break
        except BaseException:
            self.stop()
            raise
        if self.pull_error is not None:
            raise self.pull_error

    def wake(self) -> None:
        """No thread sleeps here."""

    def before_take(self) -> None:
        """A result is wanted: read on while it is not there, or while reading is quick and the window half empty."""
        stream = self._stream
        while not self._over and (room := self._room()) > 0:
            if stream.has_next() and (self._slow or room <= self._window() // 2):
                return
            if not self._pulling.acquire(blocking=False):
                return  # another thread reads
            try:
                began_s = time.monotonic()
                self._feed(room)
                self._slow = time.monotonic() - began_s > START_S
                stream.notify_at(stream.taken + 1)  # to be weighed
            finally:
                self._pulling.release()

    def lift(self) -> None:
        """The executor ends: read all the rest if nobody has begun to take results, else no more than a window."""
        with self._pulling:
            stream = self._stream
            if self._buffer is None and not stream.taken:
                super().lift()
                while not self._over:
                    self._feed(NEVER)
                return
            until_s = time.monotonic() + FAREWELL_S
            stream.weight = stream.weight or 0
            while not self._over and (room := self._room()) > 0 and time.monotonic() < until_s:
                self._feed(room)
        self._finish(RuntimeError("cannot schedule new futures after shutdown"))

    def _window(self) -> int:
        return super()._window() if self._buffer is None else self._buffer


def start_map(
    work: Work,
    fn: Callable[..., Any],
    iterables: Sequence[Iterable[Any]],
    timeout_s: float | None,
    chunksize: int,
    buffersize: int | None,
    call: CallOptions = PLAIN,
) -> tuple[Generator[Any, None, None], int]:
    """Submit what may be submitted now; the rest follows as described above.

    Returns:
        The generator of results, and how many calls have been submitted.
    """
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    known = buffersize is None and any(hasattr(iterable, "__len__") for iterable in iterables)
    source: Iterator[Sequence[Any]]
    if not known:
        source = zip(*iterables, strict=False)
    elif all(type(iterable) in _PLAIN for iterable in iterables):
        # A list is copied, because the program may change it meanwhile.
        source = zip(*(list(i) if type(i) is list else i for i in iterables), strict=False)
    else:
        source = iter(list(zip(*iterables, strict=False)))
    function = fn
    if call.one_by_one:
        chunksize = 1
    plan = None
    if call.checkpoint is not None:
        plan = Plan(call.checkpoint, fn)
        source = plan.source(source, chunksize, star=True, spread=True)
        if known:
            source = iter(list(source))
    if chunksize > 1:
        function, source = StarmapChunk(fn), source if plan else _chunks_of(source, chunksize)
    if call.progress is None:
        stream = (MapStream if plan is None else recorded(MapStream))(work, bounded=not known)
    else:
        stream, function, source = _metered(
            work, function, source, iterables, chunksize, call.progress, known=known, keeps=plan is not None
        )
    stream.options = call
    if plan is not None:
        keep(stream, plan, chunked=chunksize > 1)
    feeder: Feeder
    if known:
        feeder = Feeder(work.desk, stream, function, source, plain=True, shares=True, terms=call.terms)
    else:
        feeder = PullFeeder(work, stream, function, source, buffersize, call.terms)
    try:
        with work.entering:
            work.pending[stream] = None
        feeder.start()
    except BaseException:
        stream.interrupt()
        work.settled(stream)
        raise
    results = _results(stream, deadline, chunked=chunksize > 1)
    return results if plan is None else ordered_results(plan, results), feeder.sent


def map_by_submit(
    executor: Executor,
    fn: Callable[..., Any],
    iterables: Sequence[Iterable[Any]],
    timeout_s: float | None,
    chunksize: int,
) -> Iterator[Any]:
    """A map of an executor whose ``submit`` the program has replaced, to hear of each call: tqdm's bars do so."""
    if chunksize == 1:
        return Executor.map(executor, fn, *iterables, timeout=timeout_s)
    parts = (chunk for (chunk,) in _chunks_of(zip(*iterables, strict=False), chunksize))
    chunks = Executor.map(executor, StarmapChunk(fn), parts, timeout=timeout_s)
    return itertools.chain.from_iterable(chunks)


def _metered(
    work: Work,
    function: Callable[..., Any],
    source: Iterator[Sequence[Any]],
    iterables: Sequence[Iterable[Any]],
    chunksize: int,
    progress: Options,
    *,
    known: bool,
    keeps: bool,
) -> tuple[MeteredMapStream, Callable[..., Any], Iterator[Sequence[Any]]]:
    """The stream of a map whose progress is shown from now on, and what to call with which arguments."""
    kind = by_chunk(MeteredMapStream) if chunksize > 1 else MeteredMapStream
    stream = (recorded(kind) if keeps else kind)(work, bounded=not known)
    lengths = [length for iterable in iterables if (length := length_of(iterable)) is not None]
    meter = stream.meter = Meter(stream, progress, min(lengths, default=None) if known else None, chunksize)
    if chunksize > 1:
        function, source = meter.counted(function, source)
    meter.show()
    return stream, function, source


def _results(stream: MapStream, deadline: float | None, *, chunked: bool) -> Generator[Any, None, None]:
    """The results, one by one; no reference is kept to one that was given out."""
    try:
        while True:
            if stream.pull is not None:
                stream.pull.before_take()
            left_s = None if deadline is None else deadline - time.monotonic()
            try:
                if not chunked:
                    yield stream.take(left_s)
                    continue
                chunk = stream.take(left_s)
            except StopIteration:
                return
            chunk.reverse()
            while chunk:
                yield chunk.pop()
    except KeyboardInterrupt:
        # The terminal interrupts only the program itself, and nobody can ask for these results any more.
        stream.interrupt()
        raise
    finally:
        stream.give_up()


def _chunks_of(source: Iterator[Any], size: int) -> Iterator[tuple[list[Any]]]:
    while chunk := list(itertools.islice(source, size)):
        yield (chunk,)
