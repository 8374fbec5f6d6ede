"""Values that stay in the cluster: what stands for them in the graph of a persisted collection.

::

    x.persist(scheduler="distpool")  ─►  {key: Task(key, fetch, reference)}
                                            │                  │
              any other scheduler: a task like any other       this one: the reference *is* the value, nothing moves

The value lives as long as a collection, or anything else, has the reference: which may be pickled, passed on, and
given to ``distpool.get``.
"""

from __future__ import annotations

from typing import Any

from dask._task_spec import GraphNode, Task
from dask.tokenize import normalize_token

from distpool import objects
from distpool.scheduler.remote.refs import ObjectRef

__all__ = ["fetch", "stand_in", "stored_reference"]


def fetch(reference: ObjectRef) -> Any:
    """The value, where somebody else than distpool computes."""
    return objects.get(reference)


def _token(reference: ObjectRef) -> tuple[str, str]:
    """Dask names things by what they pickle to, and a reference that was pickled is kept for good."""
    return "distpool.ObjectRef", reference.hex()


normalize_token.register(ObjectRef, _token)


def stand_in(key: Any, reference: ObjectRef) -> Task:
    """The task that has this value."""
    return Task(key, fetch, reference)


def stored_reference(node: GraphNode) -> ObjectRef | None:
    """The reference that a task of a graph stands for, if it is one of ``stand_in``."""
    if type(node) is Task and node.func is fetch:
        reference: ObjectRef = node.args[0]
        return reference
    return None
