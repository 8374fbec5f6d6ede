"""What Ray has and distpool deliberately has not: for each name a line that says so, and what to use instead.

::

    distpool.tune, import distpool.tune, from distpool import tune ──► why("tune") ──► "distpool has no Ray Tune: ..."

distpool stands in for Ray's core: tasks, objects, actors and what belongs to them. The libraries on top of it are not
its business, and what they do is most often had in another way.
"""

from __future__ import annotations

__all__ = ["BIND", "why"]

_CLIENT = "client of its own", 'a program anywhere joins by `init(address="HOST:PORT")`'
_DEBUGGER = (
    "Ray's debugger",
    "`distpool stack` shows where every worker is, and a task's `print` arrives here",
)
_OTHER_LANGUAGES = (
    "functions and actors of other languages",
    "workers run Python; call others by subprocess or ctypes",
)
_TESTING = (
    "clusters for tests",
    "start nodes by `distpool start --head` and `distpool start --address`, on one machine too",
)
_GRAPHS = (
    "graphs that are bound first and executed later",
    "call `.remote()`, with the references that other calls gave as arguments",
)
_JOBS = "client of an HTTP interface for jobs", "`distpool submit`, `distpool jobs`, `distpool logs JOB`"

#: The name below the package, what that is, and what to do instead.
_LEFT_OUT = {
    "air": ("Ray AIR", "of it, too, only what tasks and actors do is here"),
    "client_builder": _CLIENT,
    "ClientBuilder": _CLIENT,
    "client": _CLIENT,
    "cluster_utils": _TESTING,
    "cpp_function": _OTHER_LANGUAGES,
    "cross_language": _OTHER_LANGUAGES,
    "dag": _GRAPHS,
    "data": ("Ray Data", "`distpool.dataframe` does what pandas does; others read in tasks, by pyarrow or polars"),
    "experimental": ("Ray's experiments", "those that others rely on are here by names of their own"),
    "java_actor_class": _OTHER_LANGUAGES,
    "java_function": _OTHER_LANGUAGES,
    "job_submission": _JOBS,
    "Language": _OTHER_LANGUAGES,
    "LoggingConfig": ("log format of its own", "log records of workers go to the program's own handlers: set those"),
    "llm": ("Ray LLM", "run an engine such as vLLM in actors that ask for num_gpus"),
    "rllib": ("RLlib", "environments and learners are actors; other libraries of that kind run in them"),
    "serve": ("Ray Serve", "a web framework's handlers may call actors and await their references"),
    "train": ("Ray Train", "start torch.distributed, or Accelerate, in actors that ask for num_gpus"),
    "tune": ("Ray Tune", "run trials as remote calls, or Optuna and scikit-learn over distpool.joblib"),
    "util.client": _CLIENT,
    "util.collective": (
        "collective communication",
        "use torch.distributed, NCCL or mpi4py among actors; a reference moves what is big once for each node",
    ),
    "util.connect": _CLIENT,
    "util.dask": ("Ray's scheduler for Dask", "`dask.config.set(scheduler=distpool.dask.get)` is ours"),
    "util.disconnect": ("client of its own", "`shutdown()` leaves a cluster"),
    "util.iter": ("parallel iterators", "util.map_unordered, ActorPool and generators do that"),
    "util.pdb": _DEBUGGER,
    "util.ray_debugpy": _DEBUGGER,
    "util.rpdb": _DEBUGGER,
    "util.spark": ("clusters on Spark", "start nodes by `distpool up`, or `distpool start` on each host"),
    "util.state.get_log": ("logs by the state API", "`distpool logs [WORKER]` has them"),
    "util.state.list_logs": ("logs by the state API", "`distpool logs` has them"),
    "util.state.list_cluster_events": ("events of the cluster", "`distpool why` and `distpool timeline` tell what was"),
    "util.state.list_runtime_envs": ("list of runtime environments", "list_tasks and list_actors name theirs"),
    "util.state.StateApiClient": ("client of the state API", "the functions of this module ask the session there is"),
    "util.tpu": ("TPUs", 'say what a node has by `distpool start --resources`, and ask for it by `resources=`'),
    "util.tracing": ("tracing by OpenTelemetry", "`distpool timeline FILE` is for Perfetto"),
    "workflow": ("Ray Workflows", "pools have `checkpoint=`, and `put(x, durable=True)` outlives a node"),
}  # fmt: skip


def why(name: str) -> str | None:
    """Why there is no such name below the package, and what to use; None where that was not decided."""
    while name and name not in _LEFT_OUT:
        name = name.rpartition(".")[0]
    if not name:
        return None
    what, instead = _LEFT_OUT[name]
    return f"distpool has no {what} ({name}), and stands in for Ray's core only: {instead}"


#: What is said of ``.bind``.
BIND = "distpool has no {}: {}".format(*_GRAPHS)
