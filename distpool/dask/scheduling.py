"""``get`` and ``persist``: what Dask calls, from its graph to the values.

::

    get(graph, keys) ─► task specifications ─► what is needed ─► its order ─► Computation.run ─► values, or references

What it is not: how the graph runs (``running``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dask
import dask.base
from dask._task_spec import GraphNode, convert_legacy_graph
from dask.callbacks import local_callbacks
from dask.core import flatten
from dask.local import nested_get
from dask.order import order
from dask.utils import ensure_dict

from distpool.dask.annotations import PLAIN, Options, annotations_of, options_of
from distpool.dask.callbacks import Told
from distpool.dask.errors import CycleError, MissingKeyError
from distpool.dask.persisted import stand_in
from distpool.dask.running import Computation
from distpool.dask.shared_locks import share_locks
from distpool.dask.stores import write_here

__all__ = ["Scheduler", "register"]

#: Keys that an error names, at most.
NAMED_MAX = 5


class Scheduler:
    """What Dask takes for a client: ``get`` computes, ``persist`` leaves the values in the cluster."""

    def get(self, dsk: Any, keys: Any, **kwargs: Any) -> Any:
        """The values of ``keys``, a key or nested lists of keys; lists come back as tuples.

        Args:
            dsk: a dictionary, old-style or of task specifications; a graph of layers; an expression.
            keys: of the graph.
            kwargs: ``num_workers`` (at most so many tasks at a time), ``callbacks``, ``rerun_exceptions_locally`` and
                ``cache`` (values of keys that are known) as with Dask's own schedulers. What others of them take, and
                has no meaning here, is ignored.

        Raises:
            CycleError, MissingKeyError: the graph cannot be computed.
            AnnotationError: a task asks for something that there is not.
            Exception: what a task raises, of its own type, with the worker's traceback as its cause.
        """
        return _compute(dsk, keys, lambda computation, key: computation.value(key), **kwargs)

    def persist(self, collections: Sequence[Any], optimize_graph: bool = True, **kwargs: Any) -> list[Any]:
        """The same collections, with their values computed, and left where they are. Raises as ``get`` does."""

        def keep(dsk: Any, keys: Any, **more: Any) -> Any:
            return _compute(dsk, keys, lambda run, key: stand_in(key, run.reference(key)), **more)

        persisted = dask.base.persist(
            *collections, traverse=False, optimize_graph=optimize_graph, scheduler=keep, **kwargs
        )
        return list(persisted)


_SCHEDULER = Scheduler()


def register() -> Callable[..., Any]:
    """Make ``scheduler="distpool"`` known to Dask; returns the scheduler function.

    Dataframes are shuffled by tasks, unless the configuration says otherwise: Dask's own default, files on the local
    disk, would lose the rows of other machines. Locks of Dask's, such as that of ``dask.array.store``, hold for all
    workers.
    """
    dask.config.update_defaults({"dataframe": {"shuffle": {"method": "tasks"}}})
    dask.base.named_schedulers["distpool"] = _SCHEDULER.get
    share_locks()
    return _SCHEDULER.get


def _compute(
    dsk: Any,
    keys: Any,
    result: Callable[[Computation, Any], Any],
    *,
    num_workers: int | None = None,
    callbacks: Any = None,
    rerun_exceptions_locally: bool | None = None,
    cache: Mapping[Any, Any] | None = None,
    **_others: Any,
) -> Any:
    wanted = list(dict.fromkeys(flatten(keys) if isinstance(keys, list) else [keys]))
    given = dsk.__dask_graph__() if hasattr(dsk, "__dask_graph__") else dsk
    by_key = annotations_of(dsk if hasattr(dsk, "__dask_annotations__") else given)
    graph = ensure_dict(given)
    if cache is None:
        cache = dask.config.get("cache", None)
    if cache:
        graph = {**graph, **cache}
    graph = convert_legacy_graph(graph)
    with local_callbacks(callbacks) as active:
        told = Told(active)
        failed = True
        try:
            told.start(graph)
            if active:
                graph = convert_legacy_graph(graph)  # a callback may have put values into it
            needed = _needed(graph, wanted)
            options = options_of(by_key, dask.get_annotations(), needed)
            for key, instead in write_here(needed).items():
                needed |= instead
                if key in options:
                    options |= dict.fromkeys(instead, options[key])
                if active:
                    graph |= instead
            ranks = _ranks(needed, options)
            if active:
                told.begin(graph, wanted, ranks)
            computation = Computation(
                {key: needed[key] for key in sorted(needed, key=ranks.__getitem__)},
                wanted,
                options,
                told,
                num_workers or dask.config.get("num_workers", None),
                dask.config.get("rerun_exceptions_locally", False)
                if rerun_exceptions_locally is None
                else rerun_exceptions_locally,
            )
            computation.run()
            failed = False
        finally:
            told.finish(failed)
    return nested_get(keys, {key: result(computation, key) for key in wanted})


def _needed(graph: Mapping[Any, GraphNode], wanted: Sequence[Any]) -> dict[Any, GraphNode]:
    """The part of a graph that some keys need. Raises MissingKeyError."""
    needed: dict[Any, GraphNode] = {}
    missing: list[str] = []
    left: list[tuple[Any, Any]] = [(key, None) for key in wanted]
    while left:
        key, user = left.pop()
        if key in needed:
            continue
        node = graph.get(key)
        if node is None:
            missing.append(repr(key) if user is None else f"{key!r} (Missing dependency of {user!r})")
            continue
        needed[key] = node
        left += [(dependency, key) for dependency in node.dependencies if dependency not in needed]
    if missing:
        more = f" and {len(missing) - NAMED_MAX} more" if len(missing) > NAMED_MAX else ""
        raise MissingKeyError(
            f"the graph does not have the key {', '.join(missing[:NAMED_MAX])}{more}; "
            "it must be in the graph that is computed, together with all that it needs"
        )
    return needed


def _ranks(needed: dict[Any, GraphNode], options: Mapping[Any, Options]) -> Mapping[Any, Any]:
    """What comes first: by priority, then as Dask orders a graph to keep few values alive. Raises CycleError."""
    try:
        ranks: Mapping[Any, Any] = order(needed)
    except RuntimeError:
        if cycle := _cycle(needed):
            path = " -> ".join(map(repr, cycle[:NAMED_MAX])) + (" -> ..." if len(cycle) > NAMED_MAX else "")
            raise CycleError(
                f"the graph has a cycle: {path}; no task may need its own result, directly or through others"
            ) from None
        raise
    if any(each.priority for each in options.values()):
        return {key: (-options.get(key, PLAIN).priority, rank) for key, rank in ranks.items()}
    return ranks


def _cycle(graph: Mapping[Any, GraphNode]) -> list[Any]:
    """The keys of a cycle, from one of them to itself; nothing if there is none."""
    done: set[Any] = set()
    for start in graph:
        path: dict[Any, None] = {}
        stack = [(start, iter(graph[start].dependencies))] if start not in done else []
        path[start] = None
        while stack:
            key, rest = stack[-1]
            for dependency in rest:
                if dependency in path:
                    keys = list(path)
                    return [*keys[keys.index(dependency) :], dependency]
                if dependency not in done:
                    path[dependency] = None
                    stack.append((dependency, iter(graph[dependency].dependencies)))
                    break
            else:
                stack.pop()
                path.pop(key, None)
                done.add(key)
    return []
