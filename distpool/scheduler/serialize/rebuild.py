"""How by-value objects are put together again: the functions that our pickles name.

Everything here is called by the C unpickler, by name, so these names are part of the wire format between processes of
one session. Functions and classes are made in two steps, a skeleton that is filed under its uid at once and its state
afterwards, so that whatever leads back to them (recursion, ``super()``, a class attribute that holds an instance)
finds them.

No code of the user's runs while a class is put together: neither its metaclass' ``__new__`` and ``__init__`` nor a
base's ``__init_subclass__``, whose effects are already in the attributes that are being restored.
"""

from __future__ import annotations

import pickle
import sys
from _thread import _local
from collections.abc import Iterable
from contextvars import ContextVar
from functools import lru_cache, update_wrapper
from importlib import import_module
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any

from distpool.scheduler.serialize import carried, stored
from distpool.scheduler.serialize.errors import SerializationError
from distpool.scheduler.serialize.registry import MAIN, REGISTRY, Namespace, NamespaceKey
from distpool.scheduler.serialize.stored import Blob

#: Name, package, file of an anonymous namespace's module, and whether importing the name should give it.
ModuleFacts = tuple[str, str | None, str | None, bool]

#: Per thread: ``definitions``, the bytes by uid that came with the blobs being loaded.
LOADING = _local()


def definition(uid: int) -> Any:
    """The function or class of that uid: the one that is here, else built from the blob being loaded."""
    found = REGISTRY.find(uid)
    if found is not None:
        return found
    data: bytes | None = getattr(LOADING, "definitions", {}).get(uid)
    if data is None:
        raise SerializationError(
            f"a pickle refers to by-value definition {uid:#x}, which is not (or no longer) known in this process; "
            "keep a reference to local classes for as long as results may carry their instances"
        )
    try:
        return _load_definition(data)
    except BaseException:
        REGISTRY.forget(uid)
        raise


def _load_definition(data: Blob) -> Any:
    if data[0] == carried.REFS_MARK:  # a class whose methods refer to an actor, say
        return carried.load(data, None, _load_definition)
    if data[0] == stored.MARK:
        return stored.load(data, lambda inner, buffers: pickle.loads(inner, buffers=buffers))
    return pickle.loads(data)


# ----------------------------------------------------------------------------------- namespaces


def namespace_of(key: NamespaceKey, facts: ModuleFacts | None) -> Namespace:
    """The one dictionary over which functions of that source module live in this process."""
    if isinstance(key, str):
        return (sys.modules[MAIN] if key == MAIN else import_module(key)).__dict__
    namespace = REGISTRY.find_namespace(key)
    if namespace is not None:
        return namespace
    assert facts is not None
    name, package, file, is_public = facts
    module = ModuleType(name)
    namespace = module.__dict__
    namespace["__package__"] = package
    if file is not None:
        namespace["__file__"] = file
    REGISTRY.file_namespace(key, namespace, module)
    if is_public:  # so that plain pickle and `import` in tasks find it, where the name is still free
        sys.modules.setdefault(name, module)
    return namespace


def module_of(key: NamespaceKey, facts: ModuleFacts | None) -> ModuleType:
    """The module object of a namespace; for one that was ours to begin with, the module that has that dictionary."""
    namespace = namespace_of(key, facts)
    if isinstance(key, str):
        return sys.modules[key]
    module = REGISTRY.namespace_module(key)
    if module is not None:
        return module
    for candidate in list(sys.modules.values()):
        if isinstance(candidate, ModuleType) and candidate.__dict__ is namespace:
            return candidate
    raise SerializationError(
        f"the module {namespace.get('__name__')!r} has been dropped by the process that made it"
    )


def set_class_of_module(module: ModuleType, kind: type[ModuleType]) -> None:
    """Give a module the class that it had at home, with that class's properties and methods."""
    module.__class__ = kind


# ------------------------------------------------------------------------------------ functions


def make_function(
    uid: int,
    code: CodeType,
    key: NamespaceKey,
    facts: ModuleFacts | None,
    cells: tuple[CellType, ...] | None,
) -> FunctionType:
    """A function without its state; ``cells`` may still be empty."""
    existing = REGISTRY.find(uid) if uid else None
    if existing is not None:
        return existing  # type: ignore[no-any-return]
    namespace = namespace_of(key, facts)
    return REGISTRY.adopt(FunctionType(code, namespace, closure=cells), uid)  # type: ignore[no-any-return]


def set_function_state(
    function: FunctionType, state: tuple[dict[str, Any], Any, Any, Any, dict[str, str]]
) -> None:
    """The second step of ``make_function``."""
    slots, attributes, contents, imports, planted = state
    for name, module in planted.items():
        function.__globals__.setdefault(name, LateModule(module))
    for name in imports:
        import_module(name)
    for name, value in slots.items():
        setattr(function, name, value)
    if attributes:
        function.__dict__.update(attributes)
    if contents:
        for cell, value in contents:
            set_cell(cell, value)


class LateModule:
    """A module that is imported when something of it is used."""

    def __init__(self, name: str) -> None:
        self.__name__ = name

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module(self.__name__), name)


def make_cell() -> CellType:
    """An empty cell."""
    return CellType()


def shared_cell(uid: int) -> CellType:
    """The cell of that uid: functions that were captured at different times share it here as they did at home."""
    return REGISTRY.cells.setdefault(uid, CellType())  # type: ignore[no-any-return]


def set_cell(cell: CellType, value: Any) -> None:
    """Fill a cell, if it is still empty: what tasks have put into a shared one stays."""
    try:
        cell.cell_contents  # noqa: B018 - raises if the cell is empty
    except ValueError:
        cell.cell_contents = value


def make_lru_cache(uid: int, function: Any, parameters: dict[str, Any]) -> Any:
    """A ``functools.lru_cache`` around a by-value function; its memory starts empty."""
    existing = REGISTRY.find(uid) if uid else None
    return existing if existing is not None else REGISTRY.adopt(lru_cache(**parameters)(function), uid)


def set_lru_cache_state(wrapper: Any, attributes: dict[str, Any]) -> None:
    """The second step of ``make_lru_cache``."""
    update_wrapper(wrapper, wrapper.__wrapped__)
    wrapper.__dict__.update(attributes)


# -------------------------------------------------------------------------------------- classes


def make_class(
    uid: int, metaclass: type, name: str, bases: tuple[type, ...], attributes: dict[str, Any]
) -> type:
    """A class with only those attributes that must be there from the start (``__slots__``, ...)."""
    existing = REGISTRY.find(uid)
    if existing is not None:
        return existing  # type: ignore[no-any-return]
    new = _first_foreign(metaclass, "__new__")
    if _has_own_hook(bases):
        made = new(metaclass, name, (_quiet_base(bases[0]), *bases), dict(attributes))
        made.__bases__ = bases
    else:
        made = new(metaclass, name, bases, dict(attributes))
    init = _first_foreign(metaclass, "__init__")
    init(made, name, bases, dict(attributes))
    return REGISTRY.adopt(made, uid)  # type: ignore[no-any-return]


def make_enum(
    uid: int,
    metaclass: Any,
    name: str,
    bases: tuple[type, ...],
    attributes: dict[str, Any],
    members: dict[str, Any],
) -> type:
    """An enum with its members; its methods come afterwards."""
    existing = REGISTRY.find(uid)
    if existing is not None:
        return existing  # type: ignore[no-any-return]
    body = metaclass.__prepare__(name, bases)
    for attribute, value in (attributes | members).items():
        body[attribute] = value
    made = _first_foreign(metaclass, "__new__")(metaclass, name, bases, body)
    return REGISTRY.adopt(made, uid)  # type: ignore[no-any-return]


def set_class_state(cls: type, state: tuple[dict[str, Any], list[type], dict[str, dict[str, Any]]]) -> type:
    """The second step of ``make_class`` and ``make_enum``."""
    attributes, registered, members = state
    for name, value in attributes.items():
        type.__setattr__(cls, name, value)
    for subclass in registered:
        cls.register(subclass)  # type: ignore[attr-defined]
    for name, values in members.items():
        vars(cls.__members__[name]).update(values)  # type: ignore[attr-defined]
    return cls


def _first_foreign(metaclass: type, method: str) -> Any:
    """``metaclass``'s own method, or the first inherited one, that was not itself sent by value."""
    for cls in metaclass.__mro__:
        found = vars(cls).get(method)
        if found is not None and REGISTRY.find_uid(cls) is None:
            return getattr(cls, method)
    raise AssertionError(f"no {method} on the way from {metaclass} to type")


def _has_own_hook(bases: Iterable[type]) -> bool:
    """Whether making a subclass of these would run an ``__init_subclass__`` that was sent by value."""
    return any(
        "__init_subclass__" in vars(ancestor) and REGISTRY.find_uid(ancestor) is not None
        for base in bases
        for ancestor in base.__mro__
    )


def _quiet_base(first: type) -> type:
    """Put before the bases while a class is made, so that their ``__init_subclass__`` does not run.

    CPython lets it be taken away again if it adds to an instance just what the first base adds.
    """
    slots = [
        *(["__dict__"] if first.__dictoffset__ else []),
        *(["__weakref__"] if first.__weakrefoffset__ else []),
    ]
    hook = classmethod(lambda cls, **_keywords: None)
    return type("Quiet", (), {"__slots__": slots, "__init_subclass__": hook})


# --------------------------------------------------------------------------------- other things


def make_singleton(module: str, name: str) -> Any:
    """A thing of the standard library that is compared by identity, such as ``dataclasses.MISSING``."""
    return getattr(import_module(module), name)


def make_typevar(
    uid: int, kind: type, name: str, constraints: tuple[Any, ...], options: dict[str, Any]
) -> Any:
    """A ``typing.TypeVar``, ``ParamSpec`` or ``TypeVarTuple``."""
    existing = REGISTRY.find(uid)
    return existing if existing is not None else REGISTRY.adopt(kind(name, *constraints, **options), uid)


def make_context_variable(uid: int, name: str, default: tuple[Any, ...]) -> Any:
    """A ``contextvars.ContextVar``, with its default, if it has one."""
    existing = REGISTRY.find(uid)
    if existing is not None:
        return existing
    made: ContextVar[Any] = ContextVar(name, default=default[0]) if default else ContextVar(name)
    return REGISTRY.adopt(made, uid)


def make_named(uid: int, cls: type) -> Any:
    """An object that pickles itself as a global's name (``__reduce__`` returned a string)."""
    existing = REGISTRY.find(uid)
    return existing if existing is not None else REGISTRY.adopt(object.__new__(cls), uid)


def set_attributes(obj: Any, attributes: dict[str, Any]) -> None:
    """Bind attributes past any ``__setattr__`` of the user's."""
    for name, value in attributes.items():
        object.__setattr__(obj, name, value)


def make_cached_property(function: Any, name: str | None, doc: str | None) -> Any:
    """A ``functools.cached_property``, whose lock (before Python 3.12) does not travel."""
    from functools import cached_property

    made = cached_property(function)
    made.attrname = name
    made.__doc__ = doc
    return made


def make_view(kind: str, content: list[Any]) -> Any:
    """A view ("keys", "values" or "items") over a new dictionary."""
    match kind:
        case "keys":
            return dict.fromkeys(content).keys()
        case "values":
            return dict(enumerate(content)).values()
        case _:
            return dict(content).items()


def view_array(plain: Any, dtype: Any, kind: Any) -> Any:
    """A numpy array of another type, or another kind of array, over the memory of a plain one."""
    return plain.view(dtype, kind)
