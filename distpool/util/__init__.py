"""What Ray has in ``ray.util``: actor pools, queues, iterators, metrics, placement groups, the state of the cluster.

What it is: a directory of names, as the package itself is. Nothing is imported until a name is used::

    distpool.util.ActorPool ──────────► _OURS     distpool.util.actor_pool.ActorPool
    distpool.util.metrics ────────────► _MODULES  the module of that name
    distpool.util.placement_group ────► the function, although there is a module of that name as well
    distpool.util.Finalize ───────────► the rest  multiprocessing.util.Finalize

The last line, because one package stands in for two libraries: ``multiprocessing`` has a ``util`` too. No name is in
both. Stands in for ``ray.util`` and ``multiprocessing.util``.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

# Type checkers take this name for true; see ``distpool/__init__.py``.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from distpool.util.actor_pool import ActorPool as ActorPool
    from distpool.util.iterating import as_completed as as_completed
    from distpool.util.iterating import map_unordered as map_unordered
    from distpool.util.logging_once import disable_log_once_globally as disable_log_once_globally
    from distpool.util.logging_once import enable_periodic_logging as enable_periodic_logging
    from distpool.util.logging_once import log_once as log_once
    from distpool.util.node_facts import get_node_instance_id as get_node_instance_id
    from distpool.util.node_facts import get_node_ip_address as get_node_ip_address
    from distpool.util.node_facts import list_named_actors as list_named_actors
    from distpool.util.placement_group import PlacementGroup as PlacementGroup
    from distpool.util.placement_group import get_current_placement_group as get_current_placement_group
    from distpool.util.placement_group import get_placement_group as get_placement_group
    from distpool.util.placement_group import placement_group as placement_group
    from distpool.util.placement_group import placement_group_table as placement_group_table
    from distpool.util.placement_group import remove_placement_group as remove_placement_group
    from distpool.util.serialization import deregister_serializer as deregister_serializer
    from distpool.util.serialization import inspect_serializability as inspect_serializability
    from distpool.util.serialization import register_serializer as register_serializer

# The name, and the module that has it.
_OURS = {
    "ActorPool": "actor_pool",
    "PlacementGroup": "placement_group",
    "as_completed": "iterating",
    "deregister_serializer": "serialization",
    "disable_log_once_globally": "logging_once",
    "enable_periodic_logging": "logging_once",
    "get_current_placement_group": "placement_group",
    "get_node_instance_id": "node_facts",
    "get_node_ip_address": "node_facts",
    "get_placement_group": "placement_group",
    "inspect_serializability": "serialization",
    "list_named_actors": "node_facts",
    "log_once": "logging_once",
    "map_unordered": "iterating",
    "placement_group": "placement_group",
    "placement_group_table": "placement_group",
    "register_serializer": "serialization",
    "remove_placement_group": "placement_group",
}

# Modules that are reached as attributes without an import of their own.
_MODULES = (
    "accelerators",
    "actor_pool",
    "joblib",
    "metrics",
    "multiprocessing",
    "queue",
    "scheduling_strategies",
    "serialization",
    "state",
)

__all__ = [*_OURS]


def _find(name: str) -> Any:
    """Find ``name`` where the tables say."""
    if name in _OURS:
        return getattr(importlib.import_module(f"{__name__}.{_OURS[name]}"), name)
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if not name.startswith("__"):
        try:
            return getattr(importlib.import_module("multiprocessing.util"), name)
        except AttributeError:
            pass
    why = None if name.startswith("_") else importlib.import_module("distpool.left_out").why(f"util.{name}")
    raise AttributeError(why or f"module {__name__!r} has no attribute {name!r}")


if not TYPE_CHECKING:  # which would take every name for one that exists
    __getattr__ = _find


def __dir__() -> list[str]:
    """List what can be asked for, loaded or not."""
    standard = importlib.import_module("multiprocessing.util")
    return sorted({*globals(), *__all__, *_MODULES, *dir(standard)})


class _Util(ModuleType):
    """The type of this module. Importing the module of its name must not put that in the function's place."""

    @property
    def placement_group(self) -> Any:
        """The function."""
        return _find("placement_group")

    @placement_group.setter
    def placement_group(self, module: Any) -> None:
        """The import system offers the module here, each time it was loaded."""


sys.modules[__name__].__class__ = _Util
