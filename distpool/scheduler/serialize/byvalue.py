"""How functions, classes and a few odd things are taken apart when they cannot be named.

Each reducer gets the pickler and the object, and returns what ``__reduce__`` may return, or NotImplemented to leave it
to C. The counterparts are in ``rebuild.py``.

Definitions (module-level functions and all classes that go by value) are written out only as the root of a pickle of
their own; anywhere else they are named by uid. Globals are never written in here: what a function reads is noted with
the pickler, and travels as entries of its own. So there is no recursion from function to function, however many call
each other, and a class is one small pickle that can be cached.
"""

from __future__ import annotations

import marshal
import sys
import types
from collections.abc import Iterable
from contextvars import Context, ContextVar
from importlib import import_module
from types import CellType, CodeType, FunctionType, MemberDescriptorType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any

from distpool.scheduler.serialize import rebuild
from distpool.scheduler.serialize.codes import used_names, used_submodules
from distpool.scheduler.serialize.importable import is_by_reference, is_importable, namespace_key, resolve
from distpool.scheduler.serialize.registry import MAIN, MAIN_NAMES, REGISTRY, Namespace, NamespaceKey
from distpool.scheduler.serialize.stored import STORED_BYTES_MIN

if TYPE_CHECKING:
    from distpool.scheduler.serialize.pickler import Reducer, TaskPickler

#: Py_TPFLAGS_HEAPTYPE: made at run time, not a static structure of C.
HEAP_TYPE = 1 << 9
_TYPES_OF_THE_INTERPRETER = {cls: name for name, cls in vars(types).items() if isinstance(cls, type)}
#: What a module has of its own in every process.
_MODULE_FACTS = frozenset(
    f"__{name}__"
    for name in ("builtins", "cached", "doc", "file", "loader", "name", "package", "path", "spec")
)


# ------------------------------------------------------------------------------------ functions


def reduce_function(pickler: TaskPickler, function: FunctionType) -> Any:
    """By reference; as an attribute of its by-value class; by uid; or, for lambdas and closures, in full."""
    if function is rebuild.definition or is_by_reference(function):
        return NotImplemented
    if function is pickler.root:
        return _function_pieces(pickler, function, REGISTRY.uid_of(function))
    home = _home_of(function)
    if home is not None:
        scope, _, name = function.__qualname__.rpartition(".")
        if not scope:
            if home.get(name) is function:
                return pickler.refer(function)
        else:
            owner = resolve(home, scope)
            if (
                isinstance(owner, type)
                and owner is not pickler.root
                and getattr(owner, name, None) is function
            ):
                return getattr, (owner, name)
    if not pickler.scope.sends_closures and not pickler.shares_cells:
        return NotImplemented  # C will not find it under its name, and says so as it always has
    return _function_pieces(pickler, function, 0)


def _function_pieces(pickler: TaskPickler, function: FunctionType, uid: int) -> tuple[Any, ...]:
    code, namespace, closure = function.__code__, function.__globals__, function.__closure__
    key = namespace_key(namespace)
    names = used_names(code)
    planted: dict[str, str] = {}
    if key == MAIN or isinstance(key, int):
        for name in names.globals:
            pickler.capture(key, namespace, name)
    else:
        planted = _planted_modules(namespace, names.globals)
    contents = []
    for cell in closure or ():
        pickler.leave_hollow(cell)
        try:
            contents.append((cell, cell.cell_contents))
        except ValueError:  # still empty: the function refers to a name that is bound later
            continue
    pickler.seen_cells += contents
    lookup = pickler.scope.lookup
    values = [lookup(key, namespace, name) for name in names.globals] + [value for _, value in contents]
    if uid:
        _capture_own_name(pickler, function, function.__qualname__)
    return (
        rebuild.make_function,
        (uid, code, key, facts_of(key, namespace), closure),
        (_function_slots(function), function.__dict__, contents, used_submodules(names.all, values), planted),
        None,
        None,
        rebuild.set_function_state,
    )


def _planted_modules(namespace: Namespace, names: Iterable[str]) -> dict[str, str]:
    """Modules under names that no source can spell: a tool, pytest for one, has put them there, for code of its own.

    Importing the function's module in a worker does not bring them.
    """
    odd = [name for name in names if not name.isidentifier()]
    found = {name: namespace[name] for name in odd if name in namespace}
    return {
        name: thing.__name__
        for name, thing in found.items()
        if isinstance(thing, (ModuleType, rebuild.LateModule))
    }


def _function_slots(function: FunctionType) -> dict[str, Any]:
    """The attributes that a new function would not have right by itself."""
    code = function.__code__
    slots: dict[str, Any] = {"__module__": function.__module__}
    if function.__name__ != code.co_name:
        slots["__name__"] = function.__name__
    if function.__qualname__ != code.co_qualname:
        slots["__qualname__"] = function.__qualname__
    first = code.co_consts[0] if code.co_consts else None
    if function.__doc__ != (first if isinstance(first, str) else None):
        slots["__doc__"] = function.__doc__
    for name in ("__defaults__", "__kwdefaults__", "__annotations__", "__type_params__"):
        value = getattr(function, name, None)
        if value:
            slots[name] = value
    return slots


def reduce_code(_pickler: TaskPickler, code: CodeType) -> Any:
    """By marshal, which keeps the file name, so that tracebacks show the user's source lines."""
    try:
        return marshal.loads, (marshal.dumps(code),)
    except ValueError:  # a constant that is no literal, put there by a tool that rewrites code
        pass
    fields = "argcount posonlyargcount kwonlyargcount nlocals stacksize flags code consts names varnames filename name"
    more = "qualname firstlineno linetable exceptiontable freevars cellvars"
    return CodeType, tuple(getattr(code, "co_" + field) for field in (*fields.split(), *more.split()))


def reduce_cell(pickler: TaskPickler, cell: CellType) -> Any:
    """Without its content if a function's state will bring that, since the content may be the function."""
    try:
        content = cell.cell_contents
    except ValueError:
        return rebuild.make_cell, ()
    if pickler.shares_cells:
        made: tuple[Any, ...] = (rebuild.shared_cell, (pickler.scope.cell_uid(cell, content),))
    else:
        made = (rebuild.make_cell, ())
    if id(cell) in pickler.hollow:
        return made
    return (*made, content, None, None, rebuild.set_cell)


def reduce_method(_pickler: TaskPickler, method: MethodType) -> Any:
    """By C, as attribute of its object, unless the attribute of that name is another one (super().method)."""
    try:
        if getattr(method.__self__, method.__func__.__name__) == method:
            return NotImplemented
    except Exception:  # no such attribute, or a property of the user's that raises
        pass
    return MethodType, (method.__func__, method.__self__)


def reduce_lru_cache(pickler: TaskPickler, wrapper: Any) -> Any:
    """A ``functools.lru_cache`` pickles itself as a global's name, which only works if that can be imported."""
    if is_by_reference(wrapper):
        return NotImplemented
    uid = REGISTRY.uid_of(wrapper)
    if wrapper is not pickler.root:
        home = _home_of(wrapper)
        if home is not None and resolve(home, wrapper.__qualname__) is wrapper:
            return pickler.refer(wrapper)
        uid = 0
    else:
        _capture_own_name(pickler, wrapper, wrapper.__qualname__)
    arguments = (uid, wrapper.__wrapped__, wrapper.cache_parameters())
    return rebuild.make_lru_cache, arguments, wrapper.__dict__, None, None, rebuild.set_lru_cache_state


# -------------------------------------------------------------------------------------- classes


def reduce_class(pickler: TaskPickler, cls: type) -> Any:
    """By reference, by uid, or, as the root, in full."""
    if is_by_reference(cls):
        return NotImplemented
    if not cls.__flags__ & HEAP_TYPE:
        name = _TYPES_OF_THE_INTERPRETER.get(cls)
        return NotImplemented if name is None else (rebuild.make_singleton, ("types", name))
    if cls is not pickler.root:
        return pickler.refer(cls)
    uid = REGISTRY.uid_of(cls)
    _capture_own_name(pickler, cls, cls.__qualname__)
    enum = sys.modules.get("enum")
    if enum is not None and isinstance(cls, enum.EnumMeta):
        return _enum_pieces(cls, uid)
    early, late, registered = _class_attributes(cls)
    arguments = (uid, type(cls), cls.__name__, cls.__bases__, early)
    return rebuild.make_class, arguments, (late, registered, {}), None, None, rebuild.set_class_state


def _class_attributes(cls: type) -> tuple[dict[str, Any], dict[str, Any], list[type]]:
    """What a class needs from the start, what can be set later, and the classes registered with an ABC."""
    early: dict[str, Any] = {"__qualname__": cls.__qualname__}
    late: dict[str, Any] = {}
    registered: list[type] = []
    for name, value in vars(cls).items():
        if name in ("__module__", "__slots__", "__orig_bases__", "__firstlineno__"):
            early[name] = value
        elif name == "_abc_impl":
            from _abc import _get_dump  # type: ignore[import-not-found]

            registered = [subclass for ref in _get_dump(cls)[0] if (subclass := ref()) is not None]
        elif name not in ("__dict__", "__weakref__") and not _is_slot_of(cls, value):
            late[name] = value
    return early, late, registered


def _is_slot_of(cls: type, value: Any) -> bool:
    return isinstance(value, MemberDescriptorType) and value.__objclass__ is cls


#: Written by the enum machinery itself.
_ENUM_OWN = frozenset(
    {
        "__new__",
        "_generate_next_value_",
        "_hashable_values_",
        "_member_map_",
        "_member_names_",
        "_member_type_",
        "_unhashable_values_",
        "_unhashable_values_map_",
        "_value2member_map_",
    }
)
_MEMBER_OWN = frozenset(["_value_", "_name_", "__objclass__", "_sort_order_"])


def _enum_pieces(cls: Any, uid: int) -> tuple[Any, ...]:
    early, late, registered = _class_attributes(cls)
    members: dict[str, Any] = {name: member.value for name, member in cls.__members__.items()}
    extras = {}
    for name, member in cls.__members__.items():
        late.pop(name, None)
        extra = {key: value for key, value in vars(member).items() if key not in _MEMBER_OWN}
        if extra:  # what the enum's own __init__ or __new__ has set
            extras[name] = extra
    late = {name: value for name, value in late.items() if name not in _ENUM_OWN}
    arguments = (uid, type(cls), cls.__name__, cls.__bases__, early, members)
    return rebuild.make_enum, arguments, (late, registered, extras), None, None, rebuild.set_class_state


# ----------------------------------------------------------------- modules, names, other things


def reduce_module(pickler: TaskPickler, module: ModuleType) -> Any:
    """By name where that can be imported, else with all that it holds."""
    if is_importable(module):
        return import_module, (module.__name__,)
    namespace = module.__dict__
    key = namespace_key(namespace)
    if isinstance(key, int):
        for name in namespace:
            if name not in _MODULE_FACTS:
                pickler.capture(key, namespace, name)
    return rebuild.module_of, (key, facts_of(key, namespace))


def reduce_module_of_a_class(pickler: TaskPickler, module: ModuleType) -> Any:
    """A module whose class is one of its own, as lazy ones have it; by name too, where that can be imported.

    What cannot be imported arrives with that class, unless the class says itself how it is made.
    """
    if is_importable(module):
        return import_module, (module.__name__,)
    kind = type(module)
    if kind.__reduce_ex__ is not object.__reduce_ex__ or kind.__reduce__ is not object.__reduce__:
        return pickler.reduce_registered(module)
    return (*reduce_module(pickler, module), kind, None, None, rebuild.set_class_of_module)


def reduce_by_itself(pickler: TaskPickler, obj: Any) -> Any:
    """An instance of a by-value class with a ``__reduce__`` of its own, which may answer with a global's name.

    That name may be one that can be imported although the class cannot, as with the functions that Cython makes.
    """
    reduced = obj.__reduce_ex__(5)
    if not isinstance(reduced, str):
        return reduced
    module = sys.modules.get(getattr(obj, "__module__", None) or "")
    if isinstance(module, ModuleType) and is_importable(module) and resolve(vars(module), reduced) is obj:
        return reduced
    return _named(pickler, obj, reduced)


def reduce_newtype(pickler: TaskPickler, obj: Any) -> Any:
    """A ``typing.NewType``."""
    return NotImplemented if is_by_reference(obj) else _named(pickler, obj, obj.__qualname__)


def _named(pickler: TaskPickler, obj: Any, name: str) -> Any:
    if obj is not pickler.root:
        return pickler.refer(obj)
    _capture_own_name(pickler, obj, name)
    arguments = (REGISTRY.uid_of(obj), type(obj))
    return rebuild.make_named, arguments, dict(vars(obj)), None, None, rebuild.set_attributes


_TYPEVAR_OPTIONS = ("bound", "covariant", "contravariant", "infer_variance", "default")


def reduce_typevar(pickler: TaskPickler, variable: Any) -> Any:
    """A type variable of a module that cannot be imported."""
    name = variable.__name__
    module = sys.modules.get(variable.__module__)
    if module is not None and getattr(module, name, None) is variable and is_importable(module):
        return NotImplemented
    if variable is not pickler.root:
        return pickler.refer(variable)
    _capture_own_name(pickler, variable, name)
    options = {}
    for option in _TYPEVAR_OPTIONS:
        value = getattr(variable, f"__{option}__", None)
        if value is not None and value is not False and repr(value) != "typing.NoDefault":
            options[option] = value
    arguments = (
        REGISTRY.uid_of(variable),
        type(variable),
        name,
        getattr(variable, "__constraints__", ()),
        options,
    )
    return rebuild.make_typevar, arguments


def reduce_alias(pickler: TaskPickler, alias: Any) -> Any:
    """A ``type X = ...`` statement's result (Python 3.12)."""
    module = sys.modules.get(alias.__module__)
    if module is not None and getattr(module, alias.__name__, None) is alias and is_importable(module):
        return NotImplemented
    if alias is not pickler.root:
        return pickler.refer(alias)
    _capture_own_name(pickler, alias, alias.__name__)
    options = {"type_params": alias.__type_params__} if alias.__type_params__ else {}
    arguments = (REGISTRY.uid_of(alias), type(alias), alias.__name__, (alias.__value__,), options)
    return rebuild.make_typevar, arguments


def reduce_context_variable(pickler: TaskPickler, variable: ContextVar[Any]) -> Any:
    """By the place where an importable module keeps it; else one of that name and default, the same for all."""
    place = place_of_variable(variable)
    if place is not None and is_importable(sys.modules[place[0]]):
        return rebuild.make_singleton, place
    if variable is not pickler.root:
        return pickler.refer(variable)
    try:
        default: tuple[Any, ...] = (Context().run(variable.get),)
    except LookupError:
        default = ()
    return rebuild.make_context_variable, (REGISTRY.uid_of(variable), variable.name, default)


#: What ``place_of_variable`` has found.
_places: dict[ContextVar[Any], tuple[str, str]] = {}


def place_of_variable(variable: ContextVar[Any]) -> tuple[str, str] | None:
    """Module and name of a context variable, which itself does not know them; None: no module has it."""
    known = _places.get(variable)
    if known is not None and getattr(sys.modules.get(known[0]), known[1], None) is variable:
        return known
    found = None
    for name, module in list[tuple[str, Any]](sys.modules.items()):
        if not isinstance(module, ModuleType):
            continue
        # Not by getattr: a module that is loaded lazily is not to be woken by this.
        for attribute, value in list(ModuleType.__getattribute__(module, "__dict__").items()):
            if value is variable and (found is None or name not in MAIN_NAMES):
                found = name, attribute
    if found is not None:
        _places[variable] = found
    return found


def reduce_device_array(pickler: TaskPickler, array: Any) -> Any:
    """An array of CuPy's: see ``device_arrays.py``, which is imported when the first one is met."""
    from distpool.scheduler.serialize import device_arrays

    return device_arrays.reduce(pickler, array)


def reduce_array(pickler: TaskPickler, array: Any) -> Any:
    """A big numpy array of times, or a memory-mapped file, as the plain array over the same memory.

    numpy lends the memory of plain arrays to a pickle, but copies that of these, twice.
    """
    dtype, kind = array.dtype, type(array)
    is_times = dtype.kind in "mM"
    is_special = is_times or kind.__name__ == "memmap"
    if not is_special or array.nbytes < STORED_BYTES_MIN or not array.flags.forc:
        return pickler.reduce_registered(array)
    plain = array.view(sys.modules["numpy"].ndarray)
    return rebuild.view_array, (plain.view("i8") if is_times else plain, dtype, kind)


def reduce_lent(pickler: TaskPickler, obj: Any) -> Any:
    """What another process finds only while somebody has it: a lock, a queue, a value (``shared/segment``)."""
    pickler.lend(obj.lent_when_pickled())
    return pickler.reduce_registered(obj)


def _singleton(module: str, name: str) -> Reducer:
    return lambda _pickler, _obj: (rebuild.make_singleton, (module, name))


def _view(kind: str) -> Reducer:
    return lambda _pickler, view: (rebuild.make_view, (kind, list(view)))


def _home_of(obj: Any) -> Namespace | None:
    """The dictionary in which a module-level ``obj`` is bound to its name."""
    name = getattr(obj, "__module__", None)
    module = sys.modules.get(name) if isinstance(name, str) else None
    own: Any = getattr(obj, "__globals__", None)
    if isinstance(own, dict) and own.get("__name__") == name:
        return own  # also for a module that is no longer, or never was, in sys.modules
    return module.__dict__ if isinstance(module, ModuleType) else None


def _capture_own_name(pickler: TaskPickler, obj: Any, qualname: str) -> None:
    """Let the name by which ``obj`` is known lead to it in the worker too: for plain pickle, and for recursion."""
    home = _home_of(obj)
    if home is None or resolve(home, qualname) is not obj:
        return
    key = namespace_key(home)
    if key == MAIN or isinstance(key, int):
        top = qualname.partition(".")[0]
        pickler.scope.redefine(key, home, top)
        pickler.capture(key, home, top)


def facts_of(key: NamespaceKey, namespace: Namespace) -> rebuild.ModuleFacts | None:
    """What a worker needs to know to make the module of an anonymous namespace."""
    if isinstance(key, str):
        return None
    name = str(namespace.get("__name__"))
    module = sys.modules.get(name)
    is_public = module is not None and module.__dict__ is namespace and name not in MAIN_NAMES
    return name, namespace.get("__package__"), namespace.get("__file__"), is_public


#: By exact type.
REDUCERS: dict[type, Reducer] = {
    FunctionType: reduce_function,
    type: reduce_class,
    ContextVar: reduce_context_variable,
    CodeType: reduce_code,
    CellType: reduce_cell,
    MethodType: reduce_method,
    ModuleType: reduce_module,
    property: lambda _, p: (property, (p.fget, p.fset, p.fdel, p.__doc__)),
    staticmethod: lambda _, method: (staticmethod, (method.__func__,)),
    classmethod: lambda _, method: (classmethod, (method.__func__,)),
    memoryview: lambda _, view: (bytes, (view.tobytes(),)),
    types.MappingProxyType: lambda _, proxy: (types.MappingProxyType, (dict(proxy),)),
    type({}.keys()): _view("keys"),
    type({}.values()): _view("values"),
    type({}.items()): _view("items"),
}

#: By module and qualified name, for types whose modules need not be imported before they are met.
LATE_REDUCERS: dict[tuple[str, str], Reducer] = {
    ("functools", "_lru_cache_wrapper"): reduce_lru_cache,
    ("functools", "cached_property"): lambda _, p: (
        rebuild.make_cached_property,
        (p.func, p.attrname, p.__doc__),
    ),
    ("cupy", "ndarray"): reduce_device_array,
    ("numpy", "ndarray"): reduce_array,
    ("numpy", "memmap"): reduce_array,
    ("typing", "NewType"): reduce_newtype,
    ("typing", "TypeVar"): reduce_typevar,
    ("typing", "ParamSpec"): reduce_typevar,
    ("typing", "TypeVarTuple"): reduce_typevar,
    ("typing", "TypeAliasType"): reduce_alias,
    ("weakref", "WeakKeyDictionary"): lambda _, table: (type(table), (dict(table),)),
    ("weakref", "WeakValueDictionary"): lambda _, table: (type(table), (dict(table),)),
    ("_weakrefset", "WeakSet"): lambda _, members: (type(members), (list(members),)),
    ("dataclasses", "_MISSING_TYPE"): _singleton("dataclasses", "MISSING"),
    ("dataclasses", "_KW_ONLY_TYPE"): _singleton("dataclasses", "KW_ONLY"),
    ("dataclasses", "_HAS_DEFAULT_FACTORY_CLASS"): _singleton("dataclasses", "_HAS_DEFAULT_FACTORY"),
    ("dataclasses", "_FIELD_BASE"): lambda _, field: (rebuild.make_singleton, ("dataclasses", field.name)),
}
