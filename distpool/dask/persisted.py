"""Values that stay in the cluster: what stands for them in the graph of a persisted collection.

::

    x.persist(scheduler="distpool")  ─►  {key: Persisted(key, reference)}
                                            │                  │
              any other scheduler: a task like any other       this one: the reference *is* the value, nothing moves

The value lives as long as a collection, or anything else, has the reference: which may be pickled, passed on, and
given to ``distpool.get``. A number, or the like, needs none: it stands in the graph itself.
"""

from __future__ import annotations

from typing import Any

from dask._task_spec import DataNode, Task
from dask.tokenize import normalize_token

from distpool import objects
from distpool.scheduler.remote.refs import ObjectRef
from distpool.scheduler.serialize import PLAIN_TYPES, is_plain

__all__ = ["Persisted", "stand_in"]


class Persisted(Task):  # type: ignore[misc]  # Dask's types are not looked at
    """A task whose value is there already: that of the reference, its only argument."""

    __slots__ = ()

    @property
    def reference(self) -> ObjectRef:
        """Where the value is."""
        reference: ObjectRef = self.args[0]
        return reference

    def result(self) -> Any:
        """The value, as a future of Dask's would give it."""
        return objects.get(self.reference)


def fetch(reference: ObjectRef) -> Any:
    """The value, where somebody else than distpool computes."""
    return objects.get(reference)


def stand_in(key: Any, reference: ObjectRef) -> Any:
    """What stands in a graph for the value of a reference that is ready."""
    value = reference.value
    if type(value) in PLAIN_TYPES and is_plain(value):
        return DataNode(key, value) if isinstance(value, (str, bytes)) else value
    return Persisted(key, fetch, reference)


def _token(reference: ObjectRef) -> tuple[str, str]:
    """Dask names things by what they pickle to, and a reference that was pickled is kept for good."""
    return "distpool.ObjectRef", reference.hex()


normalize_token.register(ObjectRef, _token)
