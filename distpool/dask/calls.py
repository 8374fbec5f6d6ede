"""From tasks of a graph to one call of a function in a worker.

::

    Task(key, f, TaskRef("a"), 3)          ─►  f(·, 3)                      "a" comes in the first place
    Task(key, f, List(TaskRef("a"), ...))  ─►  evaluate((node,), ("a", ...), ·, ...)
    a chain of tasks                       ─►  evaluate((first, ..., last), ("a",), ·)
    tasks, and what is taken of the last   ─►  evaluate_apart((first, ..., last), ("a",), (0, 1, ...), ·)

What stands in a place (·) is put there by the engine, undecoded, where the call is sent. The task's function is the
call's own wherever it can be, so that it is pickled once for all tasks that have it.

What it is not: knowledge of what a task means. That is Dask's: a node is called with the values of its inputs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from dask._task_spec import Alias, DataNode, GraphNode, Task, TaskRef

from distpool.dask.takers import is_in_memory

__all__ = ["Call", "call_of", "evaluate", "evaluate_and_tell", "evaluate_apart"]


class Call(NamedTuple):
    """A call: ``args`` with None in the ``places`` (positions, names) of the values of ``inputs``, which are keys."""

    function: Callable[..., Any]
    args: list[Any]
    kwargs: dict[str, Any]
    places: list[int | str]
    inputs: list[Any]


def call_of(nodes: Sequence[GraphNode], *, tells: bool = False, items: Sequence[Any] = ()) -> Call:
    """The call that gives the last node's value. Each node but the first needs the one before it, and nothing else.

    Args:
        nodes: in the order of running.
        tells: the call gives two values: the worker's process number and the last node's value.
        items: the call gives one value more than these: True, and these of the last node's value; or else False, that
            value, and nothing.
    """
    if len(nodes) == 1 and not tells and not items and type(nodes[0]) is Task:
        call = _flat(nodes[0])
        if call is not None:
            return call
    inputs = list(nodes[0].dependencies)
    before: list[Any] = [tuple(nodes), tuple(inputs)]
    if items:
        before.append(tuple(items))
    function = evaluate_apart if items else evaluate_and_tell if tells else evaluate
    places = range(len(before), len(before) + len(inputs))
    return Call(function, [*before, *[None] * len(inputs)], {}, list(places), inputs)


def _flat(node: Task) -> Call | None:
    """The task's own call, if no argument must be evaluated first."""
    places: list[int | str] = []
    inputs: list[Any] = []
    args: list[Any] = []
    for argument in node.args:
        if isinstance(argument, (TaskRef, GraphNode)):
            if isinstance(argument, TaskRef):
                inputs.append(argument.key)
            elif type(argument) is Alias:
                inputs.append(argument.target)
            elif type(argument) is DataNode:
                args.append(argument.value)
                continue
            else:
                return None
            places.append(len(args))
            argument = None
        args.append(argument)
    kwargs: dict[str, Any] = {}
    for name, argument in node.kwargs.items():
        if isinstance(argument, TaskRef):
            inputs.append(argument.key)
            places.append(name)
            argument = None
        elif isinstance(argument, GraphNode):
            return None
        kwargs[name] = argument
    return Call(node.func, args, kwargs, places, inputs)


def evaluate(nodes: Sequence[GraphNode], keys: Sequence[Any], *given: Any) -> Any:
    """Run nodes one after the other, in a worker; the first finds the ``given`` values under these ``keys``.

    What each of the others needs is the value before it, by the name that it uses: the name that a node has for itself
    may be another than the graph's.
    """
    values: dict[Any, Any] = dict(zip(keys, given, strict=True))
    del given
    first, *others = nodes
    value = first(values)
    for node in others:
        values = dict.fromkeys(node.dependencies, value)
        value = node(values)
    return value


def evaluate_and_tell(nodes: Sequence[GraphNode], keys: Sequence[Any], *given: Any) -> tuple[int, Any]:
    """The same, and the number of this process."""
    return os.getpid(), evaluate(nodes, keys, *given)


def evaluate_apart(
    nodes: Sequence[GraphNode], keys: Sequence[Any], items: Sequence[Any], *given: Any
) -> list[Any]:
    """The same, and then True and what there is in its value under each of ``items``.

    If that may take long, or much memory: False, the value itself, and nothing for each of the others.
    """
    value = evaluate(nodes, keys, *given)
    del given
    if not is_in_memory(value):
        return [False, value, *[None] * (len(items) - 1)]
    parts: list[Any] = [True]
    for item in items:
        try:
            parts.append(value[item])
        except Exception as error:
            error.add_note(f"taking {item!r} out of its value")
            raise
    return parts
