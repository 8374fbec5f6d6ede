"""What a cluster is doing: its tasks, actors, objects, nodes, workers, jobs and placement groups, filtered and counted.

::

    list_tasks(filters=[("state", "=", "RUNNING")], limit=10)
        │
        ├─ PROVIDERS["tasks"]() ──► records, as dicts        what the engine knows; filled in by the engine's side
        ├─ matching ──► limited ──► TaskState(...)            state_records: pure functions
        ▼
    [TaskState(task_id=..., state="RUNNING", ...), ...]       attributes, and items as of a dict

Stands in for ``ray.util.state``.
"""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from distpool import left_out
from distpool.util import state_records, state_summaries
from distpool.util.state_records import (
    ActorState,
    Filter,
    JobState,
    NodeState,
    ObjectState,
    PlacementGroupState,
    RayStateApiException,
    Record,
    TaskState,
    WorkerState,
)

__all__ = [
    "ActorState",
    "JobState",
    "NodeState",
    "ObjectState",
    "PlacementGroupState",
    "RayStateApiException",
    "TaskState",
    "WorkerState",
    "get_actor",
    "get_job",
    "get_node",
    "get_objects",
    "get_placement_group",
    "get_task",
    "get_worker",
    "list_actors",
    "list_jobs",
    "list_nodes",
    "list_objects",
    "list_placement_groups",
    "list_tasks",
    "list_workers",
    "summarize_actors",
    "summarize_objects",
    "summarize_tasks",
]

R = TypeVar("R", bound=Record)

#: Gives all records of a kind, as mappings from field names; a field that is not there is None. What it gives may have
#: an attribute ``missing``: texts that say who has not answered, or how much was left out.
Provider = Callable[[], Iterable[Mapping[str, Any]]]
#: By kind: "tasks", "actors", "objects", "nodes", "workers", "jobs", "placement_groups".
PROVIDERS: dict[str, Provider] = {}

#: Who sets ``PROVIDERS`` is imported when the first record is asked for, not before.
SOURCES = "distpool.state_sources"

_LIMIT = 100
_SUMMARY_LIMIT = 10_000


def _all(what: str, stacklevel: int = 4, *, warn: bool = True) -> Iterable[Mapping[str, Any]]:
    if not PROVIDERS and importlib.util.find_spec(SOURCES) is not None:
        importlib.import_module(SOURCES)
    provider = PROVIDERS.get(what)
    if provider is None:
        raise RayStateApiException(f"nothing here keeps a record of {what.replace('_', ' ')}")
    found = provider()
    missing = getattr(found, "missing", ())
    if warn and missing:
        warnings.warn(
            f"what is told of {what.replace('_', ' ')} is partial: {'; '.join(missing)}",
            RuntimeWarning,
            stacklevel=stacklevel,
        )
    return found


def _listed(
    kind: type[R],
    what: str,
    filters: Sequence[Filter] | None,
    limit: int,
    detail: bool,
    warn: bool,
) -> list[R]:
    found, total = state_records.select(kind, _all(what, warn=warn), filters or (), limit, detail)
    if warn and total > len(found):
        warnings.warn(
            f"{total} {what.replace('_', ' ')} match, and only {len(found)} of them are listed: ask for more "
            "with limit=, or for less with filters=",
            RuntimeWarning,
            stacklevel=3,
        )
    return found


def _one(kind: type[R], what: str, id: Any) -> R | None:
    name = id if isinstance(id, str) else id.hex()
    key = state_records.KEYS[kind]
    found, _ = state_records.select(kind, _all(what), [(key, "=", name)], 1, True)
    return found[0] if found else None


def list_tasks(
    address: str | None = None,
    filters: Sequence[Filter] | None = None,
    limit: int = _LIMIT,
    timeout: int = 30,
    detail: bool = False,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> list[TaskState]:
    """Calls of remote functions and of actors' methods, pending, running and of late.

    Args:
        address: must be left out: it is the cluster that this program uses.
        filters: (field, "=" or "!=", value) each; only what fits all of them is listed. Text is compared without
            regard to case.
        limit: records at most; if there are more, a warning says so.
        timeout: seconds.
        detail: fill in also what is rarely looked at.
        raise_on_missing_output: whether to warn, where Ray raises, of records that are left out: because of the limit,
            or because some process was stopped, or too busy to answer.

    Raises:
        ValueError: no such field or comparison.
        RayStateApiException, ClusterError: the state cannot be had.
    """
    return _listed(TaskState, "tasks", filters, limit, detail, raise_on_missing_output)


def list_actors(
    address: str | None = None,
    filters: Sequence[Filter] | None = None,
    limit: int = _LIMIT,
    timeout: int = 30,
    detail: bool = False,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> list[ActorState]:
    """Actors, dead ones too. Arguments and errors are those of ``list_tasks``."""
    return _listed(ActorState, "actors", filters, limit, detail, raise_on_missing_output)


def list_objects(
    address: str | None = None,
    filters: Sequence[Filter] | None = None,
    limit: int = _LIMIT,
    timeout: int = 30,
    detail: bool = False,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> list[ObjectState]:
    """Objects that somebody has a reference to. Arguments and errors are those of ``list_tasks``."""
    return _listed(ObjectState, "objects", filters, limit, detail, raise_on_missing_output)


def list_nodes(
    address: str | None = None,
    filters: Sequence[Filter] | None = None,
    limit: int = _LIMIT,
    timeout: int = 30,
    detail: bool = False,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> list[NodeState]:
    """Machines of the cluster. Arguments and errors are those of ``list_tasks``."""
    return _listed(NodeState, "nodes", filters, limit, detail, raise_on_missing_output)


def list_workers(
    address: str | None = None,
    filters: Sequence[Filter] | None = None,
    limit: int = _LIMIT,
    timeout: int = 30,
    detail: bool = False,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> list[WorkerState]:
    """Processes that run tasks and actors. Arguments and errors are those of ``list_tasks``."""
    return _listed(WorkerState, "workers", filters, limit, detail, raise_on_missing_output)


def list_jobs(
    address: str | None = None,
    filters: Sequence[Filter] | None = None,
    limit: int = _LIMIT,
    timeout: int = 30,
    detail: bool = False,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> list[JobState]:
    """Programs that use the cluster. Arguments and errors are those of ``list_tasks``."""
    return _listed(JobState, "jobs", filters, limit, detail, raise_on_missing_output)


def list_placement_groups(
    address: str | None = None,
    filters: Sequence[Filter] | None = None,
    limit: int = _LIMIT,
    timeout: int = 30,
    detail: bool = False,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> list[PlacementGroupState]:
    """Placement groups. Arguments and errors are those of ``list_tasks``."""
    return _listed(PlacementGroupState, "placement_groups", filters, limit, detail, raise_on_missing_output)


def get_task(
    id: Any, address: str | None = None, timeout: int = 30, _explain: bool = False
) -> TaskState | None:
    """The task of this id, or that makes this reference, in detail; None if there is none."""
    if not isinstance(id, str) and hasattr(id, "task_id"):
        id = id.task_id()
    return _one(TaskState, "tasks", id)


def get_actor(
    id: str, address: str | None = None, timeout: int = 30, _explain: bool = False
) -> ActorState | None:
    """The actor of this id, in detail; None if there is none."""
    return _one(ActorState, "actors", id)


def get_node(
    id: str, address: str | None = None, timeout: int = 30, _explain: bool = False
) -> NodeState | None:
    """The node of this id, in detail; None if there is none."""
    return _one(NodeState, "nodes", id)


def get_worker(
    id: str, address: str | None = None, timeout: int = 30, _explain: bool = False
) -> WorkerState | None:
    """The worker of this id, in detail; None if there is none."""
    return _one(WorkerState, "workers", id)


def get_job(
    id: str, address: str | None = None, timeout: int = 30, _explain: bool = False
) -> JobState | None:
    """The job of this id, in detail; None if there is none."""
    return _one(JobState, "jobs", id)


def get_placement_group(
    id: str, address: str | None = None, timeout: int = 30, _explain: bool = False
) -> PlacementGroupState | None:
    """The placement group of this id, in detail; None if there is none."""
    return _one(PlacementGroupState, "placement_groups", id)


def get_objects(
    id: str, address: str | None = None, timeout: int = 30, _explain: bool = False
) -> list[ObjectState]:
    """All that is known about the object of this id, from each process that has a reference to it."""
    found, _ = state_records.select(
        ObjectState, _all("objects", 3), [("object_id", "=", id)], _SUMMARY_LIMIT, True
    )
    return found


def summarize_tasks(
    address: str | None = None,
    timeout: int = 30,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> dict[str, Any]:
    """How many tasks of each function are in which state."""
    return state_summaries.of_cluster(
        state_summaries.of_tasks(_all("tasks", 3, warn=raise_on_missing_output))
    )


def summarize_actors(
    address: str | None = None,
    timeout: int = 30,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> dict[str, Any]:
    """How many actors of each class are in which state."""
    return state_summaries.of_cluster(
        state_summaries.of_actors(_all("actors", 3, warn=raise_on_missing_output))
    )


def summarize_objects(
    address: str | None = None,
    timeout: int = 30,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> dict[str, Any]:
    """How many objects were made at each call site, and how big they are."""
    return state_summaries.of_cluster(
        state_summaries.of_objects(_all("objects", 3, warn=raise_on_missing_output))
    )


TYPE_CHECKING = False
if not TYPE_CHECKING:  # which would take every name for one that exists

    def __getattr__(name: str) -> Any:
        """Say what was left out, and why."""
        why = None if name.startswith("_") else left_out.why(f"util.state.{name}")
        raise AttributeError(why or f"module {__name__!r} has no attribute {name!r}")
