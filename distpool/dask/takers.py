"""Tasks whose value is only ever taken apart, found in a graph: pure.

::

    split ──► split[0] ──► ...       the value of "split" is a dictionary of frames, of which each of the next
      ├─────► split[1] ──► ...       tasks takes one: what a shuffle has for each partition
      └─────► split[2] ──► ...       ─►  one call, with three values

Otherwise each of them would have to load the whole to take its part. In one call the parts are what is kept, each where
it was made, and the whole never leaves the worker.

That is only good while the parts together are no more than the whole: what is taken twice is one part, and slices that
lie over one another are left to calls of their own, of which only so many run at a time. Whether taking is as cheap as
it looks is known when the value is there (``is_in_memory``): an item of a data set may be read from a disk.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from dask._task_spec import Alias, DataNode, GraphNode, Task, TaskRef

__all__ = ["Apart", "Part", "find_takers", "is_in_memory", "part_of"]

#: A call has so many values at most: their names, and those that are small, are one message.
TAKERS_MAX = 1024

#: What an item is named by that is as cheap to take as to name. Lists and arrays choose, which can take long.
_NAMES = (int, str, type(None), type(Ellipsis))

#: Those whose items are there already: packages and names of the classes that take them.
_IN_MEMORY = {
    *(("builtins", name) for name in ("dict", "list", "tuple", "str", "bytes", "bytearray", "range")),
    *(("collections", name) for name in ("defaultdict", "deque", "Counter")),
    ("numpy", "ndarray"),
    ("pandas", "DataFrame"),
    ("pandas", "Series"),
    ("pandas", "Index"),
}


class Part(NamedTuple):
    """What is taken of the one value that a task needs."""

    item: Any


class Apart(NamedTuple):
    """How a value is taken apart: ``items``, each once, and for each task that takes one the place of its own."""

    items: tuple[Any, ...]
    places: dict[int, int]


def part_of(node: GraphNode) -> Part | None:
    """What a task takes of its only input, if that is all that it does."""
    if type(node) is not Task or node.func is not operator.getitem or node.kwargs or len(node.args) != 2:
        return None
    whole, item = node.args
    if not isinstance(whole, (TaskRef, Alias)):
        return None
    if type(item) is DataNode:
        item = item.value
    return Part(item) if all(map(_is_cheap, _axes(item))) else None


def _axes(item: Any) -> tuple[Any, ...]:
    return item if type(item) is tuple else (item,)


def _is_cheap(name: Any) -> bool:
    if type(name) is slice:
        return all(type(each) in (int, type(None)) for each in (name.start, name.stop, name.step))
    return type(name) in _NAMES


def is_in_memory(value: Any) -> bool:
    """Whether all items of a value are there already, so that to take one is nothing."""
    for owner in type(value).__mro__:
        if "__getitem__" in vars(owner) or "__missing__" in vars(owner):
            return (owner.__module__.partition(".")[0], owner.__qualname__) in _IN_MEMORY
    return True  # nothing can be taken: that is an error, which is as cheap


def find_takers(
    inputs: Sequence[Sequence[int]], parts: Sequence[Part | None], may_join: Callable[[int, int], bool]
) -> dict[int, Apart]:
    """For each task whose value is only taken apart by others, two at least: what they take.

    Args:
        inputs: for each task the tasks that it needs.
        parts: of each task that does nothing but take something out of its only input: what.
        may_join: whether a task and one that takes from it, both given, may run in one call.
    """
    users: list[list[int]] = [[] for _ in inputs]
    for task, needed in enumerate(inputs):
        for dependency in needed:
            users[dependency].append(task)
    found: dict[int, Apart] = {}
    for task, takers in enumerate(users):
        if not 2 <= len(takers) <= TAKERS_MAX:
            continue
        taken = {taker: part.item for taker in takers if (part := parts[taker]) is not None}
        if len(taken) == len(takers) and all(may_join(task, taker) for taker in takers):
            apart = _apart(taken)
            if _are_no_more_than_the_whole(apart.items):
                found[task] = apart
    return _without_parts_of_parts(found, inputs, parts)


def _without_parts_of_parts(
    found: dict[int, Apart], inputs: Sequence[Sequence[int]], parts: Sequence[Part | None]
) -> dict[int, Apart]:
    """Those without what is itself a part of another: a part stays undecoded, and is taken from by calls."""
    kept: dict[int, bool] = {}
    for task in found:
        path = []  # it, what it is a part of, what that is a part of, ...
        while task in found and task not in kept:
            path.append(task)
            if parts[task] is None:
                break
            (task,) = inputs[task]
        for each in reversed(path):
            kept[each] = parts[each] is None or not kept.get(inputs[each][0], False)
    return {task: apart for task, apart in found.items() if kept[task]}


def _apart(taken: Mapping[int, Any]) -> Apart:
    places: dict[Any, int] = {}
    items: list[Any] = []
    of_takers: dict[int, int] = {}
    for taker, item in taken.items():
        place = of_takers[taker] = places.setdefault(_name(item), len(items))
        if place == len(items):
            items.append(item)
    return Apart(tuple(items), of_takers)


def _name(item: Any) -> Any:
    """The same for the same items: slices cannot be looked up."""
    if type(item) is tuple:
        return tuple, *map(_name, item)
    return (slice, item.start, item.stop, item.step) if type(item) is slice else item


def _are_no_more_than_the_whole(items: Sequence[Any]) -> bool:
    """Whether items, each another, take no more than there is in the box around them, and so no more than there is."""
    by_axes = [_axes(item) for item in items]
    if not any(type(name) in (slice, type(Ellipsis)) for axes in by_axes for name in axes):
        return True
    if len(set(map(len, by_axes))) > 1:
        return False
    sizes, box = [1] * len(items), 1
    for names in zip(*by_axes, strict=True):
        extents = [_extent(name) for name in names]
        if None not in extents:
            sizes = [
                size * len(extent) for size, extent in zip(sizes, extents, strict=True) if extent is not None
            ]
            starts, stops = zip(
                *[(extent.start, extent.stop) for extent in extents if extent is not None], strict=True
            )
            box *= max(stops) - min(starts)
        elif len(set(map(_name, names))) > 1:
            return False  # who knows; what is the same for all matters to none
    return sum(sizes) <= box


def _extent(name: Any) -> range | None:
    """What an integer or a slice takes along its axis; None: that depends on how long it is, or it is no number."""
    if type(name) is int:
        return range(name, name + 1)
    if type(name) is not slice or name.stop is None or name.stop < 0:
        return None
    start, step = name.start or 0, 1 if name.step is None else name.step
    return range(start, max(start, name.stop), step) if start >= 0 and step >= 1 else None
