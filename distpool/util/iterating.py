"""Results as they arrive: of references that are there, and of a function over items, some at a time.

::

    as_completed(refs) ───────► value, value, ...            in the order in which they are ready
    map_unordered(f, items) ──► value, value, ...            likewise; items are read as values are taken:
                                                             at most ``backpressure_size`` are under way

A call that failed raises when its turn comes, and ends the iterator, as any generator ends that raises. Stands in for
``ray.util.as_completed`` and ``ray.util.map_unordered``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from distpool.engines.protocol import Promise
from distpool.objects import ObjectRef, get
from distpool.scheduler.remote import waiting
from distpool.scheduler.remote.here import here


def as_completed(
    refs: Sequence[ObjectRef], *, chunk_size: int = 10, yield_obj_refs: bool = False, **unknown: Any
) -> Iterator[Any]:
    """The values of references as they are ready.

    Args:
        refs: different references.
        chunk_size: at least 1, and means nothing more here: no value waits for others to be there.
        yield_obj_refs: the references themselves instead, in the order in which they are ready.

    Raises:
        ValueError, TypeError: a chunk_size below 1; an unknown option; not references, or one of them twice.
        Exception: (from the iterator) what the call raised that was to make the value.
    """
    _refuse("as_completed", unknown)
    _check_chunk(chunk_size)
    arrivals = _Arrivals()
    for ref in _checked(refs):
        arrivals.add(ref)
    return _completed(arrivals, yield_obj_refs)


def _completed(arrivals: _Arrivals, yield_obj_refs: bool) -> Iterator[Any]:
    try:
        while arrivals.left:
            yield arrivals.take(yield_obj_refs)
    finally:
        arrivals.close()


def map_unordered(
    fn: Any,
    items: Iterable[Any],
    *,
    backpressure_size: int | None = 100,
    chunk_size: int = 10,
    yield_obj_refs: bool = False,
    **unknown: Any,
) -> Iterator[Any]:
    """Call a remote function on each item, and give the values as they are ready.

    Args:
        fn: a remote function, or a method of an actor.
        items: may be endless; read only as far as calls are made.
        backpressure_size: calls whose value was not taken yet, at most; None: all items are read at once.
        chunk_size: as of ``as_completed``.
        yield_obj_refs: references instead of values.

    Raises:
        ValueError, TypeError: as ``as_completed``; a backpressure_size below 1; not a remote function.
        Exception: (from the iterator) what a call raised.
    """
    _refuse("map_unordered", unknown)
    _check_chunk(chunk_size)
    if backpressure_size is not None and backpressure_size < 1:
        raise ValueError(
            f"backpressure_size must be at least 1, or None for no bound, not {backpressure_size}"
        )
    if not hasattr(fn, "remote"):
        name = getattr(fn, "__name__", type(fn).__name__)
        raise TypeError(f"map_unordered takes a remote function: put @distpool.remote before {name}")
    return _mapped(fn, iter(items), backpressure_size, yield_obj_refs)


def _mapped(fn: Any, items: Iterator[Any], under_way_max: int | None, yield_obj_refs: bool) -> Iterator[Any]:
    arrivals = _Arrivals()
    try:
        for item in islice(items, under_way_max):
            arrivals.add(fn.remote(item))
        while arrivals.left:
            value = arrivals.take(yield_obj_refs)
            for item in islice(
                items, 1
            ):  # before this value is worked on: the workers are not to wait for that
                arrivals.add(fn.remote(item))
            yield value
            del value
    finally:
        arrivals.close()


class _Arrivals(Promise):
    """References in the order in which they are ready, at the same cost however many are pending.

    As a promise it is ready when one has come that was not taken yet; it is used again and again.
    """

    __slots__ = ("_came", "_pending", "_waits", "quick", "settled", "wakeups")

    def __init__(self) -> None:
        self.settled = False
        self.quick = True
        self.wakeups = None
        self._waits = False
        self._came: deque[ObjectRef] = deque()
        self._pending: set[ObjectRef] = set()

    @property
    def left(self) -> bool:
        """Whether there are any that were not taken."""
        return bool(self._pending)

    def add(self, ref: ObjectRef) -> None:
        """Wait for this one too."""
        self._pending.add(ref)
        ref.watch(self._one)

    def _one(self, ref: ObjectRef) -> None:
        """On whichever thread delivers."""
        self._came.append(ref)
        if self._waits:
            self._waits = False
            self.settle()
            here().session.wake()

    def take(self, as_ref: bool) -> Any:
        """Wait for the next one; its value, or itself. Raises what its call has raised."""
        while not self._came:
            self.settled, self._waits = False, True
            if self._came:  # between the two looks: perhaps nobody was told
                break
            waiting.wait_for(self, None)
        self._waits = False
        ref = self._came.popleft()
        self._pending.discard(ref)
        return ref if as_ref else get(ref)

    def close(self) -> None:
        """Nobody waits any more."""
        for ref in self._pending:
            ref.unwatch(self._one)
        self._pending.clear()


def _checked(refs: Sequence[ObjectRef]) -> list[ObjectRef]:
    given = list(refs)
    for ref in given:
        if not isinstance(ref, ObjectRef):
            raise TypeError(f"as_completed takes ObjectRefs, and one of these is a {type(ref).__name__}")
    if len(set(given)) != len(given):
        raise ValueError("as_completed takes different references, and one of these is there twice")
    return given


def _check_chunk(chunk_size: int) -> None:
    if chunk_size < 1:
        raise ValueError(f"chunk_size must be at least 1, not {chunk_size}")


def _refuse(name: str, unknown: dict[str, Any]) -> None:
    if unknown:
        raise TypeError(f"{name} has no option {next(iter(unknown))!r}")
