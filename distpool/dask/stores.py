"""What ``dask.array.store`` writes into what only this process has: it is written here, by the thread that computes.

::

    da.store(x, np.empty(...))     for each chunk:   a worker makes it and writes it, but into its own copy
                                                ─►   a worker makes it ──► it is written here

Only this process has an array of NumPy's, whether its memory is a file's or not (a worker gets a copy), and whatever
cannot be pickled: a data set of h5py's, say. Everything else is written by the workers.

Dask joins tasks into one before a scheduler sees them, so such a one has to be taken out of another again.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

from dask._task_spec import Alias, DataNode, GraphNode, Task, TaskRef, _execute_subgraph

__all__ = ["Here", "write_here"]


class Here(Task):  # type: ignore[misc]  # Dask's types are not looked at
    """A task that is run by the thread that computes."""

    __slots__ = ()


def write_here(graph: Mapping[Any, GraphNode]) -> dict[Any, dict[Any, GraphNode]]:
    """For each task of the graph that writes into what only this process has: the tasks that stand for it, by key."""
    core = sys.modules.get("dask.array.core")
    if core is None:
        return {}
    splitting = _Splitting(core.load_store_chunk, core.np.ndarray)
    outside = _Scope(graph, {}, None)
    found = {}
    for key, node in graph.items():
        if (made := splitting.of(key, node, outside)) is not None:
            found[key] = made
    return found


class _Scope(NamedTuple):
    """Where names mean something: the tasks that were joined into one, what is ``given`` to them, and all around."""

    tasks: Mapping[Any, GraphNode]
    given: Mapping[Any, Any]
    around: _Scope | None

    def value(self, argument: Any) -> Any:
        """What is known now to be an argument of a task. Raises LookupError."""
        if isinstance(argument, (TaskRef, Alias)):
            name = argument.key if isinstance(argument, TaskRef) else argument.target
            if name in self.tasks:
                return self.value(self.tasks[name])
            if self.around is None:
                raise LookupError(name)
            return self.around.value(self.given.get(name, TaskRef(name)))
        if isinstance(argument, DataNode):
            return argument.value
        if isinstance(argument, GraphNode):
            raise LookupError(argument.key)
        return argument


class _Splitting:
    """Takes those tasks that call ``write`` out of those that they were joined into."""

    def __init__(self, write: Any, array: type) -> None:
        self._write = write
        self._array = array
        self._only_here: dict[int, bool] = {}

    def of(self, key: Any, node: GraphNode, scope: _Scope) -> dict[Any, GraphNode] | None:
        """What stands for a task, one part of it Here; None if it writes nothing, or not into what only we have."""
        if type(node) is not Task:
            return None
        if node.func is self._write:
            return self._here(key, node, scope)
        if node.func is _execute_subgraph:
            tasks, last, names, *given = node.args
            inside = _Scope(tasks, dict(zip(names, given, strict=True)), scope)
        elif len(node.args) == 1 and not node.kwargs and type(node.args[0]) is Task:
            last, name = key, ("inside", key)
            tasks = {name: node.args[0], last: Task(last, node.func, TaskRef(name))}
            inside = _Scope(tasks, {}, scope)
        else:
            return None
        parts: dict[Any, GraphNode] = {}
        for name, task in tasks.items():
            parts |= self.of(name, task, inside) or {}
        ours = [name for name, task in parts.items() if type(task) is Here]
        if len(ours) != 1:
            return None
        return _split(key, inside._replace(tasks={**tasks, **parts}), ours[0], last)

    def _here(self, key: Any, node: Task, scope: _Scope) -> dict[Any, GraphNode] | None:
        chunk, *others = node.args
        try:
            args = [scope.value(each) for each in others]
            kwargs = {word: scope.value(each) for word, each in node.kwargs.items()}
        except LookupError:
            return None  # what it is to write into has yet to be made
        if not isinstance(chunk, TaskRef) or not self._is_only_here(args[0]):
            return None
        return {key: Here(key, node.func, chunk, *args, **kwargs)}

    def _is_only_here(self, target: Any) -> bool:
        if id(target) not in self._only_here:
            self._only_here[id(target)] = isinstance(target, self._array) or not _can_be_pickled(target)
        return self._only_here[id(target)]


def _can_be_pickled(target: Any) -> bool:
    try:
        pickle.dumps(target)
    except Exception:
        return False
    return True


def _split(key: Any, joined: _Scope, ours: Any, last: Any) -> dict[Any, GraphNode] | None:
    """Tasks that were joined into one called ``key``, as three: what comes before that which is ours, it, the rest."""
    here = joined.tasks[ours]
    (chunk,) = here.dependencies
    made: dict[Any, GraphNode] = {}
    if chunk in joined.tasks:
        source = ("chunk-to-write", key)
        made[source] = _joined(source, joined.tasks, joined.given, chunk)
    else:
        outside = joined.given.get(chunk, TaskRef(chunk))
        if not isinstance(outside, TaskRef):
            return None
        source = outside.key
    written = key if ours == last else ("written", key)
    made[written] = Here(written, here.func, TaskRef(source), *here.args[1:], **here.kwargs)
    if written != key:
        made[key] = _joined(key, joined.tasks, {**joined.given, ours: TaskRef(written)}, last)
    return made


def _joined(key: Any, tasks: Mapping[Any, GraphNode], given: Mapping[Any, Any], last: Any) -> GraphNode:
    """One task of all those that the ``last`` needs, and nothing else."""
    inside: dict[Any, GraphNode] = {}
    outside: dict[Any, Any] = {}
    left = [last]
    while left:
        name = left.pop()
        if name in inside or name in outside:
            continue
        if name in given or name not in tasks:
            outside[name] = given.get(name, TaskRef(name))
        else:
            inside[name] = tasks[name]
            left += tasks[name].dependencies
    return Task(key, _execute_subgraph, inside, last, tuple(outside), *outside.values())
