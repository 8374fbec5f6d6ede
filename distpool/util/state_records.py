"""What there is to know about a task, an actor, an object and so on; and which of many are asked for.

::

    mappings ──► select(TaskState, ..., filters, limit, detail) ──► ([TaskState, ...], how many fit)

A record's fields are Ray's. Those that are marked are filled in only in detail. A record also behaves as a dict does:
``record["state"]``, ``dict(record)``. Pure functions: where the mappings come from is none of their business.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from distpool.exceptions import RayError

#: Field, "=" or "!=", value.
Filter = tuple[str, str, Any]


class RayStateApiException(RayError):
    """The state of the cluster could not be had, or not so."""


class UnknownFilterError(RayStateApiException, ValueError):
    """There is no such field to filter by, or no such comparison."""

    __reduce__ = RayError.__reduce__


class Record:
    """What they have in common: to be read as a dict."""

    def __getitem__(self, name: str) -> Any:
        if name not in self.keys():
            raise KeyError(name)
        return getattr(self, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self.keys())

    def __contains__(self, name: object) -> bool:
        return name in self.keys()

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a field, or the default if there is no such field."""
        return getattr(self, name) if name in self.keys() else default

    def keys(self) -> list[str]:
        """The names of its fields."""
        return [each.name for each in fields(self)]  # type: ignore[arg-type]

    def values(self) -> list[Any]:
        """The values of its fields."""
        return [getattr(self, name) for name in self.keys()]

    def items(self) -> list[tuple[str, Any]]:
        """Both."""
        return [(name, getattr(self, name)) for name in self.keys()]

    def asdict(self) -> dict[str, Any]:
        """Both, as a dict of its own."""
        return dict(self.items())

    @classmethod
    def list_columns(cls, detail: bool = True) -> set[str]:
        """The names of the fields that are filled in."""
        return {each.name for each in fields(cls) if detail or not _is_detail(each)}  # type: ignore[arg-type]


#: Marks a field that is filled in only in detail.
_DETAIL = {"detail": True}


def _is_detail(each: Any) -> bool:
    return bool(each.metadata.get("detail"))


@dataclass
class TaskState(Record):
    """A call of a remote function or of an actor's method."""

    task_id: str
    attempt_number: int | None = None
    name: str | None = None
    state: str | None = None
    job_id: str | None = None
    actor_id: str | None = None
    type: str | None = None
    func_or_class_name: str | None = None
    parent_task_id: str | None = None
    node_id: str | None = None
    worker_id: str | None = None
    worker_pid: int | None = None
    error_type: str | None = None
    language: str | None = field(default=None, metadata=_DETAIL)
    required_resources: dict[str, float] | None = field(default=None, metadata=_DETAIL)
    runtime_env_info: dict[str, Any] | None = field(default=None, metadata=_DETAIL)
    placement_group_id: str | None = field(default=None, metadata=_DETAIL)
    events: list[dict[str, Any]] | None = field(default=None, metadata=_DETAIL)
    profiling_data: dict[str, Any] | None = field(default=None, metadata=_DETAIL)
    creation_time_ms: int | None = field(default=None, metadata=_DETAIL)
    start_time_ms: int | None = field(default=None, metadata=_DETAIL)
    end_time_ms: int | None = field(default=None, metadata=_DETAIL)
    task_log_info: dict[str, Any] | None = field(default=None, metadata=_DETAIL)
    error_message: str | None = field(default=None, metadata=_DETAIL)
    is_debugger_paused: bool | None = field(default=None, metadata=_DETAIL)
    call_site: str | None = field(default=None, metadata=_DETAIL)
    label_selector: dict[str, str] | None = field(default=None, metadata=_DETAIL)
    fallback_strategy: dict[str, Any] | None = field(default=None, metadata=_DETAIL)


@dataclass
class ActorState(Record):
    """An actor."""

    actor_id: str
    class_name: str | None = None
    state: str | None = None
    job_id: str | None = None
    name: str | None = None
    node_id: str | None = None
    pid: int | None = None
    ray_namespace: str | None = None
    serialized_runtime_env: str | None = field(default=None, metadata=_DETAIL)
    required_resources: dict[str, float] | None = field(default=None, metadata=_DETAIL)
    death_cause: dict[str, Any] | None = field(default=None, metadata=_DETAIL)
    is_detached: bool | None = field(default=None, metadata=_DETAIL)
    placement_group_id: str | None = field(default=None, metadata=_DETAIL)
    repr_name: str | None = field(default=None, metadata=_DETAIL)
    num_restarts: int | None = field(default=None, metadata=_DETAIL)
    num_restarts_due_to_lineage_reconstruction: int | None = field(default=None, metadata=_DETAIL)
    num_restarts_due_to_node_preemption: int | None = field(default=None, metadata=_DETAIL)
    call_site: str | None = field(default=None, metadata=_DETAIL)
    label_selector: dict[str, str] | None = field(default=None, metadata=_DETAIL)
    fallback_strategy: dict[str, Any] | None = field(default=None, metadata=_DETAIL)


@dataclass
class ObjectState(Record):
    """An object, as one process that has a reference to it sees it."""

    object_id: str
    object_size: int | None = None  # in bytes
    task_status: str | None = None
    attempt_number: int | None = None
    reference_type: str | None = None
    call_site: str | None = None
    type: str | None = None
    pid: int | None = None
    ip: str | None = None


@dataclass
class NodeState(Record):
    """A machine."""

    node_id: str
    node_ip: str | None = None
    is_head_node: bool | None = None
    state: str | None = None
    state_message: str | None = None
    node_name: str | None = None
    resources_total: dict[str, float] | None = None
    labels: dict[str, str] | None = None
    start_time_ms: int | None = field(default=None, metadata=_DETAIL)
    end_time_ms: int | None = field(default=None, metadata=_DETAIL)


@dataclass
class WorkerState(Record):
    """A process of the cluster."""

    worker_id: str
    is_alive: bool | None = None
    worker_type: str | None = None
    exit_type: str | None = None
    node_id: str | None = None
    ip: str | None = None
    pid: int | None = None
    exit_detail: str | None = field(default=None, metadata=_DETAIL)
    worker_launch_time_ms: int | None = field(default=None, metadata=_DETAIL)
    worker_launched_time_ms: int | None = field(default=None, metadata=_DETAIL)
    start_time_ms: int | None = field(default=None, metadata=_DETAIL)
    end_time_ms: int | None = field(default=None, metadata=_DETAIL)
    debugger_port: int | None = field(default=None, metadata=_DETAIL)
    num_paused_threads: int | None = field(default=None, metadata=_DETAIL)


@dataclass
class JobState(Record):
    """A program that uses the cluster."""

    job_id: str
    type: str | None = None
    submission_id: str | None = None
    driver_info: dict[str, Any] | None = None
    status: str | None = None
    entrypoint: str | None = None
    message: str | None = None
    error_type: str | None = None
    start_time: int | None = None
    end_time: int | None = None
    metadata: dict[str, str] | None = None
    runtime_env: dict[str, Any] | None = None
    driver_agent_http_address: str | None = None
    driver_node_id: str | None = None
    driver_exit_code: int | None = None


@dataclass
class PlacementGroupState(Record):
    """A placement group."""

    placement_group_id: str
    name: str | None = None
    creator_job_id: str | None = None
    state: str | None = None
    bundles: list[dict[str, Any]] | None = field(default=None, metadata=_DETAIL)
    is_detached: bool | None = field(default=None, metadata=_DETAIL)
    stats: dict[str, Any] | None = field(default=None, metadata=_DETAIL)
    topology_strategy: dict[str, Any] | None = field(default=None, metadata=_DETAIL)
    topology_assignments: dict[str, Any] | None = field(default=None, metadata=_DETAIL)


#: The field that names a record, by its type.
KEYS: dict[type[Record], str] = {
    TaskState: "task_id",
    ActorState: "actor_id",
    ObjectState: "object_id",
    NodeState: "node_id",
    WorkerState: "worker_id",
    JobState: "job_id",
    PlacementGroupState: "placement_group_id",
}

R = TypeVar("R", bound=Record)


def select(
    kind: type[R],
    facts: Iterable[Mapping[str, Any]],
    filters: Sequence[Filter],
    limit: int,
    detail: bool,
) -> tuple[list[R], int]:
    """The records that fit all filters, by their names, no more than ``limit``; and how many fit.

    Raises:
        UnknownFilterError: a filter that cannot be.
        ValueError: the limit is below 0.
    """
    if limit < 0:
        raise ValueError(f"limit is a number of records, not {limit}")
    columns = kind.list_columns(detail)
    wanted = [checked(kind, each) for each in filters]
    fitting = [each for each in facts if all(fits(each, one) for one in wanted)]
    fitting.sort(key=lambda each: str(each[KEYS[kind]]))
    taken = [
        kind(**{name: value for name, value in each.items() if name in columns}) for each in fitting[:limit]
    ]
    return taken, len(fitting)


def checked(kind: type[Record], given: Any) -> Filter:
    """A filter for this kind of record, if it is one."""
    if not isinstance(given, (tuple, list)) or len(given) != 3:
        raise UnknownFilterError(
            f"a filter is (field, '=' or '!=', value), for instance ('state', '=', 'RUNNING'), not {given!r}"
        )
    name, predicate, value = given
    if isinstance(name, str):
        name = name.lower()  # as on a command line: STATE=RUNNING
    columns = kind.list_columns()
    if name not in columns:
        near = difflib.get_close_matches(str(name), columns, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(columns))}"
        raise UnknownFilterError(f"{kind.__name__} has no field {name!r} to filter by; {hint}")
    if predicate not in ("=", "!="):
        raise UnknownFilterError(f"a filter compares with '=' or '!=', not {predicate!r}")
    return name, predicate, value


def fits(facts: Mapping[str, Any], wanted: Filter) -> bool:
    """Whether a record is one of those that a filter wants."""
    name, predicate, value = wanted
    return _same(facts.get(name), value) == (predicate == "=")


def _same(value: Any, wanted: Any) -> bool:
    """Filters come from command lines too, so ``"3"`` is 3 and ``"true"`` is True."""
    if isinstance(wanted, str) and not isinstance(value, str) and value is not None:
        if isinstance(value, bool):
            return wanted.lower() in (("true", "1") if value else ("false", "0"))
        if isinstance(value, (int, float)):
            try:
                return float(wanted) == value
            except ValueError:
                return False
    if isinstance(value, str):
        return value.lower() == str(wanted).lower()
    return bool(value == wanted)
