"""Where the caller is: ``get_runtime_context()`` in a driver, a task or an actor; ``get_gpu_ids``.

Names of what runs are made of what there is: a worker's lease, the attempt in its slot, the process that owns it. They
are hexadecimal, of the lengths that Ray's have. Stands in for ``ray.get_runtime_context`` and ``ray.get_gpu_ids``.
"""

from __future__ import annotations

import hashlib
import os
import sys
from types import FrameType
from typing import Any

from distpool import worker_hooks
from distpool.cluster import node_id_of
from distpool.remote_plans import job
from distpool.scheduler import client
from distpool.scheduler.remote.hex_ids import ActorID, JobID, NodeID, TaskID
from distpool.scheduler.remote.refs import task_id_of
from distpool.scheduler.shells import worker_start
from distpool.scheduler.shells.actor_links import Call

__all__ = ["RuntimeContext", "get_gpu_ids", "get_runtime_context"]


class RuntimeContext:
    """Facts about the driver, task or actor that asks. Stands in for ``ray.runtime_context.RuntimeContext``."""

    @property
    def namespace(self) -> str:
        """Where names of actors are given and looked for."""
        return job.facts[0]

    @property
    def gcs_address(self) -> str:
        """The session's name: nothing listens on an address."""
        return f"local:{self.get_session_name()}"

    @property
    def runtime_env(self) -> dict[str, Any]:
        """What the workers of the job, or this one, were started with."""
        from distpool.runtime_envs import RuntimeEnv, adopted

        env = adopted() if worker_start.this_worker is not None else job.runtime_env
        return RuntimeEnv(**dict(env or {}))

    def get_runtime_env_string(self) -> str:
        """The same, as JSON."""
        import json

        return json.dumps({name: value for name, value in self.runtime_env.items() if _is_plain(value)})

    @property
    def worker(self) -> Any:
        """Nothing that a program needs; Ray shows its own inside here."""
        return None

    @property
    def job_id(self) -> JobID:
        """The job, as older programs ask for it: ``.hex()`` gives what ``get_job_id`` does."""
        return JobID(self.get_job_id())

    @property
    def node_id(self) -> NodeID:
        """The node that this process is on, likewise."""
        return NodeID(self.get_node_id())

    @property
    def task_id(self) -> TaskID | None:
        """The call that runs, likewise; None in a driver."""
        task = self.get_task_id()
        return None if task is None else TaskID(task)

    @property
    def actor_id(self) -> ActorID | None:
        """The actor that runs here, likewise; None if none does."""
        actor = self.get_actor_id()
        return None if actor is None else ActorID(actor)

    def get_job_id(self) -> str:
        """The job: 8 hexadecimal digits, the same in all of its processes."""
        return job.facts[1]

    def get_node_id(self) -> str:
        """The name of the node that this process is on, as ``nodes`` has it."""
        start = worker_start.this_worker
        return node_id_of(start.node if start is not None else client.session().cluster.node)

    def get_worker_id(self) -> str:
        """This process: 56 hexadecimal digits."""
        start = worker_start.this_worker
        return digits(f"worker {start.directory} {start.worker}" if start else f"driver {os.getpid()}", 56)

    def get_task_id(self) -> str | None:
        """The call that runs: 48 hexadecimal digits; None in a driver."""
        start = worker_start.this_worker
        if start is None or start.attach is None:
            return None
        frame = _frame_of_call() or {}
        call, attempt = frame.get("call"), frame.get("attempt") or start.slot[0]
        number, base = 0, ""
        if isinstance(call, Call):  # of an actor's method
            number, base = call.number, call.link.base
        elif "attempt" in frame:
            number, base = frame["self"].number_of(attempt), frame["self"].base
        if number:
            return task_id_of(base, number)
        # Of a pool's task nobody else knows it.
        return digits(f"task {start.attach.owner} {start.attach.lease} {attempt}", 48)

    def get_task_name(self) -> str | None:
        """The name of the function or method that runs; None in a driver."""
        frame = _frame_of_call()
        if frame is None:
            return None
        payload = frame.get("payload", getattr(frame.get("call"), "payload", None))
        if isinstance(payload, dict) and "t" in payload:
            return str(payload["t"])
        return _name_of(frame)

    def get_task_function_name(self) -> str | None:
        """The same with its module; None in a driver."""
        frame = _frame_of_call()
        return None if frame is None else _name_of(frame)

    def get_actor_id(self) -> str | None:
        """The actor that runs here: 32 hexadecimal digits; None if none does."""
        return job.here.actor_id or None

    def get_actor_name(self) -> str | None:
        """The name that it was given, "" if none; None if no actor runs here."""
        return job.here.actor_name if job.here.actor_id else None

    @property
    def current_actor(self) -> Any:
        """A handle of the actor that runs here. Raises RuntimeError if none does."""
        if not job.here.actor_id:
            raise RuntimeError("current_actor was asked for outside of an actor")
        from distpool.actors import own_handle

        return own_handle(job.here)

    @property
    def was_current_actor_reconstructed(self) -> bool:
        """Whether the actor that runs here has been constructed before, in a worker that has died."""
        if not job.here.actor_id:
            raise RuntimeError("was_current_actor_reconstructed was asked for outside of an actor")
        return job.here.was_reconstructed()

    def get_assigned_resources(self) -> dict[str, float]:
        """What this worker has taken of its node."""
        return dict(job.here.resources)

    def get_resource_ids(self) -> dict[str, list[str]]:
        """As ``get_accelerator_ids``."""
        return self.get_accelerator_ids()

    def get_accelerator_ids(self) -> dict[str, list[str]]:
        """Which accelerators this worker may use, by kind."""
        return {"GPU": [str(number) for number in get_gpu_ids()]}

    def get_placement_group_id(self) -> str | None:
        """The placement group that this worker runs in, if any."""
        return job.here.group or None

    @property
    def should_capture_child_tasks_in_placement_group(self) -> bool:
        """Whether the calls made here run in the same placement group."""
        return job.here.captures

    def get_node_labels(self) -> dict[str, str]:
        """The labels of the node that this process is on."""
        from distpool.cluster import nodes

        name = self.get_node_id()
        return next((dict(node["Labels"]) for node in nodes() if node["NodeID"] == name), {})

    def get_session_name(self) -> str:
        """The session's name."""
        start = worker_start.this_worker
        directory = start.directory if start is not None else client.session().cluster.directory
        return os.path.basename(directory)

    def get_temp_dir(self) -> str:
        """Where the session keeps its files."""
        start = worker_start.this_worker
        return start.directory if start is not None else str(client.session().cluster.directory)

    def is_canceled(self) -> bool:
        """Whether the call that runs was cancelled, and has gone on after its KeyboardInterrupt."""
        start = worker_start.this_worker
        return start is not None and worker_hooks.interrupted == start.slot[0] != 0

    def get(self) -> dict[str, Any]:
        """The most asked facts, by name."""
        facts = {
            "job_id": self.get_job_id(),
            "node_id": self.get_node_id(),
            "namespace": self.namespace,
            "task_id": self.get_task_id(),
            "actor_id": self.get_actor_id(),
        }
        return {name: value for name, value in facts.items() if value is not None}


_context = RuntimeContext()


def get_runtime_context() -> RuntimeContext:
    """Facts about the driver, task or actor that asks (``ray.get_runtime_context``)."""
    return _context


def get_gpu_ids() -> list[int] | list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES numbers or names them (``ray.get_gpu_ids``)."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "") if job.here.resources.get("GPU") else ""
    ids = [part.strip() for part in visible.split(",") if part.strip()]
    if all(part.isdigit() for part in ids):
        return [int(part) for part in ids]
    return ids


def _frame_of_call() -> dict[str, Any] | None:
    """What the worker knows of the call that runs on this thread: the variables of its own frame, further down."""
    if worker_start.this_worker is None:
        return None
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name in _RUNNERS and frame.f_code.co_filename.startswith(_SHELLS):
            return frame.f_locals
        frame = frame.f_back
    return None


#: The worker's own functions under which calls run, and where they are.
_RUNNERS = ("_run_queue", "perform", "_await")
_SHELLS = os.path.dirname(worker_start.__file__)


def _is_plain(value: Any) -> bool:
    return isinstance(value, (str, int, float, bool, list, dict, type(None)))


def digits(text: str, count: int) -> str:
    """A name in so many hexadecimal digits, always the same for a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:count]


def _name_of(frame: dict[str, Any]) -> str:
    """The name of the function or method that this frame of a worker's has called."""
    call = frame.get("call")
    function = getattr(getattr(call, "method", None), "call", None) or call
    return str(getattr(function, "__qualname__", type(function).__qualname__))
