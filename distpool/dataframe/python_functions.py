"""Python functions of rows, values and groups: the first calls here, the rest on the engine.

pandas goes over the rows and puts the results together; it calls an `Evaluation` in place of the user's function:

    trying   the function is called here, and timed          ── the rest would take long ──► watching
    watching as before; its pickle, and the state of random numbers, are compared
             before and after                                 ── nothing has changed ───────► away
    away     workers evaluate the other rows, part by part; each call gives the next result
    here     for good: the function stays in this process (why is counted)

So pandas infers dtypes and shapes from the results of all rows, whoever computed them, and nothing is evaluated
twice. Parts run side by side, the rows of one part in order. What this is not: a way to find parts; see applying.py.
"""

from __future__ import annotations

import functools
import itertools
import multiprocessing
import random
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from traceback import format_exc
from typing import Any, Protocol

import cloudpickle
import numpy
from pandas.core.generic import NDFrame

from distpool.cpus import cpu_count
from distpool.dataframe import coverage_counts, routes

# What must be saved for the engine to be worth it: workers start in 0.2 s, and import pandas in 0.4 s.
SAVED_SECONDS_MIN = 0.7
# Long enough to spread its cost, short enough that no worker waits for long at the end.
PART_SECONDS = 0.2
PARTS_PER_WORKER_MIN = 4
CHUNK = 1000
_SCALARS = (numpy.float64, numpy.int64, numpy.bool_, numpy.float32, numpy.int32)


class Part(Protocol):
    """Some consecutive calls, to be made elsewhere. It can be pickled."""

    def call(self, function: Callable[..., Any], args: Any, kwargs: Any) -> None:
        """Call the function for each row, in order."""


class Subject(Protocol):
    """What a function is called for: rows, values or groups."""

    size: int

    def name(self, number: int) -> Any:
        """Give the label of a row, or the key of a group."""

    def cut(self, start: int, end: int) -> Part:
        """Take some of the calls."""


@dataclass
class Results:
    """What a part gave: the results before the first exception, and that; not complete if they do not pickle."""

    values: Any
    error: BaseException | None = None
    traceback: str = ""
    complete: bool = True


def inside_worker() -> bool:
    """Say whether this process is somebody's worker: what is parallel already gains nothing here."""
    # Who never imported it was not started as a worker: importing it here would cost more than all else of the package.
    start = sys.modules.get("distpool.scheduler.shells.worker_start")
    if start is not None and start.this_worker is not None:
        return True
    return multiprocessing.parent_process() is not None


class Evaluation:
    """Stands in for a function for the time of one method's call."""

    def __init__(self, label: str, function: Callable[..., Any], subject: Subject) -> None:
        self._label = label
        self._function = function
        self._subject = subject
        self._done = 0
        self._next_look = 1
        self._begun = time.perf_counter()
        self._before: tuple[Any, ...] | None = None
        self._watched_from = self._watched_since = 0.0
        self._results: Generator[Any] | None = None
        while isinstance(function, functools.partial):
            function = function.func
        self.__name__ = getattr(function, "__name__", "")  # pandas asks

    def __call__(self, item: Any, *args: Any, **kwargs: Any) -> Any:
        """Give what the function gives for this row. An exception has a note that names the row."""
        if self._done == self._next_look:
            self._look(args, kwargs)
        try:
            if self._results is not None:
                for result in self._results:
                    self._done += 1
                    return result
                self._stay("")  # pandas asks again, from the beginning
            result = self._function(item, *args, **kwargs)
        except Exception as error:
            if self._results is None:
                self._note(error)
            self.close()
            self._stay("")
            self._done = 0  # should pandas try once more
            raise
        self._done += 1
        return result

    def for_values(self, values: Any) -> Callable[[Any], Any]:
        """Give a stand-in for a quick function of single values: it costs a tenth of what a call of this does."""
        return functools.partial(next, itertools.chain.from_iterable(self._ahead(values)))

    def _ahead(self, values: Any) -> Iterator[Iterable[Any]]:
        """Give the results for values, made a chunk at a time from one look to the next, or elsewhere."""
        while self._done < len(values):
            if self._done == self._next_look:
                self._look((), {})
            if self._results is not None:
                yield self._results
                return
            made: list[Any] = []
            try:
                end = self._next_look if self._next_look > self._done else self._done + CHUNK
                made.extend(
                    map(self._function, values[self._done : end])
                )  # up to the exception, if there is one
            except Exception as error:
                self._done += len(made)
                self._note(error)
                raise
            self._done += len(made)
            yield made

    def _note(self, error: BaseException) -> None:
        if self._done < self._subject.size:
            error.add_note(f"raised for {self._subject.name(self._done)!r}, in {self._label}")

    def close(self) -> None:
        """End what still runs elsewhere."""
        results, self._results = self._results, None
        if results is not None:
            results.close()

    def _stay(self, reason: str) -> None:
        self._results, self._before, self._next_look = None, None, -1
        if reason:
            coverage_counts.add("fall-back", self._label, reason)

    def _look(self, args: Any, kwargs: Any) -> None:
        """Decide, with as many calls made as there were looks for: 1, 2, 4, ..."""
        done, now = self._done, time.perf_counter()
        rest = self._subject.size - done
        if self._before is None:
            self._next_look = 2 * done
            if rest > done and _pays((now - self._begun) / done * rest):
                try:
                    self._before = _state(self._function, args, kwargs)
                except Exception as error:
                    return self._stay(f"the function cannot be pickled: {error}")
                self._watched_from, self._watched_since = done, time.perf_counter()
            return None
        seconds = (now - self._watched_since) / (done - self._watched_from) * rest
        before, self._before = self._before, None
        self._next_look = 2 * done
        if not _pays(seconds):
            return None
        try:
            after = _state(self._function, args, kwargs)
        except Exception as error:
            return self._stay(f"the function cannot be pickled: {error}")
        if before != after:
            return self._stay("the function changes what it refers to, or draws random numbers")
        self._next_look = -1
        coverage_counts.add("native", self._label)
        self._results = self._elsewhere(before[0], done, seconds, (args, kwargs))
        return None

    def _elsewhere(
        self, function: bytes, start: int, seconds: float, call: tuple[Any, Any]
    ) -> Generator[Any]:
        """Give the results from ``start`` on, as workers make them."""
        workers = cpu_count()
        rest = self._subject.size - start
        count = min(rest, max(int(seconds / PART_SECONDS), workers * PARTS_PER_WORKER_MIN))
        edges = [start + rest * n // count for n in range(count + 1)]
        parts = (self._subject.cut(a, b) for a, b in itertools.pairwise(edges))
        made = run_parts(function, parts, min(workers, count))
        try:
            for edge, end, results in zip(edges, edges[1:], made, strict=False):
                results = unpacked(results)
                values = list(results.values)
                yield from values
                if results.error is not None:
                    self._done = edge + len(values)
                    self._note(results.error)
                    from multiprocessing.pool import RemoteTraceback  # type: ignore[attr-defined]

                    raise results.error from RemoteTraceback(results.traceback)
                if not results.complete:
                    # Neither came back by pickle: here it is what it is for pandas.
                    yield from self._again(edge + len(values), end, call)
        finally:
            made.close()

    def _again(self, start: int, end: int, call: tuple[Any, Any]) -> Iterator[Any]:
        if start < end:
            recorder = Recorder(self._function, *call)
            recorder.run(self._subject.cut(start, end))
            yield from recorder.values
            if recorder.error is not None:
                self._done = start + len(recorder.values)
                self._note(recorder.error)
                raise recorder.error


def _pays(seconds: float) -> bool:
    # The look at the CPUs takes longer than many a function: only where they would matter.
    return routes.forced == "cluster" or (
        seconds > SAVED_SECONDS_MIN and seconds * (1 - 1 / cpu_count()) > SAVED_SECONDS_MIN
    )


def _state(function: Any, args: Any, kwargs: Any) -> tuple[Any, ...]:
    """All that calls could change and that is seen from here."""
    numbers: Any = numpy.random.get_state()
    pickled = cloudpickle.dumps((function, args, kwargs))
    return pickled, random.getstate(), numbers[1].tobytes(), numbers[2:]


def run_parts(function: bytes, parts: Iterator[Part], workers: int) -> Generator[Results]:
    """Evaluate parts on the engine; give their results in order. Closing it ends the workers."""
    from distpool.pool import Pool

    with Pool(workers, initializer=_load, initargs=(function,)) as pool:
        yield from pool.imap(evaluate, parts)
        pool.close()
        pool.join()


# ------------------------------------------------------------------------------------------ in the worker

_pickled: bytes = b""
_loaded: tuple[Any, Any, Any] | None = None


def _load(function: bytes) -> None:
    global _pickled, _loaded
    _pickled, _loaded = function, None


class Recorder:
    """Calls a function and keeps its results, up to the first exception."""

    def __init__(self, function: Callable[..., Any], args: Any, kwargs: Any) -> None:
        self._call = (function, args, kwargs)
        self.values: list[Any] = []
        self.error: BaseException | None = None

    def __call__(self, item: Any, *args: Any, **kwargs: Any) -> None:
        """Call the function; pandas gets nothing, and has nothing to put together."""
        value = self._call[0](item, *args, **kwargs)
        # pandas uses one object for all rows: what is kept must be another one, as it does itself.
        self.values.append(value.copy(deep=False) if isinstance(value, NDFrame) else value)

    def run(self, part: Part) -> None:
        """Make the calls of a part."""
        try:
            part.call(self, self._call[1], self._call[2])
        except (Exception, SystemExit) as error:
            self.error = error


def evaluate(part: Part) -> Results:
    """Make the calls of a part, in a worker."""
    global _loaded
    try:
        if _loaded is None:
            _loaded = cloudpickle.loads(_pickled)
    except Exception:
        return Results([], complete=False)
    recorder = Recorder(*_loaded)
    try:
        recorder.run(part)
        text = ""
        if recorder.error is not None:
            try:
                raise recorder.error
            except BaseException:
                text = format_exc()
        made = Results(_packed(recorder.values), recorder.error, text)
        cloudpickle.loads(cloudpickle.dumps(made.error))
        return Results(cloudpickle.dumps(made))
    except Exception:
        return Results([], complete=False)


def _packed(values: list[Any]) -> Any:
    """Numpy's scalars of one type travel as an array, whose items are these scalars again."""
    kind = type(values[0]) if values else None
    return (
        numpy.array(values) if kind in _SCALARS and all(type(value) is kind for value in values) else values
    )


def unpacked(results: Results) -> Results:
    """Undo the pickling of results."""
    return cloudpickle.loads(results.values) if isinstance(results.values, bytes) else results
