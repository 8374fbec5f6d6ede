"""``checkpoint=DIR``: a map whose results are kept in files as they arrive; the next run does only what is missing.

::

    items ─► Plan.source ─── not there yet ──► calls ──► engine ──► Recorded.fulfil ──► Writer    (DIR/...results)
                  │ there                                                  │
                  └──► order ─────────────────────────────► results ◄──────┘
                        (which result comes from where)     of all items, in their order

Functions and items are known by digests (``checkpoint_keys``); of equal items each has a result of its own. So a list
that is longer, shorter or in another order makes use of what still fits. What failed is not kept. If a result cannot
be pickled, or the disk is full, the map goes on without keeping it, and warns once.

Not here: what the files look like (``checkpoint_files``).
"""

from __future__ import annotations

import os
import pickle
import threading
import types
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import cloudpickle

from distpool.checkpoint_files import Checkpoint, Key, Reader, Writer, open_directory
from distpool.checkpoint_keys import Digester
from distpool.engines.protocol import Failure

__all__ = [
    "Checkpoint",
    "Ordered",
    "Plan",
    "RecordedList",
    "default_chunksize",
    "keep",
    "ordered_results",
    "recorded",
]

#: Chunks, if nothing is said of their size, hold at most this share of the items: it is what a sudden end may cost.
CHUNK_SHARE = 100

P = TypeVar("P")

_RUN: Any = object()


class Plan:
    """Which items of one map are there already, and where the results of the others go.

    Raises:
        PermissionError: the folder, or a file in it, is another user's.
        TypeError: the function cannot be told from others.
    """

    def __init__(self, directory: str | os.PathLike[str], function: Callable[..., Any]) -> None:
        self.order: deque[Any] = (
            deque()
        )  # of the items read so far: the Key of a result that is there, or _RUN
        self._digester = Digester()
        identity = self._digester.function(function)
        folder = open_directory(directory)
        self._reader = Reader(folder, identity)
        self._writer = Writer(folder, _name_of(function), identity)
        self._seen: dict[bytes, int] = {}
        self._pending: dict[int, list[Key | None]] = {}  # call -> its items
        self._directory = folder
        self._lock = threading.Lock()
        self._warned = False

    def source(
        self, items: Iterable[Any], chunksize: int, *, star: bool, spread: bool = False
    ) -> Iterator[Sequence[Any]]:
        """The arguments of the calls for the items that are missing: each in a tuple, or in lists of ``chunksize``.

        Args:
            items: what is mapped over.
            chunksize: above 1: so many in a list.
            star: an item is the arguments of the function, not its only argument.
            spread: an item is itself the arguments of a call.
        """
        number = 0
        chunk: list[Any] = []
        keys: list[Key | None] = []
        for item in items:
            key = self._key(item, star=star)
            if key is not None and key in self._reader.places:
                self.order.append(key)
                continue
            self.order.append(_RUN)
            keys.append(key)
            if chunksize <= 1:
                self._pending[number] = keys
                yield item if spread else (item,)
            else:
                chunk.append(item)
                if len(chunk) < chunksize:
                    continue
                self._pending[number] = keys
                yield (chunk,)
                chunk = []
            number += 1
            keys = []
        if chunk:
            self._pending[number] = keys
            yield (chunk,)

    @property
    def missing(self) -> int:
        """How many of the items that were read so far are not there."""
        return sum(key is _RUN for key in self.order)

    def _key(self, item: Any, *, star: bool) -> Key | None:
        try:
            digest = self._digester.value(tuple(item) if star else (item,))
        except (
            TypeError
        ):  # it cannot be unpacked, and its call fails; or it cannot be sent, or not be known again
            return None
        number = self._seen.get(digest, 0)
        self._seen[digest] = number + 1
        return digest, number

    def kept(self, key: Key) -> Any:
        """A result that is there. Raises what loading it raises."""
        try:
            return pickle.loads(self._reader.load(self._reader.places[key]))
        except Exception as error:
            error.add_note(
                f"a result of the checkpoint {self._directory} cannot be loaded; delete that to do all anew"
            )
            raise

    def merged(self, results: Iterable[Any]) -> list[Any]:
        """The results of all items, from those of the missing ones."""
        others = iter(results)
        try:
            return [next(others) if key is _RUN else self.kept(key) for key in self.order]
        finally:
            self._reader.close()

    # ------------------------------------------------------------------------------- keeping

    def record(self, call: int, value: Any, *, chunked: bool) -> None:
        """A call has returned."""
        keys = self._pending.pop(call, None)
        if keys is None:
            return
        results: list[tuple[Key, bytes]] = []
        for key, one in zip(keys, value if chunked else (value,), strict=False):
            if key is not None:
                try:
                    results.append((key, _pickled(one)))
                except Exception as error:
                    self._warn(f"a result cannot be pickled, and is not kept: {error}")
        if results:
            with self._lock:
                full = self._writer.write(results)
            if full is not None:
                self._warn(f"no more results are kept: {full.strerror}")

    def forget(self, call: int) -> None:
        """A call has failed."""
        self._pending.pop(call, None)

    def close(self) -> None:
        """All calls have ended, or nobody wants the rest."""
        with self._lock:
            self._writer.close()

    def close_reading(self) -> None:
        """All that was there has been used."""
        self._reader.close()

    def _warn(self, text: str) -> None:
        if not self._warned:
            self._warned = True
            try:
                warnings.warn(f"checkpoint {self._directory}: {text}", RuntimeWarning, stacklevel=2)
            except RuntimeWarning:
                pass  # the filters would have it be an error, and the work goes on


class Recorded:
    """What makes a map's promise one whose results are kept; goes before its class (see ``recorded``)."""

    plan: Plan
    chunked: bool

    def fulfil(self, key: int, value: Any) -> None:
        """A call returned."""
        self.plan.record(key, value, chunked=self.chunked)
        super().fulfil(key, value)  # type: ignore[misc]

    def reject(self, key: int, failure: Failure) -> None:
        """A call failed."""
        self.plan.forget(key)
        super().reject(key, failure)  # type: ignore[misc]

    def _complete(self) -> None:
        self.plan.close()
        super()._complete()  # type: ignore[misc]


class RecordedList(Recorded):
    """One whose results are given out in a list: with those that were there."""

    _values: list[Any]
    _error: BaseException | None

    def _complete(self) -> None:
        if self._error is None:
            try:
                self._values = self.plan.merged(self._values)
            except Exception as error:  # what is kept cannot be loaded
                self._error = error
        super()._complete()


def recorded(kind: type[P], how: type[Recorded] = Recorded) -> type[P]:
    """A class of promises for maps, made one whose results are kept."""
    namespace = {"__module__": kind.__module__, "__doc__": kind.__doc__}
    made: type[P] = types.new_class(kind.__name__, (how, kind), exec_body=lambda body: body.update(namespace))
    return made


def keep(promise: Any, plan: Plan, *, chunked: bool) -> None:
    """Have this promise, of a ``recorded`` class, keep its results by ``plan``; before its calls are submitted.

    Writing to a disk may take long: so it is not ``quick``, and the engine's own thread does it.
    """
    promise.plan = plan
    promise.chunked = chunked
    promise.quick = False


class Ordered:
    """An iterator over all results, from one over those that were missing; as an imap's, ``next`` takes a time-out.

    With ``ordered`` false they come as they arrive, and what was there comes first.
    """

    def __init__(self, plan: Plan, results: Any, *, ordered: bool) -> None:
        self._plan = plan
        self._results = results
        self._ordered = ordered
        self._outcome: tuple[Any, BaseException | None] | None = None  # it stands behind what was there
        self._turn = threading.Lock()

    def __iter__(self) -> Ordered:
        return self

    def __next__(self) -> Any:
        return self.next()

    def next(self, timeout: float | None = None) -> Any:
        """The next result.

        Args:
            timeout: seconds to wait for it; None: for ever.

        Raises:
            TimeoutError: not there in time.
            StopIteration: there are no more.
            Whatever its call raised, or loading what was there.
        """
        if not self._turn.acquire(timeout=-1 if timeout is None else max(0.0, timeout)):
            raise TimeoutError
        try:
            return self._next(timeout)
        finally:
            self._turn.release()

    def _next(self, timeout: float | None) -> Any:
        order = self._plan.order
        while True:
            while order and (order[0] is not _RUN or not self._ordered):
                key = order.popleft()
                if key is not _RUN:
                    return self._plan.kept(key)
            if self._outcome is not None:
                value, error = self._outcome
                self._outcome = None
                if self._ordered:
                    order.popleft()
                if error is None:
                    return value
                try:
                    raise error
                finally:
                    del error
            self._outcome = self._take(timeout)
            if self._outcome is None and (not order or order[0] is _RUN):
                self._plan.close_reading()
                raise StopIteration

    def _take(self, timeout: float | None) -> tuple[Any, BaseException | None] | None:
        """The outcome of the next of the missing ones; None: there are no more. Raises if it is not there in time."""
        results = self._results
        taken = getattr(results, "taken", None)
        try:
            return (next(results) if timeout is None else results.next(timeout)), None
        except StopIteration:
            return None
        except BaseException as error:
            if getattr(results, "taken", None) == taken and not (
                taken is None and isinstance(error, Exception)
            ):
                raise  # no outcome: a time-out, or Ctrl-C
            return None, error


def ordered_results(plan: Plan, results: Generator[Any, None, None]) -> Generator[Any, None, None]:
    """The same as a generator, whose end is the end of the other."""
    try:
        yield from Ordered(plan, results, ordered=True)
    finally:
        results.close()
        plan.close_reading()


def default_chunksize(length: int, otherwise: int) -> int:
    """Items for each call of a map that keeps its results: no more than a sudden end may cost."""
    return max(1, min(otherwise, length // CHUNK_SHARE))


def _name_of(function: Callable[..., Any]) -> str:
    inner = getattr(function, "func", function)
    return str(getattr(inner, "__qualname__", None) or type(inner).__qualname__)


def _pickled(value: Any) -> bytes:
    """A result as bytes. Lambdas and the like take the slower way."""
    try:
        return pickle.dumps(value, 5)
    except Exception:
        blob: bytes = cloudpickle.dumps(value, 5)
        return blob
