"""Results as they arrive: of references that are there, and of a function over items, some at a time.

::

    as_completed(refs) ───────► value, value, ...            in the order in which they are ready
    map_unordered(f, items) ──► value, value, ...            likewise; items are read as values are taken:
                                                             at most ``backpressure_size`` are under way

A call that failed raises when its turn comes, and ends the iterator, as any generator ends that raises. Stands in for
``ray.util.as_completed`` and ``ray.util.map_unordered``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from distpool.objects import ObjectRef, get, wait


def as_completed(
    refs: Sequence[ObjectRef], *, chunk_size: int = 10, yield_obj_refs: bool = False, **unknown: Any
) -> Iterator[Any]:
    """The values of references as they are ready.

    Args:
        refs: different references.
        chunk_size: how many of those that are ready are taken at a time. It never waits for more than one.
        yield_obj_refs: the references themselves instead, in the order in which they are ready.

    Raises:
        ValueError, TypeError: a chunk_size below 1; an unknown option; from the iterator: not references.
        Exception: (from the iterator) what the call raised that was to make the value.
    """
    _refuse("as_completed", unknown)
    _check_chunk(chunk_size)
    return _completed(list(refs), chunk_size, yield_obj_refs)


def _completed(pending: list[ObjectRef], chunk_size: int, yield_obj_refs: bool) -> Iterator[Any]:
    while pending:
        ready, pending = _some_ready(pending, chunk_size)
        while ready:  # nothing here keeps a value that was given away
            ref = ready.pop(0)
            if yield_obj_refs:
                yield ref
            else:
                yield get(ref)


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
        chunk_size: how many of those that are ready are taken at a time.
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
    return _mapped(fn, iter(items), backpressure_size, chunk_size, yield_obj_refs)


def _mapped(
    fn: Any, items: Iterator[Any], under_way_max: int | None, chunk_size: int, yield_obj_refs: bool
) -> Iterator[Any]:
    pending = [fn.remote(item) for item in islice(items, under_way_max)]
    while pending:
        ready, pending = _some_ready(pending, chunk_size)
        while ready:
            ref = ready.pop(0)
            # Before this value is worked on, so that the workers are not idle meanwhile.
            pending += [fn.remote(item) for item in islice(items, 1)]
            if yield_obj_refs:
                yield ref
            else:
                yield get(ref)


def _some_ready(pending: list[ObjectRef], count_max: int) -> tuple[list[ObjectRef], list[ObjectRef]]:
    """Wait for one, and take what else is ready."""
    wait(pending, num_returns=1)
    return wait(pending, num_returns=min(count_max, len(pending)), timeout=0)


def _check_chunk(chunk_size: int) -> None:
    if chunk_size < 1:
        raise ValueError(f"chunk_size must be at least 1, not {chunk_size}")


def _refuse(name: str, unknown: dict[str, Any]) -> None:
    if unknown:
        raise TypeError(f"{name} has no option {next(iter(unknown))!r}")
