"""One engine behind the parallel libraries that you already use: `import distpool as multiprocessing`.

What it is: a directory of names. Nothing is imported, and no process is started, until a name is used:

    distpool.Pool ----- __getattr__ ----> _OURS      distpool.pool.Pool         (loads the engine's client)
    distpool.Pipe ----- __getattr__ ----> _STANDARD  multiprocessing.Pipe       (the standard library's own)
    distpool.connection __getattr__ ----> _STANDARD_MODULES                     (likewise, a whole module)
    import distpool.connection --------> _StandardModules, the finder below     (the same module object)

What it is not: a place for code. A name that distpool takes over moves from `_STANDARD` to `_OURS`, and the
module that serves it is written beside this file. No module of distpool bears the name of a public function
or class, because importing the module would put it in that name's place.

Stands in for `multiprocessing` and for `ray`; `distpool.futures` stands in for `concurrent.futures`.
"""

from __future__ import annotations

import importlib
import os
import sys
from importlib.machinery import ModuleSpec

# Type checkers take this name for true; importing the real one would cost as much as all the rest.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType, ModuleType
    from typing import Any

    from distpool.actors import get_actor as get_actor
    from distpool.actors import kill as kill
    from distpool.actors import method as method
    from distpool.cluster import available_resources as available_resources
    from distpool.cluster import cluster_resources as cluster_resources
    from distpool.cluster import nodes as nodes
    from distpool.context import Array as Array
    from distpool.context import Barrier as Barrier
    from distpool.context import BoundedSemaphore as BoundedSemaphore
    from distpool.context import Condition as Condition
    from distpool.context import Event as Event
    from distpool.context import JoinableQueue as JoinableQueue
    from distpool.context import Lock as Lock
    from distpool.context import Manager as Manager
    from distpool.context import Queue as Queue
    from distpool.context import RawArray as RawArray
    from distpool.context import RawValue as RawValue
    from distpool.context import RLock as RLock
    from distpool.context import Semaphore as Semaphore
    from distpool.context import SimpleQueue as SimpleQueue
    from distpool.context import Value as Value
    from distpool.context import cpu_count as cpu_count
    from distpool.context import get_context as get_context
    from distpool.errors import TimeoutError as TimeoutError
    from distpool.notebook import load_ipython_extension as load_ipython_extension
    from distpool.notebook import unload_ipython_extension as unload_ipython_extension
    from distpool.objects import DynamicObjectRefGenerator as DynamicObjectRefGenerator
    from distpool.objects import ObjectID as ObjectID
    from distpool.objects import ObjectRef as ObjectRef
    from distpool.objects import ObjectRefGenerator as ObjectRefGenerator
    from distpool.objects import cancel as cancel
    from distpool.objects import get as get
    from distpool.objects import put as put
    from distpool.objects import wait as wait
    from distpool.pool import Pool as Pool
    from distpool.runtime import init as init
    from distpool.runtime import is_initialized as is_initialized
    from distpool.runtime import shutdown as shutdown
    from distpool.runtime_context import get_gpu_ids as get_gpu_ids
    from distpool.runtime_context import get_runtime_context as get_runtime_context
    from distpool.scheduler.remote.hex_ids import ActorClassID as ActorClassID
    from distpool.scheduler.remote.hex_ids import ActorID as ActorID
    from distpool.scheduler.remote.hex_ids import FunctionID as FunctionID
    from distpool.scheduler.remote.hex_ids import JobID as JobID
    from distpool.scheduler.remote.hex_ids import NodeID as NodeID
    from distpool.scheduler.remote.hex_ids import PlacementGroupID as PlacementGroupID
    from distpool.scheduler.remote.hex_ids import TaskID as TaskID
    from distpool.scheduler.remote.hex_ids import UniqueID as UniqueID
    from distpool.scheduler.remote.hex_ids import WorkerID as WorkerID
    from distpool.tasks import remote as remote
    from distpool.timelines import timeline as timeline
    from distpool.worker_states import worker_state as worker_state

    # The star comes last and brings the rest: a name that is there already keeps its type.
    from multiprocessing import *  # type: ignore[assignment]  # noqa: F403  # isort: skip

__version__ = "0.1.0"

# Served by distpool: the name, and the module that has it.
_OURS = {
    "ActorClassID": "distpool.scheduler.remote.hex_ids",
    "ActorID": "distpool.scheduler.remote.hex_ids",
    "Array": "distpool.context",
    "Barrier": "distpool.context",
    "BoundedSemaphore": "distpool.context",
    "Condition": "distpool.context",
    "DynamicObjectRefGenerator": "distpool.objects",
    "Event": "distpool.context",
    "FunctionID": "distpool.scheduler.remote.hex_ids",
    "JobID": "distpool.scheduler.remote.hex_ids",
    "JoinableQueue": "distpool.context",
    "Lock": "distpool.context",
    "Manager": "distpool.context",
    "NodeID": "distpool.scheduler.remote.hex_ids",
    "ObjectID": "distpool.objects",
    "ObjectRef": "distpool.objects",
    "ObjectRefGenerator": "distpool.objects",
    "PlacementGroupID": "distpool.scheduler.remote.hex_ids",
    "Pool": "distpool.pool",
    "Queue": "distpool.context",
    "RLock": "distpool.context",
    "RawArray": "distpool.context",
    "RawValue": "distpool.context",
    "Semaphore": "distpool.context",
    "SimpleQueue": "distpool.context",
    "TaskID": "distpool.scheduler.remote.hex_ids",
    "TimeoutError": "distpool.errors",
    "UniqueID": "distpool.scheduler.remote.hex_ids",
    "Value": "distpool.context",
    "WorkerID": "distpool.scheduler.remote.hex_ids",
    "available_resources": "distpool.cluster",
    "cancel": "distpool.objects",
    "cluster_resources": "distpool.cluster",
    "cpu_count": "distpool.context",
    "get": "distpool.objects",
    "get_actor": "distpool.actors",
    "get_context": "distpool.context",
    "get_gpu_ids": "distpool.runtime_context",
    "get_runtime_context": "distpool.runtime_context",
    "init": "distpool.runtime",
    "is_initialized": "distpool.runtime",
    "kill": "distpool.actors",
    "load_ipython_extension": "distpool.notebook",
    "method": "distpool.actors",
    "nodes": "distpool.cluster",
    "put": "distpool.objects",
    "remote": "distpool.tasks",
    "shutdown": "distpool.runtime",
    "timeline": "distpool.timelines",
    "unload_ipython_extension": "distpool.notebook",
    "wait": "distpool.objects",
    "worker_state": "distpool.worker_states",
}

# Still the standard library's own. This list and the next one only ever get shorter.
_STANDARD = (
    "AuthenticationError",
    "BufferTooShort",
    "Pipe",
    "Process",
    "ProcessError",
    "active_children",
    "allow_connection_pickling",
    "current_process",
    "freeze_support",
    "get_all_start_methods",
    "get_logger",
    "get_start_method",
    "log_to_stderr",
    "parent_process",
    "reducer",
    "set_executable",
    "set_forkserver_preload",
    "set_start_method",
)

# Modules of `multiprocessing` that programs import by name, and that are still the standard ones.
_STANDARD_MODULES = (
    "connection",
    "dummy",
    "heap",
    "process",
    "reduction",
    "resource_tracker",
    "shared_memory",
    "spawn",
)

# Modules of distpool that are reached as attributes without an import of their own.
_MODULES = (
    "actor",
    "autoscaler",
    "cloudpickle",
    "context",
    "errors",
    "exceptions",
    "futures",
    "job_config",
    "kv",
    "managers",
    "objects",
    "pool",
    "queues",
    "runtime_context",
    "runtime_env",
    "sharedctypes",
    "synchronize",
    "util",
)

__all__ = [*_OURS, *_STANDARD]


def _find(name: str) -> Any:
    """Find `name` where the tables say, once: the answer is kept in this module."""
    value: Any
    if name in _OURS:
        value = getattr(importlib.import_module(_OURS[name]), name)
    elif name in _STANDARD:
        value = getattr(importlib.import_module("multiprocessing"), name)
    elif name in _MODULES or name in _STANDARD_MODULES:
        value = importlib.import_module(f"distpool.{name}")
    else:
        raise AttributeError(_why_not(name) or f"module 'distpool' has no attribute {name!r}")
    globals()[name] = value
    return value


def _why_not(name: str) -> str | None:
    """What is to be said of a name of Ray's that was left out on purpose; None of any other.

    `from distpool import run` asks for the attribute before it imports the module: that must not load a table.
    """
    if name.startswith("_") or os.path.exists(f"{os.path.dirname(__file__)}/{name}.py"):
        return None
    return str(why) if (why := importlib.import_module("distpool.left_out").why(name)) else None


if not TYPE_CHECKING:  # which would take every name for one that exists
    __getattr__ = _find


def __dir__() -> list[str]:
    """List what can be asked for, loaded or not."""
    return sorted({*globals(), *__all__, *_MODULES, *_STANDARD_MODULES})


def _is_only_looked_for() -> bool:
    """Whether a finder is asked by `importlib.util.find_spec`, by which libraries ask what there is: it has no reasons.

    `run_libraries` looks by it for what `import ray.x` is to give; then it counts who has asked there.
    """
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        module = frame.f_globals.get("__name__")
        behind = frame.f_back
        if module == "importlib.util":
            if behind is None or behind.f_globals.get("__name__") != "distpool.run_libraries":
                return True
        elif module not in ("importlib._bootstrap", "distpool.run_libraries"):
            return False
        frame = behind
    return False


class _StandardModules:
    """Lets `import distpool.connection` give `multiprocessing.connection` itself, not a copy.

    It stands last in `sys.meta_path` and is asked only for modules that nobody else found, so it costs other
    imports nothing. It is both the finder and the loader.
    """

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Claim the modules of `_STANDARD_MODULES`, and no other; say why there is none where that was decided."""
        package, _, module = name.partition(".")
        if package != "distpool":
            return None
        if module not in _STANDARD_MODULES:
            if not _is_only_looked_for() and (why := _why_not(module)) is not None:
                raise ModuleNotFoundError(
                    why
                )  # with a name, `from distpool import tune` would drop the reason
            return None
        return ModuleSpec(name, _StandardModules)  # type: ignore[arg-type]

    @staticmethod
    def create_module(spec: ModuleSpec) -> None:
        """Take an empty module: it is thrown away in `exec_module`."""

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        """Put the standard module in the place of the empty one, where the import system looks for it."""
        standard = importlib.import_module(f"multiprocessing.{module.__name__.partition('.')[2]}")
        sys.modules[module.__name__] = standard


sys.meta_path.append(_StandardModules)
