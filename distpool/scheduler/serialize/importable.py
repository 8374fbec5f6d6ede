"""What another process can import by itself, and what must therefore be sent by value.

A function or class goes by reference if its module, imported afresh by name, would be the same module and holds the
same object under the same qualified name. That excludes ``__main__``; modules made with ``types.ModuleType``; modules
loaded from a file that their name no longer leads to ("two modules of equal name"); modules still being imported
(importing them again would run the program again); and whatever the program gave to
``cloudpickle.register_pickle_by_value``. This module decides and changes nothing.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from distpool.scheduler.serialize.registry import MAIN, MAIN_NAMES, MISSING, REGISTRY, Namespace, NamespaceKey

_IN_THE_INTERPRETER = frozenset({"built-in", "frozen"})

#: Verdicts by module name, each with the very module and file that it is about.
_verdicts: dict[str, tuple[ModuleType, Any, bool]] = {}


def resolve(namespace: Namespace, qualname: str) -> Any:
    """What ``qualname`` ("Outer.method") leads to from a module's dictionary, or MISSING."""
    top, *rest = qualname.split(".")
    found = namespace.get(top, MISSING)
    for part in rest:
        if found is MISSING or part == "<locals>":
            return MISSING
        found = getattr(found, part, MISSING)
    return found


def is_by_reference(obj: Any) -> bool:
    """Whether a function or class can be named to another process instead of being sent."""
    name = getattr(obj, "__module__", None)
    if name is None or name in MAIN_NAMES:
        return False
    module = sys.modules.get(name) or _late_part(name)
    if not isinstance(module, ModuleType):
        return False
    qualname = obj.__qualname__
    found: Any = module
    try:  # getattr, since a module may make its names on demand
        if "." not in qualname:
            found = getattr(module, qualname)
        else:
            for part in qualname.split("."):
                found = getattr(found, part)
    except AttributeError:
        return False
    return found is obj and is_importable(module)


def _late_part(name: str) -> ModuleType | None:
    """A part of a package that is imported when it is asked for, as numpy.rec, whose classes exist before that."""
    if name.rpartition(".")[0] not in sys.modules:
        return None
    try:
        return import_module(name)
    except Exception:  # no such module, or one that cannot be imported here
        return None


def is_importable(module: ModuleType) -> bool:
    """Whether another process gets this very module by importing its name."""
    name = module.__name__
    if name.partition(".")[0] == "distpool":
        return True  # every process of a session has it, wherever the program found it
    if sys.modules.get(name) is not module or name in MAIN_NAMES or _is_registered_by_value(name):
        return False
    spec = getattr(module, "__spec__", None)
    if spec is None:
        return _is_made_by_package(module, name)
    if spec.origin in _IN_THE_INTERPRETER:
        return True
    if getattr(spec, "_initializing", False):
        return False
    file = getattr(module, "__file__", None)
    known = _verdicts.get(name)
    if known is not None and known[0] is module and known[1] == (file, len(sys.path)):
        return known[2]
    verdict = _leads_to(name, spec, file)
    _verdicts[name] = (module, (file, len(sys.path)), verdict)
    return verdict


def namespace_key(namespace: Namespace) -> NamespaceKey:
    """The key of a function's globals: a module's name if another process can have that module, else a uid."""
    name = namespace.get("__name__")
    if isinstance(name, str):
        module = sys.modules.get(name)
        if isinstance(module, ModuleType) and module.__dict__ is namespace:
            if name in MAIN_NAMES:
                return MAIN
            if is_importable(module):
                return name
    main = sys.modules.get(MAIN)
    if main is not None and main.__dict__ is namespace:  # its __name__ may have been changed
        return MAIN
    return REGISTRY.namespace_uid(namespace)


def _leads_to(name: str, spec: ModuleSpec, file: str | None) -> bool:
    """Whether the import system, asked anew, would load ``name`` from the same place."""
    parent = name.rpartition(".")[0]
    path = None
    if parent:
        package = sys.modules.get(parent)
        if not isinstance(package, ModuleType) or not is_importable(package):
            return False
        path = getattr(package, "__path__", None)
    found = None
    for finder in list(sys.meta_path):
        find_spec = getattr(finder, "find_spec", None)
        try:
            found = find_spec(name, path) if find_spec is not None else None
        except Exception:  # a finder of somebody's that cannot answer is no reason to fail
            found = None
        if found is not None:
            break
    if found is None:
        return False
    if found.origin == spec.origin or file is None:
        return True
    return found.origin is not None and _is_same_file(found.origin, file)


def _is_made_by_package(module: ModuleType, name: str) -> bool:
    """Whether importing the parent package makes this module too, as with ``six.moves``."""
    parent, _, tail = name.rpartition(".")
    package = sys.modules.get(parent)
    return (
        isinstance(package, ModuleType) and getattr(package, tail, None) is module and is_importable(package)
    )


def _is_same_file(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


def _is_registered_by_value(name: str) -> bool:
    cloudpickle = sys.modules.get("cloudpickle.cloudpickle")
    registered = getattr(cloudpickle, "_PICKLE_BY_VALUE_MODULES", None)
    if not registered:
        return False
    while name:
        if name in registered:
            return True
        name = name.rpartition(".")[0]
    return False
