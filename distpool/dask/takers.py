"""Tasks whose value is only ever taken apart, found in a graph: pure.

::

    split ──► split[0] ──► ...       the value of "split" is a dictionary of frames, of which each of the next
      ├─────► split[1] ──► ...       tasks takes one: what a shuffle has for each partition
      └─────► split[2] ──► ...       ─►  one call, with three values

Otherwise each of them would have to load the whole to take its part. In one call the parts are what is kept, each where
it was made, and the whole never leaves the worker.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from dask._task_spec import Alias, DataNode, GraphNode, Task, TaskRef

__all__ = ["find_takers", "part_of"]

#: A call has so many values at most: their names, and those that are small, are one message.
TAKERS_MAX = 1024

#: What an item is named by that is as cheap to take as to name. Lists and arrays choose, which can take long.
_CHEAP = (int, str, slice, type(None), type(Ellipsis))


class Part(NamedTuple):
    """What is taken of the one value that a task needs."""

    item: Any


def part_of(node: GraphNode) -> Part | None:
    """What a task takes of its only input, if that is all that it does."""
    if type(node) is not Task or node.func is not operator.getitem or node.kwargs or len(node.args) != 2:
        return None
    whole, item = node.args
    if not isinstance(whole, (TaskRef, Alias)):
        return None
    if type(item) is DataNode:
        item = item.value
    return Part(item) if _is_cheap(item) else None


def _is_cheap(item: Any) -> bool:
    return all(type(each) in _CHEAP for each in item) if type(item) is tuple else type(item) in _CHEAP


def find_takers(
    inputs: Sequence[Sequence[int]], takes: Sequence[bool], may_join: Callable[[int, int], bool]
) -> dict[int, list[int]]:
    """For each task whose value is only taken apart by others, two at least: those others.

    Args:
        inputs: for each task the tasks that it needs.
        takes: for each task whether all that it does is to take something out of its only input.
        may_join: whether a task and one that takes from it, both given, may run in one call.
    """
    users: list[list[int]] = [[] for _ in inputs]
    for task, needed in enumerate(inputs):
        for dependency in needed:
            users[dependency].append(task)
    return {
        task: takers
        for task, takers in enumerate(users)
        if 2 <= len(takers) <= TAKERS_MAX
        and all(takes[taker] for taker in takers)
        and all(may_join(task, taker) for taker in takers)
    }
