"""Many records in a few lines: how many tasks, actors and objects there are of each sort and in which state.

Pure functions over the mappings that the records are made of. The forms are those of Ray's ``summarize_*``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

_MB = 1 << 20

Facts = Mapping[str, Any]


def of_cluster(summary: dict[str, Any]) -> dict[str, Any]:
    """What ``summarize_*`` return: there is one cluster."""
    return {"cluster": summary}


def of_tasks(tasks: Iterable[Facts]) -> dict[str, Any]:
    """By function or method: its name, its type and a count for each state."""
    summary: dict[str, dict[str, Any]] = {}
    kinds: Counter[str] = Counter()
    for task in tasks:
        name = str(task.get("name") or task.get("func_or_class_name"))
        kind = task.get("type") or "NORMAL_TASK"
        kinds[kind] += 1
        entry = summary.setdefault(
            name,
            {"func_or_class_name": task.get("func_or_class_name") or name, "type": kind, "state_counts": {}},
        )
        _count(entry["state_counts"], task.get("state"))
    return {
        "summary": summary,
        "total_tasks": kinds["NORMAL_TASK"],
        "total_actor_tasks": kinds["ACTOR_TASK"],
        "total_actor_scheduled": kinds["ACTOR_CREATION_TASK"],
        "summary_by": "func_name",
    }


def of_actors(actors: Iterable[Facts]) -> dict[str, Any]:
    """By class: a count for each state."""
    summary: dict[str, dict[str, Any]] = {}
    total = 0
    for actor in actors:
        total += 1
        name = str(actor.get("class_name"))
        entry = summary.setdefault(name, {"class_name": name, "state_counts": {}})
        _count(entry["state_counts"], actor.get("state"))
    return {"summary": summary, "total_actors": total, "summary_by": "class"}


def of_objects(objects: Iterable[Facts]) -> dict[str, Any]:
    """By call site: how many and how big; on how many workers and nodes; counts of states, attempts and references."""
    groups: dict[str, list[Facts]] = {}
    for each in objects:
        groups.setdefault(each.get("call_site") or "disabled", []).append(each)
    summary = {call_site: _of_group(group) for call_site, group in groups.items()}
    return {
        "summary": summary,
        "total_objects": sum(entry["total_objects"] for entry in summary.values()),
        "total_size_mb": sum(entry["total_size_mb"] for entry in summary.values()),
        "callsite_enabled": bool(groups) and "disabled" not in groups,
        "summary_by": "callsite",
    }


def _of_group(group: list[Facts]) -> dict[str, Any]:
    states: dict[str, int] = {}
    attempts: dict[str, int] = {}
    references: dict[str, int] = {}
    for each in group:
        _count(states, each.get("task_status"))
        _count(attempts, str(each.get("attempt_number") or 0))
        _count(references, each.get("reference_type"))
    return {
        "total_objects": len(group),
        # The size of what is not there yet is -1.
        "total_size_mb": sum(max(0, each.get("object_size") or 0) for each in group) / _MB,
        "total_num_workers": len({(each.get("ip"), each.get("pid")) for each in group}),
        "total_num_nodes": len({each.get("ip") for each in group}),
        "task_state_counts": states,
        "task_attempt_number_counts": attempts,
        "ref_type_counts": references,
    }


def _count(counts: dict[str, int], what: Any) -> None:
    name = str(what or "NIL")
    counts[name] = counts.get(name, 0) + 1
