"""Where the records of ``distpool.util.state`` come from: the cluster is asked when somebody asks us, and not before.

::

    PROVIDERS["tasks"]() ──► survey ──► head ──► agents ──► every owner: its calls, actors, references
                               │                   └──────► what slots show: which calls run       (``remote.records``)
                               ▼
                        dicts, with Ray's field names; ``missing``: who was dead, stopped, or too busy to answer

Nodes, placement groups and names of actors are the head's knowledge. Importing this module is what sets the providers.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from distpool import __version__
from distpool.cluster import node_id_of, nodes
from distpool.errors import ClusterError
from distpool.remote_plans import job
from distpool.runtime_context import digits
from distpool.scheduler import client
from distpool.scheduler.messages import CALLER_SHIFT, Surveyed, WorkerFacts
from distpool.scheduler.remote import cluster_facts, placement, records
from distpool.scheduler.remote.records import About, TaskFacts, Told
from distpool.scheduler.remote.refs import task_id_of
from distpool.scheduler.shells import worker_start
from distpool.util import state
from distpool.util.state_records import RayStateApiException

_STATES = {
    records.WAITS: "PENDING_ARGS_AVAIL",
    records.PENDING: "PENDING_NODE_ASSIGNMENT",
    records.OFFERED: "SUBMITTED_TO_WORKER",
    records.FINISHED: "FINISHED",
    records.FAILED: "FAILED",
}


class Found(list[dict[str, Any]]):
    """Records, and why they may not be all: texts for people."""

    def __init__(self, facts: Iterable[dict[str, Any]] = (), missing: Iterable[str] = ()) -> None:
        super().__init__(facts)
        self.missing = tuple(missing)


class Answers:
    """What a survey has brought: the owners' words, and the workers by node and number."""

    def __init__(self, surveyed: Surveyed) -> None:
        self.told: list[Told] = []
        self.workers: dict[
            tuple[str, str], tuple[WorkerFacts, str]
        ] = {}  # with the session's directory there
        self.missing = [f"node {node} has not answered" for node in surveyed.missing]
        for node in surveyed.nodes:
            self.missing += [f"{who} on node {node.node} has not answered" for who in node.missing]
            self.told += [records.decode(answer) for answer in node.answers]
            for facts in node.workers:
                self.workers[node.node, str(facts.worker)] = facts, node.directory
        for told in self.told:
            if told.left_out:
                self.missing.append(f"{told.left_out} more of process {told.pid} are not told")

    def worker_of(self, lease: str) -> tuple[str, WorkerFacts | None, int, str]:
        """Of a lease's name: node, worker if it lives, the caller's index there, the worker's id."""
        start, _, number = lease.rpartition(".")
        node, _, incarnation = start.rpartition(".")
        index = int(incarnation.partition("~")[2] or 0)
        known = self.workers.get((node, number))
        if known is None:
            return node, None, index, ""
        return node, known[0], index, worker_id_of(known[0].worker, known[1])


def survey(topic: str, *, workers: bool = False) -> Answers:
    """Ask everybody. Raises ClusterError where there is no session, or none any more."""
    if client.current() is None and worker_start.this_worker is None:
        raise ClusterError("there is no session to ask: call init() first, or any remote function")
    return Answers(cluster_facts.survey(topic, workers=workers))


def worker_id_of(worker: int, directory: str) -> str:
    """As ``get_runtime_context().get_worker_id()`` has it there."""
    return digits(f"worker {directory} {worker}", 56)


# --------------------------------------------------------------------------------------------- providers


def tasks() -> Found:
    """Calls that go on, and the latest that have ended."""
    answers = survey("tasks")
    facts = [_task(answers, told, each) for told in answers.told for each in told.tasks]
    return Found(facts, answers.missing)


def _task(answers: Answers, told: Told, facts: TaskFacts) -> dict[str, Any]:
    about = told.abouts[facts.about]
    node, worker, index, worker_id = answers.worker_of(facts.lease) if facts.lease else ("", None, 0, "")
    name = _STATES[facts.state]
    if facts.state == records.OFFERED and worker is not None and _runs(worker, about, facts, index):
        name = "RUNNING"
    ended_ms = int(facts.ended_s * 1000) or None
    return {
        "task_id": task_id_of(told.base, facts.number),
        "attempt_number": 0,
        "name": about.name,
        "state": name,
        "job_id": job.facts[1],
        "actor_id": about.actor or None,
        "type": "ACTOR_TASK" if about.actor else "NORMAL_TASK",
        "func_or_class_name": about.function,
        "node_id": node_id_of(node) if node else None,
        "worker_id": worker_id or None,
        "worker_pid": None if worker is None else worker.pid,
        "error_type": facts.error_type or None,
        "error_message": facts.error or None,
        "language": "PYTHON",
        "required_resources": about.resources,
        "end_time_ms": ended_ms,
    }


def _runs(worker: WorkerFacts, about: About, facts: TaskFacts, index: int) -> bool:
    """Of an actor whose calls run side by side no slot tells; but what has begun, and not ended, runs."""
    if about.side_by_side:
        return index < len(worker.begun) and facts.attempt <= worker.begun[index]
    return worker.running == index << CALLER_SHIFT | facts.attempt


def actors() -> Found:
    """Actors, and the latest that have ended."""
    answers = survey("actors")
    found = []
    for told in answers.told:
        for facts in told.actors:
            _, space, name = facts.key.split("/", 2) if facts.key else ("", "", "")
            dead = facts.state == "DEAD"
            found.append(
                {
                    "actor_id": facts.actor,
                    "class_name": facts.name,
                    "state": facts.state,
                    "job_id": job.facts[1],
                    "name": name,
                    "node_id": node_id_of(facts.node) if facts.node else None,
                    "pid": facts.pid or None,
                    "ray_namespace": space or job.facts[0],
                    "required_resources": facts.resources,
                    "death_cause": {"error_message": facts.reason} if dead else None,
                    "is_detached": facts.detached,
                    "placement_group_id": facts.group or None,
                    "repr_name": "",
                    "num_restarts": facts.restarts,
                }
            )
    return Found(found, answers.missing)


def objects() -> Found:
    """References, as each process that has them sees them."""
    answers = survey("objects", workers=True)
    alive = {(node, facts.pid) for (node, _), (facts, _) in answers.workers.items()}
    address = {node["NodeName"]: node["NodeManagerAddress"] for node in nodes()}
    states = {
        records.WAITS: "PENDING_NODE_ASSIGNMENT",
        records.FINISHED: "FINISHED",
        records.FAILED: "FAILED",
    }
    found = [
        {
            "object_id": facts.name,
            "object_size": facts.bytes,
            "task_status": states[facts.state],
            "attempt_number": 1,
            "reference_type": "LOCAL_REFERENCE",
            "call_site": facts.made_by or "put",
            "type": "WORKER" if (told.node, told.pid) in alive else "DRIVER",
            "pid": told.pid,
            "ip": address.get(told.node),
        }
        for told in answers.told
        for facts in told.objects
    ]
    return Found(found, answers.missing)


def node_facts() -> Found:
    """Nodes, and those that were lost, as far as they are remembered."""
    head = cluster_facts.facts().head
    return Found(
        {
            "node_id": node["NodeID"],
            "node_ip": node["NodeManagerAddress"],
            "is_head_node": node["NodeName"] == head,
            "state": "ALIVE" if node["Alive"] else "DEAD",
            "state_message": "" if node["Alive"] else "it has left, or was lost",
            "node_name": node["NodeName"],
            "resources_total": node["Resources"],
            "labels": node["Labels"],
        }
        for node in nodes()
    )


def workers() -> Found:
    """Living workers, and this program's driver."""
    answers = survey("workers")
    found: list[dict[str, Any]] = []
    address = {node["NodeName"]: node["NodeManagerAddress"] for node in nodes()}
    for (node, _), (facts, directory) in answers.workers.items():
        found.append(
            {
                "worker_id": worker_id_of(facts.worker, directory),
                "is_alive": True,
                "worker_type": "WORKER",
                "node_id": node_id_of(node),
                "ip": address.get(node),
                "pid": facts.pid,
            }
        )
    if worker_start.this_worker is None:
        node = client.session().cluster.node
        found.append(
            {
                "worker_id": digits(f"driver {os.getpid()}", 56),
                "is_alive": True,
                "worker_type": "DRIVER",
                "node_id": node_id_of(node),
                "ip": address.get(node),
                "pid": os.getpid(),
            }
        )
    return Found(found, answers.missing)


def jobs() -> Found:
    """This program: a session has one."""
    if client.current() is None and worker_start.this_worker is None:
        raise ClusterError("there is no session to ask: call init() first, or any remote function")
    start = worker_start.this_worker
    node = start.node if start is not None else client.session().cluster.node
    return Found(
        [
            {
                "job_id": job.facts[1],
                "type": "DRIVER",
                "status": "RUNNING",
                "entrypoint": " ".join(sys.argv) if start is None else "",
                "driver_info": {"id": job.facts[1], "pid": str(start.driver_pid if start else os.getpid())},
                "metadata": {"distpool": __version__},
                "runtime_env": dict(job.runtime_env or {}),
                "driver_node_id": node_id_of(node),
            }
        ]
    )


_GROUP_STATES = {
    "pending": "PENDING",
    "created": "CREATED",
    "rescheduling": "RESCHEDULING",
    "removed": "REMOVED",
}


def placement_groups() -> Found:
    """Placement groups, also those that were removed of late."""
    found = []
    for facts in placement.find():
        places = zip(facts.bundles, facts.nodes or ("",) * len(facts.bundles), strict=True)
        bundles = [
            {
                "bundle_id": {"placement_group_id": facts.group, "bundle_index": index},
                "unit_resources": dict(bundle),
                "node_id": node_id_of(node) if node else "",
            }
            for index, (bundle, node) in enumerate(places)
        ]
        found.append(
            {
                "placement_group_id": facts.group,
                "name": facts.name,
                "creator_job_id": job.facts[1],
                "state": _GROUP_STATES.get(facts.state, facts.state.upper()),
                "bundles": bundles,
                "is_detached": facts.detached,
                "stats": {"scheduling_state": facts.reason or facts.state.upper()},
            }
        )
    return Found(found)


def _checked(provider: state.Provider) -> state.Provider:
    """No session, or one that was lost meanwhile, is an error of the state API's."""

    def provide() -> Iterable[Mapping[str, Any]]:
        try:
            return provider()
        except ClusterError as error:
            raise RayStateApiException(f"the state of the cluster cannot be had: {error}") from error

    return provide


state.PROVIDERS.update(
    tasks=_checked(tasks),
    actors=_checked(actors),
    objects=_checked(objects),
    nodes=_checked(node_facts),
    workers=_checked(workers),
    jobs=_checked(jobs),
    placement_groups=_checked(placement_groups),
)
